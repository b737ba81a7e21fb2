//! What became of a request to Twilio that did not succeed, and what to do next.

use std::error::Error as _;
use std::iter;

use super::refusal;
use crate::redact::Private;

/// What became of a request that did not succeed. The texts name no value of the request or of the answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Twilio read the request and did nothing. The same request will be refused again.
    #[error("Twilio refused the request with HTTP {status}, code {}", code.unwrap_or_default())]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Twilio's error code, if the answer had one.
        code: Option<u32>,
        /// Twilio's own words, empty if it had none. Not for the model, nor for the caller.
        message: Private<String>,
    },
    /// No attempt reached Twilio: nothing was done, and the same request may be sent later.
    #[error("Twilio could not be reached")]
    Unreached(#[source] reqwest::Error),
    /// The request may or may not have been done; only a status callback can tell.
    #[error("it is not known whether Twilio did what was asked")]
    Unknown(#[source] Cause),
}

/// Why it is not known what Twilio did.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The connection broke, or time was up, before the answer was read.
    #[error("no answer was read")]
    NoAnswer(#[source] reqwest::Error),
    /// Twilio answered that it failed.
    #[error("Twilio failed with HTTP {0}")]
    Failed(u16),
    /// Twilio refused a repeated request; it may have done the first, and the refusal may be about that.
    #[error("Twilio refused a repeated request with HTTP {status}, code {}", code.unwrap_or_default())]
    RefusedLater {
        /// The HTTP status.
        status: u16,
        /// Twilio's error code, if the answer had one.
        code: Option<u32>,
    },
    /// Twilio did it, but the answer does not say what was made.
    #[error("the answer cannot be read")]
    Unreadable,
}

impl Error {
    /// Whether the call or its payment session is over, so that nothing can be done in it any more.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. } | Self::Refused { code: Some(20404 | 21220), .. })
    }

    /// Twilio's error code, where the request was refused with one.
    pub fn code(&self) -> Option<u32> {
        match self {
            Self::Refused { code, .. } => *code,
            Self::Unreached(_) | Self::Unknown(_) => None,
        }
    }

    /// What went wrong and what to do about it, in words of ours for the model. Nothing of Twilio's answer is in them.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Refused { status, code, .. } => refusal::reason(*status, *code),
            Self::Unreached(_) => {
                "The payment service could not be reached, and nothing was done. Apologise, and try once more."
            }
            Self::Unknown(_) => {
                "The payment service did not confirm the request, so it is not known whether it was done. Do not \
                 repeat it and do not announce a result: ask the caller to hold on until the next payment status arrives."
            }
        }
    }

    /// What lies at the bottom of it, for the log: a name that is not known, a certificate that is not trusted.
    pub(super) fn root_cause(&self) -> Option<String> {
        iter::successors(self.source(), |error| (*error).source()).last().map(ToString::to_string)
    }
}
