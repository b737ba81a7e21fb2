//! The scenarios, by name, and the pieces that they are made of.

mod amounts;
mod conversations;
mod deliveries;
mod drains;
mod endings;
mod entries;
mod faults;
mod guards;
mod guided;
mod hand_offs;
mod methods;
mod models;
mod orders;
mod outbound;
mod outcomes;

use super::{Begins, Expect, Scenario};
use crate::simulator::caller::Step::{self, Enters, Hears, IsLetGo, Says};
use crate::simulator::house::Tuning;
use crate::simulator::openai::Behaviour;
use crate::simulator::twilio::Field::{CardNumber, ExpirationDate, SecurityCode};
use crate::simulator::twilio::{Quirks, Request};

/// Every scenario, the happy path first.
pub fn all() -> Vec<Scenario> {
    [
        conversations::all(),
        amounts::all(),
        hand_offs::all(),
        outbound::all(),
        orders::all(),
        outcomes::all(),
        faults::all(),
        entries::all(),
        guards::all(),
        guided::all(),
        methods::all(),
        endings::all(),
        drains::all(),
        deliveries::all(),
        models::all(),
    ]
    .concat()
}

const VISA: &str = "4242424242424242";
const DATE: &str = "1229";
const CODE: &str = "731";

/// What the business says of a call about a bill.
const BILL: &str =
    r#"{"amountDue": "25.00", "currency": "USD", "description": "Invoice 7", "callReference": "order-7"}"#;

const ASKS_TO_STORE: &[Step] =
    &[Hears(""), Says("Hi, I'd like to put a card on file, please."), Hears("go ahead"), Says("Yes, please.")];
const ASKS_TO_PAY: &[Step] =
    &[Hears(""), Says("Hello, I'd like to pay my bill of 25 dollars."), Hears(ASKED_FOR_25), Says("Yes, go ahead.")];
/// What the server asks before an amount is charged.
const ASKED_FOR_25: &str = "25 dollars, charged to your card now|25 dollars, taken from your bank account now";
const ASKS_ABOUT_BILL: &[Step] =
    &[Hears(""), Says("Hello, I'd like to pay my bill."), Hears("25.00"), Says("Yes, go ahead.")];
const ENTERS_CARD: &[Step] = &[Enters(CardNumber, VISA), Enters(SecurityCode, CODE), Enters(ExpirationDate, DATE)];
const LEAVES: &[Step] = &[Hears("All set"), Says("No, that's all, thank you. Goodbye!"), IsLetGo];
const SAYS_GOODBYE: &[Step] = &[Says("No, that's all, thank you. Goodbye!"), IsLetGo];
const GETS_A_PERSON: &[Step] = &[Says("Can I talk to a person, please?"), IsLetGo];

/// What holds when a card was stored.
const STORED: &[Expect] = &[
    Expect::Payments(&[None]),
    Expect::Results(&["success"]),
    Expect::Does(Request::Complete, 1),
    Expect::Says("your card is stored"),
    Expect::SessionEnds("ended"),
    Expect::NoHandOff,
];

/// What holds when nothing came of a payment.
const NOTHING_PAID: &[Expect] = &[Expect::Does(Request::Complete, 0), Expect::NeverSays("All set")];

/// A scenario in which nobody has said or done anything yet.
fn scenario(name: &'static str, about: &'static str) -> Scenario {
    Scenario {
        name,
        about,
        begins: Begins::CallerRings,
        script: Vec::new(),
        other_line: Vec::new(),
        twilio: Quirks::default(),
        model: Behaviour::default(),
        server: Tuning::default(),
        expect: Vec::new(),
    }
}

/// A scenario in which a caller stores a card, and gets what was wanted.
fn stores_a_card(name: &'static str, about: &'static str) -> Scenario {
    scenario(name, about).plays(&[ASKS_TO_STORE, ENTERS_CARD, LEAVES]).expects(STORED)
}

impl Scenario {
    /// What the caller does, one part after the other.
    fn plays(self, parts: &[&[Step]]) -> Self {
        Self { script: parts.concat(), ..self }
    }

    /// What has to hold, too.
    fn expects(mut self, expect: &[Expect]) -> Self {
        self.expect.extend_from_slice(expect);
        self
    }

    fn with_twilio(self, twilio: Quirks) -> Self {
        Self { twilio, ..self }
    }

    fn with_model(self, model: Behaviour) -> Self {
        Self { model, ..self }
    }

    /// The business knows this of the call.
    fn with_business(self, knows: &'static str) -> Self {
        Self { server: Tuning { business: Some(knows), ..self.server }, ..self }
    }

    fn with_server(self, server: Tuning) -> Self {
        Self { server, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_has_a_name_of_its_own_and_something_to_prove() {
        let scenarios = all();
        for (at, scenario) in scenarios.iter().enumerate() {
            assert!(scenarios[..at].iter().all(|it| it.name != scenario.name), "{} is there twice", scenario.name);
            assert!(!scenario.script.is_empty() && !scenario.expect.is_empty(), "{} proves nothing", scenario.name);
        }
        assert_eq!(scenarios[0].name, "happy-path");
    }
}
