//! Authentication of Twilio's requests by `X-Twilio-Signature`.
//!
//! The signature is verified before a request is used. The signed URL is built from the configured public URL and not
//! from headers, since a proxy may change those.

use std::sync::Arc;

use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRef, FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use tracing::warn;

use crate::config::PublicUrl;
use crate::endpoints::MAX_BODY_BYTES;
use crate::twilio::{AnsweredBy, Signer};

/// Verifies the signatures of requests to the public URL.
#[derive(Debug)]
pub(in crate::endpoints) struct SignatureVerifier {
    base_url: PublicUrl,
    signer: Option<Signer>,
}

/// A webhook request that Twilio signed.
#[derive(Debug)]
pub(in crate::endpoints) struct SignedWebhook {
    /// The fields, in the order of the body.
    pub(in crate::endpoints) form: WebhookForm,
    /// The header `I-Twilio-Idempotency-Token`: the same on every delivery of one webhook.
    pub(in crate::endpoints) idempotency_token: Option<String>,
}

/// The form fields of a webhook.
pub(in crate::endpoints) struct WebhookForm(Vec<(String, String)>);

/// A WebSocket upgrade that Twilio signed.
#[derive(Debug)]
pub(in crate::endpoints) struct SignedUpgrade;

/// Why a request was rejected.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub(in crate::endpoints) enum VerifyRequestError {
    #[error("X-Twilio-Signature is missing or does not match: check AUTH_TOKEN and SERVER_BASE_URL")]
    InvalidSignature,
    #[error("the body is larger than {MAX_BODY_BYTES} bytes or incomplete")]
    InvalidBody,
}

impl SignatureVerifier {
    pub(in crate::endpoints) fn new(base_url: PublicUrl, signer: Option<Signer>) -> Self {
        Self { base_url, signer }
    }

    fn verify_webhook(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
        form: &[(String, String)],
        body: &[u8],
    ) -> Result<(), VerifyRequestError> {
        let Some(signer) = &self.signer else { return Ok(()) };
        let url = self.base_url.http_url(path_and_query(uri));
        let signature = signature_header(headers)?;
        let genuine = if is_form_encoded(headers) || body.is_empty() {
            signer.verify(&url, form, signature)
        } else {
            signer.verify_body(&url, body, signature)
        };
        genuine.then_some(()).ok_or(VerifyRequestError::InvalidSignature)
    }

    fn verify_upgrade(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), VerifyRequestError> {
        let Some(signer) = &self.signer else { return Ok(()) };
        let url = self.base_url.wss_url(path_and_query(uri));
        let signature = signature_header(headers)?;
        let genuine = signer.verify_upgrade(&url, signature);
        // Without TLS, as on a developer's machine, the client signs the `ws://` URL.
        let plain =
            || self.base_url.is_plain_http() && signer.verify(&url.replacen("wss://", "ws://", 1), &[], signature);
        (genuine || plain()).then_some(()).ok_or(VerifyRequestError::InvalidSignature)
    }
}

impl WebhookForm {
    /// Returns the value of a field, if it is present and not empty.
    pub(in crate::endpoints) fn non_empty(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Returns whether a machine or a fax has answered the call, as far as Twilio knows.
    pub(in crate::endpoints) fn is_answered_by_machine(&self) -> bool {
        let answered_by = self.non_empty("AnsweredBy").and_then(|word| word.parse::<AnsweredBy>().ok());
        answered_by.is_some_and(AnsweredBy::is_machine)
    }

    /// Returns all fields.
    pub(in crate::endpoints) fn fields(&self) -> &[(String, String)] {
        &self.0
    }
}

/// Shows the number of fields and none of the fields.
impl std::fmt::Debug for WebhookForm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WebhookForm({} fields)", self.0.len())
    }
}

impl<S> FromRequest<S> for SignedWebhook
where
    S: Send + Sync,
    Arc<SignatureVerifier>: FromRef<S>,
{
    type Rejection = VerifyRequestError;

    async fn from_request(request: Request, state: &S) -> Result<Self, VerifyRequestError> {
        let verifier = Arc::<SignatureVerifier>::from_ref(state);
        let (parts, body) = request.into_parts();
        if verifier.signer.is_some() {
            signature_header(&parts.headers)?;
        }
        let body: Bytes = to_bytes(body, MAX_BODY_BYTES).await.map_err(|_| VerifyRequestError::InvalidBody)?;
        let form: Vec<(String, String)> = if is_form_encoded(&parts.headers) {
            url::form_urlencoded::parse(&body).into_owned().collect()
        } else {
            Vec::new()
        };
        verifier.verify_webhook(&parts.uri, &parts.headers, &form, &body)?;
        let delivery = parts.headers.get("i-twilio-idempotency-token").and_then(|token| token.to_str().ok());
        Ok(Self { form: WebhookForm(form), idempotency_token: delivery.map(str::to_owned) })
    }
}

impl<S> FromRequestParts<S> for SignedUpgrade
where
    S: Send + Sync,
    Arc<SignatureVerifier>: FromRef<S>,
{
    type Rejection = VerifyRequestError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, VerifyRequestError> {
        Arc::<SignatureVerifier>::from_ref(state).verify_upgrade(&parts.uri, &parts.headers).map(|()| Self)
    }
}

impl IntoResponse for VerifyRequestError {
    fn into_response(self) -> Response {
        warn!(
            event = "twilio.signature_rejected",
            error = %self,
            "A request was rejected: it has no valid signature of Twilio, or its body is invalid."
        );
        match self {
            Self::InvalidSignature => (StatusCode::FORBIDDEN, "the signature does not match\n").into_response(),
            Self::InvalidBody => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        }
    }
}

fn signature_header(headers: &HeaderMap) -> Result<&str, VerifyRequestError> {
    headers
        .get("x-twilio-signature")
        .and_then(|signature| signature.to_str().ok())
        .ok_or(VerifyRequestError::InvalidSignature)
}

fn is_form_encoded(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

fn path_and_query(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", |path| path.as_str())
}
