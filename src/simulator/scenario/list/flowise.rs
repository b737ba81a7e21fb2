//! Scenarios in which a flow of Flowise answers the caller.

use std::time::Duration;

use super::guided::GUIDED;
use super::{ASKS_TO_PAY, ASKS_TO_STORE, ENDS_CALL, ENTERS_CARD, STORED, scenario};
use crate::simulator::caller::CallerStep::{self, HangsUp, Hears, Says, SpeaksOver, Waits};
use crate::simulator::flowise::{FlowiseBehaviour, FlowiseFault};
use crate::simulator::scenario::{Expectation, Scenario};
use crate::simulator::server_under_test::ServerOverrides;
use crate::simulator::twilio::PaymentsRequest;

/// The scenarios, in the order in which they are listed.
pub(super) fn all() -> Vec<Scenario> {
    let interrupts = [
        Hears(""),
        Says("Can you tell me about how that works?"),
        SpeaksOver { after: "one field", says: "Hold on, please." },
        Hears("take your time"),
        HangsUp,
    ];
    let takes_back_goodbye = [
        Hears(""),
        Says("Goodbye."),
        SpeaksOver { after: "Thank", says: "No, wait, one moment please." },
        Hears("take your time"),
        Waits(6),
        HangsUp,
    ];
    let leaves = [Hears(""), Says("Please tell me about it."), Waits(6), HangsUp];
    vec![
        charges(),
        guided(),
        flowise("flowise-interrupted", "The caller talks over Flowise: its flow is aborted, and its words never mix.")
            .with_script(&[&interrupts])
            .with_flowise(FlowiseBehaviour { is_slow: true, ..FlowiseBehaviour::default() })
            .with_expectations(&[Expectation::NeverSays("I will tell you at once"), Expectation::ModelStopped]),
        flowise("flowise-hang-up", "The caller hangs up while Flowise is answering: its flow is aborted.")
            .with_script(&[&leaves])
            .with_flowise(FlowiseBehaviour { is_slow: true, ..FlowiseBehaviour::default() })
            .with_expectations(&[Expectation::ModelStopped]),
        flowise("flowise-late-call", "A flow ends the call in an answer that was interrupted: it is refused.")
            .with_script(&[&takes_back_goodbye])
            .with_flowise(FlowiseBehaviour { is_slow: true, ..faults(&[(1, FlowiseFault::IgnoresAbort)]) })
            .with_expectations(&[
                Expectation::ModelStopped,
                Expectation::ToolCalled("end-call", 1),
                Expectation::ToolRefused("end-call", "This answer was interrupted; nothing was done."),
            ]),
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

/// The configuration of a server that uses Flowise.
fn server() -> ServerOverrides {
    let vars = &[("RESPONSE_SERVICE", "flowise"), ("OPENAI_API_KEY", "")];
    ServerOverrides { vars, ..ServerOverrides::default() }
}

fn charges() -> Scenario {
    scenario("flowise", "A flow of Flowise takes a payment: its tools are those of the call, over MCP.")
        .with_server(server())
        .with_script(&[ASKS_TO_PAY, ENTERS_CARD, ENDS_CALL])
        .with_expectations(&[
            Expectation::PaymentsCreated(&[Some("25.00")]),
            Expectation::Results(&["success"]),
            Expectation::RequestDone(PaymentsRequest::Complete, 1),
            Expectation::ToolCalled("confirm-amount", 1),
            Expectation::ToolCalled("start-capture", 1),
            Expectation::ToolCalled("finish-capture", 1),
            Expectation::Says("your payment went through"),
            Expectation::SessionEnds("ended"),
            Expectation::NoHandOff,
        ])
}

fn guided() -> Scenario {
    scenario("flowise-guided", "A flow of Flowise starts a payment, and the server guides the caller through it.")
        .with_server(ServerOverrides { config: GUIDED, ..server() })
        .with_script(&[ASKS_TO_STORE, ENTERS_CARD, ENDS_CALL])
        .with_expectations(STORED)
        .with_expectations(&[Expectation::ToolCalled("start-capture", 1), Expectation::ToolCalled("capture-card", 0)])
}

/// Creates a scenario with Flowise and without payments.
fn flowise(name: &'static str, about: &'static str) -> Scenario {
    let server = ServerOverrides { first_token: Some(Duration::from_millis(900)), ..server() };
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
