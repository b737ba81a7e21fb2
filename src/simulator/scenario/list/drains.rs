//! Calls during which the server is told to stop.

use super::{ASKS_TO_STORE, CODE, DATE, ENTERS_CARD, LEAVES, STORED, VISA, scenario, stores_a_card};
use crate::simulator::caller::Step::{Enters, Hears, Says, ServerStops};
use crate::simulator::house::Tuning;
use crate::simulator::scenario::{Expect, Scenario};
use crate::simulator::twilio::Field::{CardNumber, ExpirationDate, SecurityCode};

/// The scenarios, in the order in which they are listed.
pub fn all() -> Vec<Scenario> {
    let stops_meanwhile =
        [Enters(CardNumber, VISA), ServerStops, Enters(SecurityCode, CODE), Enters(ExpirationDate, DATE)];
    vec![
        rolled_out(),
        stores_a_card(
            "drain-in-payment",
            "The server is told to stop in the middle of a payment, and finishes the call.",
        )
        .plays(&[ASKS_TO_STORE, &stops_meanwhile, LEAVES])
        .expects(&[Expect::TurnsCallsAway]),
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
    let tuning = Tuning { vars: &[("DRAIN_SECONDS", "1")], relieved: true, ..Tuning::default() };
    scenario(
        "drain",
        "The server is told to stop, and lets go of a call that pays nothing: another instance takes it up.",
    )
    .plays(&[&goes_on_elsewhere, ENTERS_CARD, LEAVES])
    .with_server(tuning)
    .expects(&[Expect::TurnsCallsAway, Expect::Tells("nothing is known of what was said"), Expect::Action("Connect")])
    .expects(STORED)
}
