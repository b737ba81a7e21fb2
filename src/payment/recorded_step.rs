//! The steps of a payment session as the ledger recorded them.

use jiff::Timestamp;

use super::{CallbackDigest, EntryError, Field, Fields, Last4, TwilioResponse, UpdateAction};
use crate::ids::PaymentSid;

/// One recorded step of a payment session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RecordedStep {
    /// A request to create the session was about to be sent.
    CreateRequested,
    /// The SID of the session was known.
    SessionCreated(PaymentSid),
    /// Twilio responded to a request to create the session.
    CreateAnswered(TwilioResponse),
    /// A request to update the session was about to be sent, with this idempotency key.
    UpdateRequested { action: UpdateAction, key: String },
    /// Twilio responded to the update with this key. Earlier versions did not record the key.
    UpdateAnswered { action: UpdateAction, key: Option<String>, response: TwilioResponse },
    /// A callback reported that a field was entered.
    FieldEntered { field: Field, report: EntryReport },
    /// A callback reported a wrong entry.
    EntryRejected { field: Option<Field>, error: EntryError, report: EntryReport },
    /// A callback reported the result of the session.
    SessionEnded,
}

/// What else is recorded of a callback about an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntryReport {
    /// The same for each delivery of the callback.
    pub digest: CallbackDigest,
    /// Whether the callback has a `DateUpdated`.
    pub is_dated: bool,
    /// `DateUpdated`. Earlier versions did not record it.
    pub date_updated: Option<Timestamp>,
    /// `Required`. Earlier versions did not record it.
    pub required: Option<Fields>,
    /// The last digits of the card or account.
    pub last4: Option<Last4>,
}
