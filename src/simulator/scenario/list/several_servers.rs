//! Scenarios in which several servers share the ledger.

use std::time::Duration;

use super::{ASKS_ABOUT_BILL, BILL, CODE, DATE, ENDS_CALL, ENTERS_CARD, VISA, scenario};
use crate::simulator::caller::CallerStep::{self, Enters, Hears, IsAskedFor, IsConnectedAgain, Says, SignalsServer};
use crate::simulator::scenario::{Expectation, Scenario};
use crate::simulator::server_under_test::{Beside, ServerOverrides};
use crate::simulator::transcript::ServerSignal;
use crate::simulator::twilio::CaptureField::{CardNumber, ExpirationDate, SecurityCode};
use crate::simulator::twilio::{PaymentsRequest, Quirks};

/// The scenarios, in the order in which they are listed.
pub(super) fn all() -> Vec<Scenario> {
    vec![another_server(), server_dies(), server_freezes(), moved()]
}

/// The expectations when a bill is paid, whichever servers have had the call: one payment, which is charged once.
const PAID_ONCE: &[Expectation] = &[
    Expectation::PaymentsCreated(&[Some("25.00")]),
    Expectation::RequestDone(PaymentsRequest::Complete, 1),
    Expectation::RequestDone(PaymentsRequest::Cancel, 0),
    Expectation::Results(&["success"]),
    Expectation::BankCharges(&[Some("25.00")]),
    Expectation::LedgerStates(&[&["charged"]]),
    Expectation::BusinessNotified(&["charged"]),
    Expectation::Says("your payment went through"),
    Expectation::SessionEnds("ended"),
];

/// The expectations when the call goes on where it was: the agent greets once, and does not begin anew.
const GOES_ON: &[Expectation] = &[
    Expectation::SaysOnce("How can I help you"),
    Expectation::NeverSays("we were cut off"),
    Expectation::ToolCalled("start-capture", 1),
];

/// How often Twilio pings the server. Above what a busy machine may delay.
const PING_INTERVAL: Duration = Duration::from_secs(1);

const ENTERS_NUMBER: &[CallerStep] = &[Enters(CardNumber, VISA), IsAskedFor(SecurityCode, "security code")];

/// A call about a bill on two servers, each a process of its own.
fn on_two_processes(
    name: &'static str,
    about: &'static str,
    vars: &'static [(&'static str, &'static str)],
) -> Scenario {
    let overrides = ServerOverrides { beside: Beside::Process, vars, ..ServerOverrides::default() };
    scenario(name, about).with_server(overrides).with_call_parameters(BILL)
}

fn another_server() -> Scenario {
    let about = "One of two servers gets the sockets, and the other one all that Twilio reports: a bill is paid. Needs PostgreSQL.";
    let overrides = ServerOverrides { beside: Beside::Peer, ..ServerOverrides::default() };
    scenario("another-server", about)
        .with_server(overrides)
        .with_script(&[ASKS_ABOUT_BILL, ENTERS_CARD, ENDS_CALL])
        .with_call_parameters(BILL)
        .with_expectations(PAID_ONCE)
}

fn server_dies() -> Scenario {
    let about = "The server is killed while the caller enters the card: another one goes on with it. Needs PostgreSQL.";
    on_two_processes("server-dies", about, &[])
        .with_script(&[
            ASKS_ABOUT_BILL,
            ENTERS_NUMBER,
            &[SignalsServer(ServerSignal::Kill), IsConnectedAgain, Hears("")],
            &[Enters(SecurityCode, CODE), Enters(ExpirationDate, DATE)],
            ENDS_CALL,
        ])
        .with_expectations(PAID_ONCE)
        .with_expectations(GOES_ON)
        .with_expectations(&[Expectation::Action("Connect")])
}

fn server_freezes() -> Scenario {
    let about = "The server freezes while the caller enters the card: another one goes on, also when the first wakes. Needs PostgreSQL.";
    on_two_processes("server-freezes", about, &[])
        .with_quirks(Quirks { ping_interval: Some(PING_INTERVAL), reopens_socket: true, ..Quirks::default() })
        .with_script(&[
            ASKS_ABOUT_BILL,
            ENTERS_NUMBER,
            &[SignalsServer(ServerSignal::Freeze), IsConnectedAgain, Hears("")],
            &[Enters(SecurityCode, CODE), SignalsServer(ServerSignal::Wake), Enters(ExpirationDate, DATE)],
            ENDS_CALL,
        ])
        .with_expectations(PAID_ONCE)
        .with_expectations(GOES_ON)
}

fn moved() -> Scenario {
    let about = "The server drains while the caller talks: it hands the call over, and the caller notices nothing. Needs PostgreSQL.";
    on_two_processes("moved", about, &[("DRAIN_SECONDS", "2")])
        .with_script(&[
            &[Hears(""), Says("Hello, good morning."), Hears("What would you like")],
            &[SignalsServer(ServerSignal::Terminate), IsConnectedAgain],
            &[Says("I'd like to pay my bill."), Hears("25.00"), Says("Yes, go ahead.")],
            ENTERS_CARD,
            ENDS_CALL,
        ])
        .with_expectations(PAID_ONCE)
        .with_expectations(GOES_ON)
        .with_expectations(&[Expectation::Moved])
}
