//! Scenarios in which a flow of Flowise answers the caller.

use std::time::Duration;

use super::scenario;
use crate::simulator::caller::CallerStep::{self, HangsUp, Hears, Says, SpeaksOver, Waits};
use crate::simulator::flowise::{FlowiseBehaviour, FlowiseFault};
use crate::simulator::scenario::{Expectation, Scenario};
use crate::simulator::server_under_test::ServerOverrides;

/// The scenarios, in the order in which they are listed.
pub(super) fn all() -> Vec<Scenario> {
    let interrupts = [
        Hears(""),
        Says("Can you tell me about how that works?"),
        SpeaksOver { after: "one field", says: "Hold on, please." },
        Hears("take your time"),
        HangsUp,
    ];
    let leaves = [Hears(""), Says("Please tell me about it."), Waits(6), HangsUp];
    vec![
        flowise("flowise", "A flow of Flowise answers a caller who asks how payments work.").with_script(&[&[
            Hears(""),
            Says("How does that work?"),
            Hears("I will tell you at once"),
            HangsUp,
        ]]),
        flowise("flowise-interrupted", "The caller talks over Flowise: its flow is aborted, and its words never mix.")
            .with_script(&[&interrupts])
            .with_flowise(FlowiseBehaviour { is_slow: true, ..FlowiseBehaviour::default() })
            .with_expectations(&[Expectation::NeverSays("I will tell you at once"), Expectation::ModelStopped]),
        flowise("flowise-hang-up", "The caller hangs up while Flowise is answering: its flow is aborted.")
            .with_script(&[&leaves])
            .with_flowise(FlowiseBehaviour { is_slow: true, ..FlowiseBehaviour::default() })
            .with_expectations(&[Expectation::ModelStopped]),
        asks_again("flowise-error", "Flowise fails with status 200, before and within an answer.")
            .with_flowise(faults(&[(1, FlowiseFault::Error(0)), (2, FlowiseFault::Error(6))])),
        asks_again("flowise-silent", "Flowise answers twice without a word, and is not asked again by itself.")
            .with_flowise(faults(&[(1, FlowiseFault::NoWords), (2, FlowiseFault::NoWords)])),
        asks_again("flowise-hangs", "Flowise does not answer, and breaks off: both flows are aborted.")
            .with_flowise(faults(&[(1, FlowiseFault::Hang), (2, FlowiseFault::ConnectionCut(6))]))
            .with_expectations(&[Expectation::ModelStopped]),
        flowise("flowise-json", "A flow that does not stream answers in JSON: the caller hears all of it.")
            .with_script(&[&[Hears(""), Says("How does that work?"), Hears("I will tell you at once"), HangsUp]])
            .with_flowise(FlowiseBehaviour {
                faults: vec![(1..=usize::MAX, FlowiseFault::Json)],
                ..FlowiseBehaviour::default()
            }),
    ]
}

/// Creates a scenario with Flowise and without payments.
fn flowise(name: &'static str, about: &'static str) -> Scenario {
    let server = ServerOverrides {
        vars: &[("RESPONSE_SERVICE", "flowise"), ("OPENAI_API_KEY", "")],
        first_token: Some(Duration::from_millis(900)),
        ..ServerOverrides::default()
    };
    scenario(name, about)
        .with_server(server)
        .with_expectations(&[Expectation::PaymentsCreated(&[]), Expectation::SessionEnds("completed")])
}

/// Creates a scenario in which a caller has to ask three times.
fn asks_again(name: &'static str, about: &'static str) -> Scenario {
    const ASKS: &[CallerStep] = &[
        Hears(""),
        Says("How does that work?"),
        Hears("again"),
        Says("Hello? How does that work?"),
        Hears("again"),
        Says("I said, how does that work?"),
        Hears("I will tell you at once"),
        HangsUp,
    ];
    flowise(name, about).with_script(&[ASKS])
}

/// The predictions with these numbers fail.
fn faults(faults: &[(usize, FlowiseFault)]) -> FlowiseBehaviour {
    let faults = faults.iter().map(|(number, fault)| (*number..=*number, *fault)).collect();
    FlowiseBehaviour { faults, ..FlowiseBehaviour::default() }
}
