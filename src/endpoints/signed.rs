//! Who may come in: requests that Twilio signed, for the URL under which it knows this server.
//!
//! The check comes before anything is made of a request. The URL is built from the configured public URL, not from
//! headers, since a proxy stands in between.

use std::sync::Arc;

use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRef, FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use tracing::warn;

use super::MAX_BODY;
use crate::config::PublicUrl;
use crate::twilio::Signer;

/// Checks signatures of requests to the public URL.
#[derive(Debug)]
pub(super) struct Verifier {
    base_url: PublicUrl,
    signer: Option<Signer>,
}

/// The form of a webhook that Twilio signed.
#[derive(Debug)]
pub(super) struct Signed {
    /// Every field, in the order of the body.
    pub(super) form: Form,
    /// `I-Twilio-Idempotency-Token`: the same on each delivery of the same webhook.
    pub(super) delivery: Option<String>,
}

/// The fields of a form.
pub(super) struct Form(Vec<(String, String)>);

/// A WebSocket upgrade that Twilio signed.
#[derive(Debug)]
pub(super) struct SignedUpgrade;

/// Why a request was not let in.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub(super) enum Refused {
    #[error("X-Twilio-Signature is missing or does not match: check AUTH_TOKEN and SERVER_BASE_URL")]
    Signature,
    #[error("the body is larger than {MAX_BODY} bytes or broke off")]
    Body,
}

impl Verifier {
    pub(super) fn new(base_url: PublicUrl, signer: Option<Signer>) -> Self {
        Self { base_url, signer }
    }

    fn webhook(&self, uri: &Uri, headers: &HeaderMap, form: &[(String, String)], body: &[u8]) -> Result<(), Refused> {
        let Some(signer) = &self.signer else { return Ok(()) };
        let url = self.base_url.http(path_and_query(uri));
        let signature = signature(headers)?;
        let genuine = if is_form(headers) || body.is_empty() {
            signer.verify(&url, form, signature)
        } else {
            signer.verify_body(&url, body, signature)
        };
        genuine.then_some(()).ok_or(Refused::Signature)
    }

    fn upgrade(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refused> {
        let Some(signer) = &self.signer else { return Ok(()) };
        let url = self.base_url.wss(path_and_query(uri));
        let signature = signature(headers)?;
        let genuine = signer.verify_upgrade(&url, signature);
        // Without TLS, as on a developer's machine, a client signs the URL that it can open.
        let plain =
            || self.base_url.is_plain_http() && signer.verify(&url.replacen("wss://", "ws://", 1), &[], signature);
        (genuine || plain()).then_some(()).ok_or(Refused::Signature)
    }
}

impl Form {
    /// The value of a field, if it is there and not empty.
    pub(super) fn filled(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Every field.
    pub(super) fn fields(&self) -> &[(String, String)] {
        &self.0
    }
}

/// How many fields, and none of them.
impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Form({} fields)", self.0.len())
    }
}

impl<S> FromRequest<S> for Signed
where
    S: Send + Sync,
    Arc<Verifier>: FromRef<S>,
{
    type Rejection = Refused;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refused> {
        let verifier = Arc::<Verifier>::from_ref(state);
        let (parts, body) = request.into_parts();
        if verifier.signer.is_some() {
            signature(&parts.headers)?;
        }
        let body: Bytes = to_bytes(body, MAX_BODY).await.map_err(|_| Refused::Body)?;
        let form: Vec<(String, String)> = if is_form(&parts.headers) {
            url::form_urlencoded::parse(&body).into_owned().collect()
        } else {
            Vec::new()
        };
        verifier.webhook(&parts.uri, &parts.headers, &form, &body)?;
        let delivery = parts.headers.get("i-twilio-idempotency-token").and_then(|token| token.to_str().ok());
        Ok(Self { form: Form(form), delivery: delivery.map(str::to_owned) })
    }
}

impl<S> FromRequestParts<S> for SignedUpgrade
where
    S: Send + Sync,
    Arc<Verifier>: FromRef<S>,
{
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        Arc::<Verifier>::from_ref(state).upgrade(&parts.uri, &parts.headers).map(|()| Self)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        warn!(reason = %self, "request refused");
        match self {
            Self::Signature => (StatusCode::FORBIDDEN, "the signature does not match\n").into_response(),
            Self::Body => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        }
    }
}

fn signature(headers: &HeaderMap) -> Result<&str, Refused> {
    headers.get("x-twilio-signature").and_then(|signature| signature.to_str().ok()).ok_or(Refused::Signature)
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

fn path_and_query(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", |path| path.as_str())
}
