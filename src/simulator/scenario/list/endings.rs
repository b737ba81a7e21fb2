//! How calls break off.

use super::{ASKS_TO_STORE, ENTERS_CARD, LEAVES, NOTHING_PAID, scenario, stores_a_card};
use crate::simulator::caller::Step::{HangsUp, Hears, IsLetGo, LosesSocket, Presses, Says, Waits};
use crate::simulator::openai::Behaviour;
use crate::simulator::scenario::{Expect, Scenario};
use crate::simulator::twilio::Field::CardNumber;

/// The scenarios, in the order in which they are listed.
pub fn all() -> Vec<Scenario> {
    let half_a_card = Presses(CardNumber, "42424242");
    let listens = [Hears(""), Says("Please tell me about it."), Waits(6), HangsUp];
    vec![
        scenario("hang-up", "The caller hangs up in the middle of the card number.")
            .plays(&[ASKS_TO_STORE, &[half_a_card, HangsUp]])
            .expects(NOTHING_PAID)
            .expects(&[Expect::Payments(&[None]), Expect::SessionEnds("completed")]),
        scenario("hang-up-while-talking", "The caller hangs up while the agent is talking: the model is stopped.")
            .plays(&[&listens])
            .with_model(Behaviour { drawls: true, ..Behaviour::default() })
            .expects(&[Expect::Payments(&[]), Expect::SessionEnds("completed"), Expect::StopsTheModel]),
        stores_a_card(
            "socket-drop",
            "The socket breaks in the middle of the card number, and the call goes on where it was.",
        )
        .plays(&[ASKS_TO_STORE, &[half_a_card, LosesSocket], ENTERS_CARD, LEAVES])
        .expects(&[Expect::WrongEntries(1)]),
        scenario("socket-lost", "The socket breaks again and again: the payment is cancelled, the caller hears why.")
            .plays(&[ASKS_TO_STORE, &[half_a_card, LosesSocket, LosesSocket, LosesSocket, LosesSocket, IsLetGo]])
            .expects(NOTHING_PAID)
            .expects(&[Expect::SessionEnds("failed"), Expect::Action("Say")]),
    ]
}
