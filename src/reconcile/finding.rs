//! Differences found by a comparison, and their messages.

use std::fmt;

use super::{ExportStatus, RowKind};
use crate::ledger::PaymentState;
use crate::payment::{Currency, PaymentId};

/// A difference that a person has to review.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReconciliationFinding {
    /// The state in the ledger and the status in the export disagree.
    Disagreement {
        /// The payment.
        payment: PaymentId,
        /// The line of the export.
        line: u64,
        /// The value in the ledger.
        state: PaymentState,
        /// The value in the export.
        status: ExportStatus,
    },
    /// The amounts or the currencies differ, or the amount of the export cannot be read.
    AmountMismatch {
        /// The payment.
        payment: PaymentId,
        /// The line of the export.
        line: u64,
    },
    /// The payment is not settled, and the export has no outcome.
    Unsettled {
        /// The payment.
        payment: PaymentId,
        /// The line of the export.
        line: u64,
        /// The value in the ledger.
        state: PaymentState,
    },
    /// The row belongs to the payment but is not clearly its charge, so it settles nothing.
    Doubtful {
        /// The payment.
        payment: PaymentId,
        /// The line of the export.
        line: u64,
        /// Why.
        doubt: RowDoubt,
    },
    /// The refunded amounts differ. Both are in minor units.
    RefundMismatch {
        /// The payment.
        payment: PaymentId,
        /// The line of the export.
        line: u64,
        /// The currency of both.
        currency: Currency,
        /// The value in the export; `None` if it cannot be read.
        processor: Option<u64>,
        /// The value in the ledger.
        ledger: u64,
    },
    /// A settled bank debit was returned.
    DebitReturned {
        /// The payment.
        payment: PaymentId,
        /// The line of the export.
        line: u64,
    },
    /// Several payments, or several rows, fit: none is matched.
    Ambiguous {
        /// The line of the export.
        line: u64,
    },
    /// A row that belongs to no payment of the ledger.
    RowWithoutPayment {
        /// The line of the export.
        line: u64,
    },
    /// A payment for which money should have moved is not in the export.
    PaymentNotInExport {
        /// The payment.
        payment: PaymentId,
        /// The value in the ledger.
        state: PaymentState,
    },
}

/// Why a row that belongs to a payment settles nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowDoubt {
    /// It records something other than a payment.
    NotPayment(RowKind),
    /// The amount, or a part of it, is authorized and not captured.
    NotCaptured,
    /// Its mode, live or test, differs from that of the payment or is unclear.
    ModeMismatch,
    /// It is refunded, in whole or in part.
    Refunded,
    /// The last four digits are those of another card.
    CardMismatch,
    /// Its status columns contradict each other.
    ContradictoryStatus,
}

impl fmt::Display for ReconciliationFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disagreement { payment, line, state, status } => {
                write!(f, "line {line}: the export says {status}, the ledger says {state}: {payment}")
            }
            Self::AmountMismatch { payment, line } => {
                write!(f, "line {line}: the amount differs from the ledger's, or cannot be read: {payment}")
            }
            Self::Unsettled { payment, line, state } => {
                write!(f, "line {line}: the export has no outcome, the ledger says {state}: {payment}")
            }
            Self::Doubtful { payment, line, doubt } => {
                write!(f, "line {line}: the row settles nothing, {doubt}: {payment}")
            }
            Self::RefundMismatch { payment, line, currency, processor, ledger } => {
                let ledger = currency.format_minor(*ledger);
                match processor.map(|minor| currency.format_minor(minor)) {
                    Some(processor) => write!(
                        f,
                        "line {line}: refunded {processor} at the processor, {ledger} in the ledger: {payment}"
                    ),
                    None => write!(
                        f,
                        "line {line}: refunded an unreadable amount at the processor, {ledger} in the ledger: {payment}"
                    ),
                }
            }
            Self::DebitReturned { payment, line } => write!(
                f,
                "line {line}: the export says that the bank debit was returned, the ledger says charged: \
                 settle {payment} --as returned --note \"…\""
            ),
            Self::Ambiguous { line } => write!(f, "line {line}: several payments or rows fit, so none is matched"),
            Self::RowWithoutPayment { line } => write!(f, "line {line}: no payment of the ledger fits"),
            Self::PaymentNotInExport { payment, state } => {
                write!(f, "not in the export: the ledger says {state}: {payment}")
            }
        }
    }
}

impl fmt::Display for RowDoubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotPayment(kind) => return write!(f, "the row records {kind}"),
            Self::NotCaptured => "the amount is not captured, or not all of it",
            Self::ModeMismatch => "its mode, live or test, differs from the ledger's or is unclear",
            Self::Refunded => "the charge is refunded, in whole or in part",
            Self::CardMismatch => "the last four digits differ from the ledger's",
            Self::ContradictoryStatus => "the status columns contradict each other",
        })
    }
}
