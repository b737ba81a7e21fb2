//! What is charged, and who says so.

use super::{
    ASKED_FOR_25, ASKS_ABOUT_BILL, ASKS_TO_PAY, ASKS_TO_STORE, BILL, ENTERS_CARD, GETS_A_PERSON, LEAVES, STORED,
    scenario,
};
use crate::simulator::caller::Step::{self, Hears, IsLetGo, Says};
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
        caller_says_no(),
        unclear_answer(),
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
    scenario(
        "amount-not-confirmed",
        "The model begins to charge before the caller said yes: it is told to have the caller asked first.",
    )
    .plays(&[ASKS_TO_PAY, ENTERS_CARD, LEAVES])
    .with_model(habits(Habits { hasty: true, ..Habits::default() }))
    .expects(CHARGED)
    .expects(&[Expect::Calls("start-capture", 2), Expect::Calls("confirm-amount", 1)])
}

fn caller_says_no() -> Scenario {
    let refuses = [Says("No, absolutely not."), Hears("nothing is charged"), Says("That's all, goodbye."), IsLetGo];
    scenario("caller-says-no", "The server asks for a yes to the amount, and the caller says no: no payment is begun.")
        .plays(&[ASKS_TO_PAY_25, &refuses])
        .expects(NOTHING_BEGUN)
        .expects(&[Expect::Tells("the caller said no to 25.00 USD"), Expect::NoHandOff])
}

fn unclear_answer() -> Scenario {
    let mumbles =
        [Says("Well, maybe next week."), Hears(ASKED_FOR_25), Says("Yes, but only 5 dollars."), Hears("clear answer")];
    scenario(
        "unclear-answer",
        "The caller answers neither yes nor no: the server asks once more, then a person is offered, and nothing is charged.",
    )
    .plays(&[ASKS_TO_PAY_25, &mumbles, GETS_A_PERSON])
    .expects(NOTHING_BEGUN)
    .expects(&[Expect::Tells("got no clear answer"), Expect::HandsOff])
}

/// The caller names an amount, and the server asks for a yes to it.
const ASKS_TO_PAY_25: &[Step] =
    &[Hears(""), Says("Hello, I'd like to pay my bill of 25 dollars."), Hears(ASKED_FOR_25)];

/// What holds when no payment was begun.
const NOTHING_BEGUN: &[Expect] =
    &[Expect::Payments(&[]), Expect::Calls("confirm-amount", 1), Expect::Calls("start-capture", 0)];

fn habits(habits: Habits) -> Behaviour {
    Behaviour { habits, ..Behaviour::default() }
}
