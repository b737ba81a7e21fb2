//! What the model wants: its arguments, read. A bad one is answered in a sentence that it can act on.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use url::Url;

use super::settings::Settings;
use super::tool::{ContextKeys, TOOLS};
use crate::payment::{Amount, Change, Currency, Field};
use crate::phone_number::PhoneNumber;
use crate::redact::{Private, without_card_numbers};
use crate::relay::{Digits, Languages};

/// What the model wants, read from its arguments. `callSid` and `paymentSid` are not among them: the call has its own.
#[derive(Debug)]
pub(super) enum Wish {
    /// Without an amount: what is due.
    ConfirmAmount {
        amount: Option<Amount>,
    },
    StartCapture {
        charge: Wanted,
    },
    Change(Change),
    SetSilenceDetection {
        enabled: bool,
    },
    EndCall,
    LiveAgentHandoff {
        reason: Private<String>,
        summary: Private<String>,
    },
    SendDtmf {
        digits: Digits,
    },
    SwitchLanguage(Languages),
    PlayMedia {
        source: Url,
        times: u16,
    },
    SetListenMode {
        enabled: bool,
    },
    SendSms {
        to: Option<PhoneNumber>,
        body: Private<String>,
    },
    ChangeContext {
        keys: ContextKeys,
        summary: Private<String>,
    },
}

/// `chargeAmount`, as far as it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Left out.
    Unsaid,
    /// Zero: the card is to be stored.
    Nothing,
    /// To be charged.
    Amount(Amount),
}

/// How much of the model's free text is kept.
const MAX_TEXT: usize = 1_000;

#[derive(Deserialize)]
struct ConfirmAmount {
    #[serde(alias = "chargeAmount")]
    amount: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct StartCapture {
    #[serde(rename = "chargeAmount")]
    charge_amount: Option<Box<RawValue>>,
}

/// `set-silence-detection` and `set-listen-mode`.
#[derive(Deserialize)]
struct Switch {
    enabled: bool,
}

#[derive(Deserialize)]
struct LiveAgentHandoff {
    #[serde(default)]
    reason: Option<String>,
    #[serde(default, alias = "conversationSummary")]
    summary: Option<String>,
}

#[derive(Deserialize)]
struct SendDtmf {
    #[serde(alias = "dtmfDigit", alias = "dtmf")]
    digits: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SwitchLanguage {
    tts_language: Option<String>,
    transcription_language: Option<String>,
}

#[derive(Deserialize)]
struct PlayMedia {
    source: Url,
    #[serde(default = "once", rename = "loop")]
    times: u16,
}

#[derive(Deserialize)]
struct SendSms {
    to: Option<String>,
    #[serde(alias = "body")]
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChangeContext {
    context_key: String,
    manifest_key: Option<String>,
    #[serde(default, alias = "conversationSummary")]
    summary: Option<String>,
}

/// The longest text message, in characters: Twilio's error 21617.
const MAX_MESSAGE: usize = 1_600;

fn once() -> u16 {
    1
}

impl Wish {
    /// Reads a tool call; the error is a sentence that the model can act on.
    /// `currency` is what amounts on this call are in.
    pub(super) fn read(name: &str, arguments: &str, settings: &Settings, currency: Currency) -> Result<Self, String> {
        Ok(match name {
            "confirm-amount" => {
                let ConfirmAmount { amount } = arguments_of(arguments)?;
                match wanted("amount", amount.as_deref(), currency)? {
                    Wanted::Unsaid => Self::ConfirmAmount { amount: None },
                    Wanted::Amount(amount) => Self::ConfirmAmount { amount: Some(amount) },
                    Wanted::Nothing => return Err(NOTHING_TO_CONFIRM.to_owned()),
                }
            }
            "start-capture" => {
                let StartCapture { charge_amount } = arguments_of(arguments)?;
                Self::StartCapture { charge: wanted("chargeAmount", charge_amount.as_deref(), currency)? }
            }
            "capture-card" => Self::Change(Change::Capture(Field::CardNumber)),
            "capture-security-code" => Self::Change(Change::Capture(Field::SecurityCode)),
            "capture-expiry-date" => Self::Change(Change::Capture(Field::ExpirationDate)),
            "capture-postal-code" => Self::Change(Change::Capture(Field::PostalCode)),
            "capture-bank-routing-number" => Self::Change(Change::Capture(Field::BankRoutingNumber)),
            "capture-bank-account-number" => Self::Change(Change::Capture(Field::BankAccountNumber)),
            "finish-capture" => Self::Change(Change::Complete),
            "cancel-capture" => Self::Change(Change::Cancel),
            "set-silence-detection" => {
                Self::SetSilenceDetection { enabled: arguments_of::<Switch>(arguments)?.enabled }
            }
            "end-call" => Self::EndCall,
            "live-agent-handoff" => {
                let LiveAgentHandoff { reason, summary } = arguments_of(arguments)?;
                Self::LiveAgentHandoff { reason: text(reason), summary: text(summary) }
            }
            "send-dtmf" => {
                let digits = arguments_of::<SendDtmf>(arguments)?.digits.parse();
                Self::SendDtmf { digits: digits.map_err(|bad| format!("The digits cannot be sent: {bad}."))? }
            }
            "switch-language" => Self::SwitchLanguage(languages(arguments_of(arguments)?, settings)?),
            "play-media" => {
                let PlayMedia { source, times } = arguments_of(arguments)?;
                Self::PlayMedia { source: allowed(source, &settings.play_media_hosts)?, times: times.clamp(1, 10) }
            }
            "set-listen-mode" => Self::SetListenMode { enabled: arguments_of::<Switch>(arguments)?.enabled },
            "send-sms" => {
                let SendSms { to, message } = arguments_of(arguments)?;
                let to = to.map(|to| to.trim().parse()).transpose();
                Self::SendSms { to: to.map_err(|bad| format!("That is no number: {bad}."))?, body: sms(&message)? }
            }
            "change-context" => {
                let ChangeContext { context_key, manifest_key, summary } = arguments_of(arguments)?;
                let keys = ContextKeys { context: Some(context_key), manifest: manifest_key };
                Self::ChangeContext { keys, summary: text(summary) }
            }
            _ => return Err(format!("There is no tool of that name. The tools are: {}.", TOOLS.join(", "))),
        })
    }
}

impl Wish {
    /// Whether it can be done only while somebody is on the telephone.
    pub(super) fn needs_telephone(&self) -> bool {
        match self {
            Self::ConfirmAmount { .. }
            | Self::StartCapture { .. }
            | Self::Change(_)
            | Self::SetSilenceDetection { .. }
            | Self::EndCall
            | Self::LiveAgentHandoff { .. }
            | Self::SendDtmf { .. }
            | Self::SwitchLanguage(_)
            | Self::PlayMedia { .. }
            | Self::SetListenMode { .. }
            | Self::SendSms { .. } => true,
            Self::ChangeContext { .. } => false,
        }
    }
}

fn arguments_of<T: DeserializeOwned>(arguments: &str) -> Result<T, String> {
    let arguments = if arguments.trim().is_empty() { "{}" } else { arguments };
    serde_json::from_str(arguments).map_err(|error| {
        format!("The arguments are not what the tool takes (column {}). Send them again.", error.column())
    })
}

const NOTHING_TO_CONFIRM: &str =
    "There is no amount to confirm. To keep the card on file without a charge, call start-capture with chargeAmount 0.";

/// The amount as it was written: a JSON number is read from its text, so that it is never a float.
fn wanted(name: &str, raw: Option<&RawValue>, currency: Currency) -> Result<Wanted, String> {
    let Some(raw) = raw.map(|raw| raw.get().trim()) else { return Ok(Wanted::Unsaid) };
    let text = raw.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(raw);
    if text == "null" || text.is_empty() {
        return Ok(Wanted::Unsaid);
    }
    let amount = Amount::parse(text, currency).map_err(|bad| {
        format!(
            "{name} {bad}. Send it as decimal text in {currency}, such as \"25.00\", or as \"0\" to keep the card on file without a charge."
        )
    })?;
    Ok(amount.map_or(Wanted::Nothing, Wanted::Amount))
}

fn sms(message: &str) -> Result<Private<String>, String> {
    let body = without_card_numbers(message.trim());
    if (1..=MAX_MESSAGE).contains(&body.chars().count()) {
        Ok(Private::new(body.into_owned()))
    } else {
        Err(format!("A message has 1 to {MAX_MESSAGE} characters. Send a shorter one."))
    }
}

/// Only languages that the session was opened with: Twilio refuses others.
fn languages(wanted: SwitchLanguage, settings: &Settings) -> Result<Languages, String> {
    let known = |code: String| {
        let found = settings.languages.iter().find(|known| known.eq_ignore_ascii_case(&code));
        found.cloned().ok_or_else(|| match settings.languages.as_slice() {
            [] => "No other language is configured. Go on in this one.".to_owned(),
            codes => format!("That language is not configured. There are: {}.", codes.join(", ")),
        })
    };
    let spoken = wanted.tts_language.map(known).transpose()?;
    let heard = wanted.transcription_language.map(known).transpose()?;
    match (spoken, heard) {
        (Some(tts_language), Some(transcription_language)) => {
            Ok(Languages::Both { tts_language, transcription_language })
        }
        (Some(tts_language), None) => Ok(Languages::Spoken { tts_language }),
        (None, Some(transcription_language)) => Ok(Languages::Heard { transcription_language }),
        (None, None) => Err("Name ttsLanguage, transcriptionLanguage, or both.".to_owned()),
    }
}

/// Only https, and only from hosts that the operator trusts: the model may have been talked into anything.
fn allowed(source: Url, hosts: &[String]) -> Result<Url, String> {
    let host = source.host_str().unwrap_or_default();
    if source.scheme() == "https" && hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host)) {
        return Ok(source);
    }
    Err(match hosts {
        [] => "No recordings can be played on this line.".to_owned(),
        hosts => format!("Only https recordings can be played, from: {}.", hosts.join(", ")),
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
    use crate::call::bench::{EVERY_ARGUMENT, dollars, settings};

    fn read(name: &str, arguments: &str) -> Result<Wish, String> {
        Wish::read(name, arguments, &settings(), Currency::USD)
    }

    fn amount(arguments: &str) -> Result<Wanted, String> {
        match read("start-capture", arguments)? {
            Wish::StartCapture { charge } => Ok(charge),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_amount_is_read_exactly_however_it_is_written() {
        assert_eq!(amount(r#"{"callSid":"CA9","chargeAmount":"25.00"}"#), Ok(Wanted::Amount(dollars("25"))));
        assert_eq!(amount(r#"{"chargeAmount": 0.07}"#), Ok(Wanted::Amount(dollars("0.07"))));
        for unsaid in ["", "{}", r#"{"chargeAmount":null}"#, r#"{"chargeAmount":""}"#] {
            assert_eq!(amount(unsaid), Ok(Wanted::Unsaid), "{unsaid}");
        }
        for nothing in [r#"{"chargeAmount":0}"#, r#"{"chargeAmount":"0.00"}"#] {
            assert_eq!(amount(nothing), Ok(Wanted::Nothing), "{nothing}");
        }
        for bad in [r#"{"chargeAmount":1e2}"#, r#"{"chargeAmount":"$5"}"#, r#"{"chargeAmount":[]}"#, "{", "[]"] {
            assert!(amount(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_an_amount_can_be_confirmed() {
        let confirmed = read("confirm-amount", r#"{"amount":25.5}"#);
        assert!(matches!(confirmed, Ok(Wish::ConfirmAmount { amount }) if amount == Some(dollars("25.50"))));
        for due in ["{}", r#"{"amount":null}"#] {
            assert!(matches!(read("confirm-amount", due), Ok(Wish::ConfirmAmount { amount: None })), "{due}");
        }
        let nothing = read("confirm-amount", r#"{"amount":"0"}"#);
        assert!(nothing.unwrap_err().contains("start-capture with chargeAmount 0"));
    }

    #[test]
    fn an_unknown_tool_is_answered_with_those_that_exist() {
        assert!(read("refund", "{}").unwrap_err().contains("start-capture"));
        for name in TOOLS {
            assert!(read(name, EVERY_ARGUMENT).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_card_number_does_not_travel_in_a_summary() {
        let arguments = r#"{"reason":"asked","summary":"paid with 4242 4242 4242 4242"}"#;
        let wish = read("live-agent-handoff", arguments);
        let Ok(Wish::LiveAgentHandoff { summary, .. }) = wish else { panic!() };
        assert_eq!(summary.reveal(), "paid with [digits removed]");
    }

    #[test]
    fn what_must_not_be_sent_or_played_is_answered_with_what_may() {
        for (name, arguments, answer) in [
            ("send-dtmf", r#"{"digits":"12a"}"#, "0-9"),
            ("switch-language", r#"{"ttsLanguage":"fr-FR"}"#, "There are: en-US, en-AU"),
            ("switch-language", "{}", "Name ttsLanguage"),
            ("play-media", r#"{"source":"http://media.example.com/a.mp3"}"#, "Only https"),
            ("play-media", r#"{"source":"https://evil.example.com/a.mp3"}"#, "from: media.example.com"),
            ("play-media", r#"{"source":"https://media.example.com@evil.example.com/"}"#, "from: media.example.com"),
            ("play-media", r#"{"source":"media.example.com"}"#, "not what the tool takes"),
            ("set-listen-mode", "", "not what the tool takes"),
        ] {
            let refusal = read(name, arguments).unwrap_err();
            assert!(refusal.contains(answer), "{name} {arguments}: {refusal}");
        }
    }
}
