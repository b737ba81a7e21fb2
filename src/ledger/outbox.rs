//! The outbox: events to deliver to the webhook. Each is written in the transaction that changes the payment or records
//! the end of the call, and stays until the webhook accepts it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _};
use uuid::Uuid;

use super::payment::{PaymentKey, find_payment};
use super::recorded_steps::read_statement;
use super::{Ledger, LedgerError, LedgerEvent, LedgerTransaction, Payment, PaymentState, call_end, tokens};
use crate::ids::CallSid;
use crate::payment::{Amount, PaymentId};
use crate::redact::Private;
use crate::sealing::{SealingKeys, UnsealError, unseal};

/// The longest delay before a delivery is retried.
pub const MAX_RETRY_DELAY: SignedDuration = SignedDuration::from_hours(1);

/// How long a server has an event that it delivers to itself: twice as long as an attempt may take.
const CLAIM_LENGTH: SignedDuration = SignedDuration::from_secs(20);

/// What makes an event due at `$1`, with the latest time of a retry in `$2`: nothing older of its payment is undelivered.
const DUE: &str = "delivered_at IS NULL AND (due_at <= $1 OR due_at > $2) AND NOT EXISTS (SELECT 1 FROM outbox AS older \
    WHERE older.payment_id = outbox.payment_id AND older.id < outbox.id AND older.delivered_at IS NULL)";

/// What was never sent comes first.
const DUE_ORDER: &str = "attempts > 0, due_at";

/// A webhook event as JSON: the state of a payment after a change. A payment may have several, in order: unknown and
/// then charged, charged and then refunded.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookEvent {
    /// The unique id of the event, the same on each delivery attempt. Older versions wrote none.
    #[serde(default)]
    event_id: Option<String>,
    /// `payment.` and the change.
    #[serde(default, rename = "type")]
    kind: Option<String>,
    id: String,
    state: String,
    at: Timestamp,
    call_sid: String,
    #[serde(default)]
    payment_sid: Option<String>,
    call_reference: Option<String>,
    #[serde(default)]
    order_reference: Option<String>,
    #[serde(default)]
    description: Option<String>,
    /// Twilio's `PaymentMethod`.
    #[serde(default)]
    method: Option<String>,
    /// Whether real money moves.
    #[serde(default)]
    live: Option<bool>,
    /// Decimal text in major units. `None` if a card was to be stored.
    amount: Option<String>,
    minor: Option<u64>,
    currency: Option<String>,
    /// The total of all refunds, in minor units.
    #[serde(default)]
    refunded_minor: u64,
    last4: Option<String>,
    confirmation_code: Option<String>,
    /// Set only in the request, never in the outbox.
    payment_token: Option<String>,
    profile_id: Option<String>,
    error: Option<EventFailure>,
    /// What the caller authorised before the payment was submitted, if it needed that.
    #[serde(default)]
    authorization: Option<AuthorizationData>,
    /// The refund or the dispute that the event is about.
    #[serde(default)]
    refund: Option<RefundData>,
}

/// The caller's authorisation in a webhook event. Its text is in the ledger.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuthorizationData {
    /// Unique to this authorisation: what a stored card is used on.
    id: String,
    /// `bank-debit` or `stored-card`.
    purpose: String,
    text_version: String,
    /// Of the whole statement as spoken.
    sha256: String,
    language: String,
    at: Timestamp,
}

/// A refund or a dispute in a webhook event.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct RefundData {
    /// Decimal text in major units.
    pub(super) amount: String,
    pub(super) minor: u64,
    pub(super) reference: String,
    pub(super) at: Timestamp,
}

/// Why the payment did not succeed: Twilio's result, error code and text, if any.
#[derive(Serialize, Deserialize)]
struct EventFailure {
    result: Option<String>,
    code: Option<u32>,
    #[serde(default)]
    text: Option<String>,
}

/// Shows the id and the state only.
impl std::fmt::Debug for WebhookEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookEvent").field("id", &self.id).field("state", &self.state).finish_non_exhaustive()
    }
}

/// What a webhook event is about. The events of a payment are delivered in order; those of calls wait for nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliverySubject {
    /// A payment.
    Payment(PaymentId),
    /// The end of a call.
    Call(CallSid),
}

impl DeliverySubject {
    /// The payment, if it is one.
    pub fn payment_id(&self) -> Option<PaymentId> {
        if let Self::Payment(id) = self { Some(*id) } else { None }
    }

    /// The call, if it is the end of one.
    pub fn call_sid(&self) -> Option<&CallSid> {
        if let Self::Call(sid) = self { Some(sid) } else { None }
    }
}

/// An event that is due for delivery.
#[derive(Debug)]
pub struct DueDelivery {
    outbox_id: i64,
    /// What it is about.
    pub subject: DeliverySubject,
    /// The body of the request, with the token. It may be sealed with a key that the ledger does not have.
    pub body: Result<SecretString, UnsealError>,
    /// Number of failed attempts.
    pub attempts: u32,
}

/// The events that are not delivered yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Number of events.
    pub waiting: u64,
    /// When the oldest was written.
    pub oldest: Option<Timestamp>,
}

impl Backlog {
    /// The age of the oldest event. Zero if the clock was set back.
    pub fn age(&self, now: Timestamp) -> Option<SignedDuration> {
        self.oldest.map(|oldest| now.duration_since(oldest).max(SignedDuration::ZERO))
    }
}

impl WebhookEvent {
    fn new(payment: &Payment, at: Timestamp) -> Self {
        let failure = || EventFailure {
            result: payment.result.clone(),
            code: payment.result_code,
            text: payment.result_text.clone(),
        };
        let text = |text: &Option<Private<String>>| text.as_ref().map(|text| text.reveal().clone());
        Self {
            event_id: Some(Uuid::new_v4().to_string()),
            kind: Some(event_type(payment.state.as_str())),
            id: payment.id.to_string(),
            state: payment.state.to_string(),
            at,
            call_sid: payment.call_sid.to_string(),
            payment_sid: payment.payment_sid.as_ref().map(ToString::to_string),
            call_reference: text(&payment.call_reference),
            order_reference: text(&payment.order_reference),
            description: text(&payment.description),
            method: Some(payment.method.clone()),
            live: Some(payment.live),
            amount: payment.amount.map(|amount| amount.to_string()),
            minor: payment.amount.map(Amount::minor),
            currency: payment.amount.map(|amount| amount.currency().to_string()),
            refunded_minor: payment.refunded,
            last4: payment.last4.clone(),
            confirmation_code: payment.confirmation_code.clone(),
            payment_token: None,
            profile_id: payment.profile_id.clone(),
            error: payment.state.is_without_success().then(failure),
            authorization: None,
            refund: None,
        }
    }
}

/// The webhook event type of a change.
fn event_type(happened: &str) -> String {
    format!("payment.{happened}")
}

/// Adds the current state of a payment to the outbox.
pub(super) async fn enqueue(writing: &mut LedgerTransaction, payment: &Payment) -> Result<(), LedgerError> {
    let outcome = WebhookEvent::new(payment, writing.now);
    insert_event(writing, payment, outcome).await
}

/// Adds a refund or a dispute to the outbox. `happened` is `refunded` or `disputed`.
pub(super) async fn enqueue_refund(
    writing: &mut LedgerTransaction,
    payment: &Payment,
    happened: &str,
    refund: RefundData,
) -> Result<(), LedgerError> {
    let outcome = WebhookEvent {
        kind: Some(event_type(happened)),
        refund: Some(refund),
        ..WebhookEvent::new(payment, writing.now)
    };
    insert_event(writing, payment, outcome).await
}

async fn insert_event(
    writing: &mut LedgerTransaction,
    payment: &Payment,
    outcome: WebhookEvent,
) -> Result<(), LedgerError> {
    let authorization = writing.find_authorization(payment).await?;
    let outcome =
        serde_json::to_string(&WebhookEvent { authorization, ..outcome }).expect("texts and numbers always serialise");
    sqlx::query("INSERT INTO outbox (payment_id, outcome, written_at, due_at) VALUES ($1, $2, $3, $3)")
        .bind(payment.id.to_string())
        .bind(outcome)
        .bind(writing.now.as_millisecond())
        .execute(&mut writing.transaction)
        .await?;
    Ok(())
}

impl Ledger {
    /// The events that are due, at most `limit`: first those that were never sent, then by due time, and of each
    /// payment only the oldest. One that is due later than [`MAX_RETRY_DELAY`] from now was written before the clock
    /// was set back: it is due.
    pub async fn due_deliveries(&self, now: Timestamp, limit: u32) -> Result<Vec<DueDelivery>, LedgerError> {
        if self.0.faults.is_delivery_blocked() {
            return Ok(Vec::new());
        }
        let due = format!(
            "SELECT outbox.id, outbox.call_sid, outcome, attempts, token FROM outbox \
             LEFT JOIN payments ON payments.id = payment_id WHERE {DUE} ORDER BY {DUE_ORDER} LIMIT $3"
        );
        let rows = sqlx::query(AssertSqlSafe(due))
            .bind(now.as_millisecond())
            .bind(max_retry_time(now))
            .bind(i64::from(limit))
            .fetch_all(&self.0.readers)
            .await?;
        let keys = self.0.sealing_keys.get();
        rows.iter().map(|row| read_due_delivery(row, keys)).collect()
    }

    /// Claims events that are due for this server, as [`due_deliveries`](Self::due_deliveries) finds them. Where several
    /// servers share the ledger no other one gets them for [`CLAIM_LENGTH`]: if this server dies, another delivers them then.
    ///
    /// Returns at most `room` of them or, from a file, also the `in_flight` ones of this server, which are due as well.
    pub(crate) async fn claim_deliveries(
        &self,
        now: Timestamp,
        room: usize,
        in_flight: usize,
    ) -> Result<Vec<DueDelivery>, LedgerError> {
        let limit = |count| u32::try_from(count).unwrap_or(u32::MAX);
        let due = self.due_deliveries(now, limit(room + in_flight)).await?;
        if due.is_empty() || !self.0.database.is_remote() {
            return Ok(due);
        }
        let claim = format!(
            "WITH claimed AS (UPDATE outbox SET due_at = $4 WHERE id IN (SELECT id FROM outbox WHERE {DUE} \
             ORDER BY {DUE_ORDER} LIMIT $3 FOR UPDATE SKIP LOCKED) RETURNING id, payment_id, call_sid, outcome, attempts) \
             SELECT claimed.id, claimed.call_sid, outcome, attempts, token FROM claimed \
             LEFT JOIN payments ON payments.id = payment_id"
        );
        let until = now.saturating_add(CLAIM_LENGTH).unwrap_or(Timestamp::MAX);
        let mut writing = self.begin_write().await?;
        let rows = sqlx::query(AssertSqlSafe(claim))
            .bind(now.as_millisecond())
            .bind(max_retry_time(now))
            .bind(i64::from(limit(room)))
            .bind(until.as_millisecond())
            .fetch_all(&mut writing.transaction)
            .await?;
        writing.commit().await?;
        let keys = self.0.sealing_keys.get();
        rows.iter().map(|row| read_due_delivery(row, keys)).collect()
    }

    /// When the next delivery becomes due, apart from those that are due already.
    pub async fn next_delivery_at(&self, now: Timestamp) -> Result<Option<Timestamp>, LedgerError> {
        let next = sqlx::query_scalar(
            "SELECT min(due_at) FROM outbox WHERE delivered_at IS NULL AND due_at > $1 AND due_at <= $2",
        )
        .bind(now.as_millisecond())
        .bind(max_retry_time(now));
        let next: Option<i64> = next.fetch_one(&self.0.readers).await?;
        Ok(next.and_then(|at| Timestamp::from_millisecond(at).ok()))
    }

    /// The events that are not delivered yet.
    pub async fn backlog(&self) -> Result<Backlog, LedgerError> {
        let row = sqlx::query("SELECT count(*), min(written_at) FROM outbox WHERE delivered_at IS NULL")
            .fetch_one(&self.0.readers)
            .await?;
        let oldest = row.try_get::<Option<i64>, _>(1)?.and_then(|at| Timestamp::from_millisecond(at).ok());
        Ok(Backlog { waiting: row.try_get::<i64, _>(0)?.unsigned_abs(), oldest })
    }

    /// Makes all events that are not delivered yet due now, and returns them.
    pub async fn make_deliveries_due(&self) -> Result<Backlog, LedgerError> {
        let mut writing = self.begin_write().await?;
        sqlx::query("UPDATE outbox SET due_at = $1 WHERE delivered_at IS NULL")
            .bind(writing.now.as_millisecond())
            .execute(&mut writing.transaction)
            .await?;
        writing.commit().await?;
        self.backlog().await
    }

    /// Waits until this process writes an event. Writes of other processes are not noticed.
    pub async fn wait_for_outcome(&self) {
        self.0.outcome_written.notified().await;
    }

    /// Records that the webhook accepted an event, and erases the token if no other event needs it.
    pub async fn record_delivered(&self, due: &DueDelivery) -> Result<(), LedgerError> {
        let mut writing = self.begin_write().await?;
        let delivered = sqlx::query("UPDATE outbox SET delivered_at = $1 WHERE id = $2 AND delivered_at IS NULL")
            .bind(writing.now.as_millisecond())
            .bind(due.outbox_id)
            .execute(&mut writing.transaction)
            .await?;
        if delivered.rows_affected() == 0 {
            return Ok(());
        }
        let DeliverySubject::Payment(payment) = due.subject else {
            writing.delete_delivered(due.outbox_id).await?;
            return writing.commit().await;
        };
        writing.lock_call_of(payment).await?;
        let payment = find_payment(&mut writing.transaction, PaymentKey::Id(payment)).await?;
        let payment = payment.ok_or(LedgerError::Unreadable("an outcome without a payment"))?;
        writing.append_event(&payment, &LedgerEvent::Delivered { attempts: due.attempts + 1 }, None).await?;
        if !writing.is_token_needed(&payment).await? {
            writing.erase_token(&payment).await?;
        }
        writing.commit().await
    }

    /// Postpones an event that the webhook did not accept.
    pub async fn postpone_delivery(&self, due: &DueDelivery, until: Timestamp) -> Result<(), LedgerError> {
        let mut writing = self.begin_write().await?;
        sqlx::query("UPDATE outbox SET attempts = attempts + 1, due_at = $1 WHERE id = $2")
            .bind(until.as_millisecond())
            .bind(due.outbox_id)
            .execute(&mut writing.transaction)
            .await?;
        writing.commit().await
    }
}

impl LedgerTransaction {
    /// Finds the authorisation on which a payment was submitted last.
    async fn find_authorization(&mut self, payment: &Payment) -> Result<Option<AuthorizationData>, LedgerError> {
        let found = sqlx::query_as(
            "SELECT id, at, data FROM events WHERE payment_id = $1 AND kind = 'authorized' ORDER BY id DESC LIMIT 1",
        );
        let found: Option<(i64, i64, String)> =
            found.bind(payment.id.to_string()).fetch_optional(&mut self.transaction).await?;
        let Some((id, at, data)) = found else { return Ok(None) };
        let unreadable = || LedgerError::Unreadable("an authorisation");
        let authorization = read_statement(&data).ok_or_else(unreadable)?;
        Ok(Some(AuthorizationData {
            id: payment.id.authorization_id(id).to_string(),
            purpose: authorization.purpose.as_str().to_owned(),
            text_version: authorization.text_version,
            sha256: authorization.sha256,
            language: authorization.language,
            at: Timestamp::from_millisecond(at).map_err(|_| unreadable())?,
        }))
    }

    /// Deletes an event about a call: it has personal data that nothing needs any more. SQLite overwrites it in the file
    /// with zeros (`secure_delete`).
    async fn delete_delivered(&mut self, outbox_id: i64) -> Result<(), LedgerError> {
        sqlx::query("DELETE FROM outbox WHERE id = $1").bind(outbox_id).execute(&mut self.transaction).await?;
        self.ledger.0.erasures.mark_erased();
        Ok(())
    }
}

/// The members of an event about a payment that hold personal data, and what they hold without it.
pub(super) const PERSONAL_MEMBERS: [(&str, &str); 3] =
    [("callReference", "null"), ("orderReference", "null"), ("description", "null")];

/// Replaces the members of an event that hold personal data. `None` if it holds none.
pub(super) fn erase_members(outcome: &str, members: &[(&str, &str)]) -> Result<Option<String>, LedgerError> {
    let unreadable = |_| LedgerError::Unreadable("an outcome");
    let mut event: BTreeMap<&str, &RawValue> = serde_json::from_str(outcome).map_err(unreadable)?;
    let mut is_changed = false;
    for (name, erased) in members {
        if let Some(value) = event.get_mut(name).filter(|value| value.get() != *erased) {
            *value = serde_json::from_str(erased).map_err(unreadable)?;
            is_changed = true;
        }
    }
    Ok(is_changed.then(|| serde_json::to_string(&event).expect("JSON always serialises")))
}

fn max_retry_time(now: Timestamp) -> i64 {
    now.saturating_add(MAX_RETRY_DELAY).unwrap_or(Timestamp::MAX).as_millisecond()
}

fn read_due_delivery(row: &AnyRow, keys: Option<&SealingKeys>) -> Result<DueDelivery, LedgerError> {
    let outcome: String = row.try_get("outcome")?;
    let attempts = u32::try_from(row.try_get::<i64, _>("attempts")?).unwrap_or(u32::MAX);
    if let Some(call) = row.try_get::<Option<String>, _>("call_sid")? {
        return Ok(DueDelivery {
            outbox_id: row.try_get("id")?,
            body: call_end::open_event(keys, &call, outcome),
            subject: DeliverySubject::Call(CallSid::from_stored(call)),
            attempts,
        });
    }
    let mut outcome: WebhookEvent =
        serde_json::from_str(&outcome).map_err(|_| LedgerError::Unreadable("an outcome"))?;
    let seq: i64 = row.try_get("id")?;
    let payment: PaymentId = outcome.id.parse().map_err(|_| LedgerError::Unreadable("an id"))?;
    let state: PaymentState = outcome.state.parse().map_err(|_| LedgerError::Unreadable("a state"))?;
    let token = row.try_get::<Option<String>, _>("token")?.filter(|_| state.is_paid());
    let token = token.map(|token| unseal(keys, tokens::place(&outcome.id), token)).transpose();
    outcome
        .event_id
        .get_or_insert_with(|| Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{payment} {seq}").as_bytes()).to_string());
    outcome.kind.get_or_insert_with(|| event_type(state.as_str()));
    let body = token.map(|token| {
        outcome.payment_token = token.map(|token| token.expose_secret().to_owned());
        serde_json::to_string(&outcome).expect("texts and numbers always serialise").into()
    });
    Ok(DueDelivery { outbox_id: seq, subject: DeliverySubject::Payment(payment), body, attempts })
}
