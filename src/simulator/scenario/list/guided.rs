//! Scenarios of the guided flow, in which the server asks for the fields without the model.

use super::entries::{AMEX, MISTYPED};
use super::{
    ASKS_TO_PAY, ASKS_TO_STORE, CODE, DATE, ENDS_CALL, ENTERS_CARD, GETS_A_PERSON, NOTHING_PAID, STORED, VISA, scenario,
};
use crate::simulator::caller::CallerStep::{
    Enters, HangsUp, Hears, IsAskedFor, Says, WaitsForCallEnd, WaitsForRequest,
};
use crate::simulator::openai::{ModelBehaviour, ModelFault};
use crate::simulator::scenario::{Expectation, Scenario};
use crate::simulator::server_under_test::ServerOverrides;
use crate::simulator::twilio::CaptureField::{CardNumber, ExpirationDate, SecurityCode};
use crate::simulator::twilio::{HttpFault, HttpFaultKind, PaymentsRequest, Quirks, ScriptedSubmission};

pub(super) const GUIDED: &str = r#"{
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
pub(super) fn all() -> Vec<Scenario> {
    vec![
        stores_a_card("guided", "The server leads through the fields: no model between one and the next.")
            .with_expectations(&[
                Expectation::ModelIdleDuringPayment,
                Expectation::Says("Now the security code, the three digits"),
            ]),
        wrong_entry(),
        stores_a_card("guided-amex", "An American Express card is asked for the four digits on the front.")
            .plays_instead(&[Enters(CardNumber, AMEX), Enters(SecurityCode, "7316"), Enters(ExpirationDate, DATE)])
            .with_expectations(&[
                Expectation::ModelIdleDuringPayment,
                Expectation::Says("the four digits on the front"),
            ]),
        hopeless(),
        question(),
        cancel_by_voice(),
        model_down(),
        spanish(),
        stores_a_card("guided-callbacks-first", "Every callback overtakes the answer to its request, twice.")
            .with_quirks(Quirks { callback_first: true, duplicate_callbacks: true, ..Quirks::default() })
            .with_expectations(&[
                Expectation::ModelIdleDuringPayment,
                Expectation::RequestDone(PaymentsRequest::Capture(CardNumber), 1),
            ]),
        stores_a_card(
            "guided-lost-completion",
            "Twilio submits the payment and its answer gets lost: it is submitted once.",
        )
        .with_quirks(Quirks {
            http_fault: Some(HttpFault {
                request: PaymentsRequest::Complete,
                kind: HttpFaultKind::ResponseLost,
                times: 3,
            }),
            ..Quirks::default()
        })
        .with_expectations(&[Expectation::RequestRetried(PaymentsRequest::Complete)]),
        decline(),
    ]
}

fn stores_a_card(name: &'static str, about: &'static str) -> Scenario {
    scenario(name, about)
        .with_script(&[ASKS_TO_STORE, ENTERS_CARD, ENDS_CALL])
        .with_server(ServerOverrides { config: GUIDED, ..ServerOverrides::default() })
        .with_expectations(STORED)
}

impl Scenario {
    /// Replaces the caller's entries.
    fn plays_instead(self, enters: &[super::CallerStep]) -> Self {
        self.with_script(&[ASKS_TO_STORE, enters, ENDS_CALL])
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
        .with_expectations(&[
            Expectation::WrongEntries(2),
            Expectation::ModelIdleDuringPayment,
            Expectation::Says("That was not accepted. Please type your card number"),
        ])
}

fn hopeless() -> Scenario {
    let enters = [Enters(CardNumber, MISTYPED); 4];
    scenario("guided-hopeless", "The card number is wrong four times: the model takes over, and finds a person.")
        .with_script(&[ASKS_TO_STORE, &enters, &[Hears("person")], GETS_A_PERSON])
        .with_server(ServerOverrides { config: GUIDED, ..ServerOverrides::default() })
        .with_expectations(NOTHING_PAID)
        .with_expectations(&[
            Expectation::WrongEntries(4),
            Expectation::RequestDone(PaymentsRequest::Capture(CardNumber), 4),
            Expectation::HandOff,
        ])
}

fn question() -> Scenario {
    let asks =
        [IsAskedFor(CardNumber, "card number"), Says("How does this work, exactly?"), Hears("keypad of your phone")];
    stores_a_card("guided-question", "The caller asks something in between: the model answers, and the entry goes on.")
        .with_script(&[ASKS_TO_STORE, &asks, ENTERS_CARD, ENDS_CALL])
        .with_expectations(&[
            Expectation::RequestDone(PaymentsRequest::Capture(CardNumber), 1),
            Expectation::ToolCalled("capture-card", 0),
        ])
}

fn cancel_by_voice() -> Scenario {
    let cancels = [
        Enters(CardNumber, VISA),
        WaitsForRequest(PaymentsRequest::Capture(SecurityCode)),
        Says("Sorry, I changed my mind. Please cancel that."),
        Hears("cancelling|cancelled"),
        Says("No. That's all, goodbye."),
        WaitsForCallEnd,
    ];
    scenario("guided-cancel", "The caller wants to cancel between two fields: the server asks no further.")
        .with_script(&[ASKS_TO_STORE, &cancels])
        .with_server(ServerOverrides { config: GUIDED, ..ServerOverrides::default() })
        .with_expectations(NOTHING_PAID)
        .with_expectations(&[
            Expectation::RequestDone(PaymentsRequest::Cancel, 1),
            Expectation::RequestDone(PaymentsRequest::Capture(ExpirationDate), 0),
            Expectation::Results(&["transaction-cancelled"]),
        ])
}

fn model_down() -> Scenario {
    let asks = [
        IsAskedFor(CardNumber, "card number"),
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
    .with_script(&[ASKS_TO_STORE, &asks])
    .with_server(ServerOverrides { config: GUIDED, ..ServerOverrides::default() })
    .with_model(ModelBehaviour { faults: vec![(3..=usize::MAX, ModelFault::Status(500))], ..ModelBehaviour::default() })
    .with_expectations(&[
        Expectation::PaymentsCreated(&[None]),
        Expectation::Results(&["success"]),
        Expectation::RequestDone(PaymentsRequest::Complete, 1),
        Expectation::NoHandOff,
    ])
}

fn spanish() -> Scenario {
    stores_a_card("guided-spanish", "The session is in Spanish, and so are the server's texts.")
        .with_server(ServerOverrides { config: GUIDED_IN_SPANISH, ..ServerOverrides::default() })
        .with_expectations(&[
            Expectation::ModelIdleDuringPayment,
            Expectation::Says("marque el número de su tarjeta"),
            Expectation::Says("Ahora la fecha de vencimiento"),
            Expectation::NeverSays("Now the"),
        ])
}

fn decline() -> Scenario {
    let tries_again = [Hears("declined"), Says("Yes, let me try another one.")];
    scenario("guided-decline", "The first card is declined: the model says so, and the server leads through the next.")
        .with_script(&[ASKS_TO_PAY, ENTERS_CARD, &tries_again, ENTERS_CARD, ENDS_CALL])
        .with_quirks(Quirks {
            submissions: vec![ScriptedSubmission::declined(64012), ScriptedSubmission::success()],
            ..Quirks::default()
        })
        .with_server(ServerOverrides { config: GUIDED, ..ServerOverrides::default() })
        .with_expectations(&[
            Expectation::PaymentsCreated(&[Some("25.00"), Some("25.00")]),
            Expectation::Results(&["payment-connector-error", "success"]),
            Expectation::ModelIdleDuringPayment,
            Expectation::Says("your payment went through"),
        ])
}
