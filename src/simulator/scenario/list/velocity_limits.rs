//! Scenarios that reach a velocity limit.

use std::time::Duration;

use super::entries::MISTYPED;
use super::{
    ASKS_ABOUT_BILL, ASKS_TO_PAY, ASKS_TO_STORE, BILL, CODE, DATE, ENTERS_CARD, GETS_A_PERSON, NOTHING_PAID, scenario,
};
use crate::simulator::caller::CallerStep::{self, Enters, Hears, Says, WaitsForCallEnd, WaitsForRequest};
use crate::simulator::scenario::{Expectation, Scenario};
use crate::simulator::server_under_test::ServerOverrides;
use crate::simulator::twilio::CaptureField::{CardNumber, ExpirationDate, SecurityCode};
use crate::simulator::twilio::{PaymentResult, PaymentsRequest, Quirks, ResultReport, ScriptedSubmission};

const THREE_CARDS: &str = r#"{
    "ConversationRelay": { "Configuration": { "welcomeGreeting": "Hello. How can I help you today?", "interruptible": "speech",
        "dtmfDetection": true, "events": "speaker-events tokens-played" } },
    "Payments": { "Limits": { "perCall": { "declines": null }, "cardTesting": { "cards": 3 } } }
}"#;
const TWO_WRONG_ENTRIES: &str = r#"{
    "ConversationRelay": { "Configuration": { "welcomeGreeting": "Hello. How can I help you today?", "interruptible": "speech",
        "dtmfDetection": true, "events": "speaker-events tokens-played" } },
    "Payments": { "Limits": { "perCall": { "wrongEntries": 2 } } }
}"#;

/// The scenarios, in the order in which they are listed.
pub(super) fn all() -> Vec<Scenario> {
    vec![card_testing(), card_testing_in_words(), declined_too_often(), mistyped_too_often(), stuck()]
}

fn another_card(number: &'static str) -> [CallerStep; 3] {
    [Enters(CardNumber, number), Enters(SecurityCode, CODE), Enters(ExpirationDate, DATE)]
}

/// Three cards are declined, and the caller wants to try a fourth.
fn tries_cards() -> Vec<CallerStep> {
    [
        &[Hears("declined"), Says("Yes, let me try another one.")][..],
        &another_card("5555555555554444"),
        &[Hears("to a person, or"), Says("I have another card.")],
        &another_card("4000056655665556"),
        &[Hears("to a person, or"), Says("I have another card."), Hears("speak to a person")],
    ]
    .concat()
}

/// The expectations when three cards are declined and no fourth payment is created.
const THREE_DECLINES: &[Expectation] = &[
    Expectation::PaymentsCreated(&[Some("25.00"), Some("25.00"), Some("25.00")]),
    Expectation::Results(&["payment-connector-error", "payment-connector-error", "payment-connector-error"]),
    Expectation::LedgerStates(&[&["declined", "declined", "declined"]]),
    Expectation::RequestDone(PaymentsRequest::Create, 3),
    Expectation::ToolCalled("start-capture", 4),
    Expectation::HandOff,
];

fn card_testing() -> Scenario {
    scenario("card-testing", "Three different cards are declined: the caller is blocked, and offered a person.")
        .with_script(&[ASKS_TO_PAY, ENTERS_CARD, &tries_cards(), GETS_A_PERSON])
        .with_quirks(Quirks { submissions: vec![ScriptedSubmission::declined(64012)], ..Quirks::default() })
        .with_server(ServerOverrides { config: THREE_CARDS, ..ServerOverrides::default() })
        .with_expectations(THREE_DECLINES)
}

/// The documentation does not guarantee that a decline has an error code.
fn card_testing_in_words() -> Scenario {
    let in_words = ResultReport::new(PaymentResult::Other("payment-connector-error")).with_fields(&[
        ("PayErrorCode", ""),
        ("PaymentError", "card is declined"),
        ("ConnectorError", "card_declined"),
    ]);
    scenario(
        "card-testing-in-words",
        "Three different cards are declined in words, without a code: the caller is blocked all the same.",
    )
    .with_script(&[ASKS_ABOUT_BILL, ENTERS_CARD, &tries_cards(), GETS_A_PERSON])
    .with_quirks(Quirks { submissions: vec![ScriptedSubmission::new(false, &[in_words])], ..Quirks::default() })
    .with_server(ServerOverrides { config: THREE_CARDS, call_parameters: Some(BILL), ..ServerOverrides::default() })
    .with_expectations(THREE_DECLINES)
    .with_expectations(&[Expectation::BankCharges(&[])])
}

fn declined_too_often() -> Scenario {
    scenario("declined-too-often", "Three cards are declined, which is the most on one call: a fourth is not begun.")
        .with_script(&[ASKS_TO_PAY, ENTERS_CARD, &tries_cards(), GETS_A_PERSON])
        .with_quirks(Quirks { submissions: vec![ScriptedSubmission::declined(64008)], ..Quirks::default() })
        .with_expectations(THREE_DECLINES)
}

fn mistyped_too_often() -> Scenario {
    let enters = [Enters(CardNumber, MISTYPED), Enters(CardNumber, MISTYPED), Hears("speak to a person")];
    scenario("mistyped-too-often", "Wrong numbers are entered up to the limit: the payment is cancelled.")
        .with_script(&[ASKS_TO_STORE, &enters, GETS_A_PERSON])
        .with_server(ServerOverrides { config: TWO_WRONG_ENTRIES, ..ServerOverrides::default() })
        .with_expectations(NOTHING_PAID)
        .with_expectations(&[
            Expectation::WrongEntries(2),
            Expectation::RequestDone(PaymentsRequest::Capture(CardNumber), 2),
            Expectation::RequestDone(PaymentsRequest::Cancel, 1),
            Expectation::LedgerStates(&[&["abandoned"]]),
            Expectation::HandOff,
        ])
}

fn stuck() -> Scenario {
    scenario("stuck", "The caller presses nothing and says nothing: the payment is cancelled, and a person takes over.")
        .with_script(&[
            ASKS_TO_STORE,
            &[
                WaitsForRequest(PaymentsRequest::Capture(CardNumber)),
                Hears("trouble"),
                Hears("colleague"),
                WaitsForCallEnd,
            ],
        ])
        .with_server(ServerOverrides { stall: Some(Duration::from_millis(400)), ..ServerOverrides::default() })
        .with_expectations(NOTHING_PAID)
        .with_expectations(&[
            Expectation::RequestDone(PaymentsRequest::Cancel, 1),
            Expectation::LedgerStates(&[&["abandoned"]]),
            Expectation::HandOff,
        ])
}
