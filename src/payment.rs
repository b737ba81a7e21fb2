//! One card capture on a call: its money, its fields, what Twilio reports of it, and the state machine over all that.
//!
//! Pure: nothing here does I/O, reads a clock or logs. Facts about the wire are those of Twilio's Payments resource.

mod amount;
mod capture;
mod entry;
mod field;
mod id;
mod status;
mod terms;

pub use amount::{Amount, BadAmount, BadCurrency, Currency};
pub use capture::{Answer, Capture, Meaning, Misfit, Stage};
pub use entry::Entry;
pub use field::{Field, Fields};
pub use id::{BadPaymentId, IdempotencyKey, Ids, PaymentId};
pub use status::{BadStatus, CardType, Ending, EntryError, Last4, News, Outcome, Status};
pub use terms::{BadTerms, ChargeLimits, Due, NothingBetween, Terms};

use std::fmt;
use std::str::FromStr;

use crate::redact::Private;
use crate::sid::PaymentSid;

/// What every payment of this server has in common.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The unique name of the Pay connector; not its `PC…` SID.
    pub connector: String,
    /// What amounts are in.
    pub currency: Currency,
    /// What may be charged on a call that does not say what is due.
    pub limits: ChargeLimits,
    /// What a payment without an amount leaves behind.
    pub token_type: TokenType,
    /// Whether the security code is asked for.
    pub security_code: bool,
    /// Whether the postal code is asked for.
    pub postal_code: bool,
}

impl Settings {
    /// The fields that a payment needs, in the order in which they are asked for.
    pub fn fields(&self) -> Fields {
        let mut fields = Fields::default();
        fields.insert(Field::CardNumber);
        if self.security_code {
            fields.insert(Field::SecurityCode);
        }
        fields.insert(Field::ExpirationDate);
        if self.postal_code {
            fields.insert(Field::PostalCode);
        }
        fields
    }
}

/// `TokenType` of a payment that stores a card instead of charging it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenType {
    /// Good for one charge.
    OneTime,
    /// Good for any number of charges.
    Reusable,
    /// A payment method of the processor's own (Stripe only).
    PaymentMethod,
}

impl TokenType {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OneTime => "one-time",
            Self::Reusable => "reusable",
            Self::PaymentMethod => "payment-method",
        }
    }
}

/// A text that is none of the token types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a token type is one-time, reusable or payment-method")]
pub struct BadTokenType;

impl FromStr for TokenType {
    type Err = BadTokenType;

    fn from_str(text: &str) -> Result<Self, BadTokenType> {
        [Self::OneTime, Self::Reusable, Self::PaymentMethod]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or(BadTokenType)
    }
}

/// A request to create a payment session on the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Create {
    /// The payment.
    pub id: PaymentId,
    /// The key of this logical request.
    pub key: IdempotencyKey,
    /// What to charge; `None` tokenizes the card.
    pub charge: Option<Amount>,
    /// `Description`: what the payment is for.
    pub description: Option<Private<String>>,
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
