//! Directories of assets: what is taken from where, and what is told about it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::call::TOOLS;
use crate::payment::{BankAccountType, CardType, MethodName, Options, Timeout};

/// A directory that goes away with the test.
struct Dir(PathBuf);

impl Dir {
    fn with(files: &[(&str, &str)]) -> Self {
        let path = std::env::temp_dir().join(format!("crelay-payments-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&path).unwrap();
        for (name, text) in files {
            std::fs::write(path.join(name), text).unwrap();
        }
        Self(path)
    }

    /// What came of loading, errors and warnings as text without the directory.
    fn load(&self) -> Result<(Library, Vec<String>), String> {
        let dir = format!("{}/", self.0.display());
        let told = |text: String| text.replace(&dir, "");
        let loaded = Library::load(&self.0).map_err(|err| told(err.to_string()))?;
        if !loaded.mistakes.is_empty() {
            return Err(told(AssetErrors(loaded.mistakes).to_string()));
        }
        Ok((loaded.library, loaded.warnings.iter().map(|warning| told(warning.to_string())).collect()))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn config(text: &str) -> Result<(Library, Vec<String>), String> {
    Dir::with(&[("serverConfig.json", text)]).load()
}

/// The tools that a call begins with.
fn names(assets: &Library) -> Vec<&str> {
    assets.tools(assets.default_manifest()).unwrap().iter().map(|tool| tool.name.as_str()).collect()
}

/// The context that a call begins with.
fn context(assets: &Library) -> &str {
    assets.context(assets.default_context()).unwrap()
}

fn attribute<'a>(attributes: &'a [(String, String)], name: &str) -> Option<&'a str> {
    attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

#[test]
fn what_is_built_in_is_whole() {
    let assets = Library::built_in();
    assert_eq!(names(&assets), TOOLS);
    let told = context(&assets);
    assert!(told.contains("Payment update:") && told.contains("Next:"));
    assert!(told.contains(crate::redact::CUT));
    assert!(!told.to_lowercase().contains("star key"), "it would cancel the payment");
    assert_eq!(attribute(&assets.server.relay, "interruptible"), Some("speech"), "keys must not interrupt");
    assert_eq!(attribute(&assets.server.relay, "dtmfDetection"), Some("true"));
    assert!(assets.server.welcome_greeting().is_some());
    let [language] = assets.server.languages.as_slice() else { panic!("one language beside the main one") };
    assert_eq!(language.len(), crate::relay::twiml::LANGUAGE_ATTRIBUTES.len());
    assert_eq!(assets.server.silence.threshold, Duration::from_secs(20));
    assert_eq!(assets.server.silence.messages.len(), 3);
    assert_eq!(assets.server.model.first_token, Duration::from_secs(8));
    assert_eq!(assets.server.stall, Duration::from_secs(60));
    assert_eq!(assets.server.limits, crate::payment::Limits::default());
}

#[test]
fn the_folder_of_the_repository_draws_no_warning() {
    let loaded = Library::load(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/assets"))).unwrap();
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.library.contexts().collect::<Vec<_>>(), ["PaymentContext", "defaultContext"]);
    assert_eq!(loaded.library.manifests().collect::<Vec<_>>(), ["PaymentToolManifest", "defaultToolManifest"]);
    assert_eq!(loaded.library.changes_since(&Library::built_in()), Vec::<String>::new());
}

#[test]
fn every_tool_that_is_built_in_has_an_object_for_its_arguments_and_is_not_strict() {
    let assets = Library::built_in();
    for tool in assets.manifests().flat_map(|key| assets.tools(key).unwrap()) {
        let written = serde_json::to_value(tool).unwrap();
        assert_eq!(written["type"], "function");
        assert_eq!(written["parameters"]["type"], "object", "{}", tool.name);
        assert_eq!(written["strict"], Value::Bool(false), "optional arguments are not for strict tools: {}", tool.name);
        assert!(!tool.description.is_empty());
    }
}

#[test]
fn an_empty_configuration_means_the_defaults() {
    let (assets, warnings) = config("{}").unwrap();
    assert!(warnings.is_empty());
    assert_eq!(names(&assets), TOOLS);
    assert_eq!(assets.server.silence, Library::built_in().server.silence);
    assert_eq!(assets.server.stall, Library::built_in().server.stall);
    assert_eq!(assets.server.limits, Library::built_in().server.limits);
    assert_eq!(assets.server.messages, Library::built_in().server.messages);
    assert_eq!(assets.server.model, Library::built_in().server.model);
}

#[test]
fn a_directory_that_is_not_there_means_what_is_built_in() {
    let loaded = Library::load(Path::new("/nonexistent/assets")).unwrap();
    assert_eq!(loaded.warnings, []);
    assert_eq!(context(&loaded.library), context(&Library::built_in()));
}

#[test]
fn a_directory_without_any_asset_draws_a_warning() {
    let (_, warnings) = Dir::with(&[("readme.txt", "")]).load().unwrap();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].ends_with("holds no asset; those that are built in are used"), "{warnings:?}");
}

#[test]
fn both_spellings_of_the_active_assets_are_read() {
    for keys in [
        r#""context": "acme", "manifest": "defaultToolManifest""#,
        r#""activeContextKey": "acme", "activeManifestKey": "defaultToolManifest""#,
    ] {
        let config = format!(r#"{{ "AssetLoader": {{ {keys}, "assetLoaderType": "file" }} }}"#);
        let dir = Dir::with(&[("serverConfig.json", config.as_str()), ("acme.md", "\u{feff}You are Acme's agent.")]);
        let (assets, warnings) = dir.load().unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        assert_eq!(context(&assets), "You are Acme's agent.");
        assert_eq!(names(&assets), TOOLS[10..]);
    }
}

#[test]
fn languages_and_parameters_may_stand_inside_or_beside() {
    let inside = r#"{ "ConversationRelay": { "Configuration": {
        "languages": [{ "code": "es-ES", "speechModel": "nova-3-general" }],
        "parameters": [{ "name": "callReference", "value": "" }] } } }"#;
    let beside = r#"{ "ConversationRelay": {
        "Languages": [{ "code": "es-ES", "speechModel": "nova-3-general" }],
        "Parameters": { "callReference": "" } } }"#;
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    for text in [inside, beside] {
        let (assets, warnings) = config(text).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        assert_eq!(assets.server.languages, [[pair("code", "es-ES"), pair("speechModel", "nova-3-general")]]);
        assert_eq!(assets.server.parameters, [pair("callReference", "")]);
    }
}

#[test]
fn attributes_become_text_in_their_documented_spelling() {
    let (assets, _) = config(
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
fn the_texts_of_the_guided_flow_are_completed_by_what_is_built_in() {
    let plain = config("{}").unwrap().0.server;
    assert!(!plain.guided, "the model leads unless the flow is guided");
    assert_eq!(plain.spoken_language(), "en-US");
    let relay = r#"{ "ConversationRelay": { "Configuration": { "language": "en-US", "ttsLanguage": "es-US" } } }"#;
    assert_eq!(config(relay).unwrap().0.server.spoken_language(), "es-US");
    let (assets, warnings) = config(
        r#"{ "Payments": { "flow": "guided", "texts": {
            "es-ES": { "retry": "Otra vez." }, "en-GB": { "cardNumber": "Your card number, then hash.", "pin": "x" } } } }"#,
    )
    .unwrap();
    assert!(assets.server.guided);
    let guide = assets.server.texts;
    assert_eq!(guide.texts("es-MX").retry, "Otra vez.");
    assert!(guide.texts("es-ES").card_number.starts_with("Por favor"));
    assert_eq!(guide.texts("en-GB").card_number, "Your card number, then hash.");
    assert!(guide.texts("en-US").card_number.starts_with("Please type"), "the built-in texts of that very code");
    assert_eq!(guide.texts("it-IT").retry, "Otra vez.", "the first that is written");
    assert_eq!(warnings, ["serverConfig.json: Payments.texts.en-GB.pin is not known to this version and is left out"]);
}

#[test]
fn a_text_without_what_it_has_to_name_is_refused() {
    for (texts, why) in [
        (r#""en-US": { "confirmAmount": "Shall I charge it?" }"#, "en-US has a confirmAmount without {amount}"),
        (r#""de-DE": { "confirmAmountAccount": "Einziehen?" }"#, "de-DE has a confirmAmountAccount without {amount}"),
        (r#""fr-FR": { "payAgain": "Encore {amount} ?" }"#, "fr-FR has a payAgain without {minutes}"),
        (r#""it-IT": { "retry": "Di nuovo." }"#, "it-IT has no cardNumber, and none is built in"),
        (r#""en-US": { "assent": " " }"#, "expected something to say"),
    ] {
        let refused = config(&format!(r#"{{ "Payments": {{ "texts": {{ {texts} }} }} }}"#)).unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
    let texts = r#"{ "Payments": { "confirm": "always", "texts": { "en-US": { "goOn": "Go on, yes or no?", "assent": "aye" } } } }"#;
    let server = config(texts).unwrap().0.server;
    assert!(server.confirm_due && !server.guided);
    assert_eq!(server.texts.texts("en-US").go_on, "Go on, yes or no?");
    assert_eq!(server.texts.judge("Aye!"), crate::payment::Consent::Yes);
    assert!(config(r#"{ "Payments": { "confirm": "sometimes" } }"#).unwrap_err().contains("unlessDue"));
}

#[test]
fn what_is_not_read_is_told() {
    let (assets, warnings) = config(
        r#"{ "ConversationRelay": {
                "Configuration": { "url": "wss://example.com", "interruptByDtmf": true, "languages": [{ "code": "en-AU", "tone": 1 }] },
                "SilenceDetection": { "seconds": 9 } },
            "AssetLoader": { "assetLoaderType": "redis" },
            "Server": { "ListenMode": { "enabled": true } },
            "Keypad": { "maxDigits": 4, "pauseSeconds": 1.5 },
            "Telemetry": {} }"#,
    )
    .unwrap();
    assert!(attribute(&assets.server.relay, "url").is_none() && assets.server.listen);
    assert_eq!(attribute(&assets.server.relay, "dtmfDetection"), Some("true"), "what is not said is what calls need");
    assert_eq!((assets.server.keypad.max_digits, assets.server.keypad.pause), (4, Duration::from_millis(1_500)));
    assert_eq!(
        warnings,
        [
            "serverConfig.json: ConversationRelay.Configuration.url is left out, since the server sets it by itself",
            "serverConfig.json: ConversationRelay.Configuration.interruptByDtmf is not known to this version and is left out",
            "serverConfig.json: ConversationRelay.Configuration.languages.0.tone is not known to this version and is left out",
            "serverConfig.json: ConversationRelay.SilenceDetection.seconds is not known to this version and is left out",
            "serverConfig.json: Telemetry is not known to this version and is left out",
            "serverConfig.json: assetLoaderType is \"redis\", neither file nor sync: the assets are taken from files",
        ]
    );
}

#[test]
fn what_twilio_is_told_of_payments_is_read() {
    let (assets, warnings) = config(
        r#"{ "Payments": { "method": "ach-debit", "bankAccountType": "consumer-savings", "timeout": 20, "input": "dtmf",
            "validCardTypes": ["visa", "diners-club"], "minPostalCodeLength": 5, "description": "Tea",
            "requireMatchingInputs": ["payment-card-number", "postal-code"], "idParameter": "ledgerId",
            "parameters": { "AVSName": "Acme", "MerchantAccountId": 7, "vip": true } } }"#,
    )
    .unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    let options = assets.server.payments;
    assert_eq!(options.method, MethodName::AchDebit);
    assert_eq!(options.bank_account_type, BankAccountType::ConsumerSavings);
    assert_eq!(options.valid_card_types, [CardType::Visa, CardType::DinersClub]);
    assert_eq!(options.matching.to_string(), "card number, postal code");
    assert_eq!((options.min_postal_code_length, options.timeout.map(Timeout::seconds)), (Some(5), Some(20)));
    assert_eq!(options.description.unwrap().reveal(), "Tea");
    assert_eq!(options.id_parameter.unwrap().as_str(), "ledgerId");
    let parameters = serde_json::to_string(options.parameters.reveal()).unwrap();
    assert_eq!(parameters, r#"{"AVSName":"Acme","MerchantAccountId":"7","vip":"true"}"#);
    assert_eq!(config("{}").unwrap().0.server.payments, Options::default());
}

/// Each configuration is refused with this line and these words.
fn are_refused(cases: &[(&str, &str)]) {
    for (text, told) in cases {
        let err = config(text).map(|_| text).unwrap_err();
        assert!(err.starts_with(&format!("serverConfig.json:{told}")), "{text}: {err}");
    }
}

#[test]
fn what_twilio_would_refuse_of_a_payment_is_refused_with_its_line() {
    are_refused(&[
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
            "3: expected each parameter once, and amountDue is there twice",
        ),
        ("{\n \"Payments\": {\n  \"description\": \"\"\n }\n}", "3: must be a text of 1 to 512 characters"),
    ]);
}

#[test]
fn a_value_that_does_not_fit_is_refused_with_its_line() {
    are_refused(&[
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
        (
            "{\n \"AssetLoader\": {\n  \"context\": \"../secret\"\n }\n}",
            "3: expected the name of a file without its ending",
        ),
        (
            "{\n \"AssetLoader\": {\n  \"manifest\": \".hidden\"\n }\n}",
            "3: expected the name of a file without its ending",
        ),
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

#[test]
fn files_that_cannot_be_used_are_named() {
    let large = "x".repeat(1024 * 1024 + 1);
    for (files, told) in [
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
        let err = Dir::with(files).load().unwrap_err();
        assert!(err.starts_with(told), "{err}");
    }
    let binary = Dir::with(&[]);
    std::fs::write(binary.0.join("PaymentContext.md"), [0xff, 0xfe]).unwrap();
    assert_eq!(binary.load().unwrap_err(), "PaymentContext.md: is not UTF-8 text");
    let directory = Dir::with(&[]);
    std::fs::create_dir(directory.0.join("serverConfig.json")).unwrap();
    assert!(directory.load().unwrap_err().starts_with("serverConfig.json: cannot be read: "));
}

proptest! {
    /// A slip of the pen anywhere in a file is either harmless or told with a line that exists.
    #[test]
    fn a_slip_never_panics_and_its_line_exists(at in any::<prop::sample::Index>(), slip in "[\\PC\n]{0,2}") {
        for name in ["serverConfig.json", "PaymentToolManifest.json"] {
            let (_, file) = file::built_in().find(|(known, _)| known.to_string() == name).unwrap();
            let mut text = file.text;
            let at = at.index(text.len());
            text.replace_range(at..=at, &slip);
            let file = file::File::new(name, &text);
            let refused = match name {
                "serverConfig.json" => server_config::parse(&file).err(),
                _ => manifest::parse(&file).err(),
            };
            if let Some(err) = refused {
                let AssetError::Invalid { line, .. } = err else { panic!("{err}") };
                prop_assert!((1..=text.lines().count() + 1).contains(&line), "{}", line);
            }
        }
    }
}
