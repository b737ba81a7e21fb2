//! `serverConfig.json`: the behaviour of calls. Every section is optional.

use std::time::Duration;

use jiff::tz::TimeZone;
use serde::Deserialize;

use super::asset_loader::AssetLoaderSection;
use super::compliance::ComplianceSection;
use super::messages::MessagesSection;
use super::outbound::{self, OutboundRules};
use super::payments::PaymentsSection;
use super::recording::{CallRecordingConfig, RecordingSection};
use super::relay::LanguageElement;
use super::relay_section::RelaySection;
use super::tool_servers::ToolServersSection;
use super::usage_limits::UsageLimitsSection;
use crate::assets::de::{at_most, seconds, speech};
use crate::assets::file::AssetFile;
use crate::assets::name::AssetKey;
use crate::assets::{AssetError, AssetWarning};
use crate::business_tools::ToolServer;
use crate::relay::twiml::{Attributes, NOT_COMPLIANT_ATTRIBUTES};
use crate::usage_limits::UsageLimits;
use crate::{call, llm, payment};

/// The parsed `serverConfig.json`.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent setting")]
pub struct ServerConfig {
    /// The attributes of `<ConversationRelay>`: `ConversationRelay.Configuration`, then `ConversationRelay.Extra`.
    pub relay: Attributes,
    /// `Pci.acceptNonCompliant` (false): attributes that are not PCI compliant are used although payments can be taken.
    pub accept_non_compliant: bool,
    /// The `<Language>`s: `languages` in `Configuration`, or `Languages` beside it.
    pub languages: Vec<Attributes>,
    /// The `<Parameter>`s: `parameters` in `Configuration`, or `Parameters` beside it.
    pub parameters: Attributes,
    /// `ConversationRelay.SilenceDetection`.
    pub silence: call::SilenceSettings,
    /// `Model`.
    pub model: llm::ModelLimits,
    /// `Payments.texts`, with the built-in texts for missing ones.
    pub texts: call::LocalizedTexts,
    /// `Payments.flow`: whether the server (`"guided"`) or the model (`"assistant"`, the default) asks for the payment
    /// fields.
    pub guided: bool,
    /// `Payments.confirm`: whether the caller has to confirm amounts due, too (`"always"`), or not (`"unlessDue"`, the
    /// default).
    pub confirm_due: bool,
    /// `Payments.stallSeconds` (60).
    pub stall_timeout: Duration,
    /// The rest of `Payments`: the options of every payment request.
    pub payment_options: payment::PaymentOptions,
    /// `Payments.Limits`.
    pub limits: payment::VelocityLimits,
    /// `Limits`.
    pub usage_limits: UsageLimits,
    /// `Compliance.disclosure`: that the agent is a machine. `None` if it is `false`.
    pub disclosure: Option<call::ComplianceText>,
    /// `Compliance.receipt`: the text message about a payment that succeeded. `None` if it is `false`, the default.
    pub receipt: Option<call::ComplianceText>,
    /// `Compliance.achAuthorization`: what a caller authorises before a bank account is debited. `None` if it is `false`.
    pub ach_authorization: Option<call::ComplianceText>,
    /// `Compliance.storedCard`: what a caller agrees to before a card is stored. `None` if it is `false`.
    pub stored_card: Option<call::ComplianceText>,
    /// `Compliance.timeZone` (UTC): where the business is.
    pub time_zone: TimeZone,
    /// `Compliance.outbound`. `None` if it is not there.
    pub outbound: Option<OutboundRules>,
    /// `Recording`. `None` if calls are not recorded.
    pub recording: Option<CallRecordingConfig>,
    /// `Messages`.
    pub messages: call::CallMessages,
    /// `Server.ListenMode.enabled` (false): the agent only listens.
    pub listen_only: bool,
    /// `Keypad`.
    pub keypad: call::KeypadSettings,
    /// `ToolServers`.
    pub tool_servers: Vec<ToolServer>,
}

impl ServerConfig {
    /// The languages of a ConversationRelay session, as BCP 47 codes; the main language is first.
    pub fn language_codes(&self) -> Vec<String> {
        let main = attribute(&self.relay, "language").unwrap_or(DEFAULT_LANGUAGE);
        let others = self.languages.iter().filter_map(|language| attribute(language, "code"));
        std::iter::once(main).chain(others).map(str::to_owned).collect()
    }

    /// The attributes that send what is said to a product of Twilio that is not PCI compliant.
    pub fn non_compliant_attributes(&self) -> Vec<&'static str> {
        let is_on = |name: &&&str| attribute(&self.relay, name).is_some_and(|value| !is_off(value));
        NOT_COMPLIANT_ATTRIBUTES.iter().filter(is_on).copied().collect()
    }

    /// The language that the agent speaks first, as a BCP 47 code.
    pub fn spoken_language(&self) -> &str {
        let spoken = attribute(&self.relay, "ttsLanguage").or_else(|| attribute(&self.relay, "language"));
        spoken.unwrap_or(DEFAULT_LANGUAGE)
    }

    /// The language in which the caller is transcribed: a BCP 47 code, or `multi`.
    pub fn heard_language(&self) -> &str {
        let heard = attribute(&self.relay, "transcriptionLanguage").or_else(|| attribute(&self.relay, "language"));
        heard.unwrap_or(DEFAULT_LANGUAGE)
    }

    /// Whether Twilio detects the language of each prompt.
    fn detects_language(&self) -> bool {
        self.heard_language().eq_ignore_ascii_case(DETECTED_LANGUAGE)
    }

    /// The payment settings of a new call, before its own parameters are applied.
    pub fn payment_settings(&self, environment: &call::CallEnvironment) -> payment::PaymentSettings {
        payment::PaymentSettings { options: self.payment_options.clone(), ..environment.payment.clone() }
    }

    /// What callers of a new call have to authorise.
    fn authorization_settings(&self, environment: &call::CallEnvironment) -> call::AuthorizationSettings {
        call::AuthorizationSettings {
            bank_debit: self.ach_authorization.clone(),
            stored_card: self.stored_card.clone(),
            business_name: environment.business_name.clone(),
            phone: environment.business_phone.as_ref().unwrap_or(&environment.from_number).clone(),
            time_zone: self.time_zone.clone(),
        }
    }

    /// The settings of a new call: this file's, and the environment's for what the file does not contain.
    pub fn call_settings(&self, environment: &call::CallEnvironment) -> call::CallSettings {
        call::CallSettings {
            has_telephone: true,
            has_agent: true,
            may_ask_again: environment.may_ask_again,
            silence: self.silence.clone(),
            messages: self.messages.clone(),
            welcome_greeting: self.spoken_greeting(environment.business_name.as_deref()),
            disclosure: self.filled_disclosure(environment.business_name.as_deref()),
            sends_receipts: self.receipt.is_some() && self.receipt_problem(environment).is_none(),
            authorizations: self.authorization_settings(environment),
            outbound_greeting: self.outbound_greeting(environment.business_name.as_deref()),
            recording: self.recording_settings(environment.business_name.as_deref()),
            payment: self.payment_settings(environment),
            texts: self.texts.clone(),
            is_guided: self.guided,
            confirm_due: self.confirm_due,
            stall_timeout: self.stall_timeout,
            resume_timeout: environment.resume_timeout,
            listen_only: self.listen_only,
            language: self.spoken_language().to_owned(),
            detects_language: self.detects_language(),
            languages: self.language_codes(),
            sms_allowed_numbers: environment.sms_allowed_numbers.clone(),
            play_media_hosts: environment.play_media_hosts.clone(),
            destinations: environment.destinations.clone(),
            usage_limits: self.usage_limits.clone(),
            keypad: self.keypad,
            heard_language: self.heard_language().to_owned(),
        }
    }

    /// The greeting of a session as it is written, with its placeholder.
    pub fn welcome_greeting(&self) -> Option<&str> {
        attribute(&self.relay, WELCOME_GREETING)
    }

    /// The greeting that Twilio speaks when a session starts, with the disclosure in place of its placeholder.
    pub(crate) fn spoken_greeting(&self, business: Option<&str>) -> Option<String> {
        let disclosure = self.filled_disclosure(business);
        let disclosure = disclosure.as_ref().and_then(|texts| texts.find(self.spoken_language()));
        let greeting = match disclosure {
            Some(statement) => self.welcome_greeting()?.replace(DISCLOSURE, &statement.text),
            None => self.welcome_greeting()?.replace(&format!("{DISCLOSURE} "), "").replace(DISCLOSURE, ""),
        };
        Some(greeting).filter(|text| !text.trim().is_empty())
    }

    /// The attributes of `<ConversationRelay>` as Twilio gets them.
    pub(crate) fn relay_attributes(&self, business: Option<&str>) -> Attributes {
        let with_disclosure = |(name, value): &(String, String)| match name.as_str() {
            WELCOME_GREETING => self.spoken_greeting(business).map(|greeting| (name.clone(), greeting)),
            _ => Some((name.clone(), value.clone())),
        };
        self.relay.iter().filter_map(with_disclosure).collect()
    }

    /// The disclosure that the agent is a machine, by language, with the name of the business.
    pub(crate) fn filled_disclosure(&self, business: Option<&str>) -> Option<call::FilledText> {
        self.disclosure.as_ref().map(|texts| fill(texts, business))
    }

    /// How calls are recorded, with the name of the business in the announcement.
    pub(crate) fn recording_settings(&self, business: Option<&str>) -> Option<call::RecordingSettings> {
        let CallRecordingConfig { announcement, pauses_for_capture } = self.recording.as_ref()?;
        Some(call::RecordingSettings {
            announcement: fill(announcement, business),
            pauses_for_capture: *pauses_for_capture,
        })
    }

    /// The first words of a call that this server places, if they differ from those of other calls: they say who calls.
    pub(crate) fn outbound_greeting(&self, business: Option<&str>) -> Option<String> {
        let disclosure = self.filled_disclosure(business);
        let disclosure = disclosure.as_ref().and_then(|texts| texts.find(self.spoken_language()));
        let disclosure = disclosure.map(|statement| (outbound::DISCLOSURE, statement.text.as_str()));
        let values: Vec<_> = business.map(|name| (call::BUSINESS, name)).into_iter().chain(disclosure).collect();
        let greeting = self.outbound.as_ref()?.greeting.fill(&values);
        greeting.find(self.spoken_language()).map(|statement| statement.text.clone())
    }

    /// Whether calls are recorded while card or account details are captured.
    pub(crate) fn records_captures(&self) -> bool {
        self.recording.as_ref().is_some_and(|recording| !recording.pauses_for_capture)
    }

    /// Whether Twilio reports when the caller has heard a text.
    pub(crate) fn reports_speech(&self) -> bool {
        let events = attribute(&self.relay, "events").unwrap_or_default();
        events.split_whitespace().any(|event| matches!(event, "speaker-events" | "tokens-played"))
    }

    /// Why no receipts are sent, if they are on.
    pub(crate) fn receipt_problem(&self, environment: &call::CallEnvironment) -> Option<ReceiptProblem> {
        self.find_receipt_problem(environment.business_name.is_some(), environment.business_phone.is_some())
    }

    /// The same for a business that has a name, and a number for questions.
    pub(crate) fn find_receipt_problem(&self, has_name: bool, has_phone: bool) -> Option<ReceiptProblem> {
        match self.receipt {
            Some(_) if !has_name => Some(ReceiptProblem::NoBusinessName),
            Some(_) if !has_phone => Some(ReceiptProblem::NoBusinessPhone),
            _ => None,
        }
    }

    /// What is wrong with the disclosure, if anything is.
    pub(crate) fn disclosure_problem(&self, business: Option<&str>) -> Option<DisclosureProblem> {
        let Some(texts) = &self.disclosure else { return Some(DisclosureProblem::Off) };
        if business.is_none() && texts.uses(call::BUSINESS) {
            return Some(DisclosureProblem::NoBusinessName);
        }
        let filled = self.filled_disclosure(business)?;
        let statement = filled.find(self.spoken_language())?;
        let is_missing = |greeting: String| !greeting.contains(&statement.text);
        self.spoken_greeting(business).is_some_and(is_missing).then_some(DisclosureProblem::NotInGreeting)
    }
}

/// Why no receipts are sent though `Compliance.receipt` is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReceiptProblem {
    /// The business has no name.
    #[error("Compliance.receipt is on, and BUSINESS_NAME is not set: no receipt is sent until it is")]
    NoBusinessName,
    /// There is no number for questions.
    #[error(
        "Compliance.receipt is on, and BUSINESS_PHONE, the number for questions, is not set: no receipt is sent until it is"
    )]
    NoBusinessPhone,
}

fn fill(texts: &call::ComplianceText, business: Option<&str>) -> call::FilledText {
    let values = business.map(|name| (call::BUSINESS, name));
    texts.fill(values.as_slice())
}

/// What is wrong with the disclosure that the agent is a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DisclosureProblem {
    /// It is switched off.
    #[error(
        "Compliance.disclosure is false, so that no caller is told that a machine is speaking, as the law requires in many \
         places: remove it from serverConfig.json"
    )]
    Off,
    /// The operator's text names the business, whose name is not known.
    #[error(
        "Compliance.disclosure has {{business}} in it, and BUSINESS_NAME is not set: callers hear a built-in text without a \
         name; set BUSINESS_NAME"
    )]
    NoBusinessName,
    /// The greeting does not contain it.
    #[error(
        "welcomeGreeting does not say that a machine is speaking: the server says so right after it; write {{disclosure}} \
         into the greeting, where the caller is to hear it"
    )]
    NotInGreeting,
}

/// The attribute of the greeting.
pub(crate) const WELCOME_GREETING: &str = "welcomeGreeting";

/// The placeholder of the greeting for the disclosure.
const DISCLOSURE: &str = "{disclosure}";

/// ConversationRelay's default for `language`.
const DEFAULT_LANGUAGE: &str = "en-US";

/// The language code with which Twilio detects the caller's language, and each prompt names it.
pub(crate) const DETECTED_LANGUAGE: &str = "multi";

fn attribute<'a>(attributes: &'a Attributes, wanted: &str) -> Option<&'a str> {
    attributes.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
}

/// Whether the value switches an attribute off.
fn is_off(value: &str) -> bool {
    value.trim().is_empty() || value.eq_ignore_ascii_case("false")
}

/// Adds attributes whose Twilio default does not suit this server: without `applicationReconnect` a broken socket ends
/// the call, without `dtmfDetection` no keypress is reported.
fn add_default_attributes(mut attributes: Attributes) -> Attributes {
    for name in ["applicationReconnect", "dtmfDetection"] {
        if attribute(&attributes, name).is_none() {
            attributes.push((name.to_owned(), "true".to_owned()));
        }
    }
    attributes
}

/// `AssetLoader`: the default context and manifest, and the source of the assets.
#[derive(Debug)]
pub(in crate::assets) struct ActiveAssets {
    pub(in crate::assets) context: AssetKey,
    pub(in crate::assets) manifest: AssetKey,
    pub(in crate::assets) loader: Option<LoaderType>,
}

/// `assetLoaderType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::assets) enum LoaderType {
    File,
    Sync,
}

pub(in crate::assets) fn parse(
    file: &AssetFile,
) -> Result<(ServerConfig, ActiveAssets, Vec<AssetWarning>), AssetError> {
    let (sections, ignored) = file.parse_json::<Sections>()?;
    let contradiction = |what| AssetError::Invalid { file: file.label.clone(), line: 1, what };
    let loader = sections.asset_loader.merge(sections.used_config).map_err(contradiction)?;
    let mut warnings = warnings(file, loader.asset_loader_type.as_deref(), ignored);
    let key = |name: &str| name.parse().expect("the default keys are valid");
    let active = ActiveAssets {
        context: loader.context.unwrap_or_else(|| key("PaymentContext")),
        manifest: loader.manifest.unwrap_or_else(|| key("PaymentToolManifest")),
        loader: match loader.asset_loader_type.as_deref() {
            Some("file") => Some(LoaderType::File),
            Some("sync") => Some(LoaderType::Sync),
            _ => None,
        },
    };
    let relay = sections.conversation_relay;
    let unknown = relay.extra.iter().map(|(name, _)| name.clone());
    warnings.extend(unknown.map(|name| AssetWarning::ExtraAttribute { file: file.label.clone(), name }));
    let silence = relay.silence_detection.or(loader.silence_detection).unwrap_or_default();
    let listen_mode = sections.server.listen_mode.or(loader.listen_mode).unwrap_or_default();
    let config = ServerConfig {
        relay: add_default_attributes(relay.attributes).into_iter().chain(relay.extra).collect(),
        accept_non_compliant: sections.pci.accept_non_compliant,
        languages: relay.languages.into_iter().chain(sections.languages).map(|LanguageElement(it)| it).collect(),
        parameters: relay.parameters,
        silence: call::SilenceSettings {
            enabled: silence.enabled,
            threshold: silence.seconds_threshold,
            reminders: silence.messages.into_iter().map(|SpokenText(text)| text).collect(),
        },
        model: llm::ModelLimits {
            first_token: sections.model.first_token_seconds,
            response: sections.model.response_seconds,
            retries: sections.model.retries,
        },
        stall_timeout: sections.payments.stall_seconds,
        payment_options: sections.payments.to_options(),
        texts: sections.payments.texts(),
        guided: sections.payments.is_guided(),
        confirm_due: sections.payments.confirms_due(),
        limits: sections.payments.into_limits(),
        disclosure: sections.compliance.disclosure,
        receipt: sections.compliance.receipt,
        ach_authorization: sections.compliance.ach_authorization,
        stored_card: sections.compliance.stored_card,
        time_zone: sections.compliance.time_zone,
        outbound: sections.compliance.outbound,
        recording: sections.recording.into_config(),
        messages: sections.messages.into_messages(),
        usage_limits: sections.limits.into_limits(),
        listen_only: listen_mode.enabled,
        keypad: call::KeypadSettings {
            max_digits: sections.keypad.max_digits.max(1) as usize,
            pause: sections.keypad.pause_seconds,
        },
        tool_servers: sections.tool_servers.into_servers(),
    };
    warnings.extend(missing_texts(file, &config));
    Ok((config, active, warnings))
}

/// The languages of a session in which a text that is required is missing.
fn missing_texts(file: &AssetFile, config: &ServerConfig) -> Vec<AssetWarning> {
    let announcement = config.recording.as_ref().map(|recording| &recording.announcement);
    let texts = [
        ("Compliance.disclosure", config.disclosure.as_ref()),
        ("Compliance.receipt", config.receipt.as_ref()),
        ("Recording.announcement", announcement),
    ]
    .into_iter();
    let missing = texts.filter_map(|(text, texts)| Some((text, texts?))).flat_map(|(text, texts)| {
        let codes = config.language_codes().into_iter();
        let codes = codes.filter(|code| code != DETECTED_LANGUAGE && !texts.has_language(code));
        codes.map(move |code| AssetWarning::MissingText { file: file.label.clone(), text, code })
    });
    missing.collect()
}

fn warnings(file: &AssetFile, loader_type: Option<&str>, ignored: Vec<String>) -> Vec<AssetWarning> {
    let label = || file.label.clone();
    let unread = ignored.into_iter().map(|key| match key.rsplit_once('.') {
        Some(("ConversationRelay.Configuration" | "ConversationRelay", "url" | "action")) => {
            AssetWarning::SetByServer { file: label(), key }
        }
        _ => AssetWarning::UnknownKey { file: label(), key },
    });
    let kind = loader_type.filter(|kind| !matches!(*kind, "file" | "sync"));
    let loader = kind.map(|kind| AssetWarning::UnknownLoaderType { file: label(), kind: kind.to_owned() });
    unread.chain(loader).collect()
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
struct Sections {
    conversation_relay: RelaySection,
    /// The `<Language>`s, where they were before version 4.7 of the reference implementation.
    languages: Vec<LanguageElement>,
    asset_loader: AssetLoaderSection,
    used_config: AssetLoaderSection,
    server: ServerSection,
    model: ModelSection,
    payments: PaymentsSection,
    keypad: KeypadSection,
    messages: MessagesSection,
    compliance: ComplianceSection,
    recording: RecordingSection,
    pci: PciSection,
    limits: UsageLimitsSection,
    tool_servers: ToolServersSection,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
struct ServerSection {
    listen_mode: Option<ListenModeSection>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct PciSection {
    accept_non_compliant: bool,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
pub(super) struct ListenModeSection {
    enabled: bool,
}

#[derive(Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct SilenceDetectionSection {
    enabled: bool,
    #[serde(deserialize_with = "seconds::<1, 3600, _>")]
    seconds_threshold: Duration,
    messages: Vec<SpokenText>,
}

#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct SpokenText(#[serde(deserialize_with = "speech")] String);

#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ModelSection {
    #[serde(deserialize_with = "seconds::<1, 60, _>")]
    first_token_seconds: Duration,
    #[serde(deserialize_with = "seconds::<1, 600, _>")]
    response_seconds: Duration,
    #[serde(deserialize_with = "at_most::<5, _>")]
    retries: u32,
}

#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct KeypadSection {
    #[serde(deserialize_with = "at_most::<64, _>")]
    max_digits: u32,
    #[serde(deserialize_with = "seconds::<1, 60, _>")]
    pause_seconds: Duration,
}

impl Default for KeypadSection {
    fn default() -> Self {
        Self { max_digits: 20, pause_seconds: Duration::from_secs(3) }
    }
}

impl Default for SilenceDetectionSection {
    fn default() -> Self {
        let messages = [
            "Are you still there?",
            "I am still here whenever you are ready.",
            "I cannot hear you at the moment. If you need more time, just say so.",
        ];
        Self {
            enabled: true,
            seconds_threshold: Duration::from_secs(20),
            messages: messages.map(|text| SpokenText(text.to_owned())).into(),
        }
    }
}

impl Default for ModelSection {
    fn default() -> Self {
        Self { first_token_seconds: Duration::from_secs(8), response_seconds: Duration::from_secs(60), retries: 2 }
    }
}
