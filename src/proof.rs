//! `prove`: tests that no card data leaves the server.
//!
//! The program is started with the configured environment as a separate process, between stand-ins for Twilio, the
//! model, the business and the operator. Generated card numbers are sent through every known leak vector, and every
//! byte that leaves the process is searched for them.

mod business;
mod call;
mod capture;
mod case;
mod control;
mod data_flow;
mod harness;
mod markdown;
mod over_time;
mod payment;
mod placement;
mod report;
mod responsibilities;
mod server_process;
mod setup;
mod vector;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::Instant;

use crate::config::Vars;
use crate::simulator::card_samples::CardSample;
use crate::simulator::create_temporary_directory;
use crate::simulator::leak_scan::{CapturedOutput, find_samples};
use capture::{CapturedSize, OutputChannel, add_sizes};
use case::ProofCase;
use control::CanarySightings;
pub use data_flow::{CardDataInFlow, DataFlow, EffectiveSetting, Flow, Provider};
use harness::ProofHarness;
pub use report::{FailedCase, LeakFinding, ProofReport, ProofVerdict};
pub use responsibilities::Responsibility;
use server_process::StartServerError;
use vector::LeakVector;

/// The options of a proof run.
#[derive(Debug)]
pub struct ProofOptions {
    /// The executable, which is started with `serve`.
    pub program: PathBuf,
    /// The configured environment variables.
    pub vars: Vars,
    /// How many card numbers are used, one per case. The vectors take turns, so that each is used once per
    /// [`VECTOR_COUNT`] cases.
    pub numbers: usize,
    /// The seed of the generated data. The same seed repeats the run.
    pub seed: u64,
}

/// The outcome of a proof run.
#[derive(Debug)]
pub enum ProofOutcome {
    /// The configuration is invalid: the problems, one a line.
    InvalidConfig(String),
    /// The run is complete.
    Completed(Box<ProofReport>),
}

/// The number of cases between two searches. Each search includes the samples of the previous batch, so that late
/// output is found too.
const BATCH_SIZE: usize = 2 * LeakVector::ALL.len();

/// How long a payment token may stay in the ledger's files after it was delivered to the business.
const ERASURE_TIMEOUT: Duration = Duration::from_secs(10);

/// The number of leak vectors, including the regular entry on the keypad.
pub const VECTOR_COUNT: i64 = 35;

/// Returns the card number of case 0 of a run with this seed.
pub fn first_card_number(seed: u64) -> String {
    CardSample::digits_only(&mut case::case_rng(seed, 0)).number
}

/// Runs the proof and reports the number of completed cases to `progress` after each case.
///
/// Returns an error if the run itself fails, not if card data is found.
pub async fn prove(options: ProofOptions, progress: impl Fn(usize)) -> anyhow::Result<ProofOutcome> {
    let work_dir = create_temporary_directory()?;
    let began = Instant::now();
    let (harness, set_up) = match ProofHarness::start(&options.program, &options.vars, work_dir.path()).await {
        Ok(started) => started,
        Err(StartServerError::InvalidConfig(why)) => return Ok(ProofOutcome::InvalidConfig(why)),
        Err(StartServerError::Failed(error)) => return Err(error),
    };
    let mut run = ProofRun { harness, options, results: ProofResults::default() };
    run.run(work_dir.path(), progress).await?;
    let ProofRun { options, results, .. } = run;
    Ok(ProofOutcome::Completed(Box::new(ProofReport::new(&options, set_up, results, began.elapsed()))))
}

/// A proof run in progress.
struct ProofRun {
    harness: ProofHarness,
    options: ProofOptions,
    results: ProofResults,
}

/// The results collected so far.
#[derive(Debug, Default)]
struct ProofResults {
    runs_by_vector: BTreeMap<LeakVector, usize>,
    captured_sizes: BTreeMap<&'static str, CapturedSize>,
    canary: CanarySightings,
    /// One captured output of each channel, for the search controls.
    channel_samples: Vec<CapturedOutput>,
    findings: Vec<LeakFinding>,
    failed_cases: Vec<FailedCase>,
}

/// A sample that was sent to the server, and how.
#[derive(Debug, Clone)]
struct PlacedSample {
    case: usize,
    vector: LeakVector,
    sample: CardSample,
}

impl ProofRun {
    async fn run(&mut self, work_dir: &Path, progress: impl Fn(usize)) -> anyhow::Result<()> {
        control::run_canary_call(&self.harness).await.context("the canary call failed with this configuration")?;
        let (mut all, mut before) = (Vec::new(), Vec::new());
        for first in (0..self.options.numbers).step_by(BATCH_SIZE) {
            let mut placed = Vec::new();
            for case in first..(first + BATCH_SIZE).min(self.options.numbers) {
                self.run_case(case, &mut placed).await;
                anyhow::ensure!(self.harness.server.is_running(), "the server process exited");
                progress(case + 1);
            }
            let _ = self.harness.get_as_operator("/payments").await?;
            let text = placed.last().map(|placed| placed.sample.text()).unwrap_or_default();
            self.harness.read_console(&text).await?;
            let output = self.harness.capture.take();
            self.search_output(&output, &[&before[..], &placed].concat());
            all.extend(placed.iter().cloned());
            before = placed;
        }
        self.wait_for_erasure(work_dir, &all).await;
        self.harness.server.stop();
        self.search_output(&self.harness.capture.take(), &before);
        self.search_output(&ledger_files(work_dir), &all);
        Ok(())
    }

    async fn run_case(&mut self, case: usize, placed: &mut Vec<PlacedSample>) {
        let vector = LeakVector::ALL[case % LeakVector::ALL.len()];
        let mut proof_case = ProofCase::new(&self.harness, vector, self.options.seed, case);
        let result = proof_case.run().await;
        if result.is_err() {
            proof_case.abandon().await;
        }
        let ProofCase { sample, secrets, .. } = proof_case;
        match result {
            Ok(leftover) => {
                *self.results.runs_by_vector.entry(vector).or_default() += 1;
                let found = leftover.map(|channel| LeakFinding::new(channel.name(), vector, case, &sample));
                self.results.findings.extend(found);
            }
            Err(error) => self.results.failed_cases.push(FailedCase::new(vector, case, &error)),
        }
        placed.extend([sample].into_iter().chain(secrets).map(|sample| PlacedSample { case, vector, sample }));
    }

    fn search_output(&mut self, output: &[CapturedOutput], placed: &[PlacedSample]) {
        let ProofResults { captured_sizes: sizes, canary, channel_samples: samples, findings, .. } = &mut self.results;
        add_sizes(sizes, output);
        canary.record(output);
        for channel in OutputChannel::ALL.map(OutputChannel::name) {
            if samples.iter().all(|sample| sample.channel != channel) {
                samples.extend(output.iter().find(|it| it.channel == channel).cloned());
            }
        }
        let card_samples: Vec<CardSample> = placed.iter().map(|placed_sample| placed_sample.sample.clone()).collect();
        for found in find_samples(output, &card_samples) {
            let PlacedSample { case, vector, sample } = &placed[found.sample];
            let finding = LeakFinding::new(found.channel, *vector, *case, sample);
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
    }

    /// Waits until the delivered payment tokens are erased from the ledger's files, or until the timeout. The search
    /// then reports what is left.
    async fn wait_for_erasure(&self, work_dir: &Path, placed: &[PlacedSample]) {
        let until = Instant::now() + ERASURE_TIMEOUT;
        let secrets: Vec<CardSample> = placed.iter().map(|placed_sample| placed_sample.sample.clone()).collect();
        while !find_samples(&ledger_files(work_dir), &secrets).is_empty() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Reads the ledger's files and everything else in the server's working directory.
fn ledger_files(work_dir: &Path) -> Vec<CapturedOutput> {
    let files = std::fs::read_dir(work_dir).into_iter().flatten().flatten();
    let bytes = files.filter_map(|file| std::fs::read(file.path()).ok());
    bytes
        .map(|bytes| CapturedOutput {
            channel: OutputChannel::Ledger.name(),
            bytes: String::from_utf8_lossy(&bytes).into(),
        })
        .collect()
}
