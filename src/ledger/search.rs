//! Finds payments for a person: the newest first, by a text that the person has.

use jiff::Timestamp;
use sqlx::AssertSqlSafe;

use super::payment::{COLUMNS, find_all};
use super::text::storable;
use super::{Ledger, LedgerError, Payment, PaymentState};
use crate::payment::PaymentId;

/// Selects payments, newest first.
#[derive(Debug, Clone, Default)]
pub struct PaymentSearch {
    /// A part of an identifier, a reference, a confirmation code or the description, or the whole number of the caller or
    /// last four digits; upper and lower case are the same.
    pub text: Option<String>,
    /// In this state.
    pub state: Option<PaymentState>,
    /// Opened at this time or later.
    pub since: Option<Timestamp>,
    /// Before this payment.
    pub before: Option<PaymentId>,
    /// The maximum number of payments to return.
    pub limit: u32,
}

/// The columns of which a part is enough.
const PARTS: [&str; 7] =
    ["id", "call_sid", "payment_sid", "call_reference", "order_reference", "confirmation", "description"];

impl Ledger {
    /// The payments that the search selects. A text is looked for in every payment, the newest first, until enough are
    /// found.
    pub async fn search(&self, search: &PaymentSearch) -> Result<Vec<Payment>, LedgerError> {
        let parts = PARTS.map(|column| format!("lower({column}) LIKE $2 ESCAPE '\\'")).join(" OR ");
        let query = format!(
            "SELECT {COLUMNS} FROM payments WHERE ($1 IS NULL OR {parts} OR last4 = $1 OR caller = $1) \
             AND ($3 IS NULL OR state = $3) AND opened_at >= $4 \
             AND ($5 IS NULL OR seq < (SELECT seq FROM payments WHERE id = $5)) ORDER BY seq DESC LIMIT $6"
        );
        let text =
            search.text.as_deref().map(|text| storable(text).trim().to_lowercase()).filter(|text| !text.is_empty());
        let query = sqlx::query(AssertSqlSafe(query))
            .bind(text.clone())
            .bind(text.as_deref().map(part_pattern))
            .bind(search.state.map(PaymentState::as_str))
            .bind(search.since.map_or(0, Timestamp::as_millisecond))
            .bind(search.before.map(|id| id.to_string()))
            .bind(i64::from(search.limit));
        find_all(query, &self.0.readers).await
    }
}

/// The `LIKE` pattern of texts that contain this one.
fn part_pattern(text: &str) -> String {
    let mut pattern = String::from("%");
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern + "%"
}
