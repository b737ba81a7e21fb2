//! The forms of the console.

use std::collections::BTreeMap;

use axum::extract::{FromRef, FromRequest, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use url::form_urlencoded;

use super::super::auth::console_session::is_from_own_page;
use super::super::json::read_body;
use super::super::mcp::OwnOrigin;
use super::MAX_FORM_BYTES;
use super::page::PageError;

/// A form that a page of this server sent. What it contains is not in its `Debug`.
pub(super) struct ConsoleForm(BTreeMap<String, String>);

impl ConsoleForm {
    /// The trimmed value of a field; `None` if it is empty.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// The trimmed value of a field as owned text.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.value(name).map(str::to_owned)
    }

    /// Whether a box is ticked.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The fields, without the confirmation.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str())).filter(|(name, _)| *name != CONFIRMED)
    }

    /// Whether the operator has confirmed the form.
    pub(super) fn is_confirmed(&self) -> bool {
        self.value(CONFIRMED) == Some("yes")
    }
}

/// The field of a confirmed form, whose value is `yes`.
pub(super) const CONFIRMED: &str = "confirmed";

/// Refuses a form of another site before its body is read.
impl<S: Send + Sync> FromRequest<S> for ConsoleForm
where
    OwnOrigin: FromRef<S>,
{
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        if !is_from_own_page(request.headers(), OwnOrigin::from_ref(state).as_str()) {
            let error = "This form did not come from a page of the console. Open the console and try again.";
            return Err(PageError::new(StatusCode::FORBIDDEN, error).into_response());
        }
        let body = read_body(request.into_body(), MAX_FORM_BYTES)
            .await
            .map_err(|error| PageError::from(error).into_response())?;
        Ok(Self(form_urlencoded::parse(&body).into_owned().collect()))
    }
}
