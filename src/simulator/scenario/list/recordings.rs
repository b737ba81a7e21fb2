//! Scenarios in which Twilio records the call.

use super::{ASKED_FOR_25, ENDS_CALL, ENTERS_CARD, GETS_A_PERSON, NOTHING_PAID, SAYS_GOODBYE, scenario};
use crate::simulator::caller::CallerStep::{self, Enters, Hears, Says};
use crate::simulator::scenario::{Expectation, Scenario};
use crate::simulator::server_under_test::ServerOverrides;
use crate::simulator::twilio::CaptureField::CardNumber;
use crate::simulator::twilio::{PauseFault, PaymentsRequest, Quirks};

/// `serverConfig.json` of a server that records calls, with these sections besides.
macro_rules! records {
    ($sections:literal) => {
        concat!(
            r#"{"Recording": {"enabled": true}, "ConversationRelay": {"Configuration": {
                "welcomeGreeting": "Hello. {disclosure} How can I help you today?", "welcomeGreetingInterruptible": "speech",
                "interruptible": "speech", "events": "speaker-events tokens-played"}}"#,
            $sections,
            "}"
        )
    };
}

const RECORDS: &str = records!("");
const RECORDS_GUIDED: &str = records!(r#", "Payments": {"flow": "guided"}"#);

const ANNOUNCEMENT: &str = "This call is being recorded.";

const PAYS: &[CallerStep] = &[
    Hears(ANNOUNCEMENT),
    Says("Hello, I'd like to pay my bill of 25 dollars."),
    Hears(ASKED_FOR_25),
    Says("Yes, go ahead."),
];

/// The scenarios, in the order in which they are listed.
pub(super) fn all() -> Vec<Scenario> {
    let paid = &[
        Expectation::PaymentsCreated(&[Some("25.00")]),
        Expectation::BankCharges(&[Some("25.00")]),
        Expectation::RecordingSteps(&["start", "pause", "resume"]),
    ];
    let second_card = [Enters(CardNumber, "4242424242424241")];
    vec![
        recorded(
            "recording",
            "The call is announced to be recorded, then recorded, and not while the caller enters a card.",
            RECORDS,
        )
        .with_script(&[PAYS, ENTERS_CARD, ENDS_CALL])
        .with_expectations(paid),
        recorded(
            "recording-guided",
            "In the guided flow nothing is asked for before the pause is confirmed, also after a wrong entry.",
            RECORDS_GUIDED,
        )
        .with_script(&[PAYS, &second_card, ENTERS_CARD, ENDS_CALL])
        .with_expectations(paid)
        .with_expectations(&[Expectation::WrongEntries(1)]),
        pause_fails(
            "recording-pause-fails",
            "Twilio refuses to pause the recording: nothing is asked for, and the agent says so.",
            PauseFault::Refused,
            &["start"],
        ),
        pause_fails(
            "recording-pause-unanswered",
            "Twilio does not confirm that the recording is paused: nothing is asked for, although it may be paused.",
            PauseFault::NoResponse,
            &["start"],
        ),
        recorded(
            "recording-hand-off",
            "A person takes over in the middle of a payment: the recording is stopped before.",
            RECORDS,
        )
        .with_script(&[PAYS, &[Enters(CardNumber, super::VISA)], GETS_A_PERSON])
        .with_server(ServerOverrides {
            config: RECORDS,
            vars: &[("LIVE_AGENT_NUMBER", "+15550100099")],
            ..ServerOverrides::default()
        })
        .with_expectations(NOTHING_PAID)
        .with_expectations(&[
            Expectation::RecordingSteps(&["start", "pause", "stop"]),
            Expectation::Action("Dial +15550100099"),
        ]),
    ]
}

fn recorded(name: &'static str, about: &'static str, config: &'static str) -> Scenario {
    scenario(name, about)
        .with_server(ServerOverrides { config, ..ServerOverrides::default() })
        .with_expectations(&[Expectation::SaysOnce(ANNOUNCEMENT)])
}

fn pause_fails(name: &'static str, about: &'static str, fault: PauseFault, steps: &'static [&'static str]) -> Scenario {
    recorded(name, about, RECORDS)
        .with_script(&[PAYS, &[Hears("speak to a person")], SAYS_GOODBYE])
        .with_quirks(Quirks { pause_fault: Some(fault), ..Quirks::default() })
        .with_expectations(NOTHING_PAID)
        .with_expectations(&[
            Expectation::PaymentsCreated(&[]),
            Expectation::RequestDone(PaymentsRequest::Create, 0),
            Expectation::ToolRefused("start-capture", "could not be paused"),
            Expectation::RecordingSteps(steps),
        ])
}
