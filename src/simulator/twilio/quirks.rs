//! How Twilio may behave where its documentation is silent or its deliveries are not: every way is a switch.

use std::time::Duration;

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
    /// What comes of each submission; the last one holds for all that follow. Without one each succeeds.
    pub submissions: Vec<Submission>,
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
            submissions: Vec::new(),
            ends_at_full_length: false,
            trouble: None,
            nobody_answers: false,
        }
    }
}

/// What comes of a submission: at the bank, and in Twilio's reports of it.
#[derive(Debug, Clone)]
pub struct Submission {
    /// Whether the bank charges the card, or stores it.
    pub books: bool,
    /// What Twilio reports of it, one after the other.
    pub reports: Vec<Report>,
}

/// One result that Twilio reports of a submission.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    /// When it comes.
    pub when: When,
    /// What it says.
    pub ending: Ending,
    /// Fields that it has beside those, or with another value.
    pub fields: &'static [(&'static str, &'static str)],
}

/// When a result comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// So long after the one before it, or after the bank has decided.
    After(Duration),
    /// Once all calls are over.
    Late,
}

/// How a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Charged or tokenized.
    Success,
    /// The gateway said no.
    Declined(u32),
    /// Something else: the word of `Result`.
    Word(&'static str),
}

impl Submission {
    /// The bank does it, and Twilio says so.
    pub fn succeeds() -> Self {
        Self { books: true, reports: vec![Report::of(Ending::Success)] }
    }

    /// The bank refuses it, and Twilio says so with this code.
    pub fn declined(code: u32) -> Self {
        Self::reported(false, &[Report::of(Ending::Declined(code))])
    }

    /// The bank does it, or does not, whatever is reported.
    pub fn reported(books: bool, reports: &[Report]) -> Self {
        Self { books, reports: reports.to_vec() }
    }
}

impl Report {
    /// A result as the documentation has it, half a second after the bank has decided.
    pub const fn of(ending: Ending) -> Self {
        Self { when: When::After(Duration::from_millis(500)), ending, fields: &[] }
    }

    /// The same with these fields.
    pub const fn with(self, fields: &'static [(&'static str, &'static str)]) -> Self {
        Self { fields, ..self }
    }

    /// The same so many seconds after the one before it.
    pub const fn after(self, seconds: u64) -> Self {
        Self { when: When::After(Duration::from_secs(seconds)), ..self }
    }

    /// The same once all calls are over.
    pub const fn late(self) -> Self {
        Self { when: When::Late, ..self }
    }
}

impl Ending {
    /// Twilio's word and code.
    pub fn word(self) -> (&'static str, Option<u32>) {
        match self {
            Self::Success => ("success", None),
            Self::Declined(code) => ("payment-connector-error", Some(code)),
            Self::Word(word) => (word, None),
        }
    }
}

impl Quirks {
    /// What comes of a submission, so many having come before it.
    pub fn submission(&self, before: usize) -> Submission {
        let last = self.submissions.len().saturating_sub(1);
        self.submissions.get(before.min(last)).cloned().unwrap_or_else(Submission::succeeds)
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
