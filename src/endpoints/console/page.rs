//! The frame of every page, and the page of an error.

use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, html};

use super::super::json::ApiError;
use super::assets;
use crate::config::OperatorName;
use crate::redact::redact_card_numbers;

/// The parts of the console that the navigation leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Overview,
    Payments,
    /// A page that the navigation does not name.
    Other,
}

/// What the frame of a page shows.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    /// The title, without the name of the program.
    pub(super) title: &'a str,
    /// The current part.
    pub(super) section: Section,
    /// Who is logged in; without anyone there is no navigation.
    pub(super) operator: Option<&'a OperatorName>,
    /// Whether the page is updated while it is open.
    pub(super) is_live: bool,
}

/// A page that says what is wrong.
#[derive(Debug)]
pub(super) struct PageError {
    status: StatusCode,
    error: String,
}

impl Frame<'_> {
    /// Renders a page with this content.
    pub(super) fn render(&self, content: &Markup) -> Html<String> {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    meta name="robots" content="noindex";
                    title { (self.title) " · crelay-payments" }
                    link rel="icon" type="image/svg+xml" href=(assets::url("icon.svg"));
                    link rel="stylesheet" href=(assets::url("console.css"));
                    @if self.is_live {
                        link rel="stylesheet" href=(assets::url("uplot.css"));
                        script defer src=(assets::url("uplot.js")) {}
                        script defer src=(assets::url("console.js")) {}
                        noscript { meta http-equiv="refresh" content="10"; }
                    }
                }
                body {
                    @if let Some(operator) = self.operator { (self.header(operator)) }
                    main id="main" tabindex="-1" { (content) }
                }
            }
        };
        Html(page.into_string())
    }

    fn header(&self, operator: &OperatorName) -> Markup {
        let link = |href: &str, name: &str, section: Section| {
            html! { a href=(href) aria-current=[(self.section == section).then_some("page")] { (name) } }
        };
        html! {
            a .skip href="#main" { "Skip to the content" }
            header .top {
                a .brand href="/console" { (LOGO) span { "crelay" span .thin { "payments" } } }
                nav aria-label="Console" {
                    (link("/console", "Overview", Section::Overview))
                    (link("/console/payments", "Payments", Section::Payments))
                }
                div .account {
                    span .who { (operator) }
                    form method="post" action="/console/logout" { button .quiet type="submit" { "Log out" } }
                }
            }
        }
    }
}

/// The icon, in the colour of the text around it.
pub(super) const LOGO: maud::PreEscaped<&str> = maud::PreEscaped(
    r#"<svg class="logo" viewBox="0 0 20 20" width="20" height="20" aria-hidden="true" focusable="false"><rect x="1" y="4" width="18" height="12" rx="3" fill="none" stroke="currentColor" stroke-width="1.6"/><path d="M4.5 10h2l1.5-3 2.5 6 1.8-3h3.2" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round"/></svg>"#,
);

/// Renders a time in UTC.
pub(super) fn time(at: Timestamp) -> Markup {
    html! { time datetime=(at) { (at.strftime("%Y-%m-%d %H:%M:%S")) } }
}

/// Renders a card with a title.
pub(super) fn panel(title: &str, id: &str, content: &Markup) -> Markup {
    html! {
        section .panel aria-labelledby=(id) {
            h2 id=(id) { (title) }
            (content)
        }
    }
}

impl PageError {
    /// Says what is wrong, and what to do. Card numbers are removed, since it may quote a form.
    #[expect(clippy::needless_pass_by_value, reason = "callers pass an error that they no longer need")]
    pub(super) fn new(status: StatusCode, error: impl ToString) -> Self {
        Self { status, error: redact_card_numbers(&error.to_string()).into_owned() }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn error(&self) -> &str {
        &self.error
    }
}

/// The errors of the operator API have the same words.
impl<E: Into<ApiError>> From<E> for PageError {
    fn from(error: E) -> Self {
        let error = error.into();
        Self { status: error.status(), error: error.message().to_owned() }
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let frame = Frame { title, section: Section::Other, operator: None, is_live: false };
        let content = html! {
            div .narrow {
                h1 { (title) }
                p { (self.error) }
                p { a .button href="/console" { "To the console" } }
            }
        };
        (self.status, frame.render(&content)).into_response()
    }
}
