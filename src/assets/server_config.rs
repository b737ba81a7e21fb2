//! `serverConfig.json`: how calls are led, in sections that may all be missing.

use std::time::Duration;

use serde::Deserialize;

use super::file::File;
use super::json::{self, at_most, seconds, speech};
use super::name::Key;
use super::payments::Payments;
use super::relay::{Configuration, Language, Parameters};
use super::{AssetError, Warning};
use crate::relay::twiml::Attributes;
use crate::{call, llm, payment};

/// What `serverConfig.json` says of calls.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The attributes of `<ConversationRelay>`: `ConversationRelay.Configuration`.
    pub relay: Attributes,
    /// The `<Language>`s: `languages` in `Configuration`, or `Languages` beside it.
    pub languages: Vec<Attributes>,
    /// The `<Parameter>`s: `parameters` in `Configuration`, or `Parameters` beside it.
    pub parameters: Attributes,
    /// `ConversationRelay.SilenceDetection`.
    pub silence: call::Silence,
    /// `Model`.
    pub model: llm::Limits,
    /// `Payments.texts`, completed by what is built in.
    pub texts: call::Guide,
    /// `Payments.flow`: whether the server leads through payments (`"guided"`) or the model does (`"assistant"`, the default).
    pub guided: bool,
    /// `Payments.confirm`: whether the server asks for a yes to amounts that are due, too (`"always"`), or not (`"unlessDue"`, the
    /// default).
    pub confirm_due: bool,
    /// `Payments.stallSeconds` (60).
    pub stall: Duration,
    /// The rest of `Payments`: what Twilio is told of every payment.
    pub payments: payment::Options,
    /// `Payments.Limits`.
    pub limits: payment::Limits,
    /// `Messages`.
    pub messages: call::Messages,
    /// `Server.ListenMode.enabled` (false): the agent only listens.
    pub listen: bool,
    /// `Keypad`.
    pub keypad: call::Keypad,
}

impl ServerConfig {
    /// The languages that a session is opened with, as BCP 47 codes.
    pub fn languages(&self) -> Vec<String> {
        let main = attribute(&self.relay, "language").unwrap_or(TWILIOS_LANGUAGE);
        let others = self.languages.iter().filter_map(|language| attribute(language, "code"));
        std::iter::once(main).chain(others).map(str::to_owned).collect()
    }

    /// What the agent speaks at first, as a BCP 47 code.
    pub fn spoken_language(&self) -> &str {
        let spoken = attribute(&self.relay, "ttsLanguage").or_else(|| attribute(&self.relay, "language"));
        spoken.unwrap_or(TWILIOS_LANGUAGE)
    }

    /// How a call that begins now pays, unless it says otherwise.
    pub fn payment(&self, environment: &call::Environment) -> payment::Settings {
        payment::Settings { options: self.payments.clone(), ..environment.payment.clone() }
    }

    /// What a call that begins now does and says. What the environment decides is not of this file.
    pub fn settings(&self, environment: &call::Environment) -> call::Settings {
        call::Settings {
            telephone: true,
            silence: self.silence.clone(),
            messages: self.messages.clone(),
            welcome_greeting: self.welcome_greeting().map(str::to_owned).filter(|text| !text.trim().is_empty()),
            payment: self.payment(environment),
            texts: self.texts.clone(),
            guided: self.guided,
            confirm_due: self.confirm_due,
            stall: self.stall,
            resume: environment.resume,
            listen: self.listen,
            language: self.spoken_language().to_owned(),
            languages: self.languages(),
            sms_allowed: environment.sms_allowed.clone(),
            play_media_hosts: environment.play_media_hosts.clone(),
            keypad: self.keypad,
        }
    }

    /// What Twilio says by itself when a session begins.
    pub fn welcome_greeting(&self) -> Option<&str> {
        attribute(&self.relay, "welcomeGreeting")
    }
}

/// What is spoken and heard where `language` is not set.
const TWILIOS_LANGUAGE: &str = "en-US";

fn attribute<'a>(attributes: &'a Attributes, wanted: &str) -> Option<&'a str> {
    attributes.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
}

/// What Twilio does by itself is not enough: without the one a socket that breaks ends the call, without the other no key is heard.
fn with_defaults(mut attributes: Attributes) -> Attributes {
    for name in ["applicationReconnect", "dtmfDetection"] {
        if attribute(&attributes, name).is_none() {
            attributes.push((name.to_owned(), "true".to_owned()));
        }
    }
    attributes
}

/// `AssetLoader`: which context and which manifest a call begins with, and where they are.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) context: Key,
    pub(super) manifest: Key,
    pub(super) loader: Option<LoaderType>,
}

/// `assetLoaderType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LoaderType {
    File,
    Sync,
}

pub(super) fn parse(file: &File) -> Result<(ServerConfig, Active, Vec<Warning>), AssetError> {
    let (sections, ignored) = json::parse::<Sections>(file)?;
    let warnings = warnings(file, &sections, ignored);
    let loader = sections.asset_loader;
    let key = |name: &str| name.parse().expect("the tests load an empty configuration");
    let active = Active {
        context: loader.context.or(loader.active_context_key).unwrap_or_else(|| key("PaymentContext")),
        manifest: loader.manifest.or(loader.active_manifest_key).unwrap_or_else(|| key("PaymentToolManifest")),
        loader: match loader.asset_loader_type.as_deref() {
            Some("file") => Some(LoaderType::File),
            Some("sync") => Some(LoaderType::Sync),
            _ => None,
        },
    };
    let relay = sections.conversation_relay;
    let config = ServerConfig {
        relay: with_defaults(relay.configuration.attributes),
        languages: relay.configuration.languages.into_iter().chain(relay.languages).map(|Language(it)| it).collect(),
        parameters: [relay.configuration.parameters.0, relay.parameters.0].concat(),
        silence: call::Silence {
            enabled: relay.silence_detection.enabled,
            threshold: relay.silence_detection.seconds_threshold,
            messages: relay.silence_detection.messages.into_iter().map(|Speech(text)| text).collect(),
        },
        model: llm::Limits {
            first_token: sections.model.first_token_seconds,
            response: sections.model.response_seconds,
            retries: sections.model.retries,
        },
        stall: sections.payments.stall_seconds,
        payments: sections.payments.options(),
        texts: sections.payments.texts(),
        guided: sections.payments.is_guided(),
        confirm_due: sections.payments.confirms_due(),
        limits: sections.payments.limits(),
        messages: call::Messages {
            model_unavailable: sections.messages.model_unavailable,
            hand_off: sections.messages.hand_off,
            goodbye: sections.messages.goodbye,
            no_agent: sections.messages.no_agent,
        },
        listen: sections.server.listen_mode.enabled,
        keypad: call::Keypad {
            max_digits: sections.keypad.max_digits.max(1) as usize,
            pause: sections.keypad.pause_seconds,
        },
    };
    Ok((config, active, warnings))
}

fn warnings(file: &File, sections: &Sections, ignored: Vec<String>) -> Vec<Warning> {
    let label = || file.label.clone();
    let unread = ignored.into_iter().map(|key| match key.rsplit_once('.') {
        Some(("ConversationRelay.Configuration", "url" | "action")) => Warning::ServersOwn { file: label(), key },
        _ => Warning::Unknown { file: label(), key },
    });
    let kind = sections.asset_loader.asset_loader_type.as_deref().filter(|kind| !matches!(*kind, "file" | "sync"));
    let loader = kind.map(|kind| Warning::LoaderType { file: label(), kind: kind.to_owned() });
    unread.chain(loader).collect()
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
struct Sections {
    conversation_relay: Relay,
    asset_loader: AssetLoader,
    server: Server,
    model: Model,
    payments: Payments,
    keypad: Keypad,
    messages: Messages,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
struct Relay {
    configuration: Configuration,
    #[serde(alias = "languages")]
    languages: Vec<Language>,
    #[serde(alias = "parameters")]
    parameters: Parameters,
    silence_detection: SilenceDetection,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct AssetLoader {
    context: Option<Key>,
    active_context_key: Option<Key>,
    manifest: Option<Key>,
    active_manifest_key: Option<Key>,
    asset_loader_type: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
struct Server {
    listen_mode: ListenMode,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ListenMode {
    enabled: bool,
}

#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SilenceDetection {
    enabled: bool,
    #[serde(deserialize_with = "seconds::<1, 3600, _>")]
    seconds_threshold: Duration,
    messages: Vec<Speech>,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Speech(#[serde(deserialize_with = "speech")] String);

#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Model {
    #[serde(deserialize_with = "seconds::<1, 60, _>")]
    first_token_seconds: Duration,
    #[serde(deserialize_with = "seconds::<1, 600, _>")]
    response_seconds: Duration,
    #[serde(deserialize_with = "at_most::<5, _>")]
    retries: u32,
}

#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Keypad {
    #[serde(deserialize_with = "at_most::<64, _>")]
    max_digits: u32,
    #[serde(deserialize_with = "seconds::<1, 60, _>")]
    pause_seconds: Duration,
}

impl Default for Keypad {
    fn default() -> Self {
        Self { max_digits: 20, pause_seconds: Duration::from_secs(3) }
    }
}

#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Messages {
    #[serde(deserialize_with = "speech")]
    model_unavailable: String,
    #[serde(deserialize_with = "speech")]
    hand_off: String,
    #[serde(deserialize_with = "speech")]
    goodbye: String,
    #[serde(deserialize_with = "speech")]
    no_agent: String,
}

impl Default for SilenceDetection {
    fn default() -> Self {
        let messages = [
            "Are you still there?",
            "I am still here whenever you are ready.",
            "I cannot hear you at the moment. If you need more time, just say so.",
        ];
        Self {
            enabled: true,
            seconds_threshold: Duration::from_secs(20),
            messages: messages.map(|text| Speech(text.to_owned())).into(),
        }
    }
}

impl Default for Model {
    fn default() -> Self {
        Self { first_token_seconds: Duration::from_secs(8), response_seconds: Duration::from_secs(60), retries: 2 }
    }
}

impl Default for Messages {
    fn default() -> Self {
        Self {
            model_unavailable: "I am sorry, something went wrong on my side. Could you say that again, please?"
                .to_owned(),
            hand_off: "I will put you through to a colleague. One moment, please.".to_owned(),
            goodbye: "Thank you for calling. Goodbye.".to_owned(),
            no_agent: "I am sorry, nobody is free to take your call right now. Please call again later. Goodbye."
                .to_owned(),
        }
    }
}
