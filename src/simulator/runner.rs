//! Runs a scenario: starts the stand-ins, the server and the callers, and checks the transcript.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use secrecy::SecretString;
use tokio::time::Instant;

use super::business::{self, ScriptedBusiness};
use super::caller::{CallerStep, ScriptedCaller};
use super::collector::ScriptedCollector;
use super::deployment::Deployment;
use super::flowise::{self, ScriptedFlowise};
use super::interactive;
use super::local_postgres::LocalPostgres;
use super::local_server::LocalServer;
use super::openai::{LiveOpenAi, ScriptedOpenAi, ToolsOverMcp};
use super::operator::OPERATOR_TOKEN;
use super::pace::Pace;
use super::proxy::Proxy;
use super::relay::{CALLER_NUMBER, SECOND_CALLER_NUMBER, ScriptedRelay};
use super::scenario::{self, Scenario};
use super::server_under_test::{self, Beside, CallTokens, ServerOverrides};
use super::sync_edits::SyncEdits;
use super::transcript::{Transcript, TranscriptEntry, TranscriptEvent};
use super::twilio::{self, AccountCredentials, ScriptedTwilio, WebhookSender, call_sid};
use super::{ModelSource, ScenarioResult};
use crate::config::{DEFAULT_MODEL, PostgresUrl};
use crate::twilio::Signer;

pub(super) const ACCOUNT_SID: &str = "AC00000000000000000000000000000001";
const AUTH_TOKEN: &str = "simulated-auth-token";
const API_KEY: &str = "sk-simulated";
/// How long the server may take to finish the payments of a call that has ended.
const AFTER_CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// Runs scenarios at one pace and with one model.
pub(super) struct ScenarioRunner {
    pace: Pace,
    model: ModelSource,
    /// The server of PostgreSQL with the ledgers. Without it they are in files.
    database: Option<PostgresUrl>,
    /// Whether another server shares the ledger of each scenario.
    has_peer: bool,
    /// The program that is run as a server of its own. `None`: this one.
    program: Option<PathBuf>,
    observer: Arc<dyn Fn(&TranscriptEntry) + Send + Sync>,
}

/// Everything that runs during a scenario.
pub(super) struct RunningScenario {
    transcript: Transcript,
    /// Twilio.
    pub twilio: ScriptedTwilio,
    /// Posts webhooks to the server.
    pub webhooks: WebhookSender,
    /// ConversationRelay.
    pub relay: ScriptedRelay,
    /// The collector of traces.
    pub collector: ScriptedCollector,
    deployment: Deployment,
    sync_edits: Option<SyncEdits>,
    /// Twilio, OpenAI, Flowise, the business and the collector.
    stand_ins: [LocalServer; 5],
}

impl RunningScenario {
    /// Stops the server. An error says what it did not do.
    pub(super) async fn stop(self) -> Result<(), String> {
        self.deployment.shut_down(&self.transcript).await
    }
}

impl ScenarioRunner {
    /// Runs at full speed with the scripted model, without output.
    pub(super) fn fast() -> Self {
        Self::with_model(ModelSource::Scripted)
    }

    /// Runs as fast as the model allows, without output.
    pub(super) fn with_model(model: ModelSource) -> Self {
        let pace = if matches!(model, ModelSource::Scripted) { Pace::FAST } else { Pace::LIVE };
        Self::with_observer(pace, model, |_| {})
    }

    /// Runs at this pace and passes each entry to `watcher`.
    pub(super) fn with_observer(
        pace: Pace,
        model: ModelSource,
        watcher: impl Fn(&TranscriptEntry) + Send + Sync + 'static,
    ) -> Self {
        Self { pace, model, database: None, has_peer: false, program: None, observer: Arc::new(watcher) }
    }

    /// Keeps the ledgers on this server of PostgreSQL, each in a database of its own.
    pub(super) fn with_database(self, database: Option<PostgresUrl>) -> Self {
        Self { database, ..self }
    }

    /// Whether another server shares the ledger of each scenario, and gets every request but the sockets.
    pub(super) fn with_peer(self, has_peer: bool) -> Self {
        Self { has_peer, ..self }
    }

    /// Runs this program as a server of its own, where a scenario needs one. Without it, this process runs itself.
    pub(super) fn with_program(self, program: Option<PathBuf>) -> Self {
        Self { program, ..self }
    }

    /// Runs a scenario to its end.
    pub(super) async fn run(&self, scenario: &Scenario) -> anyhow::Result<ScenarioResult> {
        let set = self.start(scenario).await?;
        Box::pin(self.run_started(set, scenario)).await
    }

    /// Runs a scenario whose server was started to its end.
    pub(super) async fn run_started(
        &self,
        set: RunningScenario,
        scenario: &Scenario,
    ) -> anyhow::Result<ScenarioResult> {
        let began = Instant::now();
        let first = run_caller(self.start_caller(&set, set.relay.clone()), &scenario.script);
        if scenario.second_script.is_empty() {
            first.await;
        } else {
            let other = self.start_caller(&set, set.relay.for_next_call(SECOND_CALLER_NUMBER));
            tokio::join!(first, run_caller(other, &scenario.second_script));
        }
        self.finish(set, scenario, &scenario.entered_digits(), began).await
    }

    /// Runs a scenario in which a person takes the caller's place.
    pub(super) async fn run_interactive(&self, scenario: &Scenario) -> anyhow::Result<ScenarioResult> {
        let began = Instant::now();
        let (script, other_line, expect) = (Vec::new(), Vec::new(), Vec::new());
        let scenario = Scenario { script, second_script: other_line, expectations: expect, ..scenario.clone() };
        let set = self.start(&scenario).await?;
        let entered = interactive::run_caller(self.start_caller(&set, set.relay.clone())).await;
        self.finish(set, &scenario, &entered, began).await
    }

    /// Starts a call.
    fn start_caller<'a>(&self, set: &'a RunningScenario, relay: ScriptedRelay) -> ScriptedCaller<'a> {
        let lenient = matches!(self.model, ModelSource::Live { .. });
        let patience = Duration::from_secs(if lenient { 60 } else { 15 });
        ScriptedCaller::start_call(relay, &set.deployment, patience, lenient)
    }

    /// Starts the stand-ins and the server.
    pub(super) async fn start(&self, scenario: &Scenario) -> anyhow::Result<RunningScenario> {
        let watcher = self.observer.clone();
        let transcript = Transcript::new(move |entry| watcher(entry));
        let signer = Signer::new(&SecretString::from(AUTH_TOKEN));
        let (listener, local) = server_under_test::bind_listener().await?;
        let proxy = Proxy::new(local);
        let webhooks = WebhookSender::new(proxy.clone(), server_under_test::PUBLIC_URL.parse()?, signer.clone())?;
        let account = AccountCredentials { sid: ACCOUNT_SID.to_owned(), auth_token: AUTH_TOKEN.to_owned() };
        let twilio =
            ScriptedTwilio::new(account, scenario.quirks.clone(), self.pace, webhooks.clone(), transcript.clone());
        let tokens = CallTokens::default();
        let tools = ToolsOverMcp { address: local, tokens: tokens.clone() };
        let openai = self.openai(scenario, tools, &transcript)?;
        let sync_edits =
            scenario.server_overrides.uses_sync.then(|| SyncEdits::new(ACCOUNT_SID, AUTH_TOKEN)).transpose()?;
        let sync = sync_edits.as_ref().map(SyncEdits::router).unwrap_or_default();
        let twilio_server = LocalServer::start(twilio::router(twilio.clone()).merge(sync)).await?;
        let openai_server = LocalServer::start(openai.router()).await?;
        let knows = scenario.server_overrides.call_parameters;
        let business =
            ScriptedBusiness::new(knows.unwrap_or_default(), scenario.server_overrides.own_tool, transcript.clone());
        let business_server = LocalServer::start(business.router()).await?;
        let flowise = ScriptedFlowise::new(scenario.flowise_behaviour.clone(), local, self.pace, transcript.clone());
        let flowise_server = LocalServer::start(flowise.router()).await?;
        let collector = ScriptedCollector::new(transcript.clone());
        let collector_server = LocalServer::start(collector.router()).await?;
        let mut vars = self.environment(twilio_server.origin(), openai_server.origin(), business_server.origin());
        vars.push(("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), collector_server.origin().to_owned()));
        if scenario.uses_flowise() {
            vars.extend(flowise_environment(flowise_server.origin()));
        }
        if let Some(sync_edits) = &sync_edits {
            vars.push(("ASSETS_DIR".to_owned(), sync_edits.directory()));
            sync_edits.edit_during_payment(transcript.clone());
        }
        if knows.is_some() {
            vars.push((
                "CALL_PARAMETERS_URL".to_owned(),
                format!("{}{}", business_server.origin(), business::CALLS_PATH),
            ));
        }
        let mut overrides = scenario.server_overrides.clone();
        if self.has_peer && !overrides.beside.shares_ledger() {
            overrides.beside = Beside::Peer;
        }
        let database = self.database_of(&overrides).await?;
        let program = self.program.clone().map_or_else(std::env::current_exe, Ok)?;
        let deployment =
            Deployment::start(proxy, listener, vars, overrides, tokens, database.as_ref(), &program).await?;
        probe_unsigned_requests(&webhooks, &transcript).await;
        let relay = ScriptedRelay {
            twilio: twilio.clone(),
            webhooks: webhooks.clone(),
            signer,
            direction: scenario.direction,
            caller_number: CALLER_NUMBER,
            pace: self.pace,
            transcript: transcript.clone(),
        };
        let stand_ins = [twilio_server, openai_server, flowise_server, business_server, collector_server];
        Ok(RunningScenario { transcript, twilio, webhooks, relay, collector, deployment, sync_edits, stand_ins })
    }

    /// The server of PostgreSQL with the ledger of a scenario, if it is not in a file. Several servers need one.
    async fn database_of(&self, overrides: &ServerOverrides) -> anyhow::Result<Option<PostgresUrl>> {
        if self.database.is_some() || !overrides.beside.shares_ledger() {
            return Ok(self.database.clone());
        }
        let server = LocalPostgres::get().context(
            "several servers share a ledger in PostgreSQL: install it, or name a server of it with --database",
        )?;
        Ok(Some(server.create_database().await?.parse()?))
    }

    /// Creates the model: scripted, or forwarding to the real API.
    fn openai(
        &self,
        scenario: &Scenario,
        tools: ToolsOverMcp,
        transcript: &Transcript,
    ) -> anyhow::Result<ScriptedOpenAi> {
        let (model, live) = match &self.model {
            ModelSource::Live { api_key, model, base_url } => {
                (model.as_str(), Some(LiveOpenAi::new(api_key.clone(), base_url)?))
            }
            ModelSource::Scripted => {
                let chosen = scenario.server_overrides.vars.iter().find(|(name, _)| *name == "OPENAI_MODEL");
                (chosen.map_or(DEFAULT_MODEL, |(_, model)| model), None)
            }
        };
        let openai =
            ScriptedOpenAi::new(API_KEY, model, scenario.model_behaviour.clone(), live, self.pace, transcript.clone());
        Ok(openai.with_tools_over_mcp(tools))
    }

    /// The environment variables of the server.
    fn environment(&self, twilio: &str, openai: &str, business: &str) -> Vec<(String, String)> {
        let mut vars = vec![
            ("SERVER_BASE_URL", server_under_test::PUBLIC_URL.to_owned()),
            ("TWILIO_API_BASE_URL", twilio.to_owned()),
            ("ACCOUNT_SID", ACCOUNT_SID.to_owned()),
            ("AUTH_TOKEN", AUTH_TOKEN.to_owned()),
            ("FROM_NUMBER", "+15550100002".to_owned()),
            ("PAYMENT_CONNECTOR", "Default".to_owned()),
            ("OPERATOR_TOKEN", OPERATOR_TOKEN.to_owned()),
            ("OPENAI_API_KEY", API_KEY.to_owned()),
            ("PAYMENT_WEBHOOK_URL", format!("{business}{}", business::PAYMENTS_PATH)),
            ("PAYMENT_WEBHOOK_SECRET", business::WEBHOOK_SECRET.to_owned()),
            ("OPENAI_BASE_URL", format!("{openai}/v1")),
        ];
        if let ModelSource::Live { model, .. } = &self.model {
            vars.push(("OPENAI_MODEL", model.clone()));
        }
        vars.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Waits for the callbacks and notifications after the calls, stops everything and runs the checks.
    async fn finish(
        &self,
        set: RunningScenario,
        scenario: &Scenario,
        entered: &[String],
        began: Instant,
    ) -> anyhow::Result<ScenarioResult> {
        let RunningScenario { transcript, twilio, webhooks, collector, deployment, sync_edits, stand_ins, .. } = set;
        let healed = deployment.wake_all().await.and(deployment.set_ledger_fault(None, &transcript).await);
        if let Err(error) = healed {
            transcript.record_violation(format!("{error:#}"));
        }
        if twilio.has_late_results() {
            deployment.record_ledger(&transcript).await;
            twilio.report_late_results();
        }
        let all_told = |entries: &[TranscriptEntry]| {
            let count = |is: fn(&TranscriptEvent) -> bool| entries.iter().filter(|entry| is(&entry.event)).count();
            let ended = count(|event| {
                matches!(event, TranscriptEvent::PaymentEnded { .. } | TranscriptEvent::ResultRepeated { .. })
            });
            let told = count(|event| matches!(event, TranscriptEvent::CallbackDelivered { terminal: Some(_), .. }));
            (twilio.open_session_count() == 0 && told >= ended).then_some(())
        };
        // The checks report what is missing after the timeout.
        let _ = transcript.wait_until(AFTER_CALL_TIMEOUT, all_told).await;
        send_late_callback(&webhooks, &transcript).await;
        if let Some(sync_edits) = sync_edits {
            sync_edits.check_edits(&webhooks, &transcript).await?;
        }
        deployment.record_ledger(&transcript).await;
        if let Err(what) = deployment.shut_down(&transcript).await {
            transcript.record_violation(what);
        }
        collector.check();
        drop(stand_ins);
        let entries = transcript.entries();
        let own_words = matches!(self.model, ModelSource::Live { .. });
        Ok(ScenarioResult {
            name: scenario.name,
            description: scenario.description,
            checks: scenario::check_scenario(scenario, &entries, &transcript.evidence(), entered, own_words),
            elapsed: began.elapsed(),
            transcript: entries,
        })
    }
}

/// The environment variables of a server that uses Flowise.
fn flowise_environment(origin: &str) -> impl Iterator<Item = (String, String)> {
    [("FLOWISE_URL", origin), ("FLOWISE_CHATFLOW_ID", flowise::CHATFLOW_ID), ("FLOWISE_API_KEY", flowise::API_KEY)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into_iter()
}

/// Runs a caller's script and ends the call.
async fn run_caller(mut caller: ScriptedCaller<'_>, script: &[CallerStep]) {
    if let Err(what) = caller.run_script(script).await {
        caller.transcript.record_violation(format!("the caller timed out waiting {what}"));
    }
    // A script may end before the call does.
    if !caller.phone.task.is_finished() {
        let _ = caller.run_script(&[CallerStep::HangsUp]).await;
    }
}

/// Sends unsigned and wrongly signed requests to every webhook. The server must answer 403.
async fn probe_unsigned_requests(webhooks: &WebhookSender, transcript: &Transcript) {
    let form = [("CallSid".to_owned(), call_sid(1)), ("AccountSid".to_owned(), ACCOUNT_SID.to_owned())];
    for path in ["/connectConversationRelay", "/payment-status-callback", "/connectAction", "/twilioStatusCallback"] {
        let Ok(url) = webhooks.public_url().join(path) else { continue };
        for signature in [None, Some("bm90IGEgc2lnbmF0dXJlIGF0IGFsbA==")] {
            let answer = webhooks.post_signed(&url, &form, "stranger", signature).await;
            if answer.status != 403 {
                let how = signature.map_or("without a signature", |_| "with a wrong signature");
                transcript.record_violation(format!("{path} {how} was answered {}, not 403", answer.status));
            }
        }
    }
}

/// Sends a callback for a call that the server no longer knows. The server must answer 204.
async fn send_late_callback(webhooks: &WebhookSender, transcript: &Transcript) {
    let Ok(url) = webhooks.public_url().join("/payment-status-callback") else { return };
    let call = call_sid(1);
    let form = [("CallSid", &*call), ("Sid", "PK00000000000000000000000000000009"), ("Result", "caller-hung-up")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let answer = webhooks.post(&url, &form, "late").await;
    if answer.status != 204 {
        transcript.record_violation(format!("a late callback was answered {}, not 204", answer.status));
    }
}

impl std::fmt::Debug for ScenarioRunner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ScenarioRunner(at {})", self.pace)
    }
}
