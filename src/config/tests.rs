//! Tests of complete configurations: required variables, errors and warnings.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::*;
use crate::payment::{Currency, TokenType};

const REQUIRED: [(&str, &str); 6] = [
    ("SERVER_BASE_URL", "pay.example.com"),
    ("OPENAI_API_KEY", "sk-hush"),
    ("ACCOUNT_SID", "AC00000000000000000000000000000001"),
    ("AUTH_TOKEN", "hush-auth-token-0"),
    ("FROM_NUMBER", "+15550001111"),
    ("PAYMENT_CONNECTOR", "Default"),
];

const OPTIONAL: [&str; 71] = [
    "FLY_PRIVATE_IP",
    "INSTANCE_ADDRESS",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_SERVICE_NAME",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "ALLOW_INSECURE",
    "BIND",
    "MAX_CONNECTIONS",
    "MAX_CONNECTIONS_PER_ADDRESS",
    "OPERATOR_TOKENS",
    "AUTH_TOKEN_SECONDARY",
    "TWILIO_WEBHOOK_SHARED_KEYS",
    "OUTBOUND_ALLOWED",
    "OUTBOUND_PER_MINUTE",
    "TOOL_SERVER_TOKENS",
    "SEALING_KEY",
    "PORT",
    "PORT_FALLBACK",
    "OPENAI_MODEL",
    "OPENAI_BASE_URL",
    "OPENAI_REASONING_EFFORT",
    "OPENAI_SERVICE_TIER",
    "OPENAI_MAX_OUTPUT_TOKENS",
    "OPENAI_PRICES",
    "METRICS_HOST",
    "METRICS_PORT",
    "OPENAI_TRANSPORT",
    "RESPONSE_SERVICE",
    "FLOWISE_URL",
    "FLOWISE_CHATFLOW_ID",
    "FLOWISE_ALLOWED_CHATFLOWS",
    "FLOWISE_API_KEY",
    "FLOWISE_VARS",
    "API_KEY",
    "API_SECRET",
    "CURRENCY",
    "MIN_CHARGE",
    "MAX_CHARGE",
    "MAX_DUE",
    "TOKEN_TYPE",
    "INCLUDE_CVC",
    "INCLUDE_POSTAL_CODE",
    "TWILIO_EDGE",
    "TWILIO_REGION",
    "TWILIO_API_BASE_URL",
    "ASSETS_DIR",
    "OPERATOR_TOKEN",
    "VALIDATE_TWILIO_SIGNATURE",
    "CALL_PARAMETERS",
    "CALL_PARAMETERS_URL",
    "BUSINESS_NAME",
    "BUSINESS_PHONE",
    "LIVE_AGENT_NUMBER",
    "PLAY_MEDIA_HOSTS",
    "SMS_ALLOWED_NUMBERS",
    "LIVE_AGENT_WORKFLOW_SID",
    "RESUME_SECONDS",
    "DRAIN_SECONDS",
    "DATABASE_URL",
    "PAYMENT_WEBHOOK_URL",
    "PAYMENT_WEBHOOK_SECRET",
    "PAYMENT_WEBHOOK_PREVIOUS_SECRET",
    "PAYMENT_MODE",
    "LEDGER_RETENTION_DAYS",
    "TOKEN_RETENTION_HOURS",
];

/// Reads the required variables, with others added or replaced.
fn with(more: &[(&str, &str)]) -> Result<(Config, Vec<ConfigWarning>), ConfigError> {
    Config::from_vars(&more.iter().chain(&REQUIRED).copied().collect())
}

fn locations(problems: &ConfigError) -> Vec<&str> {
    problems.iter().map(|problem| problem.location.as_str()).collect()
}

#[test]
fn six_variables_are_required() {
    let (config, warnings) = with(&[]).unwrap();
    assert_eq!(warnings, [ConfigWarning::NoLiveAgent]);
    assert_eq!((config.port, config.port_fallback), (3001, true));
    assert_eq!(config.base_url.to_string(), "https://pay.example.com");
    assert_eq!(config.assets_dir, PathBuf::from("assets"));
    assert!(config.operator_tokens.is_empty() && config.live_agent_number.is_none());
    assert!(config.validate_signature);
    let ResponseServiceConfig::OpenAi(openai) = config.response_service else { panic!("the default is OpenAI") };
    assert_eq!(openai.api_key.expose_secret(), "sk-hush");
    assert_eq!((openai.model.as_str(), openai.base_url), ("gpt-6-luna", ApiBaseUrl::default()));
    assert_eq!(config.twilio.auth_token.expose_secret(), "hush-auth-token-0");
    assert!(config.twilio.api_key.is_none());
    assert_eq!(config.twilio.api_base, "https://api.twilio.com");
    assert_eq!(config.payment.currency, Currency::USD);
    assert_eq!(config.payment.token_type, TokenType::OneTime);
    assert_eq!((config.payment.security_code, config.payment.postal_code), (true, false));
    assert_eq!(config.database.file(), Some(std::path::Path::new("data/crelay-payments.db")));
    assert!(config.webhook.is_none() && config.token_retention == Duration::from_secs(72 * 3600));
}

#[test]
fn all_missing_variables_are_listed_with_a_hint_at_the_simulator() {
    let problems = Config::from_vars(&Vars::default()).unwrap_err();
    assert_eq!(locations(&problems), REQUIRED.map(|(name, _)| name));
    let text = problems.to_string();
    assert!(text.starts_with("The server cannot start: 6 settings to fix.\n"), "{text}");
    assert!(text.contains("\n  OPENAI_API_KEY     is not set: expected the secret key"), "{text}");
    assert_eq!(text.ends_with("crelay-payments simulate"), cfg!(feature = "simulator"), "{text}");
}

#[test]
fn all_malformed_variables_are_listed() {
    let problems = with(&[
        ("PORT", "65536"),
        ("SERVER_BASE_URL", "ftp://pay.example.com"),
        ("OPENAI_API_KEY", "sk-\nhush"),
        ("FROM_NUMBER", "555 0001111"),
        ("CURRENCY", "dollars"),
        ("INCLUDE_CVC", "maybe"),
        ("API_KEY", "SK1"),
        ("ASSETS_DIR", "/nonexistent/assets"),
    ])
    .unwrap_err();
    assert_eq!(
        locations(&problems),
        [
            "PORT",
            "SERVER_BASE_URL",
            "OPENAI_API_KEY",
            "API_SECRET",
            "FROM_NUMBER",
            "CURRENCY",
            "INCLUDE_CVC",
            "ASSETS_DIR"
        ]
    );
}

/// Reads a configuration with Flowise and without a key of OpenAI's.
fn with_flowise(more: &[(&str, &str)]) -> Result<FlowiseConfig, ConfigError> {
    let service = [("RESPONSE_SERVICE", "flowise"), ("OPENAI_API_KEY", "")];
    let (config, _) = with(&[&service, more].concat())?;
    let ResponseServiceConfig::Flowise(flowise) = config.response_service else { panic!("another service") };
    Ok(flowise)
}

#[test]
fn flowise_needs_an_address_and_a_flow_and_no_key_of_openai() {
    assert_eq!(locations(&with_flowise(&[]).unwrap_err()), ["FLOWISE_URL", "FLOWISE_CHATFLOW_ID"]);
    let required = [("FLOWISE_URL", "https://flowise.example.com/"), ("FLOWISE_CHATFLOW_ID", "f-1")];
    let flowise = with_flowise(&required).unwrap();
    assert_eq!((flowise.url.as_str(), flowise.chatflow_id.as_str()), ("https://flowise.example.com", "f-1"));
    assert!(flowise.api_key.is_none() && flowise.allowed_chatflows.is_empty());
    let sent = |flowise: FlowiseConfig| flowise.variables.iter().map(|it| it.name()).collect::<Vec<_>>().join(" ");
    assert_eq!(sent(flowise), "instructions update earlierUpdates callSid callToken", "no number of the caller");
    let more = [("FLOWISE_VARS", "callSid, caller"), ("FLOWISE_ALLOWED_CHATFLOWS", "f-2, f_3,")];
    let flowise = with_flowise(&[required, more].concat()).unwrap();
    assert_eq!(flowise.allowed_chatflows, ["f-2", "f_3"]);
    assert_eq!(sent(flowise), "callSid caller");
    for (name, bad) in [
        ("FLOWISE_URL", "flowise"),
        ("FLOWISE_CHATFLOW_ID", "../a"),
        ("FLOWISE_ALLOWED_CHATFLOWS", "a b"),
        ("FLOWISE_API_KEY", "hush hush"),
        ("FLOWISE_VARS", "callSid, weather"),
        ("RESPONSE_SERVICE", "flowwise"),
    ] {
        let problems = with(&[&[(name, bad), ("RESPONSE_SERVICE", "flowise")], &required[..]].concat()).unwrap_err();
        assert_eq!(locations(&problems), [name]);
    }
}

#[test]
fn an_api_key_needs_its_secret() {
    let (config, _) = with(&[("API_KEY", "SK1"), ("API_SECRET", "hush")]).unwrap();
    let key = config.twilio.api_key.unwrap();
    assert_eq!((key.sid.as_str(), key.secret.expose_secret()), ("SK1", "hush"));
    assert_eq!(locations(&with(&[("API_SECRET", "hush")]).unwrap_err()), ["API_KEY"]);
}

#[test]
fn charges_are_bounded_in_the_configured_currency() {
    let limits = |vars: &[(&str, &str)]| {
        let limits = with(vars).unwrap().0.payment.charge_limits;
        format!("{:?} {:?}", limits.min(), limits.max())
    };
    assert_eq!(limits(&[]), "0.50 USD 1000.00 USD");
    assert_eq!(limits(&[("CURRENCY", "JPY")]), "1 JPY 1000 JPY");
    assert_eq!(limits(&[("MIN_CHARGE", "5"), ("MAX_CHARGE", "5")]), "5.00 USD 5.00 USD");
    assert_eq!(limits(&[("CURRENCY", "KWD"), ("MIN_CHARGE", "0.005")]), "0.005 KWD 1000.000 KWD");
    for (name, value) in [("MIN_CHARGE", "0"), ("MIN_CHARGE", "0.005"), ("MIN_CHARGE", "$1"), ("MAX_CHARGE", "1000000")]
    {
        assert_eq!(locations(&with(&[(name, value)]).unwrap_err()), [name], "{value}");
    }
    assert_eq!(locations(&with(&[("MIN_CHARGE", "2000")]).unwrap_err()), ["MAX_CHARGE"]);
}

#[test]
fn max_due_defaults_to_ten_times_max_charge() {
    let most = |vars: &[(&str, &str)]| with(vars).unwrap().0.payment.max_due.to_string();
    assert_eq!(most(&[]), "10000");
    assert_eq!(most(&[("MAX_CHARGE", "75.50")]), "755");
    assert_eq!(most(&[("CURRENCY", "JPY")]), "10000");
    assert_eq!(most(&[("MAX_DUE", "20000.00, 9000 EUR")]), "20000, 9000 EUR");
    assert_eq!(most(&[("MAX_DUE", "9000 EUR")]), "10000, 9000 EUR");
    for bad in ["much", "0", "5 QQQ", "1,000.00", "5 USD, 6 USD"] {
        assert_eq!(locations(&with(&[("MAX_DUE", bad)]).unwrap_err()), ["MAX_DUE"], "{bad}");
    }
}

#[test]
fn call_parameters_are_required_only_with_a_url() {
    let url = ("CALL_PARAMETERS_URL", "https://shop.example.com/calls");
    let secret = ("PAYMENT_WEBHOOK_SECRET", "hush-hush-hush-hush");
    let required = |vars: &[(&str, &str)]| with(vars).unwrap().0.payment.due_required;
    assert!(!required(&[url, secret]) && !required(&[("CALL_PARAMETERS", "optional")]));
    assert!(required(&[url, secret, ("CALL_PARAMETERS", "required")]));
    let without_url = with(&[("CALL_PARAMETERS", "required")]).unwrap_err();
    assert_eq!(locations(&without_url), [url.0]);
    assert_eq!(locations(&with(&[url, secret, ("CALL_PARAMETERS", "requried")]).unwrap_err()), ["CALL_PARAMETERS"]);
}

#[test]
fn a_currency_is_a_code_in_circulation() {
    for code in ["QQQ", "XXX", "XAU", "XTS", "US", "840"] {
        let problems = with(&[("CURRENCY", code)]).unwrap_err();
        assert_eq!(locations(&problems), ["CURRENCY"], "{code}");
        assert!(problems.to_string().contains("ISO 4217"), "{problems}");
    }
    assert_eq!(with(&[("CURRENCY", "eur")]).unwrap().0.payment.currency.code(), "EUR");
}

#[test]
fn a_business_url_needs_a_long_secret() {
    let parameters_url = ("CALL_PARAMETERS_URL", "https://shop.example.com/calls");
    let webhook_url = ("PAYMENT_WEBHOOK_URL", "https://shop.example.com/payments");
    let secret = ("PAYMENT_WEBHOOK_SECRET", "hush-hush-hush-hush");
    let (config, _) = with(&[parameters_url, secret]).unwrap();
    assert!(!format!("{config:?}").contains("hush") && config.webhook.is_none());
    assert_eq!(config.call_parameters.unwrap().url.as_str(), parameters_url.1);
    let (config, _) = with(&[webhook_url, secret]).unwrap();
    assert!(config.call_parameters.is_none() && config.webhook.unwrap().url.as_str() == webhook_url.1);
    for url in [parameters_url, webhook_url] {
        assert_eq!(locations(&with(&[url]).unwrap_err()), [secret.0]);
        assert_eq!(locations(&with(&[url, (secret.0, "hush")]).unwrap_err()), [secret.0]);
    }
    let (config, warnings) = with(&[secret]).unwrap();
    assert!(config.business_secrets.is_some() && warnings.contains(&ConfigWarning::NoWebhookUrl), "for own tools");
    let previous = "PAYMENT_WEBHOOK_PREVIOUS_SECRET";
    assert!(with(&[webhook_url, secret, (previous, "hush-hush-hush-hash")]).is_ok());
    assert_eq!(locations(&with(&[webhook_url, secret, (previous, "hush")]).unwrap_err()), [previous]);
    assert_eq!(locations(&with(&[(previous, "hush-hush-hush-hash")]).unwrap_err()), [previous]);
}

#[test]
fn servers_of_tools_have_tokens_by_name() {
    let (config, _) = with(&[("TOOL_SERVER_TOKENS", "crm=hush=1, erp = hush-2")]).unwrap();
    let tokens = config.tool_server_tokens.iter().map(|(name, token)| (name.as_str(), token.expose_secret()));
    assert_eq!(tokens.collect::<Vec<_>>(), [("crm", "hush=1"), ("erp", "hush-2")]);
    for invalid in ["crm", "crm=", "=hush", "crm=a b", "crm=a,,", "c r m=a"] {
        assert_eq!(
            locations(&with(&[("TOOL_SERVER_TOKENS", invalid)]).unwrap_err()),
            ["TOOL_SERVER_TOKENS"],
            "{invalid}"
        );
    }
}

#[test]
fn payments_are_live_and_kept_forever_by_default() {
    let read = |vars: &[(&str, &str)]| with(vars).map(|(config, _)| (config.payment_mode, config.ledger_retention));
    assert_eq!(read(&[]).unwrap(), (PaymentMode::Live, None));
    assert_eq!(read(&[("PAYMENT_MODE", "Live")]).unwrap(), (PaymentMode::Live, None));
    let days = Duration::from_secs(90 * 24 * 3600);
    assert_eq!(
        read(&[("PAYMENT_MODE", "test"), ("LEDGER_RETENTION_DAYS", "90")]).unwrap(),
        (PaymentMode::Test, Some(days))
    );
    for (name, value) in [("PAYMENT_MODE", "production"), ("LEDGER_RETENTION_DAYS", "0")] {
        assert_eq!(locations(&read(&[(name, value)]).unwrap_err()), [name]);
    }
}

#[test]
fn the_twilio_host_follows_edge_and_region() {
    let sync = "https://sync.twilio.com";
    for (variables, base, sync_base) in [
        (&[("TWILIO_EDGE", "sydney"), ("TWILIO_REGION", "au1")][..], "https://api.sydney.au1.twilio.com", sync),
        (&[("TWILIO_REGION", "au1")], "https://api.au1.twilio.com", sync),
        (&[("TWILIO_EDGE", "dublin")], "https://api.dublin.us1.twilio.com", sync),
        (&[("TWILIO_API_BASE_URL", "http://127.0.0.1:4010/")], "http://127.0.0.1:4010", "http://127.0.0.1:4010"),
    ] {
        let twilio = with(variables).unwrap().0.twilio;
        assert_eq!((twilio.api_base.as_str(), twilio.sync_base.as_str()), (base, sync_base));
    }
}

#[test]
fn the_twilio_configuration_needs_its_own_variables_only() {
    let vars = [("ACCOUNT_SID", "AC1"), ("AUTH_TOKEN", "hush-auth-token-0"), ("FROM_NUMBER", "+15550001111")];
    assert_eq!(TwilioConfig::from_vars(&vars.into_iter().collect()).unwrap().0.account_sid, "AC1");
    assert_eq!(
        locations(&TwilioConfig::from_vars(&Vars::default()).unwrap_err()),
        ["ACCOUNT_SID", "AUTH_TOKEN", "FROM_NUMBER"]
    );
}

#[test]
fn probable_mistakes_are_warnings() {
    for (name, value, warning) in [
        ("PAYMENT_CONNECTOR", "PC00000000000000000000000000000001", ConfigWarning::ConnectorSid),
        ("PAYMENT_CONNECTOR", "PCxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", ConfigWarning::ConnectorSid),
        ("SERVER_BASE_URL", "http://localhost:3001", ConfigWarning::LocalBaseUrl),
        ("SERVER_BASE_URL", "http://pay.internal", ConfigWarning::PlainHttp("SERVER_BASE_URL")),
        ("OPENAI_BASE_URL", "http://model/v1", ConfigWarning::PlainHttp("OPENAI_BASE_URL")),
        ("TWILIO_API_BASE_URL", "http://twilio.lan", ConfigWarning::PlainHttp("TWILIO_API_BASE_URL")),
        ("FLOWISE_URL", "https://flowise.example.com", ConfigWarning::FlowiseUnused),
        ("ACCOUNT_SID", "SK1", ConfigWarning::UnexpectedSidPrefix { variable: "ACCOUNT_SID", prefix: "AC" }),
    ] {
        let (_, warnings) = with(&[("LIVE_AGENT_NUMBER", "+15550002222"), (name, value)]).unwrap();
        assert_eq!(warnings, [warning], "{name}");
    }
    let connector = [("LIVE_AGENT_NUMBER", "+15550002222"), ("PAYMENT_CONNECTOR", "PCI_connector")];
    assert_eq!(with(&connector).unwrap().1, [], "a name with the same prefix is allowed");
    let twice = [("TWILIO_EDGE", "sydney"), ("TWILIO_API_BASE_URL", "https://example.com")];
    assert!(with(&twice).unwrap().1.contains(&ConfigWarning::EdgeIgnored));
}

/// A set-up that is known to be insecure is an error that says how to allow it, and a warning if it is allowed.
#[track_caller]
fn is_refused_unless_allowed(vars: &[(&str, &str)], place: &str, name: &str) {
    let problems = with(vars).unwrap_err();
    assert_eq!(locations(&problems), [place]);
    let problem = problems.iter().next().unwrap();
    assert!(problem.expected.ends_with(&format!("ALLOW_INSECURE={name} if this is meant")), "{problem:?}");
    let allowed = [vars, &[("ALLOW_INSECURE", name)]].concat();
    let (_, warnings) = with(&allowed).unwrap();
    let is_named =
        |warning: &ConfigWarning| warning.to_string().ends_with(&format!("allowed by ALLOW_INSECURE={name}"));
    assert_eq!(warnings.iter().filter(|warning| is_named(warning)).count(), 1, "{warnings:?}");
    let others = ["short-tokens", "unsigned-webhooks", "readable-files", "plain-http"]
        .map(|other| if other == name { "" } else { other });
    assert!(with(&[vars, &[("ALLOW_INSECURE", &others.join(","))]].concat()).is_err(), "another name allows nothing");
}

#[test]
fn insecure_set_ups_are_refused_unless_allowed_by_name() {
    let webhook = ("PAYMENT_WEBHOOK_URL", "https://shop.example.com/payments");
    let own_address = ("SERVER_BASE_URL", "http://127.0.0.1:3001");
    for (name, value) in [
        ("AUTH_TOKEN", "hush"),
        ("AUTH_TOKEN", "hush-hush-hush-"),
        ("AUTH_TOKEN_SECONDARY", "hush"),
        ("OPERATOR_TOKEN", "hush"),
        ("OPERATOR_TOKENS", "ann:hush-hush-hush-hush,bob:hush"),
        ("TWILIO_WEBHOOK_SHARED_KEYS", "WK1:hush-hush-hush-hush,WK2:hush"),
    ] {
        is_refused_unless_allowed(&[(name, value)], name, "short-tokens");
    }
    is_refused_unless_allowed(&[webhook, ("PAYMENT_WEBHOOK_SECRET", "hush")], "PAYMENT_WEBHOOK_SECRET", "short-tokens");
    let unsigned = ("VALIDATE_TWILIO_SIGNATURE", "false");
    is_refused_unless_allowed(&[unsigned], unsigned.0, "unsigned-webhooks");
    is_refused_unless_allowed(&[unsigned, ("SERVER_BASE_URL", "10.0.0.7")], unsigned.0, "unsigned-webhooks");
    let (config, warnings) = with(&[unsigned, own_address]).unwrap();
    assert!(warnings.contains(&ConfigWarning::SignatureUnchecked));
    assert_eq!(config.bind, [std::net::IpAddr::from([127, 0, 0, 1])], "others do not reach it");
    assert!(with(&[own_address]).unwrap().0.bind.is_empty(), "every address");
    is_refused_unless_allowed(&[unsigned, own_address, ("BIND", "0.0.0.0")], unsigned.0, "unsigned-webhooks");
    for (name, value) in [
        ("SERVER_BASE_URL", "http://pay.example.com"),
        ("OPENAI_BASE_URL", "http://model.example.com/v1"),
        ("TWILIO_API_BASE_URL", "http://twilio.example.com"),
    ] {
        is_refused_unless_allowed(&[(name, value)], name, "plain-http");
    }
    assert_eq!(locations(&with(&[("ALLOW_INSECURE", "everything")]).unwrap_err()), ["ALLOW_INSECURE"]);
}

#[test]
fn a_ledger_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let file = tempfile::NamedTempFile::new().unwrap();
    let url = format!("sqlite://{}", file.path().display());
    let set_mode = |mode| file.as_file().set_permissions(std::fs::Permissions::from_mode(mode)).unwrap();
    for mode in [0o644, 0o640, 0o604, 0o620] {
        set_mode(mode);
        is_refused_unless_allowed(&[("DATABASE_URL", &url)], "DATABASE_URL", "readable-files");
    }
    for mode in [0o600, 0o400, 0o700] {
        set_mode(mode);
        assert!(with(&[("DATABASE_URL", &url)]).is_ok(), "{mode:o}");
    }
}

#[test]
fn on_fly_a_ledger_is_not_on_the_disk_that_goes_with_the_machine() {
    let database = |url| with(&[("FLY_PRIVATE_IP", "fdaa:0:1:a7b::2"), ("DATABASE_URL", url)]);
    assert_eq!(locations(&database("sqlite:///no-such-directory/ledger.db").unwrap_err()), ["DATABASE_URL"]);
    assert!(database("sqlite:///dev/shm/ledger.db").is_ok(), "another file system");
    assert!(with(&[("DATABASE_URL", "sqlite:///no-such-directory/ledger.db")]).is_ok(), "not on Fly");
}

#[test]
fn the_example_file_names_every_variable_and_its_default() {
    let example = include_str!("../../.env.example");
    let lines = example.lines().map(|line| line.strip_prefix('#').unwrap_or(line));
    let named: BTreeMap<&str, &str> = lines
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'))
        .collect();
    // Logging starts before the configuration is read.
    let mut known: BTreeSet<&str> =
        REQUIRED.iter().map(|(name, _)| *name).chain(OPTIONAL).chain(["RUST_LOG"]).collect();
    // Fly sets it.
    known.remove("FLY_PRIVATE_IP");
    assert_eq!(named.keys().copied().collect::<BTreeSet<_>>(), known);

    let chosen = [
        "BIND",
        "MAX_CONNECTIONS",
        "CALL_PARAMETERS_URL",
        "PAYMENT_WEBHOOK_SECRET",
        "PAYMENT_WEBHOOK_PREVIOUS_SECRET",
        "LEDGER_RETENTION_DAYS",
        "SEALING_KEY",
        "INSTANCE_ADDRESS",
        "BUSINESS_NAME",
        "BUSINESS_PHONE",
        "LIVE_AGENT_NUMBER",
        "SMS_ALLOWED_NUMBERS",
        "OUTBOUND_ALLOWED",
        "LIVE_AGENT_WORKFLOW_SID",
        "OPENAI_REASONING_EFFORT",
        "OPENAI_SERVICE_TIER",
        "OPENAI_MAX_OUTPUT_TOKENS",
        "OPENAI_PRICES",
        "METRICS_PORT",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "PLAY_MEDIA_HOSTS",
        "TWILIO_EDGE",
        "TWILIO_REGION",
        "TWILIO_API_BASE_URL",
        "ASSETS_DIR",
        "PAYMENT_WEBHOOK_URL",
        "FLOWISE_URL",
        "FLOWISE_CHATFLOW_ID",
        "FLOWISE_ALLOWED_CHATFLOWS",
        "FLOWISE_API_KEY",
    ];
    let defaults: Vec<(&str, &str)> =
        named.into_iter().filter(|(name, _)| OPTIONAL.contains(name) && !chosen.contains(name)).collect();
    let (spelt_out, left_out) = (with(&defaults).unwrap().0, with(&[]).unwrap().0);
    assert_eq!(format!("{spelt_out:?}"), format!("{left_out:?}"));
}

#[test]
fn debug_shows_no_secret() {
    let secrets = [
        ("API_KEY", "SK1"),
        ("API_SECRET", "hush-secret"),
        ("OPERATOR_TOKEN", "hush-operator-token"),
        ("PAYMENT_WEBHOOK_URL", "https://shop.example.com/"),
        ("PAYMENT_WEBHOOK_SECRET", "hush-webhook-secret"),
        ("PAYMENT_WEBHOOK_PREVIOUS_SECRET", "hush-previous-secret"),
    ];
    let (config, _) = with(&secrets).unwrap();
    assert!(!format!("{config:?}").contains("hush"));
}

proptest! {
    /// A misplaced value is often a secret.
    #[test]
    fn no_value_is_ever_reported(values in prop::collection::vec(prop::option::of("(https?://|\\+|)hush[\\PC\n]{0,8}"), REQUIRED.len() + OPTIONAL.len())) {
        let names = REQUIRED.iter().map(|(name, _)| *name).chain(OPTIONAL);
        let vars = names.zip(&values).filter_map(|(name, value)| Some((name, value.as_deref()?))).collect();
        let report = match Config::from_vars(&vars) {
            Ok((_, warnings)) => format!("{warnings:?}"),
            Err(problems) => format!("{problems} {problems:?}"),
        };
        prop_assert!(!report.contains("hush"));
    }
}

#[test]
fn outbound_calls_go_to_the_country_of_the_number_or_to_what_is_listed() {
    let rule = |vars: &[(&str, &str)]| with(vars).unwrap().0;
    let number = |text: &str| text.parse::<crate::phone_number::PhoneNumber>().unwrap();
    let german = rule(&[("FROM_NUMBER", "+4930123456")]);
    assert!(german.destinations.check(&number("+4989123456")).is_ok());
    assert!(german.destinations.check(&number("+15550100001")).is_err());
    assert_eq!(german.outbound_per_minute, 30);
    let listed = rule(&[("OUTBOUND_ALLOWED", "+44, +4989,"), ("OUTBOUND_PER_MINUTE", "5")]);
    assert!(listed.destinations.check(&number("+4989123456")).is_ok());
    assert!(listed.destinations.check(&number("+15550100001")).is_err());
    assert_eq!(listed.outbound_per_minute, 5);
    for (name, value) in [
        ("OUTBOUND_ALLOWED", "1"),
        ("OUTBOUND_ALLOWED", "+1, all"),
        ("OUTBOUND_PER_MINUTE", "0"),
        ("LIVE_AGENT_NUMBER", "+19115550100"),
    ] {
        assert_eq!(locations(&with(&[(name, value)]).unwrap_err()), [name], "{value}");
    }
}

#[test]
fn the_name_of_the_business_can_be_spoken() {
    let name = |text: &str| with(&[("BUSINESS_NAME", text)]).map(|(config, _)| config.business_name);
    assert_eq!(name(" Müller & Söhne ").unwrap().as_deref(), Some("Müller & Söhne"));
    assert_eq!(name(&"ß".repeat(80)).unwrap().unwrap().chars().count(), 80);
    assert_eq!(name("").unwrap(), None);
    for invalid in ["A\u{7}cme", "A\ncme", "Ac\u{ffff}me", &"a".repeat(81)] {
        assert_eq!(locations(&name(invalid).unwrap_err()), ["BUSINESS_NAME"], "{invalid:?}");
    }
}
