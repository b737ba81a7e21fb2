//! Scenarios with outbound calls.

use serde_json::{Value, json};

use super::{ASKS_TO_PAY, ENDS_CALL, ENTERS_CARD, SAYS_GOODBYE, scenario};
use crate::simulator::caller::CallerStep::{Hears, OperatorOrdersCall, Says, WaitsForCallEnd};
use crate::simulator::relay::CallDirection;
use crate::simulator::scenario::{Expectation, Scenario};
use crate::simulator::server_under_test::ServerOverrides;
use crate::simulator::twilio::{PaymentsRequest, Quirks};

/// The scenarios, in the order in which they are listed.
pub(super) fn all() -> Vec<Scenario> {
    vec![
        pays(
            "outbound",
            "An operator has a customer called, who pays; Twilio's call status callbacks arrive out of order.",
            bill,
        )
        .with_expectations(&[Expectation::CallPlaced { inline: false }]),
        pays("outbound-large", "The order is large: Twilio requests its TwiML by URL, once.", long_bill)
            .with_expectations(&[Expectation::CallPlaced { inline: false }]),
        answering_machine(),
        do_not_call(),
    ]
}

fn do_not_call() -> Scenario {
    let asks = [
        // The first sentence says who calls.
        Hears("This is the automated AI assistant of Acme. Do you have a moment?"),
        OperatorOrdersCall("order-without-consent", 422),
        Says("Please do not call me again."),
        Hears("will not call you again"),
        OperatorOrdersCall("order-8", 409),
    ];
    let call = scenario(
        "do-not-call",
        "A person who is called asks not to be called again: the number is on the list, and the next order is refused.",
    )
    .with_script(&[&asks, SAYS_GOODBYE])
    .with_server(ServerOverrides {
        config: r#"{"Compliance": {"outbound": {"requireConsent": true}}, "ConversationRelay": {"Configuration": {
            "welcomeGreeting": "Welcome to our line.", "events": "speaker-events tokens-played"}}}"#,
        vars: &[("BUSINESS_NAME", "Acme")],
        ..ServerOverrides::default()
    })
    .with_expectations(&[
        Expectation::CallPlaced { inline: false },
        Expectation::ToolCalled("do-not-call", 1),
        Expectation::NeverSays("Welcome to our line."),
        Expectation::SessionEnds("ended"),
    ]);
    Scenario { direction: CallDirection::Outbound(consented), ..call }
}

fn answering_machine() -> Scenario {
    let call = scenario(
        "answering-machine",
        "A machine answers an outbound call: it hears a sentence without amount and reference, and no agent.",
    )
    .with_script(&[&[Hears("We tried to reach you"), WaitsForCallEnd]])
    .with_quirks(Quirks { answered_by: "machine_end_beep", ..Quirks::default() })
    .with_expectations(&[
        Expectation::CallPlaced { inline: false },
        Expectation::PaymentsCreated(&[]),
        Expectation::NeverSays("25.00"),
        Expectation::NeverSays("invoice"),
        Expectation::SessionEnds("never begun"),
        Expectation::CallEndNotified("answering-machine", ""),
    ]);
    Scenario { direction: CallDirection::Outbound(bill), ..call }
}

fn pays(name: &'static str, about: &'static str, properties: fn() -> Value) -> Scenario {
    let call = scenario(name, about).with_script(&[ASKS_TO_PAY, ENTERS_CARD, ENDS_CALL]).with_expectations(&[
        Expectation::DeveloperMessage("you called this person"),
        Expectation::DeveloperMessage("invoice 1042"),
        Expectation::PaymentsCreated(&[Some("25.00")]),
        Expectation::Results(&["success"]),
        Expectation::RequestDone(PaymentsRequest::Complete, 1),
        Expectation::SessionEnds("ended"),
    ]);
    Scenario { direction: CallDirection::Outbound(properties), ..call }
}

fn bill() -> Value {
    json!({"callReference": "order-7", "customer": "Ann & Bob", "items": [{"about": "invoice 1042"}]})
}

fn consented() -> Value {
    let consent = json!({"kind": "web-form", "at": "2024-05-01T09:30:00Z", "reference": "form-17"});
    json!({"callReference": "order-7", "about": "invoice 1042", "consent": consent})
}

/// Properties whose TwiML exceeds the limit of `Twiml`.
fn long_bill() -> Value {
    json!({"callReference": "order-8", "about": "invoice 1042", "notes": "Tea & cake. ".repeat(400)})
}
