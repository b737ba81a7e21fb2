//! Twilio's Payments API, played strictly over real HTTP: what the real one would ignore is a violation here.

mod calls;
mod card;
mod courier;
mod form;
mod quirks;
mod rest;
mod session;
mod sync;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use url::Url;

pub use calls::{Document, Placed};
pub use card::Field;
pub use courier::{Answer, Webhooks};
pub use quirks::{Ending, Mask, Mishap, Quirks, Refusal, Report, Submission, Trouble};
pub use rest::router;
pub use sync::Sync;

use super::pace::Pace;
use super::tape::{Event, Tape, lock};
use courier::Delivery;
use quirks::When;
use session::{Callback, Entered, Session, State};

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

/// The account that owns the calls.
#[derive(Debug, Clone)]
pub struct Account {
    /// `AC…`.
    pub sid: String,
    /// The primary auth token.
    pub token: String,
}

/// The SID of a call, by its number.
pub fn call_sid(line: usize) -> String {
    format!("CA{line:032x}")
}

/// The number of a call, by its SID.
pub fn line_of(call: &str) -> Option<usize> {
    usize::from_str_radix(call.strip_prefix("CA")?, 16).ok()
}

/// Twilio's side of the payments of one call. All of them share an account and what stands behind it.
#[derive(Debug, Clone)]
pub struct Twilio {
    shared: Arc<Shared>,
    /// Writes for the call.
    tape: Tape,
}

#[derive(Debug)]
struct Shared {
    account: Account,
    quirks: Quirks,
    pace: Pace,
    public: Url,
    callbacks: mpsc::Sender<Delivery>,
    state: Mutex<Payments>,
}

#[derive(Debug, Default)]
struct Payments {
    /// How many calls there were so far.
    calls: usize,
    /// The calls that are up.
    up: HashSet<usize>,
    /// Calls that were ordered and not placed yet.
    placed: Vec<Placed>,
    sessions: Vec<Session>,
    /// Idempotency keys, with the request that each was used for and what it was answered.
    answered: HashMap<String, rest::Done>,
    mishaps: usize,
    submitted: usize,
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
    /// Twilio for a first call; `webhooks` lead to the server.
    pub fn new(account: Account, quirks: Quirks, pace: Pace, webhooks: Webhooks, tape: Tape) -> Self {
        let (callbacks, queue) = mpsc::channel(512);
        let public = webhooks.public().clone();
        tokio::spawn(courier::carry(queue, webhooks, quirks.clone()));
        let state = Mutex::new(Payments { calls: 1, ..Payments::default() });
        Self { shared: Arc::new(Shared { account, quirks, pace, public, callbacks, state }), tape }
    }

    /// Twilio for one more call.
    pub fn another_call(&self) -> Self {
        let mut state = lock(&self.shared.state);
        state.calls += 1;
        Self { shared: self.shared.clone(), tape: self.tape.on(state.calls) }
    }

    /// Twilio for the call with this SID, if there is one.
    fn on(&self, call: &str) -> Option<Self> {
        let line = line_of(call).filter(|line| (1..=lock(&self.shared.state).calls).contains(line))?;
        Some(Self { shared: self.shared.clone(), tape: self.tape.on(line) })
    }

    /// The account.
    pub fn account(&self) -> &Account {
        &self.shared.account
    }

    /// The SID of the call.
    pub fn call(&self) -> String {
        call_sid(self.tape.line())
    }

    /// Where what happens on the call is written.
    pub fn tape(&self) -> &Tape {
        &self.tape
    }

    /// Whether keys that a payment takes also reach ConversationRelay.
    pub fn leaks(&self) -> bool {
        self.shared.quirks.leak
    }

    /// Whether nobody takes over a call that is handed off.
    pub fn nobody_answers(&self) -> bool {
        self.shared.quirks.nobody_answers
    }

    /// Takes the call that was ordered. `None` unless it is the only one.
    pub fn placed(&self) -> Option<Placed> {
        let mut placed = std::mem::take(&mut lock(&self.shared.state).placed);
        placed.pop().filter(|_| placed.is_empty())
    }

    /// The call is answered: payments can be created from now on.
    pub fn call_is_up(&self) {
        lock(&self.shared.state).up.insert(self.tape.line());
    }

    /// The call is over: so is what was open on it.
    pub fn call_is_over(&self) {
        let (call, late) =
            (self.call(), |session: &&Session| session.state == State::Completing && !session.late.is_empty());
        let open: Vec<String> = {
            let mut state = lock(&self.shared.state);
            state.up.remove(&self.tape.line());
            let of_call = state.sessions.iter().filter(|session| session.call() == call);
            of_call.filter(|session| !late(session)).map(|session| session.sid.clone()).collect()
        };
        for sid in &open {
            self.end(sid, Ending::Word("caller-hung-up"));
        }
    }

    /// Whether results are yet to come.
    pub fn has_late_results(&self) -> bool {
        lock(&self.shared.state).sessions.iter().any(|session| !session.late.is_empty())
    }

    /// The results that were late come.
    pub fn late_results(&self) {
        let late: Vec<(String, Vec<Report>)> = {
            let mut state = lock(&self.shared.state);
            state.sessions.iter_mut().map(|session| (session.sid.clone(), std::mem::take(&mut session.late))).collect()
        };
        for (sid, reports) in late {
            for report in &reports {
                self.report(&sid, report);
            }
        }
    }

    /// The field that is being captured now.
    pub fn capturing(&self) -> Option<Field> {
        let call = self.call();
        let state = lock(&self.shared.state);
        state.sessions.iter().filter(|session| session.call() == call).find_map(|session| match session.state {
            State::Capturing { field, .. } => Some(field),
            _ => None,
        })
    }

    /// How many sessions are neither done nor cancelled.
    pub fn open_sessions(&self) -> usize {
        lock(&self.shared.state).sessions.iter().filter(|session| session.state != State::Ended).count()
    }

    /// The caller presses a key.
    pub fn press(&self, key: char) -> Pressed {
        let (call, mut state) = (self.call(), lock(&self.shared.state));
        let captures = |it: &&mut Session| it.call() == call && matches!(it.state, State::Capturing { .. });
        let Some(session) = state.sessions.iter_mut().find(captures) else { return Pressed::Free };
        if key == '*' {
            let sid = session.sid.clone();
            drop(state);
            self.end(&sid, Ending::Word("caller-interrupted-with-star"));
            return Pressed::Taken;
        }
        let Some((callback, entered)) = session.press(key, &self.shared.quirks) else { return Pressed::Free };
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
        let (call, state) = (self.call(), lock(&self.shared.state));
        let begun = |it: &&Session| {
            it.call() == call && matches!(&it.state, State::Capturing { entry, .. } if !entry.is_empty())
        };
        let Some(session) = state.sessions.iter().find(begun) else { return };
        let (sid, moves) = (session.sid.clone(), session.moves);
        let timeout = Duration::from_secs(session.asked.timeout);
        drop(state);
        let twilio = self.clone();
        tokio::spawn(async move {
            twilio.shared.pace.pass(timeout).await;
            let over = {
                let mut state = lock(&twilio.shared.state);
                let session = state.sessions.iter_mut().find(|it| it.sid == sid && it.moves == moves);
                session.and_then(|it| it.time_out(&twilio.shared.quirks).map(|over| (it.callback.clone(), over)))
            };
            if let Some((url, (callback, entered))) = over {
                twilio.entered(url, callback, &entered);
            }
        });
    }

    fn entered(&self, url: Url, callback: Callback, entered: &Entered) {
        self.tape.write(Event::Entered {
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
            let mut state = lock(&self.shared.state);
            let session = state.sessions.iter_mut().find(|it| it.sid == sid);
            session.and_then(|it| it.end(ending, &self.shared.quirks).map(|callback| (it.callback.clone(), callback)))
        };
        if let Some((url, callback)) = ended {
            self.tell_result(ending, false, url, callback);
        }
    }

    /// Reports a result of a submission, unless the session ended otherwise.
    fn report(&self, sid: &str, report: &Report) {
        let reported = {
            let mut state = lock(&self.shared.state);
            let session = state.sessions.iter_mut().find(|it| it.sid == sid);
            session.and_then(|it| {
                let again = it.state == State::Ended;
                Some((again, it.report(report, &self.shared.quirks)?, it.callback.clone()))
            })
        };
        if let Some((again, callback, url)) = reported {
            self.tell_result(report.ending, again, url, callback);
        }
    }

    fn tell_result(&self, ending: Ending, again: bool, url: Url, callback: Callback) {
        let (word, code) = ending.word();
        let result = word.to_owned();
        self.tape.write(if again { Event::EndedAgain { result } } else { Event::Ended { result, code } });
        self.call_back(url, callback, format!("result: {word}"), Some(word));
    }

    /// What comes of a submission: the bank decides within a second, and what is reported of it is another matter.
    fn settle(&self, sid: String, charge: Option<String>, submission: Submission) {
        let twilio = self.clone();
        tokio::spawn(async move {
            twilio.shared.pace.pass(Duration::from_secs(1)).await;
            if submission.books {
                twilio.tape.write(Event::Booked { sid: sid.clone(), charge });
            }
            for report in &submission.reports {
                let When::After(wait) = report.when else { continue };
                twilio.shared.pace.pass(wait).await;
                twilio.report(&sid, report);
            }
        });
    }

    fn call_back(&self, url: Url, form: Callback, what: impl Into<String>, terminal: Option<&str>) {
        let (what, terminal, tape) = (what.into(), terminal.map(str::to_owned), self.tape.clone());
        self.send(Delivery { url, form, what, terminal, done: None, tape });
    }

    /// Sends a callback and waits for the server's answer to it.
    async fn call_back_and_wait(&self, url: Url, form: Callback, what: String) {
        let (done, answered) = oneshot::channel();
        self.send(Delivery { url, form, what, terminal: None, done: Some(done), tape: self.tape.clone() });
        // A server that does not answer its callbacks is reported by the courier.
        let _ = tokio::time::timeout(Duration::from_secs(2), answered).await;
    }

    fn send(&self, delivery: Delivery) {
        if self.shared.callbacks.try_send(delivery).is_err() {
            self.tape.violation("the server answers its callbacks too slowly: more than 500 are waiting");
        }
    }
}
