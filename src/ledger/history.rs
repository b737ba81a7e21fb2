//! Reads all that the ledger has about a payment, as of one moment.

use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::value::RawValue;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};
use tokio::time::timeout;

use super::connection::timed_out;
use super::limited::READ_LIMIT;
use super::payment::{
    EventRecord, PaymentKey, READ_EVENTS, READ_STATEMENTS, find_by_call, find_payment, read_history, read_timestamp,
};
use super::{Ledger, LedgerError, Payment, call_end};
use crate::ids::CallSid;
use crate::payment::PaymentId;

/// All that the ledger has about a payment.
#[derive(Debug)]
pub struct PaymentHistory {
    /// The payment.
    pub payment: Payment,
    /// Its events, in order.
    pub events: Vec<EventRecord>,
    /// The statements on its call, with the caller's answers, in order.
    pub statements: Vec<EventRecord>,
    /// The webhook events about it, in order.
    pub deliveries: Vec<DeliveryRecord>,
    /// `inbound` or `outbound`. Known from the end of the call to the delivery of that.
    pub direction: Option<String>,
}

/// A webhook event about a payment.
#[derive(Debug)]
pub struct DeliveryRecord {
    /// When it was written.
    pub written_at: Timestamp,
    /// When the webhook accepted it.
    pub delivered_at: Option<Timestamp>,
    /// The number of failed attempts.
    pub failed_attempts: u32,
    /// The event as JSON, without the token.
    pub event: Box<RawValue>,
}

/// What is read of the end of a call.
#[derive(Deserialize)]
struct CallDirection {
    direction: String,
}

impl Ledger {
    /// Reads all about a payment in one transaction, so that it is consistent beside a running server.
    pub async fn history_of_payment(&self, id: PaymentId) -> Result<Option<PaymentHistory>, LedgerError> {
        let read = self.read_in_snapshot(id);
        if self.0.database.is_remote() { timeout(READ_LIMIT, read).await.map_err(|_| timed_out())? } else { read.await }
    }

    /// The payments of a call, oldest first.
    pub async fn payments_of_call(&self, call: &CallSid) -> Result<Vec<Payment>, LedgerError> {
        find_by_call(&self.0.readers, call).await
    }

    async fn read_in_snapshot(&self, id: PaymentId) -> Result<Option<PaymentHistory>, LedgerError> {
        let begin =
            if self.0.database.is_remote() { "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" } else { "BEGIN" };
        let mut snapshot = self.0.readers.pool.begin_with(begin).await?;
        let connection = &mut *snapshot;
        let Some(payment) = find_payment(&mut *connection, PaymentKey::Id(id)).await? else { return Ok(None) };
        let history = PaymentHistory {
            events: read_history(&mut *connection, READ_EVENTS, &id.to_string()).await?,
            statements: read_history(&mut *connection, READ_STATEMENTS, payment.call_sid.as_str()).await?,
            deliveries: read_deliveries(&mut *connection, id).await?,
            direction: self.read_direction(&mut *connection, &payment.call_sid).await?,
            payment,
        };
        snapshot.rollback().await?;
        Ok(Some(history))
    }

    /// The direction of a call whose end is not delivered yet.
    async fn read_direction(
        &self,
        connection: &mut AnyConnection,
        call: &CallSid,
    ) -> Result<Option<String>, LedgerError> {
        let query = sqlx::query_scalar("SELECT outcome FROM outbox WHERE call_sid = $1 ORDER BY id LIMIT 1");
        let stored: Option<String> = query.bind(call.as_str()).fetch_optional(connection).await?;
        let keys = self.0.sealing_keys.get();
        let event = stored.and_then(|stored| call_end::open_event(keys, call.as_str(), stored).ok());
        let read = |event: secrecy::SecretString| serde_json::from_str(event.expose_secret()).ok();
        Ok(event.and_then(read).map(|CallDirection { direction }| direction))
    }
}

async fn read_deliveries(connection: &mut AnyConnection, id: PaymentId) -> Result<Vec<DeliveryRecord>, LedgerError> {
    let query = "SELECT outcome, written_at, attempts, delivered_at FROM outbox WHERE payment_id = $1 ORDER BY id";
    let rows = sqlx::query(query).bind(id.to_string()).fetch_all(connection).await?;
    let read = |row: &AnyRow| {
        let event =
            RawValue::from_string(row.try_get("outcome")?).map_err(|_| LedgerError::Unreadable("an outcome"))?;
        Ok(DeliveryRecord {
            written_at: read_timestamp(row.try_get("written_at")?)?,
            delivered_at: row.try_get::<Option<i64>, _>("delivered_at")?.map(read_timestamp).transpose()?,
            failed_attempts: u32::try_from(row.try_get::<i64, _>("attempts")?).unwrap_or(u32::MAX),
            event,
        })
    };
    rows.iter().map(read).collect()
}
