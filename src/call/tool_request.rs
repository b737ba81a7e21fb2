//! The table of tools, and the parser of the model's tool calls. Errors are sentences on which the model can act.

use url::Url;

use super::ending::{ClosingNotes, bound_text};
use super::settings::CallSettings;
use super::tool::ContextKeys;
use super::tool_arguments::{Argument, ArgumentKind, ToolArguments};
use crate::payment::{Amount, Currency, Field, UpdateAction};
use crate::phone_number::PhoneNumber;
use crate::redact::{Private, redact_card_numbers};
use crate::relay::{Digits, LanguageSwitch};

/// A tool that the model may call.
pub(crate) struct ToolSpec {
    /// Its name in the manifest.
    pub(crate) name: &'static str,
    /// The arguments that it reads.
    pub(crate) arguments: &'static [Argument],
    /// Whether it needs a live phone call.
    pub(super) needs_telephone: bool,
    parse_arguments: ParseArguments,
}

/// Parses the arguments of a tool call. The error is a sentence on which the model can act.
type ParseArguments = fn(&ToolInput<'_>) -> Result<ToolRequest, String>;

const AMOUNT: Argument = Argument::optional(
    "amount",
    ArgumentKind::Amount,
    "the amount to charge as decimal text, such as \"25.00\"; without it the amount due",
)
.or(&["chargeAmount"]);
const CHARGE_AMOUNT: Argument = Argument::optional(
    "chargeAmount",
    ArgumentKind::Amount,
    "the amount to charge as decimal text, such as \"25.00\", or \"0\" to keep the card on file",
)
.or(&["amount"]);
const ENABLED: Argument = Argument::required("enabled", ArgumentKind::Flag, "true switches it on, false off");
const REASON: Argument = Argument::optional("reason", ArgumentKind::Text, "why a person is needed").or(&["reasonCode"]);
const CALL_SUMMARY: Argument = Argument::optional("summary", ArgumentKind::Text, "what the call was about")
    .or(&["conversationSummary", "callSummary"]);
const DIGITS: Argument =
    Argument::required("digits", ArgumentKind::Text, "the tones to send: 0-9, #, * and w for a pause").or(&[
        "dtmfDigit",
        "dtmfDigits",
        "dtmf",
    ]);
const TTS_LANGUAGE: Argument =
    Argument::optional("ttsLanguage", ArgumentKind::Text, "the code of the language to speak, such as en-US");
const TRANSCRIPTION_LANGUAGE: Argument = Argument::optional(
    "transcriptionLanguage",
    ArgumentKind::Text,
    "the code of the language that the caller speaks, such as en-US",
);
const SOURCE: Argument =
    Argument::required("source", ArgumentKind::Text, "the whole https address of the recording").or(&["url"]);
const LOOP: Argument = Argument::optional("loop", ArgumentKind::WholeNumber, "how many times it is played, 1 to 10");
const RECIPIENT: Argument = Argument::optional(
    "to",
    ArgumentKind::Text,
    "the number, such as +15550001111; without it the message goes to the caller",
);
const MESSAGE: Argument =
    Argument::required("message", ArgumentKind::Text, "the text of the message, 1 to 1,600 characters").or(&["body"]);
const CONTEXT: Argument = Argument::required("contextKey", ArgumentKind::Text, "the key of a context to switch to")
    .or(&["newContext", "context"]);
const MANIFEST: Argument = Argument::optional("manifestKey", ArgumentKind::Text, "the key of a manifest to switch to")
    .or(&["newManifest", "manifest"]);
const HANDOFF_SUMMARY: Argument = Argument::optional("summary", ArgumentKind::Text, "what the call was about so far")
    .or(&["handoffSummary", "conversationSummary"]);

/// The name of the tool that sends tones.
pub(super) const SEND_DTMF: &str = "send-dtmf";

/// All tools. `Call::perform` says what each of them does.
const TOOLS: &[ToolSpec] = &[
    on_telephone("confirm-amount", &[AMOUNT], parse_confirm_amount),
    on_telephone("start-capture", &[CHARGE_AMOUNT], parse_start_capture),
    on_telephone("capture-card", &[], |_| Ok(capture(Field::CardNumber))),
    on_telephone("capture-security-code", &[], |_| Ok(capture(Field::SecurityCode))),
    on_telephone("capture-expiry-date", &[], |_| Ok(capture(Field::ExpirationDate))),
    on_telephone("capture-postal-code", &[], |_| Ok(capture(Field::PostalCode))),
    on_telephone("capture-bank-routing-number", &[], |_| Ok(capture(Field::BankRoutingNumber))),
    on_telephone("capture-bank-account-number", &[], |_| Ok(capture(Field::BankAccountNumber))),
    on_telephone("finish-capture", &[], |_| Ok(ToolRequest::ChangePayment(UpdateAction::Complete))),
    on_telephone("cancel-capture", &[], |_| Ok(ToolRequest::ChangePayment(UpdateAction::Cancel))),
    on_telephone("set-silence-detection", &[ENABLED], |input| {
        Ok(ToolRequest::SetSilenceDetection { enabled: input.arguments.flag(&ENABLED)? })
    }),
    on_telephone("end-call", &[CALL_SUMMARY], |input| Ok(ToolRequest::EndCall { notes: input.closing_notes(&[]) })),
    on_telephone("live-agent-handoff", &[REASON, CALL_SUMMARY], parse_live_agent_handoff),
    on_telephone(SEND_DTMF, &[DIGITS], parse_send_dtmf),
    on_telephone("switch-language", &[TTS_LANGUAGE, TRANSCRIPTION_LANGUAGE], parse_switch_language),
    on_telephone("play-media", &[SOURCE, LOOP], parse_play_media),
    on_telephone("set-listen-mode", &[ENABLED], |input| {
        Ok(ToolRequest::SetListenMode { enabled: input.arguments.flag(&ENABLED)? })
    }),
    on_telephone("do-not-call", &[], |_| Ok(ToolRequest::DoNotCall)),
    on_telephone("send-sms", &[RECIPIENT, MESSAGE], parse_send_sms),
    anywhere("change-context", &[CONTEXT, MANIFEST, HANDOFF_SUMMARY], parse_change_context),
];

/// A tool that needs a live phone call.
const fn on_telephone(name: &'static str, arguments: &'static [Argument], parse_arguments: ParseArguments) -> ToolSpec {
    ToolSpec { name, arguments, needs_telephone: true, parse_arguments }
}

/// A tool that also works in a chat.
const fn anywhere(name: &'static str, arguments: &'static [Argument], parse_arguments: ParseArguments) -> ToolSpec {
    ToolSpec { name, arguments, needs_telephone: false, parse_arguments }
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

    /// Whether every argument of the tool is of use, not only those that it reads: they are written down for the person
    /// or the system that comes after the agent.
    pub(crate) fn takes_any_argument(&self) -> bool {
        matches!(self.name, "end-call" | "live-agent-handoff")
    }

    /// Parses the arguments of a tool call. The error is a sentence on which the model can act. `currency` is the
    /// currency of the call.
    pub(super) fn parse(&self, json: &str, settings: &CallSettings, currency: Currency) -> Result<ToolRequest, String> {
        let arguments = ToolArguments::parse(json, self.arguments)?;
        (self.parse_arguments)(&ToolInput { json, arguments, settings, currency })
    }
}

/// The arguments of a tool call, and what they are checked against.
struct ToolInput<'a> {
    json: &'a str,
    arguments: ToolArguments,
    settings: &'a CallSettings,
    currency: Currency,
}

impl ToolInput<'_> {
    /// All that the model wrote down, except for arguments that are read elsewhere.
    fn closing_notes(&self, known: &[Argument]) -> ClosingNotes {
        let names: Vec<&str> = known.iter().flat_map(Argument::names).collect();
        let summaries: Vec<&str> = CALL_SUMMARY.names().collect();
        ClosingNotes::parse(self.json, &summaries, &names)
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
    EndCall {
        notes: ClosingNotes,
    },
    LiveAgentHandoff {
        reason: Private<String>,
        notes: ClosingNotes,
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
    DoNotCall,
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

/// The maximum length of a text message, in characters. Twilio rejects longer ones with error 21617.
const MAX_MESSAGE: usize = 1_600;

fn parse_confirm_amount(input: &ToolInput<'_>) -> Result<ToolRequest, String> {
    match parse_charge(&AMOUNT, input)? {
        RequestedCharge::Unspecified => Ok(ToolRequest::ConfirmAmount { amount: None }),
        RequestedCharge::Amount(amount) => Ok(ToolRequest::ConfirmAmount { amount: Some(amount) }),
        RequestedCharge::Zero => Err(NOTHING_TO_CONFIRM.to_owned()),
    }
}

fn parse_start_capture(input: &ToolInput<'_>) -> Result<ToolRequest, String> {
    Ok(ToolRequest::StartCapture { charge: parse_charge(&CHARGE_AMOUNT, input)? })
}

fn parse_live_agent_handoff(input: &ToolInput<'_>) -> Result<ToolRequest, String> {
    let reason = redact_free_text(input.arguments.optional_text(&REASON)?);
    Ok(ToolRequest::LiveAgentHandoff { reason, notes: input.closing_notes(&[REASON]) })
}

fn parse_send_dtmf(input: &ToolInput<'_>) -> Result<ToolRequest, String> {
    let digits = input.arguments.text(&DIGITS)?.parse();
    Ok(ToolRequest::SendDtmf { digits: digits.map_err(|bad| format!("The digits cannot be sent: {bad}."))? })
}

fn parse_switch_language(input: &ToolInput<'_>) -> Result<ToolRequest, String> {
    let spoken = input.arguments.optional_text(&TTS_LANGUAGE)?;
    let heard = input.arguments.optional_text(&TRANSCRIPTION_LANGUAGE)?;
    parse_languages(spoken, heard, input.settings).map(ToolRequest::SwitchLanguage)
}

fn parse_play_media(input: &ToolInput<'_>) -> Result<ToolRequest, String> {
    let source = input.arguments.text(&SOURCE)?;
    let source = Url::parse(source.trim()).map_err(|_| "`source` must be a whole https address.".to_owned())?;
    let source = check_media_url(source, &input.settings.play_media_hosts)?;
    let times = input.arguments.whole_number(&LOOP)?.unwrap_or(1);
    Ok(ToolRequest::PlayMedia { source, times: times.clamp(1, 10) })
}

fn parse_send_sms(input: &ToolInput<'_>) -> Result<ToolRequest, String> {
    let to = input.arguments.optional_text(&RECIPIENT)?;
    let to = to.map(|to| to.trim().parse()).transpose();
    let to = to.map_err(|bad| format!("`to` is no number: {bad}."))?;
    Ok(ToolRequest::SendSms { to, body: parse_message(&input.arguments.text(&MESSAGE)?)? })
}

fn parse_change_context(input: &ToolInput<'_>) -> Result<ToolRequest, String> {
    let keys = ContextKeys {
        context: Some(input.arguments.text(&CONTEXT)?),
        manifest: input.arguments.optional_text(&MANIFEST)?,
    };
    let summary = redact_free_text(input.arguments.optional_text(&HANDOFF_SUMMARY)?);
    Ok(ToolRequest::ChangeContext { keys, summary })
}

const NOTHING_TO_CONFIRM: &str =
    "There is no amount to confirm. To keep the card on file without a charge, call start-capture with chargeAmount 0.";

/// Parses an amount from its JSON text, so that a number never becomes a float.
fn parse_charge(argument: &Argument, input: &ToolInput<'_>) -> Result<RequestedCharge, String> {
    let currency = input.currency;
    let Some((name, text)) = input.arguments.amount_text(argument).filter(|(_, text)| *text != "null") else {
        return Ok(RequestedCharge::Unspecified);
    };
    let amount = Amount::parse(text, currency).map_err(|bad| {
        format!(
            "`{name}` {bad}. Send it as decimal text in {currency}, such as \"25.00\", or as \"0\" to keep the card on file without a charge."
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
fn parse_languages(
    spoken: Option<String>,
    heard: Option<String>,
    settings: &CallSettings,
) -> Result<LanguageSwitch, String> {
    let known = |code: String| {
        let found = settings.languages.iter().find(|known| known.eq_ignore_ascii_case(&code));
        found.cloned().ok_or_else(|| match settings.languages.as_slice() {
            [] => "No other language is configured. Go on in this one.".to_owned(),
            codes => format!("That language is not configured. There are: {}.", codes.join(", ")),
        })
    };
    let spoken = spoken.map(known).transpose()?;
    let heard = heard.map(known).transpose()?;
    match (spoken, heard) {
        (Some(tts_language), Some(transcription_language)) => {
            Ok(LanguageSwitch::Both { tts_language, transcription_language })
        }
        (Some(tts_language), None) => Ok(LanguageSwitch::Tts { tts_language }),
        (None, Some(transcription_language)) => Ok(LanguageSwitch::Transcription { transcription_language }),
        (None, None) => Err("Name `ttsLanguage`, `transcriptionLanguage`, or both.".to_owned()),
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
    Private::new(bound_text(&text.unwrap_or_default()))
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
    fn the_argument_names_of_the_reference_manifests_are_read() {
        let change =
            read("change-context", r#"{"newContext":"intent","newManifest":"desk","handoffSummary":"so far"}"#);
        let Ok(ToolRequest::ChangeContext { keys, summary }) = change else { panic!("{change:?}") };
        assert_eq!((keys.context.as_deref(), keys.manifest.as_deref()), (Some("intent"), Some("desk")));
        assert_eq!(summary.reveal(), "so far");
        let handoff = read("live-agent-handoff", r#"{"callSid":"CA9","callSummary":"a refund","reasonCode":"asked"}"#);
        let Ok(ToolRequest::LiveAgentHandoff { reason, notes }) = handoff else { panic!("{handoff:?}") };
        assert_eq!((reason.reveal().as_str(), notes.summary.reveal().as_str()), ("asked", "a refund"));
        let tones = read("send-dtmf", r#"{"dtmfDigit":5}"#);
        assert!(matches!(tones, Ok(ToolRequest::SendDtmf { digits }) if digits == "5".parse().unwrap()));
        let message = read("send-sms", r#"{"to":"+15550001111","body":"Hi"}"#);
        assert!(matches!(message, Ok(ToolRequest::SendSms { body, .. }) if body.reveal() == "Hi"));
        let capture = read("start-capture", r#"{"callSid":"CA9","amount":"25.00"}"#);
        assert!(matches!(capture, Ok(ToolRequest::StartCapture { charge: RequestedCharge::Amount(_) })));
    }

    #[test]
    fn null_and_empty_text_stand_for_an_argument_that_was_left_out() {
        for absent in ["null", r#""""#] {
            let music =
                read("play-media", &format!(r#"{{"source":"https://media.example.com/a.mp3","loop":{absent}}}"#));
            assert!(matches!(music, Ok(ToolRequest::PlayMedia { times: 1, .. })), "{music:?}");
            let message = read("send-sms", &format!(r#"{{"to":{absent},"message":"Hi"}}"#));
            assert!(matches!(message, Ok(ToolRequest::SendSms { to: None, .. })), "{message:?}");
            let change = read("change-context", &format!(r#"{{"contextKey":"a","manifestKey":{absent}}}"#));
            assert!(matches!(change, Ok(ToolRequest::ChangeContext { keys, .. }) if keys.manifest.is_none()));
            let language =
                read("switch-language", &format!(r#"{{"ttsLanguage":"en-AU","transcriptionLanguage":{absent}}}"#));
            assert!(matches!(language, Ok(ToolRequest::SwitchLanguage(LanguageSwitch::Tts { .. }))), "{language:?}");
        }
    }

    #[test]
    fn a_missing_or_wrong_argument_is_answered_with_its_name_and_what_it_must_be() {
        for (name, arguments, answer) in [
            (
                "change-context",
                r#"{"target":"a"}"#,
                "`contextKey` is missing: the key of a context to switch to (`newContext` or `context` is read, too).",
            ),
            (
                "change-context",
                r#"{"newContext":["a"]}"#,
                "`newContext` must be text: the key of a context to switch to.",
            ),
            ("set-silence-detection", "", "`enabled` is missing: true switches it on, false off."),
            (
                "set-listen-mode",
                r#"{"enabled":"maybe"}"#,
                "`enabled` must be true or false: true switches it on, false off.",
            ),
            (
                "play-media",
                r#"{"source":"https://media.example.com/a.mp3","loop":"often"}"#,
                "`loop` must be a whole number: how many times it is played, 1 to 10.",
            ),
            (
                "send-sms",
                r#"{"to":"the caller","message":"Hi"}"#,
                "`to` is no number: a phone number is in E.164 form: a plus sign, the country code and the number, such as +15550001111.",
            ),
        ] {
            assert_eq!(read(name, arguments).unwrap_err(), answer, "{name} {arguments}");
        }
    }

    #[test]
    fn each_required_argument_is_asked_for_when_it_is_left_out_and_no_other() {
        for tool in TOOLS {
            let missing = read(tool.name, "{}").err();
            let required: Vec<&Argument> = tool.arguments.iter().filter(|argument| argument.is_required).collect();
            match required.as_slice() {
                [] => assert!(missing.is_none() || tool.name == "switch-language", "{}: {missing:?}", tool.name),
                [argument] => assert_eq!(missing, Some(argument.missing()), "{}", tool.name),
                several => panic!("{}: {several:?}", tool.name),
            }
        }
    }

    #[test]
    fn a_card_number_is_removed_from_a_summary() {
        let arguments = r#"{"reason":"asked","summary":"paid with 4242 4242 4242 4242"}"#;
        let request = read("live-agent-handoff", arguments);
        let Ok(ToolRequest::LiveAgentHandoff { notes, .. }) = request else { panic!() };
        assert_eq!(notes.summary.reveal(), "paid with [digits removed]");
    }

    #[test]
    fn the_error_for_a_forbidden_argument_names_what_is_allowed() {
        for (name, arguments, answer) in [
            ("send-dtmf", r#"{"digits":"12a"}"#, "0-9"),
            ("switch-language", r#"{"ttsLanguage":"fr-FR"}"#, "There are: en-US, en-AU"),
            ("switch-language", "{}", "Name `ttsLanguage`"),
            ("play-media", r#"{"source":"http://media.example.com/a.mp3"}"#, "Only https"),
            ("play-media", r#"{"source":"https://evil.example.com/a.mp3"}"#, "from: media.example.com"),
            ("play-media", r#"{"source":"https://media.example.com@evil.example.com/"}"#, "from: media.example.com"),
            ("play-media", r#"{"source":"media.example.com"}"#, "`source` must be a whole https address"),
        ] {
            let refusal = read(name, arguments).unwrap_err();
            assert!(refusal.contains(answer), "{name} {arguments}: {refusal}");
        }
    }
}
