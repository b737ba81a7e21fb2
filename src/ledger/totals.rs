//! Totals of payments by day, currency and state, to compare with the processor's.

use std::fmt;

use jiff::Timestamp;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{Ledger, LedgerError, PaymentState};
use crate::payment::Currency;

/// One day, in milliseconds.
const DAY: i64 = 86_400_000;

/// The payments of one day in one currency and one state. The day is that of the last submission, or else of the
/// request for the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentTotal {
    /// The day in UTC, such as `2026-11-22`.
    pub day: String,
    /// The currency. `None` if a card was to be stored.
    pub currency: Option<Currency>,
    /// The state.
    pub state: PaymentState,
    /// Whether real money moved.
    pub live: bool,
    /// Number of payments.
    pub count: u64,
    /// Sum of the amounts to charge, in minor units.
    pub minor: u64,
    /// Sum of the refunds, in minor units.
    pub refunded: u64,
}

/// Totals as a table for a terminal.
#[derive(Debug)]
pub struct TotalsTable<'a>(pub &'a [PaymentTotal]);

/// Totals as CSV (RFC 4180), with a header line.
#[derive(Debug)]
pub struct TotalsCsv<'a>(pub &'a [PaymentTotal]);

impl Ledger {
    /// Totals of the payments since `since`, the oldest day first.
    pub async fn totals(&self, since: Option<Timestamp>) -> Result<Vec<PaymentTotal>, LedgerError> {
        let rows = sqlx::query(
            "SELECT coalesce(submitted_at, opened_at) / $2 AS day, currency, state, live, count(*) AS count, \
             CAST(coalesce(sum(minor), 0) AS BIGINT) AS minor, CAST(sum(refunded) AS BIGINT) AS refunded FROM payments \
             WHERE coalesce(submitted_at, opened_at) >= $1 GROUP BY 1, 2, 3, 4 ORDER BY 1, currency NULLS FIRST, state, live",
        )
        .bind(since.map_or(0, Timestamp::as_millisecond))
        .bind(DAY)
        .fetch_all(&self.0.readers)
        .await?;
        rows.iter().map(read_total).collect()
    }
}

fn read_total(row: &AnyRow) -> Result<PaymentTotal, LedgerError> {
    let number = |column: &str| row.try_get::<i64, _>(column).map(i64::unsigned_abs);
    let currency: Option<String> = row.try_get("currency")?;
    let state: String = row.try_get("state")?;
    Ok(PaymentTotal {
        day: format_day(row.try_get("day")?)?,
        currency: currency.map(|code| code.parse()).transpose().map_err(|_| LedgerError::Unreadable("a currency"))?,
        state: state.parse().map_err(|_| LedgerError::Unreadable("a state"))?,
        live: row.try_get::<i64, _>("live")? != 0,
        count: number("count")?,
        minor: number("minor")?,
        refunded: number("refunded")?,
    })
}

/// The date of a day, counted from 1970.
fn format_day(day: i64) -> Result<String, LedgerError> {
    let midnight = Timestamp::from_millisecond(day.saturating_mul(DAY));
    Ok(midnight.map_err(|_| LedgerError::Unreadable("a time"))?.strftime("%Y-%m-%d").to_string())
}

impl PaymentTotal {
    fn format_amount(&self, minor: u64) -> String {
        self.currency.map_or_else(String::new, |currency| currency.format_minor(minor))
    }

    fn currency_code(&self) -> &str {
        self.currency.as_ref().map_or("", Currency::code)
    }

    fn mode(&self) -> &'static str {
        if self.live { "live" } else { "test" }
    }
}

impl fmt::Display for TotalsTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return writeln!(f, "no payments");
        }
        writeln!(f, "{:10}  CUR  {:9}  MODE  {:>7}  {:>15}  {:>15}", "DAY", "STATE", "COUNT", "AMOUNT", "REFUNDED")?;
        for total in self.0 {
            writeln!(
                f,
                "{:10}  {:3}  {:9}  {}  {:>7}  {:>15}  {:>15}",
                total.day,
                total.currency_code(),
                total.state,
                total.mode(),
                total.count,
                total.format_amount(total.minor),
                total.format_amount(total.refunded)
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for TotalsCsv<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "day,currency,state,mode,count,amount,minor,refunded,refunded_minor\r")?;
        for total in self.0 {
            let (amount, refunded) = (total.format_amount(total.minor), total.format_amount(total.refunded));
            let PaymentTotal { day, state, count, minor, refunded: refunded_minor, .. } = total;
            let (currency, mode) = (total.currency_code(), total.mode());
            writeln!(f, "{day},{currency},{state},{mode},{count},{amount},{minor},{refunded},{refunded_minor}\r")?;
        }
        Ok(())
    }
}
