//! A statement: something that the server itself says whole and the caller answers with yes or no.
//!
//! It waits until caller and agent are quiet, is said in one utterance that cannot be cut off, and the caller's next input answers it.
//! Until then the model is not asked. Each answer is recorded, as evidence.

use std::time::{Duration, Instant};

use super::guiding::Texts;
use super::{Action, Call, spoken_amount};
use crate::payment::{Agreed, Amount, Capture, Consent, Entry, Method, Purpose, Stage, text_version};
use crate::relay::Outgoing;

/// How long the caller may take to answer, from when the statement was heard. Silence is an unclear answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// How long after a statement was cut off, by whatever that was, the caller has to say something before it is said again.
const CUT_HOLD: Duration = Duration::from_secs(3);

/// How often a statement is said at most, interruptions and broken sockets included.
const MAX_TIMES: u32 = 6;

/// The text of a statement with its amount and minutes filled in, and where it comes from.
#[derive(Debug, Clone)]
struct Wording {
    text: String,
    language: String,
    version: String,
}

/// A statement that the caller has not answered.
#[derive(Debug)]
pub(super) struct Statement {
    purpose: Purpose,
    /// Since the same amount was paid, where that is what is asked about.
    minutes: u32,
    progress: Progress,
    /// How it was last said.
    wording: Option<Wording>,
    /// How often it was said.
    times: u32,
    /// The caller was asked once and did not answer clearly.
    unclear_before: bool,
}

#[derive(Debug, Clone, Copy)]
enum Progress {
    /// It is to be said as soon as caller and agent are quiet.
    Waiting,
    /// It was sent, whole.
    Said {
        at: Instant,
        /// It was cut off before it was heard whole: when it is said again, if nothing is answered.
        cut: Option<Instant>,
    },
}

impl Statement {
    fn new(purpose: Purpose, minutes: u32) -> Self {
        Self { purpose, minutes, progress: Progress::Waiting, wording: None, times: 0, unclear_before: false }
    }

    /// Asks for a yes to an amount.
    pub(super) fn confirm_amount(amount: Amount) -> Self {
        Self::new(Purpose::Charge(amount), 0)
    }

    /// Asks for a yes to an amount that the caller paid so many minutes ago.
    pub(super) fn pay_again(amount: Amount, minutes: u32) -> Self {
        Self::new(Purpose::ChargeAgain(amount), minutes)
    }

    /// Asks for a yes to submitting the open payment.
    pub(super) fn go_on() -> Self {
        Self::new(Purpose::GoOn, 0)
    }

    fn worded(&self, texts: &Texts, language: &str, by_account: bool) -> Wording {
        let template = texts.statement(self.purpose, by_account);
        let amount = self.purpose.amount().map(|amount| spoken_amount::say(amount, language)).unwrap_or_default();
        let text = template.replace("{amount}", &amount).replace("{minutes}", &self.minutes.max(1).to_string());
        Wording { text, language: language.to_owned(), version: text_version(template) }
    }
}

impl Call {
    /// Has a statement said. It takes the place of one that is not answered yet.
    pub(super) fn state(&mut self, statement: Statement) {
        self.statement = Some(statement);
    }

    /// Takes a statement back.
    pub(super) fn drop_statement(&mut self) {
        self.statement = None;
    }

    /// Takes the question about going on back once there is nothing to go on with.
    pub(super) fn drop_void_statement(&mut self) {
        let asks_to_go_on = self.statement.as_ref().is_some_and(|statement| statement.purpose == Purpose::GoOn);
        if asks_to_go_on && self.is_going_on_void() {
            self.drop_statement();
        }
    }

    /// Whether a statement waits to be said or answered.
    pub(super) fn is_stating(&self) -> bool {
        self.statement.is_some()
    }

    /// Whether the caller's next input answers a statement.
    pub(super) fn is_statement_said(&self) -> bool {
        self.statement.as_ref().is_some_and(|statement| matches!(statement.progress, Progress::Said { .. }))
    }

    /// When a statement that was said is said again, or is taken as not answered.
    pub(super) fn statement_due_at(&self) -> Option<Instant> {
        match self.statement.as_ref()?.progress {
            Progress::Waiting => None,
            Progress::Said { cut: Some(again), .. } => Some(again),
            Progress::Said { at, cut: None } => {
                let heard = self.speech.quiet_from(self.now).map_or(at, |quiet| quiet.max(at));
                Some(heard + ANSWER_LIMIT)
            }
        }
    }

    /// Says what waits, and notices what is not answered. Only while the model's turn is idle and there is a socket.
    pub(super) fn attend_statement(&mut self) {
        let Some(statement) = &mut self.statement else { return };
        match statement.progress {
            Progress::Waiting => {}
            Progress::Said { cut, .. } => {
                let answering = self.is_caller_speaking() || self.keys.is_some();
                if answering || self.statement_due_at().is_none_or(|due| due > self.now) {
                    return;
                }
                if cut.is_none() {
                    self.conclude(Consent::Unclear);
                } else {
                    self.repeat_statement();
                }
            }
        }
        let quiet = self.speech.quiet_from(self.now).is_none_or(|quiet| quiet <= self.now);
        let held = self.turn.hold.is_some_and(|until| self.now < until);
        if quiet && !held && !self.is_caller_speaking() && self.statement.is_some() && !self.is_statement_said() {
            self.say_statement();
        }
    }

    fn say_statement(&mut self) {
        // Keys from before belong to what was asked before.
        self.keyed();
        self.turn.settle(&mut self.history);
        let by_account = self.terms().is_ok_and(|terms| matches!(terms.method, Method::AchDebit { .. }));
        let settings = self.settings.clone();
        let (language, texts) = settings.texts.find(self.language());
        let Some(statement) = &mut self.statement else { return };
        if self.listening || statement.times >= MAX_TIMES {
            statement.unclear_before = true;
            return self.conclude(Consent::Unclear);
        }
        let wording = statement.worded(texts, language, by_account);
        statement.times += 1;
        statement.progress = Progress::Said { at: self.now, cut: None };
        let text = wording.text.clone();
        statement.wording = Some(wording);
        self.utter(&text, Outgoing::statement(text.as_str()));
    }

    /// Has a statement that was not answered said again: the socket broke, or it was cut off.
    pub(super) fn repeat_statement(&mut self) {
        if let Some(statement) = &mut self.statement {
            statement.progress = Progress::Waiting;
        }
    }

    /// The agent was interrupted after so much of what it said.
    pub(super) fn statement_interrupted(&mut self, heard: &str) {
        let solid = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
        let Some(Statement { progress: Progress::Said { cut, .. }, wording: Some(wording), .. }) = &mut self.statement
        else {
            return;
        };
        if !solid(heard).ends_with(&solid(&wording.text)) {
            *cut = Some(self.now + CUT_HOLD);
        }
    }

    /// Whether a key may answer a statement: it may be a part of the card while a field is being entered, and shortly after a report.
    pub(super) fn is_key_an_answer(&self) -> bool {
        let stage = self.payments.open().map(Capture::stage);
        matches!(stage, None | Some(Stage::Open)) && !self.is_shortly_after_report()
    }

    /// Takes the caller's answer to a statement that was said.
    pub(super) fn conclude(&mut self, answer: Consent) {
        let Some(mut statement) = self.statement.take() else { return };
        let was_cut = matches!(statement.progress, Progress::Said { cut: Some(_), .. });
        let was_heard = !was_cut && self.was_heard(&statement);
        let answer = if answer == Consent::Yes && !was_heard { Consent::Unclear } else { answer };
        let agreed = self.record_answer(&statement, answer);
        if answer == Consent::Unclear && !statement.unclear_before {
            statement.unclear_before = true;
            statement.progress = Progress::Waiting;
            self.statement = Some(statement);
            return;
        }
        self.watch.reset(self.now);
        self.payments.moved(self.now);
        match statement.purpose {
            Purpose::GoOn => self.going_on_answered(answer),
            Purpose::Charge(_) | Purpose::ChargeAgain(_) => self.amount_answered(statement.purpose, answer, agreed),
        }
    }

    /// Whether what is asked for was heard, as far as Twilio tells.
    fn was_heard(&self, statement: &Statement) -> bool {
        match (statement.progress, &statement.wording) {
            (Progress::Said { at, .. }, Some(wording)) => self.speech.was_half_heard(&wording.text, at, self.now),
            _ => true,
        }
    }

    /// Has the answer recorded, and gives the evidence if a statement was said.
    fn record_answer(&mut self, statement: &Statement, consent: Consent) -> Option<Agreed> {
        let Wording { text, language, version } = statement.wording.clone()?;
        let agreed = Agreed { purpose: statement.purpose, text, language, version, consent };
        self.actions.push(Action::Record(Entry::Answered(agreed.clone())));
        Some(agreed)
    }
}
