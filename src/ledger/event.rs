//! What happened to a payment, as the ledger keeps it: a kind and a little JSON.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::outbox::RefundData;
use super::{Bar, RefundKind, State};
use crate::payment::{
    Agreed, Amount, Answer, Change, Ending, EntryError, Field, IdempotencyKey, Last4, Outcome, Pattern,
};
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
    /// A field is in. Twilio shows how the card number ends.
    Entered { field: Field, last4: Option<Last4> },
    /// An entry was wrong.
    Wrong { field: Option<Field>, error: &'a EntryError },
    /// The caller said yes to it, in answer to this.
    Agreed { agreed: &'a Agreed },
    /// Twilio's result, and what it means.
    Ended { ending: &'a Ending, outcome: Outcome },
    /// A card was submitted and did not succeed.
    CardFailed { code: Option<u32>, last4: Option<Last4>, at_once: bool },
    /// It succeeded after all.
    CardRecovered,
    /// With that card it looks like card testing.
    CardTesting { pattern: Pattern },
    /// A guard did not let it go on.
    Barred { bar: Bar, change: Change },
    /// Nobody goes on with it.
    GivenUp { why: &'static str },
    /// The operator said how it ended; `corrects` is the state of an earlier settlement that was wrong.
    Settled { outcome: State, note: Option<&'a str>, corrects: Option<State> },
    /// The operator recorded a refund or a dispute.
    Refunded { kind: RefundKind, refund: &'a RefundData },
    /// The caller, the references and the description are gone.
    PersonalDataErased,
    /// The business took the outcome.
    Delivered { attempts: u32 },
    /// The token will be erased soon, and was not delivered.
    TokenExpires { at: Timestamp },
    /// The token is gone; whether an event that carries it is still to be delivered.
    Erased { undelivered: bool },
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
            Self::Agreed { .. } => "agreed",
            Self::Ended { .. } => "ended",
            Self::CardFailed { .. } => "card-failed",
            Self::CardRecovered => "card-recovered",
            Self::CardTesting { .. } => "card-testing",
            Self::Barred { .. } => "barred",
            Self::GivenUp { .. } => "given-up",
            Self::Settled { .. } => "settled",
            Self::Refunded { kind, .. } => kind.happened(),
            Self::PersonalDataErased => "personal-data-erased",
            Self::Delivered { .. } => "delivered",
            Self::TokenExpires { .. } => "token-expires",
            Self::Erased { .. } => "token-erased",
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
            Self::Entered { field, last4: None } => json!({"field": field.wire()}),
            Self::Entered { field, last4 } => json!({"field": field.wire(), "last4": digits(*last4)}),
            Self::Wrong { field, error } => json!({"field": field.map(Field::wire), "error": error.to_string()}),
            Self::Agreed { agreed } => agreed_data(agreed),
            Self::Ended { ending, outcome } => json!({
                "result": ending.result.as_str(),
                "code": ending.code,
                "text": ending.text(),
                "chargeAmount": ending.charge,
                "connectorStatus": ending.connector_statuses.first(),
                "confirmationCode": ending.confirmation,
                "outcome": outcome_data(*outcome),
                "doubtful": *outcome != Outcome::Succeeded && outcome.is_success_in_any_way(),
            }),
            Self::CardFailed { code, last4, at_once } => {
                json!({"code": code, "last4": digits(*last4), "atOnce": at_once})
            }
            Self::CardTesting { pattern } => {
                let last4 = if let Pattern::LastFour(last4) = pattern { Some(*last4) } else { None };
                json!({"seen": pattern.word(), "last4": digits(last4)})
            }
            Self::Barred { bar, change } => json!({"by": bar.to_string(), "change": change.word()}),
            Self::GivenUp { why } => json!({"why": why}),
            Self::Settled { outcome, note, corrects: None } => json!({"outcome": outcome, "note": note}),
            Self::Settled { outcome, note, corrects } => {
                json!({"outcome": outcome, "note": note, "corrects": corrects})
            }
            Self::Refunded { refund, .. } => json!(refund),
            Self::Delivered { attempts } => json!({"attempts": attempts}),
            Self::TokenExpires { at } => json!({"at": at}),
            Self::CardRecovered | Self::Erased { undelivered: false } | Self::PersonalDataErased => json!({}),
            Self::Erased { undelivered: true } => json!({"undelivered": true}),
        }
    }
}

fn outcome_data(outcome: Outcome) -> Value {
    match outcome {
        Outcome::Succeeded => json!("succeeded"),
        Outcome::Declined => json!("declined"),
        Outcome::Failed => json!("failed"),
        Outcome::Cancelled => json!("cancelled"),
        Outcome::Abandoned => json!("abandoned"),
        Outcome::Unknown(doubt) => json!(format!("unknown: {doubt}")),
    }
}

/// A statement and its answer, for an event of a payment or of a call.
pub(super) fn agreed_data(agreed: &Agreed) -> Value {
    let amount = agreed.purpose.amount();
    json!({
        "purpose": agreed.purpose.as_str(),
        "amount": amount.map(|amount| amount.to_string()),
        "currency": amount.map(|amount| amount.currency().to_string()),
        "minor": amount.map(Amount::minor),
        "text": agreed.text,
        "language": agreed.language,
        "version": agreed.version,
        "answer": agreed.consent.as_str(),
    })
}

fn digits(last4: Option<Last4>) -> Option<String> {
    last4.map(|last4| last4.to_string())
}
