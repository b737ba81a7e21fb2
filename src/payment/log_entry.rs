//! Log entries of payments.

use super::{
    Amount, AmountDue, ConsentRecord, EntryError, Field, NoticeKind, PaymentOutcome, PaymentSessionResult,
    PaymentTermsError, SpokenStatement, UpdateAction,
};
use crate::ids::PaymentSid;

/// One event of a payment, for the log. It contains no card data.
#[derive(Debug, Clone)]
pub enum PaymentLogEntry {
    /// A session was opened.
    Opened {
        /// The session.
        sid: PaymentSid,
        /// The amount to charge; `None`: the card is tokenized.
        charge: Option<Amount>,
    },
    /// A field was captured.
    Captured {
        /// The session.
        sid: PaymentSid,
        /// The field.
        field: Field,
    },
    /// An entry was wrong.
    WrongEntry {
        /// The session.
        sid: PaymentSid,
        /// The field.
        field: Field,
        /// What was wrong.
        error: EntryError,
    },
    /// Twilio accepted the submission; the result is open.
    Submitted {
        /// The session.
        sid: PaymentSid,
    },
    /// The session ended.
    Ended {
        /// The session.
        sid: PaymentSid,
        /// The amount to charge.
        charge: Option<Amount>,
        /// What Twilio reported.
        ending: PaymentSessionResult,
        /// The outcome of the payment.
        outcome: PaymentOutcome,
    },
    /// The session is being cancelled: the call ended, or the session was given up before Twilio confirmed it.
    Abandoned {
        /// The session.
        sid: PaymentSid,
    },
    /// Twilio refused a change of the session.
    Refused {
        /// The session.
        sid: PaymentSid,
        /// The requested action.
        change: UpdateAction,
        /// Twilio's error code.
        code: u32,
    },
    /// It is unknown whether the session was cancelled as requested.
    CancelUnconfirmed {
        /// The session.
        sid: PaymentSid,
    },
    /// The session has made no progress for too long.
    Stalled {
        /// The session, if Twilio ever confirmed it.
        sid: Option<PaymentSid>,
        /// How many times this happened so far.
        times: u32,
    },
    /// The call ended before the result of a submitted payment was known. An operator has to look it up.
    Unresolved {
        /// The session.
        sid: PaymentSid,
        /// The amount to charge.
        charge: Option<Amount>,
    },
    /// The caller answered a consent statement. It belongs to the call, not to a session.
    ConsentAnswered(ConsentRecord),
    /// The caller has heard a statement that needs no answer. It belongs to the call, not to a session.
    NoticeHeard(NoticeKind, SpokenStatement),
    /// A tool of the business named the amount due of the call, or an invalid one, so that no payment can start.
    DueNamed {
        /// What is due from now on.
        due: Result<AmountDue, PaymentTermsError>,
    },
    /// A tool of the business named an amount due, and what was due before stays so: a payment is open, or money may have
    /// moved.
    DueKept,
}
