//! What evidence contains.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::clean::{clean_json, clean_text};
use super::describe::{STATEMENT, describe_event};
use crate::ledger::{DeliveryRecord, EventKind, EventRecord, PaymentHistory, PaymentState, PaymentView};
use crate::payment::{PaymentId, text_sha256};

/// `type` of the JSON. No webhook event has it: a signature of one is none of the other.
pub(super) const EVIDENCE_TYPE: &str = "payment.evidence";

/// Where evidence comes from.
#[derive(Debug, Clone)]
pub struct EvidenceOrigin {
    /// When it is written.
    pub written_at: Timestamp,
    /// The command that writes it.
    pub command: String,
    /// The file of the ledger, or its database without the password.
    pub ledger: String,
}

/// All that the ledger has about a payment, without card data and without a token.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentEvidence {
    r#type: &'static str,
    #[serde(skip)]
    pub(super) id: PaymentId,
    #[serde(skip)]
    pub(super) state: PaymentState,
    pub(super) written_at: Timestamp,
    pub(super) command: String,
    /// The version of the program.
    pub(super) version: &'static str,
    pub(super) ledger: String,
    /// As `GET /payments/{id}` shows it.
    pub(super) payment: Value,
    pub(super) call: CallEvidence,
    /// The events of the payment and the statements on its call, by time.
    pub(super) chronology: Vec<ChronologyEntry>,
    /// What the business was told.
    pub(super) webhook_events: Vec<WebhookEvidence>,
}

/// The call of a payment.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CallEvidence {
    pub(super) call_sid: String,
    /// `inbound` or `outbound`, if it is known.
    pub(super) direction: Option<String>,
    pub(super) caller: Option<String>,
    /// What the caller's network attests about the number.
    pub(super) attestation: Option<String>,
}

/// An event of the payment, or a statement on its call.
#[derive(Debug, Serialize)]
pub(super) struct ChronologyEntry {
    pub(super) at: Timestamp,
    pub(super) kind: String,
    pub(super) words: String,
    /// The SHA-256 of the whole text of a statement, as it was spoken, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sha256: Option<String>,
    pub(super) data: Value,
}

/// A webhook event about the payment.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WebhookEvidence {
    pub(super) written_at: Timestamp,
    /// When the business accepted it. `None`: it has not yet.
    pub(super) accepted_at: Option<Timestamp>,
    pub(super) failed_attempts: u32,
    pub(super) event: Value,
}

impl PaymentEvidence {
    /// Makes evidence of what the ledger has about a payment.
    pub fn new(history: PaymentHistory, origin: &EvidenceOrigin) -> Self {
        let PaymentHistory { payment, events, statements, deliveries, direction } = history;
        let (id, state, call_sid) = (payment.id, payment.state, payment.call_sid.to_string());
        let mut payment = serde_json::to_value(PaymentView::from(payment)).expect("texts and numbers always serialise");
        clean_json(&mut payment);
        let member = |name: &str| payment[name].as_str().map(str::to_owned);
        let currency = member("currency");
        // A statement is recorded before the payment that begins on it.
        let mut chronology: Vec<ChronologyEntry> =
            statements.iter().chain(&events).map(|event| ChronologyEntry::new(event, currency.as_deref())).collect();
        chronology.sort_by_key(|entry| entry.at);
        let attested = chronology.iter().rfind(|entry| entry.kind == EventKind::CallerAttested.as_str());
        let attestation = attested.and_then(|entry| entry.data["attestation"].as_str().map(str::to_owned));
        Self {
            r#type: EVIDENCE_TYPE,
            id,
            state,
            written_at: origin.written_at,
            command: clean_text(&origin.command),
            version: env!("CARGO_PKG_VERSION"),
            ledger: clean_text(&origin.ledger),
            call: CallEvidence { call_sid, direction, caller: member("caller"), attestation },
            payment,
            chronology,
            webhook_events: deliveries.into_iter().map(WebhookEvidence::from).collect(),
        }
    }

    /// The id of the payment.
    pub fn id(&self) -> PaymentId {
        self.id
    }
}

impl ChronologyEntry {
    fn new(event: &EventRecord, currency: Option<&str>) -> Self {
        let mut data = parse(&event.data);
        let statements = [STATEMENT, EventKind::StatementAgreed.as_str(), EventKind::Authorized.as_str()];
        let is_statement = statements.contains(&event.kind.as_str());
        let text = data["text"].as_str().filter(|_| is_statement);
        // Earlier versions did not record it: their texts are as spoken.
        let sha256 = data["sha256"].as_str().map(str::to_owned).or_else(|| text.map(text_sha256));
        let words = describe_event(&event.kind, &data, currency);
        clean_json(&mut data);
        Self { at: event.at, kind: clean_text(&event.kind), words, sha256, data }
    }
}

impl From<DeliveryRecord> for WebhookEvidence {
    fn from(record: DeliveryRecord) -> Self {
        let DeliveryRecord { written_at, delivered_at, failed_attempts, event } = record;
        let mut event = parse(&event);
        clean_json(&mut event);
        Self { written_at, accepted_at: delivered_at, failed_attempts, event }
    }
}

fn parse(json: &RawValue) -> Value {
    serde_json::from_str(json.get()).unwrap_or_default()
}
