//! Prepares the environment of the server under test: the configured variables, with stand-ins for all external
//! services.
//!
//! No configured secret is used. The test has its own credentials.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::business;
use super::data_flow::DataFlow;
use crate::assets::Library;
use crate::check::{describe_language, heard_languages};
use crate::config::{Config, ConfigError, PublicUrl, Vars};
use crate::redact::redact_card_numbers;

/// The SID of the account.
pub(super) const ACCOUNT_SID: &str = "AC00000000000000000000000000000001";
/// The auth token with which Twilio's requests are signed.
pub(super) const AUTH_TOKEN: &str = "proof-auth-token";
/// The bearer token of operator requests.
pub(super) const OPERATOR_TOKEN: &str = "proof-operator-token";

/// The values of required variables that are not configured.
pub(super) const DEFAULTS: &[(&str, &str)] = &[
    ("SERVER_BASE_URL", "https://pay.example.com"),
    ("ACCOUNT_SID", ACCOUNT_SID),
    ("AUTH_TOKEN", AUTH_TOKEN),
    ("FROM_NUMBER", "+15550100002"),
    ("PAYMENT_CONNECTOR", "Default"),
    ("OPENAI_API_KEY", "sk-proof"),
];

/// Variables that the test sets for itself. The report does not list them as filled in.
const PROOF_VARS: &[&str] = &[
    "ASSETS_DIR",
    "BIND",
    "DATABASE_URL",
    "NO_PROXY",
    "OPENAI_BASE_URL",
    "OUTBOUND_ALLOWED",
    "OUTBOUND_PER_MINUTE",
    "PORT",
    "RUST_LOG",
    "TWILIO_API_BASE_URL",
    "no_proxy",
];

/// Variables that are never passed on: credentials, Twilio regions, the port of the metrics, which another server may use,
/// the collector of traces, and Flowise, for which the stand-in of the model answers.
const DROPPED_VARS: &[&str] = &[
    "API_KEY",
    "API_SECRET",
    "AUTH_TOKEN_SECONDARY",
    "FLOWISE_ALLOWED_CHATFLOWS",
    "FLOWISE_API_KEY",
    "FLOWISE_CHATFLOW_ID",
    "FLOWISE_URL",
    "FLOWISE_VARS",
    "FLY_PRIVATE_IP",
    "INSTANCE_ADDRESS",
    "METRICS_HOST",
    "METRICS_PORT",
    "OPERATOR_TOKENS",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_SERVICE_NAME",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "PAYMENT_WEBHOOK_PREVIOUS_SECRET",
    "RESPONSE_SERVICE",
    "SEALING_KEY",
    "TOOL_SERVER_TOKENS",
    "TWILIO_EDGE",
    "TWILIO_REGION",
    "TWILIO_WEBHOOK_SHARED_KEYS",
];

/// Variables whose values are shown in the report.
const SHOWN_VARS: &[&str] = &[
    "ALLOW_INSECURE",
    "ASSETS_DIR",
    "BUSINESS_NAME",
    "BUSINESS_PHONE",
    "CURRENCY",
    "DRAIN_SECONDS",
    "INCLUDE_CVC",
    "INCLUDE_POSTAL_CODE",
    "LEDGER_RETENTION_DAYS",
    "MAX_CHARGE",
    "MAX_CONNECTIONS",
    "MAX_CONNECTIONS_PER_ADDRESS",
    "MAX_DUE",
    "MIN_CHARGE",
    "OPENAI_MAX_OUTPUT_TOKENS",
    "OPENAI_MODEL",
    "OPENAI_PRICES",
    "OPENAI_REASONING_EFFORT",
    "OPENAI_SERVICE_TIER",
    "OPENAI_TRANSPORT",
    "PAYMENT_CONNECTOR",
    "PAYMENT_MODE",
    "PLAY_MEDIA_HOSTS",
    "PORT_FALLBACK",
    "RESUME_SECONDS",
    "SERVER_BASE_URL",
    "TOKEN_RETENTION_HOURS",
    "TOKEN_TYPE",
    "VALIDATE_TWILIO_SIGNATURE",
];

/// Variables that are used as configured but not shown, because they are phone numbers or SIDs of the operator.
const HIDDEN_VARS: &[&str] = &["FROM_NUMBER", "LIVE_AGENT_NUMBER", "LIVE_AGENT_WORKFLOW_SID", "SMS_ALLOWED_NUMBERS"];

/// The tested configuration without secrets.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TestedSetup {
    /// Variables used as configured, with their values if these may be shown.
    pub configured: BTreeMap<&'static str, Option<String>>,
    /// Variables that are not configured and were filled in.
    pub filled_in: Vec<&'static str>,
    /// Variables that are configured and were replaced or left out.
    pub replaced: Vec<&'static str>,
    /// The attributes of `<ConversationRelay>` that are not PCI compliant and were accepted by `Pci.acceptNonCompliant`.
    pub not_compliant: Vec<&'static str>,
    /// The files of the assets directory with their SHA-256. If empty, the built-in assets are used.
    pub assets: BTreeMap<String, String>,
    /// The languages in which callers are heard, and what holds in each.
    pub languages: BTreeMap<String, &'static str>,
    /// The flow of card data with the configured services, not with the stand-ins.
    #[serde(skip)]
    pub data_flow: DataFlow,
}

/// A configuration that is ready to start the server.
#[derive(Debug)]
pub(super) struct PreparedSetup {
    /// The configuration for the report.
    pub set_up: TestedSetup,
    /// The complete environment of the server.
    pub vars: Vars,
    /// The public base URL.
    pub base_url: PublicUrl,
}

/// The public base URL, by which Twilio knows the server.
pub(super) fn public_url(vars: &Vars) -> Result<PublicUrl, ConfigError> {
    Ok(Config::from_vars(&vars.clone().with_defaults(DEFAULTS))?.0.base_url)
}

/// Replaces external services by the stand-ins at the origin `twilio` and the base URL `model`, and puts the ledger
/// into the directory `home`.
///
/// Returns the problems if the configuration is invalid, including those of variables that are replaced.
pub(super) fn prepare_setup(vars: &Vars, twilio: &str, model: &str, home: &Path) -> Result<PreparedSetup, ConfigError> {
    let configured = Config::from_vars(&vars.clone().with_defaults(DEFAULTS))?.0;
    let library = load_library(vars.get("ASSETS_DIR").map(Path::new));
    let data_flow = DataFlow::new(&configured, vars, &library);
    let replacements = replacements(vars, twilio, model, home);
    let is_set = |name: &&str| vars.get(name).is_some();
    let filled_in = replacements.keys().copied().filter(|name| !is_set(name) && !PROOF_VARS.contains(name)).collect();
    let names = replacements.keys().copied().chain(DROPPED_VARS.iter().copied());
    let replaced =
        names.filter(|name| is_set(name) && !SHOWN_VARS.contains(name) && !HIDDEN_VARS.contains(name)).collect();
    let shown = |name: &&'static str| {
        let value = vars.get(name)?;
        Some((*name, SHOWN_VARS.contains(name).then(|| redact_card_numbers(value).into_owned())))
    };
    let configured = SHOWN_VARS.iter().chain(HIDDEN_VARS).filter_map(shown).collect();
    let kept = vars.iter().filter(|(name, _)| !DROPPED_VARS.contains(name));
    // The first of two equal names wins.
    let vars: Vars = replacements.iter().map(|(name, value)| (*name, value.as_str())).chain(kept).collect();
    let base_url = Config::from_vars(&vars)?.0.base_url;
    let assets_dir = vars.get("ASSETS_DIR").map(Path::new);
    let set_up = TestedSetup {
        configured,
        filled_in,
        replaced,
        not_compliant: accepted_attributes(assets_dir),
        assets: hash_assets(assets_dir),
        languages: describe_languages(&library),
        data_flow,
    };
    Ok(PreparedSetup { set_up, vars, base_url })
}

/// The variables that the test sets.
fn replacements(vars: &Vars, twilio: &str, model: &str, home: &Path) -> BTreeMap<&'static str, String> {
    let mut values: BTreeMap<&str, String> =
        DEFAULTS.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    for name in ["SERVER_BASE_URL", "FROM_NUMBER", "PAYMENT_CONNECTOR"] {
        if vars.get(name).is_some() {
            values.remove(name);
        }
    }
    if vars.get("LIVE_AGENT_NUMBER").is_none() && vars.get("LIVE_AGENT_WORKFLOW_SID").is_none() {
        values.insert("LIVE_AGENT_WORKFLOW_SID", "WW00000000000000000000000000000001".to_owned());
    }
    values.extend([
        ("OPERATOR_TOKEN", OPERATOR_TOKEN.to_owned()),
        // The stand-in answers most look-ups with an empty object.
        ("CALL_PARAMETERS", "optional".to_owned()),
        ("CALL_PARAMETERS_URL", format!("{twilio}{}", business::CALL_PARAMETERS_PATH)),
        ("PAYMENT_WEBHOOK_URL", format!("{twilio}{}", business::PAYMENT_WEBHOOK_PATH)),
        ("PAYMENT_WEBHOOK_SECRET", "proof-webhook-secret".to_owned()),
        // The callers of the test have numbers in +1, and each case orders calls.
        ("OUTBOUND_ALLOWED", "+1".to_owned()),
        ("OUTBOUND_PER_MINUTE", "10000".to_owned()),
        ("TWILIO_API_BASE_URL", twilio.to_owned()),
        ("OPENAI_BASE_URL", model.to_owned()),
        ("DATABASE_URL", format!("sqlite://{}/ledger.db", home.display())),
        ("BIND", "127.0.0.1".to_owned()),
        ("PORT", "0".to_owned()),
        ("RUST_LOG", "trace".to_owned()),
        ("NO_PROXY", "127.0.0.1".to_owned()),
        ("no_proxy", "127.0.0.1".to_owned()),
    ]);
    // The server has another working directory, so the path must be absolute.
    let assets = PathBuf::from(vars.get("ASSETS_DIR").unwrap_or("assets"));
    if let Ok(assets) = assets.canonicalize() {
        values.insert("ASSETS_DIR", assets.display().to_string());
    }
    values
}

/// The attributes that are not PCI compliant, if the assets can be read. Otherwise the server does not start.
fn accepted_attributes(assets: Option<&Path>) -> Vec<&'static str> {
    let loaded = assets.and_then(|dir| Library::load(dir).ok());
    loaded.map(|loaded| loaded.library.server.non_compliant_attributes()).unwrap_or_default()
}

/// The assets in a directory, or the built-in ones.
fn load_library(assets: Option<&Path>) -> Library {
    let loaded = assets.map(Library::load).and_then(Result::ok);
    loaded.map_or_else(Library::built_in, |loaded| loaded.library)
}

/// The languages in which callers are heard.
fn describe_languages(library: &Library) -> BTreeMap<String, &'static str> {
    let describe = |tag: String| {
        let described = describe_language(&tag);
        (redact_card_numbers(&tag).into_owned(), described)
    };
    heard_languages(&library.server).into_iter().map(describe).collect()
}

fn hash_assets(assets: Option<&Path>) -> BTreeMap<String, String> {
    let files = assets.and_then(|assets| std::fs::read_dir(assets).ok()).into_iter().flatten().flatten();
    let hash = |file: std::fs::DirEntry| {
        let bytes = std::fs::read(file.path()).ok()?;
        let hash = hex::encode(Sha256::digest(bytes));
        Some((redact_card_numbers(&file.file_name().to_string_lossy()).into_owned(), hash))
    };
    files.filter_map(hash).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(vars: &[(&str, &str)]) -> Result<PreparedSetup, ConfigError> {
        let vars = vars.iter().copied().collect();
        prepare_setup(&vars, "http://127.0.0.1:1", "http://127.0.0.1:2", Path::new("/nonexistent"))
    }

    #[test]
    fn every_variable_is_passed_on_replaced_or_dropped_explicitly() {
        let replaced = replacements(&Vars::default(), "", "", Path::new(""));
        let lines = include_str!("../../.env.example").lines().map(|line| line.trim_start_matches('#'));
        let names = lines.filter_map(|line| line.split_once('=')).map(|(name, _)| name);
        let names: Vec<&str> = names.filter(|name| name.bytes().all(|c| c.is_ascii_uppercase() || c == b'_')).collect();
        assert!(names.len() > 30, "{names:?}");
        for name in names {
            let known = SHOWN_VARS.contains(&name) || HIDDEN_VARS.contains(&name) || DROPPED_VARS.contains(&name);
            assert!(known || replaced.contains_key(name), "{name} is in none of the lists above");
        }
    }

    #[test]
    fn no_configured_credential_reaches_the_server_or_the_report() {
        let secrets = [
            "AUTH_TOKEN",
            "API_SECRET",
            "OPENAI_API_KEY",
            "OPERATOR_TOKEN",
            "PAYMENT_WEBHOOK_SECRET",
            "PAYMENT_WEBHOOK_PREVIOUS_SECRET",
        ];
        let mut vars: Vec<(&str, &str)> = secrets.iter().map(|name| (*name, "hush-hush-hush-hush")).collect();
        vars.extend([("API_KEY", "SK1"), ("PAYMENT_WEBHOOK_URL", "https://shop.example/hush-hush")]);
        let PreparedSetup { set_up, vars, .. } = prepared(&vars).unwrap();
        assert!(vars.iter().all(|(_, value)| !value.contains("hush")), "{vars:?}");
        assert!(secrets.iter().all(|name| set_up.replaced.contains(name)), "{set_up:?}");
    }

    #[test]
    fn configured_values_are_used_and_missing_ones_are_filled_in() {
        let PreparedSetup { set_up, vars, base_url } =
            prepared(&[("SERVER_BASE_URL", "pay.shop.example"), ("CURRENCY", "EUR"), ("FROM_NUMBER", "+15550107777")])
                .unwrap();
        assert_eq!((vars.get("CURRENCY"), vars.get("FROM_NUMBER")), (Some("EUR"), Some("+15550107777")));
        assert_eq!(base_url.http_url("/"), "https://pay.shop.example/");
        assert_eq!(set_up.configured["CURRENCY"].as_deref(), Some("EUR"));
        assert_eq!(set_up.configured["FROM_NUMBER"], None, "a phone number is not shown");
        assert!(set_up.filled_in.contains(&"OPENAI_API_KEY") && !set_up.filled_in.contains(&"FROM_NUMBER"));
    }

    #[test]
    fn accepted_attributes_that_are_not_compliant_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let config = r#"{ "Pci": { "acceptNonCompliant": true },
            "ConversationRelay": { "Configuration": { "turnDetection": true, "customerName": "Ada" } } }"#;
        std::fs::write(dir.path().join("serverConfig.json"), config).unwrap();
        let set_up = prepared(&[("ASSETS_DIR", dir.path().to_str().unwrap())]).unwrap().set_up;
        assert_eq!(set_up.not_compliant, ["turnDetection", "customerName"]);
        assert!(prepared(&[]).unwrap().set_up.not_compliant.is_empty());
    }

    #[test]
    fn variables_that_are_replaced_are_validated_too() {
        let problems = prepared(&[("AUTH_TOKEN", "a b"), ("PORT", "many")]).unwrap_err().to_string();
        assert!(problems.contains("AUTH_TOKEN") && problems.contains("PORT"), "{problems}");
        assert!(!problems.contains("OPENAI_API_KEY"), "{problems}");
    }
}
