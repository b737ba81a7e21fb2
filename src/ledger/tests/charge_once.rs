//! Property test over random steps: an order is charged at most once, and the ledger claims no state that the bank
//! contradicts. A payment may always be unknown.

mod bank;
mod model;

use proptest::prelude::*;
use proptest::sample::Index;

use bank::BankDecision;
use model::LedgerModel;

/// A step of the test. Calls are the first or the second line.
#[derive(Debug, Clone)]
enum ChargeOnceStep {
    /// A call starts a payment, and Twilio responds.
    BeginPayment(usize, CreateReply),
    /// Both calls start a payment at the same time.
    BeginBoth,
    /// A call submits its payment.
    Submit(usize, Submission),
    /// Both calls submit at the same time.
    SubmitBoth(BankDecision),
    /// Twilio's late responses arrive.
    DeliverLateResponses,
    /// Twilio reports a result of a session, first or again.
    ReportResult {
        session: Index,
        which: Index,
    },
    /// The caller hangs up and calls again.
    Redial(usize),
    /// The server is killed and started again.
    RestartServer,
    /// Another process locks the file for a short time.
    LockDatabase,
    /// The disk is full until it is freed.
    FillDisk,
    FreeDisk,
}

/// What Twilio does with a request to create a session, and whether its response arrives.
#[derive(Debug, Clone, Copy)]
enum CreateReply {
    Created,
    CreatedResponseLost,
    Refused,
}

#[derive(Debug, Clone, Copy)]
struct Submission {
    /// What Twilio does: `Err` refuses the submission with this code.
    decision: Result<BankDecision, u32>,
    /// When the response arrives.
    timing: ResponseTiming,
}

#[derive(Debug, Clone, Copy)]
enum ResponseTiming {
    Immediate,
    Late,
    Lost,
}

fn step() -> impl Strategy<Value = ChargeOnceStep> {
    let bank = || prop_oneof![4 => Just(BankDecision::Charge), 2 => Just(BankDecision::Decline), 1 => Just(BankDecision::NotAsked)];
    let opening = prop_oneof![6 => Just(CreateReply::Created), 1 => Just(CreateReply::CreatedResponseLost), 1 => Just(CreateReply::Refused)];
    let does = prop_oneof![3 => bank().prop_map(Ok), 1 => prop::sample::select(vec![Err(64012), Err(64018)])];
    let hears = prop_oneof![4 => Just(ResponseTiming::Immediate), 1 => Just(ResponseTiming::Late), 3 => Just(ResponseTiming::Lost)];
    let submission = (does, hears).prop_map(|(does, hears)| Submission { decision: does, timing: hears });
    let reports =
        (any::<Index>(), any::<Index>()).prop_map(|(session, which)| ChargeOnceStep::ReportResult { session, which });
    prop_oneof![
        6 => (0..2_usize, opening).prop_map(|(line, opening)| ChargeOnceStep::BeginPayment(line, opening)),
        2 => Just(ChargeOnceStep::BeginBoth),
        6 => (0..2_usize, submission).prop_map(|(line, submission)| ChargeOnceStep::Submit(line, submission)),
        2 => bank().prop_map(ChargeOnceStep::SubmitBoth),
        1 => Just(ChargeOnceStep::DeliverLateResponses),
        6 => reports,
        2 => (0..2_usize).prop_map(ChargeOnceStep::Redial),
        1 => Just(ChargeOnceStep::RestartServer),
        1 => Just(ChargeOnceStep::LockDatabase),
        1 => Just(ChargeOnceStep::FillDisk),
        2 => Just(ChargeOnceStep::FreeDisk),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn order_is_charged_at_most_once_and_no_state_contradicts_the_bank(
        steps in prop::collection::vec(step(), 1..28),
        reference in prop::sample::select(vec![Some("invoice-7"), None]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = LedgerModel::new(reference).await;
            for step in steps {
                world.apply(step).await;
                world.check_states().await?;
            }
            world.finish().await
        })?;
    }
}
