//! `simulate`.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use crelay_payments::config::{self, ApiBaseUrl, PostgresUrl, Vars};
use crelay_payments::simulator::{self, ScenarioSelection, SimulationOptions};
use secrecy::SecretString;

/// The largest recording that is read, in bytes. `observe` writes at most 100,000 lines of a few hundred bytes.
const MAX_RECORDING_BYTES: u64 = 64 * 1024 * 1024;

/// Play a payment call against the real server, with Twilio, OpenAI and the caller played by this program.
///
/// Needs no account, no key and no configuration. The exit code is 1 if a check of the call failed.
#[derive(Debug, Args)]
pub(super) struct Simulate {
    /// Which call to play [default: happy-path]; --list shows them all
    name: Option<String>,
    /// Play every call, one line for each
    #[arg(long, conflicts_with_all = ["name", "interactive"])]
    all: bool,
    /// Print the names of all calls that can be played
    #[arg(long)]
    list: bool,
    /// Play a recording of `observe` instead, and report what the server could not read
    #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "all", "interactive", "model"])]
    replay: Option<PathBuf>,
    /// Which model answers
    #[arg(long, value_enum, default_value_t = ModelChoice::Scripted)]
    model: ModelChoice,
    /// Keep the ledgers in this PostgreSQL, each in a database of its own: postgres://…, of a user that may create them
    #[arg(long, value_name = "URL", conflicts_with = "replay")]
    database: Option<PostgresUrl>,
    /// With 2, two servers share each ledger, in PostgreSQL: one gets the sockets, and the other one all other requests
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=2), conflicts_with = "replay")]
    servers: u8,
    /// Be the caller yourself: type what you say and which keys you press
    #[arg(long)]
    interactive: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ModelChoice {
    /// A scripted agent that follows the context
    Scripted,
    /// OpenAI itself: needs OPENAI_API_KEY, and costs money
    Live,
}

/// Plays simulated calls and prints their transcripts.
pub(super) async fn run(args: Simulate, vars: &Vars) -> anyhow::Result<ExitCode> {
    if args.list {
        for (name, about) in simulator::list_scenarios() {
            super::print(format_args!("{name:24} {about}\n"))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    // The transcript is the output; the server's log is printed only when RUST_LOG asks for it.
    if let Some(filter) = vars.get("RUST_LOG") {
        crate::logging::init(Some(filter));
    }
    if let Some(file) = args.replay {
        let recording =
            read_recording(&file).with_context(|| format!("cannot read the recording {}", file.display()))?;
        let report =
            simulator::replay(&recording).await.with_context(|| format!("cannot replay {}", file.display()))?;
        super::print(format_args!("{report}\n"))?;
        return Ok(if report.has_passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let which = match args.name {
        _ if args.all => ScenarioSelection::All,
        Some(name) => ScenarioSelection::Named(name),
        None => ScenarioSelection::HappyPath,
    };
    let model = match args.model {
        ModelChoice::Scripted => simulator::ModelSource::Scripted,
        ModelChoice::Live => simulator::ModelSource::Live {
            api_key: SecretString::from(vars.get("OPENAI_API_KEY").context("--model live needs OPENAI_API_KEY")?),
            model: vars.get("OPENAI_MODEL").unwrap_or(config::DEFAULT_MODEL).to_owned(),
            base_url: read_base_url(vars)?,
        },
    };
    let Simulate { interactive, database, servers, .. } = args;
    let options = SimulationOptions { selection: which, model, interactive, database, two_servers: servers == 2 };
    let report = simulator::run(options).await?;
    Ok(if report.has_passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Reads a recording, which may be a pipe.
fn read_recording(file: &Path) -> anyhow::Result<String> {
    let mut recording = Vec::new();
    File::open(file)?.take(MAX_RECORDING_BYTES + 1).read_to_end(&mut recording)?;
    let is_whole = u64::try_from(recording.len()).is_ok_and(|bytes| bytes <= MAX_RECORDING_BYTES);
    anyhow::ensure!(is_whole, "it is larger than 64 MiB: give a file that `observe` has written");
    String::from_utf8(recording).context("it is no text: give a file that `observe` has written")
}

fn read_base_url(vars: &Vars) -> anyhow::Result<ApiBaseUrl> {
    match vars.get("OPENAI_BASE_URL") {
        Some(text) => text.parse().map_err(|error| anyhow::anyhow!("OPENAI_BASE_URL {error}")),
        None => Ok(ApiBaseUrl::default()),
    }
}
