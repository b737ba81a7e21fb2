//! Faults that come and go change nothing of what the ledger says in the end.

use proptest::prelude::*;

use super::healing::until;
use super::*;

#[tokio::test]
async fn an_outcome_is_not_delivered_again_and_again_while_that_cannot_be_written() {
    let mut desk = Desk::new().await;
    desk.submitted("25", "PK1").await;
    desk.told("PK1", &CHARGED).await;
    let due = desk.ledger.due(Timestamp::now(), 9).await.unwrap().remove(0);
    let fault = Absent::begin(&desk).await;
    desk.ledger.delivered(&due).await.unwrap_err();
    assert!(desk.ledger.due(Timestamp::now(), 9).await.unwrap().is_empty());
    fault.end();
    let _maintained = desk.maintained();
    until("well again", async || desk.ledger.fault().is_none()).await;
    let again = desk.ledger.due(Timestamp::now(), 9).await.unwrap();
    assert_eq!(again.len(), 1, "once more, for what became of the first time is not known");
}

/// A fault that is there at once: the file is absent, and so is the connection that wrote.
struct Absent {
    file: PathBuf,
    aside: PathBuf,
}

impl Absent {
    async fn begin(desk: &Desk) -> Self {
        let (file, aside) = (desk.directory.file(), desk.directory.0.join("aside"));
        drop(desk.ledger.write().await);
        std::fs::rename(&file, &aside).unwrap();
        Self { file, aside }
    }

    fn end(self) {
        std::fs::rename(self.aside, self.file).unwrap();
    }
}

/// What happens to one of three payments, each on a call of its own.
#[derive(Debug, Clone, Copy)]
enum Happens {
    Succeeds,
    Declines,
    HangsUp,
    IsRefused,
    CallEnds,
    Cancels,
}

impl Happens {
    async fn to(self, desk: &mut Desk, of: usize, id: PaymentId) {
        let sid = &*format!("PK{of}");
        desk.call = call(&format!("CA{of}"));
        let form = |fields: &[(&str, &str)]| status_of(&format!("CA{of}"), sid, fields);
        let reported =
            async |status: &Status| assert_ne!(desk.ledger.reported(status).await.unwrap(), Reported::Unknown);
        match self {
            Self::Succeeds => reported(&form(&CHARGED)).await,
            Self::Declines => {
                let declined = [("Result", "payment-connector-error"), ("PayErrorCode", "64008")];
                reported(&form(&declined)).await;
            }
            Self::HangsUp => reported(&form(&[("Result", "caller-hung-up")])).await,
            Self::IsRefused => {
                let refused = Answer::Refused { code: Some(64019), reason: "no" };
                desk.ledger.answered(&update(id, sid, Change::Complete, 1), &refused).await.unwrap();
            }
            Self::CallEnds => desk.ledger.call_over(&desk.call.sid).await.unwrap(),
            Self::Cancels => {
                desk.ledger.asking(&desk.call, &update(id, sid, Change::Cancel, 1)).await.unwrap();
            }
        }
    }
}

fn status_of(call: &str, sid: &str, fields: &[(&str, &str)]) -> Status {
    Status { call: call.parse().unwrap(), ..status(sid, fields) }
}

fn happens() -> impl Strategy<Value = Vec<(usize, Happens, bool)>> {
    use Happens::{CallEnds, Cancels, Declines, HangsUp, IsRefused, Succeeds};
    let what = prop::sample::select(&[Succeeds, Declines, HangsUp, IsRefused, CallEnds, Cancels][..]);
    prop::collection::vec((0..3_usize, what, prop::bool::weighted(0.3)), 0..24)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The same happens to two ledgers, and one of them has faults that come and go.
    #[test]
    fn faults_change_nothing_of_what_the_ledger_says_in_the_end(happens in happens()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut said = Vec::new();
            for has_faults in [false, true] {
                let mut desk = Desk::new().await;
                let mut ids = Vec::new();
                for of in 0..3 {
                    desk.call = call(&format!("CA{of}"));
                    desk.call.reference = Some(crate::redact::Private::new(format!("order {of}")));
                    ids.push(desk.submitted("25", &format!("PK{of}")).await);
                }
                let mut fault = None;
                for (of, what, toggles) in &happens {
                    if has_faults && *toggles {
                        fault = match fault.take() {
                            None => Some(Absent::begin(&desk).await),
                            Some(Absent { file, aside }) => {
                                Absent { file, aside }.end();
                                None
                            }
                        };
                    }
                    if fault.is_some() {
                        desk.call = call("CA9");
                        assert!(matches!(desk.opening("25").await, Err(Refused::Unwritten(_))));
                    }
                    what.to(&mut desk, *of, ids[*of]).await;
                }
                fault.into_iter().for_each(Absent::end);
                drop(desk.ledger.write().await.unwrap());
                let mut all = Vec::new();
                for id in ids {
                    let payment = desk.ledger.payment(id).await.unwrap().unwrap();
                    all.push((payment.state, payment.result, payment.confirmation, desk.kinds(id).await));
                }
                said.push(all);
            }
            assert_eq!(said[0], said[1]);
        });
    }
}
