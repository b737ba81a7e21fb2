//! Errors of requests to Twilio.

use std::error::Error as _;
use std::iter;

use super::payment_refusal;
use crate::redact::Private;

/// The outcome of a failed request to Twilio. The messages contain no value of the request or the response.
#[derive(Debug, thiserror::Error)]
pub enum TwilioError {
    /// Twilio refused the request and did nothing. The same request will be refused again.
    #[error("Twilio refused the request with HTTP {status}, code {}", code.unwrap_or_default())]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Twilio's error code, if the response had one.
        code: Option<u32>,
        /// Twilio's message, empty if there was none. Not for the model and not for the caller.
        message: Private<String>,
        /// Twilio's identifier of the request, for its support.
        request_id: Option<String>,
    },
    /// No attempt reached Twilio: nothing was done, and the same request may be sent later.
    #[error("Twilio could not be reached")]
    Unreachable(#[source] reqwest::Error),
    /// It is unknown whether Twilio processed the request; only a status callback can tell.
    #[error("it is unknown whether Twilio processed the request")]
    Unknown(#[source] UnknownOutcomeCause),
}

/// The reason why the outcome of a request is unknown.
#[derive(Debug, thiserror::Error)]
pub enum UnknownOutcomeCause {
    /// The connection broke or the time limit was reached before the response was read.
    #[error("no response was read")]
    NoResponse(#[source] reqwest::Error),
    /// Twilio responded with a server error.
    #[error("Twilio failed with HTTP {status}")]
    ServerError {
        /// The HTTP status.
        status: u16,
        /// Twilio's identifier of the request, for its support.
        request_id: Option<String>,
    },
    /// Twilio refused a retry. It may have processed the first attempt, and the refusal may be due to that.
    #[error("Twilio refused a retry with HTTP {status}, code {}", code.unwrap_or_default())]
    RetryRefused {
        /// The HTTP status.
        status: u16,
        /// Twilio's error code, if the response had one.
        code: Option<u32>,
        /// Twilio's identifier of the retry, for its support.
        request_id: Option<String>,
    },
    /// Twilio processed the request, but the response does not contain what was created.
    #[error("the response cannot be read")]
    UnreadableResponse,
}

impl TwilioError {
    /// Whether the call or its payment session has ended, so that no further request can succeed.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. } | Self::Refused { code: Some(20404 | 21220), .. })
    }

    /// Twilio's error code, if the request was refused with one.
    pub fn code(&self) -> Option<u32> {
        match self {
            Self::Refused { code, .. } => *code,
            Self::Unreachable(_) | Self::Unknown(_) => None,
        }
    }

    /// Twilio's identifier of the request, for its support, if there was an answer.
    pub fn request_id(&self) -> Option<&str> {
        match self {
            Self::Refused { request_id, .. }
            | Self::Unknown(
                UnknownOutcomeCause::ServerError { request_id, .. }
                | UnknownOutcomeCause::RetryRefused { request_id, .. },
            ) => request_id.as_deref(),
            Self::Unreachable(_)
            | Self::Unknown(UnknownOutcomeCause::NoResponse(_) | UnknownOutcomeCause::UnreadableResponse) => None,
        }
    }

    /// A fixed sentence for the model: what went wrong, and what to do next. It contains nothing of Twilio's response.
    pub fn describe_payment_failure(&self) -> &'static str {
        match self {
            Self::Refused { status, code, .. } => payment_refusal::describe_refusal(*status, *code),
            Self::Unreachable(_) => {
                "The payment service could not be reached, and nothing was done. Apologise, and try once more."
            }
            Self::Unknown(_) => {
                "The payment service did not confirm the request, so it is not known whether it was done. Do not \
                 repeat it and do not announce a result: ask the caller to hold on until the next payment status arrives."
            }
        }
    }

    /// The root cause, for the log: an unknown host name or an untrusted certificate, for example.
    pub(super) fn root_cause(&self) -> Option<String> {
        iter::successors(self.source(), |error| (*error).source()).last().map(ToString::to_string)
    }
}
