//! Faults of the ledger: it cannot be written, its file is gone, or another server has taken its lease.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use tracing::{error, info};

use super::{LedgerError, connection};

/// A fault of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LedgerFault {
    /// Writes fail for this reason. The fault ends with its cause.
    Unwritable(&'static str),
    /// The file of the ledger or its write-ahead log was deleted or replaced.
    FileGone,
    /// Another server has taken the lease. The fault lasts until this server is restarted.
    LeaseLost,
}

impl fmt::Display for LedgerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unwritable(why) => write!(f, "the ledger cannot be written: {why}"),
            Self::FileGone => {
                f.write_str("the file of the ledger was deleted or replaced: put it back, or restart the server")
            }
            Self::LeaseLost => f.write_str("another server has taken the ledger: stop one of the two"),
        }
    }
}

/// The current faults. Each is logged once when it begins and once when it ends.
#[derive(Debug, Default)]
pub(super) struct FaultTracker(Mutex<ActiveFaults>);

#[derive(Debug, Default)]
struct ActiveFaults {
    /// When writes began to fail, and why.
    unwritable: Option<(Instant, &'static str)>,
    is_file_gone: bool,
    is_lease_lost: bool,
}

impl FaultTracker {
    /// The worst of the current faults.
    pub(super) fn worst(&self) -> Option<LedgerFault> {
        let known = self.lock();
        if known.is_lease_lost {
            Some(LedgerFault::LeaseLost)
        } else if known.is_file_gone {
            Some(LedgerFault::FileGone)
        } else {
            known.unwritable.map(|(_, why)| LedgerFault::Unwritable(why))
        }
    }

    /// The fault that blocks payments although the ledger can be written.
    pub(super) fn fault_stopping_payments(&self) -> Option<LedgerFault> {
        self.worst().filter(|fault| !matches!(fault, LedgerFault::Unwritable(_)))
    }

    /// Whether outcomes must not be delivered: a delivery could not be recorded, or is up to another server.
    pub(super) fn is_delivery_blocked(&self) -> bool {
        let known = self.lock();
        known.is_lease_lost || known.unwritable.is_some()
    }

    pub(super) fn is_unwritable(&self) -> bool {
        self.lock().unwritable.is_some()
    }

    /// Registers a failed write, unless a later attempt cannot succeed.
    pub(super) fn set_unwritable(&self, error: &LedgerError) {
        if !error.is_transient() || error.is_lock_timeout() {
            return;
        }
        let mut known = self.lock();
        let began = known.unwritable.map(|(began, _)| began);
        known.unwritable = Some((began.unwrap_or_else(Instant::now), describe(error)));
        if began.is_none() {
            error!(
                event = "ledger.write_failed",
                %error,
                "The ledger cannot be written: no payment starts or is submitted, and callbacks are buffered in memory."
            );
        }
    }

    /// Registers a successful write. Returns whether it ends a fault.
    pub(super) fn clear_unwritable(&self) -> bool {
        let ended = self.lock().unwritable.take();
        if let Some((began, _)) = ended {
            let after_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            info!(event = "ledger.writable_again", after_ms, "The ledger can be written again.");
        }
        ended.is_some()
    }

    /// Sets whether the file was deleted or replaced.
    pub(super) fn set_file_gone(&self, is_gone: bool) {
        let was_gone = std::mem::replace(&mut self.lock().is_file_gone, is_gone);
        match (was_gone, is_gone) {
            (false, true) => error!(
                event = "ledger.file_gone",
                "The file of the ledger was deleted or replaced: no payment starts or is submitted until it is back."
            ),
            (true, false) => info!(event = "ledger.file_back", "The file of the ledger is back."),
            _ => {}
        }
    }

    /// Registers that another server has taken the lease.
    pub(super) fn set_lease_lost(&self) {
        if !std::mem::replace(&mut self.lock().is_lease_lost, true) {
            error!(
                event = "ledger.lease_lost",
                "Another server has taken the ledger: this one takes no payments until it is restarted."
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, ActiveFaults> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A short description of the error.
fn describe(error: &LedgerError) -> &'static str {
    let error = match error {
        LedgerError::Busy => return "another write takes too long",
        LedgerError::InDoubt(_) => return DATABASE_SILENT,
        LedgerError::Database(error) => error,
        LedgerError::Unreadable(_) => return "a row cannot be read",
    };
    if let Some(state) = connection::sql_state(error) {
        return describe_state(&state);
    }
    match connection::primary_code(error) {
        Some(5 | 6) => "another process holds the file locked",
        Some(8) => "the file or its directory is read-only",
        Some(10) => "the disk reports an error",
        Some(11 | 26) => "the file is damaged",
        Some(13) => "the disk is full",
        Some(14) => "the file cannot be opened",
        _ if matches!(error, sqlx::Error::Io(_)) => "the database cannot be reached",
        _ => "the database reports an error, which is in the log",
    }
}

const DATABASE_SILENT: &str = "the database does not answer";

/// Describes an error of PostgreSQL by its code.
fn describe_state(state: &str) -> &'static str {
    match state.get(..2) {
        Some("08") => "the database cannot be reached",
        Some("25") => "the database is read-only",
        Some("28") => "the database refuses the user or the password",
        Some("53") => "the database has no room or no connection left",
        Some("57") => "the database is being stopped, or a statement takes too long",
        _ => "the database reports an error, which is in the log",
    }
}
