//! Scenarios about the caller's language, and about what Twilio replays after a lost socket.

use super::{ENDS_CALL, ENTERS_CARD, STORED, guided::GUIDED, scenario};
use crate::simulator::caller::CallerStep::{self, Hears, IsAskedFor, LosesSocketAndReplays, Says, Speaks};
use crate::simulator::scenario::{Expectation, Scenario};
use crate::simulator::server_under_test::ServerOverrides;
use crate::simulator::twilio::CaptureField::CardNumber;
use crate::simulator::twilio::PaymentsRequest;

/// Languages are detected, and three have a voice.
const MULTILINGUAL: &str = r#"{
    "ConversationRelay": {
        "Configuration": { "welcomeGreeting": "Hello. How can I help you today?", "interruptible": "speech",
            "dtmfDetection": true, "events": "speaker-events tokens-played",
            "transcriptionLanguage": "multi", "transcriptionProvider": "Deepgram", "speechModel": "nova-3-general",
            "ttsLanguage": "multi", "ttsProvider": "ElevenLabs" },
        "Languages": [{ "code": "en-AU" }, { "code": "fr-FR" }, { "code": "es-ES" }] },
    "Payments": { "flow": "guided" }
}"#;

/// The scenarios, in the order in which they are listed.
pub(super) fn all() -> Vec<Scenario> {
    vec![caller_changes_language(), replayed_after_reconnect()]
}

/// Upstream's table of detected languages: `en, en, fr, fr, fr, es, en, es, es`. The scripted agent understands English,
/// whatever language is detected.
fn caller_changes_language() -> Scenario {
    const SMALL_TALK: &str = "Hello, are you there?";
    let mut talk: Vec<CallerStep> = vec![Hears("How can I help")];
    for language in ["en", "en", "fr", "fr", "fr", "es", "en", "es"] {
        talk.extend([Speaks(language), Says(SMALL_TALK), Hears("")]);
    }
    let pays = [
        Speaks("es"),
        Says("I'd like to pay my bill of 25 dollars."),
        Hears("25 dólares"),
        Says("Sí, claro."),
        IsAskedFor(CardNumber, "marque el número de su tarjeta"),
    ];
    scenario(
        "caller-changes-language",
        "The caller changes languages: the voice follows after two prompts in a row, and the server's texts and amounts with it.",
    )
    .with_script(&[&talk, &pays, ENTERS_CARD, ENDS_CALL])
    .with_server(ServerOverrides { config: MULTILINGUAL, ..ServerOverrides::default() })
    .with_expectations(&[
        Expectation::VoicesSwitched(&["en-AU", "fr-FR", "es-ES"]),
        Expectation::DeveloperMessage("The caller speaks fr-FR"),
        Expectation::PaymentsCreated(&[Some("25.00")]),
        Expectation::Results(&["success"]),
        Expectation::NeverSays("Please type your card number"),
    ])
}

fn replayed_after_reconnect() -> Scenario {
    let replays = [
        IsAskedFor(CardNumber, "card number"),
        LosesSocketAndReplays(["Hold on a second.", "How does this work, exactly?"], super::VISA),
        Hears("keypad of your phone"),
    ];
    scenario(
        "replayed-after-reconnect",
        "The socket breaks during an entry, and Twilio replays 500 frames at once: there is one reply, and no digit is kept.",
    )
    .with_script(&[super::ASKS_TO_STORE, &replays, ENTERS_CARD, ENDS_CALL])
    .with_server(ServerOverrides { config: GUIDED, ..ServerOverrides::default() })
    .with_expectations(STORED)
    .with_expectations(&[
        Expectation::SaysOnce("keypad of your phone"),
        Expectation::RequestDone(PaymentsRequest::Capture(CardNumber), 1),
    ])
}
