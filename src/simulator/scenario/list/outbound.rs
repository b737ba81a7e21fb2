//! Scenarios with outbound calls.

use serde_json::{Value, json};

use super::{ASKS_TO_PAY, ENDS_CALL, ENTERS_CARD, scenario};
use crate::simulator::caller::CallerStep::{Hears, WaitsForCallEnd};
use crate::simulator::relay::CallDirection;
use crate::simulator::scenario::{Expectation, Scenario};
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
    ]
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

/// Properties whose TwiML exceeds the limit of `Twiml`.
fn long_bill() -> Value {
    json!({"callReference": "order-8", "about": "invoice 1042", "notes": "Tea & cake. ".repeat(400)})
}
