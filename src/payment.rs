//! One payment on a call, by card or from a bank account: its money, its fields, what Twilio reports of it, and the state machine over all that.
//!
//! Pure: nothing here does I/O, reads a clock or logs. Facts about the wire are those of Twilio's Payments resource.

mod agreed;
mod amount;
mod amount_cap;
mod capture;
mod due;
mod entry;
mod field;
mod id;
mod known;
mod limits;
mod method;
mod outcome;
mod parameter_names;
mod settings;
mod state;
mod status;
mod terms;

pub use agreed::{Agreed, Consent, Purpose, text_version};
pub use amount::{Amount, BadAmount, BadCurrency, Currency};
pub use amount_cap::{AmountCap, AmountCaps, BadAmountCap};
pub use capture::{Answer, Capture, Meaning, Misfit, Stage};
pub use due::{BadDue, BadMaxDue, ChargeLimits, Due, MaxDue, NothingBetween};
pub use entry::Entry;
pub use field::{Field, Fields};
pub use id::{BadPaymentId, IdempotencyKey, Ids, PaymentId};
pub use known::{Known, KnownPayment, OrderRules};
pub use limits::{Cap, Caps, CardTesting, Counted, Declined, Limits, Pattern, Scope, Tally};
pub use method::{AvsName, BadWord, BankAccountType, Card, CardType, Method, MethodName};
pub use outcome::{Doubt, Intent, Outcome, is_amount, is_decline};
pub use parameter_names::{PARAMETERS, contradicted_parameter, nearest_parameter, parameter_in_any_spelling};
pub use settings::{BadTokenType, Description, IdParameter, Options, Parameters, Settings, Timeout, TokenType};
pub use state::{ParseStateError, State};
pub use status::{BadStatus, Ending, EntryError, Last4, News, ResultWord, Status};
pub use terms::{BadTerms, MATCHING, Terms, matching, reference};

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
    /// The caller's yes to this amount, where one was asked for.
    pub agreed: Option<Agreed>,
}

impl Create {
    /// Whether the caller agreed to pay the same amount again.
    pub fn is_again(&self) -> bool {
        let again =
            |agreed: &Agreed| matches!(agreed.purpose, Purpose::ChargeAgain(amount) if Some(amount) == self.charge);
        self.agreed.as_ref().is_some_and(|agreed| agreed.consent == Consent::Yes && again(agreed))
    }
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
