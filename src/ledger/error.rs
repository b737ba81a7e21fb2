//! Why something could not be written, or was not allowed.

use std::path::PathBuf;

use super::{Bar, Fault, State, connection};
use crate::payment::{Amount, KnownPayment};

/// Why the ledger could not be read or written. The same may succeed later.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// SQLite.
    #[error("the ledger cannot be read or written: {0}")]
    Database(sqlx::Error),
    /// A row cannot be what it says.
    #[error("the ledger holds something that this version cannot read: {0}")]
    Unreadable(&'static str),
    /// Other writes took too long.
    #[error("the ledger cannot be written: another write takes too long")]
    Busy,
}

impl Error {
    /// Whether the same may succeed later: it is the machine's fault, and none of what was to be read or written.
    pub(super) fn may_pass(&self) -> bool {
        use sqlx::Error::{ColumnDecode, ColumnNotFound, Decode, Encode, PoolClosed, RowNotFound, TypeNotFound};
        match self {
            Self::Busy => true,
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
            // A constraint, a type, a size or an index of a parameter.
            Self::Database(error) => !matches!(connection::code(error), Some(18..=20 | 25)),
        }
    }

    /// Whether another write, of this process or of another, was in the way.
    pub(super) fn is_busy(&self) -> bool {
        match self {
            Self::Busy => true,
            Self::Unreadable(_) => false,
            Self::Database(error) => connection::is_busy(error),
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

/// Why the ledger cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum NotOpen {
    /// Two servers would carry the same payment on.
    #[error(
        "another server uses the ledger {}: stop it, or give this one a DATABASE_URL of its own", .0.display()
    )]
    InUse(PathBuf),
    /// Another server may be at work on what this is a copy of.
    #[error(
        "the ledger {} is a copy: a server may work on the original, so start this one on that; if nobody does any more, start \
         once with `crelay-payments serve --take-over`", .0.display()
    )]
    Copied(PathBuf),
    /// The directory or the file.
    #[error("the ledger {} cannot be made or opened: give its directory to the user that runs this, or set DATABASE_URL", .0.display())]
    File(PathBuf, #[source] std::io::Error),
    /// There is nothing to read.
    #[error("there is no ledger {}: has a server run here? DATABASE_URL says where it is", .0.display())]
    Missing(PathBuf),
    /// SQLite.
    #[error("the ledger {} cannot be opened", .0.display())]
    Database(PathBuf, #[source] sqlx::Error),
    /// It was written by another version.
    #[error("the ledger {} is not what this version knows", .0.display())]
    Migration(PathBuf, #[source] sqlx::migrate::MigrateError),
}

/// Why Twilio must not be asked for a step of a payment.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It would not be known afterwards.
    #[error(transparent)]
    Unwritten(#[from] Error),
    /// What became of an earlier payment of this call is not known: it may have been charged.
    #[error("an earlier payment of the call is not settled")]
    Unsettled,
    /// What was due on this call was charged before.
    #[error("what was due on the call is paid")]
    Paid,
    /// The order has a payment already, on this call or on another one.
    #[error("the order has a payment that is {}", .0.state)]
    Order(KnownPayment),
    /// The same caller paid the same amount a little while ago, without a reference that tells the two apart.
    #[error("the same was paid {minutes} minutes ago")]
    PaidBefore {
        /// What was paid.
        amount: Amount,
        /// How long ago.
        minutes: u32,
    },
    /// An earlier payment of this call is being cancelled, since the server was started anew.
    #[error("an earlier payment of the call is being cancelled")]
    Recovering,
    /// The payment has ended, or another request to submit it is unanswered.
    #[error("the payment cannot be submitted any more")]
    Over,
    /// A guard speaks against it.
    #[error("a guard does not let it through: {0}")]
    Barred(Bar),
    /// The ledger can take no payments.
    #[error("no payment is taken: {0}")]
    Closed(Fault),
}

impl Refused {
    /// What is wrong and what to do about it, in words for the model.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unwritten(_) => {
                "Nothing was done, since payments cannot be recorded at the moment. Apologise, and offer to try once more \
                 or to connect the caller with a person."
            }
            Self::Unsettled => {
                "An earlier payment of this call was submitted, and its result is not known yet: it may have gone through. \
                 Do not take another one. Tell the caller that the first is being looked into, and offer to connect them \
                 with a person."
            }
            Self::Paid => {
                "The amount that was due on this call is paid already, so nothing more is charged. Tell the caller so, and do \
                 not start again."
            }
            Self::Order(_) | Self::PaidBefore { .. } => {
                "There is another payment for the same already, so nothing was begun. Offer to connect the caller with a person."
            }
            Self::Recovering => {
                "An earlier payment of this call is still being cancelled. Ask the caller for a moment, and start again."
            }
            Self::Over => {
                "This payment has ended or was submitted before, so it was not submitted again. Wait for a payment update, \
                 and do not announce a result."
            }
            Self::Closed(_) => {
                "Nothing was done, since no payments can be taken at the moment, and trying again does not help. Apologise, \
                 and offer to connect the caller with a person (call live-agent-handoff)."
            }
            Self::Barred(_) => {
                "No card payment can be taken on this call any more: do not begin another one. Say that it cannot be done \
                 over the telephone right now, without a reason, and offer a person (call live-agent-handoff)."
            }
        }
    }
}

/// Why a payment was not settled.
#[derive(Debug, thiserror::Error)]
pub enum NotSettled {
    /// There is no such payment.
    #[error("no payment has this id")]
    NoSuchPayment,
    /// Only what is unknown can be settled, or what is pending or disputed, or a charged bank debit that came back.
    #[error(
        "the payment is {0}: only one that is unknown, pending or disputed can be settled, or a charged bank debit as \
             returned; an operator's own settlement can be corrected"
    )]
    NotUnknown(State),
    /// The money cannot go this way.
    #[error("the payment is {0}: it cannot be settled as {1}")]
    NotFrom(State, State),
    /// Only a bank debit comes back.
    #[error("the payment is no bank debit, so it cannot be returned")]
    NotBankDebit,
    /// A correction says why.
    #[error("a correction needs a note that says why")]
    NoNote,
    /// There is nothing to correct.
    #[error("the payment is {0}, and no operator has settled it: there is nothing to correct")]
    NeverSettled(State),
    /// What Twilio reported stands.
    #[error("Twilio itself reported that the payment succeeded: that cannot be corrected")]
    Reported,
    /// Refunds or disputes are recorded of it.
    #[error("a refund or a dispute of the payment is recorded, so it was charged: that cannot be corrected")]
    Refunded,
    /// It was to do the other thing.
    #[error("the payment was to {}", if *.charges { "charge an amount: it cannot be tokenized" } else { "store a card: it cannot be charged" })]
    Mismatch {
        /// Whether it was to charge an amount.
        charges: bool,
    },
    /// It could not be written.
    #[error(transparent)]
    Unwritten(#[from] Error),
}
