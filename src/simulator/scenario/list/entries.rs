//! Scenarios about keypad entries.

use std::time::Duration;

use super::{ASKS_TO_PAY, ASKS_TO_STORE, CODE, DATE, ENDS_CALL, ENTERS_CARD, GETS_A_PERSON, NOTHING_PAID, VISA};
use super::{scenario, stores_a_card};
use crate::simulator::caller::CallerStep::{
    Enters, Hears, Presses, Says, WaitsForCallEnd, WaitsForEntryTimeout, WaitsForRequest,
};
use crate::simulator::scenario::{Expectation, Scenario};
use crate::simulator::server_under_test::ServerOverrides;
use crate::simulator::twilio::CaptureField::{CardNumber, ExpirationDate, PostalCode, SecurityCode};
use crate::simulator::twilio::{CardMask, PaymentsRequest, Quirks, ScriptedSubmission};

const MASTERCARD: &str = "5555555555554444";
/// American Express: 15 digits.
pub(super) const AMEX: &str = "378282246310005";
/// A card number with one wrong digit.
pub(super) const MISTYPED: &str = "4242424242424241";

/// The scenarios, in the order in which they are listed.
pub(super) fn all() -> Vec<Scenario> {
    vec![
        stores_a_card("mistyped-card", "The card number is mistyped, and entered again.")
            .with_script(&[ASKS_TO_STORE, &[Enters(CardNumber, MISTYPED)], ENTERS_CARD, ENDS_CALL])
            .with_expectations(&[
                Expectation::WrongEntries(1),
                Expectation::RequestDone(PaymentsRequest::Capture(CardNumber), 2),
            ]),
        mistyped_everything(),
        stores_a_card("slow-fingers", "The caller stops in mid-number, which times out, and begins again.")
            .with_script(&[
                ASKS_TO_STORE,
                &[Presses(CardNumber, "424242"), WaitsForEntryTimeout],
                ENTERS_CARD,
                ENDS_CALL,
            ])
            .with_expectations(&[Expectation::WrongEntries(1)]),
        amex(),
        stores_a_card("postal-code", "The postal code is asked for as well.")
            .with_script(&[ASKS_TO_STORE, ENTERS_CARD, &[Enters(PostalCode, "90310")], ENDS_CALL])
            .with_server(ServerOverrides { vars: &[("INCLUDE_POSTAL_CODE", "true")], ..ServerOverrides::default() })
            .with_expectations(&[Expectation::RequestDone(PaymentsRequest::Capture(PostalCode), 1)]),
        star_key(),
        decline(),
        scenario("stalled", "The caller presses nothing at all, and is offered help.")
            .with_script(&[
                ASKS_TO_STORE,
                &[WaitsForRequest(PaymentsRequest::Capture(CardNumber)), Hears("trouble")],
                GETS_A_PERSON,
            ])
            .with_server(ServerOverrides { stall: Some(Duration::from_millis(400)), ..ServerOverrides::default() })
            .with_expectations(NOTHING_PAID)
            .with_expectations(&[Expectation::HandOff]),
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
        .with_script(&[ASKS_TO_STORE, &enters, ENDS_CALL])
        .with_expectations(&[Expectation::WrongEntries(3)])
}

fn amex() -> Scenario {
    let enters = [Enters(CardNumber, AMEX), Enters(SecurityCode, "7316"), Enters(ExpirationDate, DATE)];
    stores_a_card("amex", "An American Express card: 15 digits, a code of four, and no need for the hash key.")
        .with_script(&[ASKS_TO_STORE, &enters, ENDS_CALL])
        .with_quirks(Quirks { card_mask: CardMask::Dashed, ends_at_full_length: true, ..Quirks::default() })
        .with_expectations(&[Expectation::WrongEntries(0)])
}

fn star_key() -> Scenario {
    let ends_it =
        [Presses(CardNumber, "424242*"), Hears("cancelled"), Says("No, that's all. Goodbye."), WaitsForCallEnd];
    scenario("star-key", "The caller presses star in the middle of the card number, which ends the payment.")
        .with_script(&[ASKS_TO_STORE, &ends_it])
        .with_expectations(NOTHING_PAID)
        .with_expectations(&[
            Expectation::Results(&["caller-interrupted-with-star"]),
            Expectation::SessionEnds("ended"),
        ])
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
        .with_script(&[ASKS_TO_PAY, ENTERS_CARD, &tries_again, ENDS_CALL])
        .with_quirks(Quirks {
            submissions: vec![ScriptedSubmission::declined(64012), ScriptedSubmission::success()],
            ..Quirks::default()
        })
        .with_expectations(&[
            Expectation::PaymentsCreated(&[Some("25.00"), Some("25.00")]),
            Expectation::Results(&["payment-connector-error", "success"]),
            Expectation::RequestDone(PaymentsRequest::Complete, 2),
            Expectation::Says("your payment went through"),
        ])
}
