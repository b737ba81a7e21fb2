//! The program under test with its stand-ins, from its start to what is measured of it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use secrecy::SecretString;
use tempfile::TempDir;

use super::BenchOptions;
use super::call::{ACCOUNT_SID, AUTH_TOKEN, Line, PUBLIC_URL, Probes};
use super::measure::{Measurements, Span};
use super::model::{LoadModel, ModelPace, ModelScript};
use super::model_server::{ModelServer, ModelWire};
use super::outcomes::OPERATOR_TOKEN;
use super::process::{Cores, Subject};
use super::report::Goal;
use super::twilio::LoadTwilio;
use super::workload::Workload;
use crate::simulator::load::WebhookSender;
use crate::simulator::proxy::Proxy;
use crate::simulator::{LocalPostgres, LocalServer, SEALING_KEY};
use crate::twilio::Signer;

/// The pause between two keys of a soak, at most: its calls are many.
const SOAK_KEY_PAUSE: Duration = Duration::from_millis(5);

/// Events of the log that no fault of the stand-ins explains.
const UNEXPECTED_ALERTS: [&str; 3] = ["panicked", "ledger.", "webhook"];

/// A figure of one program.
#[derive(Debug)]
pub(super) struct Figure {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) unit: &'static str,
    pub(super) value: Option<f64>,
    pub(super) goal: Option<Goal>,
}

/// The figures of a workload, and what the program must not have done.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) figures: Vec<Figure>,
    pub(super) violations: Vec<String>,
}

/// A program under test with its stand-ins.
pub(super) struct Stage {
    pub(super) workload: Workload,
    pub(super) options: BenchOptions,
    pub(super) line: Arc<Line>,
    pub(super) twilio: LoadTwilio,
    pub(super) subject: Subject,
    /// Another server on the same ledger, which gets the requests. It is not measured.
    _peer: Option<(Subject, TempDir)>,
    pub(super) figures: Vec<Figure>,
    _stand_ins: (ModelServer, LocalServer),
    _home: TempDir,
}

impl Stage {
    /// Starts the program for a workload: the server, or the bare pipe.
    pub(super) async fn start(
        workload: Workload,
        options: &BenchOptions,
        cores: &Cores,
        is_floor: bool,
    ) -> anyhow::Result<Self> {
        let home = TempDir::new()?;
        let fault_seed = (workload == Workload::Soak).then_some(options.seed);
        let (probes, measured) = (Arc::new(Probes::new(is_floor, fault_seed)), Arc::new(Measurements::default()));
        let proxy = Proxy::new(SocketAddr::from(([127, 0, 0, 1], 0)));
        let signer = Signer::new(&SecretString::from(AUTH_TOKEN));
        let webhooks = WebhookSender::new(proxy.clone(), PUBLIC_URL.parse()?, signer)?;
        let pace = ModelPace { thinking: options.thinking, spacing: options.spacing, tokens: options.tokens };
        let pace = match workload.model_script() {
            ModelScript::Payment => {
                ModelPace { thinking: Duration::from_millis(20), spacing: Duration::from_millis(1), ..pace }
            }
            ModelScript::ToolThenTalk => ModelPace { thinking: Duration::from_millis(300), ..pace },
            ModelScript::Talk => pace,
        };
        let model = LoadModel::new(workload.model_script(), pace, probes.clone(), measured.clone());
        let model = ModelServer::start(model.router(), options.wire, options.round_trip).await?;
        let key_pause = match workload {
            Workload::Callbacks => None,
            Workload::Soak => Some(options.key_pause.min(SOAK_KEY_PAUSE)),
            _ => Some(options.key_pause),
        };
        let twilio = LoadTwilio::new(probes.clone(), measured.clone(), webhooks.clone(), key_pause)?;
        let twilio_server = LocalServer::start(twilio.clone().router()).await?;
        let (arguments, mut vars) = if is_floor {
            (["bench", "--serve-floor"].as_slice(), vec![("MODEL".to_owned(), format!("{}/v1", model.origin))])
        } else {
            (["serve"].as_slice(), environment(home.path(), &model.origin, twilio_server.origin(), workload)?)
        };
        if let Some(file) = model.write_certificates(home.path())? {
            vars.push(("SSL_CERT_FILE".to_owned(), file.display().to_string()));
        }
        // The faults of a soak are those of HTTP.
        if options.wire == ModelWire::Websocket && workload != Workload::Soak {
            vars.push(("OPENAI_TRANSPORT".to_owned(), "websocket".to_owned()));
        }
        let is_shared = options.two_servers && !is_floor;
        if is_shared {
            share_ledger(&mut vars).await?;
        }
        let subject = Subject::start(&options.program, arguments, &vars, home.path(), cores.subject.as_ref()).await?;
        proxy.set_target(subject.address);
        let peer = if is_shared {
            let home = TempDir::new()?;
            let peer = Subject::start(&options.program, arguments, &vars, home.path(), cores.load.as_ref()).await?;
            proxy.set_request_target(peer.address);
            Some((peer, home))
        } else {
            None
        };
        // The server itself asks a caller who pays whether to go on.
        let is_exact = !is_floor && workload.model_script() != ModelScript::Payment;
        let line = Arc::new(Line { probes, measured, is_exact, webhooks, address: subject.address });
        Ok(Self {
            workload,
            options: options.clone(),
            line,
            twilio,
            subject,
            _peer: peer,
            figures: Vec::new(),
            _stand_ins: (model, twilio_server),
            _home: home,
        })
    }

    /// What is measured.
    pub(super) fn measured(&self) -> &Measurements {
        &self.line.measured
    }

    /// Adds a figure.
    pub(super) fn add(
        &mut self,
        id: &str,
        title: impl Into<String>,
        unit: &'static str,
        value: Option<f64>,
        goal: Option<Goal>,
    ) {
        let id = format!("{}.{id}", self.workload.id());
        self.figures.push(Figure { id, title: title.into(), unit, value, goal });
    }

    /// Adds the median of a span and its 99th percentile.
    pub(super) fn add_latency(&mut self, span: Span, p50: Option<Goal>, p99: Option<Goal>) {
        for (name, quantile, goal) in [("p50", 0.5, p50), ("p99", 0.99, p99)] {
            let value = self.measured().quantile(span, quantile);
            self.add(&format!("{}.{name}", span.id()), format!("{}, {name}", span.title()), "ms", value, goal);
        }
    }

    /// Ends the program under test, and returns what was measured.
    pub(super) async fn finish(self) -> anyhow::Result<Outcome> {
        let (count, kept) = self.measured().violations();
        let mut violations: Vec<String> =
            kept.into_iter().map(|what| format!("{}: {what}", self.workload.id())).collect();
        if count > violations.len() {
            violations.push(format!("{}: {} more", self.workload.id(), count - violations.len()));
        }
        let mut alerts = self.subject.alerts();
        if self.workload == Workload::Callbacks {
            // All callers hang up in the middle of their payments.
            alerts.retain(|line| !line.contains("payment.unsuccessful") && !line.contains("payment.ended_after_call"));
        }
        if self.line.probes.has_faults() {
            // The faults are logged as warnings, and what the server could not repair as errors.
            alerts.retain(|line| UNEXPECTED_ALERTS.iter().any(|event| line.contains(event)));
        }
        if !alerts.is_empty() && !self.line.probes.is_floor() {
            let count = alerts.len();
            alerts.truncate(3);
            violations.push(format!("{}: {count} lines of the log above INFO, such as {alerts:?}", self.workload.id()));
        }
        if self.line.probes.is_floor() {
            drop(self.subject);
        } else {
            self.subject.stop().await?;
        }
        Ok(Outcome { figures: self.figures, violations })
    }
}

/// Puts the ledger into a database of a PostgreSQL of this machine, for servers that share it.
async fn share_ledger(vars: &mut Vec<(String, String)>) -> anyhow::Result<()> {
    let server = LocalPostgres::get().context("several servers share a ledger in PostgreSQL: install it")?;
    vars.retain(|(name, _)| name != "DATABASE_URL");
    vars.push(("DATABASE_URL".to_owned(), server.create_database().await?));
    vars.push(("SEALING_KEY".to_owned(), SEALING_KEY.to_owned()));
    vars.push(("INSTANCE_ADDRESS".to_owned(), "http://localhost".to_owned()));
    Ok(())
}

/// The environment variables of the server.
fn environment(home: &Path, model: &str, twilio: &str, workload: Workload) -> anyhow::Result<Vec<(String, String)>> {
    let mut vars = vec![
        ("SERVER_BASE_URL", PUBLIC_URL.to_owned()),
        ("TWILIO_API_BASE_URL", twilio.to_owned()),
        ("ACCOUNT_SID", ACCOUNT_SID.to_owned()),
        ("AUTH_TOKEN", AUTH_TOKEN.to_owned()),
        ("FROM_NUMBER", "+15550100002".to_owned()),
        ("PAYMENT_CONNECTOR", "Default".to_owned()),
        ("LIVE_AGENT_NUMBER", "+15550100003".to_owned()),
        ("OPENAI_API_KEY", "sk-bench".to_owned()),
        ("OPENAI_BASE_URL", format!("{model}/v1")),
        ("DATABASE_URL", format!("sqlite://{}", home.join("ledger.db").display())),
        ("DRAIN_SECONDS", "5".to_owned()),
        ("OPERATOR_TOKEN", OPERATOR_TOKEN.to_owned()),
    ];
    if let Some(config) = workload.server_config() {
        let assets: PathBuf = home.join("assets");
        std::fs::create_dir(&assets).context("cannot create a directory")?;
        std::fs::write(assets.join("serverConfig.json"), config.to_string()).context("cannot write a file")?;
        vars.push(("ASSETS_DIR", assets.display().to_string()));
    }
    Ok(vars.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}
