//! Scenarios about the amount to charge and its confirmation.

use super::{
    ASKED_FOR_25, ASKS_ABOUT_BILL, ASKS_TO_PAY, ASKS_TO_STORE, BILL, ENDS_CALL, ENTERS_CARD, GETS_A_PERSON, STORED,
    scenario,
};
use crate::simulator::caller::CallerStep::{self, Hears, Says, WaitsForCallEnd};
use crate::simulator::openai::{AgentHabits, ModelBehaviour};
use crate::simulator::scenario::{Expectation, Scenario};
use crate::simulator::twilio::PaymentsRequest;

/// The scenarios, in the order in which they are listed.
pub(super) fn all() -> Vec<Scenario> {
    vec![
        amount_due("amount-due", "The business says what the call is about: 25 dollars are due, and charged.")
            .with_expectations(&[
                Expectation::ToolCalled("start-capture", 1),
                Expectation::ToolCalled("confirm-amount", 0),
            ]),
        amount_due(
            "amount-changed",
            "The model wants ten times the amount that is due: it is refused, and nothing else is charged.",
        )
        .with_model(habits(AgentHabits { overcharges: true, ..AgentHabits::default() }))
        .with_expectations(&[Expectation::ToolCalled("start-capture", 2)]),
        amount_not_confirmed(),
        caller_says_no(),
        unclear_answer(),
        scenario("nothing-due", "The business says that nothing is due: the card is stored.")
            .with_script(&[ASKS_TO_STORE, ENTERS_CARD, ENDS_CALL])
            .with_call_parameters(r#"{"amountDue": 0}"#)
            .with_expectations(STORED),
    ]
}

/// The expectations when 25 dollars are charged once.
const CHARGED: &[Expectation] = &[
    Expectation::PaymentsCreated(&[Some("25.00")]),
    Expectation::Results(&["success"]),
    Expectation::RequestDone(PaymentsRequest::Create, 1),
    Expectation::Says("your payment went through"),
];

fn amount_due(name: &'static str, about: &'static str) -> Scenario {
    scenario(name, about)
        .with_script(&[ASKS_ABOUT_BILL, ENTERS_CARD, ENDS_CALL])
        .with_call_parameters(BILL)
        .with_expectations(CHARGED)
}

fn amount_not_confirmed() -> Scenario {
    scenario(
        "amount-not-confirmed",
        "The model begins to charge before the caller said yes: it is refused until the caller is asked.",
    )
    .with_script(&[ASKS_TO_PAY, ENTERS_CARD, ENDS_CALL])
    .with_model(habits(AgentHabits { charges_unasked: true, ..AgentHabits::default() }))
    .with_expectations(CHARGED)
    .with_expectations(&[Expectation::ToolCalled("start-capture", 2), Expectation::ToolCalled("confirm-amount", 1)])
}

fn caller_says_no() -> Scenario {
    let refuses =
        [Says("No, absolutely not."), Hears("nothing is charged"), Says("That's all, goodbye."), WaitsForCallEnd];
    scenario("caller-says-no", "The server asks for a yes to the amount, and the caller says no: no payment is begun.")
        .with_script(&[ASKS_TO_PAY_25, &refuses])
        .with_expectations(NOTHING_BEGUN)
        .with_expectations(&[Expectation::DeveloperMessage("the caller said no to 25.00 USD"), Expectation::NoHandOff])
}

fn unclear_answer() -> Scenario {
    let mumbles =
        [Says("Well, maybe next week."), Hears(ASKED_FOR_25), Says("Yes, but only 5 dollars."), Hears("clear answer")];
    scenario(
        "unclear-answer",
        "The caller answers neither yes nor no: the server asks once more, then a person is offered, and nothing is charged.",
    )
    .with_script(&[ASKS_TO_PAY_25, &mumbles, GETS_A_PERSON])
    .with_expectations(NOTHING_BEGUN)
    .with_expectations(&[Expectation::DeveloperMessage("got no clear answer"), Expectation::HandOff])
}

/// The caller names an amount, and the server asks for confirmation.
const ASKS_TO_PAY_25: &[CallerStep] =
    &[Hears(""), Says("Hello, I'd like to pay my bill of 25 dollars."), Hears(ASKED_FOR_25)];

/// The expectations when no payment is created.
const NOTHING_BEGUN: &[Expectation] = &[
    Expectation::PaymentsCreated(&[]),
    Expectation::ToolCalled("confirm-amount", 1),
    Expectation::ToolCalled("start-capture", 0),
];

fn habits(habits: AgentHabits) -> ModelBehaviour {
    ModelBehaviour { habits, ..ModelBehaviour::default() }
}
