//! One payment on a call, by card or from a bank account: its money, its fields, what Twilio reports of it, and the state machine over all that.
//!
//! Pure: nothing here does I/O, reads a clock or logs. Facts about the wire are those of Twilio's Payments resource.

mod amount;
mod capture;
mod due;
mod entry;
mod field;
mod id;
mod limits;
mod method;
mod settings;
mod status;
mod terms;

pub use amount::{Amount, BadAmount, BadCurrency, Currency};
pub use capture::{Answer, Capture, Meaning, Misfit, Stage};
pub use due::{BadDue, ChargeLimits, Due, NothingBetween};
pub use entry::Entry;
pub use field::{Field, Fields};
pub use id::{BadPaymentId, IdempotencyKey, Ids, PaymentId};
pub use limits::{AmountCap, BadAmountCap, Cap, Caps, CardTesting, Counted, Declined, Limits, Pattern, Scope, Tally};
pub use method::{AvsName, BadWord, BankAccountType, Card, CardType, Method, MethodName};
pub use settings::{BadTokenType, Description, Options, Parameters, Settings, Timeout, TokenType};
pub use status::{BadStatus, Ending, EntryError, Last4, News, Outcome, Status, is_decline};
pub use terms::{BadTerms, MATCHING, Terms, matching};

use std::fmt;
use std::sync::Arc;

use crate::sid::PaymentSid;

/// A request to create a payment session on the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Create {
    /// The payment.
    pub id: PaymentId,
    /// The key of this logical request.
    pub key: IdempotencyKey,
    /// What to charge; `None` tokenizes.
    pub charge: Option<Amount>,
    /// Everything else.
    pub terms: Arc<Terms>,
}

/// A request to move a payment session on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// The payment.
    pub id: PaymentId,
    /// The session.
    pub sid: PaymentSid,
    /// The key of this logical request.
    pub key: IdempotencyKey,
    /// What to do.
    pub change: Change,
    /// Why the server itself gives the payment up, where it does: the ledger says so whatever Twilio answers.
    pub given_up: Option<&'static str>,
}

/// What an update asks for: exactly one of `Capture` and `Status` on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    /// Collect this field from the keypad.
    Capture(Field),
    /// Submit what was collected: `Status=complete`.
    Complete,
    /// Throw it all away: `Status=cancel`.
    Cancel,
}

impl Change {
    /// The value of `Capture`, or of `Status`, on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::Capture(field) => field.wire(),
            Self::Complete => "complete",
            Self::Cancel => "cancel",
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
