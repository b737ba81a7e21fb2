//! The ledger: every payment is written down before Twilio is asked for it, and what became of it before Twilio is
//! answered. One SQLite file; an append-only record of events under a row for each payment.
//!
//! It knows neither Twilio's REST API nor a session; what is asked for, and when, is theirs to say.

mod backup;
mod callbacks;
mod connection;
mod database;
mod error;
mod event;
mod fault;
mod guards;
mod held;
mod lease;
mod maintenance;
mod orders;
mod outbox;
mod payment;
mod personal_data;
mod recovery;
mod refunds;
mod since;
mod statement;
mod steps;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::{Directory, with_a_token};
mod tokens;
mod totals;
mod verdict;

pub use crate::payment::{ParseStateError, State};
pub use backup::BackupError;
pub use callbacks::Reported;
pub use error::{Error, NotOpen, NotSettled, Refused};
pub use fault::Fault;
pub use guards::Bar;
pub use outbox::{Backlog, Due, LONGEST_WAIT, Outcome};
pub use payment::{Filter, Happened, Payment};
pub use personal_data::Erased;
pub use recovery::Left;
pub use refunds::{Refund, RefundError, RefundKind};
pub use since::{BadSince, since};
pub use statement::{Csv, Table, decimal};
pub use steps::OnCall;
pub use totals::{Total, TotalsCsv, TotalsTable};
pub use verdict::{Settlement, Verdict};

use std::collections::HashSet;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use sqlx::{SqliteConnection, SqlitePool};
use tokio::sync::{Mutex, Notify, watch};
use tokio::time::Instant;
use tracing::error;

use crate::payment::{Doubt, Pattern, PaymentId};
use crate::sid::CallSid;
use connection::{PATIENCE, Transaction, Turn, Writer};
use database::Database;
use event::Event;
use fault::Faults;
use guards::Guards;
use held::{Held, Record};
use lease::Lease;
use payment::Find;

/// The ledger of this server. Clones share it. As it is opened it lets everything through: see [`within`](Self::within).
#[derive(Debug, Clone)]
pub struct Ledger(Arc<Inner>, Guards);

#[derive(Debug)]
struct Inner {
    database: Database,
    /// One connection: whoever writes waits for the one who does.
    writer: Writer,
    readers: SqlitePool,
    /// The connection for checkpoints, which waits for nobody.
    checkpointer: Mutex<Option<SqliteConnection>>,
    /// Transactions since the last checkpoint.
    commits: AtomicU32,
    /// That of a server; a visitor has none.
    lease: Option<Lease>,
    held: Held,
    faults: Faults,
    /// What a server that died left open, until it is put away.
    recovering: watch::Sender<HashSet<(CallSid, PaymentId)>>,
    /// An outcome was written.
    outcome_written: Notify,
    /// What was erased and may still stand in the write-ahead log.
    erasures: tokens::Erasures,
    /// Whether payments move real money.
    live: AtomicBool,
    /// The file, locked as long as the server runs; a visitor has none. It is closed after the connections.
    file: Option<File>,
}

impl Ledger {
    /// Where the ledger is.
    pub fn path(&self) -> &std::path::Path {
        self.0.database.path()
    }

    /// Says whether the payments that begin from now on move real money; without it they do.
    pub fn set_live(&self, live: bool) {
        self.0.live.store(live, Ordering::Relaxed);
    }

    /// What is wrong with the ledger now.
    pub fn fault(&self) -> Option<Fault> {
        self.0.faults.worst()
    }

    /// Writes what is held, gives the lease back, and closes the file.
    pub async fn close(&self) {
        self.write_last().await;
        if let Err(error) = self.release_lease().await {
            error!(event = "ledger.lease_kept", %error, "The lease of the ledger is not given back.");
        }
        self.0.readers.close().await;
        self.0.writer.close().await;
        if let Some(checkpointer) = self.0.checkpointer.lock().await.take() {
            connection::close(checkpointer).await;
        }
        if let Some(file) = &self.0.file {
            let _ = file.unlock();
        }
    }

    async fn release_lease(&self) -> Result<(), Error> {
        let Some(lease) = &self.0.lease else { return Ok(()) };
        let mut writing = self.write().await?;
        lease.release(&mut writing.transaction).await?;
        writing.commit().await
    }

    /// A write. It is undone if it is dropped before it is committed.
    async fn write(&self) -> Result<Writing, Error> {
        self.write_within(PATIENCE, PATIENCE).await
    }

    /// A write on which Twilio is asked to take money further. It is refused if the ledger is not this server's, or its file is gone.
    async fn write_decision(&self) -> Result<Writing, Refused> {
        let check = || self.0.faults.bars_payments().map_or(Ok(()), |fault| Err(Refused::Closed(fault)));
        check()?;
        let writing = self.write().await?;
        // The lease is looked at in the transaction.
        check()?;
        Ok(writing)
    }

    /// A write that begins in that time, or fails, and waits for a lock of another process no longer than that. What is held is
    /// written before it.
    async fn write_within(&self, patience: Duration, lock: Duration) -> Result<Writing, Error> {
        let begun = self.begin_after_held(Instant::now() + patience, lock).await;
        // That it had to wait is no fault where it did not wait for long.
        if lock < PATIENCE && begun.as_ref().is_err_and(Error::is_busy) { begun } else { self.note(begun) }
    }

    async fn begin_after_held(&self, until: Instant, lock: Duration) -> Result<Writing, Error> {
        loop {
            let turn = self.0.writer.turn(until).await?;
            let until = until.min(Instant::now() + lock);
            if let Some(turn) = self.write_held(turn, until).await? {
                return self.begin(turn, until).await;
            }
        }
    }

    async fn begin(&self, turn: Turn, until: Instant) -> Result<Writing, Error> {
        let transaction = self.0.writer.begin(turn, until).await?;
        let mut writing =
            Writing { transaction, now: Timestamp::now(), ledger: self.clone(), outcome: false, alerts: Vec::new() };
        if let Some(lease) = &self.0.lease
            && !lease.is_held(&mut writing.transaction).await?
        {
            self.0.faults.note_lost_lease();
        }
        Ok(writing)
    }

    /// Notes a failure to write.
    fn note<T>(&self, done: Result<T, Error>) -> Result<T, Error> {
        done.inspect_err(|error| self.0.faults.note_failure(error))
    }

    fn note_refusal<T>(&self, done: Result<T, Refused>) -> Result<T, Refused> {
        done.inspect_err(|refused| {
            if let Refused::Unwritten(error) = refused {
                self.0.faults.note_failure(error);
            }
        })
    }
}

/// A transaction that writes, and its one time.
struct Writing {
    transaction: Transaction,
    now: Timestamp,
    ledger: Ledger,
    /// An outcome is a part of it.
    outcome: bool,
    /// What an operator has to know once it is written.
    alerts: Vec<Alert>,
}

/// Something that an operator has to act on.
#[derive(Debug)]
enum Alert {
    CardTesting {
        call: CallSid,
        pattern: Pattern,
    },
    /// A success that is contradicted: the payment is unknown.
    DoubtfulSuccess {
        id: PaymentId,
        call: CallSid,
        doubt: Doubt,
    },
    /// A success of a payment that had ended otherwise.
    LateSuccess {
        id: PaymentId,
        call: CallSid,
        before: State,
    },
}

impl Alert {
    fn log(&self) {
        match self {
            Self::CardTesting { call, pattern } => {
                error!(event = "payment.card_testing", %call, seen = %pattern, "This looks like card testing.");
            }
            Self::DoubtfulSuccess { id, call, doubt } => error!(
                event = "payment.doubtful_success",
                payment = %id,
                %call,
                why = %doubt,
                "Twilio reports a success that is contradicted: the payment is unknown until it is settled."
            ),
            Self::LateSuccess { id, call, before } => error!(
                event = "payment.late_success",
                payment = %id,
                %call,
                %before,
                "A payment succeeded after it had ended otherwise."
            ),
        }
    }
}

impl Writing {
    async fn commit(self) -> Result<(), Error> {
        self.finish().await.map(drop)
    }

    /// Commits it. The turn to write goes on.
    async fn finish(self) -> Result<Turn, Error> {
        let Self { transaction, ledger, outcome, alerts, .. } = self;
        let turn = ledger.note(transaction.commit().await)?;
        ledger.0.commits.fetch_add(1, Ordering::Relaxed);
        if outcome {
            ledger.0.outcome_written.notify_one();
        }
        alerts.iter().for_each(Alert::log);
        Ok(turn)
    }

    async fn find(&mut self, which: Find<'_>) -> Result<Option<Payment>, Error> {
        payment::find(&mut *self.transaction, which).await
    }

    /// Appends an event. One that came before, by the same delivery of Twilio's, is not appended again: false.
    async fn append(&mut self, payment: &Payment, event: &Event<'_>, delivery: Option<&str>) -> Result<bool, Error> {
        let appended = sqlx::query(
            "INSERT INTO events (payment_id, at, kind, data, delivery) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        )
        .bind(payment.id.to_string())
        .bind(self.now.as_millisecond())
        .bind(event.kind())
        .bind(event.data().to_string())
        .bind(delivery)
        .execute(&mut *self.transaction)
        .await?;
        Ok(appended.rows_affected() == 1)
    }

    /// Moves a payment on, if it may go there. An outcome is on its way to the business with the same write.
    async fn advance(&mut self, payment: &mut Payment, next: State) -> Result<bool, Error> {
        if !payment.state.may_become(next) {
            return Ok(false);
        }
        self.set_state(payment, next).await?;
        Ok(true)
    }

    /// Moves a payment on, whatever the table says: for what an operator corrects, and for successes in doubt.
    async fn set_state(&mut self, payment: &mut Payment, next: State) -> Result<(), Error> {
        self.change_state(payment, next).await?;
        if next.is_told() { self.tell(payment).await } else { Ok(()) }
    }

    /// As [`set_state`](Self::set_state), for a change that the business is told with more than the state.
    async fn change_state(&mut self, payment: &mut Payment, next: State) -> Result<(), Error> {
        payment.state = next;
        let now = self.now.as_millisecond();
        sqlx::query(
            "UPDATE payments SET state = ?1, submitted_at = iif(?1 = 'submitted', ?2, submitted_at), \
             ended_at = iif(?3, ?2, ended_at) WHERE id = ?4",
        )
        .bind(next.as_str())
        .bind(now)
        .bind(next.is_told())
        .bind(payment.id.to_string())
        .execute(&mut *self.transaction)
        .await?;
        if next.is_told() {
            payment.ended_at = Some(self.now);
        }
        Ok(())
    }

    /// Has the business told how a payment stands now.
    async fn tell(&mut self, payment: &Payment) -> Result<(), Error> {
        self.outcome = true;
        outbox::put(self, payment).await
    }
}
