//! The orders for outbound calls that have not ended, where several servers share the ledger: an order that is sent to two
//! servers calls once, and the socket of its call may land on any.

use sqlx::Row as _;

use super::{Ledger, LedgerError, LedgerTransaction};
use crate::ids::CallSid;
use crate::sealing::SealedPlace;

/// Where the properties of an order are kept.
fn data_of(reference: &str) -> SealedPlace<'_> {
    SealedPlace { column: "orders.data", row: reference }
}

/// Where a TwiML document is kept.
fn document_of(id: &str) -> SealedPlace<'_> {
    SealedPlace { column: "orders.document", row: id }
}

/// An order as it is stored.
#[derive(Debug)]
pub(crate) struct NewOrder<'a> {
    /// `callReference`.
    pub(crate) reference: &'a str,
    /// The properties of the order.
    pub(crate) data: &'a str,
    /// The id of its TwiML document, and the document.
    pub(crate) document: (&'a str, &'a str),
}

/// A TwiML document as it is stored.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum StoredDocument {
    /// It was there, and is not any more.
    Kept(String),
    /// It was read before.
    Taken,
    /// No order has this document.
    Unknown,
}

impl Ledger {
    /// Adds an order. Returns `false` if there is one with this reference.
    pub(crate) async fn add_order(&self, order: &NewOrder<'_>) -> Result<bool, LedgerError> {
        let (id, document) = order.document;
        let mut writing = self.begin_write().await?;
        let insert = "INSERT INTO orders (reference, data, document_id, document, made_at) VALUES ($1, $2, $3, $4, $5) \
                      ON CONFLICT DO NOTHING";
        let added = sqlx::query(insert)
            .bind(order.reference)
            .bind(self.seal(data_of(order.reference), order.data))
            .bind(id)
            .bind(self.seal(document_of(id), document))
            .bind(writing.now.as_millisecond())
            .execute(&mut writing.transaction)
            .await?;
        writing.commit().await?;
        Ok(added.rows_affected() == 1)
    }

    /// Records which call Twilio has placed for an order.
    pub(crate) async fn record_order_placed(&self, reference: &str, call: &CallSid) -> Result<(), LedgerError> {
        let mut writing = self.begin_write().await?;
        sqlx::query("UPDATE orders SET call_sid = coalesce(call_sid, $1) WHERE reference = $2")
            .bind(call.as_str())
            .bind(reference)
            .execute(&mut writing.transaction)
            .await?;
        writing.commit().await
    }

    /// Removes an order whose call was not placed.
    pub(crate) async fn remove_order(&self, reference: &str) -> Result<(), LedgerError> {
        let mut writing = self.begin_write().await?;
        let remove = sqlx::query("DELETE FROM orders WHERE reference = $1").bind(reference);
        remove.execute(&mut writing.transaction).await?;
        writing.commit().await
    }

    /// Removes the order of a call that ended without a session. Returns its properties.
    pub(crate) async fn take_order_of(&self, call: &CallSid) -> Result<Option<String>, LedgerError> {
        let mut writing = self.begin_write().await?;
        let remove =
            sqlx::query("DELETE FROM orders WHERE call_sid = $1 RETURNING reference, data").bind(call.as_str());
        let row = remove.fetch_optional(&mut writing.transaction).await?;
        writing.commit().await?;
        let Some(row) = row else { return Ok(None) };
        let reference: String = row.try_get(0)?;
        Ok(self.unseal(data_of(&reference), row.try_get(1)?))
    }

    /// The properties of the order of a connecting call; `None` if the reference belongs to another call or to none.
    pub(crate) async fn claim_order(&self, reference: &str, call: &CallSid) -> Result<Option<String>, LedgerError> {
        let mut writing = self.begin_write().await?;
        let claim = "UPDATE orders SET call_sid = $1 WHERE reference = $2 AND (call_sid IS NULL OR call_sid = $1) \
                     RETURNING data";
        let claim = sqlx::query_scalar(claim).bind(call.as_str()).bind(reference);
        let data: Option<String> = claim.fetch_optional(&mut writing.transaction).await?;
        writing.commit().await?;
        Ok(data.and_then(|data| self.unseal(data_of(reference), data)))
    }

    /// Takes the TwiML document with this id: it is read once.
    pub(crate) async fn take_document(&self, id: &str) -> Result<StoredDocument, LedgerError> {
        let mut writing = self.begin_write().await?;
        let find = sqlx::query_scalar("SELECT document FROM orders WHERE document_id = $1 FOR UPDATE").bind(id);
        let document: Option<Option<String>> = find.fetch_optional(&mut writing.transaction).await?;
        let take = sqlx::query("UPDATE orders SET document = NULL WHERE document_id = $1").bind(id);
        take.execute(&mut writing.transaction).await?;
        writing.commit().await?;
        let Some(document) = document else { return Ok(StoredDocument::Unknown) };
        let document = document.map(|document| self.unseal(document_of(id), document));
        Ok(document
            .map_or(StoredDocument::Taken, |opened| opened.map_or(StoredDocument::Unknown, StoredDocument::Kept)))
    }
}

impl LedgerTransaction {
    /// Removes the orders of a call that is over.
    pub(super) async fn remove_orders_of(&mut self, call: &CallSid) -> Result<(), LedgerError> {
        let remove = sqlx::query("DELETE FROM orders WHERE call_sid = $1").bind(call.as_str());
        remove.execute(&mut self.transaction).await?;
        Ok(())
    }

    /// Removes the orders from before a time, in milliseconds.
    pub(super) async fn remove_expired_orders(&mut self, before: i64) -> Result<(), LedgerError> {
        let remove = sqlx::query("DELETE FROM orders WHERE made_at < $1").bind(before);
        remove.execute(&mut self.transaction).await?;
        Ok(())
    }
}
