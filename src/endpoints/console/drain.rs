//! `/console/drain`: stops the server as SIGTERM does, after a confirmation.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use maud::html;
use tracing::warn;

use super::super::App;
use super::super::auth::console_session::ConsoleOperator;
use super::CONSOLE;
use super::form::{CONFIRMED, ConsoleForm};
use super::page::{Frame, Section};
use crate::session;

/// Asks for a confirmation, and says what follows.
pub(super) async fn get(
    ConsoleOperator(operator): ConsoleOperator,
    State(app): State<App>,
    State(sessions): State<Arc<session::SessionContext>>,
) -> Html<String> {
    let frame = Frame { title: "Drain the server", section: Section::Other, operator: Some(&operator), is_live: false };
    let (live, seconds) = (sessions.calls.count(), sessions.drain_timeout.as_secs());
    let content = html! {
        div .narrow {
            h1 { "Drain the server" }
            @if app.draining.is_cancelled() {
                p { "The server is draining: " (live) " live calls may finish. It ends by itself." }
            } @else {
                p { "From then on the server accepts no new calls, and it ends once the last call has ended." }
                ul {
                    li { "Live calls now: " strong { (live) } "." }
                    li { "A call without an open payment may go on for " (seconds / 2) " seconds, and one with an open payment for " (seconds) " seconds." }
                    li { "Then the process ends. What supervises it starts it again, or a new version." }
                }
                p { "This cannot be taken back." }
                form .actions method="post" action="/console/drain" {
                    button .danger type="submit" name=(CONFIRMED) value="yes" { "Drain now" }
                    a .button href=(CONSOLE) { "Cancel" }
                }
            }
        }
    };
    frame.render(&content)
}

/// Begins to drain.
pub(super) async fn post(
    ConsoleOperator(operator): ConsoleOperator,
    State(app): State<App>,
    form: ConsoleForm,
) -> Response {
    if form.is_confirmed() && !app.draining.is_cancelled() {
        warn!(event = "server.drain_requested", %operator, "An operator drains the server.");
        app.draining.cancel();
    }
    Redirect::to(CONSOLE).into_response()
}
