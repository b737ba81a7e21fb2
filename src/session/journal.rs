//! Writes what another server needs to take calls up. It is written beside the calls, which never wait for it, at most every
//! quarter of a second for each. What could not be written is written whole later.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::OutboundCallData;
use crate::call::{Call, CallEvent, CallState, ChangedItem, ContextKeys, ConversationItem, JournalCursor, ModelEvent};
use crate::call_claim::{CallClaim, ClaimState};
use crate::ids::CallSid;
use crate::ledger::{CallData, CallEnd, JournalEntry, Ledger};
use crate::redact::Private;
use crate::relay::{IncomingFrame, Setup};

/// The shortest time between two writes of one call.
const PAUSE: Duration = Duration::from_millis(250);

/// How long a call waits that nobody can write yet.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// How long a call that is handed over waits until all of it is written.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);

/// How many changes wait to be written.
const QUEUE: usize = 1_024;

/// How many changes are written in one transaction.
const BATCH: usize = 16;

/// What is known of a call besides its conversation, as it is kept.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeptCall {
    /// When its first session began, by the clock of that server. It is reported, and compared with nothing.
    pub(super) started_at: Timestamp,
    /// How long the call had lasted, in whole minutes, when this was written.
    #[serde(default)]
    pub(super) minutes: u64,
    /// The number of the person on the line.
    caller: Option<String>,
    is_outbound: bool,
    /// The parameters that it began with.
    pub(super) parameters: BTreeMap<String, String>,
    /// The properties of its order, as JSON.
    pub(super) order: Option<String>,
    /// The context and the manifest in use, where they were named.
    context_key: Option<String>,
    manifest_key: Option<String>,
    /// What the call itself knows.
    pub(super) call: CallState,
}

impl KeptCall {
    pub(super) fn new(
        started_at: Timestamp,
        setup: &Setup,
        order: Option<&OutboundCallData>,
        keys: ContextKeys,
    ) -> Self {
        Self {
            started_at,
            minutes: 0,
            caller: setup.caller().map(|caller| caller.as_str().to_owned()),
            is_outbound: setup.is_outbound(),
            parameters: setup.custom_parameters.reveal().clone(),
            order: order.map(|data| data.reveal().to_string()),
            context_key: keys.context,
            manifest_key: keys.manifest,
            call: CallState::default(),
        }
    }

    /// Reads what the last server of a call has kept. `None` if another version wrote it.
    pub(super) fn parse(state: &str) -> Option<Self> {
        serde_json::from_str(state).ok()
    }

    /// The end of the call, which no server has any more.
    pub(super) fn into_end(self, call: CallSid, claim: &CallClaim) -> CallEnd {
        let caller = self.caller.and_then(|caller| caller.parse().ok());
        let mut call = CallData::from_parameters(call, caller, &self.parameters);
        call.claim = Some(claim.clone());
        CallEnd {
            call,
            outbound: self.is_outbound,
            started_at: self.started_at,
            reason: "connection-lost",
            handoff: None,
            summary: Private::default(),
            arguments: Private::default(),
            is_recovered: true,
        }
    }

    /// How long the call had lasted when this was written.
    pub(super) fn age(&self) -> Duration {
        Duration::from_mins(self.minutes)
    }

    /// The context and the manifest in use, where they were named.
    pub(super) fn keys(&self) -> ContextKeys {
        ContextKeys { context: self.context_key.clone(), manifest: self.manifest_key.clone() }
    }

    /// The properties of its order.
    pub(super) fn order(&self) -> Option<OutboundCallData> {
        self.order.as_deref().map(|data| Private::new(Arc::from(data)))
    }

    fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings always serialise")
    }
}

/// Writes the journals of all calls, one batch after the other.
#[derive(Debug, Clone)]
pub(crate) struct JournalWriter(mpsc::Sender<Unwritten>);

/// What has changed of a call, and was not written yet.
#[derive(Debug)]
struct Unwritten {
    call: CallSid,
    claim: CallClaim,
    is_whole: bool,
    items: Vec<ChangedItem>,
    state: Option<String>,
    /// Set if it could not be written.
    is_behind: Arc<AtomicBool>,
    written: Option<oneshot::Sender<()>>,
}

impl JournalWriter {
    /// Starts a writer, and the task that writes to this ledger.
    pub(crate) fn start(ledger: Ledger) -> (Self, JoinHandle<()>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self(sender), tokio::spawn(write_all(ledger, receiver)))
    }
}

async fn write_all(ledger: Ledger, mut unwritten: mpsc::Receiver<Unwritten>) {
    let mut batch = Vec::with_capacity(BATCH);
    while unwritten.recv_many(&mut batch, BATCH).await > 0 {
        let (entries, waiting): (Vec<_>, Vec<_>) = batch.drain(..).map(Unwritten::into_entry).unzip();
        let is_written = ledger.write_journal(&entries).await.is_ok();
        for (is_behind, written) in waiting {
            if !is_written {
                is_behind.store(true, Ordering::Relaxed);
            } else if let Some(written) = written {
                let _ = written.send(());
            }
        }
    }
}

impl Unwritten {
    fn into_entry(self) -> (JournalEntry, (Arc<AtomicBool>, Option<oneshot::Sender<()>>)) {
        let Self { call, claim, is_whole, items, state, is_behind, written } = self;
        let position = |position| i64::try_from(position).unwrap_or(i64::MAX);
        let text = |item: Option<Arc<ConversationItem>>| item.and_then(|item| item.to_journal());
        let items = items.into_iter().map(|(at, item)| (position(at), text(item))).collect();
        (JournalEntry { call, claim, is_whole, items, state }, (is_behind, written))
    }
}

/// The journal of one call.
pub(super) struct CallJournal {
    writer: JournalWriter,
    call: CallSid,
    claim: CallClaim,
    kept: KeptCall,
    /// The state was written that `kept` has.
    is_state_written: bool,
    /// When the call began, as far as this server knows.
    began: Instant,
    cursor: JournalCursor,
    /// Nothing that was written before counts.
    is_whole: bool,
    is_behind: Arc<AtomicBool>,
    /// When something is to be written.
    due_at: Option<Instant>,
    /// Before this time nothing is written.
    paused_until: Option<Instant>,
    /// Before this time the call is not handed over.
    hand_over_retry_at: Option<Instant>,
}

impl CallJournal {
    /// The journal of a call that has just begun, or was taken up: all of it is written.
    pub(super) fn new(writer: JournalWriter, call: CallSid, claim: CallClaim, kept: KeptCall, now: Instant) -> Self {
        let began = now.checked_sub(kept.age()).unwrap_or(now);
        Self {
            writer,
            call,
            claim,
            kept,
            is_state_written: false,
            began,
            cursor: JournalCursor::default(),
            is_whole: true,
            is_behind: Arc::default(),
            due_at: Some(now),
            paused_until: None,
            hand_over_retry_at: None,
        }
    }

    /// Before this time the call is not handed over, since it could not be.
    pub(super) fn hand_over_retry_at(&self) -> Option<Instant> {
        self.hand_over_retry_at
    }

    pub(super) fn retry_hand_over_at(&mut self, at: Instant) {
        self.hand_over_retry_at = Some(at);
        // What was written says that the call was handed over.
        self.due_at = Some(at);
    }

    /// Notes that the call has handled an event. Words are written once they are complete, those of the caller at once.
    pub(super) fn note_event(&mut self, event: &CallEvent, now: Instant) {
        let due_at = match event {
            CallEvent::Tick | CallEvent::Model { event: ModelEvent::TextDelta(_), .. } => return,
            CallEvent::RelayFrame(IncomingFrame::Prompt(_)) => now,
            _ => self.paused_until.map_or(now, |until| until.max(now)),
        };
        self.due_at = Some(self.due_at.map_or(due_at, |due| due.min(due_at)));
    }

    /// Notes that the call has another context or manifest.
    pub(super) fn note_keys(&mut self, keys: &ContextKeys, now: Instant) {
        self.due_at.get_or_insert(now);
        for (kept, key) in [(&mut self.kept.context_key, &keys.context), (&mut self.kept.manifest_key, &keys.manifest)]
        {
            if key.is_some() {
                kept.clone_from(key);
                self.is_state_written = false;
            }
        }
    }

    /// When something is to be written.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due_at
    }

    /// Hands what has changed to the writer. Without room it is handed over whole, later.
    pub(super) fn write(&mut self, call: &Call, now: Instant) {
        self.paused_until = Some(now + PAUSE);
        self.due_at = None;
        if !self.try_write(call, false, None) {
            self.due_at = Some(now + RETRY_PAUSE);
        }
    }

    /// Writes all that is known, since another server goes on with the call. Returns whether it was written.
    pub(super) async fn hand_over(&mut self, call: &Call) -> bool {
        let (sender, written) = oneshot::channel();
        self.try_write(call, true, Some(sender)) && matches!(timeout(WRITE_TIMEOUT, written).await, Ok(Ok(())))
    }

    /// Returns `false` if nothing can be written now.
    fn try_write(&mut self, call: &Call, is_handed_over: bool, written: Option<oneshot::Sender<()>>) -> bool {
        if !matches!(self.claim.state(), ClaimState::Held(_)) {
            return false;
        }
        if self.is_behind.swap(false, Ordering::Relaxed) {
            self.is_whole = true;
        }
        if self.is_whole {
            self.cursor = JournalCursor::default();
            self.is_state_written = false;
        }
        let items = call.take_journal_changes(&mut self.cursor);
        let (state, minutes) = (call.state(is_handed_over), self.began.elapsed().as_secs() / 60);
        if state != self.kept.call || minutes != self.kept.minutes {
            self.kept.call = state;
            self.kept.minutes = minutes;
            self.is_state_written = false;
        }
        let state = (!self.is_state_written).then(|| self.kept.to_json());
        if items.is_empty() && state.is_none() && written.is_none() {
            return true;
        }
        let unwritten = Unwritten {
            call: self.call.clone(),
            claim: self.claim.clone(),
            is_whole: self.is_whole,
            items,
            state,
            is_behind: self.is_behind.clone(),
            written,
        };
        let has_room = self.writer.0.try_send(unwritten).is_ok();
        self.is_state_written = has_room;
        self.is_whole = !has_room;
        has_room
    }
}
