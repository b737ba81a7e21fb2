//! What Twilio does, where its documentation is silent or its deliveries fail.

use std::time::Duration;

use super::{ASKS_TO_STORE, ENTERS_CARD, GETS_A_PERSON, NOTHING_PAID, scenario, stores_a_card};
use crate::simulator::caller::Step::{HangsUp, Hears};
use crate::simulator::house::Tuning;
use crate::simulator::scenario::{Expect, Scenario};
use crate::simulator::twilio::Field::CardNumber;
use crate::simulator::twilio::{Ending, Mask, Mishap, Quirks, Refusal, Report, Request, Submission, Trouble};

/// The scenarios, in the order in which they are listed.
pub fn all() -> Vec<Scenario> {
    vec![
        stores_a_card("callbacks-first", "Callbacks overtake the answers to the requests that they are about.")
            .with_twilio(Quirks { callback_first: true, mask: Mask::Stars, ..Quirks::default() }),
        stores_a_card("callbacks-shuffled", "Callbacks come twice and in any order, with as little in them as can be.")
            .with_twilio(Quirks {
                shuffled: Some(7),
                doubled: true,
                bare: true,
                pascal: true,
                empty_error: true,
                mask: Mask::Spaced,
                ..Quirks::default()
            }),
        stores_a_card("leaking-keys", "Keypad digits reach the socket too, and go no further.")
            .with_twilio(Quirks { leak: true, ..Quirks::default() }),
        repeated(
            "lost-answer",
            "The answer to a request gets lost: it is repeated, and done once.",
            Request::Create,
            Mishap::Lost,
        ),
        repeated(
            "lost-completion",
            "The answer to the completion gets lost: the card is stored once.",
            Request::Complete,
            Mishap::Lost,
        ),
        repeated("hanging-request", "A request is done, but its answer never comes.", Request::Complete, Mishap::Hangs),
        repeated("busy", "Twilio is too busy for a request at first.", Request::Capture(CardNumber), Mishap::Busy),
        scenario("twilio-down", "No payment can be created: the caller is told, and gets a person.")
            .plays(&[ASKS_TO_STORE, &[Hears("sorry")], GETS_A_PERSON])
            .with_twilio(trouble(Request::Create, Mishap::Down, usize::MAX))
            .expects(NOTHING_PAID)
            .expects(&[Expect::Payments(&[]), Expect::HandsOff]),
        refused("wrong-connector", "Twilio does not know the connector, and says so at once.", 64004, false),
        refused("connector-trouble", "The payment is created, and its connector fails a moment later.", 64001, true),
        no_result(),
        unknown_outcome(),
    ]
}

fn trouble(on: Request, how: Mishap, times: usize) -> Quirks {
    Quirks { trouble: Some(Trouble { on, how, times }), ..Quirks::default() }
}

/// A request that has to be sent again, with the key that it had.
fn repeated(name: &'static str, about: &'static str, on: Request, how: Mishap) -> Scenario {
    stores_a_card(name, about).with_twilio(trouble(on, how, 1)).expects(&[Expect::Repeats(on)])
}

fn refused(name: &'static str, about: &'static str, code: u32, by_callback: bool) -> Scenario {
    let refusal = Refusal { on: Request::Create, code, by_callback };
    scenario(name, about)
        .plays(&[ASKS_TO_STORE, &[Hears("sorry")], GETS_A_PERSON])
        .with_twilio(Quirks { refusal: Some(refusal), ..Quirks::default() })
        .expects(NOTHING_PAID)
        .expects(&[Expect::HandsOff])
}

fn unknown_outcome() -> Scenario {
    let about =
        "The caller hangs up before the result comes: the ledger says that it is unknown, until it comes after all.";
    let late = Submission::reported(true, &[Report::of(Ending::Success).late()]);
    scenario("unknown-outcome", about)
        .plays(&[ASKS_TO_STORE, ENTERS_CARD, &[Hears("One moment"), HangsUp]])
        .with_twilio(Quirks { submissions: vec![late], ..Quirks::default() })
        .expects(&[
            Expect::Does(Request::Complete, 1),
            Expect::NeverSays("All set"),
            Expect::Ledger(&[&["unknown"], &["tokenized"]]),
            Expect::TellsBusiness(&["unknown", "tokenized"]),
        ])
}

fn no_result() -> Scenario {
    scenario("no-result", "Nothing ever comes after the completion: no success is claimed.")
        .plays(&[ASKS_TO_STORE, ENTERS_CARD, &[Hears("One moment"), Hears("")], GETS_A_PERSON])
        .with_twilio(Quirks { submissions: vec![Submission::reported(true, &[])], ..Quirks::default() })
        .with_server(Tuning { stall: Some(Duration::from_millis(700)), ..Tuning::default() })
        .expects(&[
            Expect::Does(Request::Complete, 1),
            Expect::NeverSays("All set"),
            Expect::Ledger(&[&["unknown"]]),
            Expect::HandsOff,
        ])
}
