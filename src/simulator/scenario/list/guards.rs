//! What the guards do not let go on.

use std::time::Duration;

use super::entries::MISTYPED;
use super::{
    ASKS_ABOUT_BILL, ASKS_TO_PAY, ASKS_TO_STORE, BILL, CODE, DATE, ENTERS_CARD, GETS_A_PERSON, NOTHING_PAID, scenario,
};
use crate::simulator::caller::Step::{self, Enters, Hears, IsLetGo, Says, Sees};
use crate::simulator::house::Tuning;
use crate::simulator::scenario::{Expect, Scenario};
use crate::simulator::twilio::Field::{CardNumber, ExpirationDate, SecurityCode};
use crate::simulator::twilio::{Ending, Quirks, Report, Request, Submission};

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
pub fn all() -> Vec<Scenario> {
    vec![card_testing(), card_testing_in_words(), worn_out_cards(), mistyped_too_often(), stuck()]
}

fn another_card(number: &'static str) -> [Step; 3] {
    [Enters(CardNumber, number), Enters(SecurityCode, CODE), Enters(ExpirationDate, DATE)]
}

/// Three cards, each of them declined; then a fourth is wanted.
fn tries_cards() -> Vec<Step> {
    [
        &[Hears("declined"), Says("Yes, let me try another one.")][..],
        &another_card("5555555555554444"),
        &[Hears("to a person, or"), Says("I have one more card.")],
        &another_card("4000056655665556"),
        &[Hears("to a person, or"), Says("I have one more card."), Hears("speak to a person")],
    ]
    .concat()
}

/// What holds when three cards were declined and no fourth payment began.
const THREE_DECLINES: &[Expect] = &[
    Expect::Payments(&[Some("25.00"), Some("25.00"), Some("25.00")]),
    Expect::Results(&["payment-connector-error", "payment-connector-error", "payment-connector-error"]),
    Expect::Ledger(&[&["declined", "declined", "declined"]]),
    Expect::Does(Request::Create, 3),
    Expect::Calls("start-capture", 4),
    Expect::HandsOff,
];

fn card_testing() -> Scenario {
    scenario("card-testing", "Three different cards are declined: the caller is blocked, and offered a person.")
        .plays(&[ASKS_TO_PAY, ENTERS_CARD, &tries_cards(), GETS_A_PERSON])
        .with_twilio(Quirks { submissions: vec![Submission::declined(64012)], ..Quirks::default() })
        .with_server(Tuning { config: THREE_CARDS, ..Tuning::default() })
        .expects(THREE_DECLINES)
}

/// No page promises that a decline has a code.
fn card_testing_in_words() -> Scenario {
    let in_words = Report::of(Ending::Word("payment-connector-error")).with(&[
        ("PayErrorCode", ""),
        ("PaymentError", "card is declined"),
        ("ConnectorError", "card_declined"),
    ]);
    scenario(
        "card-testing-in-words",
        "Three different cards are declined in words, without a code: the caller is blocked all the same.",
    )
    .plays(&[ASKS_ABOUT_BILL, ENTERS_CARD, &tries_cards(), GETS_A_PERSON])
    .with_twilio(Quirks { submissions: vec![Submission::reported(false, &[in_words])], ..Quirks::default() })
    .with_server(Tuning { config: THREE_CARDS, business: Some(BILL), ..Tuning::default() })
    .expects(THREE_DECLINES)
    .expects(&[Expect::Charges(&[])])
}

fn worn_out_cards() -> Scenario {
    scenario("declined-too-often", "Three cards are declined, which is the most on one call: a fourth is not begun.")
        .plays(&[ASKS_TO_PAY, ENTERS_CARD, &tries_cards(), GETS_A_PERSON])
        .with_twilio(Quirks { submissions: vec![Submission::declined(64008)], ..Quirks::default() })
        .expects(THREE_DECLINES)
}

fn mistyped_too_often() -> Scenario {
    let enters = [Enters(CardNumber, MISTYPED), Enters(CardNumber, MISTYPED), Hears("speak to a person")];
    scenario("mistyped-too-often", "Wrong numbers are entered as often as may be: the payment is cancelled.")
        .plays(&[ASKS_TO_STORE, &enters, GETS_A_PERSON])
        .with_server(Tuning { config: TWO_WRONG_ENTRIES, ..Tuning::default() })
        .expects(NOTHING_PAID)
        .expects(&[
            Expect::WrongEntries(2),
            Expect::Does(Request::Capture(CardNumber), 2),
            Expect::Does(Request::Cancel, 1),
            Expect::Ledger(&[&["abandoned"]]),
            Expect::HandsOff,
        ])
}

fn stuck() -> Scenario {
    scenario("stuck", "The caller presses nothing and says nothing: the payment is cancelled, and a person takes over.")
        .plays(&[ASKS_TO_STORE, &[Sees(Request::Capture(CardNumber)), Hears("trouble"), Hears("colleague"), IsLetGo]])
        .with_server(Tuning { stall: Some(Duration::from_millis(400)), ..Tuning::default() })
        .expects(NOTHING_PAID)
        .expects(&[Expect::Does(Request::Cancel, 1), Expect::Ledger(&[&["abandoned"]]), Expect::HandsOff])
}
