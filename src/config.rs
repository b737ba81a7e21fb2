//! The configuration of the server, read from variables.
//!
#![doc = include_str!("config/README.md")]

mod database_url;
mod exposure;
mod insecure;
mod openai;
mod operators;
mod prices;
mod problem;
mod public_url;
mod reader;
mod response_service;
#[cfg(test)]
mod tests;
mod traces;
mod values;
mod vars;
mod warning;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::observation::Recorder;
use crate::payment;
use crate::phone_number::{AllowedDestinations, DestinationError, PhoneNumber};
use crate::sealing::SealingKeys;
use crate::signing::SigningSecrets;

pub use database_url::{DatabaseUrl, ParsePostgresUrlError, PostgresUrl};
pub(crate) use exposure::is_this_machine;
pub use insecure::InsecureSetup;
pub use openai::{
    ApiBaseUrl, DEFAULT_BASE_URL, DEFAULT_MODEL, ModelTransport, OpenAiConfig, ParseApiBaseUrlError, ParseWordError,
    ReasoningEffort, ServiceTier, Setting,
};
pub use operators::{OperatorName, OperatorTokens, ParseOperatorNameError};
pub use prices::{ModelPrices, ParsePriceTableError, PriceTable};
pub use problem::{ConfigError, ConfigProblem};
pub use public_url::{ParsePublicUrlError, PublicUrl};
pub use response_service::{FlowiseConfig, FlowiseVariable, ParseFlowiseVariableError, ResponseServiceConfig};
pub use traces::{TraceSampler, TracesConfig};
pub use vars::Vars;
pub use warning::ConfigWarning;

use openai::read_openai;
use reader::ConfigReader;

/// The configuration from the environment. `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct Config {
    /// `PORT` (3001): the port to listen on; with 0 the system chooses one.
    pub port: u16,
    /// `PORT_FALLBACK` (true): whether the next free port is used if `PORT` is busy.
    pub port_fallback: bool,
    /// `BIND`: the addresses to listen on; if empty, all addresses of IPv6 and IPv4.
    pub bind: Vec<IpAddr>,
    /// `METRICS_PORT` and `METRICS_HOST` (127.0.0.1): where metrics are read without a token; nowhere by default.
    pub metrics_address: Option<SocketAddr>,
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`: where traces are sent to; nowhere by default.
    pub traces: Option<TracesConfig>,
    /// `MAX_CONNECTIONS`: how many connections are open at once; by default half of the descriptors, at most 20,000.
    pub max_connections: Option<usize>,
    /// `MAX_CONNECTIONS_PER_ADDRESS` (2000): how many connections of one address wait at once for something on them to be
    /// authenticated.
    pub max_connections_per_address: usize,
    /// `SERVER_BASE_URL`, required: the address at which Twilio reaches this server.
    pub base_url: PublicUrl,
    /// `ASSETS_DIR` (assets): the directory with contexts, manifests and `serverConfig.json`. A configured directory
    /// must exist.
    pub assets_dir: PathBuf,
    /// `OPERATOR_TOKEN` and `OPERATOR_TOKENS`: the bearer tokens of operator requests. Without one there are no operator
    /// endpoints.
    pub operator_tokens: OperatorTokens,
    /// `VALIDATE_TWILIO_SIGNATURE` (true): whether a request must be signed by Twilio.
    pub validate_signature: bool,
    /// What answers the caller.
    pub response_service: ResponseServiceConfig,
    /// Twilio's REST API.
    pub twilio: TwilioConfig,
    /// The settings of every payment.
    pub payment: payment::PaymentSettings,
    /// `CALL_PARAMETERS_URL`: the endpoint that returns the parameters of an incoming call.
    pub call_parameters: Option<BusinessEndpoint>,
    /// `DATABASE_URL` (`sqlite://data/crelay-payments.db`): the file of the ledger, created if missing, or its database.
    pub database: DatabaseUrl,
    /// `SEALING_KEY`: what seals the payment tokens in the ledger.
    pub sealing_keys: Option<SealingKeys>,
    /// `INSTANCE_ADDRESS`, required with a database: where the servers that share the ledger reach this one. Without a port
    /// it is the one that the server listens on.
    pub instance_address: Option<Url>,
    /// Whether to take over a ledger that is a copy of another server's: `serve --take-over`, not a variable.
    pub take_over: bool,
    /// Records what Twilio and the server exchange: `observe`, not a variable.
    pub recorder: Option<Recorder>,
    /// `PAYMENT_WEBHOOK_URL`: the endpoint that receives the outcomes of payments.
    pub webhook: Option<BusinessEndpoint>,
    /// `PAYMENT_WEBHOOK_SECRET` and `PAYMENT_WEBHOOK_PREVIOUS_SECRET`, with which every request to the business is signed.
    pub business_secrets: Option<SigningSecrets>,
    /// `TOOL_SERVER_TOKENS`: the bearer tokens of servers in `ToolServers`, by name; none by default.
    pub tool_server_tokens: BTreeMap<String, SecretString>,
    /// `PAYMENT_MODE` (live). It is stored with each payment.
    pub payment_mode: PaymentMode,
    /// `TOKEN_RETENTION_HOURS` (72): how long an undelivered payment token is kept.
    pub token_retention: Duration,
    /// `LEDGER_RETENTION_DAYS`: how long the ledger keeps the personal data of a payment; if unset, forever.
    pub ledger_retention: Option<Duration>,
    /// `LIVE_AGENT_NUMBER`, in E.164 format: the number to which calls are handed off.
    pub live_agent_number: Option<PhoneNumber>,
    /// `LIVE_AGENT_WORKFLOW_SID`: the TaskRouter workflow that finds a live agent. It takes precedence over the number.
    pub live_agent_workflow: Option<String>,
    /// `BUSINESS_NAME`: the name of the business, as callers hear it.
    pub business_name: Option<String>,
    /// `BUSINESS_PHONE`: the number that receipts name for questions.
    pub business_phone: Option<PhoneNumber>,
    /// `RESUME_SECONDS` (60): how long a call whose socket broke waits for a new one.
    pub resume_timeout: Duration,
    /// `DRAIN_SECONDS` (300): how long live calls may continue after the server was asked to stop.
    pub drain_timeout: Duration,
    /// `SMS_ALLOWED_NUMBERS`: the numbers, besides the caller's, that may receive text messages; none by default.
    pub sms_allowed: Vec<PhoneNumber>,
    /// `OUTBOUND_ALLOWED`: the numbers that may be called and texted; by default those of the country of `FROM_NUMBER`.
    pub destinations: AllowedDestinations,
    /// `OUTBOUND_PER_MINUTE` (30): the orders for calls that are accepted within a minute.
    pub outbound_per_minute: u32,
    /// `PLAY_MEDIA_HOSTS`: the hosts from which recordings may be played, over https; none by default.
    pub play_media_hosts: Vec<String>,
}

/// Whether the Pay connector moves real money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PaymentMode {
    /// The connector moves real money.
    #[default]
    Live,
    /// The connector is in test mode.
    Test,
}

/// Access to Twilio's APIs.
#[derive(Debug, Clone)]
pub struct TwilioConfig {
    /// `ACCOUNT_SID`, required. A valid path segment.
    pub account_sid: String,
    /// `AUTH_TOKEN`, required: the key of Twilio's request signatures, and the password of the REST API if there is no
    /// API key.
    pub auth_token: SecretString,
    /// `AUTH_TOKEN_SECONDARY`: another auth token that verifies Twilio's signatures, while the account's tokens are
    /// exchanged. It is not sent anywhere.
    pub secondary_auth_token: Option<SecretString>,
    /// `TWILIO_WEBHOOK_SHARED_KEYS`: the secrets of the shared keys with which Twilio may sign webhooks, by their ids.
    pub webhook_shared_keys: BTreeMap<String, SecretString>,
    /// `API_KEY` and `API_SECRET`, both or neither: the REST API's user and password instead of account and token.
    pub api_key: Option<TwilioApiKey>,
    /// `FROM_NUMBER`, required: the Twilio number of this server.
    pub from_number: PhoneNumber,
    /// Scheme, host and port of the REST API, without a trailing slash: from `TWILIO_EDGE` and `TWILIO_REGION`, or
    /// `TWILIO_API_BASE_URL`.
    pub api_base: String,
    /// Scheme, host and port of Twilio Sync, without a trailing slash: `TWILIO_API_BASE_URL`, or
    /// `https://sync.twilio.com`, since Sync is not documented to have edges or regions.
    pub sync_base: String,
    /// Scheme, host and port of the webhooks configuration API, without a trailing slash: `TWILIO_API_BASE_URL`, or
    /// `https://webhooks.twilio.com`. Only `check` asks it.
    pub webhooks_base: String,
}

/// A Twilio API key.
#[derive(Debug, Clone)]
pub struct TwilioApiKey {
    /// `API_KEY`: `SK…`.
    pub sid: String,
    /// `API_SECRET`.
    pub secret: SecretString,
}

/// An HTTP endpoint of the business.
#[derive(Debug, Clone)]
pub struct BusinessEndpoint {
    /// The URL: https, or http to this machine.
    pub url: Url,
    /// `PAYMENT_WEBHOOK_SECRET` and `PAYMENT_WEBHOOK_PREVIOUS_SECRET`: requests are signed with each one that is set.
    pub secrets: SigningSecrets,
}

/// The default of `DATABASE_URL`.
const DEFAULT_DATABASE_URL: &str = "sqlite://data/crelay-payments.db";

/// Reads where the ledger is, and its keys: all that most commands need. They need a key only for what is sealed.
pub fn ledger_from_vars(vars: &Vars) -> Result<(DatabaseUrl, Option<SealingKeys>), ConfigError> {
    let mut reading = ConfigReader::new(vars);
    let url = read_database_url(&mut reading);
    let keys = reading.read_optional("SEALING_KEY", str::parse, SEALING_KEY);
    reading.finish(url.map(|url| (url, keys))).map(|(ledger, _)| ledger)
}

/// Reads the secrets with which requests to the business are signed. `None` if there are none.
pub fn business_secrets_from_vars(vars: &Vars) -> Result<Option<SigningSecrets>, ConfigError> {
    let mut reading = ConfigReader::new(vars);
    let secrets = read_business_secrets(&mut reading);
    reading.finish(Some(secrets)).map(|(secrets, _)| secrets)
}

/// Parses a URL of the business: https, or http to this machine. The error is a predicate whose subject is the URL.
pub(crate) fn parse_business_url(text: &str) -> Result<Url, impl std::fmt::Display> {
    values::business_url(text)
}

impl Config {
    /// Reads the configuration. Returns it with warnings, or all errors.
    pub fn from_vars(vars: &Vars) -> Result<(Self, Vec<ConfigWarning>), ConfigError> {
        let mut reading = ConfigReader::new(vars);
        let config = read_config(&mut reading);
        reading.finish(config)
    }
}

impl TwilioConfig {
    /// Reads the variables of Twilio's REST APIs only.
    pub fn from_vars(vars: &Vars) -> Result<(Self, Vec<ConfigWarning>), ConfigError> {
        let mut reading = ConfigReader::new(vars);
        let twilio = read_twilio(&mut reading);
        reading.finish(twilio)
    }
}

fn read_config(vars: &mut ConfigReader<'_>) -> Option<Config> {
    let port = vars.read_optional("PORT", values::port, PORT);
    let bind = read_bind(vars);
    let max_connections = vars.read_optional("MAX_CONNECTIONS", values::connections, CONNECTIONS);
    let max_per_address = vars.read_optional("MAX_CONNECTIONS_PER_ADDRESS", values::connections, CONNECTIONS);
    let base_url = vars.read_required(
        "SERVER_BASE_URL",
        str::parse::<PublicUrl>,
        "the public address of this server, such as https://pay.example.com",
    );
    let response_service = response_service::read_response_service(vars);
    let twilio = read_twilio(vars);
    let payment = read_payment(vars);
    let (database, sealing_keys) = read_ledger(vars);
    let instance_address = read_instance_address(vars, database.as_ref());
    check_file_is_kept(vars, database.as_ref());
    let (call_parameters, webhook, business_secrets) = read_business_endpoints(vars);
    let due_required = read_call_parameters_required(vars);
    let tool_server_tokens = vars.read_optional(
        "TOOL_SERVER_TOKENS",
        values::named_tokens,
        "names of ToolServers with their tokens and commas between them, such as crm=a-secret-token",
    );
    let token_retention = vars.read_optional("TOKEN_RETENTION_HOURS", values::hours, "whole hours, from 1 to 8760");
    let mode = vars.read_optional("PAYMENT_MODE", values::payment_mode, "live or test");
    let ledger_retention = vars.read_optional("LEDGER_RETENTION_DAYS", values::days, "whole days, from 1 to 36500");
    let live_agent_number = vars.read_optional("LIVE_AGENT_NUMBER", values::phone_number, PHONE_NUMBER);
    let live_agent_workflow =
        vars.read_optional("LIVE_AGENT_WORKFLOW_SID", values::name, "the SID of a TaskRouter workflow (WW…)");
    let resume = vars.read_optional("RESUME_SECONDS", values::seconds, SECONDS);
    let drain = vars.read_optional("DRAIN_SECONDS", values::seconds, SECONDS);
    let sms_allowed =
        vars.read_optional("SMS_ALLOWED_NUMBERS", values::phone_numbers, "phone numbers with commas between them");
    let operator_tokens = operators::read_operator_tokens(vars);
    let (destinations, outbound_per_minute) = read_outbound(vars, twilio.as_ref(), live_agent_number.as_ref());
    let assets_dir = vars.read_optional("ASSETS_DIR", values::directory, ASSETS_DIRECTORY);
    let validate_signature = read_flag(vars, "VALIDATE_TWILIO_SIGNATURE", true);

    let has_live_agent = vars.is_set("LIVE_AGENT_NUMBER") || vars.is_set("LIVE_AGENT_WORKFLOW_SID");
    vars.warn_if(!has_live_agent, ConfigWarning::NoLiveAgent);
    if let Some(url) = &base_url {
        let is_exposed = !url.is_on_this_machine() || bind.iter().flatten().any(|address| !address.is_loopback());
        check_public_url(vars, url, validate_signature, is_exposed);
    }
    insecure::refuse_open_files(vars, database.as_ref().and_then(DatabaseUrl::file));
    vars.read_optional(insecure::ALLOW_INSECURE, insecure::parse_names, &insecure::expected_names());
    Some(Config {
        port: port.unwrap_or(DEFAULT_PORT),
        port_fallback: read_flag(vars, "PORT_FALLBACK", true),
        bind: bind.unwrap_or_else(|| default_addresses(base_url.as_ref(), validate_signature)),
        metrics_address: read_metrics_address(vars),
        traces: traces::read_traces(vars),
        max_connections,
        max_connections_per_address: max_per_address.unwrap_or(2000),
        base_url: base_url?,
        assets_dir: assets_dir.unwrap_or_else(|| PathBuf::from("assets")),
        operator_tokens,
        validate_signature,
        response_service: response_service?,
        twilio: twilio?,
        payment: payment::PaymentSettings { due_required, ..payment? },
        call_parameters,
        database: database?,
        sealing_keys,
        instance_address,
        take_over: false,
        recorder: None,
        webhook,
        business_secrets,
        tool_server_tokens: tool_server_tokens.unwrap_or_default(),
        payment_mode: mode.unwrap_or_default(),
        ledger_retention,
        token_retention: token_retention.unwrap_or(Duration::from_secs(72 * 3600)),
        live_agent_number,
        live_agent_workflow,
        business_name: read_business_name(vars),
        business_phone: vars.read_optional("BUSINESS_PHONE", values::phone_number, PHONE_NUMBER),
        resume_timeout: resume.unwrap_or(Duration::from_secs(60)),
        drain_timeout: drain.unwrap_or(Duration::from_secs(300)),
        sms_allowed: sms_allowed.unwrap_or_default(),
        destinations: destinations?,
        outbound_per_minute,
        play_media_hosts: read_play_media_hosts(vars),
    })
}

/// The default of `BIND`: every address, or this machine alone if its own programs are the only clients and need no
/// signature.
fn default_addresses(base_url: Option<&PublicUrl>, validate_signature: bool) -> Vec<IpAddr> {
    let is_private = !validate_signature && base_url.is_some_and(PublicUrl::is_on_this_machine);
    if is_private { vec![Ipv4Addr::LOCALHOST.into()] } else { Vec::new() }
}

/// Refuses or warns of a public address that is not safe, and of unsigned webhooks.
fn check_public_url(vars: &mut ConfigReader<'_>, url: &PublicUrl, validate_signature: bool, is_exposed: bool) {
    vars.warn_if(url.is_local(), ConfigWarning::LocalBaseUrl);
    vars.check_exposure("SERVER_BASE_URL", Some(url.exposure()));
    if validate_signature {
        return;
    }
    if !is_exposed {
        return vars.warn_if(true, ConfigWarning::SignatureUnchecked);
    }
    let what = "is off at an address that others reach: anyone who finds this server can start calls on it and report \
                payments";
    vars.refuse_insecure(InsecureSetup::UnsignedWebhooks, "VALIDATE_TWILIO_SIGNATURE", what, "true");
}

/// Reads `METRICS_PORT` and `METRICS_HOST`.
fn read_metrics_address(vars: &mut ConfigReader<'_>) -> Option<SocketAddr> {
    let port = vars.read_optional("METRICS_PORT", values::port, PORT);
    let host = vars.read_optional("METRICS_HOST", str::parse::<IpAddr>, "an IP address, such as 127.0.0.1 or ::");
    Some(SocketAddr::new(host.unwrap_or(Ipv4Addr::LOCALHOST.into()), port?))
}

/// Reads `BIND`, the addresses to listen on.
fn read_bind(vars: &mut ConfigReader<'_>) -> Option<Vec<IpAddr>> {
    vars.read_optional("BIND", values::addresses, "IP addresses with commas between them, such as 127.0.0.1")
}

/// Reads the address and the port at which the server on this machine is reached: the first of `BIND`, if it is not the
/// unspecified address, or else 127.0.0.1.
pub fn local_address_from_vars(vars: &Vars) -> Result<SocketAddr, ConfigError> {
    let mut reading = ConfigReader::new(vars);
    let port = reading.read_optional("PORT", values::port, PORT).unwrap_or(DEFAULT_PORT);
    let bound = read_bind(&mut reading).and_then(|addresses| addresses.first().copied());
    let address = bound.filter(|address| !address.is_unspecified()).unwrap_or(Ipv4Addr::LOCALHOST.into());
    reading.finish(Some(SocketAddr::new(address, port))).map(|(address, _)| address)
}

/// The default of `PORT`.
const DEFAULT_PORT: u16 = 3001;

const PORT: &str = "a number from 0 to 65535, such as 3001";
const CONNECTIONS: &str = "a whole number, from 1 to 1000000";
const AMOUNT: &str = "decimal text above zero, such as 0.50, with no more decimals than CURRENCY has";
/// What a URL of the business is.
pub(crate) const BUSINESS_URL: &str =
    "an https URL of your own, such as https://shop.example.com/calls; http only on this machine";
const AUTH_TOKEN: &str = "the account's primary auth token from Twilio's console";
const SECONDARY_AUTH_TOKEN: &str = "the account's other auth token from Twilio's console";
const SHARED_KEYS: &str = "ids of Twilio's shared keys with their secrets and commas between them, as id:secret";
const BUSINESS_SECRET: &str = "a long random text without spaces: openssl rand -hex 32";
const SEALING_KEY: &str =
    "32 random bytes in base64, or several such keys with commas between them: openssl rand -base64 32";
const INSTANCE_ADDRESS: &str = "where the other servers reach this one on a private network, such as http://10.0.0.5:3001; http://localhost for one server";
const ASSETS_DIRECTORY: &str = "an existing directory, or no value for the built-in assets";
const SECONDS: &str = "whole seconds, from 1 to 3600";
const PHONE_NUMBER: &str = "a plus sign, the country code and the number, such as +15550001111";

fn read_database_url(vars: &mut ConfigReader<'_>) -> Option<DatabaseUrl> {
    let expected = "sqlite:// and the path of a file, such as sqlite://data/crelay-payments.db, or \
                    postgres://USER:PASSWORD@HOST/DATABASE?sslmode=verify-full";
    let url = vars.read_optional("DATABASE_URL", values::database_url, expected);
    if url.is_none() && vars.is_set("DATABASE_URL") {
        return None;
    }
    url.or_else(|| values::database_url(DEFAULT_DATABASE_URL).ok())
}

/// Reads `DATABASE_URL` and `SEALING_KEY`. A database needs the key, since its rows are in logs and backups of others; a file
/// has mode 0600.
fn read_ledger(vars: &mut ConfigReader<'_>) -> (Option<DatabaseUrl>, Option<SealingKeys>) {
    let database = read_database_url(vars);
    let keys = if matches!(database, Some(DatabaseUrl::Postgres(_))) {
        vars.read_required("SEALING_KEY", str::parse, SEALING_KEY)
    } else {
        vars.read_optional("SEALING_KEY", str::parse, SEALING_KEY)
    };
    (database, keys)
}

/// Checks that a file is not on the disk that a machine of Fly loses with each deploy. Each machine has one of its own.
fn check_file_is_kept(vars: &mut ConfigReader<'_>, database: Option<&DatabaseUrl>) {
    let Some(DatabaseUrl::Sqlite(file)) = database else { return };
    if vars.is_set("FLY_PRIVATE_IP") && is_on_root_disk(file) {
        vars.add_problem(
            "DATABASE_URL",
            "is a file that is lost with the machine: it is not on a volume",
            "a database of PostgreSQL, or a file on a volume: see `[mounts]` in fly.toml",
        );
    }
}

/// Whether a file is, or would be, on the same file system as the root directory.
fn is_on_root_disk(file: &Path) -> bool {
    let device = |path: &Path| std::fs::metadata(path).map(|found| found.dev()).ok();
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    file.ancestors().find_map(device) == device(Path::new("/"))
}

/// Reads `INSTANCE_ADDRESS`. On Fly it is made of the machine's address on the private network.
fn read_instance_address(vars: &mut ConfigReader<'_>, database: Option<&DatabaseUrl>) -> Option<Url> {
    let address = vars.read_optional("INSTANCE_ADDRESS", values::origin, INSTANCE_ADDRESS);
    vars.check_exposure("INSTANCE_ADDRESS", address.as_ref().map(values::exposure));
    let on_fly = vars.read_optional("FLY_PRIVATE_IP", str::parse::<Ipv6Addr>, "the address that Fly gives a machine");
    let address = address.or_else(|| Url::parse(&format!("http://[{}]", on_fly?)).ok());
    let is_shared = matches!(database, Some(DatabaseUrl::Postgres(_)));
    if is_shared && address.is_none() && !vars.is_set("INSTANCE_ADDRESS") && !vars.is_set("FLY_PRIVATE_IP") {
        vars.add_problem(
            "INSTANCE_ADDRESS",
            "is not set, and other servers may share the database: they send on what belongs to calls of this one",
            INSTANCE_ADDRESS,
        );
    }
    address
}

/// Reads `CALL_PARAMETERS_URL` and `PAYMENT_WEBHOOK_URL`, whose requests are signed with the same secrets, and these.
/// The tools of the business may be the only ones that need them.
fn read_business_endpoints(
    vars: &mut ConfigReader<'_>,
) -> (Option<BusinessEndpoint>, Option<BusinessEndpoint>, Option<SigningSecrets>) {
    const URLS: [&str; 2] = ["CALL_PARAMETERS_URL", "PAYMENT_WEBHOOK_URL"];
    let urls = URLS.map(|url| vars.read_optional(url, values::business_url, BUSINESS_URL));
    let secrets = read_business_secrets(vars);
    let reached = URLS.iter().any(|url| vars.is_set(url));
    if reached && !vars.is_set(WEBHOOK_SECRET) {
        vars.add_problem(
            WEBHOOK_SECRET,
            "is not set, but requests to the business are signed with it",
            BUSINESS_SECRET,
        );
    }
    if vars.is_set(PREVIOUS_WEBHOOK_SECRET) && !vars.is_set(WEBHOOK_SECRET) && !reached {
        vars.add_problem(PREVIOUS_WEBHOOK_SECRET, "is set, and PAYMENT_WEBHOOK_SECRET is not", "both, or neither");
    }
    vars.warn_if(vars.is_set(WEBHOOK_SECRET) && !vars.is_set(URLS[1]), ConfigWarning::NoWebhookUrl);
    let [call_parameters, webhook] = urls.map(|url| Some(BusinessEndpoint { url: url?, secrets: secrets.clone()? }));
    (call_parameters, webhook, secrets)
}

/// Reads `BUSINESS_NAME`.
fn read_business_name(vars: &mut ConfigReader<'_>) -> Option<String> {
    vars.read_optional("BUSINESS_NAME", values::business_name, "a name of at most 80 characters, such as Acme")
}

/// Reads `PLAY_MEDIA_HOSTS`.
fn read_play_media_hosts(vars: &mut ConfigReader<'_>) -> Vec<String> {
    let expected = "host names with commas between them, such as media.example.com";
    vars.read_optional("PLAY_MEDIA_HOSTS", values::hosts, expected).unwrap_or_default()
}

/// Reads `OUTBOUND_ALLOWED` and `OUTBOUND_PER_MINUTE`, and checks that `LIVE_AGENT_NUMBER` can be dialled.
fn read_outbound(
    vars: &mut ConfigReader<'_>,
    twilio: Option<&TwilioConfig>,
    live_agent: Option<&PhoneNumber>,
) -> (Option<AllowedDestinations>, u32) {
    let allowed = vars.read_optional(
        "OUTBOUND_ALLOWED",
        values::number_prefixes,
        "the beginnings of phone numbers with commas between them, such as +1, +4930",
    );
    let per_minute =
        vars.read_optional("OUTBOUND_PER_MINUTE", values::orders_per_minute, "a whole number from 1 to 10000");
    let destinations = twilio.map(|twilio| AllowedDestinations::new(allowed.unwrap_or_default(), &twilio.from_number));
    if let (Some(number), Some(destinations)) = (live_agent, &destinations)
        && destinations.check(number) == Err(DestinationError::NotDialable)
    {
        vars.add_problem("LIVE_AGENT_NUMBER", "is a number that no person has", PHONE_NUMBER);
    }
    (destinations, per_minute.unwrap_or(30))
}

/// Reads `CALL_PARAMETERS`: whether a payment requires an amount due from the business.
fn read_call_parameters_required(vars: &mut ConfigReader<'_>) -> bool {
    let expected = "required or optional";
    let required = vars.read_optional("CALL_PARAMETERS", values::required, expected).unwrap_or(false);
    if required && !vars.is_set("CALL_PARAMETERS_URL") {
        vars.add_problem("CALL_PARAMETERS_URL", "is not set, and CALL_PARAMETERS is required", BUSINESS_URL);
    }
    required
}

const WEBHOOK_SECRET: &str = "PAYMENT_WEBHOOK_SECRET";
const PREVIOUS_WEBHOOK_SECRET: &str = "PAYMENT_WEBHOOK_PREVIOUS_SECRET";

fn read_business_secrets(vars: &mut ConfigReader<'_>) -> Option<SigningSecrets> {
    let secret = read_business_secret(vars, WEBHOOK_SECRET);
    let previous = read_business_secret(vars, PREVIOUS_WEBHOOK_SECRET);
    secret.map(|secret| SigningSecrets::new(secret, previous))
}

fn read_business_secret(vars: &mut ConfigReader<'_>, variable: &str) -> Option<SecretString> {
    let secret = vars.read_optional(variable, values::token, BUSINESS_SECRET)?;
    insecure::refuse_short_secret(vars, variable, &secret, BUSINESS_SECRET);
    Some(secret.into())
}

fn read_twilio(vars: &mut ConfigReader<'_>) -> Option<TwilioConfig> {
    let account_sid = vars.read_required("ACCOUNT_SID", values::label, "the account SID from Twilio's console (AC…)");
    let auth_token = vars.read_required("AUTH_TOKEN", values::token, AUTH_TOKEN);
    let secondary_auth_token = vars.read_optional("AUTH_TOKEN_SECONDARY", values::token, SECONDARY_AUTH_TOKEN);
    let shared_keys = vars.read_optional("TWILIO_WEBHOOK_SHARED_KEYS", values::shared_keys, SHARED_KEYS);
    let shared_keys = shared_keys.unwrap_or_default();
    if let Some(token) = &auth_token {
        insecure::refuse_short_secret(vars, "AUTH_TOKEN", token, AUTH_TOKEN);
    }
    if let Some(token) = &secondary_auth_token {
        insecure::refuse_short_secret(vars, "AUTH_TOKEN_SECONDARY", token, SECONDARY_AUTH_TOKEN);
    }
    if let Some(secret) = shortest(shared_keys.values()) {
        insecure::refuse_short_secret(vars, "TWILIO_WEBHOOK_SHARED_KEYS", secret, SHARED_KEYS);
    }
    let api_key = read_api_key(vars);
    let from_number = vars.read_required("FROM_NUMBER", values::phone_number, PHONE_NUMBER);
    let [api_base, sync_base, webhooks_base] = read_twilio_bases(vars);

    let unusual = account_sid.as_ref().is_some_and(|sid| !sid.starts_with("AC"));
    vars.warn_if(unusual, ConfigWarning::UnexpectedSidPrefix { variable: "ACCOUNT_SID", prefix: "AC" });
    Some(TwilioConfig {
        account_sid: account_sid?,
        auth_token: auth_token?.into(),
        secondary_auth_token: secondary_auth_token.map(SecretString::from),
        webhook_shared_keys: shared_keys,
        api_key,
        from_number: from_number?,
        api_base,
        sync_base,
        webhooks_base,
    })
}

/// The shortest of several secrets.
fn shortest<'a>(secrets: impl Iterator<Item = &'a SecretString>) -> Option<&'a str> {
    secrets.map(ExposeSecret::expose_secret).min_by_key(|secret| secret.len())
}

fn read_api_key(vars: &mut ConfigReader<'_>) -> Option<TwilioApiKey> {
    let sid = vars.read_optional("API_KEY", values::label, "the SID of a Twilio API key (SK…)");
    let secret = vars.read_optional("API_SECRET", values::token, "the secret of the API key");
    for (set, missing) in [("API_KEY", "API_SECRET"), ("API_SECRET", "API_KEY")] {
        if vars.is_set(set) && !vars.is_set(missing) {
            vars.add_problem(missing, "is not set", "both API_KEY and API_SECRET, or neither");
        }
    }
    let unusual = sid.as_ref().is_some_and(|sid| !sid.starts_with("SK"));
    vars.warn_if(unusual, ConfigWarning::UnexpectedSidPrefix { variable: "API_KEY", prefix: "SK" });
    Some(TwilioApiKey { sid: sid?, secret: secret?.into() })
}

/// Reads the base URLs of the REST API and of Sync. The former is `https://api[.edge][.region].twilio.com`; an edge
/// without a region is one of `us1`.
fn read_twilio_bases(vars: &mut ConfigReader<'_>) -> [String; 3] {
    let origin =
        vars.read_optional("TWILIO_API_BASE_URL", values::origin, "scheme, host and port, such as https://example.com");
    let edge = vars.read_optional("TWILIO_EDGE", values::label, "the name of an edge, such as sydney");
    let region = vars.read_optional("TWILIO_REGION", values::label, "the name of a region, such as au1");
    if let Some(origin) = origin {
        vars.warn_if(edge.is_some() || region.is_some(), ConfigWarning::EdgeIgnored);
        vars.check_exposure("TWILIO_API_BASE_URL", Some(values::exposure(&origin)));
        let origin = values::without_trailing_slash(&origin);
        return [origin.clone(), origin.clone(), origin];
    }
    let api = match (edge, region) {
        (None, None) => "https://api.twilio.com".to_owned(),
        (None, Some(region)) => format!("https://api.{region}.twilio.com"),
        (Some(edge), region) => format!("https://api.{edge}.{}.twilio.com", region.as_deref().unwrap_or("us1")),
    };
    [api, "https://sync.twilio.com".to_owned(), "https://webhooks.twilio.com".to_owned()]
}

fn read_payment(vars: &mut ConfigReader<'_>) -> Option<payment::PaymentSettings> {
    let connector =
        vars.read_required("PAYMENT_CONNECTOR", values::name, "the unique name of the Pay connector, such as Default");
    let currency = vars.read_optional("CURRENCY", values::currency, "a three-letter ISO 4217 code, such as USD");
    let currency = currency.unwrap_or(payment::Currency::USD);
    let limits = read_charge_limits(vars, currency);
    let max_due = limits.and_then(|limits| read_max_due(vars, limits.max()));
    let token_type = vars.read_optional("TOKEN_TYPE", values::token_type, "one-time, reusable or payment-method");
    let security_code = read_flag(vars, "INCLUDE_CVC", true);
    let postal_code = read_flag(vars, "INCLUDE_POSTAL_CODE", false);

    vars.warn_if(connector.as_deref().is_some_and(is_connector_sid), ConfigWarning::ConnectorSid);
    Some(payment::PaymentSettings {
        connector: connector?,
        currency,
        charge_limits: limits?,
        max_due: max_due?,
        due_required: false,
        token_type: token_type.unwrap_or(payment::TokenType::OneTime),
        security_code,
        postal_code,
        options: payment::PaymentOptions::default(),
    })
}

/// Reads the limits of a charge on a call without an amount due. `MIN_CHARGE` defaults to 0.50, or to 1 in a currency
/// without decimals.
fn read_charge_limits(vars: &mut ConfigReader<'_>, currency: payment::Currency) -> Option<payment::ChargeLimits> {
    let default = |text| payment::Amount::parse(text, currency).ok().flatten();
    let mut limit = |variable, default: Option<payment::Amount>| {
        let set = vars.is_set(variable);
        let limit = vars.read_optional(variable, |text| values::amount(text, currency), AMOUNT);
        if set { limit } else { default }
    };
    let least = limit("MIN_CHARGE", default("0.50").or_else(|| default("1")));
    let most = limit("MAX_CHARGE", default("1000"));
    let limits = payment::ChargeLimits::new(least?, most?);
    if limits.is_err() {
        vars.add_problem("MAX_CHARGE", "is less than MIN_CHARGE", AMOUNT);
    }
    limits.ok()
}

/// Reads `MAX_DUE`, the highest amount due. Defaults to ten times `MAX_CHARGE`.
fn read_max_due(vars: &mut ConfigReader<'_>, most: payment::Amount) -> Option<payment::MaxDue> {
    let default = payment::AmountCap::ten_times(most);
    let expected = "amounts in major units with commas between them, such as 10000.00, 9000 EUR";
    let set = vars.is_set("MAX_DUE");
    let max_due = vars.read_optional("MAX_DUE", |text| payment::MaxDue::parse(text, default), expected);
    if set { max_due } else { Some(payment::MaxDue::new(default)) }
}

/// Whether the name of a connector looks like its SID: `PC` and 32 hexadecimal digits, or `x` as in examples.
pub(crate) fn is_connector_sid(name: &str) -> bool {
    let digits = name.strip_prefix("PC").unwrap_or_default();
    digits.len() >= 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'x')
}

fn read_flag(vars: &mut ConfigReader<'_>, variable: &str, default: bool) -> bool {
    vars.read_optional(variable, values::boolean, "true or false").unwrap_or(default)
}
