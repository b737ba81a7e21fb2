//! A scenario: what the caller does, what goes wrong, and what has to hold in the end.

mod checks;
mod list;

use serde_json::Value;

use super::caller::Step;
use super::house::Tuning;
use super::openai::Behaviour;
use super::twilio::{Quirks, Request};

pub use checks::{Check, check};
pub use list::all;

/// One call to be played.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// For the command line.
    pub name: &'static str,
    /// What it is about, in one sentence.
    pub about: &'static str,
    /// Who calls whom.
    pub begins: Begins,
    /// What the caller does.
    pub script: Vec<Step>,
    /// What somebody else does who calls at the same moment; nothing: nobody calls.
    pub other_line: Vec<Step>,
    /// How Twilio behaves.
    pub twilio: Quirks,
    /// How the model behaves.
    pub model: Behaviour,
    /// How the server is configured.
    pub server: Tuning,
    /// What has to hold, beyond what always has to.
    pub expect: Vec<Expect>,
}

/// How a call comes about.
#[derive(Debug, Clone, Copy)]
pub enum Begins {
    /// The caller calls.
    CallerRings,
    /// An operator has the caller called, with these properties beside the number.
    OperatorCalls(fn() -> Value),
}

impl Scenario {
    /// What is entered on keypads, digits only.
    pub fn entered(&self) -> Vec<String> {
        let keys = self.script.iter().chain(&self.other_line).flat_map(Step::keys);
        keys.map(|keys| keys.chars().filter(char::is_ascii_digit).collect()).collect()
    }
}

/// Something that has to hold.
#[derive(Debug, Clone, Copy)]
pub enum Expect {
    /// The caller heard one of these words (separated by `|`).
    Says(&'static str),
    /// The caller never heard these words.
    NeverSays(&'static str),
    /// Payments were created with these amounts, one after the other; none tokenizes.
    Payments(&'static [Option<&'static str>]),
    /// The first payment was created with this method, and what else was said of it begins like this.
    PaysBy(&'static str),
    /// Payments ended with these words of Twilio's.
    Results(&'static [&'static str]),
    /// Twilio did this so many times, however often it was asked.
    Does(Request, usize),
    /// A request was repeated with the key that it had before.
    Repeats(Request),
    /// So many entries were wrong.
    WrongEntries(usize),
    /// The model called this tool so often.
    Calls(&'static str, usize),
    /// The model was not asked for anything from the creation of a payment to its end.
    ModelRests,
    /// The server broke off a response of the model.
    StopsTheModel,
    /// While a payment was open, nothing was said that the model had not said.
    NoReminderDuringPayment,
    /// The session ended like this: `ended`, `completed`, `failed`.
    SessionEnds(&'static str),
    /// The action answered with a verb that begins like this.
    Action(&'static str),
    /// The model was told something with these words in it.
    Tells(&'static str),
    /// Twilio was asked to place one call, with its TwiML or with a URL for it.
    PlacesCall {
        /// Whether the TwiML came along.
        inline: bool,
    },
    /// While the server drained, `GET /ready`, another call and an order to call were answered 503.
    TurnsCallsAway,
    /// The caller was queued with a task whose `conversationSummary` holds these words.
    Queues(&'static str),
    /// While the agent was only to listen the model talked and called this tool, and nothing was said.
    OnlyListens(&'static str),
    /// The action got data for a hand-off.
    HandsOff,
    /// The action got no data for a hand-off.
    NoHandOff,
    /// The ledger said this of the payments after the call, each time that it was looked at.
    Ledger(&'static [&'static [&'static str]]),
    /// The bank charged these amounts, one after the other, or stored a card.
    Charges(&'static [Option<&'static str>]),
    /// The business was told of these states, one after the other.
    TellsBusiness(&'static [&'static str]),
    /// On one call, whichever, the caller heard the first words and never the second.
    OneHears(&'static str, &'static str),
}
