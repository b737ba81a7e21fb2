//! Compares the ledger with a processor's export: matches rows to payments, and finds settlements and differences.
//!
//! Pure: rows and payments are arguments, and the caller records the settlements. Only a unique match counts.

mod amount;
mod cells;
mod export;
mod finding;
mod matching;
#[cfg(test)]
mod tests;

pub use amount::{CurrencySign, ExportAmount};
pub use cells::{ExportMode, ExportStatus, RowKind, RowRefund};
pub use export::{ExportRow, ReadExportError, read_export};
pub use finding::{ReconciliationFinding, RowDoubt};

use std::collections::HashMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use crate::ledger::{Payment, PaymentState, SettledOutcome};
use crate::payment::{Currency, PaymentId};
use matching::{RowMatch, RowMatches};

/// The result of a comparison.
#[derive(Debug, Default)]
pub struct Reconciliation {
    /// The number of rows that agree with the ledger.
    pub agreeing_rows: usize,
    /// The settlements that follow from the export.
    pub settlements: Vec<ExportSettlement>,
    /// The differences that a person has to review.
    pub findings: Vec<ReconciliationFinding>,
}

/// A payment whose outcome the export shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportSettlement {
    /// The payment.
    pub payment_id: PaymentId,
    /// The line of the export.
    pub line: u64,
    /// Its outcome.
    pub outcome: SettledOutcome,
    /// The processor's confirmation code.
    pub confirmation: Option<String>,
}

impl Reconciliation {
    /// Compares an export with all payments of the ledger.
    pub fn compare(rows: &[ExportRow], payments: &[Payment]) -> Self {
        let matches = RowMatches::find(rows, payments);
        let mut rows_of: HashMap<usize, Vec<&ExportRow>> = HashMap::new();
        for (row, found) in rows.iter().zip(&matches.by_row) {
            if let RowMatch::One(at) | RowMatch::Shared(at) = found {
                rows_of.entry(*at).or_default().push(row);
            }
        }
        let mut result = Self::default();
        for (row, found) in rows.iter().zip(&matches.by_row) {
            match found {
                RowMatch::One(at) => result.compare_row(row, &payments[*at], &rows_of[at]),
                RowMatch::Shared(at) if is_charge_with_history(&payments[*at], &rows_of[at]) => {
                    result.compare_row(row, &payments[*at], &rows_of[at]);
                }
                RowMatch::Shared(_) | RowMatch::Ambiguous => {
                    result.findings.push(ReconciliationFinding::Ambiguous { line: row.line });
                }
                // A failed charge without a payment in the ledger is not a difference.
                RowMatch::None if row.status == ExportStatus::Failed => {}
                RowMatch::None => result.findings.push(ReconciliationFinding::RowWithoutPayment { line: row.line }),
            }
        }
        let covered = covered_days(rows);
        for (payment, is_matched) in payments.iter().zip(&matches.has_row) {
            if !is_matched
                && expects_row(payment)
                && covered.is_none_or(|(from, to)| (from..to).contains(&charged_at(payment)))
            {
                result
                    .findings
                    .push(ReconciliationFinding::PaymentNotInExport { payment: payment.id, state: payment.state });
            }
        }
        result
    }

    /// Whether there is nothing to review and nothing to settle.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty() && self.settlements.is_empty()
    }

    /// Compares a row with its payment; `all` are the rows of that payment.
    fn compare_row(&mut self, row: &ExportRow, payment: &Payment, all: &[&ExportRow]) {
        let (id, line, state) = (payment.id, row.line, payment.state);
        if row.kind == RowKind::Dispute && state == PaymentState::Disputed {
            self.agreeing_rows += 1;
            return;
        }
        if is_refund(row) && state.was_charged() {
            self.compare_refund(row, payment, all);
            return;
        }
        let doubt = find_doubt(row, payment);
        let decision = match decide(state, &row.status) {
            // A partial refund, or one that the ledger does not have yet: the amounts decide.
            Decision::Disagrees if state == PaymentState::Charged && is_refunded(row, all) => Decision::Agrees,
            decision => decision,
        };
        // If nothing was charged, the amount and other doubts do not matter.
        let is_nothing = row.status == ExportStatus::Failed && matches!(decision, Decision::Agrees);
        let finding = match (decision, doubt) {
            (_, Some(RowDoubt::NotPayment(kind))) => {
                ReconciliationFinding::Doubtful { payment: id, line, doubt: RowDoubt::NotPayment(kind) }
            }
            (Decision::Disagrees, _) if is_returned_debit(row, payment, all) => {
                ReconciliationFinding::DebitReturned { payment: id, line }
            }
            (Decision::Disagrees, _) => {
                ReconciliationFinding::Disagreement { payment: id, line, state, status: row.status.clone() }
            }
            (Decision::Undecided, _) => ReconciliationFinding::Unsettled { payment: id, line, state },
            (Decision::Agrees, _) if is_nothing => {
                self.agreeing_rows += 1;
                return;
            }
            (Decision::Agrees | Decision::Settle(_), _) if !is_same_amount(row, payment) => {
                ReconciliationFinding::AmountMismatch { payment: id, line }
            }
            (Decision::Agrees | Decision::Settle(_), Some(doubt)) => {
                ReconciliationFinding::Doubtful { payment: id, line, doubt }
            }
            (Decision::Agrees, None) => {
                self.compare_refund(row, payment, all);
                return;
            }
            (Decision::Settle(verdict), None) => {
                let confirmation = row.confirmations.first().filter(|_| verdict == SettledOutcome::Charged).cloned();
                self.settlements.push(ExportSettlement { payment_id: id, line, outcome: verdict, confirmation });
                return;
            }
        };
        self.findings.push(finding);
    }

    /// Compares the refunded amount, if the export states it. A difference is reported once, for the first row that
    /// states it.
    fn compare_refund(&mut self, row: &ExportRow, payment: &Payment, all: &[&ExportRow]) {
        let (Some(amount), true) = (payment.amount, row.refund != RowRefund::Unstated) else {
            self.agreeing_rows += 1;
            return;
        };
        let processor = sum_refunds(all, amount.currency());
        if processor == Some(payment.refunded) {
            self.agreeing_rows += 1;
        } else if all.iter().find(|row| row.refund != RowRefund::Unstated).is_some_and(|first| first.line == row.line) {
            let (payment, currency, ledger) = (payment.id, amount.currency(), payment.refunded);
            self.findings.push(ReconciliationFinding::RefundMismatch {
                payment,
                line: row.line,
                currency,
                processor,
                ledger,
            });
        }
    }
}

/// Whether several rows of a payment can be its charge and later events. Two charges cannot, and a payment that is not
/// settled yet can only be settled by a single row.
fn is_charge_with_history(payment: &Payment, all: &[&ExportRow]) -> bool {
    payment.state.was_charged() && all.iter().filter(|row| row.kind == RowKind::Payment && is_success(row)).count() <= 1
}

fn is_success(row: &ExportRow) -> bool {
    matches!(row.status, ExportStatus::Paid | ExportStatus::Refunded | ExportStatus::Disputed)
}

/// Whether a row is a refund that was carried out.
fn is_refund(row: &ExportRow) -> bool {
    let is_made = match &row.status {
        ExportStatus::Paid | ExportStatus::Refunded => true,
        ExportStatus::Other(word) => word.is_empty(),
        _ => false,
    };
    row.kind == RowKind::Refund && is_made
}

/// Whether a row is a refunded charge, and a row of the payment states a refund.
fn is_refunded(row: &ExportRow, all: &[&ExportRow]) -> bool {
    row.status == ExportStatus::Refunded && all.iter().any(|row| row.refund.is_any())
}

/// The refunded amount in the export, in minor units; `None` if it cannot be read. A refund may be in the row of its
/// charge, in a separate row, or in both.
fn sum_refunds(all: &[&ExportRow], currency: Currency) -> Option<u64> {
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

/// Whether the export shows that a bank debit was returned after it was settled.
fn is_returned_debit(row: &ExportRow, payment: &Payment, all: &[&ExportRow]) -> bool {
    let is_later = |paid: &&&ExportRow| match (paid.at, row.at) {
        (Some(paid), Some(failed)) if paid != failed => failed > paid,
        _ => row.line > paid.line,
    };
    let came_back = match row.status {
        ExportStatus::Returned => true,
        ExportStatus::Failed => all.iter().filter(|other| is_success(other)).all(|paid| is_later(&paid)),
        _ => false,
    };
    came_back && payment.state == PaymentState::Charged && payment.is_bank_debit()
}

/// Returns why a row is not clearly the charge of a payment, if it is not.
fn find_doubt(row: &ExportRow, payment: &Payment) -> Option<RowDoubt> {
    let is_other_card = match (&row.last4, &payment.last4) {
        // For a bank account the ledger may have only two or three digits.
        (Some(of_row), Some(of_payment)) => !of_row.ends_with(of_payment.as_str()),
        _ => false,
    };
    if row.kind != RowKind::Payment {
        Some(RowDoubt::NotPayment(row.kind.clone()))
    } else if row.is_contradicted {
        Some(RowDoubt::ContradictoryStatus)
    } else if !row.mode.fits(payment.live) {
        Some(RowDoubt::ModeMismatch)
    } else if is_other_card {
        Some(RowDoubt::CardMismatch)
    } else if !row.is_captured {
        Some(RowDoubt::NotCaptured)
    } else {
        (!payment.state.was_charged() && row.refund.is_any()).then_some(RowDoubt::Refunded)
    }
}

/// What a row means for a payment.
enum Decision {
    Agrees,
    Settle(SettledOutcome),
    /// Neither the ledger nor the export has an outcome.
    Undecided,
    Disagrees,
}

/// Decides by the state in the ledger and the status in the export.
fn decide(state: PaymentState, status: &ExportStatus) -> Decision {
    use ExportStatus::{Disputed, Failed, Other, Paid, Pending, Refunded, Returned};
    match (state, status) {
        (PaymentState::Unknown | PaymentState::Pending, Paid) => Decision::Settle(SettledOutcome::Charged),
        (PaymentState::Unknown, Failed) => Decision::Settle(SettledOutcome::Declined),
        (PaymentState::Pending, Failed | Returned) => Decision::Settle(SettledOutcome::Returned),
        (PaymentState::Unknown, Pending | Other(_)) => Decision::Undecided,
        (PaymentState::Pending, Pending | Other(_))
        // An unknown or missing status contradicts nothing.
        | (PaymentState::Charged, Paid | Other(_))
        | (PaymentState::Returned, Returned | Failed)
        // Many exports have the refund in a separate row.
        | (PaymentState::Refunded, Refunded | Paid)
        | (PaymentState::Disputed, Disputed | Paid | Refunded)
        | (PaymentState::Declined | PaymentState::Failed | PaymentState::Cancelled | PaymentState::Abandoned, Failed) => Decision::Agrees,
        _ => Decision::Disagrees,
    }
}

fn is_same_amount(row: &ExportRow, payment: &Payment) -> bool {
    payment.amount.is_some_and(|amount| {
        let currency = amount.currency();
        row.currency.is_none_or(|of_row| of_row == currency)
            && row.sign.is_none_or(|sign| sign.may_be(currency))
            && row.amount.minor_in(currency) == Some(amount.minor())
    })
}

/// Whether a payment should be in the export.
fn expects_row(payment: &Payment) -> bool {
    let is_expected =
        payment.state.was_charged() || matches!(payment.state, PaymentState::Pending | PaymentState::Unknown);
    is_expected && (payment.amount.is_some() || payment.state == PaymentState::Charged)
}

/// When a payment was charged, as far as the ledger knows.
fn charged_at(payment: &Payment) -> Timestamp {
    payment.submitted_at.unwrap_or(payment.opened_at)
}

/// The days in UTC that an export covers, from the first to the one after the last; `None` if no row has a time.
fn covered_days(rows: &[ExportRow]) -> Option<(Timestamp, Timestamp)> {
    let times = || rows.iter().filter_map(|row| row.at);
    let day = |at: Timestamp| -> Date { at.to_zoned(TimeZone::UTC).date() };
    let start = |day: Date| day.to_zoned(TimeZone::UTC).map(|day| day.timestamp()).ok();
    let last = day(times().max()?).checked_add(1.day()).ok()?;
    Some((start(day(times().min()?))?, start(last)?))
}
