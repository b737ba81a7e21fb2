//! The table of tools, and the parser of the model's tool calls. Errors are sentences on which the model can act.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use url::Url;

use super::settings::CallSettings;
use super::tool::ContextKeys;
use crate::payment::{Amount, Currency, Field, UpdateAction};
use crate::phone_number::PhoneNumber;
use crate::redact::{Private, redact_card_numbers};
use crate::relay::{Digits, LanguageSwitch};

/// A tool that the model may call.
pub(crate) struct ToolSpec {
    /// Its name in the manifest.
    pub(crate) name: &'static str,
    /// Whether it needs a live phone call.
    pub(super) needs_telephone: bool,
    parse_arguments: ParseArguments,
}

/// Parses the arguments of a tool call. The error is a sentence on which the model can act.
type ParseArguments = fn(&Arguments<'_>) -> Result<ToolRequest, String>;

/// All tools. `Call::perform` says what each of them does.
const TOOLS: &[ToolSpec] = &[
    on_telephone("confirm-amount", parse_confirm_amount),
    on_telephone("start-capture", parse_start_capture),
    on_telephone("capture-card", |_| Ok(capture(Field::CardNumber))),
    on_telephone("capture-security-code", |_| Ok(capture(Field::SecurityCode))),
    on_telephone("capture-expiry-date", |_| Ok(capture(Field::ExpirationDate))),
    on_telephone("capture-postal-code", |_| Ok(capture(Field::PostalCode))),
    on_telephone("capture-bank-routing-number", |_| Ok(capture(Field::BankRoutingNumber))),
    on_telephone("capture-bank-account-number", |_| Ok(capture(Field::BankAccountNumber))),
    on_telephone("finish-capture", |_| Ok(ToolRequest::ChangePayment(UpdateAction::Complete))),
    on_telephone("cancel-capture", |_| Ok(ToolRequest::ChangePayment(UpdateAction::Cancel))),
    on_telephone("set-silence-detection", |arguments| {
        arguments.parse().map(|SwitchArguments { enabled }| ToolRequest::SetSilenceDetection { enabled })
    }),
    on_telephone("end-call", |_| Ok(ToolRequest::EndCall)),
    on_telephone("live-agent-handoff", parse_live_agent_handoff),
    on_telephone("send-dtmf", parse_send_dtmf),
    on_telephone("switch-language", |arguments| {
        parse_languages(arguments.parse()?, arguments.settings).map(ToolRequest::SwitchLanguage)
    }),
    on_telephone("play-media", parse_play_media),
    on_telephone("set-listen-mode", |arguments| {
        arguments.parse().map(|SwitchArguments { enabled }| ToolRequest::SetListenMode { enabled })
    }),
    on_telephone("send-sms", parse_send_sms),
    anywhere("change-context", parse_change_context),
];

/// A tool that needs a live phone call.
const fn on_telephone(name: &'static str, parse_arguments: ParseArguments) -> ToolSpec {
    ToolSpec { name, needs_telephone: true, parse_arguments }
}

/// A tool that also works in a chat.
const fn anywhere(name: &'static str, parse_arguments: ParseArguments) -> ToolSpec {
    ToolSpec { name, needs_telephone: false, parse_arguments }
}

fn capture(field: Field) -> ToolRequest {
    ToolRequest::ChangePayment(UpdateAction::Capture(field))
}

impl ToolSpec {
    /// Finds a tool by its name.
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        TOOLS.iter().find(|tool| tool.name == name)
    }

    /// The names of all tools.
    pub(crate) fn names() -> Vec<&'static str> {
        TOOLS.iter().map(|tool| tool.name).collect()
    }

    /// Parses the arguments of a tool call. The error is a sentence on which the model can act. `currency` is the
    /// currency of the call.
    pub(super) fn parse(&self, json: &str, settings: &CallSettings, currency: Currency) -> Result<ToolRequest, String> {
        (self.parse_arguments)(&Arguments { json, settings, currency })
    }
}

/// The arguments of a tool call, and what they are checked against.
struct Arguments<'a> {
    /// JSON text; may be empty or invalid.
    json: &'a str,
    settings: &'a CallSettings,
    currency: Currency,
}

impl Arguments<'_> {
    fn parse<T: DeserializeOwned>(&self) -> Result<T, String> {
        let json = if self.json.trim().is_empty() { "{}" } else { self.json };
        serde_json::from_str(json).map_err(|error| {
            format!("The arguments are not what the tool takes (column {}). Send them again.", error.column())
        })
    }
}

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

fn parse_confirm_amount(arguments: &Arguments<'_>) -> Result<ToolRequest, String> {
    let ConfirmAmountArguments { amount } = arguments.parse()?;
    match parse_charge("amount", amount.as_deref(), arguments.currency)? {
        RequestedCharge::Unspecified => Ok(ToolRequest::ConfirmAmount { amount: None }),
        RequestedCharge::Amount(amount) => Ok(ToolRequest::ConfirmAmount { amount: Some(amount) }),
        RequestedCharge::Zero => Err(NOTHING_TO_CONFIRM.to_owned()),
    }
}

fn parse_start_capture(arguments: &Arguments<'_>) -> Result<ToolRequest, String> {
    let StartCaptureArguments { charge_amount } = arguments.parse()?;
    let charge = parse_charge("chargeAmount", charge_amount.as_deref(), arguments.currency)?;
    Ok(ToolRequest::StartCapture { charge })
}

fn parse_live_agent_handoff(arguments: &Arguments<'_>) -> Result<ToolRequest, String> {
    let LiveAgentHandoffArguments { reason, summary } = arguments.parse()?;
    Ok(ToolRequest::LiveAgentHandoff { reason: redact_free_text(reason), summary: redact_free_text(summary) })
}

fn parse_send_dtmf(arguments: &Arguments<'_>) -> Result<ToolRequest, String> {
    let digits = arguments.parse::<SendDtmfArguments>()?.digits.parse();
    Ok(ToolRequest::SendDtmf { digits: digits.map_err(|bad| format!("The digits cannot be sent: {bad}."))? })
}

fn parse_play_media(arguments: &Arguments<'_>) -> Result<ToolRequest, String> {
    let PlayMediaArguments { source, times } = arguments.parse()?;
    let source = check_media_url(source, &arguments.settings.play_media_hosts)?;
    Ok(ToolRequest::PlayMedia { source, times: times.clamp(1, 10) })
}

fn parse_send_sms(arguments: &Arguments<'_>) -> Result<ToolRequest, String> {
    let SendSmsArguments { to, message } = arguments.parse()?;
    let to = to.map(|to| to.trim().parse()).transpose();
    let to = to.map_err(|bad| format!("That is no number: {bad}."))?;
    Ok(ToolRequest::SendSms { to, body: parse_message(&message)? })
}

fn parse_change_context(arguments: &Arguments<'_>) -> Result<ToolRequest, String> {
    let ChangeContextArguments { context_key, manifest_key, summary } = arguments.parse()?;
    let keys = ContextKeys { context: Some(context_key), manifest: manifest_key };
    Ok(ToolRequest::ChangeContext { keys, summary: redact_free_text(summary) })
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
        ToolSpec::find(name).unwrap().parse(arguments, &settings(), Currency::USD)
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
    fn every_tool_is_found_by_its_name() {
        assert!(ToolSpec::find("refund").is_none());
        for name in ToolSpec::names() {
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
