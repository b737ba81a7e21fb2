//! The business's own tools: when they may run, what their answers change, and what is said while one takes long.

use std::sync::Arc;
use std::time::Instant;

use super::charge_authorization::ChargeStatus;
use super::event::ToolRunId;
use super::tool::{BusinessAnswer, BusinessToolError, Tool};
use super::{Call, ToolCall, prompts};
use crate::payment::{BusinessDue, ParseBusinessDueError, PaymentLogEntry, PaymentTermsError};

impl Call {
    /// Returns the tool to run for a call of a name that is not built in. The error is a tool output.
    ///
    /// No such tool runs while a payment is open, since the model then handles the entry of a card and nothing else, nor
    /// in the three seconds after one that ended before its submission, in which keys of the card may still arrive. A tool
    /// that sends a receipt runs as soon as the result of a submitted payment is known. Nor does one run while the server
    /// asks the caller about an amount, since an answer may change what is due.
    pub(super) fn business_tool(&self, call: &ToolCall) -> Result<Tool, String> {
        let reason = if self.payments.is_open() {
            prompts::NO_BUSINESS_TOOL_DURING_PAYMENT
        } else if self.is_entry_just_cut_off() {
            prompts::NO_BUSINESS_TOOL_AFTER_ENTRY
        } else if self.has_open_question() {
            prompts::QUESTION_PENDING
        } else {
            return Ok(Tool::Business { name: call.name.clone(), arguments: call.arguments.clone() });
        };
        Err(prompts::refusal(reason))
    }

    /// Applies the answer of a tool of the business. Returns the tool output.
    pub(super) fn finish_business_tool(&mut self, answer: Result<BusinessAnswer, BusinessToolError>) -> String {
        match answer {
            Ok(BusinessAnswer { data, due }) => {
                // Nothing more is charged on a call that has ended.
                let due = due.filter(|_| !self.phase.is_ended()).map(|due| self.apply_business_due(due));
                prompts::business_answer(&data, due.as_deref())
            }
            Err(error) => prompts::business_tool_failed(&error),
        }
    }

    /// Makes the amount that the business named the amount due of the call, or keeps what is due. Returns the sentence
    /// for the model.
    ///
    /// It is kept while a payment is open or a question about an amount is, and from the moment on from which money may
    /// have moved on this call: only one debt is charged on a call. An invalid amount leaves the call without payments,
    /// until another answer names a valid one.
    fn apply_business_due(&mut self, due: Result<BusinessDue, ParseBusinessDueError>) -> String {
        let terms = due.map_err(PaymentTermsError::from).and_then(|due| {
            let parameters = self.authorization.parameters();
            self.settings.payment.parse_terms_with_due(parameters, &due).map(Arc::new)
        });
        let is_unchanged = terms.is_ok() && terms.as_ref() == self.authorization.terms();
        if let Some(reason) = self.reason_to_keep_due() {
            if !is_unchanged {
                self.record(PaymentLogEntry::DueKept);
            }
            return reason.to_owned();
        }
        if !is_unchanged {
            self.record(PaymentLogEntry::DueNamed {
                due: terms.as_ref().map(|terms| terms.amount_due).map_err(Clone::clone),
            });
            self.authorization.replace_terms(terms);
        }
        prompts::due_named(&self.authorization.terms().cloned().map_err(Clone::clone), self.settings.confirm_due)
    }

    /// Why the amount due cannot be replaced now.
    fn reason_to_keep_due(&self) -> Option<&'static str> {
        match self.authorization.due_status() {
            ChargeStatus::Charged => Some(prompts::DUE_ALREADY_PAID),
            ChargeStatus::PossiblyCharged => Some(prompts::DUE_POSSIBLY_PAID),
            ChargeStatus::NotCharged if self.payments.has_unsettled_submission() => Some(prompts::DUE_POSSIBLY_PAID),
            ChargeStatus::NotCharged if self.payments.is_open() => Some(prompts::DUE_KEPT_DURING_PAYMENT),
            ChargeStatus::NotCharged if self.has_open_question() => Some(prompts::QUESTION_PENDING),
            ChargeStatus::NotCharged => None,
        }
    }

    /// Records that a tool takes long, and what to say to the caller about it.
    pub(super) fn handle_tool_delay(&mut self, run: ToolRunId, text: String) {
        let is_heard = self.settings.has_telephone && !self.listen_only && self.phase.is_live();
        if is_heard {
            self.turn.record_delay(run, text);
        }
    }

    /// Says that a tool takes long, once, as soon as nobody speaks. It is not said once the caller has spoken or the tool
    /// has finished, nor within the words of a response. A flow waits for its tool within its response, so there it is
    /// said if the response has no words yet.
    pub(super) fn say_tool_delay(&mut self) {
        let is_between_words = match self.turn.current_request() {
            None => true,
            Some(_) => self.turn.is_delay_of_client() && !self.speech.is_cycle_open(),
        };
        let is_due = is_between_words && self.tool_delay_deadline().is_none();
        if !is_due || !self.phase.is_live() || self.listen_only {
            return;
        }
        if let Some(text) = self.turn.take_delay_text() {
            self.turn.begin_text();
            self.say(&text);
        }
    }

    /// When nobody speaks any more, if there is something to say about a tool that takes long.
    pub(super) fn tool_delay_deadline(&self) -> Option<Instant> {
        if !self.turn.has_delay_text() {
            return None;
        }
        let agent_quiet = self.speech.quiet_from(self.now);
        let caller_quiet = self.caller_speech.deadline(self.payments.is_open());
        agent_quiet.max(caller_quiet).filter(|quiet| *quiet > self.now)
    }
}
