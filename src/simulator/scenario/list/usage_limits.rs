//! Scenarios that reach a limit on calls or text messages.

use std::time::Duration;

use super::{ASKS_TO_STORE, ENDS_CALL, ENTERS_CARD, GETS_A_PERSON, STORED, scenario};
use crate::simulator::caller::CallerStep::{AnotherCallerHears, Hears, Says, WaitsForCallEnd};
use crate::simulator::scenario::{Expectation, Scenario};
use crate::simulator::server_under_test::ServerOverrides;

const ONE_CALL: &str = r#"{
    "ConversationRelay": { "Configuration": { "welcomeGreeting": "Hello. How can I help you today?", "interruptible": "speech",
        "dtmfDetection": true, "events": "speaker-events tokens-played" } },
    "Limits": { "calls": 1 }
}"#;

/// The scenarios, in the order in which they are listed.
pub(super) fn all() -> Vec<Scenario> {
    vec![too_many_calls(), call_too_long(), text_message_refused()]
}

fn too_many_calls() -> Scenario {
    scenario(
        "too-many-calls",
        "Somebody calls while as many calls are live as the limit allows: a sentence, and the live call goes on.",
    )
    .with_script(&[ASKS_TO_STORE, &[AnotherCallerHears("all lines are busy")], ENTERS_CARD, ENDS_CALL])
    .with_server(ServerOverrides { config: ONE_CALL, ..ServerOverrides::default() })
    .with_expectations(STORED)
}

fn call_too_long() -> Scenario {
    scenario(
        "call-too-long",
        "A call reaches its limit: the caller is told before, hears a farewell, and the call ends.",
    )
    .with_script(&[&[Hears(""), Hears("ends in two minutes"), Hears("reached its time limit"), WaitsForCallEnd]])
    .with_server(ServerOverrides { call_length: Some(Duration::from_secs(2)), ..ServerOverrides::default() })
    .with_expectations(&[
        Expectation::PaymentsCreated(&[]),
        Expectation::SessionEnds("ended"),
        Expectation::NoHandOff,
        Expectation::CallEndNotified("time-limit", ""),
    ])
}

fn text_message_refused() -> Scenario {
    scenario(
        "text-message-refused",
        "A caller whose number is not among those that the server calls wants a text message: none is sent.",
    )
    .with_script(&[&[Hears(""), Says("Please send me a text message."), Hears("did not work")], GETS_A_PERSON])
    .with_server(ServerOverrides { vars: &[("OUTBOUND_ALLOWED", "+49, +43")], ..ServerOverrides::default() })
    .with_expectations(&[
        Expectation::PaymentsCreated(&[]),
        Expectation::ToolCalled("send-sms", 1),
        Expectation::ToolRefused("send-sms", "No text message can be sent to the number of this caller"),
        Expectation::HandOff,
    ])
}
