//! What is wrong with the ledger: that it cannot be written, that its file is gone, or that another server has taken it.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use tracing::{error, info};

use super::{Error, connection};

/// What is wrong with the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Writes fail, for this reason. It passes with its cause.
    Unwritable(&'static str),
    /// The path of the ledger, or of its write-ahead log, leads to another file than the open one, or to none.
    FileGone,
    /// Another server has taken the ledger. It lasts until this server is started anew.
    LeaseLost,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unwritable(why) => write!(f, "the ledger cannot be written: {why}"),
            Self::FileGone => f.write_str("the file of the ledger was deleted or replaced: put it back, or start anew"),
            Self::LeaseLost => f.write_str("another server has taken the ledger: stop one of the two"),
        }
    }
}

/// What is wrong now. Each fault is logged once when it begins, and once when it is over.
#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Since when, and why.
    unwritable: Option<(Instant, &'static str)>,
    is_file_gone: bool,
    is_lease_lost: bool,
}

impl Faults {
    /// What is wrong, the worst first.
    pub(super) fn worst(&self) -> Option<Fault> {
        let known = self.lock();
        if known.is_lease_lost {
            Some(Fault::LeaseLost)
        } else if known.is_file_gone {
            Some(Fault::FileGone)
        } else {
            known.unwritable.map(|(_, why)| Fault::Unwritable(why))
        }
    }

    /// Why no payment may be taken, although the ledger may be written.
    pub(super) fn bars_payments(&self) -> Option<Fault> {
        self.worst().filter(|fault| !matches!(fault, Fault::Unwritable(_)))
    }

    /// Whether outcomes must not be delivered: that they were could not be recorded, or is for another server to do.
    pub(super) fn bars_deliveries(&self) -> bool {
        let known = self.lock();
        known.is_lease_lost || known.unwritable.is_some()
    }

    pub(super) fn is_unwritable(&self) -> bool {
        self.lock().unwritable.is_some()
    }

    /// Notes that a write failed.
    pub(super) fn note_failure(&self, error: &Error) {
        if !error.may_pass() {
            return;
        }
        let mut known = self.lock();
        let began = known.unwritable.map(|(began, _)| began);
        known.unwritable = Some((began.unwrap_or_else(Instant::now), words(error)));
        if began.is_none() {
            error!(
                event = "ledger.write_failed",
                %error,
                "The ledger cannot be written: no payment begins or is submitted, and callbacks are held in memory."
            );
        }
    }

    /// Notes that a write succeeded: whether that ends a fault.
    pub(super) fn note_success(&self) -> bool {
        let ended = self.lock().unwritable.take();
        if let Some((began, _)) = ended {
            let after_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            info!(event = "ledger.writable_again", after_ms, "The ledger can be written again.");
        }
        ended.is_some()
    }

    /// Notes whether the path leads to the open file.
    pub(super) fn note_file(&self, is_gone: bool) {
        let was_gone = std::mem::replace(&mut self.lock().is_file_gone, is_gone);
        match (was_gone, is_gone) {
            (false, true) => error!(
                event = "ledger.file_gone",
                "The file of the ledger was deleted or replaced: no payment begins or is submitted until it is back."
            ),
            (true, false) => info!(event = "ledger.file_back", "The file of the ledger is back."),
            _ => {}
        }
    }

    /// Notes that another server has taken the lease.
    pub(super) fn note_lost_lease(&self) {
        if !std::mem::replace(&mut self.lock().is_lease_lost, true) {
            error!(
                event = "ledger.lease_lost",
                "Another server has taken the ledger: this one takes no payments until it is started anew."
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The error in plain words.
fn words(error: &Error) -> &'static str {
    let error = match error {
        Error::Busy => return "another write takes too long",
        Error::Database(error) => error,
        Error::Unreadable(_) => return "a row cannot be read",
    };
    match connection::code(error) {
        Some(5 | 6) => "another process holds the file locked",
        Some(8) => "the file or its directory is read-only",
        Some(10) => "the disk reports an error",
        Some(11 | 26) => "the file is damaged",
        Some(13) => "the disk is full",
        Some(14) => "the file cannot be opened",
        _ if matches!(error, sqlx::Error::Io(_)) => "the file cannot be opened",
        _ => "SQLite reports an error, which is in the log",
    }
}
