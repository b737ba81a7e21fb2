//! What callers enter on the keypad.

use std::time::Duration;

use super::{ASKS_TO_PAY, ASKS_TO_STORE, CODE, DATE, ENTERS_CARD, GETS_A_PERSON, LEAVES, NOTHING_PAID, VISA};
use super::{scenario, stores_a_card};
use crate::simulator::caller::Step::{Enters, Hears, IsLetGo, Presses, RunsOutOfTime, Says, Sees};
use crate::simulator::house::Tuning;
use crate::simulator::scenario::{Expect, Scenario};
use crate::simulator::twilio::Field::{CardNumber, ExpirationDate, PostalCode, SecurityCode};
use crate::simulator::twilio::{Mask, Quirks, Request, Submission};

const MASTERCARD: &str = "5555555555554444";
/// American Express: 15 digits.
pub const AMEX: &str = "378282246310005";
/// One digit of it is wrong.
pub const MISTYPED: &str = "4242424242424241";

/// The scenarios, in the order in which they are listed.
pub fn all() -> Vec<Scenario> {
    vec![
        stores_a_card("mistyped-card", "The card number is mistyped, and entered again.")
            .plays(&[ASKS_TO_STORE, &[Enters(CardNumber, MISTYPED)], ENTERS_CARD, LEAVES])
            .expects(&[Expect::WrongEntries(1), Expect::Does(Request::Capture(CardNumber), 2)]),
        mistyped_everything(),
        stores_a_card("slow-fingers", "The caller stops in mid-number, which times out, and begins again.")
            .plays(&[ASKS_TO_STORE, &[Presses(CardNumber, "424242"), RunsOutOfTime], ENTERS_CARD, LEAVES])
            .expects(&[Expect::WrongEntries(1)]),
        amex(),
        stores_a_card("postal-code", "The postal code is asked for as well.")
            .plays(&[ASKS_TO_STORE, ENTERS_CARD, &[Enters(PostalCode, "90310")], LEAVES])
            .with_server(Tuning { vars: &[("INCLUDE_POSTAL_CODE", "true")], ..Tuning::default() })
            .expects(&[Expect::Does(Request::Capture(PostalCode), 1)]),
        star_key(),
        decline(),
        scenario("stalled", "The caller presses nothing at all, and is offered help.")
            .plays(&[ASKS_TO_STORE, &[Sees(Request::Capture(CardNumber)), Hears("trouble")], GETS_A_PERSON])
            .with_server(Tuning { stall: Some(Duration::from_millis(400)), ..Tuning::default() })
            .expects(NOTHING_PAID)
            .expects(&[Expect::HandsOff]),
    ]
}

fn mistyped_everything() -> Scenario {
    let enters = [
        Enters(CardNumber, MISTYPED),
        Enters(CardNumber, VISA),
        Enters(SecurityCode, "73"),
        Enters(SecurityCode, CODE),
        Enters(ExpirationDate, "1329"),
        Enters(ExpirationDate, DATE),
    ];
    stores_a_card("mistyped-everything", "Card number, security code and expiry date are each wrong at first.")
        .plays(&[ASKS_TO_STORE, &enters, LEAVES])
        .expects(&[Expect::WrongEntries(3)])
}

fn amex() -> Scenario {
    let enters = [Enters(CardNumber, AMEX), Enters(SecurityCode, "7316"), Enters(ExpirationDate, DATE)];
    stores_a_card("amex", "An American Express card: 15 digits, a code of four, and no need for the hash key.")
        .plays(&[ASKS_TO_STORE, &enters, LEAVES])
        .with_twilio(Quirks { mask: Mask::Dashed, ends_at_full_length: true, ..Quirks::default() })
        .expects(&[Expect::WrongEntries(0)])
}

fn star_key() -> Scenario {
    let ends_it = [Presses(CardNumber, "424242*"), Hears("cancelled"), Says("No, that's all. Goodbye."), IsLetGo];
    scenario("star-key", "The caller presses star in the middle of the card number, which ends the payment.")
        .plays(&[ASKS_TO_STORE, &ends_it])
        .expects(NOTHING_PAID)
        .expects(&[Expect::Results(&["caller-interrupted-with-star"]), Expect::SessionEnds("ended")])
}

fn decline() -> Scenario {
    let tries_again = [
        Hears("declined"),
        Says("Yes, let me try another one."),
        Enters(CardNumber, MASTERCARD),
        Enters(SecurityCode, "902"),
        Enters(ExpirationDate, "0831"),
    ];
    scenario("decline", "The first card is declined; another one is not.")
        .plays(&[ASKS_TO_PAY, ENTERS_CARD, &tries_again, LEAVES])
        .with_twilio(Quirks {
            submissions: vec![Submission::declined(64012), Submission::succeeds()],
            ..Quirks::default()
        })
        .expects(&[
            Expect::Payments(&[Some("25.00"), Some("25.00")]),
            Expect::Results(&["payment-connector-error", "success"]),
            Expect::Does(Request::Complete, 2),
            Expect::Says("your payment went through"),
        ])
}
