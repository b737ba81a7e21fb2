//! `/console/login` and `/console/logout`: an operator gives the token once, and gets a cookie for it.

use std::sync::Arc;

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use jiff::Timestamp;
use maud::html;
use tokio::time::Instant;
use tracing::info;

use super::super::auth::client_network::ClientNetwork;
use super::super::auth::console_session::{self, ConsoleOperator, ConsoleSessions, LOGIN};
use super::super::auth::operator_token::{OperatorAuth, OperatorAuthError};
use super::CONSOLE;
use super::form::ConsoleForm;
use super::page::{Frame, LOGO, Section};

/// The head of a request.
pub(super) struct Head(Parts);

impl<S: Send + Sync> FromRequestParts<S> for Head {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(parts.clone()))
    }
}

/// Shows the form, or says that there is no token in the configuration.
pub(super) async fn get(State(auth): State<Arc<OperatorAuth>>) -> Response {
    let error = (!auth.is_configured()).then_some(OperatorAuthError::NotConfigured);
    login_page(error)
}

/// Verifies the token as any operator request does: wrong ones are counted, and lock their network out.
pub(super) async fn post(
    State(auth): State<Arc<OperatorAuth>>,
    State(sessions): State<Arc<ConsoleSessions>>,
    Head(parts): Head,
    form: ConsoleForm,
) -> Response {
    let token = form.value("token").map(str::as_bytes);
    match auth.authenticate_token(token, ClientNetwork::of_request(&parts), Instant::now()) {
        Ok(operator) => {
            info!(event = "console.logged_in", %operator, "An operator has logged in to the console.");
            match sessions.log_in(operator, &parts, Timestamp::now()) {
                Some(cookie) => with_cookie(&cookie, CONSOLE),
                None => login_page(None),
            }
        }
        Err(error) => login_page(Some(error)),
    }
}

/// Deletes the cookie.
pub(super) async fn log_out(_: ConsoleOperator, Head(parts): Head, _: ConsoleForm) -> Response {
    with_cookie(&console_session::log_out(&parts), LOGIN)
}

fn with_cookie(cookie: &str, to: &str) -> Response {
    let mut response = Redirect::to(to).into_response();
    // A cookie is made of letters, digits and punctuation.
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

fn login_page(error: Option<OperatorAuthError>) -> Response {
    let (status, text) = match error {
        None => (StatusCode::OK, None),
        Some(OperatorAuthError::NotConfigured) => (
            StatusCode::FORBIDDEN,
            Some(
                "The console is off: the server has no OPERATOR_TOKEN. Set one in its environment (openssl rand -hex 32 \
                 makes one) and restart it."
                    .to_owned(),
            ),
        ),
        Some(OperatorAuthError::NoToken) => {
            (StatusCode::UNAUTHORIZED, Some("Enter the token of an operator.".to_owned()))
        }
        Some(OperatorAuthError::WrongToken) => {
            (StatusCode::UNAUTHORIZED, Some("This is not the token of an operator of this server.".to_owned()))
        }
        Some(OperatorAuthError::LockedOut(seconds)) => (
            StatusCode::TOO_MANY_REQUESTS,
            Some(format!("Too many wrong tokens came from this address. Try again in {seconds} seconds.")),
        ),
    };
    let frame = Frame { title: "Log in", section: Section::Other, operator: None, is_live: false };
    let content = html! {
        div .narrow.login {
            div .mark { (LOGO) }
            h1 { "Log in" }
            p .muted { "The console of crelay-payments." }
            @if let Some(text) = &text { p #login-error .notice.bad role="alert" { (text) } }
            @if error != Some(OperatorAuthError::NotConfigured) {
                form method="post" action=(LOGIN) {
                    label for="token" { "Operator token" }
                    input #token name="token" type="password" autocomplete="current-password" required autofocus
                        aria-invalid=[text.as_ref().map(|_| "true")]
                        aria-describedby=[text.as_ref().map(|_| "login-error")];
                    button .primary type="submit" { "Log in" }
                }
            }
        }
    };
    let mut response = (status, frame.render(&content)).into_response();
    if let Some(OperatorAuthError::LockedOut(seconds)) = error {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
