//! What the model does.

use std::time::Duration;

use super::{ENTERS_CARD, LEAVES, STORED, scenario, stores_a_card};
use crate::simulator::caller::Step::{Hears, IsLetGo, Says};
use crate::simulator::house::Tuning;
use crate::simulator::openai::{Behaviour, Fault, Habits};
use crate::simulator::scenario::{Expect, Scenario};

/// The scenarios, in the order in which they are listed.
pub fn all() -> Vec<Scenario> {
    vec![
        model_down(),
        model_hiccup(),
        model_stalls(),
        model_fails(),
        stores_a_card("reasoning", "A model that reasons: its items travel back with its calls.")
            .with_model(Behaviour { reasons: true, ..Behaviour::default() })
            .with_server(Tuning { vars: &[("OPENAI_MODEL", "gpt-5-mini")], ..Tuning::default() }),
        stores_a_card("all-at-once", "The model calls three tools in one response.")
            .with_model(habits(Habits { all_at_once: true, ..Habits::default() }))
            .expects(&[Expect::Calls("start-capture", 1)]),
        stores_a_card("inventions", "The model makes up SIDs, and a tool with broken arguments.")
            .with_model(habits(Habits { invents_sids: true, invents_a_tool: true, ..Habits::default() })),
    ]
}

fn habits(habits: Habits) -> Behaviour {
    Behaviour { habits, ..Behaviour::default() }
}

fn model_down() -> Scenario {
    let tries = [
        Hears(""),
        Says("Hello, I'd like to make a payment."),
        Hears(""),
        Says("Are you there?"),
        Hears(""),
        Says("Hello?"),
        IsLetGo,
    ];
    scenario("model-down", "The model is down: the caller hears so each time, and then gets a person.")
        .plays(&[&tries])
        .with_model(Behaviour { faults: vec![(1..=usize::MAX, Fault::Status(500))], ..Behaviour::default() })
        .expects(&[Expect::HandsOff, Expect::SessionEnds("ended"), Expect::Payments(&[])])
}

fn model_hiccup() -> Scenario {
    let faults =
        vec![(1..=1, Fault::Status(429)), (3..=3, Fault::Status(500)), (5..=5, Fault::Cut(0)), (8..=8, Fault::Ends(0))];
    stores_a_card("model-hiccup", "The model is busy, down, and cut off before its first word: nobody notices.")
        .with_model(Behaviour { faults, ..Behaviour::default() })
}

fn model_stalls() -> Scenario {
    let faults = vec![(1..=1, Fault::Stalls), (2..=2, Fault::Cut(5))];
    let repeats = [
        Hears(""),
        Says("Hi, I'd like to put a card on file."),
        Hears(""),
        Says("I'd like to put a card on file, please."),
        Hears(""),
        Says("Once more: a card on file."),
        Hears("go ahead"),
        Says("Yes."),
    ];
    scenario("model-stalls", "The model says nothing once, and breaks off once: the caller says it again.")
        .plays(&[&repeats, ENTERS_CARD, LEAVES])
        .with_model(Behaviour { faults, ..Behaviour::default() })
        .with_server(Tuning { first_token: Some(Duration::from_millis(900)), ..Tuning::default() })
        .expects(STORED)
}

fn model_fails() -> Scenario {
    let repeats = [
        Hears(""),
        Says("I'd like to put a card on file."),
        Hears(""),
        Says("A card on file, please."),
        Hears("go ahead"),
        Says("Yes."),
    ];
    scenario("model-fails", "A response fails: the caller hears so, and says it again.")
        .plays(&[&repeats, ENTERS_CARD, LEAVES])
        .with_model(Behaviour { faults: vec![(1..=1, Fault::Fails)], ..Behaviour::default() })
        .expects(STORED)
}
