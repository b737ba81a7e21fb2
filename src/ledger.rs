//! The ledger: every payment is written down before Twilio is asked for it, and what became of it before Twilio is
//! answered. One SQLite file; an append-only record of events under a row for each payment.
//!
//! It knows neither Twilio's REST API nor a session; what is asked for, and when, is theirs to say.

mod callbacks;
mod error;
mod event;
mod file;
mod guards;
mod orders;
mod outbox;
mod payment;
mod recovery;
mod since;
mod statement;
mod steps;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::Directory;
mod tokens;
mod verdict;

pub use crate::payment::{ParseStateError, State};
pub use callbacks::Reported;
pub use error::{Error, NotOpen, NotSettled, Refused};
pub use guards::Bar;
pub use outbox::{Due, Outcome};
pub use payment::{Filter, Happened, Payment};
pub use recovery::Left;
pub use since::{BadSince, since};
pub use statement::{Csv, Table};
pub use steps::OnCall;
pub use verdict::{Settlement, Verdict};

use std::collections::HashSet;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use jiff::Timestamp;
use sqlx::{Sqlite, SqlitePool, Transaction};
use tokio::sync::{Notify, watch};
use tracing::error;

use crate::payment::{Doubt, Pattern, PaymentId};
use crate::sid::CallSid;
use event::Event;
use guards::Guards;
use payment::Find;

/// The ledger of this server. Clones share it. As it is opened it lets everything through: see [`within`](Self::within).
#[derive(Debug, Clone)]
pub struct Ledger(Arc<Inner>, Guards);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// One connection: whoever writes waits for the one who does.
    writer: SqlitePool,
    readers: SqlitePool,
    /// Held as long as the server runs, so that no other uses the file; a visitor has none.
    _lock: Option<File>,
    /// What a server that died left open, until it is put away.
    recovering: watch::Sender<HashSet<(CallSid, PaymentId)>>,
    /// An outcome was written.
    outcome_written: Notify,
    /// A token was erased, and may still stand in the write-ahead log.
    to_be_wiped: AtomicBool,
}

impl Ledger {
    /// Where the ledger is.
    pub fn path(&self) -> &std::path::Path {
        &self.0.path
    }

    /// Finishes what is being written, and closes the file.
    pub async fn close(&self) {
        self.0.readers.close().await;
        self.0.writer.close().await;
    }

    /// A write. It is undone if it is dropped before it is committed.
    async fn write(&self) -> Result<Writing, Error> {
        // Whoever begins with reading and then writes could find that somebody else has written meanwhile.
        let transaction = self.0.writer.begin_with("BEGIN IMMEDIATE").await?;
        Ok(Writing { transaction, now: Timestamp::now(), ledger: self.clone(), outcome: false, alerts: Vec::new() })
    }
}

/// A transaction that writes, and its one time.
struct Writing {
    transaction: Transaction<'static, Sqlite>,
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
        self.transaction.commit().await?;
        if self.outcome {
            self.ledger.0.outcome_written.notify_one();
        }
        self.alerts.iter().for_each(Alert::log);
        Ok(())
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
            self.tell(payment).await?;
        }
        Ok(())
    }

    /// Has the business told how a payment stands now.
    async fn tell(&mut self, payment: &Payment) -> Result<(), Error> {
        self.outcome = true;
        outbox::put(self, payment).await
    }
}
