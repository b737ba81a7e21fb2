//! Calls that an operator has placed.

use serde_json::{Value, json};

use super::{ASKS_TO_PAY, ENTERS_CARD, LEAVES, scenario};
use crate::simulator::scenario::{Begins, Expect, Scenario};
use crate::simulator::twilio::Request;

/// The scenarios, in the order in which they are listed.
pub fn all() -> Vec<Scenario> {
    vec![
        pays(
            "outbound",
            "An operator has somebody called, who pays; Twilio's reports of the call come in disorder.",
            bill,
        )
        .expects(&[Expect::PlacesCall { inline: true }]),
        pays("outbound-large", "The order holds so much that Twilio has to ask for the TwiML, once.", long_bill)
            .expects(&[Expect::PlacesCall { inline: false }]),
    ]
}

fn pays(name: &'static str, about: &'static str, properties: fn() -> Value) -> Scenario {
    let call = scenario(name, about).plays(&[ASKS_TO_PAY, ENTERS_CARD, LEAVES]).expects(&[
        Expect::Tells("you called this person"),
        Expect::Tells("invoice 1042"),
        Expect::Payments(&[Some("25.00")]),
        Expect::Results(&["success"]),
        Expect::Does(Request::Complete, 1),
        Expect::SessionEnds("ended"),
    ]);
    Scenario { begins: Begins::OperatorCalls(properties), ..call }
}

fn bill() -> Value {
    json!({"callReference": "order-7", "customer": "Ann & Bob", "items": [{"about": "invoice 1042"}]})
}

/// More than fits into the request.
fn long_bill() -> Value {
    json!({"callReference": "order-8", "about": "invoice 1042", "notes": "Tea & cake. ".repeat(400)})
}
