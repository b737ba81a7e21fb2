//! Tests of asset directories: overriding, errors and warnings.

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::call::ToolSpec;
use crate::payment::{BankAccountType, CardType, PaymentMethodName, PaymentOptions, PaymentTimeout};

/// A temporary directory that is deleted at the end of the test.
struct TestDirectory(TempDir);

impl TestDirectory {
    fn with(files: &[(&str, &str)]) -> Self {
        let directory = TempDir::new().unwrap();
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        Self(directory)
    }

    /// Loads the directory. Returns errors and warnings as text without its path.
    fn load(&self) -> Result<(Library, Vec<String>), String> {
        let dir = format!("{}/", self.0.path().display());
        let without_path = |text: String| text.replace(&dir, "");
        let loaded = Library::load(self.0.path()).map_err(|err| without_path(err.to_string()))?;
        if !loaded.errors.is_empty() {
            return Err(without_path(AssetErrors(loaded.errors).to_string()));
        }
        Ok((loaded.library, loaded.warnings.iter().map(|warning| without_path(warning.to_string())).collect()))
    }
}

fn load_config(text: &str) -> Result<(Library, Vec<String>), String> {
    TestDirectory::with(&[("serverConfig.json", text)]).load()
}

/// The names of the tools of the default manifest.
fn tool_names(assets: &Library) -> Vec<&str> {
    assets.tools(assets.default_manifest()).unwrap().iter().map(|tool| tool.name.as_str()).collect()
}

/// The text of the default context.
fn default_context_text(assets: &Library) -> &str {
    assets.context(assets.default_context()).unwrap()
}

fn attribute<'a>(attributes: &'a [(String, String)], name: &str) -> Option<&'a str> {
    attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

#[test]
fn the_built_in_assets_are_complete() {
    let assets = Library::built_in();
    assert_eq!(tool_names(&assets), ToolSpec::names());
    let text = default_context_text(&assets);
    assert!(text.contains("Payment update:") && text.contains("Next:"));
    assert!(text.contains(crate::redact::REDACTED));
    assert!(!text.to_lowercase().contains("star key"), "it would cancel the payment");
    assert_eq!(attribute(&assets.server.relay, "interruptible"), Some("speech"), "keys must not interrupt");
    assert_eq!(attribute(&assets.server.relay, "dtmfDetection"), Some("true"));
    assert!(assets.server.welcome_greeting().is_some());
    let [language] = assets.server.languages.as_slice() else { panic!("one language beside the main one") };
    for name in ["code", "ttsProvider", "voice", "transcriptionProvider", "speechModel"] {
        assert!(attribute(language, name).is_some(), "{name}");
    }
    assert_eq!(assets.server.silence.threshold, Duration::from_secs(20));
    assert_eq!(assets.server.silence.reminders.len(), 3);
    assert_eq!(assets.server.model.first_token, Duration::from_secs(8));
    assert_eq!(assets.server.stall_timeout, Duration::from_secs(60));
    assert_eq!(assets.server.limits, crate::payment::VelocityLimits::default());
}

#[test]
fn the_manual_names_every_argument_that_a_tool_reads() {
    let manual = include_str!("README.md");
    for tool in ToolSpec::names().into_iter().filter_map(ToolSpec::find) {
        let names: Vec<&str> = tool.arguments.iter().flat_map(crate::call::Argument::names).collect();
        let lists = |row: &str| {
            let has = |name: &str| row.contains(&format!("`{name}`"));
            has(tool.name) && names.iter().all(|name| has(name))
        };
        assert!(manual.lines().any(lists), "{}: {names:?}", tool.name);
    }
}

#[test]
fn the_assets_directory_of_the_repository_has_no_warnings() {
    let loaded = Library::load(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/assets"))).unwrap();
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.library.context_keys().collect::<Vec<_>>(), ["PaymentContext", "defaultContext"]);
    assert_eq!(loaded.library.manifest_keys().collect::<Vec<_>>(), ["PaymentToolManifest", "defaultToolManifest"]);
    assert_eq!(loaded.library.changes_since(&Library::built_in()), Vec::<String>::new());
}

#[test]
fn every_built_in_tool_has_an_object_schema_and_is_not_strict() {
    let assets = Library::built_in();
    for tool in assets.manifest_keys().flat_map(|key| assets.tools(key).unwrap()) {
        let written = serde_json::to_value(tool).unwrap();
        assert_eq!(written["type"], "function");
        assert_eq!(written["parameters"]["type"], "object", "{}", tool.name);
        assert_eq!(written["strict"], Value::Bool(false), "strict tools have no optional arguments: {}", tool.name);
        assert!(!tool.description.is_empty());
    }
}

#[test]
fn an_empty_configuration_means_the_defaults() {
    let (assets, warnings) = load_config("{}").unwrap();
    assert!(warnings.is_empty());
    assert_eq!(tool_names(&assets), ToolSpec::names());
    assert_eq!(assets.server.silence, Library::built_in().server.silence);
    assert_eq!(assets.server.stall_timeout, Library::built_in().server.stall_timeout);
    assert_eq!(assets.server.limits, Library::built_in().server.limits);
    assert_eq!(assets.server.messages, Library::built_in().server.messages);
    assert_eq!(assets.server.model, Library::built_in().server.model);
}

#[test]
fn a_missing_directory_means_the_built_in_assets() {
    let loaded = Library::load(Path::new("/nonexistent/assets")).unwrap();
    assert_eq!(loaded.warnings, []);
    assert_eq!(default_context_text(&loaded.library), default_context_text(&Library::built_in()));
}

#[test]
fn a_directory_without_assets_is_a_warning() {
    let (_, warnings) = TestDirectory::with(&[("readme.txt", "")]).load().unwrap();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].ends_with("contains no assets; the built-in ones are used"), "{warnings:?}");
}

#[test]
fn every_spelling_of_the_default_assets_is_read() {
    let contexts = ["context", "contextKey", "contextName", "contextFile", "activeContext", "activeContextKey"];
    let manifests = [
        "manifest",
        "manifestKey",
        "manifestName",
        "activeManifestKey",
        "toolManifest",
        "toolManifestFile",
        "toolManifestKey",
    ];
    let names = contexts.iter().zip(manifests).chain(contexts.iter().rev().zip(manifests.into_iter().rev()));
    for ((context, manifest), (section, extension)) in
        names.zip([("AssetLoader", true), ("UsedConfig", false)].into_iter().cycle())
    {
        let (md, json) = if extension { (".md", ".json") } else { ("", "") };
        let config = format!(
            r#"{{ "{section}": {{ "{context}": "acme{md}", "{manifest}": "defaultToolManifest{json}", "assetLoaderType": "file" }} }}"#
        );
        let dir = TestDirectory::with(&[
            ("serverConfig.json", config.as_str()),
            ("acme.md", "\u{feff}You are Acme's agent."),
        ]);
        let (assets, warnings) = dir.load().unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        assert_eq!(default_context_text(&assets), "You are Acme's agent.");
        assert_eq!(tool_names(&assets), ToolSpec::names()[10..]);
    }
}

#[test]
fn two_names_for_one_asset_must_agree() {
    let equal = r#"{ "AssetLoader": { "context": "PaymentContext", "activeContextKey": "PaymentContext.md" } }"#;
    assert!(load_config(equal).is_ok());
    for config in [
        r#"{ "AssetLoader": { "context": "defaultContext", "activeContextKey": "PaymentContext" } }"#,
        r#"{ "AssetLoader": { "contextName": "defaultContext" }, "UsedConfig": { "context": "PaymentContext" } }"#,
    ] {
        let error = load_config(config).map(|_| config).unwrap_err();
        assert_eq!(
            error,
            "serverConfig.json:1: names two contexts, defaultContext and PaymentContext: remove one of them"
        );
    }
}

#[test]
fn the_older_layout_of_the_configuration_is_read() {
    let older = r#"{
        "ConversationRelay": { "welcomeGreeting": "G'day.", "welcomeGreetingInterruptible": "", "language": "en-AU", "debug": "" },
        "Languages": [{ "code": "en-NZ", "ttsProvider": "ElevenLabs" }],
        "UsedConfig": {
            "configuration": "defaultConfig", "context": "acme", "manifest": "defaultToolManifest", "assetLoaderType": "file",
            "silenceDetection": { "enabled": false, "secondsThreshold": 7, "messages": ["Still there?"] },
            "listenMode": { "enabled": true } } }"#;
    let newer = r#"{
        "ConversationRelay": { "Configuration": { "welcomeGreeting": "G'day.", "language": "en-AU" },
            "Languages": [{ "code": "en-NZ", "ttsProvider": "ElevenLabs" }],
            "SilenceDetection": { "enabled": false, "secondsThreshold": 7, "messages": ["Still there?"] } },
        "AssetLoader": { "contextName": "acme", "manifestName": "defaultToolManifest" },
        "Server": { "ListenMode": { "enabled": true } } }"#;
    for config in [older, newer] {
        let (assets, warnings) =
            TestDirectory::with(&[("serverConfig.json", config), ("acme.md", "Be kind.")]).load().unwrap();
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!((assets.default_context(), assets.default_manifest()), ("acme", "defaultToolManifest"));
        assert_eq!(assets.server.welcome_greeting(), Some("G'day."));
        assert_eq!(assets.server.language_codes(), ["en-AU", "en-NZ"]);
        let silence = &assets.server.silence;
        assert_eq!((silence.enabled, silence.threshold), (false, Duration::from_secs(7)));
        assert_eq!(silence.reminders, ["Still there?"]);
        assert!(assets.server.listen_only);
    }
    let twice = r#"{ "ConversationRelay": { "voice": "a", "Configuration": { "voice": "b" } } }"#;
    assert_eq!(load_config(twice).map(|_| ()).unwrap_err(), "serverConfig.json:1: voice is set twice");
}

#[test]
fn languages_and_parameters_are_read_inside_and_beside_configuration() {
    let inside = r#"{ "ConversationRelay": { "Configuration": {
        "languages": [{ "code": "es-ES", "speechModel": "nova-3-general" }],
        "parameters": [{ "name": "callReference", "value": "" }] } } }"#;
    let beside = r#"{ "ConversationRelay": {
        "Languages": [{ "code": "es-ES", "speechModel": "nova-3-general" }],
        "Parameters": { "callReference": "" } } }"#;
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    for text in [inside, beside] {
        let (assets, warnings) = load_config(text).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        assert_eq!(assets.server.languages, [[pair("code", "es-ES"), pair("speechModel", "nova-3-general")]]);
        assert_eq!(assets.server.parameters, [pair("callReference", "")]);
    }
}

#[test]
fn attributes_are_converted_to_text_and_the_documented_spelling() {
    let (assets, _) = load_config(
        r#"{ "ConversationRelay": { "Configuration": {
            "speechtimeout": 800, "eotThreshold": 0.7, "DTMFDetection": false, "hints": "", "voice": null } } }"#,
    )
    .unwrap();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        assets.server.relay,
        [
            pair("speechTimeout", "800"),
            pair("eotThreshold", "0.7"),
            pair("dtmfDetection", "false"),
            pair("applicationReconnect", "true")
        ]
    );
}

#[test]
fn attributes_of_november_2026_are_read_and_a_newer_name_replaces_the_older() {
    let (assets, warnings) = load_config(
        r#"{ "Pci": { "acceptNonCompliant": true }, "ConversationRelay": { "Configuration": {
            "turnDetection": true, "partialPromptOnHangup": true, "eotThreshold": 0.7, "eagerEotThreshold": 0.5,
            "includeInPrompt": "turn-state", "deepgramSmartFormat": false, "asrSmartFormat": true,
            "ttsTextNormalization": "auto", "elevenlabsTextNormalization": "on", "customerName": "Ada",
            "elevenlabsLanguageTextNormalization": true,
            "languages": [{ "code": "fr-FR", "hints": "Paris", "asrSmartFormat": true, "ttsTextNormalization": "on",
                "ttsLanguageTextNormalization": true }] } } }"#,
    )
    .unwrap();
    let accepted = "serverConfig.json: turnDetection, customerName of <ConversationRelay> feeds a product of Twilio that is not \
                    PCI compliant; Pci.acceptNonCompliant accepts that";
    assert_eq!(warnings, [accepted]);
    let relay = &assets.server.relay;
    for (name, value) in [
        ("turnDetection", "true"),
        ("partialPromptOnHangup", "true"),
        ("eagerEotThreshold", "0.5"),
        ("includeInPrompt", "turn-state"),
        ("asrSmartFormat", "true"),
        ("ttsTextNormalization", "auto"),
        ("elevenlabsLanguageTextNormalization", "true"),
        ("customerName", "Ada"),
    ] {
        assert_eq!(attribute(relay, name), Some(value), "{name}");
    }
    for older in ["deepgramSmartFormat", "elevenlabsTextNormalization"] {
        assert_eq!(attribute(relay, older), None, "{older}");
    }
    assert_eq!(assets.server.languages[0].len(), 5);
    assert_eq!(attribute(&assets.server.languages[0], "hints"), Some("Paris"));
    for (threshold, why) in [
        (r#""eagerEotThreshold": 0.2"#, "eagerEotThreshold is a number from 0.3 to 0.9"),
        (r#""eagerEotThreshold": 0.95"#, "eagerEotThreshold is a number from 0.3 to 0.9"),
        (r#""eagerEotThreshold": 0.6, "eotThreshold": 0.6"#, "below eotThreshold, which is 0.6"),
        (r#""eagerEotThreshold": 0.8"#, "below eotThreshold, which is 0.8"),
    ] {
        let config = format!(r#"{{ "ConversationRelay": {{ "Configuration": {{ {threshold} }} }} }}"#);
        let refused = load_config(&config).unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
}

#[test]
fn extra_attributes_are_passed_on_as_they_are() {
    let config = |extra: &str| format!(r#"{{ "ConversationRelay": {{ "Extra": {{ {extra} }} }} }}"#);
    let (assets, warnings) =
        load_config(&config(r#""brandNew": 0.25, "alsoNew": true, "empty": "", "unset": null, "x-y.z_1": "a b""#))
            .unwrap();
    let extra = &assets.server.relay[2..];
    let pairs: Vec<(&str, &str)> = extra.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(pairs, [("brandNew", "0.25"), ("alsoNew", "true"), ("empty", ""), ("x-y.z_1", "a b")]);
    assert_eq!(warnings.len(), 4);
    assert!(warnings[0].starts_with("serverConfig.json: ConversationRelay.Extra.brandNew is sent to Twilio as it is"));
    for (extra, why) in [
        (r#""turndetection": true"#, "set turnDetection in Configuration"),
        (r#""URL": "wss://example.com""#, "the server sets itself"),
        (r#""a b": 1"#, "cannot be the name of an attribute"),
        (r#""1a": 1"#, "cannot be the name of an attribute"),
        (r#""a:b": 1"#, "cannot be the name of an attribute"),
        (r#""xmlns": "x""#, "cannot be the name of an attribute"),
        (r#""a=\"": 1"#, "cannot be the name of an attribute"),
        (r#""a": 1, "A": 2"#, "A is set twice"),
        (r#""a": [1]"#, "expected a text, a number, true or false"),
        (r#""a": "\u0007""#, "expected no control characters"),
    ] {
        let refused = load_config(&config(extra)).unwrap_err();
        assert!(refused.contains(why), "{extra}: {refused}");
    }
}

#[test]
fn a_recording_that_is_not_paused_is_an_error_where_payments_can_be_taken() {
    let config = |recording: &str, accepts: bool| {
        format!(r#"{{ "Recording": {recording}, "Pci": {{ "acceptNonCompliant": {accepts} }} }}"#)
    };
    let unpaused = config(r#"{ "enabled": true, "pauseDuringCapture": false }"#, false);
    let refused = load_config(&unpaused).unwrap_err();
    assert!(
        refused.starts_with(
            "serverConfig.json: Recording.pauseDuringCapture is false, and the manifest PaymentToolManifest"
        ) && refused.contains("Pci.acceptNonCompliant"),
        "{refused}"
    );
    let (assets, warnings) = load_config(&config(r#"{ "enabled": true, "pauseDuringCapture": false }"#, true)).unwrap();
    assert!(assets.server.records_captures() && warnings.len() == 1 && warnings[0].contains("accepts"), "{warnings:?}");
    let no_payments = TestDirectory::with(&[("serverConfig.json", &unpaused), ("PaymentToolManifest.json", "[]")]);
    assert!(no_payments.load().unwrap().1.is_empty(), "nothing takes payments");
    for quiet in [r#"{ "enabled": true }"#, r#"{ "enabled": false, "pauseDuringCapture": false }"#, "{}"] {
        let (assets, warnings) = load_config(&config(quiet, false)).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        assert_eq!(assets.server.recording.is_some(), quiet.contains("true"), "{quiet}");
    }
}

#[test]
fn a_recording_is_always_announced() {
    let settings = |config: &str, name| load_config(config).unwrap().0.server.recording_settings(name).unwrap();
    let heard = |config: &str, code: &str, name| settings(config, name).announcement.find(code).unwrap().text.clone();
    let built_in = r#"{ "Recording": { "enabled": true } }"#;
    assert_eq!(heard(built_in, "en-AU", None), "This call is being recorded.");
    assert_eq!(heard(built_in, "de-CH", None), "Dieses Gespräch wird aufgezeichnet.");
    assert!(settings(built_in, None).pauses_for_capture);
    let own = r#"{ "Recording": { "enabled": true, "announcement": { "en": "{business} records this." } } }"#;
    assert_eq!(heard(own, "en-US", Some("Acme")), "Acme records this.");
    assert_eq!(heard(own, "en-US", None), "This call is being recorded.", "nobody is named");
    for (announcement, why) in
        [("false", "always announced"), (r#"{ "en": "{amount}" }"#, "{amount} is no placeholder")]
    {
        let refused = load_config(&format!(r#"{{ "Recording": {{ "announcement": {announcement} }} }}"#)).unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
    let italian = r#"{ "Recording": { "enabled": true }, "Languages": [{ "code": "it-IT" }] }"#;
    let (_, warnings) = load_config(italian).unwrap();
    assert!(
        warnings.iter().any(|warning| warning.contains("Recording.announcement has no text in it-IT")),
        "{warnings:?}"
    );
}

#[test]
fn attributes_that_are_not_compliant_are_an_error_where_payments_can_be_taken() {
    let with = |attribute: &str| format!(r#"{{ "ConversationRelay": {{ "Configuration": {{ {attribute} }} }} }}"#);
    for attribute in crate::relay::twiml::NOT_COMPLIANT_ATTRIBUTES {
        let refused = load_config(&with(&format!(r#""{attribute}": "GA1""#))).unwrap_err();
        assert!(
            refused.starts_with(&format!("serverConfig.json: {attribute} of <ConversationRelay>"))
                && refused.contains("PaymentToolManifest takes payments")
                && refused.contains("Pci.acceptNonCompliant"),
            "{refused}"
        );
        assert!(load_config(&with(&format!(r#""{attribute}": "false""#))).unwrap().1.is_empty(), "{attribute} is off");
    }
    let config = with(r#""turnDetection": true"#);
    let no_payments = TestDirectory::with(&[("serverConfig.json", &config), ("PaymentToolManifest.json", "[]")]);
    assert!(no_payments.load().unwrap().1.is_empty(), "nothing takes payments");
}

#[test]
fn missing_texts_of_the_guided_flow_are_the_built_in_ones() {
    let plain = load_config("{}").unwrap().0.server;
    assert!(!plain.guided, "the flow is not guided by default");
    assert_eq!(plain.spoken_language(), "en-US");
    let relay = r#"{ "ConversationRelay": { "Configuration": { "language": "en-US", "ttsLanguage": "es-US" } } }"#;
    assert_eq!(load_config(relay).unwrap().0.server.spoken_language(), "es-US");
    let (assets, warnings) = load_config(
        r#"{ "Payments": { "flow": "guided", "texts": {
            "es-ES": { "retry": "Otra vez." }, "en-GB": { "cardNumber": "Your card number, then hash.", "pin": "x" } } } }"#,
    )
    .unwrap();
    assert!(assets.server.guided);
    let guide = assets.server.texts;
    assert_eq!(guide.texts("es-MX").retry, "Otra vez.");
    assert!(guide.texts("es-ES").card_number.starts_with("Por favor"));
    assert_eq!(guide.texts("en-GB").card_number, "Your card number, then hash.");
    assert!(guide.texts("en-US").card_number.starts_with("Please type"), "the built-in texts of that code");
    assert_eq!(guide.texts("it-IT").retry, "Otra vez.", "the first language in the file");
    assert_eq!(warnings, ["serverConfig.json: Payments.texts.en-GB.pin is not known to this version and is ignored"]);
}

#[test]
fn a_text_without_a_required_placeholder_is_rejected() {
    for (texts, why) in [
        (r#""en-US": { "confirmAmount": "Shall I charge it?" }"#, "en-US has a confirmAmount without {amount}"),
        (r#""de-DE": { "confirmAmountAccount": "Einziehen?" }"#, "de-DE has a confirmAmountAccount without {amount}"),
        (r#""fr-FR": { "payAgain": "Encore {amount} ?" }"#, "fr-FR has a payAgain without {minutes}"),
        (r#""it-IT": { "retry": "Di nuovo." }"#, "it-IT has no cardNumber, and none is built in"),
        (r#""en-US": { "assent": " " }"#, "expected something to say"),
    ] {
        let refused = load_config(&format!(r#"{{ "Payments": {{ "texts": {{ {texts} }} }} }}"#)).unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
    let texts = r#"{ "Payments": { "confirm": "always", "texts": { "en-US": { "goOn": "Go on, yes or no?", "assent": "aye" } } } }"#;
    let server = load_config(texts).unwrap().0.server;
    assert!(server.confirm_due && !server.guided);
    assert_eq!(server.texts.texts("en-US").go_on, "Go on, yes or no?");
    assert_eq!(server.texts.classify_answer("Aye!"), crate::payment::ConsentAnswer::Yes);
    assert!(load_config(r#"{ "Payments": { "confirm": "sometimes" } }"#).unwrap_err().contains("unlessDue"));
}

#[test]
fn ignored_keys_are_warnings() {
    let (assets, warnings) = load_config(
        r#"{ "ConversationRelay": {
                "Configuration": { "url": "wss://example.com", "interruptByDtmf": true, "languages": [{ "code": "en-AU", "tone": 1 }] },
                "SilenceDetection": { "seconds": 9 } },
            "AssetLoader": { "assetLoaderType": "redis" },
            "Server": { "ListenMode": { "enabled": true } },
            "Keypad": { "maxDigits": 4, "pauseSeconds": 1.5 },
            "Telemetry": {} }"#,
    )
    .unwrap();
    assert!(attribute(&assets.server.relay, "url").is_none() && assets.server.listen_only);
    assert_eq!(attribute(&assets.server.relay, "dtmfDetection"), Some("true"), "the default is on");
    assert_eq!((assets.server.keypad.max_digits, assets.server.keypad.pause), (4, Duration::from_millis(1_500)));
    assert_eq!(
        warnings,
        [
            "serverConfig.json: ConversationRelay.Configuration.url is ignored, since the server sets it itself",
            "serverConfig.json: ConversationRelay.Configuration.interruptByDtmf is not known to this version and is ignored",
            "serverConfig.json: ConversationRelay.Configuration.languages.0.tone is not known to this version and is ignored",
            "serverConfig.json: ConversationRelay.SilenceDetection.seconds is not known to this version and is ignored",
            "serverConfig.json: Telemetry is not known to this version and is ignored",
            "serverConfig.json: assetLoaderType is \"redis\", neither file nor sync: file is used",
        ]
    );
}

#[test]
fn the_options_of_payment_requests_are_read() {
    let (assets, warnings) = load_config(
        r#"{ "Payments": { "method": "ach-debit", "bankAccountType": "consumer-savings", "timeout": 20, "input": "dtmf",
            "validCardTypes": ["visa", "diners-club"], "minPostalCodeLength": 5, "description": "Tea",
            "requireMatchingInputs": ["payment-card-number", "postal-code"], "idParameter": "ledgerId",
            "parameters": { "AVSName": "Acme", "MerchantAccountId": 7, "vip": true } } }"#,
    )
    .unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    let options = assets.server.payment_options;
    assert_eq!(options.method, PaymentMethodName::AchDebit);
    assert_eq!(options.bank_account_type, BankAccountType::ConsumerSavings);
    assert_eq!(options.valid_card_types, [CardType::Visa, CardType::DinersClub]);
    assert_eq!(options.matching_inputs.to_string(), "card number, postal code");
    assert_eq!((options.min_postal_code_length, options.timeout.map(PaymentTimeout::seconds)), (Some(5), Some(20)));
    assert_eq!(options.description.unwrap().reveal(), "Tea");
    assert_eq!(options.id_parameter.unwrap().as_str(), "ledgerId");
    let parameters = serde_json::to_string(options.parameters.reveal()).unwrap();
    assert_eq!(parameters, r#"{"AVSName":"Acme","MerchantAccountId":"7","vip":"true"}"#);
    assert_eq!(load_config("{}").unwrap().0.server.payment_options, PaymentOptions::default());
}

/// Asserts that each configuration is rejected with this line and message.
fn assert_refused(cases: &[(&str, &str)]) {
    for (text, message) in cases {
        let err = load_config(text).map(|_| text).unwrap_err();
        assert!(err.starts_with(&format!("serverConfig.json:{message}")), "{text}: {err}");
    }
}

#[test]
fn payment_options_that_twilio_refuses_are_rejected_with_their_line() {
    assert_refused(&[
        ("{\n \"Payments\": {\n  \"method\": \"cash\"\n }\n}", "3: must be credit-card or ach-debit"),
        (
            "{\n \"Payments\": {\n  \"timeout\": 0\n }\n}",
            "3: invalid value: integer `0`, expected a whole number from 1 to 600",
        ),
        ("{\n \"Payments\": {\n  \"minPostalCodeLength\": 21\n }\n}", "3: invalid value: integer `21`"),
        ("{\n \"Payments\": {\n  \"input\": \"speech\"\n }\n}", "3: must be dtmf"),
        ("{\n \"Payments\": {\n  \"validCardTypes\": [\n\"cash\"]\n }\n}", "4: must be visa, mastercard"),
        (
            "{\n \"Payments\": {\n  \"requireMatchingInputs\": [\"bank-account-number\"]\n }\n}",
            "3: must be payment-card-number",
        ),
        (
            "{\n \"Payments\": {\n  \"parameters\": {\"a\": [1]}\n }\n}",
            "3: invalid type: sequence, expected a text, a number",
        ),
        ("{\n \"Payments\": {\n  \"idParameter\": \"AVSName\"\n }\n}", "3: must be a name of 1 to 64 letters"),
        (
            "{\n \"ConversationRelay\": {\n  \"Parameters\": {\"amountDue\": \"1\", \"amountDue\": \"2\"}\n }\n}",
            "3: expected each parameter once, and amountDue appears twice",
        ),
        ("{\n \"Payments\": {\n  \"description\": \"\"\n }\n}", "3: must be a text of 1 to 512 characters"),
    ]);
}

#[test]
fn an_invalid_value_is_rejected_with_its_line() {
    assert_refused(&[
        (
            "{\n \"Model\": {\n  \"retries\": 6\n }\n}",
            "3: invalid value: integer `6`, expected a whole number from 0 to 5",
        ),
        (
            "{\n \"Model\": {\n  \"retries\": 1.5\n }\n}",
            "3: invalid type: floating point `1.5`, expected a whole number",
        ),
        (
            "{\n \"Model\": {\n  \"firstTokenSeconds\": 0\n }\n}",
            "3: invalid value: integer `0`, expected seconds from 1 to 60",
        ),
        (
            "{\n \"Payments\": {\n  \"stallSeconds\": 0.5\n }\n}",
            "3: invalid value: floating point `0.5`, expected seconds",
        ),
        (
            "{\n \"Payments\": {\n  \"stallSeconds\": \"60\"\n }\n}",
            "3: invalid type: string \"60\", expected seconds from 1",
        ),
        (
            "{\n \"Payments\": {\n  \"flow\": \"led\"\n }\n}",
            "3: unknown variant `led`, expected `assistant` or `guided`",
        ),
        (
            "{\"Payments\": {\"texts\": {\n \"it-IT\": {\"retry\": \"Di nuovo.\"}}}}",
            "2: it-IT has no cardNumber, and none is built in for that language",
        ),
        ("{\"Payments\": {\"texts\": {\n \"en-US\": {\"retry\": \" \"}}}}", "2: expected something to say"),
        ("{\n \"Messages\": {\n  \"goodbye\": \" \"\n }\n}", "3: expected something to say"),
        (
            "{\"ConversationRelay\": {\n \"SilenceDetection\": {\n \"messages\": [\n \"\"\n]}}}",
            "4: expected something to say",
        ),
        (
            "{\"ConversationRelay\": {\"Configuration\": {\n \"speechTimeout\": 300\n }}}",
            "2: speechTimeout is auto, or milliseconds from 600 to 5000",
        ),
        (
            "{\"ConversationRelay\": {\"Configuration\": {\n \"voice\": \"a\",\n \"Voice\": \"b\"\n }}}",
            "3: voice is set twice",
        ),
        (
            "{\"ConversationRelay\": {\"Configuration\": {\n \"voice\": [\"a\"]}}}",
            "2: invalid type: sequence, expected a text, a number, true or false",
        ),
        (
            "{\"ConversationRelay\": {\"Languages\": [\n {\"voice\": \"a\"}]}}",
            "2: a language needs a code, such as en-US",
        ),
        ("{\n \"AssetLoader\": {\n  \"context\": \"../secret\"\n }\n}", "3: expected a file name of letters"),
        ("{\n \"AssetLoader\": {\n  \"manifest\": \".hidden\"\n }\n}", "3: expected a file name of letters"),
        (
            "{\"ConversationRelay\": {\"Configuration\": {\n \"welcomeGreeting\": \"Hi\\u0007\"}}}",
            "2: expected no control characters",
        ),
        ("{\"ConversationRelay\": {\"Parameters\": {\n \"a\": \"\\u0000\"}}}", "2: expected no control characters"),
        ("{\"Messages\": {\n \"noAgent\": \"Bye\\u001b\"}}", "2: expected no control characters"),
        ("{\n \"Model\": {,", "2: "),
        ("null", "1: "),
        ("{}\n}", "2: trailing characters"),
    ]);
}

/// A directory with the settings and tools of the reference implementation, in its own spelling.
#[test]
fn assets_of_the_reference_implementation_are_used_whole_and_without_a_warning() {
    let config = r#"{
        "ConversationRelay": {
            "Configuration": {
                "welcomeGreeting": "G'day.", "welcomeGreetingInterruptible": "any", "language": "en-AU", "hints": "",
                "interruptible": "any", "interruptSensitivity": "medium", "dtmfDetection": true, "partialPrompts": false,
                "profanityFilter": false, "reportInputDuringAgentSpeech": false, "preemptible": false, "debug": "",
                "elevenlabsTextNormalization": "", "intelligenceService": "", "transcriptionLanguage": "en-AU",
                "transcriptionProvider": "Deepgram", "ttsLanguage": "en-AU", "ttsProvider": "ElevenLabs", "voice": "v1",
                "speechModel": "nova-3-general",
                "languages": [
                    { "code": "en-AU", "ttsProvider": "ElevenLabs", "voice": "v1", "transcriptionProvider": "Deepgram", "speechModel": "nova-3-general" },
                    { "code": "en-NZ", "ttsProvider": "ElevenLabs", "voice": "v2", "transcriptionProvider": "Deepgram", "speechModel": "nova-3-general" }],
                "parameters": [{ "name": "callReference", "value": "" }] },
            "SilenceDetection": { "enabled": true, "secondsThreshold": 20, "messages": ["Still there?"] } },
        "AssetLoader": { "activeContextKey": "desk", "activeManifestKey": "Payments", "assetLoaderType": "file" },
        "Server": { "ListenMode": { "enabled": false } } }"#;
    let (sids, summary) =
        (r#""callSid": {"type":"string"}, "paymentSid": {"type":"string"}"#, r#""summary": {"type":"string"}"#);
    let tools = [
        ("end-call", r#""conversationSummary": {"type":"string"}"#),
        ("live-agent-handoff", summary),
        ("send-dtmf", r#""dtmfDigit": {"type":"string"}"#),
        ("send-sms", r#""to": {"type":"string"}, "message": {"type":"string"}"#),
        ("start-capture", r#""callSid": {"type":"string"}"#),
        ("capture-card", sids),
        ("capture-security-code", sids),
        ("capture-expiry-date", sids),
        ("finish-capture", sids),
        ("cancel-capture", sids),
        ("set-silence-detection", r#""enabled": {"type":"boolean"}"#),
    ];
    let schema =
        |properties: &str| format!(r#""parameters": {{ "type": "object", "properties": {{ {properties} }} }}"#);
    let flat = tools.map(|(name, properties)| {
        format!(
            r#"{{ "type": "function", "name": "{name}", "description": "…", {}, "strict": false }}"#,
            schema(properties)
        )
    });
    let nested = tools.map(|(name, properties)| {
        format!(
            r#"{{ "type": "function", "function": {{ "name": "{name}", "description": "…", {} }} }}"#,
            schema(properties)
        )
    });
    for manifest in [flat, nested] {
        let manifest = format!(r#"{{ "tools": [{}] }}"#, manifest.join(","));
        let files = [("serverConfig.json", config), ("desk.md", "Be kind."), ("Payments.json", manifest.as_str())];
        let (assets, warnings) = TestDirectory::with(&files).load().unwrap();
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!(default_context_text(&assets), "Be kind.");
        assert_eq!(tool_names(&assets), tools.map(|(name, _)| name));
        assert_eq!(assets.server.languages.iter().map(Vec::len).collect::<Vec<_>>(), [5, 5], "each is complete");
        assert_eq!(attribute(&assets.server.relay, "speechModel"), Some("nova-3-general"));
        assert_eq!(attribute(&assets.server.relay, "interruptible"), Some("any"));
        assert_eq!(attribute(&assets.server.relay, "debug"), None, "an empty value is left out");
        assert_eq!(assets.server.parameters, [("callReference".to_owned(), String::new())]);
    }
}

#[test]
fn a_file_that_nothing_names_and_that_is_no_manifest_is_a_warning() {
    let own_tool = "{\n \"tools\": [{\n  \"name\": \"send-verification\"}]}";
    let old_config = r#"{ "ConversationRelay": { "language": "en-AU" }, "UsedConfig": { "context": "acme" } }"#;
    let files = [
        ("faq.json", "{\"questions\": []}"),
        ("Data3ToolManifest.json", own_tool),
        ("defaultConfig.json", old_config),
        ("empty.md", ""),
    ];
    let (assets, warnings) = TestDirectory::with(&files).load().unwrap();
    assert_eq!(assets.manifest_keys().collect::<Vec<_>>(), ["PaymentToolManifest", "defaultToolManifest"]);
    assert_eq!(warnings.len(), 4, "{warnings:?}");
    let has = |start: &str, end: &str| warnings.iter().any(|it| it.starts_with(start) && it.ends_with(end));
    assert!(has("faq.json:1: missing field `tools`", "; the file is not used"), "{warnings:?}");
    assert!(has("Data3ToolManifest.json:3: there is no tool \"send-verification\"", "; the file is not used"));
    assert!(has(
        "defaultConfig.json:1: ",
        "is a server configuration: rename it to serverConfig.json; the file is not used"
    ));
    assert!(has("empty.md: is empty", "; the file is not used"));
}

#[test]
fn a_file_that_is_named_and_cannot_be_used_is_an_error() {
    let (context, manifest) =
        (r#"{ "AssetLoader": { "context": "acme.md" } }"#, r#"{ "AssetLoader": { "manifest": "acme" } }"#);
    let parameter = r#"{ "ConversationRelay": { "Parameters": { "manifestKey": "acme" } } }"#;
    for (config, file, error) in [
        (context, ("acme.md", " "), "acme.md: is empty"),
        (manifest, ("acme.json", "{}"), "acme.json:1: missing field `tools`"),
        (parameter, ("acme.json", "{}"), "acme.json:1: missing field `tools`"),
        (
            parameter,
            ("acme.md", "Be kind."),
            "serverConfig.json: a parameter names acme.json, which does not exist; there are PaymentToolManifest, defaultToolManifest",
        ),
    ] {
        assert_eq!(TestDirectory::with(&[("serverConfig.json", config), file]).load().unwrap_err(), error);
    }
}

#[test]
fn unusable_files_are_named_in_the_error() {
    let large = "x".repeat(1024 * 1024 + 1);
    for (files, message) in [
        (&[("PaymentContext.md", " \n")][..], "PaymentContext.md: is empty"),
        (&[("PaymentContext.md", large.as_str())], "PaymentContext.md: is larger than 1048576 bytes"),
        (
            &[("serverConfig.json", r#"{ "AssetLoader": { "context": "acme" } }"#)],
            "serverConfig.json: AssetLoader names acme.md, which does not exist; there are PaymentContext, defaultContext",
        ),
        (
            &[("PaymentToolManifest.json", "{\n \"tools\": [{\n  \"name\": \"send-fax\"}]}")],
            "PaymentToolManifest.json:3: ",
        ),
    ] {
        let err = TestDirectory::with(files).load().unwrap_err();
        assert!(err.starts_with(message), "{err}");
    }
    let binary = TestDirectory::with(&[]);
    std::fs::write(binary.0.path().join("PaymentContext.md"), [0xff, 0xfe]).unwrap();
    assert_eq!(binary.load().unwrap_err(), "PaymentContext.md: is not UTF-8 text");
    let directory = TestDirectory::with(&[]);
    std::fs::create_dir(directory.0.path().join("serverConfig.json")).unwrap();
    assert!(directory.load().unwrap_err().starts_with("serverConfig.json: cannot be read: "));
}

proptest! {
    /// A typo anywhere in a file is accepted or reported with an existing line.
    #[test]
    fn a_typo_never_panics_and_its_line_exists(at in any::<prop::sample::Index>(), typo in "[\\PC\n]{0,2}") {
        for name in ["serverConfig.json", "PaymentToolManifest.json"] {
            let (_, file) = file::built_in().find(|(known, _)| known.to_string() == name).unwrap();
            let mut text = file.text;
            let at = at.index(text.len());
            text.replace_range(at..=at, &typo);
            let file = file::AssetFile::new(name, &text);
            let refused = match name {
                "serverConfig.json" => super::schema::server_config::parse(&file).err(),
                _ => manifest::parse(&file).err(),
            };
            if let Some(err) = refused {
                let AssetError::Invalid { line, .. } = err else { panic!("{err}") };
                prop_assert!((1..=text.lines().count() + 1).contains(&line), "{}", line);
            }
        }
    }
}

#[test]
fn the_greeting_contains_the_disclosure_in_the_language_of_the_call() {
    let greeted = |config: &str, name: Option<&str>| load_config(config).unwrap().0.server.spoken_greeting(name);
    let greets = |text: &str, language: &str, more: &str| {
        format!(
            r#"{{"ConversationRelay":{{"Configuration":{{"welcomeGreeting":"{text}","language":"{language}"}}}}{more}}}"#
        )
    };
    for (config, name, greeting) in [
        (
            include_str!("../../assets/serverConfig.json").to_owned(),
            Some("Acme & Co."),
            "Hello, and thank you for calling. This is the automated AI assistant of Acme & Co. How can I help you today?",
        ),
        (
            include_str!("../../assets/serverConfig.json").to_owned(),
            None,
            "Hello, and thank you for calling. This is an automated AI assistant. How can I help you today?",
        ),
        (
            greets("Hallo. {disclosure}", "de-DE", ""),
            Some("Acme"),
            "Hallo. Hier spricht der automatische KI-Assistent von Acme.",
        ),
        (greets("As it is {x}.", "de-DE", ""), Some("Acme"), "As it is {x}."),
        (greets("Hi. {disclosure} Well?", "en", r#","Compliance":{"disclosure":false}"#), Some("Acme"), "Hi. Well?"),
        (
            greets("Hi. {disclosure}", "en-AU", r#","Compliance":{"disclosure":{"en":"I am {business}."}}"#),
            Some("Acme"),
            "Hi. I am Acme.",
        ),
    ] {
        assert_eq!(greeted(&config, name).as_deref(), Some(greeting), "{config}");
        let assets = load_config(&config).unwrap().0;
        let attributes = assets.server.relay_attributes(name);
        assert_eq!(attribute(&attributes, "welcomeGreeting"), Some(greeting));
        assert_eq!(attributes.len(), assets.server.relay.len());
    }
    let nothing = greets("{disclosure}", "en", r#","Compliance":{"disclosure":false}"#);
    assert_eq!(greeted(&nothing, None), None);
    assert_eq!(attribute(&load_config(&nothing).unwrap().0.server.relay_attributes(None), "welcomeGreeting"), None);
}

#[test]
fn a_required_text_that_is_wrong_is_refused_with_its_line() {
    assert_refused(&[
        (
            "{\"Compliance\": {\n \"disclosure\": {\"en\": \"I am {busines}.\"}}}",
            "2: {busines} is no placeholder of this text",
        ),
        ("{\"Compliance\": {\n \"disclosure\": {\"en\": \"I am {business.\"}}}", "2: a brace has no other one"),
        ("{\"Compliance\": {\n \"disclosure\": {\"en\": \" \"}}}", "2: expected something to say"),
        ("{\"Compliance\": {\n \"disclosure\": {\"en\": \"A\", \"EN\": \"B\"}}}", "2: EN appears twice"),
        ("{\"Compliance\": {\n \"disclosure\": \"A\"}}", "2: invalid type: string \"A\", expected texts by language"),
    ]);
    let config =
        r#"{"ConversationRelay":{"Languages":[{"code":"it-IT"},{"code":"es-MX"}]},"Compliance":{"disclosures":{}}}"#;
    assert_eq!(
        load_config(config).unwrap().1,
        [
            "serverConfig.json: Compliance.disclosures is not known to this version and is ignored",
            "serverConfig.json: Compliance.disclosure has no text in it-IT: callers get it in another language",
        ]
    );
}

#[test]
fn the_built_in_contexts_do_not_let_the_agent_deny_that_it_is_a_machine() {
    let assets = Library::built_in();
    for key in ["PaymentContext", "defaultContext"] {
        assert!(assets.context(key).unwrap().contains("Never deny it"), "{key}");
    }
}
