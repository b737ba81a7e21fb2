//! Measures the server under load: calls that talk, use tools and pay, from stand-ins for Twilio, the model and the callers in
//! a process of their own. The bare pipe of [`floor`] under the same load says what of it the machine and the libraries take.
//!
#![doc = include_str!("bench/README.md")]

mod call;
mod caller;
mod consoles;
mod delay;
mod faults;
mod floor;
mod measure;
mod model;
mod model_server;
mod outcomes;
mod process;
mod report;
mod soak;
mod stage;
pub mod steps;
mod twilio;
mod webhooks;
mod workload;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

pub use floor::serve_floor;
pub use model_server::ModelWire;
pub use report::{BenchReport, Goal, Row};
pub use workload::Workload;

use process::Cores;
use stage::{Figure, Outcome};

/// What is measured, and under which load.
#[derive(Debug, Clone)]
pub struct BenchOptions {
    /// The workloads, in this order.
    pub workloads: Vec<Workload>,
    /// The program under test: the server, and the bare pipe.
    pub program: PathBuf,
    /// The live calls.
    pub calls: usize,
    /// How long each workload is measured.
    pub length: Duration,
    /// The tokens of an answer.
    pub tokens: usize,
    /// The time between two tokens.
    pub spacing: Duration,
    /// The time from a request to the first token.
    pub thinking: Duration,
    /// The time between two keys of a caller.
    pub key_pause: Duration,
    /// The payment callbacks in a second.
    pub callbacks_per_second: usize,
    /// The payment calls of a soak.
    pub payments: usize,
    /// The seed of the faults of a soak.
    pub seed: u64,
    /// The wire to the model.
    pub wire: ModelWire,
    /// How long a byte to the model and one back take together.
    pub round_trip: Duration,
    /// The cores of the program under test; 0: those of the load.
    pub cores: usize,
    /// Whether the bare pipe is measured, too.
    pub with_floor: bool,
    /// Whether two servers share a ledger in PostgreSQL: one gets the sockets, and the other one all other requests. Only the
    /// first is measured.
    pub two_servers: bool,
}

/// Measures. `progress` gets a line at the begin of each part.
pub async fn run(options: &BenchOptions, progress: impl Fn(&str)) -> anyhow::Result<BenchReport> {
    raise_descriptor_limit();
    let cores = Cores::divide(options.cores);
    cores.pin_load();
    let mut report = BenchReport {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        machine: format!("{}, {}", processor(), cores.description),
        load: format!(
            "{} calls, answers of {} tokens {} ms apart after {} ms, over {} in {} ms and back, {} s each{}",
            options.calls,
            options.tokens,
            options.spacing.as_millis(),
            options.thinking.as_millis(),
            options.wire,
            options.round_trip.as_millis() / 2,
            options.length.as_secs(),
            if options.two_servers { ", on one of two servers" } else { "" },
        ),
        rows: Vec::new(),
        violations: Vec::new(),
    };
    for workload in &options.workloads {
        let floor = if options.with_floor && workload.has_floor() {
            progress(&format!("{workload:?} of the bare pipe"));
            workload::run(*workload, options, &cores, true, &progress).await?
        } else {
            Outcome::default()
        };
        progress(&format!("{workload:?} of the server"));
        let server = workload::run(*workload, options, &cores, false, &progress).await?;
        report.violations.extend(floor.violations);
        report.violations.extend(server.violations);
        report.rows.extend(server.figures.into_iter().map(|figure| row(figure, &floor.figures)));
    }
    Ok(report)
}

fn row(figure: Figure, floor: &[Figure]) -> Row {
    let Figure { id, title, unit, value: server, goal } = figure;
    let floor = floor.iter().find(|floor| floor.id == id).and_then(|floor| floor.value);
    Row { id, title, unit: unit.to_owned(), server, floor, goal }
}

/// The load has as many connections as the server.
fn raise_descriptor_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Without it, fewer calls can be opened, and the error says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':').map(|(_, name)| name.trim()));
    model.unwrap_or("an unknown processor").to_owned()
}
