//! Outcomes on their way to the business. Each is written with the change that it tells of, and stays until it is taken.

use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::payment::{Find, find};
use super::{Error, Event, Ledger, Payment, State, Writing};
use crate::payment::{Amount, PaymentId};
use crate::redact::Private;

/// The longest wait before a delivery is tried again.
pub const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(1);

/// A webhook event, as JSON: how a payment stands after something happened to it. A payment has several, in order: one
/// that is unknown is settled later, one that was charged is refunded.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// The same on each attempt to deliver the event, and never used again. An older version wrote none.
    #[serde(default)]
    event_id: Option<String>,
    /// `payment.` and what happened.
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
    /// Decimal text in major units; none where a card was to be stored.
    amount: Option<String>,
    minor: Option<u64>,
    currency: Option<String>,
    /// How much of it is refunded in all, in minor units.
    #[serde(default)]
    refunded_minor: u64,
    last4: Option<String>,
    confirmation_code: Option<String>,
    /// Only while it is being delivered.
    payment_token: Option<String>,
    profile_id: Option<String>,
    error: Option<Failure>,
    /// The refund or the dispute that the event is about.
    #[serde(default)]
    refund: Option<RefundData>,
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

/// Why it is no success: Twilio's result and code, where there was one.
#[derive(Serialize, Deserialize)]
struct Failure {
    result: Option<String>,
    code: Option<u32>,
    #[serde(default)]
    text: Option<String>,
}

/// Nothing of it.
impl std::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outcome").field("id", &self.id).field("state", &self.state).finish_non_exhaustive()
    }
}

/// An outcome that is to be delivered now.
#[derive(Debug)]
pub struct Due {
    seq: i64,
    /// The payment.
    pub payment: PaymentId,
    /// The body of the request. The token is in it.
    pub body: SecretString,
    /// How often it was sent in vain.
    pub attempts: u32,
}

/// The outcomes that wait for their delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// How many.
    pub waiting: u64,
    /// When the oldest was written.
    pub oldest: Option<Timestamp>,
}

impl Backlog {
    /// How long the oldest has waited; not below zero, though the clock was set back.
    pub fn age(&self, now: Timestamp) -> Option<SignedDuration> {
        self.oldest.map(|oldest| now.duration_since(oldest).max(SignedDuration::ZERO))
    }
}

impl Outcome {
    fn of(payment: &Payment, at: Timestamp) -> Self {
        let failure =
            || Failure { result: payment.result.clone(), code: payment.result_code, text: payment.result_text.clone() };
        let text = |text: &Option<Private<String>>| text.as_ref().map(|text| text.reveal().clone());
        Self {
            event_id: Some(Uuid::new_v4().to_string()),
            kind: Some(kind_of(payment.state.as_str())),
            id: payment.id.to_string(),
            state: payment.state.to_string(),
            at,
            call_sid: payment.call.to_string(),
            payment_sid: payment.sid.as_ref().map(ToString::to_string),
            call_reference: text(&payment.reference),
            order_reference: text(&payment.order_reference),
            description: text(&payment.description),
            method: Some(payment.method.clone()),
            live: Some(payment.live),
            amount: payment.amount.map(|amount| amount.to_string()),
            minor: payment.amount.map(Amount::minor),
            currency: payment.amount.map(|amount| amount.currency().to_string()),
            refunded_minor: payment.refunded,
            last4: payment.last4.clone(),
            confirmation_code: payment.confirmation.clone(),
            payment_token: None,
            profile_id: payment.profile.clone(),
            error: payment.state.is_without_success().then(failure),
            refund: None,
        }
    }
}

/// The type of an event of which this happened to the payment.
fn kind_of(happened: &str) -> String {
    format!("payment.{happened}")
}

/// Puts an event into the outbox that says how a payment stands now.
pub(super) async fn put(writing: &mut Writing, payment: &Payment) -> Result<(), Error> {
    let outcome = Outcome::of(payment, writing.now);
    insert(writing, payment, &outcome).await
}

/// As [`put`], for a refund or a dispute; `happened` says which.
pub(super) async fn put_refund(
    writing: &mut Writing,
    payment: &Payment,
    happened: &str,
    refund: RefundData,
) -> Result<(), Error> {
    let outcome = Outcome { kind: Some(kind_of(happened)), refund: Some(refund), ..Outcome::of(payment, writing.now) };
    insert(writing, payment, &outcome).await
}

async fn insert(writing: &mut Writing, payment: &Payment, outcome: &Outcome) -> Result<(), Error> {
    let outcome = serde_json::to_string(outcome).expect("texts and numbers always serialise");
    sqlx::query("INSERT INTO outbox (payment_id, outcome, written_at, due_at) VALUES (?1, ?2, ?3, ?3)")
        .bind(payment.id.to_string())
        .bind(outcome)
        .bind(writing.now.as_millisecond())
        .execute(&mut *writing.transaction)
        .await?;
    Ok(())
}

impl Ledger {
    /// The outcomes that are due, at most `limit`: those that were never sent first, then by the time that they are due; of a
    /// payment only its oldest. What is due later than the longest wait from now was written before the clock was set back:
    /// it is due.
    pub async fn due(&self, now: Timestamp, limit: u32) -> Result<Vec<Due>, Error> {
        if self.0.faults.bars_deliveries() {
            return Ok(Vec::new());
        }
        let rows = sqlx::query(
            "SELECT outbox.id, payment_id, outcome, attempts, token FROM outbox JOIN payments ON payments.id = payment_id \
             WHERE delivered_at IS NULL AND (due_at <= ?1 OR due_at > ?2) AND NOT EXISTS (SELECT 1 FROM outbox AS older \
             WHERE older.payment_id = outbox.payment_id AND older.id < outbox.id AND older.delivered_at IS NULL) \
             ORDER BY attempts > 0, due_at LIMIT ?3",
        )
        .bind(now.as_millisecond())
        .bind(longest_wait_from(now))
        .bind(limit)
        .fetch_all(&self.0.readers)
        .await?;
        rows.iter().map(due).collect()
    }

    /// When the next delivery becomes due, of those that are not due yet.
    pub async fn next_due(&self, now: Timestamp) -> Result<Option<Timestamp>, Error> {
        let next = sqlx::query_scalar(
            "SELECT min(due_at) FROM outbox WHERE delivered_at IS NULL AND due_at > ? AND due_at <= ?",
        )
        .bind(now.as_millisecond())
        .bind(longest_wait_from(now));
        let next: Option<i64> = next.fetch_one(&self.0.readers).await?;
        Ok(next.and_then(|at| Timestamp::from_millisecond(at).ok()))
    }

    /// What waits for its delivery.
    pub async fn backlog(&self) -> Result<Backlog, Error> {
        let row = sqlx::query("SELECT count(*), min(written_at) FROM outbox WHERE delivered_at IS NULL")
            .fetch_one(&self.0.readers)
            .await?;
        let oldest = row.try_get::<Option<i64>, _>(1)?.and_then(|at| Timestamp::from_millisecond(at).ok());
        Ok(Backlog { waiting: row.try_get::<i64, _>(0)?.unsigned_abs(), oldest })
    }

    /// Makes everything that waits due now, and returns what that is.
    pub async fn deliver_now(&self) -> Result<Backlog, Error> {
        let mut writing = self.write().await?;
        sqlx::query("UPDATE outbox SET due_at = ? WHERE delivered_at IS NULL")
            .bind(writing.now.as_millisecond())
            .execute(&mut *writing.transaction)
            .await?;
        writing.commit().await?;
        self.backlog().await
    }

    /// Waits until an outcome was written. Those that another process writes are not noticed.
    pub async fn outcome_written(&self) {
        self.0.outcome_written.notified().await;
    }

    /// The business has taken an outcome: the token is erased.
    pub async fn delivered(&self, due: &Due) -> Result<(), Error> {
        let mut writing = self.write().await?;
        let delivered = sqlx::query("UPDATE outbox SET delivered_at = ? WHERE id = ? AND delivered_at IS NULL")
            .bind(writing.now.as_millisecond())
            .bind(due.seq)
            .execute(&mut *writing.transaction)
            .await?;
        if delivered.rows_affected() == 0 {
            return Ok(());
        }
        let payment = find(&mut *writing.transaction, Find::Id(due.payment)).await?;
        let payment = payment.ok_or(Error::Unreadable("an outcome without a payment"))?;
        writing.append(&payment, &Event::Delivered { attempts: due.attempts + 1 }, None).await?;
        if !writing.is_token_wanted(&payment).await? {
            writing.erase_token(&payment).await?;
        }
        writing.commit().await
    }

    /// The business has not taken an outcome: it is sent again then.
    pub async fn postponed(&self, due: &Due, until: Timestamp) -> Result<(), Error> {
        let mut writing = self.write().await?;
        sqlx::query("UPDATE outbox SET attempts = attempts + 1, due_at = ? WHERE id = ?")
            .bind(until.as_millisecond())
            .bind(due.seq)
            .execute(&mut *writing.transaction)
            .await?;
        writing.commit().await
    }
}

fn longest_wait_from(now: Timestamp) -> i64 {
    now.saturating_add(LONGEST_WAIT).unwrap_or(Timestamp::MAX).as_millisecond()
}

fn due(row: &SqliteRow) -> Result<Due, Error> {
    let outcome: String = row.try_get("outcome")?;
    let mut outcome: Outcome = serde_json::from_str(&outcome).map_err(|_| Error::Unreadable("an outcome"))?;
    let seq: i64 = row.try_get("id")?;
    let payment: PaymentId = outcome.id.parse().map_err(|_| Error::Unreadable("an id"))?;
    let state: State = outcome.state.parse().map_err(|_| Error::Unreadable("a state"))?;
    let token = row.try_get::<Option<String>, _>("token")?.map(SecretString::from);
    outcome.payment_token = token.filter(|_| state.is_paid()).map(|token| token.expose_secret().to_owned());
    outcome
        .event_id
        .get_or_insert_with(|| Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{payment} {seq}").as_bytes()).to_string());
    outcome.kind.get_or_insert_with(|| kind_of(state.as_str()));
    Ok(Due {
        seq,
        payment,
        body: serde_json::to_string(&outcome).expect("texts and numbers always serialise").into(),
        attempts: row.try_get("attempts")?,
    })
}
