//! A phone call as a value: fed an [`Event`] and the time, it answers with [`Action`]s.
//!
//! Pure: no I/O, no clock, no lock, nothing spawned, nothing logged. What was said, what the payment is waiting for and
//! whether silence is being watched stand here and nowhere else, so every order of events can be tried out in a test.

mod agreeing;
mod answer;
#[cfg(test)]
mod bench;
mod event;
mod farewell;
mod guiding;
mod heard;
mod history;
mod paying;
#[cfg(test)]
mod properties;
mod replying;
mod running;
mod settings;
mod silence;
mod speech;
mod spoken_amount;
mod statement;
#[cfg(test)]
mod tests;
mod tool;
mod turn;
mod wish;
mod words;

pub use event::{Action, Event, ModelEvent, Request, RequestId, RunId};
pub use guiding::{Guide, Texts};
pub use history::{Item, ToolCall};
pub use settings::{Environment, Keypad, Messages, Settings, Silence};
pub use tool::{ContextKeys, Outcome, TOOLS, Tool};

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;
use uuid::Uuid;

use crate::payment::{self, BadTerms, Due as AmountDue, Ids, Known, State, Terms};
use crate::phone_number::PhoneNumber;
use crate::redact::{Private, Shield};
use crate::relay::{Languages, Outgoing, Setup};
use agreeing::{Agreement, Paid};
use farewell::Farewell;
use guiding::Guidance;
use history::History;
use paying::Payments;
use silence::{Due, Watch};
use speech::Speech;
use statement::Statement;
use turn::Turn;

/// How long Twilio may take to close the socket after `end`.
const CLOSE_LIMIT: Duration = Duration::from_secs(30);

/// The longest that somebody is believed to be speaking without a word from Twilio.
const CALLER_SPEECH_LIMIT: Duration = Duration::from_secs(15);

/// The same while a payment is open: what the recogniser takes for speech may be keypad tones.
const KEYPAD_NOISE_LIMIT: Duration = Duration::from_secs(3);

/// Everything that is known about one phone call.
pub struct Call {
    settings: Arc<Settings>,
    phase: Phase,
    /// The number of the person on the line, where it is one that can be called.
    caller_number: Option<PhoneNumber>,
    history: History,
    /// Cuts card numbers out of what is heard.
    shield: Shield,
    speech: Speech,
    turn: Turn,
    agreement: Agreement,
    payments: Payments,
    guidance: Guidance,
    /// What the server asks the caller, until that is answered.
    statement: Option<Statement>,
    watch: Watch,
    /// Since when the call has no socket.
    parked: Option<Instant>,
    /// The agent only listens.
    listening: bool,
    /// The languages that were switched to.
    languages: Option<Languages>,
    /// When the last payment was over.
    payment_closed: Option<Instant>,
    /// When Twilio last reported on a payment.
    payment_reported: Option<Instant>,
    /// Keys that were pressed, and when the last of them was.
    keys: Option<(Private<String>, Instant)>,
    /// Since when the caller is speaking, where Twilio tells.
    caller_speaks: Option<Instant>,
    farewell: Option<Farewell>,
    /// Responses of the model that failed in a row.
    failures: u32,
    now: Instant,
    actions: Vec<Action>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Talking,
    /// `end` was sent: nothing is said any more.
    Ending {
        since: Instant,
    },
    /// The caller is gone: what is running is waited for, then the call is closed.
    Over {
        closed: bool,
    },
}

impl Call {
    /// Begins a call with Twilio's first frame. `nonce` is a value that no other call has: the ids of its payments come from it.
    /// `request` is the JSON object with which an operator had the call placed, if one did; `known` is what the ledger knows of it.
    pub fn begin(
        settings: Arc<Settings>,
        setup: &Setup,
        request: Option<&str>,
        known: &Known,
        nonce: Uuid,
        now: Instant,
    ) -> (Self, Vec<Action>) {
        let terms = terms(setup, request, &settings.payment).map(Arc::new);
        let details = words::call_details(setup, request, &terms, settings.confirm_due, known);
        let mut call = Self {
            phase: Phase::Talking,
            caller_number: setup.caller(),
            history: History::default(),
            shield: Shield::default(),
            speech: Speech::default(),
            turn: Turn::default(),
            agreement: Agreement::new(terms),
            payments: Payments::new(Ids::new(nonce), now),
            guidance: Guidance::default(),
            statement: None,
            watch: Watch::new(&settings.silence, now),
            parked: None,
            listening: settings.listen,
            languages: None,
            payment_closed: None,
            payment_reported: None,
            keys: None,
            caller_speaks: None,
            farewell: None,
            failures: 0,
            now,
            actions: Vec::new(),
            settings,
        };
        call.history.push(Item::Developer(details));
        call.remember(known);
        match call.settings.welcome_greeting.clone().filter(|_| !setup.is_reconnect()) {
            Some(greeting) => call.greeted(&greeting),
            None if call.settings.telephone => call.turn.wake(),
            None => {}
        }
        call.proceed();
        let actions = std::mem::take(&mut call.actions);
        (call, actions)
    }

    /// Records what was charged on this call before its server died. What may have been charged is for the ledger to refuse, by the
    /// state that it is in by then.
    fn remember(&mut self, known: &Known) {
        let is_charged = |state| matches!(state, State::Charged | State::Pending | State::Disputed);
        let charged = known.on_call.iter().filter(|payment| is_charged(payment.state));
        let due = matches!(self.agreement.terms().map(|terms| terms.due), Ok(AmountDue::Amount(_)));
        for payment in charged.filter(|_| due) {
            self.agreement.charged(payment.charge, Paid::Yes);
        }
    }

    /// Takes an event and answers with what is to be done, in this order. `now` never goes backwards.
    pub fn handle(&mut self, event: Event, now: Instant) -> Vec<Action> {
        self.now = now;
        if self.phase == (Phase::Over { closed: true }) {
            return Vec::new();
        }
        let was_open = self.payments.is_open();
        match event {
            Event::Heard(frame) => self.heard(frame),
            Event::Instructed(text) => self.instructed(text.reveal()),
            Event::PaymentStatus(status) => {
                self.payment_reported = Some(now);
                self.payment_status(&status);
            }
            Event::Model { request, event } => self.model(request, event),
            Event::ToolFinished { run, outcome } => self.tool_finished(run, outcome),
            Event::SocketLost => self.socket_lost(),
            Event::Resumed => self.resumed(),
            Event::HungUp => self.hung_up(),
            Event::Tick => {}
        }
        self.proceed();
        if was_open && !self.payments.is_open() {
            self.payment_closed = Some(now);
        }
        std::mem::take(&mut self.actions)
    }

    /// Whether nothing is to be said or done until somebody else says or does something.
    pub fn is_idle(&self) -> bool {
        !self.turn.is_busy() && !self.turn.owed && !self.is_stating()
    }

    /// When the call wants a `Tick`, if nothing else happens before.
    pub fn deadline(&self) -> Option<Instant> {
        if let (Some(since), Phase::Talking) = (self.parked, self.phase) {
            return Some(since + self.settings.resume);
        }
        match self.phase {
            Phase::Over { .. } => return None,
            Phase::Ending { since } => return Some(since + CLOSE_LIMIT),
            Phase::Talking if self.turn.is_busy() => {
                return self.keys_due_at();
            }
            Phase::Talking => {}
        }
        let keyed = self.keys_due_at();
        let caller_quiet = self.caller_speaks.map(|since| since + self.caller_speech_limit());
        let quiet = self.speech.quiet_from(self.now);
        let held = self.turn.hold.filter(|_| self.turn.owed || self.is_stating());
        let reminder = self.watch.due_at(self.settings.silence.threshold);
        let stall = self.payments.stalls_at(self.settings.stall);
        let stall = stall.filter(|_| self.farewell.is_none() && !self.is_stating());
        let (guidance, statement) = (self.guidance.due_at(), self.statement_due_at());
        [caller_quiet, keyed, quiet, held, guidance, statement]
            .into_iter()
            .flatten()
            .filter(|at| *at > self.now)
            .chain(reminder)
            .chain(stall)
            .min()
    }

    /// Does whatever the state of the call asks for next.
    fn proceed(&mut self) {
        match self.phase {
            Phase::Over { .. } => return self.leave(),
            Phase::Ending { since } if self.now >= since + CLOSE_LIMIT => return self.hung_up(),
            Phase::Ending { .. } => return,
            Phase::Talking => {}
        }
        if self.parked.is_some_and(|since| self.now >= since + self.settings.resume) {
            return self.hung_up();
        }
        self.watch_keypad();
        self.begin_tools();
        self.drop_void_statement();
        self.guide();
        self.make_way();
        if self.turn.is_busy() {
            return self.watch.stir(self.now);
        }
        self.turn.settle(&mut self.history);
        if self.parked.is_some() {
            return self.watch.stir(self.now);
        }
        self.watch_payment();
        self.say_guidance();
        if self.farewell.is_some() {
            self.take_leave();
        } else {
            self.attend_statement();
            self.ask_if_owed();
        }
        self.watch_silence();
    }

    /// Asks the model, unless a statement has to be answered first: the model hears all that happened afterwards.
    fn ask_if_owed(&mut self) {
        if self.turn.owed && !self.is_stating() && self.farewell.is_none() {
            self.turn.settle(&mut self.history);
            self.ask_model();
        }
    }

    /// Reminds a caller who says nothing, and in the end takes leave. Nobody's talk, thinking, tool or payment counts as
    /// the caller's silence.
    fn watch_silence(&mut self) {
        let quiet_since = self.speech.quiet_from(self.now).unwrap_or(self.now);
        let active = self.listening
            || self.turn.is_busy()
            || self.turn.owed
            || self.is_stating()
            || self.farewell.is_some()
            || self.phase != Phase::Talking;
        if active || self.payments.is_open() || self.is_caller_speaking() || quiet_since > self.now {
            return self.watch.stir(self.now);
        }
        self.watch.quiet(quiet_since);
        match self.watch.due(&self.settings.silence, self.now) {
            None => {}
            Some(Due::Reminder(reminder)) => self.say(&reminder),
            Some(Due::End) => {
                self.say(&self.settings.messages.goodbye.clone());
                self.farewell = Some(Farewell::said(None));
            }
        }
    }

    /// Says a whole utterance of the server's own.
    fn say(&mut self, text: &str) {
        if !self.listening {
            self.utter(text, Outgoing::utterance(text));
        }
    }

    /// Sends a whole utterance in this frame.
    fn utter(&mut self, text: &str, frame: Outgoing) {
        let position = self.history.push(Item::Agent(text.to_owned()));
        self.speech.sent(position, text, self.now);
        self.speech.close();
        self.watch.stir(self.now);
        self.actions.push(Action::Say(frame));
    }

    /// Twilio speaks the greeting by itself.
    fn greeted(&mut self, greeting: &str) {
        let position = self.history.push(Item::Agent(greeting.to_owned()));
        self.speech.sent(position, greeting, self.now);
        self.speech.close();
    }

    fn is_caller_speaking(&self) -> bool {
        self.caller_speaks.is_some_and(|since| self.now < since + self.caller_speech_limit())
    }

    fn caller_speech_limit(&self) -> Duration {
        if self.payments.is_open() { KEYPAD_NOISE_LIMIT } else { CALLER_SPEECH_LIMIT }
    }

    /// What the agent speaks, as a BCP 47 code.
    fn language(&self) -> &str {
        let switched_to = self.languages.as_ref().and_then(Languages::spoken);
        switched_to.unwrap_or(&self.settings.language)
    }

    fn note(&mut self, text: impl Into<String>) {
        self.turn.note(Item::Developer(text.into()));
    }

    /// The socket broke. The call waits for a new one; what was being said is said anew then.
    fn socket_lost(&mut self) {
        match self.phase {
            Phase::Talking => {}
            Phase::Ending { .. } => return self.hung_up(),
            Phase::Over { .. } => return,
        }
        let speaking = self.speech.quiet_from(self.now).is_some_and(|quiet| quiet > self.now);
        if speaking {
            self.guidance.reply_lost();
        }
        let speaking = speaking && !self.leads() && !self.is_stating();
        let unfinished = self.turn.response.is_some() || !self.turn.waiting.is_empty() || speaking;
        self.parked.get_or_insert(self.now);
        self.stop_reply();
        self.speech.superseded(&mut self.history);
        self.repeat_statement();
        self.caller_speaks = None;
        self.keys = None;
        self.turn.owed |= unfinished;
    }

    /// A new socket took the call up where it was.
    fn resumed(&mut self) {
        if self.parked.take().is_none() || self.phase != Phase::Talking {
            return;
        }
        self.speech = Speech::default();
        self.watch.reset(self.now);
        self.payments.moved(self.now);
        self.turn.hold = None;
        // A new session of Twilio's begins in the language of its TwiML.
        if let Some(languages) = self.languages.clone() {
            self.actions.push(Action::Say(Outgoing::Language(languages)));
        }
        self.repeat_guidance(self.now);
        if self.turn.owed {
            self.note(words::LINE_WAS_BROKEN);
        }
    }

    /// Whether a payment is open: such a call is not to be cut.
    pub fn has_open_payment(&self) -> bool {
        self.payments.is_open()
    }

    /// The caller is gone, or we are: drops the model's stream and cancels an open payment.
    fn hung_up(&mut self) {
        if matches!(self.phase, Phase::Over { .. }) {
            return;
        }
        self.phase = Phase::Over { closed: false };
        if self.turn.response.take().is_some() {
            self.actions.push(Action::StopModel);
        }
        self.turn.waiting.clear();
        self.farewell = None;
        self.drop_statement();
        self.abandon_payment();
        self.leave();
    }

    /// Closes the call once nothing is running: a payment that is just being opened has to be cancelled too.
    fn leave(&mut self) {
        if self.phase == (Phase::Over { closed: false }) && self.turn.runs.is_empty() {
            self.phase = Phase::Over { closed: true };
            self.actions.push(Action::Close);
        }
    }
}

/// How a call pays: what the operator wrote goes before the parameters of the call.
fn terms(setup: &Setup, request: Option<&str>, settings: &payment::Settings) -> Result<Terms, BadTerms> {
    let request: HashMap<String, Box<RawValue>> =
        request.and_then(|request| serde_json::from_str(request).ok()).unwrap_or_default();
    // A number stays what was written, and what is no text is told by its JSON.
    let text = |value: &RawValue| serde_json::from_str(value.get()).unwrap_or_else(|_| value.get().to_owned());
    let ordered =
        request.into_iter().filter(|(_, value)| value.get() != "null").map(|(name, value)| (name, text(&value)));
    let mut parameters = setup.custom_parameters.reveal().clone();
    parameters.extend(ordered);
    settings.terms_of_call(&parameters)
}

/// Nothing of what was said.
impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("phase", &self.phase).finish_non_exhaustive()
    }
}
