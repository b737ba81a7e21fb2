//! The guided flow: the server itself leads through the fields of an open payment, with texts of its own, and no model in
//! between. The model hears what happens, answers questions meanwhile, and takes over where the flow ends.

mod texts;

use std::time::Instant;

use super::tool::Tool;
use super::{Call, Item, Phase, words};
use crate::payment::{Answer, Capture, CardType, Change, EntryError, Field, Outcome, Stage};
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

    /// The model has spoken: what it was told, it has told.
    pub(super) fn told(&mut self) {
        self.untold = None;
    }
}

impl Call {
    /// A payment is being opened.
    pub(super) fn begin_guidance(&mut self) {
        if self.settings.guide.is_some() {
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
        let unanswered = self.turn.owed || self.turn.is_busy() || self.is_caller_speaking();
        if change == Change::Complete && unanswered {
            return;
        }
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
        let Some(texts) = self.texts() else { return };
        let text = match due.ask {
            Ask::Field { field, again } => {
                let asks = texts.field(field, self.guidance.card);
                if again { format!("{} {asks}", texts.retry) } else { asks.into_owned() }
            }
            Ask::Processing => texts.processing.clone(),
        };
        self.say(&text);
    }

    fn texts(&self) -> Option<&Texts> {
        self.settings.guide.as_ref().map(|guide| guide.texts(self.language()))
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
    pub(super) fn guided_payment_ended(&mut self, outcome: Outcome, charged: bool) {
        self.guidance.due = None;
        self.guidance.untold = Some(match (outcome, charged) {
            (Outcome::Succeeded, true) => Untold::Charged,
            (Outcome::Succeeded, false) => Untold::Stored,
            (Outcome::Unknown(_), _) => Untold::Unknown,
            _ => Untold::Failed,
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
        let text = untold.zip(self.texts()).map(|(untold, texts)| match untold {
            Untold::Charged => texts.charged.clone(),
            Untold::Stored => texts.stored.clone(),
            Untold::Failed => texts.failed.clone(),
            Untold::Unknown => texts.unknown.clone(),
        });
        text.inspect(|text| self.say(text)).is_some()
    }
}
