//! What is charged, and who says so.

use super::{ASKS_ABOUT_BILL, ASKS_TO_PAY, ASKS_TO_STORE, BILL, ENTERS_CARD, LEAVES, STORED, scenario};
use crate::simulator::openai::{Behaviour, Habits};
use crate::simulator::scenario::{Expect, Scenario};
use crate::simulator::twilio::Request;

/// The scenarios, in the order in which they are listed.
pub fn all() -> Vec<Scenario> {
    vec![
        amount_due("amount-due", "The business says what the call is about: 25 dollars are due, and charged.")
            .expects(&[Expect::Calls("start-capture", 1), Expect::Calls("confirm-amount", 0)]),
        amount_due(
            "amount-changed",
            "The model wants ten times the amount that is due: it is refused, and nothing else is charged.",
        )
        .with_model(habits(Habits { greedy: true, ..Habits::default() }))
        .expects(&[Expect::Calls("start-capture", 2)]),
        amount_not_confirmed(),
        scenario("nothing-due", "The business says that nothing is due: the card is stored.")
            .plays(&[ASKS_TO_STORE, ENTERS_CARD, LEAVES])
            .with_business(r#"{"amountDue": 0}"#)
            .expects(STORED),
    ]
}

/// What holds when 25 dollars were charged, once.
const CHARGED: &[Expect] = &[
    Expect::Payments(&[Some("25.00")]),
    Expect::Results(&["success"]),
    Expect::Does(Request::Create, 1),
    Expect::Says("your payment went through"),
];

fn amount_due(name: &'static str, about: &'static str) -> Scenario {
    scenario(name, about).plays(&[ASKS_ABOUT_BILL, ENTERS_CARD, LEAVES]).with_business(BILL).expects(CHARGED)
}

fn amount_not_confirmed() -> Scenario {
    scenario("amount-not-confirmed", "The model begins to charge before the caller said yes: it is told to ask first.")
        .plays(&[ASKS_TO_PAY, ENTERS_CARD, LEAVES])
        .with_model(habits(Habits { hasty: true, ..Habits::default() }))
        .expects(CHARGED)
        .expects(&[Expect::Calls("start-capture", 2), Expect::Calls("confirm-amount", 1)])
}

fn habits(habits: Habits) -> Behaviour {
    Behaviour { habits, ..Behaviour::default() }
}
