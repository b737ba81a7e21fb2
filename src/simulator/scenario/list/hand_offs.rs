//! Calls that are given to a person.

use super::{ASKS_TO_STORE, GETS_A_PERSON, NOTHING_PAID, scenario};
use crate::simulator::caller::Step::Presses;
use crate::simulator::house::Tuning;
use crate::simulator::scenario::{Expect, Scenario};
use crate::simulator::twilio::Field::CardNumber;
use crate::simulator::twilio::Quirks;

type Vars = &'static [(&'static str, &'static str)];

const NUMBER: Vars = &[("LIVE_AGENT_NUMBER", "+15550100099")];
/// The workflow goes before the number.
const WORKFLOW: Vars =
    &[("LIVE_AGENT_WORKFLOW_SID", "WW00000000000000000000000000000001"), ("LIVE_AGENT_NUMBER", "+15550100099")];

/// The scenarios, in the order in which they are listed.
pub fn all() -> Vec<Scenario> {
    let dials = &[Expect::Action("Dial +15550100099")];
    let queues = &[Expect::Action("Enqueue"), Expect::Queues("put a card on file")];
    let hangs_up = &[Expect::Action("Hangup")];
    let apologises = &[Expect::Action("Say"), Expect::Action("Hangup")];
    vec![
        hand_off("hand-off", "The caller asks for a person in the middle of a payment, and talks with one.", NUMBER)
            .expects(dials)
            .expects(hangs_up),
        hand_off("hand-off-unanswered", "The person who is called does not answer: the caller hears so.", NUMBER)
            .with_twilio(nobody_answers())
            .expects(dials)
            .expects(apologises),
        hand_off("hand-off-queue", "The caller waits in a queue for a person, who is told what it is about.", WORKFLOW)
            .expects(queues)
            .expects(hangs_up),
        hand_off(
            "hand-off-queue-unanswered",
            "Nobody takes the caller out of the queue: the caller hears so.",
            WORKFLOW,
        )
        .with_twilio(nobody_answers())
        .expects(queues)
        .expects(apologises),
    ]
}

fn hand_off(name: &'static str, about: &'static str, vars: Vars) -> Scenario {
    scenario(name, about)
        .plays(&[ASKS_TO_STORE, &[Presses(CardNumber, "42424242")], GETS_A_PERSON])
        .with_server(Tuning { vars, ..Tuning::default() })
        .expects(NOTHING_PAID)
        .expects(&[Expect::HandsOff, Expect::SessionEnds("ended")])
}

fn nobody_answers() -> Quirks {
    Quirks { nobody_answers: true, ..Quirks::default() }
}
