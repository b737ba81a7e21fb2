//! Scenarios in which an order is paid once, over several calls and servers.

use super::{ASKS_ABOUT_BILL, ASKS_TO_PAY, BILL, ENDS_CALL, ENTERS_CARD, GETS_A_PERSON, SAYS_GOODBYE, scenario};
use crate::simulator::caller::CallerStep::{
    self, Branches, HangsUp, Hears, OperatorOrdersCall, Redials, Says, ServerDies,
};
use crate::simulator::scenario::{Expectation, Scenario};
use crate::simulator::twilio::{PaymentsRequest, Quirks, ScriptedSubmission};

/// The scenarios, in the order in which they are listed.
pub(super) fn all() -> Vec<Scenario> {
    vec![two_lines(), redial_while_unknown(), redial_after_payment(), outlives_its_server(), outlives_with_amount_due()]
}

/// Pays unless the order is being paid on another call.
const PAYS_IF_NO_OTHER_LINE_DOES: CallerStep = Branches {
    hears: "another line",
    then: SAYS_GOODBYE,
    otherwise: &[ENTERS_CARD[0], ENTERS_CARD[1], ENTERS_CARD[2], ENDS_CALL[0], ENDS_CALL[1], ENDS_CALL[2]],
};

fn two_lines() -> Scenario {
    let call = [ASKS_ABOUT_BILL, &[PAYS_IF_NO_OTHER_LINE_DOES]];
    let about = "Two callers pay one order at the same moment: one is charged, the other hears that it is being paid.";
    let scenario = scenario("two-lines", about).with_script(&call).with_call_parameters(BILL).with_expectations(&[
        Expectation::PaymentsCreated(&[Some("25.00")]),
        Expectation::BankCharges(&[Some("25.00")]),
        Expectation::LedgerStates(&[&["charged"]]),
        Expectation::BusinessNotified(&["charged"]),
        Expectation::ToolCalled("start-capture", 2),
        Expectation::OneCallerHears("your payment went through", "another line"),
        Expectation::OneCallerHears("another line", "your payment went through"),
    ]);
    Scenario { second_script: call.concat(), ..scenario }
}

const ASKS_AGAIN: CallerStep = Says("I'd like to pay my bill now.");

fn redial_while_unknown() -> Scenario {
    let redials =
        [Hears("One moment"), HangsUp, Redials, Hears(""), ASKS_AGAIN, Hears("may have been charged already")];
    let about =
        "The caller hangs up before the result comes and calls again: a person looks it up, and nothing is paid twice.";
    scenario("redial-while-unknown", about)
        .with_script(&[
            ASKS_ABOUT_BILL,
            ENTERS_CARD,
            &redials,
            &[Says("Yes, go ahead."), Hears("may have been charged already")],
            GETS_A_PERSON,
        ])
        .with_call_parameters(BILL)
        .with_quirks(Quirks { submissions: vec![ScriptedSubmission::new(true, &[])], ..Quirks::default() })
        .with_expectations(&[
            Expectation::DeveloperMessage("For this order already: 25.00 USD was submitted"),
            Expectation::PaymentsCreated(&[Some("25.00")]),
            Expectation::BankCharges(&[Some("25.00")]),
            Expectation::RequestDone(PaymentsRequest::Complete, 1),
            Expectation::LedgerStates(&[&["unknown"]]),
            Expectation::BusinessNotified(&["unknown"]),
            Expectation::NeverSays("All set"),
            Expectation::ToolCalled("start-capture", 2),
            Expectation::HandOff,
        ])
}

/// The expectations when 25 dollars are charged once.
const CHARGED_ONCE: &[Expectation] = &[
    Expectation::PaymentsCreated(&[Some("25.00")]),
    Expectation::BankCharges(&[Some("25.00")]),
    Expectation::LedgerStates(&[&["charged"]]),
    Expectation::BusinessNotified(&["charged"]),
    Expectation::Says("your payment went through"),
];

fn redial_after_payment() -> Scenario {
    let redials = [Redials, Hears(""), ASKS_AGAIN, Hears("was paid already")];
    let about =
        "The caller has paid and calls again: nothing more is charged, and no operator has the caller called for it.";
    scenario("redial-after-payment", about)
        .with_script(&[
            ASKS_ABOUT_BILL,
            ENTERS_CARD,
            ENDS_CALL,
            &redials,
            &[Says("Yes, go ahead."), Hears("was paid already")],
            SAYS_GOODBYE,
            &[OperatorOrdersCall("order-7", 409)],
        ])
        .with_call_parameters(BILL)
        .with_expectations(CHARGED_ONCE)
        .with_expectations(&[
            Expectation::DeveloperMessage("For this order already: 25.00 USD was paid"),
            Expectation::ToolCalled("start-capture", 2),
        ])
}

fn outlives_its_server() -> Scenario {
    let about =
        "The server dies after a charge that the caller agreed to, and the call goes on: the next one knows of it.";
    scenario("outlives-its-server", about)
        .with_script(&[
            ASKS_TO_PAY,
            ENTERS_CARD,
            &[Hears("All set"), ServerDies, Hears("This was paid already")],
            SAYS_GOODBYE,
        ])
        .with_expectations(CHARGED_ONCE)
        .with_expectations(&[Expectation::DeveloperMessage("On this call already: 25.00 USD was paid")])
}

fn outlives_with_amount_due() -> Scenario {
    let about = "The server dies after what was due is charged: on the same call nothing is charged again.";
    scenario("outlives-its-server-due", about)
        .with_script(&[
            ASKS_ABOUT_BILL,
            ENTERS_CARD,
            &[Hears("All set"), ServerDies, Hears("This was paid already"), ASKS_AGAIN],
            &[Hears("25.00"), Says("Yes, go ahead."), Hears("was paid already")],
            SAYS_GOODBYE,
        ])
        .with_call_parameters(BILL)
        .with_expectations(CHARGED_ONCE)
        .with_expectations(&[
            Expectation::DeveloperMessage("On this call already: 25.00 USD was paid"),
            Expectation::ToolCalled("start-capture", 2),
        ])
}
