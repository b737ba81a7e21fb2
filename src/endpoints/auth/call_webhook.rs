//! Webhooks about a call: signed by Twilio, of our account, and with a call SID.

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};

use super::twilio_signature::{SignedWebhook, WebhookForm};
use crate::ids::CallSid;
use crate::session::SessionContext;

/// A signed webhook request about a call.
#[derive(Debug)]
pub(in crate::endpoints) struct CallWebhook {
    /// The call.
    pub(in crate::endpoints) call: CallSid,
    /// The fields.
    pub(in crate::endpoints) form: WebhookForm,
}

/// Why a webhook about a call was refused.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub(in crate::endpoints) enum RefuseWebhookError {
    /// The request was not verified.
    #[error("the signature does not match")]
    Unverified,
    /// The call is not identified.
    #[error("CallSid is missing or is not a SID")]
    InvalidCallSid,
    /// `AccountSid` is not `ACCOUNT_SID`.
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
        let signed = SignedWebhook::from_request_parts(parts, state).await;
        let signed = signed.map_err(|_| RefuseWebhookError::Unverified)?;
        let admission = &Arc::<SessionContext>::from_ref(state).admission;
        let refuse = |error: RefuseWebhookError| {
            admission.log_refusal("webhook", &error);
            error
        };
        if !admission.is_own_account(signed.form.non_empty("AccountSid")) {
            return Err(refuse(RefuseWebhookError::ForeignAccount));
        }
        let call = signed.form.non_empty("CallSid").and_then(|sid| sid.parse().ok());
        let call = call.ok_or_else(|| refuse(RefuseWebhookError::InvalidCallSid))?;
        Ok(Self { call, form: signed.form })
    }
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
