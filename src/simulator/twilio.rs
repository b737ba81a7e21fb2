//! Twilio's Payments API, played strictly over real HTTP: what the real one would ignore is a violation here.

mod calls;
mod card;
mod courier;
mod form;
mod quirks;
mod rest;
mod session;
mod sync;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use url::Url;

pub use calls::{Document, Placed};
pub use card::Field;
pub use courier::{Answer, Webhooks};
pub use quirks::{Mask, Mishap, Quirks, Refusal, Trouble};
pub use rest::router;
pub use sync::Sync;

use super::pace::Pace;
use super::tape::{Event, Tape, lock};
use courier::Delivery;
use session::{Callback, Ending, Entered, Session, State};

/// What a success leaves behind where a card was tokenized. The server may hold it and show it to nobody.
pub const TOKEN: &str = "tok_hgyvy76_simulated";
/// What a success leaves behind where a card was charged.
pub const CONFIRMATION: &str = "ch_a9dc6297_simulated";

/// A request to the Payments API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Request {
    /// A new session.
    Create,
    /// `Capture=…`.
    Capture(Field),
    /// `Status=complete`.
    Complete,
    /// `Status=cancel`.
    Cancel,
}

impl std::fmt::Display for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Create => f.write_str("create payment"),
            Self::Capture(field) => write!(f, "capture {}", field.words()),
            Self::Complete => f.write_str("complete"),
            Self::Cancel => f.write_str("cancel"),
        }
    }
}

/// The account that owns the call.
#[derive(Debug, Clone)]
pub struct Account {
    /// `AC…`.
    pub sid: String,
    /// The primary auth token.
    pub token: String,
    /// The call that is going on.
    pub call: String,
}

/// Twilio's side of the payments of one call.
#[derive(Debug, Clone)]
pub struct Twilio(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    account: Account,
    quirks: Quirks,
    pace: Pace,
    public: Url,
    tape: Tape,
    callbacks: mpsc::Sender<Delivery>,
    state: Mutex<Payments>,
}

#[derive(Debug, Default)]
struct Payments {
    call_up: bool,
    /// Calls that were ordered and not placed yet.
    placed: Vec<Placed>,
    sessions: Vec<Session>,
    /// Idempotency keys, with the request that each was used for and what it was answered.
    answered: HashMap<String, rest::Done>,
    mishaps: usize,
    declined: usize,
}

/// What became of a key press.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pressed {
    /// A payment session took it.
    Taken,
    /// Nobody is capturing: ConversationRelay may report it.
    Free,
}

impl Twilio {
    /// Twilio for one call; `webhooks` lead to the server.
    pub fn new(account: Account, quirks: Quirks, pace: Pace, webhooks: Webhooks, tape: Tape) -> Self {
        let (callbacks, queue) = mpsc::channel(512);
        let public = webhooks.public().clone();
        tokio::spawn(courier::carry(queue, webhooks, quirks.clone(), tape.clone()));
        Self(Arc::new(Shared { account, quirks, pace, public, tape, callbacks, state: Mutex::default() }))
    }

    /// The account and the call.
    pub fn account(&self) -> &Account {
        &self.0.account
    }

    /// Whether keys that a payment takes also reach ConversationRelay.
    pub fn leaks(&self) -> bool {
        self.0.quirks.leak
    }

    /// Whether nobody takes over a call that is handed off.
    pub fn nobody_answers(&self) -> bool {
        self.0.quirks.nobody_answers
    }

    /// Takes the call that was ordered. `None` unless it is the only one.
    pub fn placed(&self) -> Option<Placed> {
        let mut placed = std::mem::take(&mut lock(&self.0.state).placed);
        placed.pop().filter(|_| placed.is_empty())
    }

    /// The call is answered: payments can be created from now on.
    pub fn call_is_up(&self) {
        lock(&self.0.state).call_up = true;
    }

    /// The call is over: so is what was open.
    pub fn call_is_over(&self) {
        let open: Vec<String> = {
            let mut state = lock(&self.0.state);
            state.call_up = false;
            let late = |session: &&Session| self.0.quirks.late_result && session.state == State::Completing;
            state.sessions.iter().filter(|session| !late(session)).map(|session| session.sid.clone()).collect()
        };
        for sid in &open {
            self.end(sid, Ending::Word("caller-hung-up"));
        }
    }

    /// The results that were late come: every one is a success.
    pub fn late_results(&self) {
        let is_late = |session: &&Session| session.state == State::Completing;
        let late: Vec<String> =
            lock(&self.0.state).sessions.iter().filter(is_late).map(|session| session.sid.clone()).collect();
        for sid in &late {
            self.end(sid, Ending::Success);
        }
    }

    /// The field that is being captured now.
    pub fn capturing(&self) -> Option<Field> {
        lock(&self.0.state).sessions.iter().find_map(|session| match session.state {
            State::Capturing { field, .. } => Some(field),
            _ => None,
        })
    }

    /// How many sessions are neither done nor cancelled.
    pub fn open_sessions(&self) -> usize {
        lock(&self.0.state).sessions.iter().filter(|session| session.state != State::Ended).count()
    }

    /// The caller presses a key.
    pub fn press(&self, key: char) -> Pressed {
        let mut state = lock(&self.0.state);
        let Some(session) = state.sessions.iter_mut().find(|it| matches!(it.state, State::Capturing { .. })) else {
            return Pressed::Free;
        };
        if key == '*' {
            let sid = session.sid.clone();
            drop(state);
            self.end(&sid, Ending::Word("caller-interrupted-with-star"));
            return Pressed::Taken;
        }
        let Some((callback, entered)) = session.press(key, &self.0.quirks) else { return Pressed::Free };
        let url = session.callback.clone();
        drop(state);
        match entered {
            Some(entered) => self.entered(url, callback, &entered),
            None => self.call_back(url, callback, "a key was pressed", None),
        }
        Pressed::Taken
    }

    /// The caller has pressed all keys for now: the time between two digits runs from here, so that a slow computer
    /// does not make slow fingers.
    pub fn rest(&self) {
        let state = lock(&self.0.state);
        let begun = |it: &&Session| matches!(&it.state, State::Capturing { entry, .. } if !entry.is_empty());
        let Some(session) = state.sessions.iter().find(begun) else { return };
        let (sid, moves) = (session.sid.clone(), session.moves);
        let timeout = Duration::from_secs(session.asked.timeout);
        drop(state);
        let twilio = self.clone();
        tokio::spawn(async move {
            twilio.0.pace.pass(timeout).await;
            let over = {
                let mut state = lock(&twilio.0.state);
                let session = state.sessions.iter_mut().find(|it| it.sid == sid && it.moves == moves);
                session.and_then(|it| it.time_out(&twilio.0.quirks).map(|over| (it.callback.clone(), over)))
            };
            if let Some((url, (callback, entered))) = over {
                twilio.entered(url, callback, &entered);
            }
        });
    }

    fn entered(&self, url: Url, callback: Callback, entered: &Entered) {
        self.0.tape.write(Event::Entered {
            field: entered.field,
            error: entered.error.map(str::to_owned),
            keys: entered.keys,
        });
        let what = match entered.error {
            Some(error) => format!("{}: {error}", entered.field.words()),
            None => format!("{} is in", entered.field.words()),
        };
        self.call_back(url, callback, what, None);
    }

    /// Ends a session, unless it is over.
    fn end(&self, sid: &str, ending: Ending) {
        let ended = {
            let mut state = lock(&self.0.state);
            let session = state.sessions.iter_mut().find(|it| it.sid == sid);
            session.and_then(|it| it.end(ending, &self.0.quirks).map(|callback| (it.callback.clone(), callback)))
        };
        let Some((url, callback)) = ended else { return };
        let (result, code) = match ending {
            Ending::Success => ("success", None),
            Ending::Declined(code) => ("payment-connector-error", Some(code)),
            Ending::Word(word) => (word, None),
        };
        self.0.tape.write(Event::Ended { result: result.to_owned(), code });
        self.call_back(url, callback, format!("result: {result}"), Some(result));
    }

    /// What comes of a completion: a while later, and only once.
    fn settle(&self, sid: String) {
        if self.0.quirks.silent_complete || self.0.quirks.late_result {
            return;
        }
        let twilio = self.clone();
        tokio::spawn(async move {
            twilio.0.pace.pass(Duration::from_millis(1500)).await;
            let ending = {
                let mut state = lock(&twilio.0.state);
                match twilio.0.quirks.declines {
                    Some((code, times)) if state.declined < times => {
                        state.declined += 1;
                        Ending::Declined(code)
                    }
                    _ => Ending::Success,
                }
            };
            twilio.end(&sid, ending);
        });
    }

    fn call_back(&self, url: Url, form: Callback, what: impl Into<String>, terminal: Option<&str>) {
        self.send(Delivery { url, form, what: what.into(), terminal: terminal.map(str::to_owned), done: None });
    }

    /// Sends a callback and waits for the server's answer to it.
    async fn call_back_and_wait(&self, url: Url, form: Callback, what: String) {
        let (done, answered) = oneshot::channel();
        self.send(Delivery { url, form, what, terminal: None, done: Some(done) });
        // A server that does not answer its callbacks is reported by the courier.
        let _ = tokio::time::timeout(Duration::from_secs(2), answered).await;
    }

    fn send(&self, delivery: Delivery) {
        if self.0.callbacks.try_send(delivery).is_err() {
            self.0.tape.violation("the server answers its callbacks too slowly: more than 500 are waiting");
        }
    }
}
