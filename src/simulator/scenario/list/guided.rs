//! The server itself leads through the fields.

use super::entries::{AMEX, MISTYPED};
use super::{
    ASKS_TO_PAY, ASKS_TO_STORE, CODE, DATE, ENTERS_CARD, GETS_A_PERSON, LEAVES, NOTHING_PAID, STORED, VISA, scenario,
};
use crate::simulator::caller::Step::{Enters, HangsUp, Hears, IsLetGo, Says, Sees};
use crate::simulator::house::Tuning;
use crate::simulator::openai::{Behaviour, Fault};
use crate::simulator::scenario::{Expect, Scenario};
use crate::simulator::twilio::Field::{CardNumber, ExpirationDate, SecurityCode};
use crate::simulator::twilio::{Mishap, Quirks, Request, Submission, Trouble};

const GUIDED: &str = r#"{
    "ConversationRelay": { "Configuration": { "welcomeGreeting": "Hello. How can I help you today?", "interruptible": "speech",
        "dtmfDetection": true, "events": "speaker-events tokens-played" } },
    "Payments": { "flow": "guided" }
}"#;
const GUIDED_IN_SPANISH: &str = r#"{
    "ConversationRelay": { "Configuration": { "welcomeGreeting": "Hello. How can I help you today?", "interruptible": "speech",
        "dtmfDetection": true, "events": "speaker-events tokens-played", "language": "es-MX" } },
    "Payments": { "flow": "guided" }
}"#;

/// The scenarios, in the order in which they are listed.
pub fn all() -> Vec<Scenario> {
    vec![
        stores_a_card("guided", "The server leads through the fields: no model between one and the next.")
            .expects(&[Expect::ModelRests, Expect::Says("Now the security code, the three digits")]),
        wrong_entry(),
        stores_a_card("guided-amex", "An American Express card is asked for the four digits on the front.")
            .plays_instead(&[Enters(CardNumber, AMEX), Enters(SecurityCode, "7316"), Enters(ExpirationDate, DATE)])
            .expects(&[Expect::ModelRests, Expect::Says("the four digits on the front")]),
        hopeless(),
        question(),
        cancel_by_voice(),
        model_down(),
        spanish(),
        stores_a_card("guided-callbacks-first", "Every callback overtakes the answer to its request, twice.")
            .with_twilio(Quirks { callback_first: true, doubled: true, ..Quirks::default() })
            .expects(&[Expect::ModelRests, Expect::Does(Request::Capture(CardNumber), 1)]),
        stores_a_card(
            "guided-lost-completion",
            "Twilio submits the payment and its answer gets lost: it is submitted once.",
        )
        .with_twilio(Quirks {
            trouble: Some(Trouble { on: Request::Complete, how: Mishap::Lost, times: 3 }),
            ..Quirks::default()
        })
        .expects(&[Expect::Repeats(Request::Complete)]),
        decline(),
    ]
}

fn stores_a_card(name: &'static str, about: &'static str) -> Scenario {
    scenario(name, about)
        .plays(&[ASKS_TO_STORE, ENTERS_CARD, LEAVES])
        .with_server(Tuning { config: GUIDED, ..Tuning::default() })
        .expects(STORED)
}

impl Scenario {
    /// The caller enters this, and not the usual card.
    fn plays_instead(self, enters: &[super::Step]) -> Self {
        self.plays(&[ASKS_TO_STORE, enters, LEAVES])
    }
}

fn wrong_entry() -> Scenario {
    let enters = [
        Enters(CardNumber, MISTYPED),
        Enters(CardNumber, VISA),
        Enters(SecurityCode, "73"),
        Enters(SecurityCode, CODE),
        Enters(ExpirationDate, DATE),
    ];
    stores_a_card("guided-wrong-entry", "Card number and security code are wrong at first: the server asks again.")
        .plays_instead(&enters)
        .expects(&[
            Expect::WrongEntries(2),
            Expect::ModelRests,
            Expect::Says("That was not accepted. Please type your card number"),
        ])
}

fn hopeless() -> Scenario {
    let enters = [Enters(CardNumber, MISTYPED); 4];
    scenario("guided-hopeless", "The card number is wrong four times: the model takes over, and finds a person.")
        .plays(&[ASKS_TO_STORE, &enters, &[Hears("person")], GETS_A_PERSON])
        .with_server(Tuning { config: GUIDED, ..Tuning::default() })
        .expects(NOTHING_PAID)
        .expects(&[Expect::WrongEntries(4), Expect::Does(Request::Capture(CardNumber), 4), Expect::HandsOff])
}

fn question() -> Scenario {
    let asks = [
        Sees(Request::Capture(CardNumber)),
        Hears("card number"),
        Says("How does this work, exactly?"),
        Hears("keypad of your phone"),
    ];
    stores_a_card("guided-question", "The caller asks something in between: the model answers, and the entry goes on.")
        .plays(&[ASKS_TO_STORE, &asks, ENTERS_CARD, LEAVES])
        .expects(&[Expect::Does(Request::Capture(CardNumber), 1), Expect::Calls("capture-card", 0)])
}

fn cancel_by_voice() -> Scenario {
    let cancels = [
        Enters(CardNumber, VISA),
        Sees(Request::Capture(SecurityCode)),
        Says("Sorry, I changed my mind. Please cancel that."),
        Hears("cancelling|cancelled"),
        Says("No. That's all, goodbye."),
        IsLetGo,
    ];
    scenario("guided-cancel", "The caller wants to cancel between two fields: the server asks no further.")
        .plays(&[ASKS_TO_STORE, &cancels])
        .with_server(Tuning { config: GUIDED, ..Tuning::default() })
        .expects(NOTHING_PAID)
        .expects(&[
            Expect::Does(Request::Cancel, 1),
            Expect::Does(Request::Capture(ExpirationDate), 0),
            Expect::Results(&["transaction-cancelled"]),
        ])
}

fn model_down() -> Scenario {
    let asks = [
        Sees(Request::Capture(CardNumber)),
        Hears("card number"),
        Says("What was that, please?"),
        Hears("card number"),
        Enters(CardNumber, VISA),
        Enters(SecurityCode, CODE),
        Enters(ExpirationDate, DATE),
        Hears("Shall I go on with the payment?"),
        Says("Yes, please."),
        Hears("details are stored"),
        HangsUp,
    ];
    scenario(
        "guided-model-down",
        "The model goes down when the payment has begun: the server asks the caller whether to go on.",
    )
    .plays(&[ASKS_TO_STORE, &asks])
    .with_server(Tuning { config: GUIDED, ..Tuning::default() })
    .with_model(Behaviour { faults: vec![(3..=usize::MAX, Fault::Status(500))], ..Behaviour::default() })
    .expects(&[
        Expect::Payments(&[None]),
        Expect::Results(&["success"]),
        Expect::Does(Request::Complete, 1),
        Expect::NoHandOff,
    ])
}

fn spanish() -> Scenario {
    stores_a_card("guided-spanish", "The session is in Spanish, and so are the server's texts.")
        .with_server(Tuning { config: GUIDED_IN_SPANISH, ..Tuning::default() })
        .expects(&[
            Expect::ModelRests,
            Expect::Says("marque el número de su tarjeta"),
            Expect::Says("Ahora la fecha de vencimiento"),
            Expect::NeverSays("Now the"),
        ])
}

fn decline() -> Scenario {
    let tries_again = [Hears("declined"), Says("Yes, let me try another one.")];
    scenario("guided-decline", "The first card is declined: the model says so, and the server leads through the next.")
        .plays(&[ASKS_TO_PAY, ENTERS_CARD, &tries_again, ENTERS_CARD, LEAVES])
        .with_twilio(Quirks {
            submissions: vec![Submission::declined(64012), Submission::succeeds()],
            ..Quirks::default()
        })
        .with_server(Tuning { config: GUIDED, ..Tuning::default() })
        .expects(&[
            Expect::Payments(&[Some("25.00"), Some("25.00")]),
            Expect::Results(&["payment-connector-error", "success"]),
            Expect::ModelRests,
            Expect::Says("your payment went through"),
        ])
}
