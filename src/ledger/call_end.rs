//! The event `call.ended`: one for each phone call, with what the agent wrote down. It is in the outbox until it is
//! delivered, and is then deleted.

use jiff::Timestamp;
use secrecy::SecretString;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::payment::find_by_call;
use super::{CallData, Ledger, LedgerError, LedgerRecord, LedgerTransaction, requests};
use crate::phone_number::PhoneNumber;
use crate::redact::Private;
use crate::sealing::{SealedPlace, SealingKeys, UnsealError, unseal};

/// The end of a phone call, or of the agent's part in it.
#[derive(Debug)]
pub struct CallEnd {
    /// The call.
    pub call: CallData,
    /// Whether this server placed the call.
    pub outbound: bool,
    /// When the session of the call began.
    pub started_at: Timestamp,
    /// Why the agent's part ended: a stable word, such as `caller-hung-up`.
    pub reason: &'static str,
    /// The hand-off data that Twilio got, as JSON text, if a person took over.
    pub handoff: Option<Private<String>>,
    /// The model's summary of the call. Empty if there is none.
    pub summary: Private<String>,
    /// The other arguments of the tool call that ended the call.
    pub arguments: Private<Map<String, Value>>,
    /// Whether the open payments of the call are recovered: they are then not abandoned here.
    pub is_recovered: bool,
}

/// The webhook event.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CallEndedEvent<'a> {
    event_id: String,
    r#type: &'static str,
    at: Timestamp,
    call_sid: &'a str,
    call_reference: Option<&'a str>,
    direction: &'static str,
    started_at: Timestamp,
    ended_at: Timestamp,
    seconds: i64,
    reason: &'static str,
    handoff: Option<&'a RawValue>,
    conversation_summary: Option<&'a str>,
    arguments: &'a Map<String, Value>,
    payments: Vec<PaymentOfCall>,
}

/// A payment of the call.
#[derive(Serialize)]
struct PaymentOfCall {
    id: String,
    state: &'static str,
}

impl Ledger {
    /// Records the end of a call: abandons its open payments, and adds `call.ended` to the outbox, in one transaction.
    pub async fn report_call_end(&self, end: CallEnd) -> Result<(), LedgerError> {
        self.write_or_buffer(LedgerRecord::CallEndReport(Box::new(end), Uuid::new_v4())).await.map(drop)
    }
}

/// Writes the end of a call. `id` is that of the event.
pub(super) async fn write_call_end(
    writing: &mut LedgerTransaction,
    end: &CallEnd,
    id: Uuid,
) -> Result<(), LedgerError> {
    let has_ended = if end.is_recovered {
        !writing.has_moved(&end.call).await?
    } else {
        requests::write_call_ended(writing, &end.call).await?
    };
    // Another server has the call, and will report its end.
    if !has_ended {
        return Ok(());
    }
    let payments = find_by_call(&mut writing.transaction, &end.call.call_sid).await?;
    let now = writing.now;
    let event = CallEndedEvent {
        event_id: id.to_string(),
        r#type: "call.ended",
        at: now,
        call_sid: end.call.call_sid.as_str(),
        call_reference: end.call.call_reference.as_ref().map(|reference| reference.reveal().as_str()),
        direction: if end.outbound { "outbound" } else { "inbound" },
        started_at: end.started_at,
        ended_at: now,
        seconds: now.duration_since(end.started_at).as_secs().max(0),
        reason: end.reason,
        handoff: end.handoff.as_ref().and_then(|data| serde_json::from_str(data.reveal()).ok()),
        conversation_summary: Some(end.summary.reveal().trim()).filter(|summary| !summary.is_empty()),
        arguments: end.arguments.reveal(),
        payments: payments
            .iter()
            .map(|payment| PaymentOfCall { id: payment.id.to_string(), state: payment.state.as_str() })
            .collect(),
    };
    let event = serde_json::to_string(&event).expect("JSON always serialises");
    let event = seal_event(writing.ledger.0.sealing_keys.get(), end.call.call_sid.as_str(), event);
    sqlx::query("INSERT INTO outbox (call_sid, caller, outcome, written_at, due_at) VALUES ($1, $2, $3, $4, $4)")
        .bind(end.call.call_sid.as_str())
        .bind(end.call.caller.as_ref().map(PhoneNumber::as_str))
        .bind(event)
        .bind(now.as_millisecond())
        .execute(&mut writing.transaction)
        .await?;
    writing.has_outcome = true;
    Ok(())
}

/// Where the event of a call is kept.
fn place(call_sid: &str) -> SealedPlace<'_> {
    SealedPlace { column: "outbox.outcome", row: call_sid }
}

/// The event as it is stored: sealed if there is a key, since it says what was said. The outbox holds JSON, so that it is a
/// JSON text then.
pub(super) fn seal_event(keys: Option<&SealingKeys>, call_sid: &str, event: String) -> String {
    match keys {
        Some(keys) => Value::from(keys.seal(place(call_sid), &event)).to_string(),
        None => event,
    }
}

/// The event of a stored one.
pub(super) fn open_event(
    keys: Option<&SealingKeys>,
    call_sid: &str,
    stored: String,
) -> Result<SecretString, UnsealError> {
    match serde_json::from_str::<String>(&stored) {
        Ok(sealed) => unseal(keys, place(call_sid), sealed),
        Err(_) => Ok(stored.into()),
    }
}

/// The members of the event that hold personal data, and what they hold without it.
pub(super) const PERSONAL_MEMBERS: [(&str, &str); 4] =
    [("callReference", "null"), ("conversationSummary", "null"), ("handoff", "null"), ("arguments", "{}")];
