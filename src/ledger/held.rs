//! What the ledger has to record although it cannot be written now. It is held in memory, in order, and written before
//! anything else is.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, timeout};
use tracing::error;

use super::connection::{PATIENCE, Turn};
use super::guards::Guards;
use super::{Error, Ledger, Left, OnCall, Reported, Writing, callbacks, orders, recovery, steps};
use crate::payment::{Agreed, Answer, Create, Status, Update};
use crate::sid::CallSid;

/// Records that are held at most. A payment has some ten.
pub(super) const MOST: usize = 4_096;

/// Records that are written in one transaction.
const BATCH: usize = 64;

/// How long a record waits for a lock of another process, or for anything while there is a fault: Twilio waits for the answer.
/// For the other writes of this process it waits longer, for what is only held is lost in a crash.
const WAIT: Duration = Duration::from_millis(250);

/// Something that has happened, and has to be recorded whatever speaks against it.
pub(super) enum Record {
    /// Twilio reported a step of a payment.
    Callback(Box<Status>),
    /// Twilio answered the request for a session.
    Created(Box<Create>, Answer),
    /// Twilio is asked to cancel a session.
    Cancelling(OnCall, Box<Update>),
    /// Twilio answered the request for a change.
    Answered(Box<Update>, Answer),
    /// The caller answered a statement of the server's.
    Statement(CallSid, Box<Agreed>),
    /// The call is over.
    CallOver(CallSid),
    /// A payment that was left open is given up.
    PutAway(Box<Left>),
}

impl Record {
    /// What it is and what it is about, for the log.
    fn subject(&self) -> (&'static str, &str) {
        match self {
            Self::Callback(status) => ("callback", status.sid.as_str()),
            Self::Created(create, _) => ("created", create.key.as_str()),
            Self::Cancelling(_, update) => ("cancelling", update.sid.as_str()),
            Self::Answered(update, _) => ("answered", update.sid.as_str()),
            Self::Statement(call, _) => ("statement", call.as_str()),
            Self::CallOver(call) => ("call-over", call.as_str()),
            Self::PutAway(left) => ("put-away", left.call.sid.as_str()),
        }
    }
}

/// The records that are held.
#[derive(Default)]
pub(super) struct Held(Mutex<VecDeque<Entry>>);

#[derive(Clone)]
struct Entry {
    /// When it happened.
    at: Timestamp,
    /// What held for it then.
    guards: Guards,
    record: Arc<Record>,
}

impl Held {
    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Holds an entry: false if there is no room.
    fn push(&self, entry: Entry) -> bool {
        let mut queue = self.lock();
        let has_room = queue.len() < MOST;
        if has_room {
            queue.push_back(entry);
        }
        has_room
    }

    /// The oldest entries. Only who has the turn to write may ask for them and remove them.
    fn oldest(&self) -> Vec<Entry> {
        self.lock().iter().take(BATCH).cloned().collect()
    }

    fn remove_oldest(&self, count: usize) {
        self.lock().drain(..count);
    }

    fn remove(&self, at: usize) {
        self.lock().remove(at);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    /// Writes a record, or holds it until it can be written. It fails if there is no room for it either, or if it can never
    /// be written.
    pub(super) async fn record(&self, record: Record) -> Result<Reported, Error> {
        let entry = Entry { at: Timestamp::now(), guards: self.1.clone(), record: Arc::new(record) };
        let patience = if self.0.held.count() > 0 || self.0.faults.is_unwritable() { WAIT } else { PATIENCE };
        let written = timeout(patience + WAIT, self.write_record(&entry, patience)).await;
        match written.unwrap_or_else(|_| self.note(Err(Error::Busy))) {
            Err(error) if error.may_pass() && self.0.held.push(entry) => Ok(Reported::Held),
            done => done,
        }
    }

    async fn write_record(&self, entry: &Entry, patience: Duration) -> Result<Reported, Error> {
        let mut writing = self.write_within(patience, WAIT).await?;
        let recorded = self.note(writing.replay(entry).await)?;
        writing.commit().await?;
        Ok(recorded)
    }

    /// Writes what is held, in order; none if the turn was lost over a record that can never be written.
    pub(super) async fn write_held(&self, mut turn: Turn, until: Instant) -> Result<Option<Turn>, Error> {
        loop {
            let entries = self.0.held.oldest();
            if entries.is_empty() {
                return Ok(Some(turn));
            }
            let mut writing = self.begin(turn, until).await?;
            for (at, entry) in entries.iter().enumerate() {
                match writing.replay(entry).await {
                    Ok(_) => {}
                    Err(error) if error.may_pass() => return Err(error),
                    Err(error) => {
                        let (kind, of) = entry.record.subject();
                        error!(event = "ledger.record_lost", kind, of, %error, "A record can never be written: it is dropped.");
                        self.0.held.remove(at);
                        return Ok(None);
                    }
                }
            }
            turn = writing.finish().await?;
            self.0.held.remove_oldest(entries.len());
        }
    }

    /// Writes what is held before the ledger is closed, as long as there is hope.
    pub(super) async fn write_last(&self) {
        let until = Instant::now() + 5 * PATIENCE;
        while self.0.held.count() > 0 && Instant::now() < until && self.write().await.is_err() {
            tokio::time::sleep(WAIT).await;
        }
        let lost = self.0.held.count();
        if lost > 0 {
            error!(
                event = "ledger.held_lost",
                lost, "The server stops, and records that could not be written are lost."
            );
        }
    }
}

impl Writing {
    /// Writes a record, as of when it happened.
    async fn replay(&mut self, entry: &Entry) -> Result<Reported, Error> {
        self.now = entry.at;
        self.ledger = Ledger(self.ledger.0.clone(), entry.guards.clone());
        match &*entry.record {
            Record::Callback(status) => return callbacks::record(self, status).await,
            Record::Created(create, answer) => steps::record_created(self, create, answer).await?,
            Record::Cancelling(call, update) => steps::record_cancelling(self, call, update).await?,
            Record::Answered(update, answer) => steps::record_answered(self, update, answer).await?,
            Record::Statement(call, agreed) => orders::record_statement(self, call, agreed).await?,
            Record::CallOver(call) => steps::record_call_over(self, call).await?,
            Record::PutAway(left) => recovery::record_put_away(self, left).await?,
        }
        Ok(Reported::Written)
    }
}

/// How many, and nothing of what they say.
impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Held({})", self.count())
    }
}
