//! Scenarios in which a flow drives the call and calls its tools over MCP.

use super::guided::GUIDED;
use super::{ASKS_TO_PAY, ASKS_TO_STORE, ENDS_CALL, ENTERS_CARD, NOTHING_PAID, STORED, VISA, scenario};
use crate::simulator::caller::CallerStep::{Enters, Hears, Says, WaitsForCallEnd};
use crate::simulator::openai::ModelBehaviour;
use crate::simulator::scenario::{Expectation, Scenario};
use crate::simulator::server_under_test::ServerOverrides;
use crate::simulator::twilio::CaptureField::CardNumber;
use crate::simulator::twilio::PaymentsRequest;

/// The scenarios, in the order in which they are listed.
pub(super) fn all() -> Vec<Scenario> {
    vec![charges(), cancels(), guided()]
}

/// A scenario in which the model only speaks, and calls its tools over MCP.
fn flow(name: &'static str, about: &'static str) -> Scenario {
    scenario(name, about).with_model(ModelBehaviour { calls_tools_over_mcp: true, ..ModelBehaviour::default() })
}

fn charges() -> Scenario {
    flow("mcp", "A flow calls the tools of the call over MCP, and charges what the caller agreed to.")
        .with_script(&[ASKS_TO_PAY, ENTERS_CARD, ENDS_CALL])
        .with_expectations(&[
            Expectation::PaymentsCreated(&[Some("25.00")]),
            Expectation::Results(&["success"]),
            Expectation::RequestDone(PaymentsRequest::Complete, 1),
            Expectation::ToolCalled("confirm-amount", 1),
            Expectation::ToolCalled("start-capture", 1),
            Expectation::ToolCalled("finish-capture", 1),
            Expectation::ToolCalled("end-call", 1),
            Expectation::BusinessNotified(&["charged"]),
            Expectation::Says("your payment went through"),
            Expectation::SessionEnds("ended"),
            Expectation::NoHandOff,
        ])
}

fn cancels() -> Scenario {
    let changes_mind = [
        Enters(CardNumber, VISA),
        Hears("security code"),
        Says("I changed my mind, please cancel that."),
        Hears("cancelled"),
        Says("No, that's all, thank you. Goodbye!"),
        WaitsForCallEnd,
    ];
    flow("mcp-cancel", "A flow cancels a payment over MCP, since the caller changed their mind.")
        .with_script(&[ASKS_TO_STORE, &changes_mind])
        .with_expectations(NOTHING_PAID)
        .with_expectations(&[
            Expectation::ToolCalled("cancel-capture", 1),
            Expectation::RequestDone(PaymentsRequest::Cancel, 1),
            Expectation::SessionEnds("ended"),
        ])
}

fn guided() -> Scenario {
    flow("mcp-guided", "A flow starts a payment over MCP, and the server guides the caller through it.")
        .with_script(&[ASKS_TO_STORE, ENTERS_CARD, ENDS_CALL])
        .with_server(ServerOverrides { config: GUIDED, ..ServerOverrides::default() })
        .with_expectations(STORED)
        .with_expectations(&[Expectation::ToolCalled("capture-card", 0), Expectation::ToolCalled("finish-capture", 0)])
}
