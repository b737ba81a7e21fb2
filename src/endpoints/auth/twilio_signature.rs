//! Authentication of Twilio's requests by `X-Twilio-Signature`.
//!
//! The signature is verified before path, query and body are parsed, and before the method is looked at: on Twilio's
//! routes every request without a valid one is answered 403. The signed URL is built from the configured public URL and
//! not from headers, since a proxy may change those.

use std::fmt;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::{error, warn};

use crate::config::PublicUrl;
use crate::connections;
use crate::endpoints::MAX_BODY_BYTES;
use crate::endpoints::to_owner::received_uri;
use crate::log_limit::LogLimiter;
use crate::telemetry::{Telemetry, WebhookRefusal};
use crate::twilio::{AnsweredBy, SelectKeyError, SignatureKeys, Signer};

/// The longest path with its query that is verified, in bytes. Those of this server are below 8 KiB.
const MAX_PATH_BYTES: usize = 16 * 1024;

/// The size up to which a body of a webhook is always read, in bytes. Twilio's are below 4 KiB, except with hand-off data.
const USUAL_BODY_BYTES: usize = 8 * 1024;

/// How many larger bodies are read at once.
const MAX_LARGE_BODIES: usize = 128;

/// The maximum number of fields of a form. Twilio's have below 100.
const MAX_FIELDS: usize = 512;

/// The lengths of a signature in base64: of SHA-1 and of SHA-256.
const SIGNATURE_LENGTHS: [usize; 2] = [28, 44];

/// Verifies the signatures of requests to the public URL.
#[derive(Debug)]
pub(in crate::endpoints) struct SignatureVerifier {
    base_url: PublicUrl,
    /// `None` accepts unsigned requests.
    keys: Option<SignatureKeys>,
    log_limiter: Arc<LogLimiter>,
    telemetry: Arc<Telemetry>,
    /// A permit for each body that is larger than [`USUAL_BODY_BYTES`] and is being read.
    large_bodies: Semaphore,
}

/// A webhook request that Twilio signed.
#[derive(Debug, Clone)]
pub(in crate::endpoints) struct SignedWebhook {
    /// The fields, in the order of the body.
    pub(in crate::endpoints) form: WebhookForm,
    /// The body as it came.
    pub(in crate::endpoints) body: Bytes,
}

/// The form fields of a webhook.
#[derive(Clone)]
pub(in crate::endpoints) struct WebhookForm(Vec<(String, String)>);

/// A WebSocket upgrade that Twilio signed.
#[derive(Debug, Clone)]
pub(in crate::endpoints) struct SignedUpgrade;

/// Why a request was rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::endpoints) enum VerifyRequestError {
    #[error("X-Twilio-Signature is missing or does not match: check AUTH_TOKEN and SERVER_BASE_URL")]
    InvalidSignature,
    #[error(transparent)]
    NoKey(#[from] SelectKeyError),
    #[error("the body is incomplete, larger than {MAX_BODY_BYTES} bytes, or has more than {MAX_FIELDS} fields")]
    InvalidBody,
}

/// Lets a webhook request pass that Twilio has signed, as a [`SignedWebhook`]. The body is read only if there is a header
/// that may be a signature.
pub(in crate::endpoints) async fn require_signed_webhook(
    State(verifier): State<Arc<SignatureVerifier>>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    match verifier.authenticate_webhook(&parts, body).await {
        Ok(signed) => {
            connections::mark_identified(&parts.extensions);
            parts.extensions.insert(signed);
            next.run(Request::from_parts(parts, Body::empty())).await
        }
        Err(error) => verifier.reject(&error),
    }
}

/// Lets a WebSocket upgrade pass that Twilio has signed, as a [`SignedUpgrade`].
pub(in crate::endpoints) async fn require_signed_upgrade(
    State(verifier): State<Arc<SignatureVerifier>>,
    mut request: Request,
    next: Next,
) -> Response {
    match verifier.verify_upgrade(received_uri(request.extensions(), request.uri()), request.headers()) {
        Ok(()) => {
            request.extensions_mut().insert(SignedUpgrade);
            next.run(request).await
        }
        Err(error) => verifier.reject(&error),
    }
}

impl SignatureVerifier {
    pub(in crate::endpoints) fn new(
        base_url: PublicUrl,
        keys: Option<SignatureKeys>,
        log_limiter: Arc<LogLimiter>,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        Self { base_url, keys, log_limiter, telemetry, large_bodies: Semaphore::new(MAX_LARGE_BODIES) }
    }

    async fn authenticate_webhook(&self, parts: &Parts, body: Body) -> Result<SignedWebhook, VerifyRequestError> {
        let signature =
            self.keys.as_ref().map(|keys| ClaimedSignature::from_headers(keys, &parts.headers)).transpose()?;
        if content_length(&parts.headers).is_some_and(|length| length > MAX_BODY_BYTES) {
            return Err(VerifyRequestError::InvalidBody);
        }
        let body = self.read_body(body).await?;
        let is_form = is_form_encoded(&parts.headers);
        if is_form && body.split(|byte| *byte == b'&').count() > MAX_FIELDS {
            return Err(VerifyRequestError::InvalidBody);
        }
        let form: Vec<(String, String)> =
            if is_form { url::form_urlencoded::parse(&body).into_owned().collect() } else { Vec::new() };
        if let Some(signature) = signature {
            let url = self.base_url.http_url(path_and_query(received_uri(&parts.extensions, &parts.uri))?);
            signature.verify(|signer, signature| {
                if is_form || body.is_empty() {
                    signer.verify(&url, &form, signature)
                } else {
                    signer.verify_body(&url, &body, signature)
                }
            })?;
        }
        Ok(SignedWebhook { form: WebhookForm(form), body: body.into() })
    }

    /// Reads a body of which nothing is verified yet. Only so many at once may be larger than Twilio's usually are.
    async fn read_body(&self, body: Body) -> Result<Vec<u8>, VerifyRequestError> {
        let mut chunks = body.into_data_stream();
        let (mut body, mut permit) = (Vec::new(), None);
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| VerifyRequestError::InvalidBody)?;
            let size = body.len() + chunk.len();
            if size > MAX_BODY_BYTES {
                return Err(VerifyRequestError::InvalidBody);
            }
            if size > USUAL_BODY_BYTES && permit.is_none() {
                permit = Some(self.large_bodies.try_acquire().map_err(|_| VerifyRequestError::InvalidBody)?);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn verify_upgrade(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), VerifyRequestError> {
        let Some(keys) = &self.keys else { return Ok(()) };
        let signature = ClaimedSignature::from_headers(keys, headers)?;
        let url = self.base_url.wss_url(path_and_query(uri)?);
        // Without TLS, as on a developer's machine, the client signs the `ws://` URL.
        let plain_url = self.base_url.is_plain_http().then(|| url.replacen("wss://", "ws://", 1));
        signature.verify(|signer, signature| {
            signer.verify_upgrade(&url, signature)
                || plain_url.as_ref().is_some_and(|url| signer.verify_upgrade(url, signature))
        })
    }

    /// Builds the response to a rejected request, and logs at most one line a minute for each kind of error, since anyone
    /// can cause it.
    fn reject(&self, error: &VerifyRequestError) -> Response {
        self.telemetry.record_refused_webhook(match error {
            VerifyRequestError::InvalidSignature | VerifyRequestError::InvalidBody => WebhookRefusal::Signature,
            VerifyRequestError::NoKey(_) => WebhookRefusal::Key,
        });
        let (event, kind) = match error {
            VerifyRequestError::InvalidSignature => ("twilio.signature_rejected", "no valid signature"),
            VerifyRequestError::InvalidBody => ("twilio.signature_rejected", "invalid body"),
            VerifyRequestError::NoKey(_) => ("twilio.signature_key_unknown", ""),
        };
        if let Some(left_out) = self.log_limiter.admit(event, kind, Instant::now()) {
            if let VerifyRequestError::NoKey(error) = error {
                error!(
                    event = "twilio.signature_key_unknown",
                    %error,
                    left_out,
                    "A request was rejected: it is signed with a shared key that is not configured."
                );
            } else {
                warn!(
                    event = "twilio.signature_rejected",
                    %error,
                    left_out,
                    "A request was rejected: it has no valid signature of Twilio, or its body is invalid."
                );
            }
        }
        if self.keys.is_none() {
            return StatusCode::PAYLOAD_TOO_LARGE.into_response();
        }
        (StatusCode::FORBIDDEN, "the signature does not match\n").into_response()
    }
}

/// A text that may be a signature, and the keys one of which must have made it.
struct ClaimedSignature<'a> {
    signature: &'a str,
    signers: &'a [Signer],
}

impl<'a> ClaimedSignature<'a> {
    fn from_headers(keys: &'a SignatureKeys, headers: &'a HeaderMap) -> Result<Self, VerifyRequestError> {
        let signature = single_header(headers, "x-twilio-signature")
            .map_err(|_| VerifyRequestError::InvalidSignature)?
            .filter(|signature| SIGNATURE_LENGTHS.contains(&signature.len()))
            .ok_or(VerifyRequestError::InvalidSignature)?;
        let settings = single_header(headers, "x-twilio-webhooks-signature-settings");
        let settings = settings.map_err(|_| SelectKeyError::InvalidSettings)?;
        Ok(Self { signature, signers: keys.select(settings)? })
    }

    fn verify(&self, is_made_by: impl Fn(&Signer, &str) -> bool) -> Result<(), VerifyRequestError> {
        let is_genuine = self.signers.iter().any(|signer| is_made_by(signer, self.signature));
        if is_genuine { Ok(()) } else { Err(VerifyRequestError::InvalidSignature) }
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
impl fmt::Debug for WebhookForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebhookForm({} fields)", self.0.len())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for SignedWebhook {
    type Rejection = StatusCode;

    /// Takes what [`require_signed_webhook`] has verified.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        parts.extensions.remove().ok_or(StatusCode::FORBIDDEN)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for SignedUpgrade {
    type Rejection = StatusCode;

    /// Takes what [`require_signed_upgrade`] has verified.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        parts.extensions.remove().ok_or(StatusCode::FORBIDDEN)
    }
}

/// A header is repeated, or is not ASCII text.
struct InvalidHeaderError;

/// Returns a header that may be there once.
fn single_header<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, InvalidHeaderError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match (value.to_str(), values.next()) {
        (Ok(value), None) => Ok(Some(value)),
        _ => Err(InvalidHeaderError),
    }
}

fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn is_form_encoded(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

fn path_and_query(uri: &Uri) -> Result<&str, VerifyRequestError> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    if path.len() > MAX_PATH_BYTES { Err(VerifyRequestError::InvalidSignature) } else { Ok(path) }
}
