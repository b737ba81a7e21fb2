//! How calls break off.

use super::{ASKS_TO_STORE, NOTHING_PAID, scenario};
use crate::simulator::caller::Step::{HangsUp, Hears, LosesSocket, Presses, Says, Waits};
use crate::simulator::openai::Behaviour;
use crate::simulator::scenario::{Expect, Scenario};
use crate::simulator::twilio::Field::CardNumber;
use crate::simulator::twilio::Request;

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
        scenario("socket-drop", "The socket breaks in the middle of the card number: the payment is cancelled.")
            .plays(&[ASKS_TO_STORE, &[half_a_card, LosesSocket]])
            .expects(NOTHING_PAID)
            .expects(&[Expect::Does(Request::Cancel, 1), Expect::SessionEnds("failed")]),
    ]
}
