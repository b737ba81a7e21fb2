//! The configuration of the server: one value, read from variables, with every mistake reported at once.
//!
//! How calls are led is not here: that is `serverConfig.json` and its companions, in `assets`.

mod problem;
mod public_url;
mod reading;
#[cfg(test)]
mod tests;
mod values;
mod vars;
mod warning;

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::payment;
use crate::phone_number::PhoneNumber;
use crate::signing::Secrets;

pub use problem::{Problem, Problems};
pub use public_url::{BadPublicUrl, PublicUrl};
pub use vars::Vars;
pub use warning::Warning;

use reading::Reading;

/// Everything that the environment decides. `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct Config {
    /// `PORT` (3001): the port to listen on; 0 lets the system choose.
    pub port: u16,
    /// `PORT_FALLBACK` (true): a busy port gives way to the next free one, instead of being an error.
    pub port_fallback: bool,
    /// `SERVER_BASE_URL`, required: where Twilio reaches this server.
    pub base_url: PublicUrl,
    /// `ASSETS_DIR` (assets): the directory with contexts, manifests and serverConfig.json. If it is set, it is there.
    pub assets_dir: PathBuf,
    /// `OPERATOR_TOKEN`: what an operator's request must bear; without it there are no operator's endpoints.
    pub operator_token: Option<SecretString>,
    /// `VALIDATE_TWILIO_SIGNATURE` (true): whether a request must be signed by Twilio.
    pub validate_signature: bool,
    /// The model.
    pub openai: OpenAi,
    /// Twilio's REST API.
    pub twilio: Twilio,
    /// What every payment has in common.
    pub payment: payment::Settings,
    /// `CALL_PARAMETERS_URL`: who tells what a call that comes in is about.
    pub call_parameters: Option<Business>,
    /// `DATABASE_URL` (`sqlite://data/crelay-payments.db`): the file of the ledger; made if it is missing.
    pub database: PathBuf,
    /// Whether the ledger is used although it is a copy of another server's: `serve --take-over`, no variable.
    pub take_over: bool,
    /// `PAYMENT_WEBHOOK_URL`: who is told what becomes of payments.
    pub webhook: Option<Business>,
    /// `PAYMENT_MODE` (live). It is stored with each payment.
    pub mode: PaymentMode,
    /// `TOKEN_RETENTION_HOURS` (72): how long a payment token is kept that was not delivered.
    pub token_retention: Duration,
    /// `LEDGER_RETENTION_DAYS`: how long the ledger keeps the personal data of a payment; without it, for ever.
    pub ledger_retention: Option<Duration>,
    /// `LIVE_AGENT_NUMBER`, in E.164 form: who takes over a call that is handed off.
    pub live_agent_number: Option<PhoneNumber>,
    /// `LIVE_AGENT_WORKFLOW_SID`: the TaskRouter workflow that finds a person; it goes before the number.
    pub live_agent_workflow: Option<String>,
    /// `RESUME_SECONDS` (60): how long a call whose socket broke waits for a new one.
    pub resume: Duration,
    /// `DRAIN_SECONDS` (300): how long live calls may go on after the server was told to stop.
    pub drain: Duration,
    /// `SMS_ALLOWED_NUMBERS`: to whom text messages may be sent beside the caller; nobody by default.
    pub sms_allowed: Vec<PhoneNumber>,
    /// `PLAY_MEDIA_HOSTS`: from where recordings may be played, over https; none by default.
    pub play_media_hosts: Vec<String>,
}

/// Whether the connector moves real money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PaymentMode {
    /// It does.
    #[default]
    Live,
    /// It is in test mode.
    Test,
}

/// How to reach the model.
#[derive(Debug, Clone)]
pub struct OpenAi {
    /// `OPENAI_API_KEY`, required. It can stand in a header.
    pub api_key: SecretString,
    /// `OPENAI_MODEL` (gpt-4o).
    pub model: String,
    /// `OPENAI_BASE_URL` (`https://api.openai.com/v1`), without a slash at its end.
    pub base_url: String,
}

/// How to reach Twilio, and as whom.
#[derive(Debug, Clone)]
pub struct Twilio {
    /// `ACCOUNT_SID`, required. It can stand in a path.
    pub account_sid: String,
    /// `AUTH_TOKEN`, required: signs what Twilio sends, and is the password of the REST API where there is no API key.
    pub auth_token: SecretString,
    /// `API_KEY` and `API_SECRET`, only together: the REST API's user and password in place of account and token.
    pub api_key: Option<ApiKey>,
    /// `FROM_NUMBER`, required: the Twilio number of this server.
    pub from_number: PhoneNumber,
    /// Scheme, host and port of the REST API, without a slash at its end: from `TWILIO_EDGE` and `TWILIO_REGION`, or
    /// `TWILIO_API_BASE_URL`.
    pub api_base: String,
    /// Scheme, host and port of Twilio Sync, without a slash at its end: `TWILIO_API_BASE_URL`, or
    /// `https://sync.twilio.com`, since it is not known to follow an edge or a region.
    pub sync_base: String,
}

/// A Twilio API key.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// `API_KEY`: `SK…`.
    pub sid: String,
    /// `API_SECRET`.
    pub secret: SecretString,
}

/// Where the business is reached.
#[derive(Debug, Clone)]
pub struct Business {
    /// https, or plain http on this machine.
    pub url: Url,
    /// `PAYMENT_WEBHOOK_SECRET` and `PAYMENT_WEBHOOK_PREVIOUS_SECRET`: requests are signed with each that is set.
    pub secrets: Secrets,
}

/// `DATABASE_URL` if it is not set.
const DATABASE: &str = "sqlite://data/crelay-payments.db";

/// The command line's share of a configuration: where the ledger is.
pub fn database(vars: &Vars) -> Result<PathBuf, Problems> {
    let mut reading = Reading::new(vars);
    let path = database_path(&mut reading);
    reading.finish(path).map(|(path, _)| path)
}

/// The secret that signs requests to the business has so many characters at least.
const BUSINESS_SECRET_LENGTH: usize = 16;

/// An operator's token with fewer characters draws a warning.
const OPERATOR_TOKEN_LENGTH: usize = 16;

impl Config {
    /// Reads a configuration. It is whole and usable, with warnings; or all that must be mended is listed.
    pub fn from_vars(vars: &Vars) -> Result<(Self, Vec<Warning>), Problems> {
        let mut reading = Reading::new(vars);
        let config = read(&mut reading);
        reading.finish(config)
    }
}

impl Twilio {
    /// Reads what Twilio's REST APIs need, and nothing else.
    pub fn from_vars(vars: &Vars) -> Result<(Self, Vec<Warning>), Problems> {
        let mut reading = Reading::new(vars);
        let twilio = twilio(&mut reading);
        reading.finish(twilio)
    }
}

fn read(vars: &mut Reading<'_>) -> Option<Config> {
    let port = vars.optional("PORT", values::port, "a number from 0 to 65535, such as 3001");
    let base_url = vars.required(
        "SERVER_BASE_URL",
        str::parse::<PublicUrl>,
        "the public address of this server, such as https://pay.example.com",
    );
    let openai = openai(vars);
    let twilio = twilio(vars);
    let payment = payment(vars);
    let database = database_path(vars);
    let (call_parameters, webhook) = business(vars);
    let due_required = call_parameters_required(vars);
    let token_retention = vars.optional("TOKEN_RETENTION_HOURS", values::hours, "whole hours, from 1 to 8760");
    let mode = vars.optional("PAYMENT_MODE", values::payment_mode, "live or test");
    let ledger_retention = vars.optional("LEDGER_RETENTION_DAYS", values::days, "whole days, from 1 to 36500");
    let live_agent_number = vars.optional("LIVE_AGENT_NUMBER", values::phone_number, PHONE_NUMBER);
    let live_agent_workflow =
        vars.optional("LIVE_AGENT_WORKFLOW_SID", values::name, "the SID of a TaskRouter workflow (WW…)");
    let resume = vars.optional("RESUME_SECONDS", values::seconds, SECONDS);
    let drain = vars.optional("DRAIN_SECONDS", values::seconds, SECONDS);
    let play_media_hosts = vars.optional(
        "PLAY_MEDIA_HOSTS",
        values::hosts,
        "host names with commas between them, such as media.example.com",
    );
    let sms_allowed =
        vars.optional("SMS_ALLOWED_NUMBERS", values::phone_numbers, "phone numbers with commas between them");
    let operator_token = vars.optional("OPERATOR_TOKEN", values::token, "a long random text without spaces");
    let assets_dir =
        vars.optional("ASSETS_DIR", values::directory, "a directory, or nothing for the assets that are built in");
    let port_fallback = flag(vars, "PORT_FALLBACK", true);
    let validate_signature = flag(vars, "VALIDATE_TWILIO_SIGNATURE", true);

    vars.warn_if(!validate_signature, Warning::SignatureUnchecked);
    let staffed = vars.is_set("LIVE_AGENT_NUMBER") || vars.is_set("LIVE_AGENT_WORKFLOW_SID");
    vars.warn_if(!staffed, Warning::NoLiveAgent);
    let short = operator_token.as_ref().is_some_and(|token| token.len() < OPERATOR_TOKEN_LENGTH);
    vars.warn_if(short, Warning::ShortOperatorToken(OPERATOR_TOKEN_LENGTH));
    if let Some(url) = &base_url {
        vars.warn_if(url.is_local(), Warning::Unreachable);
        vars.warn_if(url.is_plain_http() && !url.is_local(), Warning::PlainHttp("SERVER_BASE_URL"));
    }
    Some(Config {
        port: port.unwrap_or(3001),
        port_fallback,
        base_url: base_url?,
        assets_dir: assets_dir.unwrap_or_else(|| PathBuf::from("assets")),
        operator_token: operator_token.map(SecretString::from),
        validate_signature,
        openai: openai?,
        twilio: twilio?,
        payment: payment::Settings { due_required, ..payment? },
        call_parameters,
        database: database?,
        take_over: false,
        webhook,
        mode: mode.unwrap_or_default(),
        ledger_retention,
        token_retention: token_retention.unwrap_or(Duration::from_secs(72 * 3600)),
        live_agent_number,
        live_agent_workflow,
        resume: resume.unwrap_or(Duration::from_secs(60)),
        drain: drain.unwrap_or(Duration::from_secs(300)),
        sms_allowed: sms_allowed.unwrap_or_default(),
        play_media_hosts: play_media_hosts.unwrap_or_default(),
    })
}

const AMOUNT: &str = "decimal text above zero, such as 0.50, with no more decimals than CURRENCY has";
const BUSINESS_URL: &str =
    "an https URL of your own, such as https://shop.example.com/calls; http only on this machine";
const BUSINESS_SECRET: &str = "a long random text without spaces: openssl rand -hex 32";
const SECONDS: &str = "whole seconds, from 1 to 3600";
const PHONE_NUMBER: &str = "a plus sign, the country code and the number, such as +15550001111";

fn database_path(vars: &mut Reading<'_>) -> Option<PathBuf> {
    let mend = "sqlite:// and the path of a file, such as sqlite://data/crelay-payments.db";
    let path = vars.optional("DATABASE_URL", values::sqlite_file, mend);
    if path.is_none() && vars.is_set("DATABASE_URL") {
        return None;
    }
    path.or_else(|| values::sqlite_file(DATABASE).ok())
}

/// `CALL_PARAMETERS_URL` and `PAYMENT_WEBHOOK_URL`, which are signed with the same secrets.
fn business(vars: &mut Reading<'_>) -> (Option<Business>, Option<Business>) {
    const SECRET: &str = "PAYMENT_WEBHOOK_SECRET";
    const PREVIOUS: &str = "PAYMENT_WEBHOOK_PREVIOUS_SECRET";
    const URLS: [&str; 2] = ["CALL_PARAMETERS_URL", "PAYMENT_WEBHOOK_URL"];
    let urls = URLS.map(|url| vars.optional(url, values::business_url, BUSINESS_URL));
    let secret = business_secret(vars, SECRET);
    let previous = business_secret(vars, PREVIOUS);
    let reached = URLS.iter().any(|url| vars.is_set(url));
    if reached && !vars.is_set(SECRET) {
        vars.problem(SECRET, "is not set, and requests to the business are signed with it", BUSINESS_SECRET);
    }
    if vars.is_set(SECRET) && !reached {
        vars.problem(URLS[1], "is not set, and PAYMENT_WEBHOOK_SECRET is", BUSINESS_URL);
    }
    if vars.is_set(PREVIOUS) && !vars.is_set(SECRET) && !reached {
        vars.problem(PREVIOUS, "is set, and PAYMENT_WEBHOOK_SECRET is not", "both, or neither");
    }
    let secrets = secret.map(|secret| Secrets::new(secret, previous));
    let [call_parameters, webhook] = urls.map(|url| Some(Business { url: url?, secrets: secrets.clone()? }));
    (call_parameters, webhook)
}

/// Whether no payment starts without what the business has to say: `CALL_PARAMETERS`.
fn call_parameters_required(vars: &mut Reading<'_>) -> bool {
    let mend = "required or optional";
    let required = vars.optional("CALL_PARAMETERS", values::required, mend).unwrap_or(false);
    if required && !vars.is_set("CALL_PARAMETERS_URL") {
        vars.problem("CALL_PARAMETERS_URL", "is not set, and CALL_PARAMETERS is required", BUSINESS_URL);
    }
    required
}

fn business_secret(vars: &mut Reading<'_>, variable: &str) -> Option<SecretString> {
    let secret = vars.optional(variable, values::token, BUSINESS_SECRET)?;
    if secret.len() < BUSINESS_SECRET_LENGTH {
        vars.problem(variable, "has fewer than 16 characters", BUSINESS_SECRET);
    }
    Some(secret.into())
}

fn openai(vars: &mut Reading<'_>) -> Option<OpenAi> {
    let api_key = vars.required("OPENAI_API_KEY", values::token, "the secret key of your OpenAI project (sk-…)");
    let model = vars.optional("OPENAI_MODEL", values::name, "the name of a model, such as gpt-4o");
    let base_url = vars.optional("OPENAI_BASE_URL", values::base_url, "a URL such as https://api.openai.com/v1");
    vars.warn_if(base_url.as_ref().is_some_and(values::is_exposed), Warning::PlainHttp("OPENAI_BASE_URL"));
    Some(OpenAi {
        api_key: api_key?.into(),
        model: model.unwrap_or_else(|| "gpt-4o".to_owned()),
        base_url: base_url.map_or_else(|| "https://api.openai.com/v1".to_owned(), |url| values::without_slash(&url)),
    })
}

fn twilio(vars: &mut Reading<'_>) -> Option<Twilio> {
    let account_sid = vars.required("ACCOUNT_SID", values::label, "the account SID from Twilio's console (AC…)");
    let auth_token =
        vars.required("AUTH_TOKEN", values::token, "the account's primary auth token from Twilio's console");
    let api_key = api_key(vars);
    let from_number = vars.required("FROM_NUMBER", values::phone_number, PHONE_NUMBER);
    let (api_base, sync_base) = twilio_bases(vars);

    let unusual = account_sid.as_ref().is_some_and(|sid| !sid.starts_with("AC"));
    vars.warn_if(unusual, Warning::UnusualSid { variable: "ACCOUNT_SID", prefix: "AC" });
    Some(Twilio {
        account_sid: account_sid?,
        auth_token: auth_token?.into(),
        api_key,
        from_number: from_number?,
        api_base,
        sync_base,
    })
}

fn api_key(vars: &mut Reading<'_>) -> Option<ApiKey> {
    let sid = vars.optional("API_KEY", values::label, "the SID of a Twilio API key (SK…)");
    let secret = vars.optional("API_SECRET", values::token, "the secret of the API key");
    for (set, missing) in [("API_KEY", "API_SECRET"), ("API_SECRET", "API_KEY")] {
        if vars.is_set(set) && !vars.is_set(missing) {
            vars.problem(missing, "is not set", "both API_KEY and API_SECRET, or neither");
        }
    }
    let unusual = sid.as_ref().is_some_and(|sid| !sid.starts_with("SK"));
    vars.warn_if(unusual, Warning::UnusualSid { variable: "API_KEY", prefix: "SK" });
    Some(ApiKey { sid: sid?, secret: secret?.into() })
}

/// `https://api[.edge][.region].twilio.com`, where an edge without a region is one of `us1`; and Sync's, which has one.
fn twilio_bases(vars: &mut Reading<'_>) -> (String, String) {
    let origin =
        vars.optional("TWILIO_API_BASE_URL", values::origin, "scheme, host and port, such as https://example.com");
    let edge = vars.optional("TWILIO_EDGE", values::label, "the name of an edge, such as sydney");
    let region = vars.optional("TWILIO_REGION", values::label, "the name of a region, such as au1");
    if let Some(origin) = origin {
        vars.warn_if(edge.is_some() || region.is_some(), Warning::EdgeUnused);
        vars.warn_if(values::is_exposed(&origin), Warning::PlainHttp("TWILIO_API_BASE_URL"));
        let origin = values::without_slash(&origin);
        return (origin.clone(), origin);
    }
    let api = match (edge, region) {
        (None, None) => "https://api.twilio.com".to_owned(),
        (None, Some(region)) => format!("https://api.{region}.twilio.com"),
        (Some(edge), region) => format!("https://api.{edge}.{}.twilio.com", region.as_deref().unwrap_or("us1")),
    };
    (api, "https://sync.twilio.com".to_owned())
}

fn payment(vars: &mut Reading<'_>) -> Option<payment::Settings> {
    let connector =
        vars.required("PAYMENT_CONNECTOR", values::name, "the unique name of the Pay connector, such as Default");
    let currency = vars.optional("CURRENCY", values::currency, "a three-letter ISO 4217 code, such as USD");
    let currency = currency.unwrap_or(payment::Currency::USD);
    let limits = charge_limits(vars, currency);
    let max_due = limits.and_then(|limits| max_due(vars, limits.most()));
    let token_type = vars.optional("TOKEN_TYPE", values::token_type, "one-time, reusable or payment-method");
    let security_code = flag(vars, "INCLUDE_CVC", true);
    let postal_code = flag(vars, "INCLUDE_POSTAL_CODE", false);

    vars.warn_if(connector.as_deref().is_some_and(is_connector_sid), Warning::ConnectorSid);
    Some(payment::Settings {
        connector: connector?,
        currency,
        limits: limits?,
        max_due: max_due?,
        due_required: false,
        token_type: token_type.unwrap_or(payment::TokenType::OneTime),
        security_code,
        postal_code,
        options: payment::Options::default(),
    })
}

/// What may be charged on a call that does not say what is due. Half a unit is nothing in a currency without decimals.
fn charge_limits(vars: &mut Reading<'_>, currency: payment::Currency) -> Option<payment::ChargeLimits> {
    let default = |text| payment::Amount::parse(text, currency).ok().flatten();
    let mut limit = |variable, default: Option<payment::Amount>| {
        let set = vars.is_set(variable);
        let limit = vars.optional(variable, |text| values::amount(text, currency), AMOUNT);
        if set { limit } else { default }
    };
    let least = limit("MIN_CHARGE", default("0.50").or_else(|| default("1")));
    let most = limit("MAX_CHARGE", default("1000"));
    let limits = payment::ChargeLimits::new(least?, most?);
    if limits.is_err() {
        vars.problem("MAX_CHARGE", "is less than MIN_CHARGE", AMOUNT);
    }
    limits.ok()
}

/// The most that a call may bring as due; ten times the most that may be charged without that, if nothing is set.
fn max_due(vars: &mut Reading<'_>, most: payment::Amount) -> Option<payment::MaxDue> {
    let default = payment::AmountCap::ten_times(most);
    let mend = "amounts in major units with commas between them, such as 10000.00, 9000 EUR";
    let set = vars.is_set("MAX_DUE");
    let max_due = vars.optional("MAX_DUE", |text| payment::MaxDue::read(text, default), mend);
    if set { max_due } else { Some(payment::MaxDue::new(default)) }
}

/// Whether the name of a connector looks like its SID: `PC` and 32 hexadecimal digits; examples write `x` for them.
pub(crate) fn is_connector_sid(name: &str) -> bool {
    let digits = name.strip_prefix("PC").unwrap_or_default();
    digits.len() >= 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'x')
}

fn flag(vars: &mut Reading<'_>, variable: &str, default: bool) -> bool {
    vars.optional(variable, values::boolean, "true or false").unwrap_or(default)
}
