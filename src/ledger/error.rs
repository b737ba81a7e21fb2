//! Errors of the ledger.

use std::path::PathBuf;

use sqlx::migrate::MigrateError;

use super::{LedgerFault, LimitExceeded, PaymentState, TransactionId, connection};
use crate::config::{DatabaseUrl, PostgresUrl};
use crate::payment::{Amount, PriorPayment};

/// A read or write of the ledger that failed. A later attempt may succeed.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// SQLite reported an error.
    #[error("the ledger cannot be read or written: {0}")]
    Database(sqlx::Error),
    /// A row contains a value that this version cannot read.
    #[error("the ledger holds something that this version cannot read: {0}")]
    Unreadable(&'static str),
    /// Other writes took too long.
    #[error("the ledger cannot be written: another write takes too long")]
    Busy,
    /// PostgreSQL did not say whether it has committed a transaction.
    #[error("the ledger did not confirm a write")]
    InDoubt(TransactionId),
}

impl LedgerError {
    /// Whether a later attempt may succeed: the cause is the machine, not the data.
    pub(super) fn is_transient(&self) -> bool {
        use sqlx::Error::{ColumnDecode, ColumnNotFound, Decode, Encode, PoolClosed, RowNotFound, TypeNotFound};
        match self {
            Self::Busy | Self::InDoubt(_) => true,
            Self::Unreadable(_)
            | Self::Database(
                ColumnDecode { .. }
                | ColumnNotFound(_)
                | Decode(_)
                | Encode(_)
                | PoolClosed
                | RowNotFound
                | TypeNotFound { .. },
            ) => false,
            // 18 to 20 and 25: a size, a constraint, a type or a parameter index. 22 and 23: a value or a constraint.
            Self::Database(error) => {
                !matches!(connection::primary_code(error), Some(18..=20 | 25))
                    && !connection::sql_state(error)
                        .is_some_and(|state| state.starts_with("22") || state.starts_with("23"))
            }
        }
    }

    /// Whether another write stood in the way, so that nothing was written: a deadlock, or a row that appeared meanwhile.
    pub(super) fn is_conflict(&self) -> bool {
        match self {
            Self::Database(error) => {
                connection::sql_state(error).is_some_and(|state| matches!(&*state, "40001" | "40P01" | "23505"))
            }
            Self::Busy | Self::Unreadable(_) | Self::InDoubt(_) => false,
        }
    }

    /// Whether another session of PostgreSQL held a row or a lock for too long. The database itself works.
    pub(super) fn is_lock_timeout(&self) -> bool {
        match self {
            Self::Database(error) => connection::sql_state(error).is_some_and(|state| state == "55P03"),
            Self::Busy | Self::Unreadable(_) | Self::InDoubt(_) => false,
        }
    }

    /// Whether another write, of this process or another one, took too long.
    pub(super) fn is_busy(&self) -> bool {
        match self {
            Self::Busy => true,
            Self::Unreadable(_) | Self::InDoubt(_) => false,
            Self::Database(error) => connection::is_busy(error),
        }
    }
}

impl From<sqlx::Error> for LedgerError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

/// A ledger that could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenLedgerError {
    /// Another server has locked the file. Both would process the same payments.
    #[error(
        "another server uses the ledger {}: stop it, or give this one a DATABASE_URL of its own", .0.display()
    )]
    InUse(PathBuf),
    /// The file is a copy, and a server may still use the original.
    #[error(
        "the ledger {} is a copy: a server may still use the original. Start this one on the original or, if no \
         server uses that any more, start once with `crelay-payments serve --take-over`", .0.display()
    )]
    Copied(PathBuf),
    /// The directory or the file could not be created or opened.
    #[error("the ledger {} cannot be created or opened: make its directory writable for this user, or set DATABASE_URL", .0.display())]
    File(PathBuf, #[source] std::io::Error),
    /// The file is not a SQLite database. It was not changed.
    #[error("{} is not a ledger: set DATABASE_URL to the path of the ledger, or of a new file", .0.display())]
    NotALedger(PathBuf),
    /// The file does not exist.
    #[error("there is no ledger {}: start the server first, or set DATABASE_URL to the path of its ledger", .0.display())]
    Missing(PathBuf),
    /// SQLite reported an error.
    #[error("the ledger {0} cannot be opened: {1}")]
    Database(DatabaseUrl, sqlx::Error),
    /// A migration failed, for example because a newer version wrote the file.
    #[error("the ledger {url} cannot be migrated to this version{hint}", url = .0, hint = migration_hint(.1))]
    Migration(DatabaseUrl, #[source] MigrateError),
    /// The server of the database lacks what the ledger needs.
    #[error("the ledger {0} {1}")]
    Unsuitable(PostgresUrl, String),
    /// The database has no tables of a ledger.
    #[error("there is no ledger in {0}: start the server first, or set DATABASE_URL to its database")]
    Empty(PostgresUrl),
}

/// Why a migration that is missing or different is so.
fn migration_hint(error: &MigrateError) -> &'static str {
    use MigrateError::{VersionMismatch, VersionMissing, VersionTooNew};
    let is_newer = matches!(error, VersionMissing(_) | VersionMismatch(_) | VersionTooNew(..));
    if is_newer { ": a newer version may have written it" } else { "" }
}

impl OpenLedgerError {
    /// An error of this database.
    pub(super) fn database(url: &DatabaseUrl) -> impl Fn(sqlx::Error) -> Self + '_ {
        |error| Self::Database(url.clone(), error)
    }
}

/// A request to Twilio that was not recorded, and so must not be sent.
#[derive(Debug, thiserror::Error)]
pub enum RecordRequestError {
    /// The ledger could not be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The result of an earlier payment of the call is not known: it may have been charged.
    #[error("an earlier payment of the call is not settled")]
    EarlierUnsettled,
    /// The amount due on the call is already charged.
    #[error("the amount due on the call is already paid")]
    AlreadyPaid,
    /// The order already has a payment, on this call or another one.
    #[error("the order already has a payment that is {}", .0.state)]
    OrderHasPayment(PriorPayment),
    /// The same caller paid the same amount a short time ago, and no reference tells the two payments apart.
    #[error("the same amount was paid {minutes} minutes ago")]
    RecentlyPaid {
        /// The amount that was paid.
        amount: Amount,
        /// How many minutes ago.
        minutes: u32,
    },
    /// An earlier payment of the call is being cancelled after a restart or a broken session.
    #[error("an earlier payment of the call is being cancelled")]
    Recovering,
    /// The payment has ended, or an earlier submission is unanswered.
    #[error("the payment cannot be submitted any more")]
    NotSubmittable,
    /// A velocity limit is exceeded.
    #[error("a velocity limit is exceeded: {0}")]
    LimitExceeded(LimitExceeded),
    /// The ledger has a fault that blocks payments.
    #[error("payments are blocked: {0}")]
    LedgerUnavailable(LedgerFault),
    /// This server has not claimed the call: the ledger could not be written when the call began.
    #[error("the call is not claimed yet")]
    Unclaimed,
    /// Another server has the call.
    #[error("another server has the call")]
    Elsewhere,
}

impl RecordRequestError {
    /// Whether another write stood in the way, so that nothing was written.
    pub(super) fn is_conflict(&self) -> bool {
        if let Self::Ledger(error) = self { error.is_conflict() } else { false }
    }

    /// What is wrong and what to do about it, as text for the model.
    pub fn model_message(&self) -> &'static str {
        match self {
            Self::Ledger(_) | Self::Unclaimed | Self::Elsewhere => {
                "Nothing was done, since payments cannot be recorded at the moment. Apologise, and offer to try once more \
                 or to connect the caller with a person."
            }
            Self::EarlierUnsettled => {
                "An earlier payment of this call was submitted, and its result is not known yet: it may have gone through. \
                 Do not take another one. Tell the caller that the first is being looked into, and offer to connect them \
                 with a person."
            }
            Self::AlreadyPaid => {
                "The amount that was due on this call is paid already, so nothing more is charged. Tell the caller so, and do \
                 not start again."
            }
            Self::OrderHasPayment(_) | Self::RecentlyPaid { .. } => {
                "There is another payment for the same already, so nothing was begun. Offer to connect the caller with a person."
            }
            Self::Recovering => {
                "An earlier payment of this call is still being cancelled. Ask the caller for a moment, and start again."
            }
            Self::NotSubmittable => {
                "This payment has ended or was submitted before, so it was not submitted again. Wait for a payment update, \
                 and do not announce a result."
            }
            Self::LedgerUnavailable(_) => {
                "Nothing was done, since no payments can be taken at the moment, and trying again does not help. Apologise, \
                 and offer to connect the caller with a person (call live-agent-handoff)."
            }
            Self::LimitExceeded(_) => {
                "No card payment can be taken on this call any more: do not begin another one. Say that it cannot be done \
                 over the telephone right now, without a reason, and offer a person (call live-agent-handoff)."
            }
        }
    }
}

/// A settlement that was not recorded.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// No payment has this id.
    #[error("no payment has this id")]
    NoSuchPayment,
    /// The payment is in a state that cannot be settled.
    #[error(
        "the payment is {0}: only one that is unknown, pending or disputed can be settled, or a charged bank debit as \
             returned; an operator's own settlement can be corrected"
    )]
    NotSettleable(PaymentState),
    /// The payment cannot change from its state to this outcome.
    #[error("the payment is {0}: it cannot be settled as {1}")]
    InvalidTransition(PaymentState, PaymentState),
    /// Only a bank debit can be returned.
    #[error("the payment is no bank debit, so it cannot be returned")]
    NotBankDebit,
    /// A correction needs a note.
    #[error("a correction needs a note that says why")]
    NoteMissing,
    /// No operator has settled the payment, so there is nothing to correct.
    #[error("the payment is {0}, and no operator has settled it: there is nothing to correct")]
    NeverSettled(PaymentState),
    /// Twilio reported a success, which is never corrected.
    #[error("Twilio itself reported that the payment succeeded: that cannot be corrected")]
    SuccessReported,
    /// A refund or a dispute of the payment is recorded.
    #[error("a refund or a dispute of the payment is recorded, so it was charged: that cannot be corrected")]
    RefundRecorded,
    /// The outcome does not fit the purpose of the payment: to charge an amount or to store a card.
    #[error("the payment was to {}", if *.charges { "charge an amount: it cannot be tokenized" } else { "store a card: it cannot be charged" })]
    WrongPurpose {
        /// Whether the payment was to charge an amount.
        charges: bool,
    },
    /// The ledger could not be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}
