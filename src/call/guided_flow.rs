//! The guided flow: the server leads through the fields of an open payment with its own texts, without the model.
//!
//! The model gets notes about each step, answers the caller's questions in between, and takes over when the flow ends.

mod texts;

use std::time::Instant;

use super::consent_question::ConsentQuestion;
use super::history::History;
use super::payments::CancelReason;
use super::tool::{ReceiptNews, Tool};
use super::turn::ToolOrigin;
use super::{Call, ConversationItem, prompts};
use crate::payment::{
    Capture, CaptureStage, CardType, ConsentAnswer, EntryError, Field, PaymentIntent, PaymentOutcome, PaymentRecord,
    PaymentState, TwilioResponse, UpdateAction,
};
pub(super) use texts::primary_subtag;
pub(crate) use texts::{LocalizedTexts, PaymentTexts};

/// How many times a field is asked for again after an invalid entry.
const MAX_RETRIES: u32 = 3;

/// How many times a request without a response from Twilio is repeated.
const MAX_REPEATS: u32 = 2;

/// The state of the guided flow.
#[derive(Default)]
pub(super) struct GuidedFlow {
    is_leading: bool,
    /// The last entry was invalid.
    last_entry_wrong: bool,
    /// What the server says next, as soon as the caller and the agent are quiet.
    due_prompt: Option<DuePrompt>,
    /// Consecutive requests without a response from Twilio.
    unanswered_requests: u32,
    card_type: Option<CardType>,
    /// The result of a payment, until the model or the server has told the caller.
    unannounced_result: Option<UnannouncedResult>,
    /// Whether a receipt was sent, until the model or the server has told the caller.
    unannounced_receipt: Option<ReceiptNews>,
    /// The caller said something during the payment that was not answered. The payment is not submitted without a yes
    /// then.
    has_unanswered_words: bool,
    /// The model's last reply: its position in the history, and its length in bytes when it was sent.
    last_reply: Option<(usize, usize)>,
}

/// A prompt that the server has to say.
struct DuePrompt {
    prompt: CallerPrompt,
    /// The prompt was said before. It waits for the caller to be quiet, and is dropped on further input.
    is_repetition: bool,
    from: Instant,
}

/// What the server says to the caller.
#[derive(Clone, Copy)]
enum CallerPrompt {
    Field { field: Field, again: bool },
    Processing,
}

#[derive(Clone, Copy)]
enum UnannouncedResult {
    Charged,
    Pending,
    Stored,
    Failed,
    Unknown,
}

impl GuidedFlow {
    /// Records what the caller may not know about the receipt.
    pub(super) fn record_receipt(&mut self, news: ReceiptNews) {
        self.unannounced_receipt = Some(news);
    }

    /// Starts the flow for the payment that is being opened.
    fn begin(&mut self) {
        *self = Self { is_leading: true, ..Self::default() };
    }

    /// Goes on with the flow that another server led. What the caller has said last may be lost with it, so that the payment is
    /// not submitted without a yes.
    pub(super) fn take_up(&mut self) {
        *self = Self { is_leading: true, has_unanswered_words: true, ..Self::default() };
    }

    /// Whether the server leads, also while the session is being opened.
    pub(super) fn is_leading(&self) -> bool {
        self.is_leading
    }

    /// Records the result of a payment that the caller may not know.
    pub(super) fn record_known_result(&mut self, record: &PaymentRecord) {
        self.unannounced_result = match record.state {
            PaymentState::Charged => Some(UnannouncedResult::Charged),
            PaymentState::Pending => Some(UnannouncedResult::Pending),
            PaymentState::Tokenized => Some(UnannouncedResult::Stored),
            PaymentState::Unknown => Some(UnannouncedResult::Unknown),
            PaymentState::Declined | PaymentState::Failed => Some(UnannouncedResult::Failed),
            _ => None,
        };
    }

    /// Ends the flow: the server no longer leads.
    pub(super) fn stop(&mut self) {
        self.is_leading = false;
        self.due_prompt = None;
    }

    /// The earliest time of the due prompt.
    pub(super) fn prompt_due_at(&self) -> Option<Instant> {
        self.due_prompt.as_ref().map(|due| due.from)
    }

    /// Records a reply of the model at this position of the history: the caller is answered and knows the result, and the
    /// news about the receipt, unless that came during the reply.
    pub(super) fn record_reply(&mut self, reply: Option<usize>, is_response_owed: bool, history: &mut History) {
        self.unannounced_result = None;
        if !is_response_owed {
            self.unannounced_receipt = None;
        }
        if let Some(length) = reply.and_then(|at| history.agent_text_mut(at)).map(|words| words.len()) {
            self.has_unanswered_words = false;
            self.last_reply = reply.map(|at| (at, length));
        }
    }

    /// Records that the caller spoke during a payment.
    pub(super) fn record_caller_speech(&mut self) {
        self.has_unanswered_words = true;
    }

    /// Records an interrupt: if it cut off the last reply, the caller was not answered.
    pub(super) fn record_reply_cut(&mut self, history: &mut History) {
        let Some((at, length)) = self.last_reply.take() else { return };
        self.has_unanswered_words |= history.agent_text_mut(at).is_none_or(|words| words.len() < length);
    }

    /// Records that the last reply may not have been heard.
    pub(super) fn record_reply_lost(&mut self) {
        self.has_unanswered_words |= self.last_reply.take().is_some();
    }
}

impl Call {
    /// Starts the guided flow for a payment that is being opened, if it is configured.
    pub(super) fn begin_guided_flow(&mut self) {
        if self.settings.is_guided {
            self.guided_flow.begin();
        }
    }

    /// Whether the server leads through the open payment, once its session is open.
    pub(super) fn is_server_leading(&self) -> bool {
        self.guided_flow.is_leading
            && self.payments.open().is_some_and(|capture| capture.stage() != CaptureStage::Opening)
    }

    /// Requests the next step from Twilio as soon as no entry is pending, and makes its prompt due.
    pub(super) fn advance_guided_flow(&mut self) {
        if !self.phase.is_live() || !self.is_server_leading() {
            return;
        }
        let Some(capture) = self.payments.open().filter(|capture| capture.stage() == CaptureStage::Open) else {
            return;
        };
        let change = capture.next_field().map_or(UpdateAction::Complete, UpdateAction::Capture);
        // The caller may be refusing.
        let unanswered = self.turn.is_response_owed()
            || self.turn.is_busy()
            || self.is_caller_speaking()
            || self.has_open_question();
        match change {
            UpdateAction::Complete if unanswered => {}
            UpdateAction::Complete => self.submit_guided_payment(),
            change => self.request_next_step(change),
        }
    }

    /// Submits the payment, or asks for what is missing for that.
    fn submit_guided_payment(&mut self) {
        match self.ask_for_authorization() {
            Ok(true) => self.guided_flow.due_prompt = None,
            Ok(false) if self.guided_flow.has_unanswered_words => {
                self.guided_flow.due_prompt = None;
                self.ask_question(ConsentQuestion::submit_payment());
            }
            Ok(false) => self.request_next_step(UpdateAction::Complete),
            // The tool tells it why.
            Err(_) => self.hand_lead_to_model(prompts::model_leads(self.payments.open())),
        }
    }

    /// Requests `change` from Twilio and makes its prompt due.
    fn request_next_step(&mut self, change: UpdateAction) {
        match self.payments.request_change(change, self.now) {
            Ok(update) => {
                let again = std::mem::take(&mut self.guided_flow.last_entry_wrong);
                self.guided_flow.unanswered_requests = 0;
                self.run_tool(ToolOrigin::Server, Tool::UpdatePayment(update));
                let ask = match change {
                    UpdateAction::Capture(field) => CallerPrompt::Field { field, again },
                    UpdateAction::Complete | UpdateAction::Cancel => CallerPrompt::Processing,
                };
                self.guided_flow.due_prompt = Some(DuePrompt { prompt: ask, is_repetition: false, from: self.now });
            }
            Err(_) => self.hand_lead_to_model(prompts::model_leads(self.payments.open())),
        }
    }

    /// Ends the flow and tells the model to lead, with the reason.
    fn hand_lead_to_model(&mut self, why: String) {
        self.guided_flow.stop();
        self.note_payment_step(why);
    }

    /// Cancels a response without output so that the due prompt can be said first. The response is requested again
    /// afterwards.
    pub(super) fn yield_to_due_prompt(&mut self) {
        let due = self.guided_flow.due_prompt.as_ref().is_some_and(|due| !due.is_repetition);
        if due && self.turn.is_response_empty() && self.phase.is_live() {
            self.stop_reply();
            self.turn.owe_response();
        }
    }

    /// Says the due prompt. Called only while the model's turn is idle.
    pub(super) fn say_due_prompt(&mut self) {
        if !self.is_server_leading() {
            self.guided_flow.due_prompt = None;
        }
        let speaks = self.is_caller_speaking();
        let ready = |due: &mut DuePrompt| due.from <= self.now && !(due.is_repetition && speaks);
        if !self.phase.is_live() {
            return;
        }
        let Some(due) = self.guided_flow.due_prompt.take_if(ready) else { return };
        let settings = self.settings.clone();
        let (language, texts) = settings.texts.find(self.language());
        let text = match due.prompt {
            CallerPrompt::Field { field, again } => {
                let asks = texts.field_prompt(field, self.guided_flow.card_type);
                if again { format!("{} {asks}", texts.retry) } else { asks.into_owned() }
            }
            CallerPrompt::Processing => texts.processing.clone(),
        };
        self.say_text(&text, language, false);
    }

    /// Says one of the texts that the caller must hear whole: how a payment ended.
    fn say_result(&mut self, text: impl FnOnce(&PaymentTexts) -> &str) {
        let settings = self.settings.clone();
        let (language, texts) = settings.texts.find(self.language());
        let text = text(texts);
        if !text.is_empty() {
            self.say_text(text, language, true);
        }
    }

    /// Whether a refusal of the caller cancels the open payment: the server leads, and the payment is not submitted.
    pub(super) fn can_caller_cancel(&self) -> bool {
        let stage = self.payments.open().map(Capture::stage);
        self.is_server_leading() && matches!(stage, Some(CaptureStage::Open | CaptureStage::Capturing { .. }))
    }

    /// Whether the question about submitting is void: the payment has closed, or is not ready to be submitted.
    pub(super) fn is_submission_question_void(&self) -> bool {
        !self.is_server_leading() || self.payments.open().map(Capture::stage) != Some(CaptureStage::Open)
    }

    /// Cancels the payment at the caller's refusal. The server tells the caller.
    pub(super) fn cancel_refused_payment(&mut self) {
        self.cancel_guided_payment("the caller refused");
        self.note(prompts::CALLER_REFUSED);
        self.turn.require_response();
    }

    fn cancel_guided_payment(&mut self, why: &'static str) {
        let open = self.payments.open();
        let Some((id, sid)) = open.and_then(|capture| Some((capture.id(), capture.sid()?.clone()))) else { return };
        self.guided_flow.stop();
        self.turn.clear_payment_steps();
        self.drop_question();
        self.silence_timer.reset(self.now);
        self.cancel_session(id, sid, CancelReason::Abandoned(why));
        self.say_result(|texts| &texts.cancelled);
    }

    /// Applies the caller's answer to the question about submitting.
    pub(super) fn apply_submission_answer(&mut self, answer: ConsentAnswer) {
        match answer {
            ConsentAnswer::Yes => {
                self.guided_flow.has_unanswered_words = false;
                self.note(prompts::CALLER_CONTINUES);
                self.request_next_step(UpdateAction::Complete);
            }
            ConsentAnswer::No => self.cancel_refused_payment(),
            ConsentAnswer::Unclear => {
                self.cancel_guided_payment("the caller did not say yes");
                self.note(prompts::NO_CLEAR_YES);
                self.hand_off("payment-not-agreed");
            }
        }
    }

    /// Makes the current prompt due again at `from`, unless a new one is due. Returns whether the server leads, so that
    /// there is or will be a prompt.
    pub(super) fn repeat_prompt(&mut self, from: Instant) -> bool {
        if !self.is_server_leading() {
            return false;
        }
        let ask = match self.payments.open().map(Capture::stage) {
            Some(CaptureStage::Capturing { field, .. }) => Some(CallerPrompt::Field { field, again: false }),
            Some(CaptureStage::Submitting) => Some(CallerPrompt::Processing),
            _ => None,
        };
        if let Some(ask) = ask.filter(|_| self.guided_flow.due_prompt.as_ref().is_none_or(|due| due.is_repetition)) {
            self.guided_flow.due_prompt = Some(DuePrompt { prompt: ask, is_repetition: true, from });
        }
        true
    }

    /// Drops a repeated prompt: other input makes it unnecessary.
    pub(super) fn drop_repetition(&mut self) {
        self.guided_flow.due_prompt.take_if(|due| due.is_repetition);
    }

    /// Records the card type that Twilio reported.
    pub(super) fn record_card_type(&mut self, card: CardType) {
        self.guided_flow.card_type = Some(card);
    }

    /// Asks for a field again after an invalid entry. Returns whether the server does so; otherwise the flow ends.
    pub(super) fn retry_field(&mut self, field: Field, error: &EntryError, times: u32) -> bool {
        // The caller cannot resolve a conflict with another session.
        if !self.is_server_leading() || times > MAX_RETRIES || *error == EntryError::SessionInProgress {
            self.guided_flow.stop();
            return false;
        }
        self.guided_flow.last_entry_wrong = true;
        self.turn.push_payment_step(ConversationItem::Developer(prompts::field_asked_again(field, error)));
        true
    }

    /// Applies Twilio's response to a request of the guided flow.
    pub(super) fn apply_guided_response(&mut self, change: UpdateAction, answer: &TwilioResponse) {
        match answer {
            TwilioResponse::Unknown
                if self.is_server_leading() && self.guided_flow.unanswered_requests < MAX_REPEATS =>
            {
                self.guided_flow.unanswered_requests += 1;
                if let Ok(update) = self.payments.request_change(change, self.now) {
                    self.run_tool(ToolOrigin::Server, Tool::UpdatePayment(update));
                }
            }
            TwilioResponse::Unknown => self.hand_lead_to_model(prompts::request_unanswered(change)),
            TwilioResponse::Refused { reason, code } => {
                let declines = self.payments.decline_count();
                self.hand_lead_to_model(prompts::request_refused(
                    change,
                    reason,
                    *code,
                    self.payments.open(),
                    declines,
                ));
            }
            TwilioResponse::Gone => {
                self.record_unannounced_failure();
                self.hand_lead_to_model(prompts::session_gone());
            }
            TwilioResponse::Accepted | TwilioResponse::Created(_) => {}
        }
    }

    /// Records the result of a payment, for the server to say if the model does not.
    pub(super) fn record_unannounced_result(&mut self, outcome: PaymentOutcome, intent: &PaymentIntent) {
        self.guided_flow.due_prompt = None;
        self.guided_flow.unannounced_result = Some(match outcome {
            PaymentOutcome::Succeeded if intent.charge.is_none() => UnannouncedResult::Stored,
            PaymentOutcome::Succeeded if intent.bank_debit => UnannouncedResult::Pending,
            PaymentOutcome::Succeeded => UnannouncedResult::Charged,
            PaymentOutcome::Unknown(_) => UnannouncedResult::Unknown,
            PaymentOutcome::Declined
            | PaymentOutcome::Failed
            | PaymentOutcome::Cancelled
            | PaymentOutcome::Abandoned => UnannouncedResult::Failed,
        });
    }

    /// Records that a payment of the guided flow failed.
    pub(super) fn record_unannounced_failure(&mut self) {
        self.guided_flow.unannounced_result = Some(UnannouncedResult::Failed);
    }

    /// Says the current prompt or the payment result in place of the model. Returns whether there was either.
    pub(super) fn prompt_without_model(&mut self) -> bool {
        self.repeat_prompt(self.now) || self.announce_result()
    }

    /// Says the payment result, and whether a receipt was sent, if the caller does not know it yet. Returns whether there was
    /// either.
    pub(super) fn announce_result(&mut self) -> bool {
        let (result, receipt) =
            (self.guided_flow.unannounced_result.take(), self.guided_flow.unannounced_receipt.take());
        if let Some(result) = result {
            self.say_result(|texts| match result {
                UnannouncedResult::Charged => &texts.charged,
                UnannouncedResult::Pending => &texts.pending,
                UnannouncedResult::Stored => &texts.stored,
                UnannouncedResult::Failed => &texts.failed,
                UnannouncedResult::Unknown => &texts.unknown,
            });
        }
        if let Some(news) = receipt {
            self.say_result(|texts| match news {
                ReceiptNews::Sent => &texts.receipt_sent,
                _ => &texts.no_receipt,
            });
        }
        result.is_some() || receipt.is_some()
    }
}
