//! What happened to a payment, as the ledger keeps it: a kind and a little JSON.

use serde_json::{Value, json};

use crate::payment::{Answer, Change, EntryError, Field, IdempotencyKey, Outcome};
use crate::sid::PaymentSid;

/// One thing that happened. None of it is card data or a token.
#[derive(Debug)]
pub(super) enum Event<'a> {
    /// Twilio is about to be asked for a session.
    Opening { key: &'a IdempotencyKey },
    /// The session is there.
    Opened { sid: &'a PaymentSid },
    /// A session was found that this ledger did not ask for.
    Found { sid: &'a PaymentSid, charge: Option<&'a str> },
    /// Twilio is about to be asked for a change.
    Asking { change: Change, key: &'a IdempotencyKey },
    /// What Twilio answered to `create`, or to a change.
    Answered { to: &'static str, answer: &'a Answer },
    /// A field is in.
    Entered { field: Field },
    /// An entry was wrong.
    Wrong { field: Option<Field>, error: &'a EntryError },
    /// Twilio's result.
    Ended { outcome: &'a Outcome },
    /// Nobody goes on with it.
    GivenUp { why: &'static str },
    /// The operator said what became of it.
    Settled { outcome: &'static str, note: Option<&'a str> },
    /// The business took the outcome.
    Delivered { attempts: u32 },
    /// The token is gone.
    Erased,
}

impl Event<'_> {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Opening { .. } => "opening",
            Self::Opened { .. } => "opened",
            Self::Found { .. } => "found",
            Self::Asking { .. } => "asking",
            Self::Answered { .. } => "answered",
            Self::Entered { .. } => "entered",
            Self::Wrong { .. } => "wrong",
            Self::Ended { .. } => "ended",
            Self::GivenUp { .. } => "given-up",
            Self::Settled { .. } => "settled",
            Self::Delivered { .. } => "delivered",
            Self::Erased => "token-erased",
        }
    }

    pub(super) fn data(&self) -> Value {
        match self {
            Self::Opening { key } => json!({"key": key.as_str()}),
            Self::Opened { sid } => json!({"paymentSid": sid.as_str()}),
            Self::Found { sid, charge } => json!({"paymentSid": sid.as_str(), "chargeAmount": charge}),
            Self::Asking { change, key } => json!({"change": change.word(), "key": key.as_str()}),
            Self::Answered { to, answer } => {
                let (answer, code) = match answer {
                    Answer::Created(_) => ("created", None),
                    Answer::Accepted => ("accepted", None),
                    Answer::Refused { code, .. } => ("refused", *code),
                    Answer::Gone => ("gone", None),
                    Answer::Unknown => ("none", None),
                };
                json!({"to": to, "answer": answer, "code": code})
            }
            Self::Entered { field } => json!({"field": field.wire()}),
            Self::Wrong { field, error } => json!({"field": field.map(Field::wire), "error": error.to_string()}),
            Self::Ended { outcome } => json!({"result": outcome.word(), "code": outcome.code()}),
            Self::GivenUp { why } => json!({"why": why}),
            Self::Settled { outcome, note } => json!({"outcome": outcome, "note": note}),
            Self::Delivered { attempts } => json!({"attempts": attempts}),
            Self::Erased => json!({}),
        }
    }
}
