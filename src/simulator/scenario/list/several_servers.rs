//! Scenarios in which several servers share the ledger.

use super::{ASKS_ABOUT_BILL, BILL, ENDS_CALL, ENTERS_CARD, scenario};
use crate::simulator::scenario::{Expectation, Scenario};
use crate::simulator::server_under_test::{Beside, ServerOverrides};

/// The scenarios, in the order in which they are listed.
pub(super) fn all() -> Vec<Scenario> {
    vec![another_server()]
}

fn another_server() -> Scenario {
    let about = "One of two servers gets the sockets, and the other one all that Twilio reports: a bill is paid. Needs PostgreSQL.";
    let overrides = ServerOverrides { beside: Beside::Peer, ..ServerOverrides::default() };
    scenario("another-server", about)
        .with_server(overrides)
        .with_script(&[ASKS_ABOUT_BILL, ENTERS_CARD, ENDS_CALL])
        .with_call_parameters(BILL)
        .with_expectations(&[
            Expectation::PaymentsCreated(&[Some("25.00")]),
            Expectation::BankCharges(&[Some("25.00")]),
            Expectation::LedgerStates(&[&["charged"]]),
            Expectation::BusinessNotified(&["charged"]),
            Expectation::Says("your payment went through"),
            Expectation::SessionEnds("ended"),
        ])
}
