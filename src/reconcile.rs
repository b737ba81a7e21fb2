//! Compares the ledger with a processor's export: what is the same payment, what can be settled, what disagrees.
//!
//! Pure: rows and payments are arguments, and settlements are left to the caller. A match that is not unique is none.

mod amount;
mod cells;
mod export;
mod finding;
mod matching;
#[cfg(test)]
mod tests;

pub use amount::{CurrencySign, ExportAmount};
pub use cells::{ExportStatus, Mode, RowKind, RowRefund};
pub use export::{ReadExportError, Row, read_export};
pub use finding::{Doubt, Finding};

use std::collections::HashMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use crate::ledger::{Payment, State, Verdict};
use crate::payment::{Currency, PaymentId};
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

impl Reconciliation {
    /// Compares an export with the payments of the ledger, all of them.
    pub fn of(rows: &[Row], payments: &[Payment]) -> Self {
        let matches = Matches::of(rows, payments);
        let mut rows_of: HashMap<usize, Vec<&Row>> = HashMap::new();
        for (row, found) in rows.iter().zip(&matches.of_rows) {
            if let Match::One(at) | Match::Shared(at) = found {
                rows_of.entry(*at).or_default().push(row);
            }
        }
        let mut result = Self::default();
        for (row, found) in rows.iter().zip(&matches.of_rows) {
            match found {
                Match::One(at) => result.compare(row, &payments[*at], &rows_of[at]),
                Match::Shared(at) if is_history(&payments[*at], &rows_of[at]) => {
                    result.compare(row, &payments[*at], &rows_of[at]);
                }
                Match::Shared(_) | Match::Ambiguous => result.findings.push(Finding::Ambiguous { line: row.line }),
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

    /// Compares a row with its payment; `all` are the rows of that payment.
    fn compare(&mut self, row: &Row, payment: &Payment, all: &[&Row]) {
        let (id, line, state) = (payment.id, row.line, payment.state);
        if row.kind == RowKind::Dispute && state == State::Disputed {
            self.agreed += 1;
            return;
        }
        if is_refund(row) && has_moved(state) {
            self.compare_refund(row, payment, all);
            return;
        }
        let doubt = find_doubt(row, payment);
        let decision = match decide(state, &row.status) {
            // A part of it, or a refund that is not recorded yet: the amounts say which.
            Decision::Disagrees if state == State::Charged && is_refunded(row, all) => Decision::Agrees,
            decision => decision,
        };
        // Of how much nothing was charged, and how, makes no difference.
        let is_nothing = row.status == ExportStatus::Failed && matches!(decision, Decision::Agrees);
        let finding = match (decision, doubt) {
            (_, Some(Doubt::Kind(kind))) => Finding::Doubtful { payment: id, line, doubt: Doubt::Kind(kind) },
            (Decision::Disagrees, _) if comes_back(row, payment, all) => Finding::CameBack { payment: id, line },
            (Decision::Disagrees, _) => Finding::Disagreement { payment: id, line, state, status: row.status.clone() },
            (Decision::Open, _) => Finding::Unsettled { payment: id, line, state },
            (Decision::Agrees, _) if is_nothing => {
                self.agreed += 1;
                return;
            }
            (Decision::Agrees | Decision::Settle(_), _) if !is_amount(row, payment) => {
                Finding::OtherAmount { payment: id, line }
            }
            (Decision::Agrees | Decision::Settle(_), Some(doubt)) => Finding::Doubtful { payment: id, line, doubt },
            (Decision::Agrees, None) => {
                self.compare_refund(row, payment, all);
                return;
            }
            (Decision::Settle(verdict), None) => {
                let confirmation = row.confirmations.first().filter(|_| verdict == Verdict::Charged).cloned();
                self.settlements.push(ExportSettlement { payment: id, line, verdict, confirmation });
                return;
            }
        };
        self.findings.push(finding);
    }

    /// Compares what is refunded, where the export says it. The first row that says it stands for all of them.
    fn compare_refund(&mut self, row: &Row, payment: &Payment, all: &[&Row]) {
        let (Some(amount), true) = (payment.amount, row.refund != RowRefund::Unstated) else {
            self.agreed += 1;
            return;
        };
        let processor = sum_refunds(all, amount.currency());
        if processor == Some(payment.refunded) {
            self.agreed += 1;
        } else if all.iter().find(|row| row.refund != RowRefund::Unstated).is_some_and(|first| first.line == row.line) {
            let (payment, currency, ledger) = (payment.id, amount.currency(), payment.refunded);
            self.findings.push(Finding::OtherRefund { payment, line: row.line, currency, processor, ledger });
        }
    }
}

/// Whether several rows of a payment can be its charge and what came after it. Two charges are one too many, and what is
/// not settled yet is settled by one row alone.
fn is_history(payment: &Payment, all: &[&Row]) -> bool {
    has_moved(payment.state) && all.iter().filter(|row| row.kind == RowKind::Payment && is_success(row)).count() <= 1
}

/// Whether money moved for a payment, and it is known how.
fn has_moved(state: State) -> bool {
    matches!(state, State::Charged | State::Returned | State::Refunded | State::Disputed)
}

fn is_success(row: &Row) -> bool {
    matches!(row.status, ExportStatus::Paid | ExportStatus::Refunded | ExportStatus::Disputed)
}

/// Whether a row is a refund that was made.
fn is_refund(row: &Row) -> bool {
    let is_made = match &row.status {
        ExportStatus::Paid | ExportStatus::Refunded => true,
        ExportStatus::Other(word) => word.is_empty(),
        _ => false,
    };
    row.kind == RowKind::Refund && is_made
}

/// Whether a row is a charge that is refunded, and it or a row beside it says how much.
fn is_refunded(row: &Row, all: &[&Row]) -> bool {
    row.status == ExportStatus::Refunded && all.iter().any(|row| row.refund.is_any())
}

/// What is refunded as the export says, in minor units; `None` if it cannot be read. A refund may stand beside its charge
/// and in a row of its own.
fn sum_refunds(all: &[&Row], currency: Currency) -> Option<u64> {
    let (mut beside, mut own) = (0_u64, 0_u64);
    for row in all {
        let minor = match &row.refund {
            RowRefund::Unstated => continue,
            _ if row.currency.is_some_and(|of_row| of_row != currency) => None,
            RowRefund::Amount(amount) => amount.minor_or_zero_in(currency),
            RowRefund::Unspecified => None,
        }?;
        if is_refund(row) {
            own = own.saturating_add(minor);
        } else {
            beside = beside.max(minor);
        }
    }
    Some(beside.max(own))
}

/// Whether the export says that a bank debit came back after it was settled.
fn comes_back(row: &Row, payment: &Payment, all: &[&Row]) -> bool {
    let is_later = |paid: &&&Row| match (paid.at, row.at) {
        (Some(paid), Some(failed)) if paid != failed => failed > paid,
        _ => row.line > paid.line,
    };
    let came_back = match row.status {
        ExportStatus::Returned => true,
        ExportStatus::Failed => all.iter().filter(|other| is_success(other)).all(|paid| is_later(&paid)),
        _ => false,
    };
    came_back && payment.state == State::Charged && payment.is_bank_debit()
}

/// Why a row is not plainly the charge of a payment, if it is not.
fn find_doubt(row: &Row, payment: &Payment) -> Option<Doubt> {
    let is_other_card = match (&row.last4, &payment.last4) {
        // Of a bank account the ledger may know two or three digits only.
        (Some(of_row), Some(of_payment)) => !of_row.ends_with(of_payment.as_str()),
        _ => false,
    };
    if row.kind != RowKind::Payment {
        Some(Doubt::Kind(row.kind.clone()))
    } else if row.is_contradicted {
        Some(Doubt::TwoStatuses)
    } else if !row.mode.fits(payment.live) {
        Some(Doubt::OtherMode)
    } else if is_other_card {
        Some(Doubt::OtherCard)
    } else if !row.is_captured {
        Some(Doubt::NotCaptured)
    } else {
        (!has_moved(payment.state) && row.refund.is_any()).then_some(Doubt::Refunded)
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
        row.currency.is_none_or(|of_row| of_row == currency)
            && row.sign.is_none_or(|sign| sign.may_be(currency))
            && row.amount.minor_in(currency) == Some(amount.minor())
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
