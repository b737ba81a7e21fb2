//! Scenarios in which the server drains during a call.

use super::{ASKS_TO_STORE, CODE, DATE, ENDS_CALL, ENTERS_CARD, STORED, VISA, scenario, stores_a_card};
use crate::simulator::caller::CallerStep::{Enters, Hears, Says, ServerStops};
use crate::simulator::scenario::{Expectation, Scenario};
use crate::simulator::server_under_test::{Beside, ServerOverrides};
use crate::simulator::twilio::CaptureField::{CardNumber, ExpirationDate, SecurityCode};

/// The scenarios, in the order in which they are listed.
pub(super) fn all() -> Vec<Scenario> {
    let stops_meanwhile =
        [Enters(CardNumber, VISA), ServerStops, Enters(SecurityCode, CODE), Enters(ExpirationDate, DATE)];
    vec![
        rolled_out(),
        stores_a_card("drain-in-payment", "The server drains in the middle of a payment, and finishes the call.")
            .with_script(&[ASKS_TO_STORE, &stops_meanwhile, ENDS_CALL])
            .with_expectations(&[Expectation::NewCallsRejected]),
    ]
}

fn rolled_out() -> Scenario {
    let goes_on_elsewhere = [
        Hears(""),
        Says("Hello, good morning."),
        Hears("What would you like"),
        ServerStops,
        Hears("we were cut off"),
        Says("I'd like to put a card on file, please."),
        Hears("go ahead"),
        Says("Yes, please."),
    ];
    let tuning =
        ServerOverrides { vars: &[("DRAIN_SECONDS", "1")], beside: Beside::Standby, ..ServerOverrides::default() };
    scenario("drain", "The server drains, and ends a call without a payment: another instance resumes it.")
        .with_script(&[&goes_on_elsewhere, ENTERS_CARD, ENDS_CALL])
        .with_server(tuning)
        .with_expectations(&[
            Expectation::NewCallsRejected,
            Expectation::DeveloperMessage("nothing is known of what was said"),
            Expectation::Action("Connect"),
        ])
        .with_expectations(STORED)
}
