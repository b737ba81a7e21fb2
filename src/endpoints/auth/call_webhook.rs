//! Webhooks about a call: signed by Twilio, of our account, and with a call SID.

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};

use super::twilio_signature::{SignedWebhook, WebhookForm};
use crate::ids::CallSid;
use crate::session::{SessionContext, SocketAdmission};

/// A signed webhook request about a call, which names our account.
#[derive(Debug)]
pub(in crate::endpoints) struct CallWebhook {
    /// The call.
    pub(in crate::endpoints) call: CallSid,
    /// The fields.
    pub(in crate::endpoints) form: WebhookForm,
}

/// The fields of a signed payment status callback. It names our account or none: of the callbacks between the first and the
/// last of a payment no real body is known, and a refused one would be lost.
#[derive(Debug)]
pub(in crate::endpoints) struct PaymentWebhook(pub(in crate::endpoints) WebhookForm);

/// Why a webhook about a call was refused.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub(in crate::endpoints) enum RefuseWebhookError {
    /// The request was not verified.
    #[error("the signature does not match")]
    Unverified,
    /// The call is not identified.
    #[error("CallSid is missing or is not a SID")]
    InvalidCallSid,
    /// `AccountSid` is not `ACCOUNT_SID`, or is missing, which it never is in a webhook of a call.
    #[error("AccountSid is not the account of this server: check ACCOUNT_SID")]
    ForeignAccount,
}

impl<S> FromRequestParts<S> for CallWebhook
where
    S: Send + Sync,
    Arc<SessionContext>: FromRef<S>,
{
    type Rejection = RefuseWebhookError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, RefuseWebhookError> {
        admit(parts, state, SocketAdmission::is_own_account).await
    }
}

impl<S> FromRequestParts<S> for PaymentWebhook
where
    S: Send + Sync,
    Arc<SessionContext>: FromRef<S>,
{
    type Rejection = RefuseWebhookError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, RefuseWebhookError> {
        let is_ours =
            |admission: &SocketAdmission, account: Option<&str>| account.is_none() || admission.is_own_account(account);
        admit(parts, state, is_ours).await.map(|webhook| Self(webhook.form))
    }
}

/// Takes a verified request whose account `is_ours`.
async fn admit<S>(
    parts: &mut Parts,
    state: &S,
    is_ours: impl FnOnce(&SocketAdmission, Option<&str>) -> bool,
) -> Result<CallWebhook, RefuseWebhookError>
where
    S: Send + Sync,
    Arc<SessionContext>: FromRef<S>,
{
    let signed = SignedWebhook::from_request_parts(parts, state).await;
    let form = signed.map_err(|_| RefuseWebhookError::Unverified)?.form;
    let admission = &Arc::<SessionContext>::from_ref(state).admission;
    let call = form.non_empty("CallSid").and_then(|sid| sid.parse().ok());
    let admitted = match call {
        _ if !is_ours(admission, form.non_empty("AccountSid")) => Err(RefuseWebhookError::ForeignAccount),
        None => Err(RefuseWebhookError::InvalidCallSid),
        Some(call) => Ok(CallWebhook { call, form }),
    };
    admitted.inspect_err(|error| admission.log_refusal("webhook", error))
}

impl IntoResponse for RefuseWebhookError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::InvalidCallSid => StatusCode::BAD_REQUEST,
            Self::Unverified | Self::ForeignAccount => StatusCode::FORBIDDEN,
        };
        (status, format!("{self}\n")).into_response()
    }
}
