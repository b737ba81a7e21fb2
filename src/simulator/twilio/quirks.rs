//! How Twilio may behave where its documentation is silent or its deliveries are not: every way is a switch.

use super::Request;

/// One choice of all the switches. The default is the kindest reading of the documentation.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Quirks {
    /// Whether the callback for a request is delivered before the request is answered.
    pub callback_first: bool,
    /// Every callback is delivered twice, with the same `I-Twilio-Idempotency-Token`.
    pub doubled: bool,
    /// Callbacks overtake each other within a burst; the number seeds the order.
    pub shuffled: Option<u64>,
    /// The fields that the documentation calls common are left out, except the two SIDs.
    pub bare: bool,
    /// `Required` in Pascal case, as the documentation's one example has it.
    pub pascal: bool,
    /// How a card number is masked.
    pub mask: Mask,
    /// `ErrorType` of an entry without an error is there, and empty.
    pub empty_error: bool,
    /// A request that is refused.
    pub refusal: Option<Refusal>,
    /// `Result` after `Status=cancel`.
    pub cancel_result: &'static str,
    /// Keypad digits of a capture also arrive as `dtmf` frames.
    pub leak: bool,
    /// No callback after `Status=complete`.
    pub silent_complete: bool,
    /// The callback after `Status=complete` comes long after the call.
    pub late_result: bool,
    /// The first completions are declined with this code.
    pub declines: Option<(u32, usize)>,
    /// An entry is over as soon as it is as long as it can be.
    pub ends_at_full_length: bool,
    /// Requests that HTTP fails.
    pub trouble: Option<Trouble>,
    /// Nobody takes over a call that is handed off.
    pub nobody_answers: bool,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            callback_first: false,
            doubled: false,
            shuffled: None,
            bare: false,
            pascal: false,
            mask: Mask::X,
            empty_error: false,
            refusal: None,
            cancel_result: "transaction-cancelled",
            leak: false,
            silent_complete: false,
            late_result: false,
            declines: None,
            ends_at_full_length: false,
            trouble: None,
            nobody_answers: false,
        }
    }
}

/// The masks that four sources show, and the reference's own.
#[derive(Debug, Clone, Copy)]
pub enum Mask {
    /// `xxxxxxxxxxxx1111`: recorded.
    X,
    /// `xxxx-xxxxxx-x4001`.
    Dashed,
    /// `xxxx xxxx xxxx 4242`.
    Spaced,
    /// `************1234`.
    Stars,
}

impl Mask {
    /// A whole number, masked.
    pub fn whole(self, number: &str) -> String {
        let (hidden, last) = number.split_at(number.len().saturating_sub(4));
        match self {
            Self::X => format!("{}{last}", "x".repeat(hidden.len())),
            Self::Dashed => format!("xxxx-xxxxxx-x{last}"),
            Self::Spaced => format!("xxxx xxxx xxxx {last}"),
            Self::Stars => format!("{}{last}", "*".repeat(hidden.len())),
        }
    }

    /// A number of which `keys` digits are in.
    pub fn partial(self, keys: usize) -> String {
        if matches!(self, Self::Stars) { "*" } else { "x" }.repeat(keys)
    }
}

/// A request that Twilio refuses, with one of its error codes.
#[derive(Debug, Clone, Copy)]
pub struct Refusal {
    /// Which request.
    pub on: Request,
    /// A code of the 64xxx family.
    pub code: u32,
    /// Accepts the request and tells by callback, instead of answering 400.
    pub by_callback: bool,
}

/// What HTTP does to a request on its way.
#[derive(Debug, Clone, Copy)]
pub struct Trouble {
    /// Which request.
    pub on: Request,
    /// What happens to it.
    pub how: Mishap,
    /// How often, counted from the first.
    pub times: usize,
}

/// One way in which HTTP fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    /// 500, and nothing was done.
    Down,
    /// 429, and nothing was done.
    Busy,
    /// It was done, but a gateway answered 504.
    Lost,
    /// It was done, but nobody ever answers.
    Hangs,
    /// It is done and answered late: after this many seconds of the call.
    Slow(u64),
}
