//! Tests that temporary faults do not change the final states.

use proptest::prelude::*;

use super::fault_recovery::until;
use super::*;

#[tokio::test]
async fn outcome_is_not_delivered_repeatedly_while_the_delivery_cannot_be_recorded() {
    let mut test = TestLedger::new().await;
    test.submit_payment("25", "PK1").await;
    test.deliver_callback("PK1", &CHARGED).await;
    let due = test.ledger.due_deliveries(Timestamp::now(), 9).await.unwrap().remove(0);
    let fault = RemovedFile::begin(&test).await;
    test.ledger.record_delivered(&due).await.unwrap_err();
    assert!(test.ledger.due_deliveries(Timestamp::now(), 9).await.unwrap().is_empty());
    fault.end();
    let _maintained = test.spawn_maintenance();
    until("fault ended", async || test.ledger.fault().is_none()).await;
    let again = test.ledger.due_deliveries(Timestamp::now(), 9).await.unwrap();
    assert_eq!(again.len(), 1, "again, since the first delivery was not recorded");
}

/// A fault without delay: the file is moved away, and the connection that writes is discarded.
struct RemovedFile {
    file: PathBuf,
    aside: PathBuf,
}

impl RemovedFile {
    async fn begin(test: &TestLedger) -> Self {
        let (file, aside) = (test.directory.file(), test.directory.0.join("aside"));
        drop(test.ledger.begin_write().await);
        std::fs::rename(&file, &aside).unwrap();
        Self { file, aside }
    }

    fn end(self) {
        std::fs::rename(self.aside, self.file).unwrap();
    }
}

/// A step of one of three payments, each on its own call.
#[derive(Debug, Clone, Copy)]
enum PaymentStep {
    Success,
    Decline,
    HangUp,
    SubmissionRefused,
    CallEnded,
    Cancel,
}

impl PaymentStep {
    async fn apply(self, test: &mut TestLedger, of: usize, id: PaymentId) {
        let sid = &*format!("PK{of}");
        test.call = call(&format!("CA{of}"));
        let form = |fields: &[(&str, &str)]| status_of(&format!("CA{of}"), sid, fields);
        let reported = async |status: &PaymentCallback| {
            assert_ne!(test.ledger.record_callback(status).await.unwrap(), RecordOutcome::UnknownPayment);
        };
        match self {
            Self::Success => reported(&form(&CHARGED)).await,
            Self::Decline => {
                let declined = [("Result", "payment-connector-error"), ("PayErrorCode", "64008")];
                reported(&form(&declined)).await;
            }
            Self::HangUp => reported(&form(&[("Result", "caller-hung-up")])).await,
            Self::SubmissionRefused => {
                let refused = TwilioResponse::Refused { code: Some(64019), reason: "no" };
                test.ledger
                    .record_update_response(&update(id, sid, UpdateAction::Complete, 1), &refused)
                    .await
                    .unwrap();
            }
            Self::CallEnded => test.ledger.record_call_ended(&test.call).await.unwrap(),
            Self::Cancel => {
                test.ledger.record_update_request(&test.call, &update(id, sid, UpdateAction::Cancel, 1)).await.unwrap();
            }
        }
    }
}

fn status_of(call: &str, sid: &str, fields: &[(&str, &str)]) -> PaymentCallback {
    PaymentCallback { call_sid: call.parse().unwrap(), ..status(sid, fields) }
}

fn payment_steps() -> impl Strategy<Value = Vec<(usize, PaymentStep, bool)>> {
    use PaymentStep::{CallEnded, Cancel, Decline, HangUp, SubmissionRefused, Success};
    let what = prop::sample::select(&[Success, Decline, HangUp, SubmissionRefused, CallEnded, Cancel][..]);
    prop::collection::vec((0..3_usize, what, prop::bool::weighted(0.3)), 0..24)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Applies the same steps to two ledgers, one of them with temporary faults.
    #[test]
    fn temporary_faults_do_not_change_the_final_states(happens in payment_steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut said = Vec::new();
            for has_faults in [false, true] {
                let mut test = TestLedger::new().await;
                let mut ids = Vec::new();
                for of in 0..3 {
                    test.call = call(&format!("CA{of}"));
                    test.call.call_reference = Some(crate::redact::Private::new(format!("order {of}")));
                    ids.push(test.submit_payment("25", &format!("PK{of}")).await);
                }
                let mut fault = None;
                for (of, what, toggles) in &happens {
                    if has_faults && *toggles {
                        fault = match fault.take() {
                            None => Some(RemovedFile::begin(&test).await),
                            Some(RemovedFile { file, aside }) => {
                                RemovedFile { file, aside }.end();
                                None
                            }
                        };
                    }
                    if fault.is_some() {
                        test.call = call("CA9");
                        assert!(matches!(test.request_create("25").await, Err(RecordRequestError::Ledger(_))));
                    }
                    what.apply(&mut test, *of, ids[*of]).await;
                }
                fault.into_iter().for_each(RemovedFile::end);
                drop(test.ledger.begin_write().await.unwrap());
                let mut all = Vec::new();
                for id in ids {
                    let payment = test.ledger.payment(id).await.unwrap().unwrap();
                    all.push((payment.state, payment.result, payment.confirmation_code, test.event_kinds(id).await));
                }
                said.push(all);
            }
            assert_eq!(said[0], said[1]);
        });
    }
}
