//! Where a call stands, as an operator sees it.

use super::Call;
use super::phase::Phase;
use crate::payment::{Capture, CaptureStage, Field, PaymentState};

/// Where a call and its payment stand. It is small, says nothing about the caller, and is compared after each event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CallProgress {
    /// The state of the connection to the caller.
    pub(crate) line: LineStatus,
    /// The state of the payment.
    pub(crate) payment: PaymentProgress,
}

/// The state of the connection to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum LineStatus {
    /// The agent and the caller talk.
    #[default]
    Live,
    /// The socket failed, and the call waits for a new one.
    Parked,
    /// The agent says goodbye, or the call is over.
    Ending,
}

/// The state of the payment of a call: of the open one, or of the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum PaymentProgress {
    /// No payment was started.
    #[default]
    None,
    /// A session is requested.
    Opening,
    /// A session is open, and the caller is not asked for a field.
    Open,
    /// The caller is asked for a field.
    Capturing(Field),
    /// It is submitted, and its result is awaited.
    Submitting,
    /// It is being cancelled.
    Cancelling,
    /// It is closed.
    Closed(PaymentState),
}

impl PaymentProgress {
    /// Whether a payment is open.
    pub(crate) fn is_open(self) -> bool {
        !matches!(self, Self::None | Self::Closed(_))
    }
}

impl Call {
    /// Where the call stands.
    pub(crate) fn progress(&self) -> CallProgress {
        let line = match self.phase {
            Phase::Live => LineStatus::Live,
            Phase::Parked { .. } => LineStatus::Parked,
            Phase::Closing(_) | Phase::EndSent { .. } | Phase::Ended { .. } => LineStatus::Ending,
        };
        let payment = match self.payments.open().map(Capture::stage) {
            Some(CaptureStage::Opening) => PaymentProgress::Opening,
            Some(CaptureStage::Open) => PaymentProgress::Open,
            Some(CaptureStage::Capturing { field, .. }) => PaymentProgress::Capturing(field),
            Some(CaptureStage::Submitting) => PaymentProgress::Submitting,
            Some(CaptureStage::Cancelling) => PaymentProgress::Cancelling,
            None => self.payments.last_state().map_or(PaymentProgress::None, PaymentProgress::Closed),
        };
        CallProgress { line, payment }
    }
}
