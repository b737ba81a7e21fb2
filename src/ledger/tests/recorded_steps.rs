//! Tests that the server that takes up a session reads what another one wrote.

use std::cell::RefCell;

use proptest::prelude::*;
use proptest::test_runner::{TestCaseResult, TestRunner};

use super::*;
use crate::ledger::payment::PaymentKey;
use crate::payment::lives::{LedgerWrite, Life, LifeStep, LifeStyle, life_step, life_style};
use crate::payment::{Capture, ConsentAnswer, ConsentPurpose, ConsentRecord, RecordedStep, RestoreCaptureError};

impl TestLedger {
    async fn write(&self, write: LedgerWrite) -> Result<(), RecordRequestError> {
        match write {
            LedgerWrite::CreateRequest(create) => self.ledger.record_create_request(&self.call, &create).await?,
            LedgerWrite::CreateResponse(create, response) => {
                self.ledger.record_create_response(&create, &response).await?;
            }
            LedgerWrite::UpdateRequest(update) => self.ledger.record_update_request(&self.call, &update).await?,
            LedgerWrite::UpdateResponse(update, response) => {
                self.ledger.record_update_response(&update, &response).await?;
            }
            LedgerWrite::Callback(callback) => drop(self.ledger.record_callback(&callback).await?),
        }
        Ok(())
    }

    async fn read_steps(&self, id: PaymentId) -> Vec<RecordedStep> {
        let mut writing = self.ledger.begin_write().await.unwrap();
        let payment = writing.find_payment(PaymentKey::Id(id)).await.unwrap().unwrap();
        writing.read_recorded_steps(&payment).await.unwrap()
    }

    pub(super) async fn read_consent(&self, id: PaymentId) -> Option<ConsentRecord> {
        let mut writing = self.ledger.begin_write().await.unwrap();
        let payment = writing.find_payment(PaymentKey::Id(id)).await.unwrap().unwrap();
        writing.read_consent(&payment).await.unwrap()
    }

    /// Lives a life on a call of its own.
    async fn live(&mut self, style: LifeStyle, is_created: bool, steps: &[LifeStep]) -> TestCaseResult {
        let id = self.ids.generate();
        self.call = CallData::from_sid(format!("CA-{id}").parse().unwrap());
        let mut life = Life::begin(id, self.call.call_sid.as_str(), &format!("PK-{id}"), style);
        if is_created {
            life.create();
        }
        for step in steps.iter().map(Some).chain([None]) {
            for write in std::mem::take(&mut life.writes) {
                match self.write(write).await {
                    // It takes no submission before a field was asked for.
                    Err(RecordRequestError::NotSubmittable) => {
                        prop_assert!(!life.has_asked_for_a_field());
                        return Ok(());
                    }
                    written => written.unwrap(),
                }
            }
            if let Some(step) = step {
                life.apply(step);
            }
        }
        let read = self.read_steps(id).await;
        prop_assert_eq!(&read, &life.steps);
        let CreatePayment { charge, terms, .. } = &life.create;
        let restored = Capture::from_steps(id, terms, *charge, None, read.iter().cloned());
        if life.has_ended {
            prop_assert_eq!(restored.unwrap_err(), RestoreCaptureError::Ended);
        } else {
            life.lose_running();
            prop_assert_eq!(restored.unwrap().facts(), life.capture.facts());
        }
        Ok(())
    }
}

#[test]
fn a_session_is_read_as_it_was_written() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let test = RefCell::new(runtime.block_on(TestLedger::new()));
    let lives = (life_style(), prop::bool::weighted(0.9), prop::collection::vec(life_step(), 0..32));
    let mut runner = TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) });
    let run = |(style, is_created, steps): (LifeStyle, bool, Vec<LifeStep>)| -> TestCaseResult {
        runtime.block_on(test.borrow_mut().live(style, is_created, &steps))
    };
    runner.run(&lives, run).unwrap();
}

#[tokio::test]
async fn the_consent_to_a_payment_is_read_as_it_was_given() {
    let mut test = TestLedger::new().await;
    let without = test.request_create("25").await.unwrap();
    assert_eq!(test.read_consent(without.id).await, None);
    for purpose in [ConsentPurpose::Charge, ConsentPurpose::ChargeAgain] {
        let id = test.ids.generate();
        let amount = Amount::parse("12.30", Currency::USD).unwrap().unwrap();
        let consent = ConsentRecord {
            purpose: purpose(amount),
            text: "That is \"12.30\". Do you agree?".to_owned(),
            sha256: crate::payment::text_sha256("as spoken"),
            language: "en-US".to_owned(),
            text_version: "e3b0c442".to_owned(),
            answer: ConsentAnswer::Yes,
        };
        let create = CreatePayment { id, idempotency_key: id.create_key(), consent: Some(consent), ..without.clone() };
        test.ledger.record_create_request(&test.call, &create).await.unwrap();
        assert_eq!(test.read_consent(id).await, create.consent);
    }
}

#[tokio::test]
async fn the_end_of_a_session_is_read_and_what_is_no_step_is_left_out() {
    let mut test = TestLedger::new().await;
    test.call.attestation = Some(crate::payment::CallerAttestation::Full);
    let id = test.submit_payment("25", "PK1").await;
    test.deliver_callback("PK1", &CHARGED).await;
    let (steps, kinds) = (test.read_steps(id).await, test.event_kinds(id).await);
    assert_eq!((steps.len() + 1, steps.last()), (kinds.len(), Some(&RecordedStep::SessionEnded)), "{kinds:?}");
}
