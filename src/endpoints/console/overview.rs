//! `GET /console`: the overview.

use axum::extract::State;
use axum::response::Html;
use maud::html;

use super::super::App;
use super::super::auth::console_session::ConsoleOperator;
use super::page::{Frame, Section, panel};

/// Shows what is live, what needs a person, and how the last day went. The script keeps it current.
pub(super) async fn get(ConsoleOperator(operator): ConsoleOperator, State(app): State<App>) -> Html<String> {
    let snapshot = app.console.snapshot(&app).await;
    let frame = Frame { title: "Overview", section: Section::Overview, operator: Some(&operator), is_live: true };
    frame.render(&html! {
        div .title {
            h1 { "Overview" }
            span #server-state { (snapshot.state) }
            span #connection .muted {}
            a .button.end href="/console/drain" { "Drain…" }
        }
        p #live-status .visually-hidden role="status" { (snapshot.status) }
        dl #stats .stats { (snapshot.stats) }
        (panel("Alerts", "alerts-title", &html! { div #alerts { (snapshot.alerts) } }))
        (panel("Live calls", "calls-title", &html! { div #calls { (snapshot.calls) } }))
        div .grid {
            (panel("Payments, last 24 hours", "funnel-title", &html! { div #funnel { (snapshot.funnel) } }))
            @for plot in &snapshot.plots { (plot.figure(title(plot.name))) }
        }
    })
}

fn title(plot: &str) -> &'static str {
    match plot {
        "outcomes" => "Outcomes by hour",
        "guards" => "Guards by hour",
        _ => "Latency, last hour",
    }
}
