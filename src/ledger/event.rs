//! The events of a payment: a kind and a small JSON object.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::outbox::RefundData;
use super::{EventKind, LimitExceeded, PaymentState, ReceiptResult, RefundKind};
use crate::config::OperatorName;
use crate::ids::PaymentSid;
use crate::payment::{
    Amount, CallerAttestation, CardTestingPattern, ConsentAnswer, ConsentRecord, EntryError, Field, IdempotencyKey,
    Last4, NoticeKind, PaymentCallback, PaymentOutcome, PaymentSessionResult, SpokenStatement, TwilioResponse,
    UpdateAction, text_sha256,
};
use crate::server_id::ServerId;

/// An event of a payment. It contains no card data and no token.
#[derive(Debug)]
pub(super) enum LedgerEvent<'a> {
    /// What the caller's network attests about the caller's number.
    CallerAttested { attestation: CallerAttestation },
    /// A request to create a session is about to be sent. Where several servers share the ledger, the first names the server to
    /// which Twilio reports.
    CreateRequested { key: &'a IdempotencyKey, server: Option<ServerId> },
    /// The SID of the session is known.
    SessionCreated { sid: &'a PaymentSid },
    /// A session was found that this ledger did not request.
    SessionFound { sid: &'a PaymentSid, charge: Option<&'a str> },
    /// A request to update the session is about to be sent.
    UpdateRequested { change: UpdateAction, key: &'a IdempotencyKey },
    /// Twilio's response to `create` or to an update.
    ResponseReceived { to: &'static str, key: &'a IdempotencyKey, answer: &'a TwilioResponse },
    /// A field was entered. Twilio reports the last digits of the card number.
    FieldEntered { field: Field, last4: Option<Last4>, callback: &'a PaymentCallback },
    /// Twilio rejected an entry.
    EntryRejected { field: Option<Field>, error: &'a EntryError, callback: &'a PaymentCallback },
    /// The caller agreed to this statement.
    StatementAgreed { agreed: &'a ConsentRecord },
    /// The caller authorised the submission that follows.
    Authorized { authorization: &'a ConsentRecord },
    /// Twilio's result, and the outcome that it implies.
    SessionEnded { ending: &'a PaymentSessionResult, outcome: PaymentOutcome },
    /// A card was submitted without success. `at_once`: Twilio refused the submission.
    CardFailed { code: Option<u32>, last4: Option<Last4>, at_once: bool },
    /// A card that counted as failed succeeded after all.
    CardRecovered,
    /// The failed card completes a card-testing pattern.
    CardTesting { pattern: CardTestingPattern },
    /// A velocity limit blocked an update.
    LimitExceeded { bar: LimitExceeded, change: UpdateAction },
    /// The payment is abandoned.
    Abandoned { why: &'static str },
    /// An operator settled the payment. `corrects` is the state of an earlier settlement that was wrong. Without an
    /// operator it was the command line.
    Settled {
        outcome: PaymentState,
        confirmation: Option<&'a str>,
        note: Option<&'a str>,
        corrects: Option<PaymentState>,
        operator: Option<&'a OperatorName>,
    },
    /// An operator recorded a refund or a dispute.
    Refunded { kind: RefundKind, refund: &'a RefundData, operator: Option<&'a OperatorName> },
    /// A request to send the receipt is about to be sent.
    ReceiptRequested { attempt: u32, language: &'a str },
    /// How that ended, and the state of the receipt.
    Receipt { state: &'static str, result: &'a ReceiptResult, text_version: Option<&'a str> },
    /// The caller, the references and the description were erased.
    PersonalDataErased,
    /// The webhook accepted the outcome.
    Delivered { attempts: u32 },
    /// The undelivered token will be erased at this time.
    TokenExpiring { at: Timestamp },
    /// The token was erased. `undelivered`: an event with it was still to be delivered.
    TokenErased { undelivered: bool },
}

impl LedgerEvent<'_> {
    pub(super) fn kind(&self) -> EventKind {
        match self {
            Self::CallerAttested { .. } => EventKind::CallerAttested,
            Self::CreateRequested { .. } => EventKind::CreateRequested,
            Self::SessionCreated { .. } => EventKind::SessionCreated,
            Self::SessionFound { .. } => EventKind::SessionFound,
            Self::UpdateRequested { .. } => EventKind::UpdateRequested,
            Self::ResponseReceived { .. } => EventKind::ResponseReceived,
            Self::FieldEntered { .. } => EventKind::FieldEntered,
            Self::EntryRejected { .. } => EventKind::EntryRejected,
            Self::StatementAgreed { .. } => EventKind::StatementAgreed,
            Self::Authorized { .. } => EventKind::Authorized,
            Self::SessionEnded { .. } => EventKind::SessionEnded,
            Self::CardFailed { .. } => EventKind::CardFailed,
            Self::CardRecovered => EventKind::CardRecovered,
            Self::CardTesting { .. } => EventKind::CardTesting,
            Self::LimitExceeded { .. } => EventKind::LimitExceeded,
            Self::Abandoned { .. } => EventKind::Abandoned,
            Self::Settled { .. } => EventKind::Settled,
            Self::Refunded { kind, .. } => kind.event_kind(),
            Self::ReceiptRequested { .. } => EventKind::ReceiptRequested,
            Self::Receipt { .. } => EventKind::Receipt,
            Self::PersonalDataErased => EventKind::PersonalDataErased,
            Self::Delivered { .. } => EventKind::Delivered,
            Self::TokenExpiring { .. } => EventKind::TokenExpiring,
            Self::TokenErased { .. } => EventKind::TokenErased,
        }
    }

    pub(super) fn data(&self) -> Value {
        match self {
            Self::CallerAttested { attestation } => json!({"attestation": attestation.as_str()}),
            Self::CreateRequested { key, server: None } => json!({"key": key.as_str()}),
            Self::CreateRequested { key, server: Some(server) } => {
                json!({"key": key.as_str(), "server": server.to_string()})
            }
            Self::SessionCreated { sid } => json!({"paymentSid": sid.as_str()}),
            Self::SessionFound { sid, charge } => json!({"paymentSid": sid.as_str(), "chargeAmount": charge}),
            Self::UpdateRequested { change, key } => json!({"change": change.as_str(), "key": key.as_str()}),
            Self::ResponseReceived { to, key, answer } => {
                let (answer, code) = match answer {
                    TwilioResponse::Created(_) => ("created", None),
                    TwilioResponse::Accepted => ("accepted", None),
                    TwilioResponse::Refused { code, .. } => ("refused", *code),
                    TwilioResponse::Gone => ("gone", None),
                    TwilioResponse::Unknown => ("none", None),
                };
                json!({"to": to, "key": key.as_str(), "answer": answer, "code": code})
            }
            Self::FieldEntered { field, last4, callback } => {
                let mut data = json!({"field": field.wire_name()});
                if last4.is_some() {
                    data["last4"] = json!(last4_text(*last4));
                }
                with_report(data, callback)
            }
            Self::EntryRejected { field, error, callback } => {
                with_report(json!({"field": field.map(Field::wire_name), "error": error.to_string()}), callback)
            }
            Self::StatementAgreed { agreed: statement } | Self::Authorized { authorization: statement } => {
                statement_data(statement)
            }
            Self::SessionEnded { ending, outcome } => json!({
                "result": ending.result.as_str(),
                "code": ending.error_code,
                "text": ending.error_text(),
                "chargeAmount": ending.charge_amount,
                "connectorStatus": ending.connector_statuses.first(),
                "confirmationCode": ending.confirmation_code,
                "outcome": outcome_data(*outcome),
                "doubtful": outcome.doubtful_success().is_some(),
            }),
            Self::CardFailed { code, last4, at_once } => {
                json!({"code": code, "last4": last4_text(*last4), "atOnce": at_once})
            }
            Self::CardTesting { pattern } => {
                let last4 = if let CardTestingPattern::LastFour(last4) = pattern { Some(*last4) } else { None };
                json!({"seen": pattern.as_str(), "last4": last4_text(last4)})
            }
            Self::LimitExceeded { bar, change } => json!({"by": bar.to_string(), "change": change.as_str()}),
            Self::Abandoned { why } => json!({"why": why}),
            Self::Settled { outcome, confirmation, note, corrects, operator } => {
                let mut data = with_operator(json!({"outcome": outcome, "note": note}), *operator);
                if let Some(code) = confirmation {
                    data["confirmationCode"] = json!(code);
                }
                if let Some(corrects) = corrects {
                    data["corrects"] = json!(corrects);
                }
                data
            }
            Self::Refunded { refund, operator, .. } => with_operator(json!(refund), *operator),
            Self::ReceiptRequested { attempt, language } => json!({"attempt": attempt, "language": language}),
            Self::Receipt { state, result, text_version } => {
                let (message, code, why) = match result {
                    ReceiptResult::Sent(sid) => (Some(sid.as_str()), None, None),
                    ReceiptResult::Impossible(code) | ReceiptResult::NotSent(code) => (None, *code, None),
                    ReceiptResult::Dropped(why) => (None, None, Some(*why)),
                    ReceiptResult::Unknown => (None, None, None),
                };
                json!({"state": state, "messageSid": message, "code": code, "why": why, "version": text_version})
            }
            Self::Delivered { attempts } => json!({"attempts": attempts}),
            Self::TokenExpiring { at } => json!({"at": at}),
            Self::CardRecovered | Self::TokenErased { undelivered: false } | Self::PersonalDataErased => json!({}),
            Self::TokenErased { undelivered: true } => json!({"undelivered": true}),
        }
    }
}

/// Adds what a server that takes up the session has to know of a callback about an entry.
fn with_report(mut data: Value, callback: &PaymentCallback) -> Value {
    if let Some(required) = callback.required {
        data["required"] = required.iter().map(Field::wire_name).collect();
    }
    if let Some(updated) = callback.date_updated {
        data["dateUpdated"] = json!(updated);
    }
    data
}

/// Adds the name of the operator to the data of an event.
fn with_operator(mut data: Value, operator: Option<&OperatorName>) -> Value {
    if let Some(operator) = operator {
        data["operator"] = json!(operator.as_str());
    }
    data
}

fn outcome_data(outcome: PaymentOutcome) -> Value {
    match outcome {
        PaymentOutcome::Succeeded => json!("succeeded"),
        PaymentOutcome::Declined => json!("declined"),
        PaymentOutcome::Failed => json!("failed"),
        PaymentOutcome::Cancelled => json!("cancelled"),
        PaymentOutcome::Abandoned => json!("abandoned"),
        PaymentOutcome::Unknown(doubt) => json!(format!("unknown: {doubt}")),
    }
}

/// A statement and the caller's answer, as data of an event of a payment or a call.
pub(super) fn statement_data(agreed: &ConsentRecord) -> Value {
    let amount = agreed.purpose.amount();
    json!({
        "purpose": agreed.purpose.as_str(),
        "amount": amount.map(|amount| amount.to_string()),
        "currency": amount.map(|amount| amount.currency().to_string()),
        "minor": amount.map(Amount::minor),
        "text": agreed.text,
        "sha256": agreed.sha256,
        "language": agreed.language,
        "version": agreed.text_version,
        "answer": agreed.answer.as_str(),
    })
}

/// A notice that the caller has heard, as data of an event of a call. It has the members of an answered statement.
pub(super) fn notice_data(kind: NoticeKind, heard: &SpokenStatement) -> Value {
    json!({
        "purpose": kind.as_str(),
        "amount": null,
        "currency": null,
        "minor": null,
        "text": heard.text,
        "sha256": text_sha256(&heard.text),
        "language": heard.language,
        "version": heard.text_version,
        "answer": null,
    })
}

/// What a statement was about, as it was recorded.
#[derive(Debug, Deserialize)]
struct StatementPurpose {
    purpose: String,
}

/// Whether the data of a statement are those of a notice of this kind.
pub(super) fn is_notice(data: &str, kind: NoticeKind) -> bool {
    serde_json::from_str::<StatementPurpose>(data).is_ok_and(|statement| statement.purpose == kind.as_str())
}

/// The server to which Twilio reports on a payment, as its first request was recorded.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ReportedTo {
    #[serde(default)]
    server: Option<String>,
}

impl ReportedTo {
    /// Reads the data of the first request of a payment.
    pub(super) fn parse(data: &str) -> Option<ServerId> {
        serde_json::from_str::<Self>(data).ok()?.server?.parse().ok()
    }
}

/// What a question about an amount said, as it was recorded.
#[derive(Debug, Deserialize)]
pub(super) struct StatementOfAmount {
    purpose: String,
    minor: u64,
    currency: String,
    answer: String,
}

impl StatementOfAmount {
    /// Reads the data of a statement. `None` if it did not ask about an amount.
    pub(super) fn parse(data: &RawValue) -> Option<Self> {
        let statement: Self = serde_json::from_str(data.get()).ok()?;
        ["charge", "charge-again"].contains(&statement.purpose.as_str()).then_some(statement)
    }

    /// The amount, if the caller agreed to it.
    pub(super) fn agreed_amount(&self) -> Option<Amount> {
        let is_agreed = self.answer == ConsentAnswer::Yes.as_str();
        if is_agreed { Amount::from_minor(self.minor, self.currency.parse().ok()?) } else { None }
    }
}

fn last4_text(last4: Option<Last4>) -> Option<String> {
    last4.map(|last4| last4.to_string())
}
