//! The guided flow: the server itself leads through the fields of an open payment, with texts of its own, and no model in
//! between. The model hears what happens, answers questions meanwhile, and takes over where the flow ends.

mod texts;

use std::time::Instant;

use super::history::History;
use super::statement::Statement;
use super::tool::Tool;
use super::{Call, Item, Phase, words};
use crate::payment::{Answer, Capture, CardType, Change, Consent, EntryError, Field, Intent, Outcome, Stage};
pub(super) use texts::language;
pub use texts::{Guide, Texts};

/// How often a field is asked for again after a wrong entry.
const MAX_RETRIES: u32 = 3;

/// How often a request that Twilio left unanswered is repeated.
const MAX_REPEATS: u32 = 2;

/// How far the server is in leading through a payment.
#[derive(Default)]
pub(super) struct Guidance {
    leads: bool,
    /// The last entry was wrong.
    again: bool,
    /// What is to be said as soon as nobody else is speaking.
    due: Option<Due>,
    /// Requests in a row that Twilio left unanswered.
    unanswered: u32,
    card: Option<CardType>,
    /// How a payment ended, as long as nobody has told the caller.
    untold: Option<Untold>,
    /// The caller said something during the payment that was not answered: it is not submitted without a yes.
    words_unanswered: bool,
    /// The model's last reply: its place in the history, and its length when it was sent.
    reply: Option<(usize, usize)>,
}

/// Something to say.
struct Due {
    ask: Ask,
    /// The caller was told before: there is no hurry, and somebody's words make it needless.
    repeats: bool,
    from: Instant,
}

/// What the caller is asked for, or told.
#[derive(Clone, Copy)]
enum Ask {
    Field { field: Field, again: bool },
    Processing,
}

#[derive(Clone, Copy)]
enum Untold {
    Charged,
    Pending,
    Stored,
    Failed,
    Unknown,
}

impl Guidance {
    /// The server leads through the payment that is being opened.
    fn begin(&mut self) {
        *self = Self { leads: true, ..Self::default() };
    }

    /// The server does not lead any more.
    pub(super) fn stop(&mut self) {
        self.leads = false;
        self.due = None;
    }

    /// When something is to be said that has to wait.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.due.as_ref().map(|due| due.from)
    }

    /// Takes note of a reply of the model's, at this place of the history: the caller is answered, and knows the result.
    pub(super) fn told(&mut self, reply: Option<usize>, history: &mut History) {
        self.untold = None;
        if let Some(length) = reply.and_then(|at| history.agent_mut(at)).map(|words| words.len()) {
            self.words_unanswered = false;
            self.reply = reply.map(|at| (at, length));
        }
    }

    /// The caller says something during a payment.
    pub(super) fn caller_spoke(&mut self) {
        self.words_unanswered = true;
    }

    /// What was being said was cut off: if that was a reply, the caller was not answered.
    pub(super) fn reply_cut(&mut self, history: &mut History) {
        let Some((at, length)) = self.reply.take() else { return };
        self.words_unanswered |= history.agent_mut(at).is_none_or(|words| words.len() < length);
    }

    /// What was being said may not have been heard.
    pub(super) fn reply_lost(&mut self) {
        self.words_unanswered |= self.reply.take().is_some();
    }
}

impl Call {
    /// A payment is being opened.
    pub(super) fn begin_guidance(&mut self) {
        if self.settings.guided {
            self.guidance.begin();
        }
    }

    /// Whether the server leads through the open payment.
    pub(super) fn leads(&self) -> bool {
        self.guidance.leads && self.payments.open().is_some_and(|capture| capture.stage() != Stage::Opening)
    }

    /// Asks Twilio for what comes next as soon as nothing is being entered, and has it said.
    pub(super) fn guide(&mut self) {
        let quiet = self.phase != Phase::Talking || self.farewell.is_some() || self.parked.is_some();
        if quiet || !self.leads() {
            return;
        }
        let Some(capture) = self.payments.open().filter(|capture| capture.stage() == Stage::Open) else { return };
        let change = capture.next_field().map_or(Change::Complete, Change::Capture);
        // The caller may be saying that it shall not be.
        let unanswered = self.turn.owed || self.turn.is_busy() || self.is_caller_speaking() || self.is_stating();
        match change {
            Change::Complete if unanswered => {}
            Change::Complete if self.guidance.words_unanswered => {
                self.guidance.due = None;
                self.state(Statement::go_on());
            }
            change => self.lead_on(change),
        }
    }

    /// Asks Twilio for this, and has it said.
    fn lead_on(&mut self, change: Change) {
        match self.payments.change(change, self.now) {
            Ok(update) => {
                let again = std::mem::take(&mut self.guidance.again);
                self.guidance.unanswered = 0;
                self.run(None, Tool::change(update));
                let ask = match change {
                    Change::Capture(field) => Ask::Field { field, again },
                    Change::Complete | Change::Cancel => Ask::Processing,
                };
                self.guidance.due = Some(Due { ask, repeats: false, from: self.now });
            }
            Err(_) => self.follow_model(words::model_leads(self.payments.open())),
        }
    }

    /// From here on the model leads, and this is what it needs to know.
    fn follow_model(&mut self, why: String) {
        self.guidance.stop();
        self.payment_step(why);
    }

    /// A response that has not begun gives way to what is to be said: it is asked for again afterwards.
    pub(super) fn make_way(&mut self) {
        let due = self.guidance.due.as_ref().is_some_and(|due| !due.repeats) && self.parked.is_none();
        let unbegun =
            self.turn.response.as_ref().is_some_and(|response| response.words.is_none() && response.calls == 0);
        if due && unbegun && self.farewell.is_none() {
            self.stop_reply();
            self.turn.owed = true;
        }
    }

    /// Says what is due. Only while the model's turn is idle.
    pub(super) fn say_guidance(&mut self) {
        if !self.leads() {
            self.guidance.due = None;
        }
        let speaks = self.is_caller_speaking();
        let ready = |due: &mut Due| due.from <= self.now && !(due.repeats && speaks);
        if self.farewell.is_some() {
            return;
        }
        let Some(due) = self.guidance.due.take_if(ready) else { return };
        let texts = self.texts();
        let text = match due.ask {
            Ask::Field { field, again } => {
                let asks = texts.field(field, self.guidance.card);
                if again { format!("{} {asks}", texts.retry) } else { asks.into_owned() }
            }
            Ask::Processing => texts.processing.clone(),
        };
        self.say(&text);
    }

    fn texts(&self) -> &Texts {
        self.settings.texts.texts(self.language())
    }

    /// Whether the open payment can be cancelled by the server at the caller's word: it leads, and nothing is submitted.
    pub(super) fn can_be_refused(&self) -> bool {
        let stage = self.payments.open().map(Capture::stage);
        self.leads() && matches!(stage, Some(Stage::Open | Stage::Capturing { .. }))
    }

    /// Whether the question about going on has lost its object: the payment is over, or does not wait to be submitted.
    pub(super) fn is_going_on_void(&self) -> bool {
        !self.leads() || self.payments.open().map(Capture::stage) != Some(Stage::Open)
    }

    /// The caller refused to go on: the payment is cancelled at Twilio, and the server says so.
    pub(super) fn cancel_refused(&mut self) {
        self.cancel_by_itself("the caller refused");
        self.note(words::CALLER_REFUSED);
        self.turn.wake();
    }

    fn cancel_by_itself(&mut self, why: &'static str) {
        let open = self.payments.open();
        let Some((id, sid)) = open.and_then(|capture| Some((capture.id(), capture.sid()?.clone()))) else { return };
        self.guidance.stop();
        self.turn.forget_steps();
        self.drop_statement();
        self.watch.reset(self.now);
        self.give_up(id, sid, Some(why));
        self.say(&self.texts().cancelled.clone());
    }

    /// The caller answered whether the payment is to be submitted.
    pub(super) fn going_on_answered(&mut self, answer: Consent) {
        match answer {
            Consent::Yes => {
                self.guidance.words_unanswered = false;
                self.note(words::CALLER_GOES_ON);
                self.lead_on(Change::Complete);
            }
            Consent::No => self.cancel_refused(),
            Consent::Unclear => {
                self.cancel_by_itself("the caller did not say yes");
                self.note(words::NO_CLEAR_YES);
                self.hand_over("payment-not-agreed");
            }
        }
    }

    /// Has the caller told once more what is waited for, from `from` on, unless there is something new to say. Tells whether
    /// the server leads: then there is, or will be.
    pub(super) fn repeat_guidance(&mut self, from: Instant) -> bool {
        if !self.leads() {
            return false;
        }
        let ask = match self.payments.open().map(Capture::stage) {
            Some(Stage::Capturing { field, .. }) => Some(Ask::Field { field, again: false }),
            Some(Stage::Submitting) => Some(Ask::Processing),
            _ => None,
        };
        if let Some(ask) = ask.filter(|_| self.guidance.due.as_ref().is_none_or(|due| due.repeats)) {
            self.guidance.due = Some(Due { ask, repeats: true, from });
        }
        true
    }

    /// Somebody else says something: a repetition is not needed any more.
    pub(super) fn skip_repetition(&mut self) {
        self.guidance.due.take_if(|due| due.repeats);
    }

    /// Twilio tells what kind of card it is.
    pub(super) fn card_recognised(&mut self, card: CardType) {
        self.guidance.card = Some(card);
    }

    /// An entry was wrong: whether the server asks for it again.
    pub(super) fn guide_again(&mut self, field: Field, error: &EntryError, times: u32) -> bool {
        // Another session is none that the caller could mend.
        if !self.leads() || times > MAX_RETRIES || *error == EntryError::SessionInProgress {
            self.guidance.stop();
            return false;
        }
        self.guidance.again = true;
        self.turn.note_step(Item::Developer(words::asked_again(field, error)));
        true
    }

    /// Twilio answered a request of the server's own that the payment was waiting for.
    pub(super) fn guided_change_answered(&mut self, change: Change, answer: &Answer) {
        match answer {
            Answer::Unknown if self.leads() && self.guidance.unanswered < MAX_REPEATS => {
                self.guidance.unanswered += 1;
                if let Ok(update) = self.payments.change(change, self.now) {
                    self.run(None, Tool::change(update));
                }
            }
            Answer::Unknown => self.follow_model(words::unanswered(change)),
            Answer::Refused { reason, code } => {
                let declines = self.payments.declines();
                self.follow_model(words::not_done(change, reason, *code, self.payments.open(), declines));
            }
            Answer::Gone => {
                self.guided_payment_failed();
                self.follow_model(words::session_gone());
            }
            Answer::Accepted | Answer::Created(_) => {}
        }
    }

    /// A payment ended. Should the model not tell the caller, the server will.
    pub(super) fn guided_payment_ended(&mut self, outcome: Outcome, intent: &Intent) {
        self.guidance.due = None;
        self.guidance.untold = Some(match outcome {
            Outcome::Succeeded if intent.charge.is_none() => Untold::Stored,
            Outcome::Succeeded if intent.bank_debit => Untold::Pending,
            Outcome::Succeeded => Untold::Charged,
            Outcome::Unknown(_) => Untold::Unknown,
            Outcome::Declined | Outcome::Failed | Outcome::Cancelled | Outcome::Abandoned => Untold::Failed,
        });
    }

    /// A payment that the server led through is over, and nothing came of it.
    pub(super) fn guided_payment_failed(&mut self) {
        self.guidance.untold = Some(Untold::Failed);
    }

    /// The model failed: the server says what the caller has to know. Tells whether there was anything to say.
    pub(super) fn guide_without_model(&mut self) -> bool {
        self.repeat_guidance(self.now) || self.tell_result()
    }

    /// Says how a payment ended, if nobody has yet. Tells whether there was anything to say.
    pub(super) fn tell_result(&mut self) -> bool {
        let untold = self.guidance.untold.take();
        let text = untold.map(|untold| match untold {
            Untold::Charged => self.texts().charged.clone(),
            Untold::Pending => self.texts().pending.clone(),
            Untold::Stored => self.texts().stored.clone(),
            Untold::Failed => self.texts().failed.clone(),
            Untold::Unknown => self.texts().unknown.clone(),
        });
        text.inspect(|text| self.say(text)).is_some()
    }
}
