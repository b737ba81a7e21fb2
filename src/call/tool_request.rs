//! Parses the model's tool calls. Errors are sentences on which the model can act.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use url::Url;

use super::settings::CallSettings;
use super::tool::{ContextKeys, TOOLS};
use crate::payment::{Amount, Currency, Field, UpdateAction};
use crate::phone_number::PhoneNumber;
use crate::redact::{Private, redact_card_numbers};
use crate::relay::{Digits, LanguageSwitch};

/// A parsed tool call. The `callSid` and `paymentSid` arguments are ignored: the call supplies its own.
#[derive(Debug)]
pub(super) enum ToolRequest {
    /// Without an amount, the amount due is meant.
    ConfirmAmount {
        amount: Option<Amount>,
    },
    StartCapture {
        charge: RequestedCharge,
    },
    ChangePayment(UpdateAction),
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
    SwitchLanguage(LanguageSwitch),
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

/// The `chargeAmount` argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestedCharge {
    /// No amount was sent.
    Unspecified,
    /// Zero: the card is stored without a charge.
    Zero,
    /// The amount to charge.
    Amount(Amount),
}

/// The maximum length of the model's free text, in characters. The rest is cut off.
const MAX_FREE_TEXT: usize = 1_000;

#[derive(Deserialize)]
struct ConfirmAmountArguments {
    #[serde(alias = "chargeAmount")]
    amount: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct StartCaptureArguments {
    #[serde(rename = "chargeAmount")]
    charge_amount: Option<Box<RawValue>>,
}

/// `set-silence-detection` and `set-listen-mode`.
#[derive(Deserialize)]
struct SwitchArguments {
    enabled: bool,
}

#[derive(Deserialize)]
struct LiveAgentHandoffArguments {
    #[serde(default)]
    reason: Option<String>,
    #[serde(default, alias = "conversationSummary")]
    summary: Option<String>,
}

#[derive(Deserialize)]
struct SendDtmfArguments {
    #[serde(alias = "dtmfDigit", alias = "dtmf")]
    digits: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SwitchLanguageArguments {
    tts_language: Option<String>,
    transcription_language: Option<String>,
}

#[derive(Deserialize)]
struct PlayMediaArguments {
    source: Url,
    #[serde(default = "default_loop", rename = "loop")]
    times: u16,
}

#[derive(Deserialize)]
struct SendSmsArguments {
    to: Option<String>,
    #[serde(alias = "body")]
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChangeContextArguments {
    context_key: String,
    manifest_key: Option<String>,
    #[serde(default, alias = "conversationSummary")]
    summary: Option<String>,
}

/// The maximum length of a text message, in characters. Twilio rejects longer ones with error 21617.
const MAX_MESSAGE: usize = 1_600;

fn default_loop() -> u16 {
    1
}

impl ToolRequest {
    /// Parses a tool call. The error is a sentence on which the model can act. `currency` is the currency of the call.
    pub(super) fn parse(
        name: &str,
        arguments: &str,
        settings: &CallSettings,
        currency: Currency,
    ) -> Result<Self, String> {
        Ok(match name {
            "confirm-amount" => {
                let ConfirmAmountArguments { amount } = parse_arguments(arguments)?;
                match parse_charge("amount", amount.as_deref(), currency)? {
                    RequestedCharge::Unspecified => Self::ConfirmAmount { amount: None },
                    RequestedCharge::Amount(amount) => Self::ConfirmAmount { amount: Some(amount) },
                    RequestedCharge::Zero => return Err(NOTHING_TO_CONFIRM.to_owned()),
                }
            }
            "start-capture" => {
                let StartCaptureArguments { charge_amount } = parse_arguments(arguments)?;
                Self::StartCapture { charge: parse_charge("chargeAmount", charge_amount.as_deref(), currency)? }
            }
            "capture-card" => Self::ChangePayment(UpdateAction::Capture(Field::CardNumber)),
            "capture-security-code" => Self::ChangePayment(UpdateAction::Capture(Field::SecurityCode)),
            "capture-expiry-date" => Self::ChangePayment(UpdateAction::Capture(Field::ExpirationDate)),
            "capture-postal-code" => Self::ChangePayment(UpdateAction::Capture(Field::PostalCode)),
            "capture-bank-routing-number" => Self::ChangePayment(UpdateAction::Capture(Field::BankRoutingNumber)),
            "capture-bank-account-number" => Self::ChangePayment(UpdateAction::Capture(Field::BankAccountNumber)),
            "finish-capture" => Self::ChangePayment(UpdateAction::Complete),
            "cancel-capture" => Self::ChangePayment(UpdateAction::Cancel),
            "set-silence-detection" => {
                Self::SetSilenceDetection { enabled: parse_arguments::<SwitchArguments>(arguments)?.enabled }
            }
            "end-call" => Self::EndCall,
            "live-agent-handoff" => {
                let LiveAgentHandoffArguments { reason, summary } = parse_arguments(arguments)?;
                Self::LiveAgentHandoff { reason: redact_free_text(reason), summary: redact_free_text(summary) }
            }
            "send-dtmf" => {
                let digits = parse_arguments::<SendDtmfArguments>(arguments)?.digits.parse();
                Self::SendDtmf { digits: digits.map_err(|bad| format!("The digits cannot be sent: {bad}."))? }
            }
            "switch-language" => Self::SwitchLanguage(parse_languages(parse_arguments(arguments)?, settings)?),
            "play-media" => {
                let PlayMediaArguments { source, times } = parse_arguments(arguments)?;
                Self::PlayMedia {
                    source: check_media_url(source, &settings.play_media_hosts)?,
                    times: times.clamp(1, 10),
                }
            }
            "set-listen-mode" => {
                Self::SetListenMode { enabled: parse_arguments::<SwitchArguments>(arguments)?.enabled }
            }
            "send-sms" => {
                let SendSmsArguments { to, message } = parse_arguments(arguments)?;
                let to = to.map(|to| to.trim().parse()).transpose();
                Self::SendSms {
                    to: to.map_err(|bad| format!("That is no number: {bad}."))?,
                    body: parse_message(&message)?,
                }
            }
            "change-context" => {
                let ChangeContextArguments { context_key, manifest_key, summary } = parse_arguments(arguments)?;
                let keys = ContextKeys { context: Some(context_key), manifest: manifest_key };
                Self::ChangeContext { keys, summary: redact_free_text(summary) }
            }
            _ => return Err(format!("There is no tool of that name. The tools are: {}.", TOOLS.join(", "))),
        })
    }
}

impl ToolRequest {
    /// Whether the tool needs a live phone call.
    pub(super) fn needs_telephone(&self) -> bool {
        match self {
            Self::ConfirmAmount { .. }
            | Self::StartCapture { .. }
            | Self::ChangePayment(_)
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

fn parse_arguments<T: DeserializeOwned>(arguments: &str) -> Result<T, String> {
    let arguments = if arguments.trim().is_empty() { "{}" } else { arguments };
    serde_json::from_str(arguments).map_err(|error| {
        format!("The arguments are not what the tool takes (column {}). Send them again.", error.column())
    })
}

const NOTHING_TO_CONFIRM: &str =
    "There is no amount to confirm. To keep the card on file without a charge, call start-capture with chargeAmount 0.";

/// Parses an amount from its JSON text, so that a number never becomes a float.
fn parse_charge(name: &str, raw: Option<&RawValue>, currency: Currency) -> Result<RequestedCharge, String> {
    let Some(raw) = raw.map(|raw| raw.get().trim()) else { return Ok(RequestedCharge::Unspecified) };
    let text = raw.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(raw);
    if text == "null" || text.is_empty() {
        return Ok(RequestedCharge::Unspecified);
    }
    let amount = Amount::parse(text, currency).map_err(|bad| {
        format!(
            "{name} {bad}. Send it as decimal text in {currency}, such as \"25.00\", or as \"0\" to keep the card on file without a charge."
        )
    })?;
    Ok(amount.map_or(RequestedCharge::Zero, RequestedCharge::Amount))
}

fn parse_message(message: &str) -> Result<Private<String>, String> {
    let body = redact_card_numbers(message.trim());
    if (1..=MAX_MESSAGE).contains(&body.chars().count()) {
        Ok(Private::new(body.into_owned()))
    } else {
        Err(format!("A message has 1 to {MAX_MESSAGE} characters. Send a shorter one."))
    }
}

/// Parses the languages to switch to. Twilio rejects languages that the session's TwiML does not list.
fn parse_languages(arguments: SwitchLanguageArguments, settings: &CallSettings) -> Result<LanguageSwitch, String> {
    let known = |code: String| {
        let found = settings.languages.iter().find(|known| known.eq_ignore_ascii_case(&code));
        found.cloned().ok_or_else(|| match settings.languages.as_slice() {
            [] => "No other language is configured. Go on in this one.".to_owned(),
            codes => format!("That language is not configured. There are: {}.", codes.join(", ")),
        })
    };
    let spoken = arguments.tts_language.map(known).transpose()?;
    let heard = arguments.transcription_language.map(known).transpose()?;
    match (spoken, heard) {
        (Some(tts_language), Some(transcription_language)) => {
            Ok(LanguageSwitch::Both { tts_language, transcription_language })
        }
        (Some(tts_language), None) => Ok(LanguageSwitch::Tts { tts_language }),
        (None, Some(transcription_language)) => Ok(LanguageSwitch::Transcription { transcription_language }),
        (None, None) => Err("Name ttsLanguage, transcriptionLanguage, or both.".to_owned()),
    }
}

/// Checks a media URL: https only, and only from allowed hosts, since a caller may manipulate the model.
fn check_media_url(source: Url, hosts: &[String]) -> Result<Url, String> {
    let host = source.host_str().unwrap_or_default();
    if source.scheme() == "https" && hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host)) {
        return Ok(source);
    }
    Err(match hosts {
        [] => "No recordings can be played on this line.".to_owned(),
        hosts => format!("Only https recordings can be played, from: {}.", hosts.join(", ")),
    })
}

fn redact_free_text(text: Option<String>) -> Private<String> {
    let text = text.unwrap_or_default();
    let end = text.char_indices().nth(MAX_FREE_TEXT).map_or(text.len(), |(at, _)| at);
    Private::new(redact_card_numbers(&text[..end]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::tests::harness::{ALL_TOOL_ARGUMENTS, settings, usd};

    fn read(name: &str, arguments: &str) -> Result<ToolRequest, String> {
        ToolRequest::parse(name, arguments, &settings(), Currency::USD)
    }

    fn amount(arguments: &str) -> Result<RequestedCharge, String> {
        match read("start-capture", arguments)? {
            ToolRequest::StartCapture { charge } => Ok(charge),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_amount_is_parsed_exactly_in_every_notation() {
        assert_eq!(amount(r#"{"callSid":"CA9","chargeAmount":"25.00"}"#), Ok(RequestedCharge::Amount(usd("25"))));
        assert_eq!(amount(r#"{"chargeAmount": 0.07}"#), Ok(RequestedCharge::Amount(usd("0.07"))));
        for missing in ["", "{}", r#"{"chargeAmount":null}"#, r#"{"chargeAmount":""}"#] {
            assert_eq!(amount(missing), Ok(RequestedCharge::Unspecified), "{missing}");
        }
        for nothing in [r#"{"chargeAmount":0}"#, r#"{"chargeAmount":"0.00"}"#] {
            assert_eq!(amount(nothing), Ok(RequestedCharge::Zero), "{nothing}");
        }
        for bad in [r#"{"chargeAmount":1e2}"#, r#"{"chargeAmount":"$5"}"#, r#"{"chargeAmount":[]}"#, "{", "[]"] {
            assert!(amount(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_an_amount_can_be_confirmed() {
        let confirmed = read("confirm-amount", r#"{"amount":25.5}"#);
        assert!(matches!(confirmed, Ok(ToolRequest::ConfirmAmount { amount }) if amount == Some(usd("25.50"))));
        for due in ["{}", r#"{"amount":null}"#] {
            assert!(matches!(read("confirm-amount", due), Ok(ToolRequest::ConfirmAmount { amount: None })), "{due}");
        }
        let nothing = read("confirm-amount", r#"{"amount":"0"}"#);
        assert!(nothing.unwrap_err().contains("start-capture with chargeAmount 0"));
    }

    #[test]
    fn the_error_for_an_unknown_tool_lists_the_tools() {
        assert!(read("refund", "{}").unwrap_err().contains("start-capture"));
        for name in TOOLS {
            assert!(read(name, ALL_TOOL_ARGUMENTS).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_card_number_is_removed_from_a_summary() {
        let arguments = r#"{"reason":"asked","summary":"paid with 4242 4242 4242 4242"}"#;
        let request = read("live-agent-handoff", arguments);
        let Ok(ToolRequest::LiveAgentHandoff { summary, .. }) = request else { panic!() };
        assert_eq!(summary.reveal(), "paid with [digits removed]");
    }

    #[test]
    fn the_error_for_a_forbidden_argument_names_what_is_allowed() {
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
