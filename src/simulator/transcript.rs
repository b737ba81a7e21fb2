//! The transcript: everything that happened in a scenario, in order. The stand-ins record it, the view prints it as it
//! grows, the caller waits on it, and the checks read it after the calls. It also keeps every byte that the server
//! sent.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::payments_api::{CaptureField, PaymentsRequest};
use crate::simulator::leak_scan::CapturedOutput;

/// An entry of the transcript.
#[derive(Debug, Clone)]
pub(crate) struct TranscriptEntry {
    /// The time since the first call began.
    pub at: Duration,
    /// The number of its call, counted from 1.
    pub call_number: usize,
    /// The event.
    pub event: TranscriptEvent,
}

/// A payment in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LedgerRow {
    /// Its id.
    pub id: String,
    /// Twilio's SID of its session, once it is known.
    pub sid: Option<String>,
    /// Its state.
    pub state: String,
    /// The amount to charge; `None` stores a card.
    pub amount: Option<String>,
}

/// What is done to the process of the server that has the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerSignal {
    /// SIGKILL: it is gone with all its sockets.
    Kill,
    /// SIGSTOP: it answers nothing, and its sockets stay open.
    Freeze,
    /// SIGCONT, to the one that was frozen.
    Wake,
    /// SIGTERM: it drains.
    Terminate,
}

/// An event of a call, seen from outside the server.
#[derive(Debug, Clone)]
pub(crate) enum TranscriptEvent {
    /// Twilio requested the voice webhook and got this TwiML.
    IncomingCall { answer: String, took: Duration },
    /// The server queried the business for the call's parameters.
    BusinessQueried { knows: String },
    /// ConversationRelay's socket is open, and `setup` was sent.
    RelayConnected,
    /// The caller spoke; `over` is whether the agent was speaking.
    CallerSaid { text: String, over: bool },
    /// The server sent the first token of an utterance.
    FirstToken,
    /// The caller heard this from the agent; `cut` is whether the rest was interrupted.
    AgentSaid { text: String, cut: bool },
    /// The caller begins to press keys, shown as dots instead of digits.
    KeysPressed { dots: String, what: String },
    /// A keypad digit reached the socket as a `dtmf` frame.
    DtmfSent,
    /// The server placed a call; `inline` is whether the request had the TwiML or a URL for it.
    CallPlaced { inline: bool },
    /// Twilio reported the progress of a call.
    CallProgress { status: &'static str },
    /// The server began to drain. The statuses are its responses to `GET /ready`, to another incoming call and to
    /// `POST /outboundCall`.
    DrainStarted { ready: u16, voice: u16, order: u16 },
    /// The caller waits in the queue of a workflow with this task.
    CallerQueued { workflow: String, task: String },
    /// The caller hung up.
    CallerHungUp,
    /// The socket broke without a close frame.
    SocketDropped,
    /// The server switched the agent's voice to this language.
    VoiceSwitched { language: String },
    /// The server sent `end`.
    EndFrame { handoff: Option<String> },
    /// ConversationRelay's session ended.
    RelaySessionEnded { status: &'static str },
    /// Twilio requested an action URL and got these verbs.
    ActionAnswered { status: String, verbs: Vec<String>, took: Duration },
    /// The server opened a WebSocket to the model.
    ModelSocketOpened,
    /// The server sent a request to the model.
    ModelRequested { over_socket: bool },
    /// The server cancelled a response of the model.
    ModelStopped,
    /// The model failed.
    ModelFailed { what: String },
    /// The server sent a developer message.
    DeveloperMessage { text: String },
    /// The model completed a message.
    ModelSaid { text: String },
    /// The model called a tool.
    ToolCalled { name: String, arguments: String },
    /// The business was notified that a payment is in this state.
    BusinessNotified { payment: String, state: String },
    /// The business was notified that a call has ended.
    CallEndNotified { reason: String, summary: String },
    /// The ledger was read: its payments, oldest first.
    LedgerRead { payments: Vec<LedgerRow> },
    /// The server was killed, and another one starts on its ledger.
    ServerDied,
    /// The process of a server got a signal.
    ServerSignalled(ServerSignal),
    /// A fault of the ledger's file began or ended.
    LedgerFaultChanged { what: &'static str },
    /// The bank charged or stored a card in this session.
    BankBooked { sid: String, charge: Option<String> },
    /// A tool's output came with the next request to the model.
    ToolReturned { name: String, output: String },
    /// Twilio answered a request to the Payments API. `server` is the one that its `StatusCallback` names, if it does.
    PaymentsRequested { request: PaymentsRequest, status: u16, note: String, server: Option<String> },
    /// The server asked Twilio to send a text message, which refused it with this error code, or took it.
    MessageRequested { to: String, text: String, code: Option<u32> },
    /// Twilio answered a request for a step of the recording; 0 is no answer.
    RecordingRequested { step: &'static str, status: u16 },
    /// A payment session was created.
    PaymentCreated { charge: Option<String>, how: String },
    /// The entry of a field is complete.
    EntryCompleted { field: CaptureField, error: Option<String>, keys: usize },
    /// A payment session ended with this `Result`.
    PaymentEnded { result: String, code: Option<u32> },
    /// Twilio reported another result of a session that had ended.
    ResultRepeated { result: String },
    /// A status callback was delivered.
    CallbackDelivered { terminal: Option<String>, took: Duration },
    /// A violation, which fails the run.
    Violation(String),
}

/// The transcript of a scenario. Clones record to the same one, each for one call.
#[derive(Clone)]
pub(crate) struct Transcript {
    shared: Arc<SharedTranscript>,
    call_number: usize,
}

struct SharedTranscript {
    started_at: Instant,
    entries: Mutex<Vec<TranscriptEntry>>,
    evidence: Mutex<Vec<CapturedOutput>>,
    length: watch::Sender<usize>,
    observer: Box<dyn Fn(&TranscriptEntry) + Send + Sync>,
}

impl Transcript {
    /// Creates an empty transcript. `watcher` is called with each entry as it is recorded.
    pub(crate) fn new(watcher: impl Fn(&TranscriptEntry) + Send + Sync + 'static) -> Self {
        let shared = SharedTranscript {
            started_at: Instant::now(),
            entries: Mutex::default(),
            evidence: Mutex::default(),
            length: watch::Sender::new(0),
            observer: Box::new(watcher),
        };
        Self { shared: Arc::new(shared), call_number: 1 }
    }

    /// Returns the same transcript for another call.
    pub(crate) fn for_call(&self, line: usize) -> Self {
        Self { shared: self.shared.clone(), call_number: line }
    }

    /// The number of the call that this value records for, counted from 1.
    pub(crate) fn call_number(&self) -> usize {
        self.call_number
    }

    /// Records an event.
    pub(crate) fn record(&self, event: TranscriptEvent) {
        let mut entries = lock(&self.shared.entries);
        let entry = TranscriptEntry { at: self.shared.started_at.elapsed(), call_number: self.call_number, event };
        (self.shared.observer)(&entry);
        entries.push(entry);
        self.shared.length.send_replace(entries.len());
    }

    /// Records a violation, which fails the run.
    pub(crate) fn record_violation(&self, what: impl Into<String>) {
        self.record(TranscriptEvent::Violation(what.into()));
    }

    /// Keeps bytes that the server sent, to be searched for card data.
    pub(crate) fn record_evidence(&self, place: &'static str, bytes: impl Into<String>) {
        lock(&self.shared.evidence).push(CapturedOutput { channel: place, bytes: bytes.into() });
    }

    /// The number of entries.
    pub(crate) fn len(&self) -> usize {
        lock(&self.shared.entries).len()
    }

    /// The entries so far.
    pub(crate) fn entries(&self) -> Vec<TranscriptEntry> {
        lock(&self.shared.entries).clone()
    }

    /// The bytes that the server sent so far.
    pub(crate) fn evidence(&self) -> Vec<CapturedOutput> {
        lock(&self.shared.evidence).clone()
    }

    /// Waits until `found` returns a value; `None` after `limit`.
    pub(crate) async fn wait_until<T>(
        &self,
        limit: Duration,
        mut found: impl FnMut(&[TranscriptEntry]) -> Option<T>,
    ) -> Option<T> {
        let mut grown = self.shared.length.subscribe();
        let search = async {
            loop {
                grown.borrow_and_update();
                if let Some(it) = found(&lock(&self.shared.entries)) {
                    return Some(it);
                }
                grown.changed().await.ok()?;
            }
        };
        tokio::time::timeout(limit, search).await.ok().flatten()
    }
}

impl fmt::Debug for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Transcript({} entries)", self.len())
    }
}

/// Locks a mutex, also if it is poisoned: the panic of the other task fails the run anyway.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
