//! What the model may call: reading its arguments, and what a tool is given and answers.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::payment::{Amount, Answer, Change, Create, Currency, Field, Update};
use crate::redact::{Private, without_card_numbers};

/// The names of all tools.
pub const TOOLS: &[&str] = &[
    "start-capture",
    "capture-card",
    "capture-security-code",
    "capture-expiry-date",
    "capture-postal-code",
    "finish-capture",
    "cancel-capture",
    "set-silence-detection",
    "end-call",
    "live-agent-handoff",
];

/// What the model wants, read from its arguments. `callSid` and `paymentSid` are not among them: the call has its own.
#[derive(Debug)]
pub(super) enum Wish {
    StartCapture { charge: Option<Amount> },
    Change(Change),
    SetSilenceDetection { enabled: bool },
    EndCall { summary: Private<String> },
    LiveAgentHandoff { reason: Private<String>, summary: Private<String> },
}

/// A tool to run, with everything that the model may not choose already in it.
#[derive(Debug, Clone)]
pub enum Tool {
    /// `start-capture`
    StartCapture(Create),
    /// `capture-card`
    CaptureCard(Update),
    /// `capture-security-code`
    CaptureSecurityCode(Update),
    /// `capture-expiry-date`
    CaptureExpiryDate(Update),
    /// `capture-postal-code`
    CapturePostalCode(Update),
    /// `finish-capture`
    FinishCapture(Update),
    /// `cancel-capture`; the call also runs it by itself when it ends with a payment open.
    CancelCapture(Update),
    /// `set-silence-detection`
    SetSilenceDetection {
        /// Whether to watch.
        enabled: bool,
    },
    /// `end-call`
    EndCall {
        /// What the call was about, in the model's words.
        summary: Private<String>,
    },
    /// `live-agent-handoff`
    LiveAgentHandoff {
        /// Why a person is needed.
        reason: Private<String>,
        /// What the call was about.
        summary: Private<String>,
    },
}

impl Tool {
    /// The name under which the model knows it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::StartCapture(_) => "start-capture",
            Self::CaptureCard(_) => "capture-card",
            Self::CaptureSecurityCode(_) => "capture-security-code",
            Self::CaptureExpiryDate(_) => "capture-expiry-date",
            Self::CapturePostalCode(_) => "capture-postal-code",
            Self::FinishCapture(_) => "finish-capture",
            Self::CancelCapture(_) => "cancel-capture",
            Self::SetSilenceDetection { .. } => "set-silence-detection",
            Self::EndCall { .. } => "end-call",
            Self::LiveAgentHandoff { .. } => "live-agent-handoff",
        }
    }

    pub(super) fn change(update: Update) -> Self {
        match update.change {
            Change::Capture(Field::CardNumber) => Self::CaptureCard(update),
            Change::Capture(Field::SecurityCode) => Self::CaptureSecurityCode(update),
            Change::Capture(Field::ExpirationDate) => Self::CaptureExpiryDate(update),
            Change::Capture(Field::PostalCode) => Self::CapturePostalCode(update),
            Change::Complete => Self::FinishCapture(update),
            Change::Cancel => Self::CancelCapture(update),
        }
    }
}

/// What a tool answered.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Twilio's answer to a payment request.
    Payment(Answer),
    /// The watch for silence is to be this.
    SilenceDetection {
        /// Whether to watch.
        enabled: bool,
    },
    /// The call is to end after a goodbye.
    EndCall {
        /// What the call was about.
        summary: Private<String>,
    },
    /// The call is to end with a person taking over.
    HandOff {
        /// Why.
        reason: Private<String>,
        /// What the call was about.
        summary: Private<String>,
    },
    /// The tool broke or took too long: what it did is not known.
    Lost,
}

/// How much of the model's free text is kept.
const MAX_TEXT: usize = 1_000;

#[derive(Deserialize)]
struct StartCapture {
    #[serde(rename = "chargeAmount")]
    charge_amount: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct SetSilenceDetection {
    enabled: bool,
}

#[derive(Deserialize)]
struct EndCall {
    #[serde(default, alias = "summary", rename = "conversationSummary")]
    summary: Option<String>,
}

#[derive(Deserialize)]
struct LiveAgentHandoff {
    #[serde(default)]
    reason: Option<String>,
    #[serde(default, alias = "conversationSummary")]
    summary: Option<String>,
}

impl Wish {
    /// Reads a tool call; the error is a sentence that the model can act on.
    pub(super) fn read(name: &str, arguments: &str, currency: Currency) -> Result<Self, String> {
        Ok(match name {
            "start-capture" => {
                Self::StartCapture { charge: charge(arguments_of::<StartCapture>(arguments)?, currency)? }
            }
            "capture-card" => Self::Change(Change::Capture(Field::CardNumber)),
            "capture-security-code" => Self::Change(Change::Capture(Field::SecurityCode)),
            "capture-expiry-date" => Self::Change(Change::Capture(Field::ExpirationDate)),
            "capture-postal-code" => Self::Change(Change::Capture(Field::PostalCode)),
            "finish-capture" => Self::Change(Change::Complete),
            "cancel-capture" => Self::Change(Change::Cancel),
            "set-silence-detection" => {
                Self::SetSilenceDetection { enabled: arguments_of::<SetSilenceDetection>(arguments)?.enabled }
            }
            "end-call" => Self::EndCall { summary: text(arguments_of::<EndCall>(arguments)?.summary) },
            "live-agent-handoff" => {
                let LiveAgentHandoff { reason, summary } = arguments_of(arguments)?;
                Self::LiveAgentHandoff { reason: text(reason), summary: text(summary) }
            }
            _ => return Err(format!("There is no tool of that name. The tools are: {}.", TOOLS.join(", "))),
        })
    }
}

fn arguments_of<'a, T: Deserialize<'a>>(arguments: &'a str) -> Result<T, String> {
    let arguments = if arguments.trim().is_empty() { "{}" } else { arguments };
    serde_json::from_str(arguments).map_err(|error| {
        format!("The arguments are not what the tool takes (column {}). Send them again.", error.column())
    })
}

/// The amount as it was written: a JSON number is read from its text, so that it is never a float.
fn charge(arguments: StartCapture, currency: Currency) -> Result<Option<Amount>, String> {
    let Some(raw) = arguments.charge_amount else { return Ok(None) };
    let raw = raw.get().trim();
    let text = raw.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(raw);
    if text == "null" || text.is_empty() {
        return Ok(None);
    }
    Amount::parse(text, currency).map_err(|bad| {
        format!("chargeAmount {bad}. Send it as decimal text in {currency}, such as \"25.00\", or leave it out to store the card.")
    })
}

fn text(text: Option<String>) -> Private<String> {
    let text = text.unwrap_or_default();
    let end = text.char_indices().nth(MAX_TEXT).map_or(text.len(), |(at, _)| at);
    Private::new(without_card_numbers(&text[..end]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(arguments: &str) -> Result<Option<String>, String> {
        match Wish::read("start-capture", arguments, Currency::USD)? {
            Wish::StartCapture { charge } => Ok(charge.map(|amount| amount.to_string())),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_amount_is_read_exactly_however_it_is_written() {
        assert_eq!(amount(r#"{"callSid":"CA9","chargeAmount":"25.00"}"#), Ok(Some("25.00".to_owned())));
        assert_eq!(amount(r#"{"chargeAmount": 0.07}"#), Ok(Some("0.07".to_owned())));
        for nothing in ["", "{}", r#"{"chargeAmount":0}"#, r#"{"chargeAmount":"0.00"}"#, r#"{"chargeAmount":null}"#] {
            assert_eq!(amount(nothing), Ok(None), "{nothing}");
        }
        for bad in [r#"{"chargeAmount":1e2}"#, r#"{"chargeAmount":"$5"}"#, r#"{"chargeAmount":[]}"#, "{", "[]"] {
            assert!(amount(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_unknown_tool_is_answered_with_those_that_exist() {
        assert!(Wish::read("refund", "{}", Currency::USD).unwrap_err().contains("start-capture"));
        for name in TOOLS {
            let arguments = if *name == "set-silence-detection" { r#"{"enabled":true}"# } else { "" };
            assert!(Wish::read(name, arguments, Currency::USD).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_card_number_does_not_travel_in_a_summary() {
        let wish = Wish::read("end-call", r#"{"summary":"paid with 4242 4242 4242 4242"}"#, Currency::USD);
        let Ok(Wish::EndCall { summary }) = wish else { panic!() };
        assert_eq!(summary.reveal(), "paid with [digits removed]");
    }
}
