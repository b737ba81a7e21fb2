//! Whatever happens, and in whatever order: an order is charged once at most, and the ledger claims nothing that the bank does
//! not hold. That a payment is unknown may always be said.

mod bank;
mod world;

use proptest::prelude::*;
use proptest::sample::Index;

use bank::Bank;
use world::World;

/// Something that happens. Calls are the first or the second line.
#[derive(Debug, Clone)]
enum Step {
    /// A call begins a payment, and Twilio answers.
    Begins(usize, Opening),
    /// Both calls begin a payment at the same moment.
    BothBegin,
    /// A call submits its payment.
    Submits(usize, Submission),
    /// Both calls submit at the same moment.
    BothSubmit(Bank),
    /// Answers of Twilio's that were late arrive.
    AnswersArrive,
    /// Twilio reports a result of a session, the first time or once more.
    Reports {
        session: Index,
        which: Index,
    },
    /// The caller hangs up and calls again.
    Redials(usize),
    /// The server is killed and started again.
    Restarts,
    /// Another process locks the file for a moment.
    IsLocked,
    /// The disk is full until it has room again.
    DiskFills,
    DiskHasRoom,
}

/// What Twilio does with a request for a session, and what the server hears of it.
#[derive(Debug, Clone, Copy)]
enum Opening {
    Opens,
    OpensUnheard,
    Refuses,
}

#[derive(Debug, Clone, Copy)]
struct Submission {
    /// What Twilio does with it: `Err` refuses it with this code.
    does: Result<Bank, u32>,
    /// How the server hears of that.
    hears: Hears,
}

#[derive(Debug, Clone, Copy)]
enum Hears {
    AtOnce,
    Late,
    Never,
}

fn step() -> impl Strategy<Value = Step> {
    let bank = || prop_oneof![4 => Just(Bank::Charges), 2 => Just(Bank::Declines), 1 => Just(Bank::IsNotAsked)];
    let opening = prop_oneof![6 => Just(Opening::Opens), 1 => Just(Opening::OpensUnheard), 1 => Just(Opening::Refuses)];
    let does = prop_oneof![3 => bank().prop_map(Ok), 1 => prop::sample::select(vec![Err(64012), Err(64018)])];
    let hears = prop_oneof![4 => Just(Hears::AtOnce), 1 => Just(Hears::Late), 3 => Just(Hears::Never)];
    let submission = (does, hears).prop_map(|(does, hears)| Submission { does, hears });
    let reports = (any::<Index>(), any::<Index>()).prop_map(|(session, which)| Step::Reports { session, which });
    prop_oneof![
        6 => (0..2_usize, opening).prop_map(|(line, opening)| Step::Begins(line, opening)),
        2 => Just(Step::BothBegin),
        6 => (0..2_usize, submission).prop_map(|(line, submission)| Step::Submits(line, submission)),
        2 => bank().prop_map(Step::BothSubmit),
        1 => Just(Step::AnswersArrive),
        6 => reports,
        2 => (0..2_usize).prop_map(Step::Redials),
        1 => Just(Step::Restarts),
        1 => Just(Step::IsLocked),
        1 => Just(Step::DiskFills),
        2 => Just(Step::DiskHasRoom),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn an_order_is_charged_once_at_most_and_nothing_is_claimed_that_the_bank_does_not_hold(
        steps in prop::collection::vec(step(), 1..28),
        reference in prop::sample::select(vec![Some("invoice-7"), None]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new(reference).await;
            for step in steps {
                world.happens(step).await;
                world.claims_nothing_untrue().await?;
            }
            world.ends().await
        })?;
    }
}
