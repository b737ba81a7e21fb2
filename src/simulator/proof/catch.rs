//! Everything that left the server and was not searched yet; and the places where it is caught.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::simulator::prying::Evidence;
use crate::simulator::tape::lock;

/// A place where bytes leave the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Standard error and standard output, at `RUST_LOG=trace`.
    Log,
    /// Requests to the Responses API.
    Model,
    /// Requests to Twilio's REST API.
    Twilio,
    /// Frames to ConversationRelay.
    Socket,
    /// Answers to Twilio's webhooks, TwiML among them.
    TwilioAnswer,
    /// Answers to the operator's requests.
    OperatorAnswer,
    /// Requests to `CALL_PARAMETERS_URL`.
    Question,
    /// Requests to `PAYMENT_WEBHOOK_URL`.
    Webhook,
    /// The files of the ledger.
    Ledger,
}

impl Place {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Log,
        Self::Model,
        Self::Twilio,
        Self::Socket,
        Self::TwilioAnswer,
        Self::OperatorAnswer,
        Self::Question,
        Self::Webhook,
        Self::Ledger,
    ];

    /// What it is called in evidence and report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Log => "the log",
            Self::Model => "requests to the model",
            Self::Twilio => "requests to Twilio",
            Self::Socket => "socket frames",
            Self::TwilioAnswer => "answers to Twilio",
            Self::OperatorAnswer => "answers to operators",
            Self::Question => "questions to the business",
            Self::Webhook => "the result webhook",
            Self::Ledger => "the ledger's files",
        }
    }

    /// What card data could get there.
    pub fn reached_by(self) -> &'static str {
        match self {
            Self::Log => "whatever a line of the log repeats: frames, callbacks, parameters, errors",
            Self::Model => {
                "what the caller says and keys, parameters of the call, the model's own words and tool calls, as history"
            }
            Self::Twilio => "what the model writes into tools: amounts, text messages; parameters of placed calls",
            Self::Socket => "what the model says; tones it sends; hand-off data",
            Self::TwilioAnswer => "TwiML made from hand-off data and parameters; errors",
            Self::OperatorAnswer => {
                "what the agent writes in chats; errors that repeat what was sent; lists of payments"
            }
            Self::Question => "who calls whom",
            Self::Webhook => "what the ledger holds of an outcome, and the payment token, which belongs there",
            Self::Ledger => {
                "what Twilio reports of a payment; references, descriptions; the payment token until it is delivered"
            }
        }
    }

    /// Why it does not get there.
    pub fn stopped_by(self) -> &'static str {
        match self {
            Self::Log => {
                "what is said has no printable form; the crates that handle the wire are capped at warnings whatever RUST_LOG says"
            }
            Self::Model => {
                "keypad frames are dropped unread during a capture; card numbers are cut before anything enters the history"
            }
            Self::Twilio => "tool arguments are checked before a tool sees them; orders with a card number are refused",
            Self::Socket => "digits of the model are held back until it is known that they are no card number",
            Self::TwilioAnswer => "hand-off data is checked once more on the way out",
            Self::OperatorAnswer => "as in calls; every error text is cut",
            Self::Question => "nothing else is asked",
            Self::Webhook => "made of the ledger's row alone",
            Self::Ledger => {
                "no column can hold card data; texts are cut before they are written; delivered tokens are erased"
            }
        }
    }
}

/// What was caught. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Catch(Arc<Mutex<Vec<Evidence>>>);

/// How much was caught in a place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// Requests, frames, answers, lines or files.
    pub pieces: usize,
    /// All of them.
    pub bytes: usize,
}

impl Catch {
    /// Keeps something that the server sent.
    pub fn keep(&self, place: Place, bytes: impl Into<String>) {
        lock(&self.0).push(Evidence { place: place.name(), bytes: bytes.into() });
    }

    /// Everything that was caught since the last time.
    pub fn take(&self) -> Vec<Evidence> {
        std::mem::take(&mut *lock(&self.0))
    }
}

/// Adds what was caught, place by place.
pub fn weigh(sizes: &mut BTreeMap<&'static str, Size>, evidence: &[Evidence]) {
    for Evidence { place, bytes } in evidence {
        let size = sizes.entry(*place).or_default();
        size.pieces += 1;
        size.bytes += bytes.len();
    }
}
