//! `bench`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use crelay_payments::bench::{self, BenchOptions, BenchReport, ModelWire, Workload};
use crelay_payments::config::Vars;

/// Measure the server under load, beside a bare pipe that only moves the model's tokens to the socket.
///
/// Twilio, the model and the callers are played by this program; the server runs in a second process, on cores of its own.
/// Needs Linux, no account and no configuration, and a release build for figures that mean something. Prints a table; the
/// exit code is 1 if the server broke a rule of its protocols, and 0 even if it missed a goal.
#[derive(Debug, Args)]
pub(super) struct Bench {
    /// What to measure [default: all but soak]
    #[arg(value_enum)]
    workloads: Vec<Workload>,
    /// Live calls that talk
    #[arg(long, default_value_t = 1000, value_name = "N")]
    calls: usize,
    /// How long each workload is measured
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Tokens of an answer of the model
    #[arg(long, default_value_t = 40, value_name = "N")]
    tokens: usize,
    /// Time between two tokens
    #[arg(long, default_value_t = 20, value_name = "MS")]
    spacing: u64,
    /// Time from a request to the model's first token
    #[arg(long, default_value_t = 2000, value_name = "MS")]
    thinking: u64,
    /// Time between two keys of a caller who pays
    #[arg(long, default_value_t = 100, value_name = "MS")]
    key_pause: u64,
    /// Payment callbacks in a second
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    callbacks: u64,
    /// Payment calls of a soak
    #[arg(long, default_value_t = 2000, value_name = "N", value_parser = clap::value_parser!(u64).range(10..=1_000_000))]
    payments: u64,
    /// Seed of the faults of a soak
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// What the model speaks
    #[arg(long, value_enum, default_value_t = ModelWire::Http2)]
    wire: ModelWire,
    /// How long a byte to the model and one back take together
    #[arg(long, default_value_t = 0, value_name = "MS")]
    round_trip: u64,
    /// Cores for the server, the load gets the others; 0 pins nothing
    #[arg(long, default_value_t = 1, value_name = "N")]
    cores: usize,
    /// With 2, two servers share a ledger in PostgreSQL: one gets the sockets, and the other one all other requests
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=2))]
    servers: u8,
    /// Leave the bare pipe out
    #[arg(long)]
    no_floor: bool,
    /// The server to measure [default: this program]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
    /// Write the figures to a file
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Print the figures beside those of such a file, too
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Be the bare pipe
    #[arg(long, hide = true)]
    serve_floor: bool,
}

/// Measures, and prints the figures.
pub(super) async fn run(args: Bench, vars: &Vars) -> anyhow::Result<ExitCode> {
    if args.serve_floor {
        let port = vars.get("PORT").and_then(|port| port.parse().ok()).context("PORT is missing")?;
        bench::serve_floor(port, vars.get("MODEL").context("MODEL is missing")?).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let before = args.compare.as_ref().map(read).transpose()?;
    let options = BenchOptions {
        workloads: if args.workloads.is_empty() { Workload::default_workloads() } else { args.workloads },
        program: match args.program {
            Some(program) => program,
            None => std::env::current_exe().context("cannot find the path of this program")?,
        },
        calls: args.calls,
        length: Duration::from_secs(args.seconds),
        tokens: args.tokens,
        spacing: Duration::from_millis(args.spacing),
        thinking: Duration::from_millis(args.thinking),
        key_pause: Duration::from_millis(args.key_pause),
        callbacks_per_second: usize::try_from(args.callbacks)?,
        payments: usize::try_from(args.payments)?,
        seed: args.seed,
        wire: args.wire,
        round_trip: Duration::from_millis(args.round_trip),
        cores: args.cores,
        with_floor: !args.no_floor,
        two_servers: args.servers == 2,
    };
    if cfg!(debug_assertions) {
        super::print_error("This is a debug build, which is many times slower: use `cargo run --release -- bench`.");
    }
    let report = bench::run(&options, |part| super::print_error(format_args!("measuring: {part}"))).await?;
    let json = serde_json::to_string_pretty(&report)? + "\n";
    if let Some(file) = &args.save {
        std::fs::write(file, &json).with_context(|| format!("cannot write {}", file.display()))?;
    }
    super::print(if args.json { json } else { report.to_string() })?;
    if let Some(before) = before {
        super::print(format_args!("\n{}", report.compare(&before)))?;
    }
    Ok(if report.has_passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(file: &PathBuf) -> anyhow::Result<BenchReport> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} has no figures of `bench --save`", file.display()))
}
