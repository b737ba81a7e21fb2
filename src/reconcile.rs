//! Compares the ledger with a processor's export: what is the same payment, what can be settled, what disagrees.
//!
//! Pure: rows and payments are arguments, and settlements are left to the caller. A match that is not unique is none.

mod export;
mod matching;
#[cfg(test)]
mod tests;

pub use export::{ExportAmount, ExportStatus, ReadExportError, Row, read_export};

use std::fmt;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use crate::ledger::{Payment, State, Verdict};
use crate::payment::PaymentId;
use matching::{Match, Matches};

/// The result of a comparison.
#[derive(Debug, Default)]
pub struct Reconciliation {
    /// How many rows say what the ledger says.
    pub agreed: usize,
    /// What the export settles.
    pub settlements: Vec<ExportSettlement>,
    /// What a person has to look at.
    pub findings: Vec<Finding>,
}

/// A payment whose outcome the export tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportSettlement {
    /// The payment.
    pub payment: PaymentId,
    /// The line of the export.
    pub line: u64,
    /// How it ended.
    pub verdict: Verdict,
    /// The processor's identifier of it.
    pub confirmation: Option<String>,
}

/// Something that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The ledger and the export say different things of a payment.
    Disagreement {
        /// The payment.
        payment: PaymentId,
        /// The line of the export.
        line: u64,
        /// What the ledger says.
        state: State,
        /// What the export says.
        status: ExportStatus,
    },
    /// The amounts, or the currencies, differ, or that of the export cannot be read.
    OtherAmount {
        /// The payment.
        payment: PaymentId,
        /// The line of the export.
        line: u64,
    },
    /// The payment is not settled, and the export does not say how it ended.
    Unsettled {
        /// The payment.
        payment: PaymentId,
        /// The line of the export.
        line: u64,
        /// What the ledger says.
        state: State,
    },
    /// Several payments, or several rows, fit: none is matched.
    Ambiguous {
        /// The line of the export.
        line: u64,
    },
    /// A row that belongs to no payment of the ledger.
    OrphanRow {
        /// The line of the export.
        line: u64,
    },
    /// A payment that money should have moved for, and that is not in the export.
    OrphanPayment {
        /// The payment.
        payment: PaymentId,
        /// What the ledger says.
        state: State,
    },
}

impl Reconciliation {
    /// Compares an export with the payments of the ledger, all of them.
    pub fn of(rows: &[Row], payments: &[Payment]) -> Self {
        let matches = Matches::of(rows, payments);
        let mut result = Self::default();
        for (row, found) in rows.iter().zip(&matches.of_rows) {
            match found {
                Match::One(at) => result.compare(row, &payments[*at]),
                Match::Ambiguous => result.findings.push(Finding::Ambiguous { line: row.line }),
                // That nothing was charged for somebody else's payment is no news.
                Match::None if row.status == ExportStatus::Failed => {}
                Match::None => result.findings.push(Finding::OrphanRow { line: row.line }),
            }
        }
        let covered = days(rows);
        for (payment, is_matched) in payments.iter().zip(&matches.has_row) {
            if !is_matched
                && expects_row(payment)
                && covered.is_none_or(|(from, to)| (from..to).contains(&charged_at(payment)))
            {
                result.findings.push(Finding::OrphanPayment { payment: payment.id, state: payment.state });
            }
        }
        result
    }

    /// Whether nothing has to be looked at and nothing to be settled.
    pub fn agrees(&self) -> bool {
        self.findings.is_empty() && self.settlements.is_empty()
    }

    fn compare(&mut self, row: &Row, payment: &Payment) {
        let (id, line, state) = (payment.id, row.line, payment.state);
        let is_amount = is_amount(row, payment);
        match decide(state, &row.status) {
            Decision::Settle(_) if !is_amount => self.findings.push(Finding::OtherAmount { payment: id, line }),
            // Of how much nothing was charged makes no difference.
            Decision::Agrees if !is_amount && row.status != ExportStatus::Failed => {
                self.findings.push(Finding::OtherAmount { payment: id, line });
            }
            Decision::Agrees => self.agreed += 1,
            Decision::Settle(verdict) => {
                let confirmation = row.confirmations.first().filter(|_| verdict == Verdict::Charged).cloned();
                self.settlements.push(ExportSettlement { payment: id, line, verdict, confirmation });
            }
            Decision::Open => self.findings.push(Finding::Unsettled { payment: id, line, state }),
            Decision::Disagrees => {
                let status = row.status.clone();
                self.findings.push(Finding::Disagreement { payment: id, line, state, status });
            }
        }
    }
}

/// What a row means for a payment.
enum Decision {
    Agrees,
    Settle(Verdict),
    /// Neither of the two knows.
    Open,
    Disagrees,
}

/// The one table of it.
fn decide(state: State, status: &ExportStatus) -> Decision {
    use ExportStatus::{Disputed, Failed, Other, Paid, Pending, Refunded, Returned};
    match (state, status) {
        (State::Unknown | State::Pending, Paid) => Decision::Settle(Verdict::Charged),
        (State::Unknown, Failed) => Decision::Settle(Verdict::Declined),
        (State::Pending, Failed | Returned) => Decision::Settle(Verdict::Returned),
        (State::Unknown, Pending | Other(_)) => Decision::Open,
        (State::Pending, Pending | Other(_))
        // A processor that says nothing of a charge contradicts nothing.
        | (State::Charged, Paid | Other(_))
        | (State::Returned, Returned | Failed)
        // Many an export has the refund in a row of its own.
        | (State::Refunded, Refunded | Paid)
        | (State::Disputed, Disputed | Paid | Refunded)
        | (State::Declined | State::Failed | State::Cancelled | State::Abandoned, Failed) => Decision::Agrees,
        _ => Decision::Disagrees,
    }
}

fn is_amount(row: &Row, payment: &Payment) -> bool {
    payment.amount.is_some_and(|amount| {
        let currency = amount.currency();
        row.currency.is_none_or(|of_row| of_row == currency) && row.amount.minor_in(currency) == Some(amount.minor())
    })
}

/// Whether a payment should be in the export.
fn expects_row(payment: &Payment) -> bool {
    use State::{Charged, Disputed, Pending, Refunded, Returned, Unknown};
    let moved = matches!(payment.state, Charged | Pending | Unknown | Returned | Refunded | Disputed);
    moved && (payment.amount.is_some() || payment.state == Charged)
}

/// When a payment was charged, as near as the ledger knows.
fn charged_at(payment: &Payment) -> Timestamp {
    payment.submitted_at.unwrap_or(payment.opened_at)
}

/// The days in UTC that an export covers, from the first to the one after the last; `None` if it does not say.
fn days(rows: &[Row]) -> Option<(Timestamp, Timestamp)> {
    let times = || rows.iter().filter_map(|row| row.at);
    let day = |at: Timestamp| -> Date { at.to_zoned(TimeZone::UTC).date() };
    let start = |day: Date| day.to_zoned(TimeZone::UTC).map(|day| day.timestamp()).ok();
    let last = day(times().max()?).checked_add(1.day()).ok()?;
    Some((start(day(times().min()?))?, start(last)?))
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disagreement { payment, line, state, status } => {
                write!(f, "line {line}: the export says {status}, the ledger {state}: {payment}")
            }
            Self::OtherAmount { payment, line } => {
                write!(f, "line {line}: the amount is not the ledger's, or cannot be read: {payment}")
            }
            Self::Unsettled { payment, line, state } => {
                write!(f, "line {line}: the export does not say how it ended, the ledger {state}: {payment}")
            }
            Self::Ambiguous { line } => write!(f, "line {line}: several payments or rows fit, so none is matched"),
            Self::OrphanRow { line } => write!(f, "line {line}: no payment of the ledger fits"),
            Self::OrphanPayment { payment, state } => {
                write!(f, "not in the export: the ledger says {state}: {payment}")
            }
        }
    }
}
