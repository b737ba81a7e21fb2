//! What a person has to look at after a comparison, and how it is said.

use std::fmt;

use super::{ExportStatus, RowKind};
use crate::ledger::{State, decimal};
use crate::payment::{Currency, PaymentId};

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
    /// The row is the payment's, and not plainly its charge: nothing is settled by it.
    Doubtful {
        /// The payment.
        payment: PaymentId,
        /// The line of the export.
        line: u64,
        /// Why.
        doubt: Doubt,
    },
    /// Another amount is refunded than the ledger knows, in minor units.
    OtherRefund {
        /// The payment.
        payment: PaymentId,
        /// The line of the export.
        line: u64,
        /// The currency of both.
        currency: Currency,
        /// What the export says; `None` if it cannot be read.
        processor: Option<u64>,
        /// What the ledger says.
        ledger: u64,
    },
    /// A bank debit that was settled came back.
    CameBack {
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

/// Why a row settles nothing, though it is a payment's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doubt {
    /// It records something else than a payment.
    Kind(RowKind),
    /// The amount, or a part of it, is authorized and not captured.
    NotCaptured,
    /// It is a test where the ledger has real money, or the other way round, or does not say plainly.
    OtherMode,
    /// Something of it is refunded.
    Refunded,
    /// The last four digits are those of another card.
    OtherCard,
    /// Its status columns contradict each other.
    TwoStatuses,
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
            Self::Doubtful { payment, line, doubt } => {
                write!(f, "line {line}: nothing is settled by it, {doubt}: {payment}")
            }
            Self::OtherRefund { payment, line, currency, processor, ledger } => {
                let ledger = decimal(*ledger, *currency);
                match processor.map(|minor| decimal(minor, *currency)) {
                    Some(processor) => write!(
                        f,
                        "line {line}: refunded {processor} at the processor, {ledger} in the ledger: {payment}"
                    ),
                    None => write!(
                        f,
                        "line {line}: refunded at the processor, how much cannot be read, {ledger} in the ledger: {payment}"
                    ),
                }
            }
            Self::CameBack { payment, line } => write!(
                f,
                "line {line}: the export says that the bank debit came back, the ledger charged: \
                 settle {payment} --as returned --note \"…\""
            ),
            Self::Ambiguous { line } => write!(f, "line {line}: several payments or rows fit, so none is matched"),
            Self::OrphanRow { line } => write!(f, "line {line}: no payment of the ledger fits"),
            Self::OrphanPayment { payment, state } => {
                write!(f, "not in the export: the ledger says {state}: {payment}")
            }
        }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kind(kind) => return write!(f, "the row records {kind}"),
            Self::NotCaptured => "the amount is not captured, or not all of it",
            Self::OtherMode => "test and live mode are not the ledger's",
            Self::Refunded => "something of it is refunded",
            Self::OtherCard => "the last four digits are not the ledger's",
            Self::TwoStatuses => "the status columns contradict each other",
        })
    }
}
