//! The scenarios and their common parts.

mod amounts;
mod conversations;
mod deliveries;
mod drains;
mod endings;
mod entries;
mod faults;
mod flowise;
mod guided;
mod hand_offs;
mod languages;
mod mcp;
mod methods;
mod model_sockets;
mod models;
mod orders;
mod outbound;
mod outcomes;
mod own_tools;
mod receipts;
mod recordings;
mod several_servers;
mod usage_limits;
mod velocity_limits;

use super::{Expectation, Scenario};
use crate::simulator::caller::CallerStep::{self, Enters, Hears, Says, WaitsForCallEnd};
use crate::simulator::flowise::FlowiseBehaviour;
use crate::simulator::openai::ModelBehaviour;
use crate::simulator::relay::CallDirection;
use crate::simulator::server_under_test::ServerOverrides;
use crate::simulator::twilio::CaptureField::{CardNumber, ExpirationDate, SecurityCode};
use crate::simulator::twilio::{PaymentsRequest, Quirks};

/// Every scenario, the happy path first.
pub(crate) fn all() -> Vec<Scenario> {
    [
        conversations::all(),
        amounts::all(),
        hand_offs::all(),
        outbound::all(),
        orders::all(),
        own_tools::all(),
        outcomes::all(),
        receipts::all(),
        faults::all(),
        entries::all(),
        velocity_limits::all(),
        usage_limits::all(),
        recordings::all(),
        guided::all(),
        languages::all(),
        methods::all(),
        endings::all(),
        drains::all(),
        deliveries::all(),
        several_servers::all(),
        models::all(),
        model_sockets::all(),
        mcp::all(),
        flowise::all(),
    ]
    .concat()
}

const VISA: &str = "4242424242424242";
const DATE: &str = "1229";
const CODE: &str = "731";

/// The business's parameters of a call about a bill.
const BILL: &str =
    r#"{"amountDue": "25.00", "currency": "USD", "description": "Invoice 7", "callReference": "order-7"}"#;

const ASKS_TO_STORE: &[CallerStep] =
    &[Hears(""), Says("Hi, I'd like to put a card on file, please."), Hears("go ahead"), Says("Yes, please.")];
const ASKS_TO_PAY: &[CallerStep] =
    &[Hears(""), Says("Hello, I'd like to pay my bill of 25 dollars."), Hears(ASKED_FOR_25), Says("Yes, go ahead.")];
/// What the server asks before an amount is charged.
const ASKED_FOR_25: &str = "25 dollars, charged to your card now|25 dollars, taken from your bank account now";
const ASKS_ABOUT_BILL: &[CallerStep] =
    &[Hears(""), Says("Hello, I'd like to pay my bill."), Hears("25.00"), Says("Yes, go ahead.")];
const ENTERS_CARD: &[CallerStep] =
    &[Enters(CardNumber, VISA), Enters(SecurityCode, CODE), Enters(ExpirationDate, DATE)];
const ENDS_CALL: &[CallerStep] = &[Hears("All set"), Says("No, that's all, thank you. Goodbye!"), WaitsForCallEnd];
const SAYS_GOODBYE: &[CallerStep] = &[Says("No, that's all, thank you. Goodbye!"), WaitsForCallEnd];
const GETS_A_PERSON: &[CallerStep] = &[Says("Can I talk to a person, please?"), WaitsForCallEnd];

/// The expectations when a card is stored.
const STORED: &[Expectation] = &[
    Expectation::PaymentsCreated(&[None]),
    Expectation::Results(&["success"]),
    Expectation::RequestDone(PaymentsRequest::Complete, 1),
    Expectation::Says("your card is stored"),
    Expectation::SessionEnds("ended"),
    Expectation::NoHandOff,
];

/// The expectations when a payment is not completed.
const NOTHING_PAID: &[Expectation] =
    &[Expectation::RequestDone(PaymentsRequest::Complete, 0), Expectation::NeverSays("All set")];

/// Creates a scenario without a script.
fn scenario(name: &'static str, about: &'static str) -> Scenario {
    Scenario {
        name,
        description: about,
        direction: CallDirection::Inbound,
        script: Vec::new(),
        second_script: Vec::new(),
        quirks: Quirks::default(),
        model_behaviour: ModelBehaviour::default(),
        flowise_behaviour: FlowiseBehaviour::default(),
        server_overrides: ServerOverrides::default(),
        expectations: Vec::new(),
    }
}

/// Creates a scenario in which a caller stores a card successfully.
fn stores_a_card(name: &'static str, about: &'static str) -> Scenario {
    scenario(name, about).with_script(&[ASKS_TO_STORE, ENTERS_CARD, ENDS_CALL]).with_expectations(STORED)
}

impl Scenario {
    /// Sets the caller's script, in parts.
    fn with_script(self, parts: &[&[CallerStep]]) -> Self {
        Self { script: parts.concat(), ..self }
    }

    /// Adds expectations.
    fn with_expectations(mut self, expect: &[Expectation]) -> Self {
        self.expectations.extend_from_slice(expect);
        self
    }

    fn with_quirks(self, twilio: Quirks) -> Self {
        Self { quirks: twilio, ..self }
    }

    fn with_model(self, model: ModelBehaviour) -> Self {
        Self { model_behaviour: model, ..self }
    }

    fn with_flowise(self, flowise: FlowiseBehaviour) -> Self {
        Self { flowise_behaviour: flowise, ..self }
    }

    /// Sets the business's parameters of the call.
    fn with_call_parameters(self, knows: &'static str) -> Self {
        Self { server_overrides: ServerOverrides { call_parameters: Some(knows), ..self.server_overrides }, ..self }
    }

    fn with_server(self, server: ServerOverrides) -> Self {
        Self { server_overrides: server, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_has_a_unique_name_and_expectations() {
        let scenarios = all();
        for (at, scenario) in scenarios.iter().enumerate() {
            assert!(scenarios[..at].iter().all(|it| it.name != scenario.name), "{} appears twice", scenario.name);
            assert!(
                !scenario.script.is_empty() && !scenario.expectations.is_empty(),
                "{} has no script or no expectations",
                scenario.name
            );
        }
        assert_eq!(scenarios[0].name, "happy-path");
    }
}
