//! Scenarios in which the call ends or breaks off, or the socket.

use super::{ASKS_TO_STORE, ENDS_CALL, ENTERS_CARD, NOTHING_PAID, scenario, stores_a_card};
use crate::simulator::caller::CallerStep::{
    self, HangsUp, Hears, LosesSocket, Presses, Says, SpeaksOver, Waits, WaitsForCallEnd,
};
use crate::simulator::openai::ModelBehaviour;
use crate::simulator::scenario::{Expectation, Scenario};
use crate::simulator::twilio::CaptureField::CardNumber;
use crate::simulator::twilio::{PaymentsRequest, Quirks};

/// The scenarios, in the order in which they are listed.
pub(super) fn all() -> Vec<Scenario> {
    let half_a_card = Presses(CardNumber, "42424242");
    let listens = [Hears(""), Says("Please tell me about it."), Waits(6), HangsUp];
    let takes_leave = [
        Hears(""),
        Says("That's all, goodbye."),
        SpeaksOver { after: "Thank you for calling. Good", says: "Okay, thank you!" },
        WaitsForCallEnd,
    ];
    vec![
        scenario("courtesy", "The caller says thanks over the goodbye: the call ends all the same.")
            .with_script(&[&takes_leave])
            .with_expectations(&[
                Expectation::PaymentsCreated(&[]),
                Expectation::ToolCalled("end-call", 1),
                Expectation::SessionEnds("ended"),
                Expectation::NoHandOff,
                Expectation::CallEndNotified("agent-ended", "The caller said goodbye."),
            ]),
        scenario("hang-up", "The caller hangs up in the middle of the card number.")
            .with_script(&[ASKS_TO_STORE, &[half_a_card, HangsUp]])
            .with_expectations(NOTHING_PAID)
            .with_expectations(&[
                Expectation::PaymentsCreated(&[None]),
                Expectation::SessionEnds("completed"),
                Expectation::CallEndNotified("caller-hung-up", ""),
            ]),
        scenario("hang-up-while-talking", "The caller hangs up while the agent is talking: the model is stopped.")
            .with_script(&[&listens])
            .with_model(ModelBehaviour { is_slow: true, ..ModelBehaviour::default() })
            .with_expectations(&[
                Expectation::PaymentsCreated(&[]),
                Expectation::SessionEnds("completed"),
                Expectation::ModelStopped,
            ]),
        stores_a_card(
            "socket-drop",
            "The socket breaks in the middle of the card number, and the call goes on where it was.",
        )
        .with_script(&[ASKS_TO_STORE, &[half_a_card, LosesSocket], ENTERS_CARD, ENDS_CALL])
        .with_expectations(&[Expectation::WrongEntries(1)]),
        payment_ends_with_socket(half_a_card),
        scenario("socket-lost", "The socket breaks again and again: the payment is cancelled, the caller hears why.")
            .with_script(&[
                ASKS_TO_STORE,
                &[half_a_card, LosesSocket, LosesSocket, LosesSocket, LosesSocket, WaitsForCallEnd],
            ])
            .with_expectations(NOTHING_PAID)
            .with_expectations(&[Expectation::SessionEnds("failed"), Expectation::Action("Say")]),
    ]
}

fn payment_ends_with_socket(half_a_card: CallerStep) -> Scenario {
    let about = "The socket breaks in the middle of the card number, and the payment session ends with it: the caller starts again.";
    let starts_again = [Hears("Would you like to start again"), Says("Yes, please.")];
    scenario("socket-drop-ends-payment", about)
        .with_quirks(Quirks { broken_socket_result: Some("caller-hung-up"), ..Quirks::default() })
        .with_script(&[ASKS_TO_STORE, &[half_a_card, LosesSocket], &starts_again, ENTERS_CARD, ENDS_CALL])
        .with_expectations(&[
            Expectation::PaymentsCreated(&[None, None]),
            Expectation::Results(&["caller-hung-up", "success"]),
            Expectation::LedgerStates(&[&["abandoned", "tokenized"]]),
            Expectation::RequestDone(PaymentsRequest::Complete, 1),
            Expectation::Says("your card is stored"),
            Expectation::SessionEnds("ended"),
        ])
}
