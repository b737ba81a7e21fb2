//! The tape: everything that happened in a call, in order. The stand-ins write it; the view prints it as it grows, the
//! caller waits on it, and the checks read it when the call is over. It also keeps every byte that the server sent.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::prying::Evidence;
use super::twilio::{Field, Request};

/// One thing that happened.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Since the first call began.
    pub at: Duration,
    /// The call that it happened on, counted from 1.
    pub line: usize,
    /// What it was.
    pub event: Event,
}

/// A payment in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its id.
    pub id: String,
    /// Twilio's SID of its session, once it is known.
    pub sid: Option<String>,
    /// Its state.
    pub state: String,
    /// What is charged; `None` stores a card.
    pub amount: Option<String>,
}

/// What can happen in a call, seen from outside the server.
#[derive(Debug, Clone)]
pub enum Event {
    /// Twilio asked the voice webhook and got this TwiML.
    Called { answer: String, took: Duration },
    /// The server asked the business what the call is about.
    AskedBusiness { knows: String },
    /// ConversationRelay's socket is open and `setup` was sent.
    Connected,
    /// The caller said something; `over` is whether the agent was speaking.
    CallerSaid { text: String, over: bool },
    /// The first word of something to say has come from the server.
    Speaks,
    /// The caller heard this of the agent; `cut` is whether the caller spoke over the rest.
    AgentSaid { text: String, cut: bool },
    /// The caller begins to press keys: dots, never digits.
    Keys { dots: String, what: String },
    /// A keypad digit reached the socket as a `dtmf` frame.
    Dtmf,
    /// Twilio was asked to place the call: its TwiML came along, or is to be asked for.
    Placed { inline: bool },
    /// Twilio reported how the call goes on.
    Progress { status: &'static str },
    /// The server was told to stop; what it answered to `GET /ready`, to another call that came in, and to an order to call.
    ToldToStop { ready: u16, voice: u16, order: u16 },
    /// The caller waits in the queue of a workflow, with this task.
    Queued { workflow: String, task: String },
    /// The caller hung up.
    HungUp,
    /// The socket was cut on the way, without a close frame.
    Dropped,
    /// The server sent `end`.
    EndFrame { handoff: Option<String> },
    /// ConversationRelay's session is over.
    SessionEnded { status: &'static str },
    /// Twilio asked the `<Connect>` action and got these verbs.
    Action { status: String, verbs: Vec<String>, took: Duration },
    /// The model was asked.
    Asked,
    /// The server broke off a model's response.
    StoppedModel,
    /// The model's side misbehaved to order.
    ModelFault { what: String },
    /// The server told the model what the payment did.
    Update { text: String },
    /// The model said something, whole.
    ModelSaid { text: String },
    /// The model called a tool.
    ToolCalled { name: String, arguments: String },
    /// The business was told that a payment is in this state.
    Told { payment: String, state: String },
    /// The ledger was looked at: its payments, oldest first.
    Ledger { payments: Vec<Row> },
    /// The server died, and another one starts on its ledger.
    ServerDied,
    /// The file of the ledger cannot be written from now on, or can be again.
    LedgerFault { what: &'static str },
    /// The bank charged a card in this session, or stored it.
    Booked { sid: String, charge: Option<String> },
    /// The tool's output came back with the next request.
    ToolAnswered { name: String, output: String },
    /// A request to Twilio's Payments API was answered.
    Requested { request: Request, status: u16, note: String },
    /// A payment session came to be.
    Created { charge: Option<String>, how: String },
    /// The entry of a field is over.
    Entered { field: Field, error: Option<String>, keys: usize },
    /// A payment session is over, with the word that Twilio has for it.
    Ended { result: String, code: Option<u32> },
    /// Twilio reports another result of a session that is over.
    EndedAgain { result: String },
    /// A status callback was delivered.
    Callback { terminal: Option<String>, took: Duration },
    /// Something that may never happen.
    Violation(String),
}

/// The tape of a scenario; clones write to the same one, each for one of its calls.
#[derive(Clone)]
pub struct Tape {
    shared: Arc<Shared>,
    line: usize,
}

struct Shared {
    began: Instant,
    entries: Mutex<Vec<Entry>>,
    evidence: Mutex<Vec<Evidence>>,
    grown: watch::Sender<usize>,
    watcher: Box<dyn Fn(&Entry) + Send + Sync>,
}

impl Tape {
    /// An empty tape; `watcher` is shown each entry as it is written.
    pub fn new(watcher: impl Fn(&Entry) + Send + Sync + 'static) -> Self {
        let shared = Shared {
            began: Instant::now(),
            entries: Mutex::default(),
            evidence: Mutex::default(),
            grown: watch::Sender::new(0),
            watcher: Box::new(watcher),
        };
        Self { shared: Arc::new(shared), line: 1 }
    }

    /// The same tape for another call.
    pub fn on(&self, line: usize) -> Self {
        Self { shared: self.shared.clone(), line }
    }

    /// The call that this one writes for, counted from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Writes an entry.
    pub fn write(&self, event: Event) {
        let mut entries = lock(&self.shared.entries);
        let entry = Entry { at: self.shared.began.elapsed(), line: self.line, event };
        (self.shared.watcher)(&entry);
        entries.push(entry);
        self.shared.grown.send_replace(entries.len());
    }

    /// Writes down something that may never happen. It fails the run.
    pub fn violation(&self, what: impl Into<String>) {
        self.write(Event::Violation(what.into()));
    }

    /// Keeps something that the server sent.
    pub fn keep(&self, place: &'static str, bytes: impl Into<String>) {
        lock(&self.shared.evidence).push(Evidence { place, bytes: bytes.into() });
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        lock(&self.shared.entries).len()
    }

    /// All that happened so far.
    pub fn entries(&self) -> Vec<Entry> {
        lock(&self.shared.entries).clone()
    }

    /// All that the server sent so far.
    pub fn evidence(&self) -> Vec<Evidence> {
        lock(&self.shared.evidence).clone()
    }

    /// Waits until `found` finds what it looks for; `None` if that takes longer than `limit`.
    pub async fn until<T>(&self, limit: Duration, mut found: impl FnMut(&[Entry]) -> Option<T>) -> Option<T> {
        let mut grown = self.shared.grown.subscribe();
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

impl fmt::Debug for Tape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tape({} entries)", self.len())
    }
}

/// A poisoned lock only means that another task panicked, which fails the run by itself.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
