//! A question for the caller's consent, which the server asks and the caller answers with yes or no.
//!
//! The server asks it when the caller and the agent are quiet, in one uninterruptible utterance. The caller's next
//! input is the answer; until then the model is not asked. Each answer is recorded as evidence.

use std::time::{Duration, Instant};

use super::guided_flow::PaymentTexts;
use super::journal::KeptQuestion;
use super::{Call, spoken_amount};
use crate::payment::{
    Amount, ConsentAnswer, ConsentPurpose, ConsentRecord, PaymentLogEntry, PaymentMethod, SpokenStatement, text_version,
};

/// How long the caller may take to answer after hearing the question. Silence is an unclear answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// How long the server waits for an answer after a question was cut off, before it asks again.
const CUT_HOLD: Duration = Duration::from_secs(3);

/// The maximum number of times that a question is asked, including after interruptions and lost WebSockets.
const MAX_TIMES_ASKED: u32 = 6;

/// A question that the caller has not answered.
#[derive(Debug)]
pub(super) struct ConsentQuestion {
    purpose: ConsentPurpose,
    /// The minutes since the same amount was paid, for a question about charging it again.
    minutes_since_paid: u32,
    state: QuestionState,
    /// The wording that was last asked.
    wording: Option<SpokenStatement>,
    /// How many times the question was asked.
    times_asked: u32,
    /// The caller has given an unclear answer before.
    unclear_before: bool,
}

#[derive(Debug, Clone, Copy)]
enum QuestionState {
    /// The question is asked as soon as the caller and the agent are quiet.
    Waiting,
    /// The question was sent.
    Asked {
        at: Instant,
        /// When the question is asked again, if it was cut off before it was heard.
        cut: Option<Instant>,
    },
}

impl ConsentQuestion {
    fn new(purpose: ConsentPurpose, minutes: u32) -> Self {
        Self {
            purpose,
            minutes_since_paid: minutes,
            state: QuestionState::Waiting,
            wording: None,
            times_asked: 0,
            unclear_before: false,
        }
    }

    /// Asks for a yes to an amount.
    pub(super) fn confirm_amount(amount: Amount) -> Self {
        Self::new(ConsentPurpose::Charge(amount), 0)
    }

    /// Asks for a yes to an amount that the caller also paid `minutes` ago.
    pub(super) fn pay_again(amount: Amount, minutes: u32) -> Self {
        Self::new(ConsentPurpose::ChargeAgain(amount), minutes)
    }

    /// Asks for a yes to submitting the open payment.
    pub(super) fn submit_payment() -> Self {
        Self::new(ConsentPurpose::SubmitOpenPayment, 0)
    }

    /// Asks for an authorisation that the open payment needs.
    pub(super) fn authorize(purpose: ConsentPurpose) -> Self {
        Self::new(purpose, 0)
    }

    /// The question as another server needs it to ask it again. That about the open payment is asked again anyway.
    pub(super) fn to_kept(&self) -> Option<KeptQuestion> {
        let (amount, is_again) = match self.purpose {
            ConsentPurpose::Charge(amount) => (amount, false),
            ConsentPurpose::ChargeAgain(amount) => (amount, true),
            ConsentPurpose::SubmitOpenPayment | ConsentPurpose::BankDebit(_) | ConsentPurpose::StoredCard => {
                return None;
            }
        };
        Some(KeptQuestion {
            amount: amount.minor(),
            currency: amount.currency().to_string(),
            minutes_since_paid: is_again.then_some(self.minutes_since_paid),
        })
    }

    /// The question that another server had asked.
    pub(super) fn from_kept(kept: &KeptQuestion) -> Option<Self> {
        let amount = Amount::from_minor(kept.amount, kept.currency.parse().ok()?)?;
        Some(
            kept.minutes_since_paid
                .map_or_else(|| Self::confirm_amount(amount), |minutes| Self::pay_again(amount, minutes)),
        )
    }

    /// The wording with the server's texts for payments. `None` if they have no such question.
    fn to_wording(&self, texts: &PaymentTexts, language: &str, by_account: bool) -> Option<SpokenStatement> {
        let template = texts.question(self.purpose, by_account)?;
        let amount =
            self.purpose.amount().map(|amount| spoken_amount::format_spoken(amount, language)).unwrap_or_default();
        let text =
            template.replace("{amount}", &amount).replace("{minutes}", &self.minutes_since_paid.max(1).to_string());
        let (recorded_text, language) = (text.clone(), language.to_owned());
        Some(SpokenStatement { text, recorded_text, language, text_version: text_version(template) })
    }
}

impl Call {
    /// Asks a question as soon as possible. It replaces an unanswered one.
    pub(super) fn ask_question(&mut self, question: ConsentQuestion) {
        self.question = Some(question);
    }

    /// Withdraws the question.
    pub(super) fn drop_question(&mut self) {
        self.question = None;
    }

    /// Withdraws a question about the open payment once there is nothing to submit.
    pub(super) fn drop_void_question(&mut self) {
        let is_void = match self.question.as_ref().map(|question| question.purpose) {
            Some(ConsentPurpose::SubmitOpenPayment) => self.is_submission_question_void(),
            Some(ConsentPurpose::BankDebit(_) | ConsentPurpose::StoredCard) => self.is_authorization_void(),
            Some(ConsentPurpose::Charge(_) | ConsentPurpose::ChargeAgain(_)) | None => false,
        };
        if is_void {
            self.drop_question();
        }
    }

    /// Whether a question waits to be asked or answered.
    pub(super) fn has_open_question(&self) -> bool {
        self.question.is_some()
    }

    /// Whether a question was asked, so that the caller's next input is its answer.
    pub(super) fn is_question_asked(&self) -> bool {
        self.question.as_ref().is_some_and(|question| matches!(question.state, QuestionState::Asked { .. }))
    }

    /// When the question is asked again, or counts as not answered.
    pub(super) fn question_deadline(&self) -> Option<Instant> {
        match self.question.as_ref()?.state {
            QuestionState::Waiting => None,
            QuestionState::Asked { cut: Some(again), .. } => Some(again),
            QuestionState::Asked { at, cut: None } => {
                let heard = self.speech.quiet_from(self.now).map_or(at, |quiet| quiet.max(at));
                Some(heard + ANSWER_LIMIT)
            }
        }
    }

    /// Asks a waiting question, and handles one without an answer. Called only while the model's turn is idle and a
    /// WebSocket is open.
    pub(super) fn advance_question(&mut self) {
        let Some(question) = &mut self.question else { return };
        match question.state {
            QuestionState::Waiting => {}
            QuestionState::Asked { cut, .. } => {
                let answering = self.is_caller_speaking() || !self.keypad.is_empty();
                if answering || self.question_deadline().is_none_or(|due| due > self.now) {
                    return;
                }
                if cut.is_none() {
                    self.apply_answer(ConsentAnswer::Unclear);
                } else {
                    self.repeat_question();
                }
            }
        }
        let quiet = self.speech.quiet_from(self.now).is_none_or(|quiet| quiet <= self.now);
        let held = self.turn.is_held(self.now);
        if quiet && !held && !self.is_caller_speaking() && self.question.is_some() && !self.is_question_asked() {
            self.say_question();
        }
    }

    fn say_question(&mut self) {
        // Earlier keys do not answer this question.
        self.submit_keys();
        self.turn.flush_to_history(&mut self.history);
        let wording = self.question_wording();
        let Some(question) = &mut self.question else { return };
        let may_be_asked = !self.listen_only && question.times_asked < MAX_TIMES_ASKED;
        let Some(wording) = wording.filter(|_| may_be_asked) else {
            question.unclear_before = true;
            return self.apply_answer(ConsentAnswer::Unclear);
        };
        question.times_asked += 1;
        question.state = QuestionState::Asked { at: self.now, cut: None };
        question.wording = Some(wording.clone());
        self.say_text(&wording.text, &wording.language, true);
    }

    /// What the server says to ask the question now.
    fn question_wording(&self) -> Option<SpokenStatement> {
        let question = self.question.as_ref()?;
        let by_account = self.terms().is_ok_and(|terms| matches!(terms.method, PaymentMethod::AchDebit { .. }));
        let (language, texts) = self.settings.texts.find(self.language());
        let of_payments = question.to_wording(texts, language, by_account);
        of_payments.or_else(|| self.authorization_text(question.purpose))
    }

    /// Asks an unanswered question again, after it was cut off or the WebSocket was lost.
    pub(super) fn repeat_question(&mut self) {
        if let Some(question) = &mut self.question {
            question.state = QuestionState::Waiting;
        }
    }

    /// Schedules the question again if an interrupt cut it off. `heard` is the text of the interrupt.
    pub(super) fn interrupt_question(&mut self, heard: &str) {
        let solid = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
        let Some(ConsentQuestion { state: QuestionState::Asked { cut, .. }, wording: Some(wording), .. }) =
            &mut self.question
        else {
            return;
        };
        if !solid(heard).ends_with(&solid(&wording.text)) {
            *cut = Some(self.now + CUT_HOLD);
        }
    }

    /// Applies the caller's answer. After a first unclear answer the question is asked again.
    pub(super) fn apply_answer(&mut self, answer: ConsentAnswer) {
        let Some(mut question) = self.question.take() else { return };
        let was_cut = matches!(question.state, QuestionState::Asked { cut: Some(_), .. });
        let was_heard = !was_cut && self.was_heard(&question);
        let answer = if answer == ConsentAnswer::Yes && !was_heard { ConsentAnswer::Unclear } else { answer };
        let agreed = self.record_answer(&question, answer);
        if answer == ConsentAnswer::Unclear && !question.unclear_before {
            question.unclear_before = true;
            question.state = QuestionState::Waiting;
            self.question = Some(question);
            return;
        }
        self.silence_timer.reset(self.now);
        self.payments.record_progress(self.now);
        match question.purpose {
            ConsentPurpose::SubmitOpenPayment => self.apply_submission_answer(answer),
            ConsentPurpose::BankDebit(_) | ConsentPurpose::StoredCard => {
                self.apply_authorization_answer(question.purpose, answer, agreed);
            }
            ConsentPurpose::Charge(_) | ConsentPurpose::ChargeAgain(_) => {
                self.apply_amount_answer(question.purpose, answer, agreed);
            }
        }
    }

    /// Whether the caller can have heard the question, as far as Twilio reports it.
    fn was_heard(&self, question: &ConsentQuestion) -> bool {
        match (question.state, &question.wording) {
            (QuestionState::Asked { at, .. }, Some(wording)) => self.speech.was_half_heard(&wording.text, at, self.now),
            _ => true,
        }
    }

    /// Records the answer, and returns the evidence if the question was asked.
    fn record_answer(&mut self, question: &ConsentQuestion, consent: ConsentAnswer) -> Option<ConsentRecord> {
        let agreed = question.wording.clone()?.into_record(question.purpose, consent);
        self.record(PaymentLogEntry::ConsentAnswered(agreed.clone()));
        Some(agreed)
    }
}
