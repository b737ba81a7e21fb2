//! Scenarios about what callers say, and when.

use std::time::Duration;

use super::{ASKS_TO_PAY, ASKS_TO_STORE, ENDS_CALL, ENTERS_CARD, NOTHING_PAID, STORED};
use super::{scenario, stores_a_card};
use crate::simulator::caller::CallerStep::{
    Hears, Presses, Says, SpeaksOver, Waits, WaitsForCallEnd, WaitsForRequest, WaitsForSession,
};
use crate::simulator::openai::ModelBehaviour;
use crate::simulator::scenario::{Expectation, Scenario};
use crate::simulator::server_under_test::ServerOverrides;
use crate::simulator::twilio::CaptureField::CardNumber;
use crate::simulator::twilio::{HttpFault, HttpFaultKind, PaymentsRequest, Quirks};

/// The scenarios, in the order in which they are listed.
pub(super) fn all() -> Vec<Scenario> {
    vec![
        stores_a_card("happy-path", "A caller stores a card for later: card number, security code, expiry date."),
        charge(),
        cancel_by_voice(),
        listen_mode(),
        interruption(),
        interrupted_tool(),
        interrupted_goodbye(
            "interrupted-goodbye",
            "The caller talks over the goodbye while it is still being written.",
        )
        .with_model(ModelBehaviour { is_slow: true, ..ModelBehaviour::default() }),
        interrupted_goodbye("interrupted-last-word", "The caller talks over the goodbye when all of it has been sent."),
        silence(),
        sync_edit(),
        change_context(),
        spoken_card_number(),
        disclosure_cut_off(),
        are_you_a_robot(),
    ]
}

fn charge() -> Scenario {
    scenario("charge", "A caller pays 25 dollars.")
        .with_script(&[ASKS_TO_PAY, ENTERS_CARD, ENDS_CALL])
        .with_expectations(&[
            Expectation::PaymentsCreated(&[Some("25.00")]),
            Expectation::Results(&["success"]),
            Expectation::RequestDone(PaymentsRequest::Complete, 1),
            Expectation::Says("your payment went through"),
        ])
}

fn cancel_by_voice() -> Scenario {
    let cancels = [
        Presses(CardNumber, "424242"),
        Says("Sorry, I changed my mind. Please cancel that."),
        Hears("cancelling|cancelled"),
        Says("No. That's all, goodbye."),
        WaitsForCallEnd,
    ];
    scenario("cancel-by-voice", "In the middle of the card number, the caller wants to cancel.")
        .with_script(&[ASKS_TO_STORE, &cancels])
        .with_expectations(NOTHING_PAID)
        .with_expectations(&[
            Expectation::RequestDone(PaymentsRequest::Cancel, 1),
            Expectation::Results(&["transaction-cancelled"]),
        ])
}

fn listen_mode() -> Scenario {
    let has_it_listen = [
        Hears(""),
        Says("Please just listen for now, my child is asleep."),
        Hears("only listen"),
        Says("I'd like to put a card on file."),
        Says("Yes, please."),
    ];
    let has_it_speak = [WaitsForRequest(PaymentsRequest::Complete), Waits(6), Says("Thank you, you may speak again.")];
    scenario("listen-mode", "The agent is asked to only listen: it works without a word, until it may speak again.")
        .with_script(&[&has_it_listen, ENTERS_CARD, &has_it_speak, ENDS_CALL])
        .with_expectations(STORED)
        .with_expectations(&[Expectation::ListensOnly("capture-card"), Expectation::ToolCalled("set-listen-mode", 2)])
}

fn interruption() -> Scenario {
    let interrupts = [
        Hears(""),
        Says("Can you tell me about how that works?"),
        SpeaksOver { after: "one field", says: "Thanks, I see. I'd like to put a card on file." },
        Hears("go ahead"),
        Says("Yes, please."),
    ];
    scenario("interruption", "The caller talks over a long answer, and never hears the rest of it.")
        .with_script(&[&interrupts, ENTERS_CARD, ENDS_CALL])
        .with_model(ModelBehaviour { is_slow: true, ..ModelBehaviour::default() })
        .with_expectations(STORED)
        .with_expectations(&[Expectation::NeverSays("I will tell you at once"), Expectation::ModelStopped])
}

fn interrupted_tool() -> Scenario {
    let slow = HttpFault { request: PaymentsRequest::Create, kind: HttpFaultKind::Slow(6), times: 1 };
    scenario("interrupted-tool", "The caller says something while a payment is being created: it is created once.")
        .with_script(&[ASKS_TO_STORE, &[WaitsForSession, Says("Hold on a second.")], ENTERS_CARD, ENDS_CALL])
        .with_quirks(Quirks { http_fault: Some(slow), ..Quirks::default() })
        .with_expectations(STORED)
        .with_expectations(&[Expectation::ToolCalled("start-capture", 1)])
}

fn interrupted_goodbye(name: &'static str, about: &'static str) -> Scenario {
    let second_thoughts = [
        Hears(""),
        Says("Oh, wrong number. Goodbye."),
        SpeaksOver { after: "Thank you", says: "No wait, I am still here." },
        Hears("take your time"),
        Says("I'd like to put a card on file."),
        Hears("go ahead"),
        Says("Yes, please."),
    ];
    scenario(name, about).with_script(&[&second_thoughts, ENTERS_CARD, ENDS_CALL]).with_expectations(STORED)
}

fn change_context() -> Scenario {
    let config = r#"{
        "ConversationRelay": { "Configuration": { "welcomeGreeting": "Hello.", "events": "speaker-events tokens-played" } },
        "AssetLoader": { "context": "defaultContext", "manifest": "defaultToolManifest" }
    }"#;
    let pays = [Hears(""), Says("I'd like to put a card on file."), Hears("go ahead"), Says("Yes, please.")];
    scenario("change-context", "An agent that takes no payments becomes one that does, in the middle of the call.")
        .with_script(&[&pays, ENTERS_CARD, ENDS_CALL])
        .with_server(ServerOverrides { config, ..ServerOverrides::default() })
        .with_expectations(STORED)
        .with_expectations(&[Expectation::ToolCalled("change-context", 1)])
}

fn sync_edit() -> Scenario {
    let about = "All assets are in Twilio Sync, and all are edited during a payment: only the next call notices.";
    stores_a_card("sync-edit", about).with_server(ServerOverrides { uses_sync: true, ..ServerOverrides::default() })
}

fn silence() -> Scenario {
    let searches = [WaitsForRequest(PaymentsRequest::Capture(CardNumber)), Waits(90)];
    let says_nothing = [Hears("All set"), WaitsForCallEnd];
    scenario("silence", "The caller takes long to find the card, and in the end says nothing at all.")
        .with_script(&[ASKS_TO_STORE, &searches, ENTERS_CARD, &says_nothing])
        .with_server(ServerOverrides { silence: Some(Duration::from_millis(350)), ..ServerOverrides::default() })
        .with_expectations(STORED)
        .with_expectations(&[Expectation::NoReminderDuringPayment])
}

fn spoken_card_number() -> Scenario {
    let in_two_parts = [
        Hears(""),
        Says("Hi. My card is four two four two, double four, no: four two four two, four two four two."),
        Hears(""),
        Says("And then it is forty-two forty-two, 4242."),
        Hears("do not say card details"),
    ];
    let during_the_capture = [
        WaitsForRequest(PaymentsRequest::Capture(CardNumber)),
        Says("Can I just tell you? Four two four two 4242, um, four thousand two hundred forty-two, and 42 forty-two."),
        Hears("do not say card details"),
        Says("It is seven three one on the back."),
        Hears("do not say card details"),
    ];
    let asks = [Says("I'd like to put a card on file, then."), Hears("go ahead"), Says("Yes, please.")];
    scenario(
        "spoken-card-number",
        "The caller reads the card number out, in words and in two parts; it is redacted everywhere, and then entered on the keypad.",
    )
    .with_script(&[&in_two_parts, &asks, &during_the_capture, ENTERS_CARD, ENDS_CALL])
    .with_expectations(STORED)
    .with_expectations(&[Expectation::WrongEntries(0)])
}

fn disclosure_cut_off() -> Scenario {
    let interrupts = [
        SpeaksOver { after: "Hello, and", says: "Hi, I'd like to put a card on file." },
        Hears(DISCLOSED),
        Hears("go ahead"),
        Says("Yes, please."),
    ];
    scenario(
        "disclosure-cut-off",
        "The caller cuts the greeting off after two words: the server says that a machine is speaking before the agent says anything.",
    )
    .with_script(&[&interrupts, ENTERS_CARD, ENDS_CALL])
    .with_server(ServerOverrides { vars: &[("BUSINESS_NAME", "Acme")], ..ServerOverrides::default() })
    .with_expectations(STORED)
    .with_expectations(&[Expectation::SaysOnce(DISCLOSED)])
}

fn are_you_a_robot() -> Scenario {
    let asks = [
        Hears(DISCLOSED),
        Says("Am I talking to a robot?"),
        Hears("Yes, I am an automated assistant"),
        Says("I'd like to put a card on file."),
        Hears("go ahead"),
        Says("Yes, please."),
    ];
    scenario("are-you-a-robot", "The greeting says that a machine is speaking, and the agent does not deny it.")
        .with_script(&[&asks, ENTERS_CARD, ENDS_CALL])
        .with_server(ServerOverrides { vars: &[("BUSINESS_NAME", "Acme")], ..ServerOverrides::default() })
        .with_expectations(STORED)
        .with_expectations(&[Expectation::SaysOnce(DISCLOSED)])
}

/// The built-in disclosure with the name of the business.
const DISCLOSED: &str = "This is the automated AI assistant of Acme.";
