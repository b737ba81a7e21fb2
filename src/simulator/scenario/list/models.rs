//! Scenarios about the behaviour of the model.

use std::time::Duration;

use super::{ASKS_TO_STORE, ENDS_CALL, ENTERS_CARD, STORED, scenario, stores_a_card};
use crate::simulator::business::OwnTool;
use crate::simulator::caller::CallerStep::{Hears, Says, WaitsForCallEnd};
use crate::simulator::openai::{AgentHabits, ModelBehaviour, ModelFault, ServerDeviation};
use crate::simulator::scenario::{Expectation, Scenario};
use crate::simulator::server_under_test::ServerOverrides;
use crate::simulator::twilio::PaymentsRequest;

/// The scenarios, in the order in which they are listed.
pub(super) fn all() -> Vec<Scenario> {
    vec![
        model_down(),
        model_hiccup(),
        model_stalls(),
        model_fails(),
        stores_a_card("reasoning", "A model that reasons: its items travel back with its calls.")
            .with_model(ModelBehaviour { uses_reasoning: true, ..ModelBehaviour::default() })
            .with_server(ServerOverrides { vars: &[("OPENAI_MODEL", "gpt-5-mini")], ..ServerOverrides::default() }),
        stores_a_card("all-at-once", "The model calls three tools in one response.")
            .with_model(habits(AgentHabits { parallel_calls: true, ..AgentHabits::default() }))
            .with_expectations(&[Expectation::ToolCalled("start-capture", 1)]),
        stores_a_card("byte-order-mark", "Every stream of the model begins with a byte order mark.")
            .with_model(deviation(ServerDeviation::ByteOrderMark)),
        repeated_calls(),
        content_filter(),
        stores_a_card("inventions", "The model makes up SIDs, and a tool with broken arguments.")
            .with_model(habits(AgentHabits { invents_sids: true, invents_a_tool: true, ..AgentHabits::default() })),
    ]
}

fn habits(habits: AgentHabits) -> ModelBehaviour {
    ModelBehaviour { habits, ..ModelBehaviour::default() }
}

fn deviation(deviation: ServerDeviation) -> ModelBehaviour {
    ModelBehaviour { deviation: Some(deviation), ..ModelBehaviour::default() }
}

fn repeated_calls() -> Scenario {
    let looks_up = OwnTool::Http { delay: Duration::ZERO, status: 200 };
    let asks = [Hears(""), Says("Hello, what do I owe? My customer number is 1042, and my postal code is 90210.")];
    let agrees = [Hears("40.10 dollars"), Says("Yes, go ahead.")];
    scenario("repeated-calls", "The model's server delivers every tool call twice: each runs once.")
        .with_model(deviation(ServerDeviation::RepeatedCalls))
        .with_server(ServerOverrides { own_tool: Some(looks_up), ..ServerOverrides::default() })
        .with_script(&[&asks, &agrees, ENTERS_CARD, ENDS_CALL])
        .with_expectations(&[
            Expectation::PaymentsCreated(&[Some("40.10")]),
            Expectation::RequestDone(PaymentsRequest::Complete, 1),
            Expectation::BankCharges(&[Some("40.10")]),
            Expectation::LedgerStates(&[&["charged"]]),
        ])
}

fn content_filter() -> Scenario {
    let rude = [Hears(""), Says("Damn this machine!"), Hears("")];
    scenario("content-filter", "A content filter refuses what the caller said once: the call goes on without it.")
        .with_model(deviation(ServerDeviation::ContentFilter("Damn")))
        .with_script(&[&rude, &ASKS_TO_STORE[1..], ENTERS_CARD, ENDS_CALL])
        .with_expectations(STORED)
        .with_expectations(&[Expectation::NeverSays("something went wrong")])
}

fn model_down() -> Scenario {
    let tries = [
        Hears(""),
        Says("Hello, I'd like to make a payment."),
        Hears(""),
        Says("Are you there?"),
        Hears(""),
        Says("Hello?"),
        WaitsForCallEnd,
    ];
    scenario("model-down", "The model is down: the caller hears so each time, and then gets a person.")
        .with_script(&[&tries])
        .with_model(ModelBehaviour {
            faults: vec![(1..=usize::MAX, ModelFault::Status(500))],
            ..ModelBehaviour::default()
        })
        .with_expectations(&[
            Expectation::HandOff,
            Expectation::SessionEnds("ended"),
            Expectation::PaymentsCreated(&[]),
        ])
}

fn model_hiccup() -> Scenario {
    let faults = vec![
        (1..=1, ModelFault::Status(429)),
        (3..=3, ModelFault::Status(500)),
        (5..=5, ModelFault::ConnectionCut(0)),
        (8..=8, ModelFault::StreamEndsEarly(0)),
    ];
    stores_a_card(
        "model-hiccup",
        "The model is busy, down, and cut off before its first word: the caller does not notice.",
    )
    .with_model(ModelBehaviour { faults, ..ModelBehaviour::default() })
}

fn model_stalls() -> Scenario {
    let faults = vec![(1..=1, ModelFault::Stall), (2..=2, ModelFault::ConnectionCut(5))];
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
        .with_script(&[&repeats, ENTERS_CARD, ENDS_CALL])
        .with_model(ModelBehaviour { faults, ..ModelBehaviour::default() })
        .with_server(ServerOverrides { first_token: Some(Duration::from_millis(900)), ..ServerOverrides::default() })
        .with_expectations(STORED)
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
        .with_script(&[&repeats, ENTERS_CARD, ENDS_CALL])
        .with_model(ModelBehaviour { faults: vec![(1..=1, ModelFault::ResponseFailed)], ..ModelBehaviour::default() })
        .with_expectations(STORED)
}
