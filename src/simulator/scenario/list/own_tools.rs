//! Scenarios with a tool of the business: identify the caller, look up what is due, then pay exactly that.

use std::time::Duration;

use super::{ENDS_CALL, ENTERS_CARD, GETS_A_PERSON, NOTHING_PAID, scenario};
use crate::simulator::business::OwnTool;
use crate::simulator::caller::CallerStep::{self, Hears, Says};
use crate::simulator::scenario::{Expectation, Scenario};
use crate::simulator::server_under_test::ServerOverrides;

/// The scenarios, in the order in which they are listed.
pub(super) fn all() -> Vec<Scenario> {
    let http = |delay, status| OwnTool::Http { delay, status };
    vec![
        pays_what_is_found(
            "own-tool",
            "A tool of the business looks up what the caller owes, and exactly that is paid.",
            http(Duration::ZERO, 200),
            &[],
        ),
        pays_what_is_found(
            "own-tool-slow",
            "The tool of the business takes long, and the caller is told to wait.",
            http(Duration::from_millis(1_500), 200),
            &[Hears("One moment, I look that up.")],
        )
        .with_expectations(&[Expectation::Says("One moment, I look that up.")]),
        own_tool_down(http(Duration::ZERO, 503)),
        pays_what_is_found(
            "tool-server",
            "The tool of the business is on a server that lists its tools (MCP).",
            OwnTool::Server,
            &[],
        ),
    ]
}

const ASKS_WHAT_IS_OWED: &[CallerStep] =
    &[Hears(""), Says("Hello, what do I owe? My customer number is 1042, and my postal code is 90210.")];

impl Scenario {
    fn with_own_tool(self, tool: OwnTool) -> Self {
        self.with_server(ServerOverrides { own_tool: Some(tool), ..ServerOverrides::default() })
    }
}

fn pays_what_is_found(name: &'static str, about: &'static str, tool: OwnTool, meanwhile: &[CallerStep]) -> Scenario {
    let agrees = [Hears("40.10 dollars"), Says("Yes, go ahead.")];
    scenario(name, about)
        .with_own_tool(tool)
        .with_script(&[ASKS_WHAT_IS_OWED, meanwhile, &agrees, ENTERS_CARD, ENDS_CALL])
        .with_expectations(&[
            Expectation::ToolCalled("find-invoice", 1),
            Expectation::ToolCalled("confirm-amount", 0),
            Expectation::PaymentsCreated(&[Some("40.10")]),
            Expectation::PaymentMethod("credit-card, Invoice 8 order-8"),
            Expectation::BankCharges(&[Some("40.10")]),
            Expectation::LedgerStates(&[&["charged"]]),
            Expectation::BusinessNotified(&["charged"]),
            Expectation::Says("your payment went through"),
        ])
}

fn own_tool_down(tool: OwnTool) -> Scenario {
    scenario("own-tool-down", "The tool of the business fails: the agent says so, and a person takes over.")
        .with_own_tool(tool)
        .with_script(&[ASKS_WHAT_IS_OWED, &[Hears("speak to a person")], GETS_A_PERSON])
        .with_expectations(NOTHING_PAID)
        .with_expectations(&[Expectation::ToolCalled("find-invoice", 1), Expectation::HandOff])
}
