//! What is written down of a payment.

use super::{Agreed, Amount, Change, Ending, EntryError, Field, Outcome};
use crate::sid::PaymentSid;

/// One thing that happened to a payment. None of it is card data.
#[derive(Debug, Clone)]
pub enum Entry {
    /// A session was opened.
    Opened {
        /// The session.
        sid: PaymentSid,
        /// What is to be charged; `None`: the card is tokenized.
        charge: Option<Amount>,
    },
    /// A field is in.
    Captured {
        /// The session.
        sid: PaymentSid,
        /// The field.
        field: Field,
    },
    /// An entry was wrong.
    Wrong {
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
        /// What was to be charged.
        charge: Option<Amount>,
        /// What Twilio reported.
        ending: Ending,
        /// What that means.
        outcome: Outcome,
    },
    /// The call ended, or the session was given up before it was there: it is being cancelled.
    Abandoned {
        /// The session.
        sid: PaymentSid,
    },
    /// A request was refused.
    Refused {
        /// The session.
        sid: PaymentSid,
        /// What was asked for.
        change: Change,
        /// Twilio's error code.
        code: Option<u32>,
    },
    /// Nobody knows whether the session was cancelled as it should be.
    NotCancelled {
        /// The session.
        sid: PaymentSid,
    },
    /// Nothing has moved for too long.
    Stalled {
        /// The session, if Twilio ever confirmed it.
        sid: Option<PaymentSid>,
        /// How often so far.
        times: u32,
    },
    /// The call ended while the result of a submitted payment was open: somebody has to look it up.
    Unresolved {
        /// The session.
        sid: PaymentSid,
        /// What was to be charged.
        charge: Option<Amount>,
    },
    /// Twilio reported a field that should be masked and was not. It was dropped.
    Unmasked {
        /// The session.
        sid: PaymentSid,
    },
    /// The caller answered a statement of the server's. It belongs to the call and to no session.
    Answered(Agreed),
}
