//! The flow of card data in the tested configuration: a diagram, the providers in the path, and the settings that matter.
//! It is made from the configuration alone, without secrets, and the same configuration makes the same text.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::Serialize;

use super::responsibilities::{RESPONSIBILITIES, Responsibility};
use crate::assets::{Library, ServerConfig};
use crate::business_tools::BusinessToolEndpoint;
use crate::config::{Config, DatabaseUrl, PaymentMode, ResponseServiceConfig, Vars};
use crate::payment::{PaymentMethodName, PaymentSettings};
use crate::redact::redact_card_numbers;

/// The flow of card data.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DataFlow {
    /// The diagram in Mermaid.
    pub diagram: String,
    /// The arrows of the diagram.
    pub flows: Vec<Flow>,
    /// The providers in the path.
    pub providers: Vec<Provider>,
    /// Who answers for which requirement of PCI DSS 4.0.1.
    pub responsibilities: &'static [Responsibility],
    /// The settings that matter, with their effective values.
    pub settings: Vec<EffectiveSetting>,
}

/// Data that goes from one system to another.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Flow {
    /// The id of the sender in the diagram.
    pub from: &'static str,
    /// The id of the receiver in the diagram.
    pub to: &'static str,
    /// What it is.
    pub carries: String,
    /// Whether it can carry card data.
    pub card_data: CardDataInFlow,
}

/// Whether a flow can carry card data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum CardDataInFlow {
    /// It carries card data: that is its purpose.
    Always,
    /// It carries card data only if somebody says, types or writes it where it does not belong, or in part.
    Misplaced,
    /// It carries none: what could be card data is removed before.
    Never,
}

/// A provider in the path of the call or of the payment.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Provider {
    /// Its name. Empty if the configuration does not tell it.
    pub name: String,
    /// What it does.
    pub role: String,
    /// Whether card data can reach it.
    pub card_data: CardDataInFlow,
    /// The date of its attestation of compliance, to be filled in.
    pub attestation_date: &'static str,
}

/// A setting with its effective value.
#[derive(Debug, Clone, Serialize)]
pub struct EffectiveSetting {
    /// Its name.
    pub name: &'static str,
    /// Its value, or what it is by default.
    pub value: String,
    /// Why it matters.
    pub matters: &'static str,
}

/// The systems, with the subgraph that each is in.
struct System {
    id: &'static str,
    label: String,
    group: Option<&'static str>,
}

const TWILIO: &str = "Twilio";
const OPERATOR: &str = "Your host";

impl CardDataInFlow {
    /// The words for a table.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Always => "yes, by design",
            Self::Misplaced => "only what is misplaced or masked",
            Self::Never => "no",
        }
    }

    /// The arrow of the diagram, without a label.
    fn arrow(self) -> &'static str {
        match self {
            Self::Always => "==>",
            Self::Misplaced => "-.->",
            Self::Never => "-->",
        }
    }
}

impl DataFlow {
    /// Describes a configuration. `vars` tells what was configured and what was filled in for the test.
    pub(super) fn new(config: &Config, vars: &Vars, library: &Library) -> Self {
        let described = Described { config, vars, server: &library.server, tool_hosts: tool_hosts(library) };
        let (systems, flows) = (described.systems(), described.flows());
        Self {
            diagram: draw(&systems, &flows),
            flows,
            providers: described.providers(),
            responsibilities: RESPONSIBILITIES,
            settings: described.settings(),
        }
    }
}

/// The hosts of the business's own tools: those of the default manifest, and the servers of tools.
fn tool_hosts(library: &Library) -> BTreeSet<String> {
    let tools = library.tools(library.default_manifest()).unwrap_or_default();
    let endpoints = tools.iter().filter_map(|tool| match &tool.business.as_ref()?.endpoint {
        BusinessToolEndpoint::Http(url) => Some(url),
        BusinessToolEndpoint::Server(_) => None,
    });
    let urls = endpoints.chain(library.server.tool_servers.iter().map(|server| &server.url));
    urls.filter_map(|url| url.host_str()).map(shown).collect()
}

/// The configuration that is described.
struct Described<'a> {
    config: &'a Config,
    vars: &'a Vars,
    server: &'a ServerConfig,
    tool_hosts: BTreeSet<String>,
}

impl Described<'_> {
    fn systems(&self) -> Vec<System> {
        let twilio = |id, label| System { id, label, group: Some(TWILIO) };
        let own = |id, label| System { id, label, group: Some(OPERATOR) };
        let other = |id, label| System { id, label, group: None };
        let mut systems = vec![
            other("caller", "Caller: phone with keypad".to_owned()),
            twilio("pay", "Twilio Pay: captures the keys".to_owned()),
            twilio("relay", "ConversationRelay".to_owned()),
            twilio("stt", format!("Speech to text: {}", self.speech_providers("transcriptionProvider"))),
            twilio("tts", format!("Text to speech: {}", self.speech_providers("ttsProvider"))),
            other("processor", format!("Payment processor behind the Pay connector {}", self.connector())),
            own("server", "crelay-payments".to_owned()),
            System {
                group: self.is_file_ledger().then_some(OPERATOR),
                ..other("ledger", format!("Ledger: {}", self.ledger()))
            },
            other("model", self.model()),
            other("business", "Your systems: webhook, look-ups, own tools, operators".to_owned()),
        ];
        if self.config.traces.is_some() {
            systems.push(other("traces", format!("Collector of traces: {}", self.traces_host())));
        }
        systems
    }

    fn flows(&self) -> Vec<Flow> {
        use CardDataInFlow::{Always, Misplaced, Never};
        let flow = |from, to, carries: &str, card_data| Flow { from, to, carries: carries.to_owned(), card_data };
        let mut flows = vec![
            Flow { carries: format!("keys: {}", self.fields()), ..flow("caller", "pay", "", Always) },
            flow("pay", "processor", "card data, amount, currency", Always),
            flow("processor", "pay", "result, confirmation code, token", Never),
            flow("caller", "relay", "speech, and keys outside a capture", Misplaced),
            flow("relay", "stt", "the caller's audio", Misplaced),
            flow("stt", "relay", "what the caller said, as text", Misplaced),
            flow("relay", "server", "words and keys outside a capture, redacted on arrival", Misplaced),
            flow(
                "pay",
                "server",
                "signed callbacks: result, token, last four digits of a masked number; expiry date and postal code, dropped unread",
                Misplaced,
            ),
            flow("server", "pay", "start, field to capture, amount, submit, cancel", Never),
            flow("server", "relay", "what the agent says", Never),
            flow("relay", "tts", "what the agent says", Never),
            flow("server", "model", "redacted conversation, state of the payment", Never),
            flow("model", "server", "what to say, which tool; redacted on arrival", Misplaced),
            flow("server", "ledger", "states, amounts, last four digits; tokens until they are delivered", Never),
            flow("business", "server", "orders, data of calls, answers; redacted on arrival or refused", Misplaced),
            Flow { carries: self.told_to_business(), ..flow("server", "business", "", Never) },
        ];
        if !self.is_file_ledger() {
            let carries = "callbacks for calls of another server, as Twilio sent them, on your private network";
            flows.push(flow("server", "server", carries, Misplaced));
        }
        if self.config.traces.is_some() {
            flows.push(flow("server", "traces", "times, names of steps, token counts; nothing that was said", Never));
        }
        flows
    }

    fn providers(&self) -> Vec<Provider> {
        use CardDataInFlow::{Always, Misplaced, Never};
        let provider = |name: &str, role: &str, card_data| Provider {
            name: name.to_owned(),
            role: role.to_owned(),
            card_data,
            attestation_date: "",
        };
        let connector = format!("payment processor of the Pay connector {}", self.connector());
        let mut providers = vec![
            provider(
                "Twilio",
                "telephony, ConversationRelay, Pay: captures the card and sends it to the processor",
                Always,
            ),
            provider("", &connector, Always),
            provider(&self.speech_providers("transcriptionProvider"), "speech to text, for Twilio", Misplaced),
            provider(&self.speech_providers("ttsProvider"), "text to speech, for Twilio", Never),
        ];
        providers.extend(match &self.config.response_service {
            ResponseServiceConfig::OpenAi(openai) => vec![provider(&shown(openai.base_url.host()), "the model", Never)],
            ResponseServiceConfig::Flowise(_) => vec![
                provider(&self.model(), "the flow that answers the caller", Never),
                provider("", "the model behind Flowise, and the store of its messages", Never),
            ],
        });
        let host = if self.vars.get("FLY_PRIVATE_IP").is_some() { "Fly.io" } else { "" };
        providers.push(provider(host, "the host of this program", Misplaced));
        providers.push(provider("", "proxies, tunnels and log collectors in front of this program, if any", Misplaced));
        if !self.is_file_ledger() {
            providers.push(provider(&self.ledger(), "the database of the ledger", Never));
        }
        if !self.tool_hosts.is_empty() {
            let hosts: Vec<&str> = self.tool_hosts.iter().map(String::as_str).collect();
            providers.push(provider(&hosts.join(", "), "your own tools", Never));
        }
        if self.config.traces.is_some() {
            providers.push(provider(&self.traces_host(), "the collector of traces", Never));
        }
        providers
    }

    fn settings(&self) -> Vec<EffectiveSetting> {
        let setting = |name, value: String, matters| EffectiveSetting { name, value, matters };
        let or_none = |text: Option<&str>, none: &str| text.map_or_else(|| none.to_owned(), shown);
        let config = self.config;
        let accepted = self.server.non_compliant_attributes().join(", ");
        let is_https = !config.base_url.is_plain_http();
        vec![
            setting("PAYMENT_CONNECTOR", self.connector(), "names the processor that gets the card"),
            setting(
                "PAYMENT_MODE",
                match config.payment_mode {
                    PaymentMode::Live => "live",
                    PaymentMode::Test => "test",
                }
                .to_owned(),
                "whether real money moves",
            ),
            setting("INCLUDE_CVC, INCLUDE_POSTAL_CODE, Payments.method", self.fields(), "what the caller types"),
            setting(
                "TOKEN_TYPE",
                config.payment.token_type.as_str().to_owned(),
                "which token of a stored card comes back",
            ),
            setting(
                "SERVER_BASE_URL",
                if is_https { "https" } else { "plain http" }.to_owned(),
                "how Twilio reaches this program (4.2.1)",
            ),
            setting(
                "VALIDATE_TWILIO_SIGNATURE",
                config.validate_signature.to_string(),
                "whether only Twilio can report a payment",
            ),
            setting(
                "ALLOW_INSECURE",
                or_none(self.vars.get("ALLOW_INSECURE"), "nothing"),
                "exceptions from safe settings",
            ),
            setting(
                "Pci.acceptNonCompliant",
                or_none(Some(&*accepted).filter(|accepted| !accepted.is_empty()), "nothing"),
                "products of Twilio that are not PCI compliant",
            ),
            setting(
                "OPERATOR_TOKENS",
                describe_operators(config.operator_tokens.len()),
                "who is named in the ledger (8.2, 10.2)",
            ),
            setting("DATABASE_URL", self.ledger(), "where payments are kept"),
            setting(
                "SEALING_KEY",
                is_set(config.sealing_keys.is_some()).to_owned(),
                "whether tokens are sealed in the ledger",
            ),
            setting(
                "TOKEN_RETENTION_HOURS",
                (config.token_retention.as_secs() / 3600).to_string(),
                "how long an undelivered token is kept (3.2.1)",
            ),
            setting(
                "LEDGER_RETENTION_DAYS",
                config
                    .ledger_retention
                    .map_or_else(|| "for ever".to_owned(), |kept| (kept.as_secs() / (24 * 3600)).to_string()),
                "how long personal data is kept (3.2.1)",
            ),
            setting(
                "PAYMENT_WEBHOOK_URL, PAYMENT_WEBHOOK_SECRET",
                is_set(config.webhook.is_some()).to_owned(),
                "whether outcomes are sent to you, signed",
            ),
        ]
    }

    /// The unique name of the connector.
    fn connector(&self) -> String {
        let name = shown(&self.config.payment.connector);
        if self.vars.get("PAYMENT_CONNECTOR").is_some() { name } else { format!("{name} (not configured)") }
    }

    /// The fields that the caller enters.
    fn fields(&self) -> String {
        let PaymentSettings { security_code, postal_code, .. } = self.config.payment;
        if self.server.payment_options.method == PaymentMethodName::AchDebit {
            return "routing number, account number".to_owned();
        }
        let fields = [
            (true, "card number"),
            (security_code, "security code"),
            (true, "expiry date"),
            (postal_code, "postal code"),
        ];
        fields.into_iter().filter(|(is_asked, _)| *is_asked).map(|(_, name)| name).collect::<Vec<_>>().join(", ")
    }

    /// The speech providers of the session and of all languages, by the name of the attribute.
    fn speech_providers(&self, attribute: &str) -> String {
        let find = |of: &[(String, String)]| {
            of.iter().find(|(name, _)| name == attribute).map(|(_, provider)| shown(provider))
        };
        let of_session = find(&self.server.relay).unwrap_or_else(|| format!("Twilio's default (set {attribute})"));
        let of_languages = self.server.languages.iter().filter_map(|language| find(language));
        let names: BTreeSet<String> = std::iter::once(of_session).chain(of_languages).collect();
        names.into_iter().collect::<Vec<_>>().join(", ")
    }

    fn model(&self) -> String {
        match &self.config.response_service {
            ResponseServiceConfig::OpenAi(openai) => format!("Model: {}", shown(openai.base_url.host())),
            ResponseServiceConfig::Flowise(flowise) => {
                let host = url::Url::parse(&flowise.url).ok().and_then(|url| url.host_str().map(shown));
                format!("Flowise: {}", host.unwrap_or_default())
            }
        }
    }

    fn is_file_ledger(&self) -> bool {
        self.config.database.file().is_some()
    }

    fn ledger(&self) -> String {
        match &self.config.database {
            DatabaseUrl::Sqlite(_) => "SQLite, a file on this host".to_owned(),
            DatabaseUrl::Postgres(url) => format!("PostgreSQL, {}", shown(&url.to_string())),
        }
    }

    fn traces_host(&self) -> String {
        let traces = self.config.traces.as_ref();
        traces.and_then(|traces| traces.endpoint.host_str()).map(shown).unwrap_or_default()
    }

    fn told_to_business(&self) -> String {
        let mut told = vec!["answers to operators"];
        if self.config.webhook.is_some() {
            told.insert(0, "signed outcomes: state, amount, last four digits, token");
        }
        if !self.tool_hosts.is_empty() {
            told.push("redacted arguments of your own tools");
        }
        told.join("; ")
    }
}

fn describe_operators(count: usize) -> String {
    match count {
        0 => "no operator has a token".to_owned(),
        1 => "one token".to_owned(),
        count => format!("{count} tokens, each with the name of its operator"),
    }
}

fn is_set(set: bool) -> &'static str {
    if set { "set" } else { "not set" }
}

/// A configured text for the report.
fn shown(text: &str) -> String {
    redact_card_numbers(text).into_owned()
}

/// Draws the diagram.
fn draw(systems: &[System], flows: &[Flow]) -> String {
    let mut text = "flowchart LR\n".to_owned();
    // Writing to a `String` cannot fail.
    let mut add = |line: std::fmt::Arguments<'_>| {
        let _ = writeln!(text, "{line}");
    };
    for system in systems.iter().filter(|system| system.group.is_none()) {
        add(format_args!("    {}[\"{}\"]", system.id, escape_label(&system.label)));
    }
    for (id, group) in [("twilio", TWILIO), ("host", OPERATOR)] {
        add(format_args!("    subgraph {id}[\"{group}\"]"));
        for system in systems.iter().filter(|system| system.group == Some(group)) {
            add(format_args!("        {}[\"{}\"]", system.id, escape_label(&system.label)));
        }
        add(format_args!("    end"));
    }
    for flow in flows {
        let (arrow, carries) = (flow.card_data.arrow(), escape_label(&flow.carries));
        add(format_args!("    {} {arrow}|\"{carries}\"| {}", flow.from, flow.to));
    }
    text
}

/// Escapes a text for a label in quotation marks.
fn escape_label(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '"' => escaped.push_str("#quot;"),
            '#' => escaped.push_str("#35;"),
            '<' => escaped.push_str("#lt;"),
            '>' => escaped.push_str("#gt;"),
            '&' => escaped.push_str("#amp;"),
            '`' => escaped.push_str("#96;"),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data_flow(vars: &[(&str, &str)], library: &Library) -> DataFlow {
        let vars: Vars = vars.iter().copied().collect();
        let config = Config::from_vars(&vars.clone().with_defaults(super::super::setup::DEFAULTS)).unwrap().0;
        DataFlow::new(&config, &vars, library)
    }

    #[test]
    fn the_diagram_is_that_of_the_manual() {
        let vars = [
            ("PAYMENT_CONNECTOR", "Default"),
            ("PAYMENT_WEBHOOK_URL", "https://shop.example.com/payments"),
            ("PAYMENT_WEBHOOK_SECRET", "a-secret-of-the-tests"),
        ];
        let diagram = data_flow(&vars, &Library::built_in()).diagram;
        let manual = include_str!("../redact/README.md");
        assert!(
            manual.contains(&format!("```mermaid\n{diagram}```")),
            "put this into src/redact/README.md:\n{diagram}"
        );
    }

    #[test]
    fn arrows_that_carry_card_data_never_reach_this_program_or_what_is_behind_it() {
        let flow = data_flow(&[], &Library::built_in());
        let thick: Vec<_> = flow.flows.iter().filter(|flow| flow.card_data == CardDataInFlow::Always).collect();
        assert_eq!(
            thick.iter().map(|flow| (flow.from, flow.to)).collect::<Vec<_>>(),
            [("caller", "pay"), ("pay", "processor")]
        );
        let out = flow.flows.iter().filter(|flow| flow.from == "server" && flow.to != "server");
        assert!(out.clone().count() >= 5 && out.clone().all(|flow| flow.card_data == CardDataInFlow::Never));
        assert_eq!(flow.diagram.matches("==>").count(), 2);
    }

    #[test]
    fn the_configuration_decides_who_is_in_the_path() {
        let mut library = Library::built_in();
        library.server.languages = vec![vec![("ttsProvider".to_owned(), "Google".to_owned())]];
        let flow = data_flow(
            &[
                ("RESPONSE_SERVICE", "flowise"),
                ("FLOWISE_URL", "https://flows.shop.example/base"),
                ("FLOWISE_CHATFLOW_ID", "f1"),
                ("FLOWISE_API_KEY", "hush-hush"),
                ("PAYMENT_CONNECTOR", "Shop \"A\""),
                ("DATABASE_URL", "postgres://user:hush-hush@db.internal:5433/ledger?sslmode=require"),
                ("SEALING_KEY", "c2ltdWxhdGVkIGtleSBvZiAzMiBieXRlcyBpbiBhbGw="),
                ("INSTANCE_ADDRESS", "http://localhost"),
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318"),
                ("OPERATOR_TOKENS", "ann:hush-hush-hush-hush,bob:hush-hush-hush-hash"),
                ("PAYMENT_WEBHOOK_URL", "https://hush.example/hush"),
                ("PAYMENT_WEBHOOK_SECRET", "hush-hush-hush-hush"),
                ("FLY_PRIVATE_IP", "fdaa::3"),
            ],
            &library,
        );
        let names: Vec<&str> = flow.providers.iter().map(|provider| provider.name.as_str()).collect();
        for name in ["Twilio", "Deepgram", "ElevenLabs, Google", "Flowise: flows.shop.example", "Fly.io"] {
            assert!(names.contains(&name), "{name}: {names:?}");
        }
        assert!(names.contains(&"PostgreSQL, postgres://db.internal:5433/ledger"), "{names:?}");
        assert!(flow.providers.iter().all(|provider| provider.attestation_date.is_empty()));
        assert!(flow.diagram.contains("connector Shop #quot;A#quot;\"]"), "{}", flow.diagram);
        assert!(flow.diagram.contains("traces") && flow.diagram.contains("server -.->|"), "{}", flow.diagram);
        let setting = |name: &str| flow.settings.iter().find(|setting| setting.name == name).unwrap().value.clone();
        assert_eq!(setting("OPERATOR_TOKENS"), "2 tokens, each with the name of its operator");
        assert_eq!((setting("SEALING_KEY"), setting("ALLOW_INSECURE")), ("set".to_owned(), "nothing".to_owned()));
        let all = serde_json::to_string(&flow).unwrap();
        assert!(!all.contains("hush"), "{all}");
    }

    #[test]
    fn no_card_number_of_the_configuration_is_in_it() {
        let vars =
            [("PAYMENT_CONNECTOR", "4242424242424242"), ("OPENAI_BASE_URL", "https://x-4242424242424242.example/v1")];
        let flow = serde_json::to_string(&data_flow(&vars, &Library::built_in())).unwrap();
        assert!(!flow.contains("4242"), "{flow}");
    }
}
