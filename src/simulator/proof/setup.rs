//! The set-up that is proved: what is configured, with stand-ins in place of the outside world.
//!
//! No secret of the configured set-up is used: credentials are the proof's own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::outside;
use crate::config::{Config, Problems, PublicUrl, Vars};
use crate::redact::without_card_numbers;

/// The auth token that signs what Twilio sends.
pub const AUTH_TOKEN: &str = "proof-auth-token";
/// What an operator's request bears.
pub const OPERATOR_TOKEN: &str = "proof-operator-token";

/// What stands in for what the set-up does not say.
const MISSING: &[(&str, &str)] = &[
    ("SERVER_BASE_URL", "https://pay.example.com"),
    ("ACCOUNT_SID", "AC00000000000000000000000000000001"),
    ("AUTH_TOKEN", AUTH_TOKEN),
    ("FROM_NUMBER", "+15550100002"),
    ("PAYMENT_CONNECTOR", "Default"),
    ("OPENAI_API_KEY", "sk-proof"),
];

/// What the proof needs for itself: it says nothing about the set-up that it is not set there.
const OWN: &[&str] = &[
    "ASSETS_DIR",
    "DATABASE_URL",
    "NO_PROXY",
    "OPENAI_BASE_URL",
    "PORT",
    "RUST_LOG",
    "TWILIO_API_BASE_URL",
    "no_proxy",
];

/// What the set-up leads to the outside world with, or hides behind: never used here.
const LEFT_OUT: &[&str] = &["API_KEY", "API_SECRET", "PAYMENT_WEBHOOK_PREVIOUS_SECRET", "TWILIO_EDGE", "TWILIO_REGION"];

/// What is no secret, and may stand in the report.
const SHOWN: &[&str] = &[
    "ASSETS_DIR",
    "CURRENCY",
    "DRAIN_SECONDS",
    "INCLUDE_CVC",
    "INCLUDE_POSTAL_CODE",
    "LEDGER_RETENTION_DAYS",
    "MAX_CHARGE",
    "MAX_DUE",
    "MIN_CHARGE",
    "OPENAI_MODEL",
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

/// What is used as it is set, and not shown: somebody's numbers.
const KEPT: &[&str] = &["FROM_NUMBER", "LIVE_AGENT_NUMBER", "LIVE_AGENT_WORKFLOW_SID", "SMS_ALLOWED_NUMBERS"];

/// What is proved, as far as it may be shown.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SetUp {
    /// Variables that are used as they are set; the value where it is no secret.
    pub configured: BTreeMap<&'static str, Option<String>>,
    /// Variables that are not set, and were filled in.
    pub filled_in: Vec<&'static str>,
    /// Variables that are set, and were replaced by a stand-in's or left out.
    pub replaced: Vec<&'static str>,
    /// The files of the assets directory, and the SHA-256 of each; without any, the assets are those built in.
    pub assets: BTreeMap<String, String>,
}

/// A set-up with stand-ins in it.
#[derive(Debug)]
pub struct Prepared {
    /// What it is.
    pub set_up: SetUp,
    /// The whole environment of the server.
    pub vars: Vars,
    /// Where Twilio would reach it.
    pub base_url: PublicUrl,
}

/// Puts stand-ins at `twilio` and `model` into the set-up, and a ledger into the directory `home`. It fails if the set-up
/// cannot be used as it is, whatever would be replaced.
pub fn prepare(vars: &Vars, twilio: &str, model: &str, home: &Path) -> Result<Prepared, Problems> {
    Config::from_vars(&vars.clone().or(MISSING))?;
    let replacements = replacements(vars, twilio, model, home);
    let is_set = |name: &&str| vars.get(name).is_some();
    let filled_in = replacements.keys().copied().filter(|name| !is_set(name) && !OWN.contains(name)).collect();
    let names = replacements.keys().copied().chain(LEFT_OUT.iter().copied());
    let replaced = names.filter(|name| is_set(name) && !SHOWN.contains(name) && !KEPT.contains(name)).collect();
    let shown = |name: &&'static str| {
        let value = vars.get(name)?;
        Some((*name, SHOWN.contains(name).then(|| without_card_numbers(value).into_owned())))
    };
    let configured = SHOWN.iter().chain(KEPT).filter_map(shown).collect();
    let kept = vars.iter().filter(|(name, _)| !LEFT_OUT.contains(name));
    // What comes first wins.
    let vars: Vars = replacements.iter().map(|(name, value)| (*name, value.as_str())).chain(kept).collect();
    let base_url = Config::from_vars(&vars)?.0.base_url;
    let assets = hashes(vars.get("ASSETS_DIR").map(Path::new));
    Ok(Prepared { set_up: SetUp { configured, filled_in, replaced, assets }, vars, base_url })
}

/// Everything that the proof decides, beside what is kept.
fn replacements(vars: &Vars, twilio: &str, model: &str, home: &Path) -> BTreeMap<&'static str, String> {
    let mut values: BTreeMap<&str, String> = MISSING.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
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
        // The business that is played has nothing to say of most calls.
        ("CALL_PARAMETERS", "optional".to_owned()),
        ("CALL_PARAMETERS_URL", format!("{twilio}{}", outside::CALLS)),
        ("PAYMENT_WEBHOOK_URL", format!("{twilio}{}", outside::PAYMENTS)),
        ("PAYMENT_WEBHOOK_SECRET", "proof-webhook-secret".to_owned()),
        ("TWILIO_API_BASE_URL", twilio.to_owned()),
        ("OPENAI_BASE_URL", format!("{model}/v1")),
        ("DATABASE_URL", format!("sqlite://{}/ledger.db", home.display())),
        ("PORT", "0".to_owned()),
        ("RUST_LOG", "trace".to_owned()),
        ("NO_PROXY", "127.0.0.1".to_owned()),
        ("no_proxy", "127.0.0.1".to_owned()),
    ]);
    // The server works in another directory.
    let assets = PathBuf::from(vars.get("ASSETS_DIR").unwrap_or("assets"));
    if let Ok(assets) = assets.canonicalize() {
        values.insert("ASSETS_DIR", assets.display().to_string());
    }
    values
}

fn hashes(assets: Option<&Path>) -> BTreeMap<String, String> {
    let files = assets.and_then(|assets| std::fs::read_dir(assets).ok()).into_iter().flatten().flatten();
    let hash = |file: std::fs::DirEntry| {
        let bytes = std::fs::read(file.path()).ok()?;
        let hash = Sha256::digest(bytes).iter().fold(String::new(), |mut hash, byte| {
            // Writing to a string does not fail.
            let _ = write!(hash, "{byte:02x}");
            hash
        });
        Some((without_card_numbers(&file.file_name().to_string_lossy()).into_owned(), hash))
    };
    files.filter_map(hash).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(vars: &[(&str, &str)]) -> Result<Prepared, Problems> {
        let vars = vars.iter().copied().collect();
        prepare(&vars, "http://127.0.0.1:1", "http://127.0.0.1:2", Path::new("/nonexistent"))
    }

    #[test]
    fn every_variable_of_the_server_is_kept_replaced_or_left_out_on_purpose() {
        let replaced = replacements(&Vars::default(), "", "", Path::new(""));
        let lines = include_str!("../../../.env.example").lines().map(|line| line.trim_start_matches('#'));
        let names = lines.filter_map(|line| line.split_once('=')).map(|(name, _)| name);
        let names: Vec<&str> = names.filter(|name| name.bytes().all(|c| c.is_ascii_uppercase() || c == b'_')).collect();
        assert!(names.len() > 30, "{names:?}");
        for name in names {
            let known = SHOWN.contains(&name) || KEPT.contains(&name) || LEFT_OUT.contains(&name);
            assert!(known || replaced.contains_key(name), "{name}: may it be used, and may its value be shown?");
        }
    }

    #[test]
    fn no_configured_credential_gets_into_the_server_or_the_report() {
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
        let Prepared { set_up, vars, .. } = prepared(&vars).unwrap();
        assert!(vars.iter().all(|(_, value)| !value.contains("hush")), "{vars:?}");
        assert!(secrets.iter().all(|name| set_up.replaced.contains(name)), "{set_up:?}");
    }

    #[test]
    fn what_is_configured_is_used_and_what_is_not_is_filled_in() {
        let Prepared { set_up, vars, base_url } =
            prepared(&[("SERVER_BASE_URL", "pay.shop.example"), ("CURRENCY", "EUR"), ("FROM_NUMBER", "+15550107777")])
                .unwrap();
        assert_eq!((vars.get("CURRENCY"), vars.get("FROM_NUMBER")), (Some("EUR"), Some("+15550107777")));
        assert_eq!(base_url.http("/"), "https://pay.shop.example/");
        assert_eq!(set_up.configured["CURRENCY"].as_deref(), Some("EUR"));
        assert_eq!(set_up.configured["FROM_NUMBER"], None, "somebody's number is not shown");
        assert!(set_up.filled_in.contains(&"OPENAI_API_KEY") && !set_up.filled_in.contains(&"FROM_NUMBER"));
    }

    #[test]
    fn what_would_be_replaced_has_to_be_right_too() {
        let problems = prepared(&[("AUTH_TOKEN", "a b"), ("PORT", "many")]).unwrap_err().to_string();
        assert!(problems.contains("AUTH_TOKEN") && problems.contains("PORT"), "{problems}");
        assert!(!problems.contains("OPENAI_API_KEY"), "{problems}");
    }
}
