//! Scenarios with a hand-off to a live agent.

use super::{ASKS_TO_STORE, GETS_A_PERSON, NOTHING_PAID, scenario};
use crate::simulator::caller::CallerStep::Presses;
use crate::simulator::scenario::{Expectation, Scenario};
use crate::simulator::server_under_test::ServerOverrides;
use crate::simulator::twilio::CaptureField::CardNumber;
use crate::simulator::twilio::Quirks;

type EnvVars = &'static [(&'static str, &'static str)];

const NUMBER: EnvVars = &[("LIVE_AGENT_NUMBER", "+15550100099")];
/// The workflow takes precedence over the number.
const WORKFLOW: EnvVars =
    &[("LIVE_AGENT_WORKFLOW_SID", "WW00000000000000000000000000000001"), ("LIVE_AGENT_NUMBER", "+15550100099")];

/// The scenarios, in the order in which they are listed.
pub(super) fn all() -> Vec<Scenario> {
    let dials = &[Expectation::Action("Dial +15550100099")];
    let queues = &[Expectation::Action("Enqueue"), Expectation::CallerQueued("put a card on file")];
    let hangs_up = &[Expectation::Action("Hangup")];
    let apologises = &[Expectation::Action("Say"), Expectation::Action("Hangup")];
    vec![
        hand_off("hand-off", "The caller asks for a person in the middle of a payment, and talks with one.", NUMBER)
            .with_expectations(dials)
            .with_expectations(hangs_up),
        hand_off("hand-off-unanswered", "The person who is called does not answer: the caller hears so.", NUMBER)
            .with_quirks(nobody_answers())
            .with_expectations(dials)
            .with_expectations(apologises),
        hand_off(
            "hand-off-queue",
            "The caller waits in a queue for a person, who gets a summary of the call.",
            WORKFLOW,
        )
        .with_expectations(queues)
        .with_expectations(hangs_up)
        .with_expectations(&[Expectation::CallEndNotified("hand-off", "put a card on file")]),
        hand_off(
            "hand-off-queue-unanswered",
            "No agent takes the caller out of the queue: the caller hears so.",
            WORKFLOW,
        )
        .with_quirks(nobody_answers())
        .with_expectations(queues)
        .with_expectations(apologises),
    ]
}

fn hand_off(name: &'static str, about: &'static str, vars: EnvVars) -> Scenario {
    scenario(name, about)
        .with_script(&[ASKS_TO_STORE, &[Presses(CardNumber, "42424242")], GETS_A_PERSON])
        .with_server(ServerOverrides { vars, ..ServerOverrides::default() })
        .with_expectations(NOTHING_PAID)
        .with_expectations(&[Expectation::HandOff, Expectation::SessionEnds("ended")])
}

fn nobody_answers() -> Quirks {
    Quirks { hand_off_unanswered: true, ..Quirks::default() }
}
