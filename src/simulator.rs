//! Simulates Twilio, OpenAI, Flowise and the caller over real HTTP and WebSocket against the real server.
//!
#![doc = include_str!("simulator/README.md")]

mod business;
mod caller;
pub(crate) mod card_samples;
mod collector;
mod database_wire;
mod deployment;
mod flowise;
mod interactive;
pub(crate) mod leak_scan;
pub(crate) mod load;
mod local_postgres;
pub(crate) mod local_server;
mod mcp_client;
mod openai;
mod operator;
mod pace;
mod payments_api;
pub(crate) mod proxy;
#[cfg(test)]
pub(crate) mod raw_server;
mod relay;
mod replay;
mod runner;
mod scenario;
mod scenario_ledger;
mod server_process;
mod server_under_test;
mod sync_edits;
pub(crate) mod tls_server;
pub(crate) mod transcript;
mod twilio;
mod view;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::{StreamExt, stream};
use secrecy::SecretString;
use tempfile::TempDir;

pub use business::ScriptedToolServer;
pub use database_wire::{DatabaseWire, WireState};
pub use local_postgres::LocalPostgres;
pub use local_server::LocalServer;
pub use mcp_client::{McpClient, McpClientError, McpTool, McpToolOutput};
pub use openai::{ModelReply, QueuedOpenAi};
pub use relay::{OpenRelaySocketError, RelayClient, RelayMessage};
pub use replay::{ReplayReport, replay};
pub use scenario::ScenarioCheck;
pub(crate) use scenario_ledger::SEALING_KEY;
pub use server_under_test::CallTokens;
pub use twilio::{
    AccountCredentials, CaptureField, PaymentsRequest, PlacedCall, PlacedCallTwiml, RecordingOptions, RecordingTwilio,
    ScriptedSync as TwilioSync, TwilioRefusal, TwilioRequest, TwilioRequestKind,
};

use crate::config::{ApiBaseUrl, PostgresUrl};
use pace::Pace;
use runner::ScenarioRunner;
use scenario::Scenario;
use transcript::TranscriptEntry;

/// The options of a simulation.
#[derive(Debug)]
pub struct SimulationOptions {
    /// The scenarios to run.
    pub selection: ScenarioSelection,
    /// The model that drives the agent.
    pub model: ModelSource,
    /// Whether a person at the terminal takes the caller's place.
    pub interactive: bool,
    /// The server of PostgreSQL with the ledgers, each in a database of its own. `None`: they are in files.
    pub database: Option<PostgresUrl>,
    /// Whether two servers share each ledger: one gets the sockets, and the other one all other requests.
    pub two_servers: bool,
}

/// What a scenario runs on. By default it is one server in this process, with its ledger in a file.
#[derive(Debug, Clone, Default)]
pub struct ScenarioServers {
    /// The server of PostgreSQL with the ledger, in a database of its own.
    pub database: Option<PostgresUrl>,
    /// Whether two servers share the ledger: one gets the sockets, and the other one all other requests.
    pub two_servers: bool,
    /// The program of this package, where this process runs another one. Some scenarios run it as servers of their own.
    pub program: Option<PathBuf>,
}

/// The scenarios to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScenarioSelection {
    /// The scenario in which a caller stores a card.
    HappyPath,
    /// One scenario, by its name.
    Named(String),
    /// Every scenario, reported in one line each.
    All,
}

/// The model that drives the agent.
#[derive(Debug, Clone)]
pub enum ModelSource {
    /// A scripted agent that follows the context and answers with the events of the Responses API.
    Scripted,
    /// The real OpenAI API.
    Live {
        /// `OPENAI_API_KEY`.
        api_key: SecretString,
        /// `OPENAI_MODEL`.
        model: String,
        /// `OPENAI_BASE_URL`.
        base_url: ApiBaseUrl,
    },
}

/// The results of a simulation.
#[derive(Debug)]
pub struct SimulationReport {
    /// One result per scenario.
    pub results: Vec<ScenarioResult>,
}

/// The result of one scenario.
#[derive(Debug)]
pub struct ScenarioResult {
    /// The name of the scenario.
    pub name: &'static str,
    /// The description of the scenario.
    pub description: &'static str,
    /// The checks, passed and failed.
    pub checks: Vec<ScenarioCheck>,
    /// The duration on the real clock.
    pub elapsed: Duration,
    transcript: Vec<TranscriptEntry>,
}

impl SimulationReport {
    /// Whether every check passed.
    pub fn has_passed(&self) -> bool {
        self.results.iter().all(ScenarioResult::has_passed)
    }
}

impl ScenarioResult {
    /// Whether every check passed.
    pub fn has_passed(&self) -> bool {
        self.checks.iter().all(|check| check.failure.is_none())
    }

    /// Formats the transcript and the checks as text, for the message of a failed test.
    pub fn to_text(&self) -> String {
        let lines: Vec<String> = self.transcript.iter().filter_map(view::render_entry).collect();
        let text = format!("{}\n{}\n{}", self.description, lines.join("\n"), view::render_summary(self));
        anstream::adapter::strip_str(&text).to_string()
    }
}

/// The number of scenarios that run at the same time in [`ScenarioSelection::All`]. They mostly wait for timers.
const CONCURRENT_SCENARIOS: usize = 4;

/// Lists all scenarios: name and description.
pub fn list_scenarios() -> Vec<(&'static str, &'static str)> {
    scenario::all().into_iter().map(|scenario| (scenario.name, scenario.description)).collect()
}

/// The names of the scenarios that need PostgreSQL, since several servers share the ledger.
pub fn list_scenarios_of_several_servers() -> Vec<&'static str> {
    scenario::all().into_iter().filter(Scenario::has_peer).map(|scenario| scenario.name).collect()
}

/// Runs one scenario at full speed without output.
pub async fn run_scenario(name: &str, servers: &ScenarioServers) -> anyhow::Result<ScenarioResult> {
    let ScenarioServers { database, two_servers, program } = servers.clone();
    let runner = ScenarioRunner::fast().with_database(database).with_peer(two_servers).with_program(program);
    Box::pin(runner.run(&find_scenario(name)?)).await
}

/// Runs the selected scenarios and prints them. An error means that the simulator itself failed.
pub async fn run(options: SimulationOptions) -> anyhow::Result<SimulationReport> {
    if options.selection == ScenarioSelection::All {
        return run_all(options).await;
    }
    let scenario = match &options.selection {
        ScenarioSelection::Named(name) => find_scenario(name)?,
        _ => find_scenario("happy-path")?,
    };
    let live = options.interactive || matches!(options.model, ModelSource::Live { .. });
    let pace = if live { Pace::LIVE } else { Pace::WATCH };
    let runner = ScenarioRunner::with_observer(pace, options.model, move |entry| {
        if let Some(line) = view::render_entry(entry) {
            print_line(&line);
        }
    });
    let runner = runner.with_database(options.database).with_peer(options.two_servers);
    print_line(&view::render_headline(&scenario, pace));
    let outcome = if options.interactive {
        runner.run_interactive(&scenario).await?
    } else {
        Box::pin(runner.run(&scenario)).await?
    };
    print_line(&view::render_summary(&outcome));
    Ok(SimulationReport { results: vec![outcome] })
}

async fn run_all(options: SimulationOptions) -> anyhow::Result<SimulationReport> {
    let model = options.model;
    let mut scenarios = scenario::all();
    if options.database.is_none() && LocalPostgres::get().is_none() {
        scenarios.retain(|scenario| !scenario.has_peer());
    }
    let calls = scenarios.into_iter().map(|scenario| {
        let runner = ScenarioRunner::with_model(model.clone()).with_database(options.database.clone());
        let runner = runner.with_peer(options.two_servers);
        async move { Box::pin(runner.run(&scenario)).await }
    });
    let mut calls = stream::iter(calls).buffered(CONCURRENT_SCENARIOS);
    let mut outcomes = Vec::new();
    while let Some(outcome) = calls.next().await {
        let outcome = outcome?;
        print_line(&view::render_result_line(&outcome));
        outcomes.push(outcome);
    }
    let report = SimulationReport { results: outcomes };
    print_line(&view::render_total(&report));
    Ok(report)
}

/// Creates a directory that is removed on drop.
pub(crate) fn create_temporary_directory() -> anyhow::Result<TempDir> {
    let parent = std::env::temp_dir();
    tempfile::tempdir_in(&parent).with_context(|| {
        format!("cannot create a directory in {}: set TMPDIR to a directory that can be written", parent.display())
    })
}

fn find_scenario(name: &str) -> anyhow::Result<Scenario> {
    let found = scenario::all().into_iter().find(|scenario| scenario.name == name);
    found.ok_or_else(|| anyhow::anyhow!("there is no scenario {name:?}; --list shows them all"))
}

/// Prints a line. A closed stdout is not an error.
fn print_line(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(anstream::stdout().lock(), "{line}");
}

#[cfg(test)]
mod tests;
