//! Restores a payment session from its recorded steps, so that another server goes on with it.
//!
//! Key presses, callbacks that report no entry and requests that the ledger refused are not recorded. So a restored session
//! does not know that key presses confirmed a capture request or began a new entry, nor the `Required` and dates of such
//! callbacks. The next callback of Twilio's brings them.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Capture, CaptureStage, InvalidTransition, SeenCallback};
use crate::payment::{
    Amount, ConsentRecord, CreatePayment, EntryError, EntryReport, Field, PaymentId, PaymentTerms, RecordedStep,
    TwilioResponse, UpdateAction, UpdatePayment,
};

/// Why a payment session cannot be restored from its recorded steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RestoreCaptureError {
    /// The session was found, or nothing of it is recorded.
    #[error("the steps do not begin with a request to create the session")]
    NotRequested,
    /// The session is closed; at most its result can follow.
    #[error("the session has ended")]
    Ended,
    /// No session takes these steps in this order.
    #[error("the recorded steps contradict each other")]
    Contradictory,
}

/// A session while its steps are applied.
struct Restoration {
    capture: Capture,
    create: CreatePayment,
    create_requests: usize,
    is_create_running: bool,
    /// All updates, in the order of their requests.
    updates: Vec<UpdatePayment>,
    /// The updates without a response.
    running: Vec<UpdatePayment>,
    /// The field that is entered, if a callback has its value and does not tell whether that is a new one.
    doubtful_entry: Option<Field>,
}

impl Capture {
    /// Restores the session of a payment from its recorded steps. A request without a response counts as one whose
    /// response got lost: it is repeated with its key.
    pub(crate) fn from_steps(
        id: PaymentId,
        terms: &Arc<PaymentTerms>,
        charge: Option<Amount>,
        consent: Option<ConsentRecord>,
        steps: impl IntoIterator<Item = RecordedStep>,
    ) -> Result<Self, RestoreCaptureError> {
        let (capture, create) = Self::open(id, terms, charge, consent);
        let mut restoration = Restoration {
            capture,
            create,
            create_requests: 0,
            is_create_running: false,
            updates: Vec::new(),
            running: Vec::new(),
            doubtful_entry: None,
        };
        let mut steps: VecDeque<RecordedStep> = steps.into_iter().collect();
        while let Some(step) = steps.pop_front() {
            restoration.apply(step, &mut steps)?;
        }
        restoration.finish()
    }
}

impl Restoration {
    /// Applies a step. `later` are those that were recorded after it.
    fn apply(&mut self, step: RecordedStep, later: &mut VecDeque<RecordedStep>) -> Result<(), RestoreCaptureError> {
        if self.create_requests == 0 && step != RecordedStep::CreateRequested {
            return Err(RestoreCaptureError::NotRequested);
        }
        match step {
            RecordedStep::CreateRequested => {
                self.lose_create_response();
                self.create_requests += 1;
                self.is_create_running = true;
                Ok(())
            }
            RecordedStep::SessionCreated(sid) => {
                self.capture.confirm_open(&sid);
                Ok(())
            }
            RecordedStep::CreateAnswered(response) => self.apply_create_response(response),
            RecordedStep::UpdateRequested { action, key } => self.request_update(action, &key, later),
            RecordedStep::UpdateAnswered { action, key, response } => {
                self.apply_update_response(action, key.as_deref(), response)
            }
            RecordedStep::FieldEntered { field, report } => {
                self.apply_entry(field, report);
                Ok(())
            }
            RecordedStep::EntryRejected { field, error, report } => {
                self.apply_wrong_entry(field, &error, report);
                Ok(())
            }
            RecordedStep::SessionEnded => Err(RestoreCaptureError::Ended),
        }
    }

    fn finish(mut self) -> Result<Capture, RestoreCaptureError> {
        if self.create_requests == 0 {
            return Err(RestoreCaptureError::NotRequested);
        }
        self.lose_create_response();
        for update in self.running {
            self.capture.apply_update_response(&update, TwilioResponse::Unknown);
        }
        Ok(self.capture)
    }

    fn lose_create_response(&mut self) {
        if std::mem::take(&mut self.is_create_running) {
            self.capture.apply_create_response(&self.create, TwilioResponse::Unknown);
        }
    }

    fn apply_create_response(&mut self, response: TwilioResponse) -> Result<(), RestoreCaptureError> {
        self.is_create_running = false;
        match (self.capture.apply_create_response(&self.create, response), self.capture.sid()) {
            (TwilioResponse::Refused { .. } | TwilioResponse::Gone | TwilioResponse::Accepted, None) => {
                Err(RestoreCaptureError::Ended)
            }
            _ => Ok(()),
        }
    }

    fn request_update(
        &mut self,
        action: UpdateAction,
        key: &str,
        later: &mut VecDeque<RecordedStep>,
    ) -> Result<(), RestoreCaptureError> {
        let attempt = self.capture.id.attempt_of_key(action, key).ok_or(RestoreCaptureError::Contradictory)?;
        if let Some(at) = self.running.iter().position(|update| update.idempotency_key.as_str() == key) {
            let lost = self.running.remove(at);
            self.capture.apply_update_response(&lost, TwilioResponse::Unknown);
        }
        let attempts = self.capture.attempts.get(&action).copied().unwrap_or_default().max(attempt);
        let mut update = self.request_recorded(action, later).map_err(|_| RestoreCaptureError::Contradictory)?;
        if update.idempotency_key.as_str() != key {
            // Key presses had confirmed the request before, or the ledger had refused one with an earlier key.
            self.capture.unconfirmed = None;
            update.idempotency_key = self.capture.id.update_key(action, attempt);
        }
        self.capture.attempts.insert(action, attempts);
        self.updates.push(update.clone());
        self.running.push(update);
        Ok(())
    }

    /// Requests an update that was valid when it was recorded.
    fn request_recorded(
        &mut self,
        action: UpdateAction,
        later: &mut VecDeque<RecordedStep>,
    ) -> Result<UpdatePayment, InvalidTransition> {
        let doubtful_entry = self.doubtful_entry.take();
        let requested = self.capture.request_exactly(action);
        if requested.is_ok() {
            return requested;
        }
        match (doubtful_entry, self.capture.stage) {
            // Key presses had shown that the entry is a new one.
            (Some(field), _) => drop(self.capture.apply_entry(field)),
            (None, CaptureStage::Capturing { field, .. }) => self.hear_before_record(field, later),
            _ => {}
        }
        self.capture.request_exactly(action)
    }

    /// Applies the end of an entry that the call had heard of before it was recorded: what Twilio reports reaches the call
    /// while it is being written. Without a record the server died in between.
    fn hear_before_record(&mut self, field: Field, later: &mut VecDeque<RecordedStep>) {
        let is_end = |step: &RecordedStep| match step {
            RecordedStep::FieldEntered { field: entered, .. } => *entered == field,
            RecordedStep::EntryRejected { field: rejected, .. } => rejected.is_none_or(|rejected| rejected == field),
            _ => false,
        };
        match later.iter().position(is_end).and_then(|at| later.remove(at)) {
            Some(RecordedStep::FieldEntered { report, .. }) => self.apply_entry(field, report),
            Some(RecordedStep::EntryRejected { error, report, .. }) => {
                self.apply_wrong_entry(Some(field), &error, report);
            }
            _ => drop(self.capture.apply_entry(field)),
        }
    }

    fn apply_update_response(
        &mut self,
        action: UpdateAction,
        key: Option<&str>,
        response: TwilioResponse,
    ) -> Result<(), RestoreCaptureError> {
        let is_request = |update: &UpdatePayment| {
            update.action == action && key.is_none_or(|key| update.idempotency_key.as_str() == key)
        };
        let update = if let Some(at) = self.running.iter().position(is_request) {
            self.running.remove(at)
        } else {
            // The response of a server that was thought dead to a request that another one has repeated.
            let last = self.updates.iter().rfind(|update| is_request(update));
            last.cloned().ok_or(RestoreCaptureError::Contradictory)?
        };
        let requests = self.updates.iter().filter(|other| other.idempotency_key == update.idempotency_key).count();
        let response = if action == UpdateAction::Complete { response.resolve(requests > 1) } else { response };
        match self.capture.apply_update_response(&update, response) {
            TwilioResponse::Gone => Err(RestoreCaptureError::Ended),
            TwilioResponse::Accepted if action == UpdateAction::Cancel => Err(RestoreCaptureError::Ended),
            _ => Ok(()),
        }
    }

    fn apply_entry(&mut self, field: Field, report: EntryReport) {
        if report.is_dated {
            self.remember(report);
        }
        self.capture.required = report.required.or(self.capture.required);
        self.capture.last4 = report.last4.or(self.capture.last4);
        self.capture.apply_entry_end(field, report.date_updated, true, report.required);
        // A session that the entry was applied to does not capture the field any more.
        let is_capturing =
            matches!(self.capture.stage, CaptureStage::Capturing { field: current, .. } if current == field);
        if is_capturing && report.required.is_none() {
            self.doubtful_entry = Some(field);
        }
    }

    fn apply_wrong_entry(&mut self, field: Option<Field>, error: &EntryError, report: EntryReport) {
        self.doubtful_entry = None;
        self.remember(report);
        self.capture.required = report.required.or(self.capture.required);
        self.capture.apply_wrong_entry(field, error, report.date_updated);
    }

    /// Remembers a callback, so that a further delivery of it has no effect.
    fn remember(&mut self, report: EntryReport) {
        let capture_requests = (!report.is_dated).then(|| self.capture.capture_requests());
        self.capture.remember(SeenCallback { digest: report.digest, capture_requests });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::super::lives::{Life, LifeStep, life_step, life_style};
    use super::*;
    use crate::payment::{
        CallbackDigester, CallbackEffect, Currency, Fields, PaymentCallback, PaymentIdGenerator, PaymentSettings,
    };

    const CARD: UpdateAction = UpdateAction::Capture(Field::CardNumber);
    const ACCEPTED: TwilioResponse = TwilioResponse::Accepted;
    const DECLINED: TwilioResponse = TwilioResponse::Refused { code: Some(64012), reason: "no" };

    fn id() -> PaymentId {
        PaymentIdGenerator::new(Uuid::nil()).generate()
    }

    fn created() -> Vec<RecordedStep> {
        let sid: crate::ids::PaymentSid = "PK1".parse().unwrap();
        let answered = RecordedStep::CreateAnswered(TwilioResponse::Created(sid.clone()));
        vec![RecordedStep::CreateRequested, answered, RecordedStep::SessionCreated(sid)]
    }

    fn asked(action: UpdateAction, n: u32) -> RecordedStep {
        RecordedStep::UpdateRequested { action, key: id().update_key(action, n).as_str().to_owned() }
    }

    fn answered(action: UpdateAction, response: TwilioResponse) -> RecordedStep {
        RecordedStep::UpdateAnswered { action, key: None, response }
    }

    /// A callback as an earlier version recorded it.
    fn report(digest: u8, is_dated: bool) -> EntryReport {
        let digest = hex::encode([digest; 32]).parse().unwrap();
        EntryReport { digest, is_dated, date_updated: None, required: None, last4: None }
    }

    fn entered(field: Field, digest: u8) -> RecordedStep {
        RecordedStep::FieldEntered { field, report: report(digest, false) }
    }

    /// All fields are asked for and entered.
    fn entered_card() -> Vec<RecordedStep> {
        let fields = PaymentSettings::sample_terms().fields();
        let steps = fields.iter().zip(1..).flat_map(|(field, digest)| {
            let action = UpdateAction::Capture(field);
            [asked(action, 1), answered(action, ACCEPTED), entered(field, digest)]
        });
        created().into_iter().chain(steps).collect()
    }

    fn restore(steps: &[RecordedStep]) -> Result<Capture, RestoreCaptureError> {
        let charge = Amount::parse("25", Currency::USD).unwrap();
        Capture::from_steps(id(), &PaymentSettings::sample_terms(), charge, None, steps.iter().cloned())
    }

    fn next_key(capture: &mut Capture, action: UpdateAction) -> String {
        capture.request_update(action).unwrap().idempotency_key.as_str().to_owned()
    }

    #[test]
    fn only_an_open_session_that_was_requested_is_restored() {
        let sid = RecordedStep::SessionCreated("PK1".parse().unwrap());
        let requested = RecordedStep::CreateRequested;
        let foreign = RecordedStep::UpdateRequested { action: CARD, key: "another-key".to_owned() };
        let after_entry = |steps: &[RecordedStep]| [&entered_card(), steps].concat();
        let complete = UpdateAction::Complete;
        for (steps, error) in [
            (vec![], RestoreCaptureError::NotRequested),
            (vec![sid], RestoreCaptureError::NotRequested),
            (vec![requested.clone(), asked(CARD, 1)], RestoreCaptureError::Contradictory),
            (after_entry(&[foreign]), RestoreCaptureError::Contradictory),
            (after_entry(&[answered(complete, ACCEPTED)]), RestoreCaptureError::Contradictory),
            (after_entry(&[asked(complete, 1), asked(CARD, 2)]), RestoreCaptureError::Contradictory),
            (vec![requested, RecordedStep::CreateAnswered(DECLINED)], RestoreCaptureError::Ended),
            (after_entry(&[asked(complete, 1), answered(complete, TwilioResponse::Gone)]), RestoreCaptureError::Ended),
            (after_entry(&[RecordedStep::SessionEnded]), RestoreCaptureError::Ended),
        ] {
            assert_eq!(restore(&steps).unwrap_err(), error, "{steps:?}");
        }
        assert_eq!(restore(&entered_card()).unwrap().missing(), Fields::default());
    }

    #[test]
    fn a_request_without_a_response_is_repeated_with_its_key_unless_a_callback_reports_its_effect() {
        let asked_card = [created(), vec![asked(CARD, 1)]].concat();
        let mut capture = restore(&asked_card).unwrap();
        assert_eq!(next_key(&mut capture, CARD), id().update_key(CARD, 1).as_str());
        let rejected = RecordedStep::EntryRejected {
            field: Some(Field::CardNumber),
            error: EntryError::CardNumber,
            report: report(1, true),
        };
        let mut capture = restore(&[asked_card, vec![rejected]].concat()).unwrap();
        assert_eq!(next_key(&mut capture, CARD), id().update_key(CARD, 2).as_str());
        // Key presses had confirmed the first request.
        let again = [asked(CARD, 1), answered(CARD, TwilioResponse::Unknown), asked(CARD, 2), answered(CARD, DECLINED)];
        let mut capture = restore(&[&created()[..], &again].concat()).unwrap();
        assert_eq!(next_key(&mut capture, CARD), id().update_key(CARD, 3).as_str());
        let capture = restore(&[RecordedStep::CreateRequested]).unwrap();
        assert!(capture.retry_open(capture.charge()).is_ok());
    }

    #[test]
    fn a_number_that_the_ledger_refused_is_left_out_and_no_key_is_used_twice() {
        let mut capture = restore(&[created(), vec![asked(CARD, 2), answered(CARD, ACCEPTED)]].concat()).unwrap();
        assert_eq!(next_key(&mut capture, CARD), id().update_key(CARD, 3).as_str());
    }

    #[test]
    fn a_late_refusal_of_a_submission_that_was_repeated_opens_no_second_one() {
        let complete = UpdateAction::Complete;
        let twice = [entered_card(), vec![asked(complete, 1), asked(complete, 1)]].concat();
        for responses in [[ACCEPTED, DECLINED], [DECLINED, ACCEPTED], [TwilioResponse::Gone, ACCEPTED]] {
            let responses = responses.map(|response| answered(complete, response));
            let capture = restore(&[&twice[..], &responses].concat()).unwrap();
            assert_eq!(capture.stage(), CaptureStage::Submitting, "{responses:?}");
        }
        let refused = [entered_card(), vec![asked(complete, 1), answered(complete, DECLINED)]].concat();
        let mut capture = restore(&refused).unwrap();
        assert_eq!((capture.stage(), capture.submit_refusals), (CaptureStage::Open, 1));
        assert_eq!(next_key(&mut capture, complete), id().update_key(complete, 2).as_str());
    }

    /// PostgreSQL numbers what is written at the same time in any order.
    #[test]
    fn what_the_call_heard_before_it_was_recorded_counts_when_the_next_field_was_asked_for() {
        let expiry = UpdateAction::Capture(Field::ExpirationDate);
        let rejected = RecordedStep::EntryRejected {
            field: Some(Field::CardNumber),
            error: EntryError::CardNumber,
            report: report(1, true),
        };
        let begun = [created(), vec![asked(CARD, 1), answered(CARD, ACCEPTED)]].concat();
        let heard = |later: &[RecordedStep]| {
            let steps = [&begun[..], &[asked(expiry, 1), answered(expiry, ACCEPTED)], later].concat();
            let capture = restore(&steps).unwrap();
            (capture.captured().contains(Field::CardNumber), capture.next_field())
        };
        assert_eq!(heard(&[entered(Field::CardNumber, 1)]), (true, Some(Field::ExpirationDate)));
        assert_eq!(heard(&[]), (true, Some(Field::ExpirationDate)), "the server died before it was recorded");
        assert_eq!(heard(&[rejected]), (false, Some(Field::ExpirationDate)), "the model asked for another field first");
    }

    #[test]
    fn an_entry_that_seemed_an_older_value_counts_if_another_field_was_asked_for() {
        let again = [entered_card(), vec![asked(CARD, 2), answered(CARD, ACCEPTED), entered(Field::CardNumber, 1)]];
        let again = again.concat();
        let in_progress = CaptureStage::Capturing { field: Field::CardNumber, key_count: 0 };
        assert_eq!(restore(&again).unwrap().stage(), in_progress);
        let submitted = restore(&[again, vec![asked(UpdateAction::Complete, 1)]].concat()).unwrap();
        assert_eq!((submitted.stage(), submitted.missing().is_empty()), (CaptureStage::Submitting, true));
    }

    #[test]
    fn an_entry_that_is_delivered_again_has_no_effect_though_its_date_is_not_recorded() {
        let form = [
            ("CallSid", "CA1"),
            ("Sid", "PK1"),
            ("Capture", "payment-card-number"),
            ("PartialResult", "false"),
            ("Required", ""),
            ("DateUpdated", "2026-08-30T10:00:00Z"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let callback = PaymentCallback::from_form(&form, &CallbackDigester::new(&"12345".into())).unwrap();
        let report = EntryReport { digest: callback.digest, ..report(0, true) };
        let steps =
            vec![asked(CARD, 1), RecordedStep::FieldEntered { field: Field::CardNumber, report }, asked(CARD, 2)];
        let mut capture = restore(&[created(), steps].concat()).unwrap();
        assert!(matches!(capture.apply_callback(&callback), CallbackEffect::NoChange));
    }

    #[test]
    fn a_callback_that_is_delivered_again_has_no_effect() {
        let mut form =
            [("CallSid", "CA1"), ("Sid", "PK1"), ("Capture", "payment-card-number"), ("ErrorType", "timeout")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec();
        for is_dated in [false, true] {
            if is_dated {
                form.push(("DateUpdated".to_owned(), "2026-08-30T10:00:00Z".to_owned()));
            }
            let callback = PaymentCallback::from_form(&form, &CallbackDigester::new(&"12345".into())).unwrap();
            let report = EntryReport { digest: callback.digest, ..report(0, is_dated) };
            let (field, error) = (Some(Field::CardNumber), EntryError::Timeout);
            let steps = vec![asked(CARD, 1), RecordedStep::EntryRejected { field, error, report }];
            let mut capture = restore(&[created(), steps].concat()).unwrap();
            assert!(matches!(capture.apply_callback(&callback), CallbackEffect::NoChange));
            capture.request_update(CARD).unwrap();
            let effect = capture.apply_callback(&callback);
            assert_eq!(
                matches!(effect, CallbackEffect::NoChange),
                is_dated,
                "without a date it is a new one: {effect:?}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_024))]

        #[test]
        fn a_capture_is_what_its_events_say(
            style in life_style(),
            is_created in prop::bool::weighted(0.9),
            before in prop::collection::vec(life_step(), 0..32),
            after in prop::collection::vec(life_step(), 0..24),
        ) {
            let mut life = Life::begin(id(), "CA1", "PK1", style);
            if is_created {
                life.create();
            }
            for step in &before {
                life.apply(step);
            }
            if life.has_ended {
                prop_assert_eq!(life.restore().unwrap_err(), RestoreCaptureError::Ended);
                return Ok(());
            }
            let restored = life.restore().unwrap();
            life.lose_running();
            prop_assert_eq!(restored.facts(), life.capture.facts(), "{:#?}", life.steps);
            let mut other = life.taken_up(restored);
            for life in [&mut life, &mut other] {
                life.is_to_be_known = false;
            }
            let lasts = after.iter().filter(|step| !matches!(step, LifeStep::TakeUp));
            for step in lasts {
                if step.is_incomplete_refusal() && !life.capture.has_same_required(&other.capture) {
                    continue;
                }
                prop_assert_eq!(other.apply(step), life.apply(step), "{:?}", step);
                prop_assert_eq!(other.capture.facts(), life.capture.facts(), "{:?}", step);
            }
        }
    }
}
