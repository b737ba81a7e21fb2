//! Scenarios in which responses are requested over WebSockets.

use super::{ASKS_TO_PAY, ENDS_CALL, ENTERS_CARD, STORED, scenario, stores_a_card};
use crate::simulator::caller::CallerStep::{Hears, Says, SpeaksOver};
use crate::simulator::openai::{ModelBehaviour, ModelFault};
use crate::simulator::scenario::{Expectation, Scenario};
use crate::simulator::server_under_test::ServerOverrides;
use crate::simulator::twilio::PaymentsRequest;

/// The code of the error of a socket that has reached its maximum age.
const CONNECTION_LIMIT: &str = "websocket_connection_limit_reached";

/// The scenarios, in the order in which they are listed.
pub(super) fn all() -> Vec<Scenario> {
    vec![
        over_socket(
            scenario("socket-charge", "A caller pays 25 dollars, and the model answers over one WebSocket.")
                .with_script(&[ASKS_TO_PAY, ENTERS_CARD, ENDS_CALL])
                .with_expectations(&[
                    Expectation::PaymentsCreated(&[Some("25.00")]),
                    Expectation::RequestDone(PaymentsRequest::Complete, 1),
                    Expectation::BankCharges(&[Some("25.00")]),
                    Expectation::Says("your payment went through"),
                ]),
            ModelBehaviour::default(),
            (1, 0),
        ),
        over_socket(
            stores_a_card(
                "socket-too-old",
                "Two WebSockets are too old, as a nested and as a flat event say: new ones are opened.",
            ),
            faults(&[(1, limit(true)), (4, limit(false))]),
            (3, 0),
        ),
        over_socket(
            stores_a_card(
                "socket-errors",
                "Over a WebSocket the model is busy, forgets, and fails: HTTP takes over, and nothing is lost.",
            ),
            faults(&[
                (1, ModelFault::Status(429)),
                (3, ModelFault::Error { code: "previous_response_not_found", is_nested: true }),
                (5, ModelFault::ResponseFailed),
            ]),
            (1, 2),
        ),
        over_socket(
            stores_a_card(
                "socket-cut",
                "The WebSocket breaks before an answer, and in one before its first word: HTTP takes over.",
            ),
            faults(&[(1, ModelFault::ConnectionLost), (3, ModelFault::ConnectionCut(0))]),
            (3, 2),
        ),
        cut_in_the_middle(),
        stores_a_card("socket-refused", "The model's server has no WebSockets: the call goes over HTTP.")
            .with_model(ModelBehaviour { socket_refusal: Some(426), ..ModelBehaviour::default() })
            .with_server(ServerOverrides { vars: OVER_SOCKETS, ..ServerOverrides::default() })
            .with_expectations(&[Expectation::ModelSockets(0)]),
        interruption(),
    ]
}

const OVER_SOCKETS: &[(&str, &str)] = &[("OPENAI_TRANSPORT", "websocket")];

fn limit(is_nested: bool) -> ModelFault {
    ModelFault::Error { code: CONNECTION_LIMIT, is_nested }
}

fn faults(faults: &[(usize, ModelFault)]) -> ModelBehaviour {
    let faults = faults.iter().map(|(number, fault)| (*number..=*number, *fault)).collect();
    ModelBehaviour { faults, ..ModelBehaviour::default() }
}

/// The scenario over WebSockets, with their number and that of the requests over HTTP.
fn over_socket(scenario: Scenario, model: ModelBehaviour, (sockets, http_requests): (usize, usize)) -> Scenario {
    scenario
        .with_model(model)
        .with_server(ServerOverrides { vars: OVER_SOCKETS, ..ServerOverrides::default() })
        .with_expectations(&[Expectation::ModelSockets(sockets), Expectation::ModelRequestsOverHttp(http_requests)])
}

fn cut_in_the_middle() -> Scenario {
    let repeats = [
        Hears(""),
        Says("Hi, I'd like to put a card on file."),
        Hears("something went wrong"),
        Says("I'd like to put a card on file, please."),
        Hears("go ahead"),
        Says("Yes."),
    ];
    let about = "The WebSocket breaks in the middle of an answer: what was said is not said again.";
    let call = scenario("socket-cut-mid-answer", about)
        .with_script(&[&repeats, ENTERS_CARD, ENDS_CALL])
        .with_expectations(STORED);
    over_socket(call, faults(&[(1, ModelFault::ConnectionCut(5))]), (2, 0))
}

fn interruption() -> Scenario {
    let interrupts = [
        Hears(""),
        Says("Can you tell me about how that works?"),
        SpeaksOver { after: "one field", says: "Thanks, I see. I'd like to put a card on file." },
        Hears("go ahead"),
        Says("Yes, please."),
    ];
    let about =
        "The caller talks over an answer that cannot be cancelled: it goes on, and nobody hears the rest of it.";
    let call = scenario("socket-interruption", about)
        .with_script(&[&interrupts, ENTERS_CARD, ENDS_CALL])
        .with_expectations(STORED)
        .with_expectations(&[
            Expectation::NeverSays("I will tell you at once"),
            Expectation::ModelSays("I will tell you at once"),
        ]);
    over_socket(call, ModelBehaviour { is_slow: true, ..ModelBehaviour::default() }, (1, 0))
}
