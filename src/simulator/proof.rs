//! The proof that no card data leaves the server: this program, as it is configured, runs as a process of its own between
//! stand-ins. Card numbers are entered and misplaced in every known way, and every byte that left it is searched.

mod attempt;
mod catch;
mod control;
mod markdown;
mod model;
mod outside;
mod payment;
mod phone;
mod report;
mod server;
mod setup;
mod way;
mod world;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::Instant;
use uuid::Uuid;

use super::planted::Planted;
use super::prying::{Evidence, search};
use crate::config::Vars;
use attempt::Attempt;
use catch::{Place, Size, weigh};
use control::Witness;
pub use report::{Finding, Report, Unplayed, Verdict};
use server::NotStarted;
use way::Way;
use world::World;

/// What to prove, and with what.
#[derive(Debug)]
pub struct Options {
    /// The program; `serve` makes it a server.
    pub program: PathBuf,
    /// What is configured.
    pub vars: Vars,
    /// How many card numbers; every way is tried with the first few of them.
    pub numbers: usize,
    /// The same seed, the same numbers in the same ways.
    pub seed: u64,
}

/// What came of it.
#[derive(Debug)]
pub enum Proof {
    /// The configured set-up cannot be used: what is wrong with it, in lines.
    Unusable(String),
    /// It was tried.
    Tried(Box<Report>),
}

/// So many numbers are misplaced between two searches. Each search looks for the numbers of the one before too: what is late is
/// found.
const BATCH: usize = 2 * Way::ALL.len();

/// How long a token may stay in the files of the ledger once the business was told it.
const ERASED: Duration = Duration::from_secs(10);

/// How many ways there are to misplace a card number, the right one among them.
pub const WAYS: i64 = 23;

/// The digits of the card that a proof with this seed takes first.
pub fn first_card(seed: u64) -> String {
    Planted::typed(&mut attempt::dice(seed, 0)).number
}

/// Runs the proof, and tells after each number how many are done. An error means that it could not do its work.
pub async fn prove(options: Options, progress: impl Fn(usize)) -> anyhow::Result<Proof> {
    let home = Home::new()?;
    let began = Instant::now();
    let (world, set_up) = match World::start(&options.program, &options.vars, &home.0).await {
        Ok(started) => started,
        Err(NotStarted::Unusable(why)) => return Ok(Proof::Unusable(why)),
        Err(NotStarted::Failed(error)) => return Err(error),
    };
    let mut course = Course { world, options, searched: Searched::default() };
    course.run(&home.0, progress).await?;
    let Course { options, searched, .. } = course;
    Ok(Proof::Tried(Box::new(Report::new(&options, set_up, searched, began.elapsed()))))
}

/// A proof that is being run.
struct Course {
    world: World,
    options: Options,
    searched: Searched,
}

/// What was searched, and what came of it.
#[derive(Debug, Default)]
struct Searched {
    tried: BTreeMap<Way, usize>,
    sizes: BTreeMap<&'static str, Size>,
    witness: Witness,
    /// Some of each place, into which controls are planted.
    samples: Vec<Evidence>,
    findings: Vec<Finding>,
    unplayed: Vec<Unplayed>,
}

/// A number that was planted, and where.
#[derive(Debug, Clone)]
struct Trace {
    case: usize,
    way: Way,
    planted: Planted,
}

impl Course {
    async fn run(&mut self, home: &Path, progress: impl Fn(usize)) -> anyhow::Result<()> {
        control::witness(&self.world).await.context("an ordinary call could not be played in this set-up")?;
        let (mut all, mut before) = (Vec::new(), Vec::new());
        for first in (0..self.options.numbers).step_by(BATCH) {
            let mut traces = Vec::new();
            for case in first..(first + BATCH).min(self.options.numbers) {
                self.attempt(case, &mut traces).await;
                anyhow::ensure!(self.world.server.runs(), "the server ended by itself");
                progress(case + 1);
            }
            let _ = self.world.operator_gets("/payments").await?;
            let evidence = self.world.catch.take();
            self.look(&evidence, &[&before[..], &traces].concat());
            all.extend(traces.iter().cloned());
            before = traces;
        }
        self.is_erased(home, &all).await;
        self.world.server.stop();
        self.look(&self.world.catch.take(), &before);
        self.look(&files(home), &all);
        Ok(())
    }

    async fn attempt(&mut self, case: usize, traces: &mut Vec<Trace>) {
        let way = Way::ALL[case % Way::ALL.len()];
        let mut attempt = Attempt::new(&self.world, way, self.options.seed, case);
        let played = attempt.play().await;
        if played.is_err() {
            attempt.is_given_up().await;
        }
        let Attempt { planted, secrets, .. } = attempt;
        match played {
            Ok(left) => {
                *self.searched.tried.entry(way).or_default() += 1;
                let found = left.map(|place| Finding::new(place.name(), way, case, &planted));
                self.searched.findings.extend(found);
            }
            Err(error) => self.searched.unplayed.push(Unplayed::new(way, case, &error)),
        }
        traces.extend([planted].into_iter().chain(secrets).map(|planted| Trace { case, way, planted }));
    }

    fn look(&mut self, evidence: &[Evidence], traces: &[Trace]) {
        let Searched { sizes, witness, samples, findings, .. } = &mut self.searched;
        weigh(sizes, evidence);
        witness.look(evidence);
        for place in Place::ALL.map(Place::name) {
            if samples.iter().all(|sample| sample.place != place) {
                samples.extend(evidence.iter().find(|it| it.place == place).cloned());
            }
        }
        let planted: Vec<Planted> = traces.iter().map(|trace| trace.planted.clone()).collect();
        for found in search(evidence, &planted) {
            let Trace { case, way, planted } = &traces[found.planted];
            let finding = Finding::new(found.place, *way, *case, planted);
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
    }

    /// Waits until every token that the business was told is erased. What stays is found by the search.
    async fn is_erased(&self, home: &Path, traces: &[Trace]) {
        let until = Instant::now() + ERASED;
        let secrets: Vec<Planted> = traces.iter().map(|trace| trace.planted.clone()).collect();
        while !search(&files(home), &secrets).is_empty() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The files of the ledger, and whatever else the server has written beside it.
fn files(home: &Path) -> Vec<Evidence> {
    let files = std::fs::read_dir(home).into_iter().flatten().flatten();
    let bytes = files.filter_map(|file| std::fs::read(file.path()).ok());
    bytes.map(|bytes| Evidence { place: Place::Ledger.name(), bytes: String::from_utf8_lossy(&bytes).into() }).collect()
}

/// The directory in which the server works; it goes away with the value.
struct Home(PathBuf);

impl Home {
    fn new() -> anyhow::Result<Self> {
        let home = std::env::temp_dir().join(format!("crelay-payments-{}", Uuid::new_v4()));
        std::fs::create_dir(&home).with_context(|| format!("{} cannot be made", home.display()))?;
        Ok(Self(home))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // It is in the system's directory for such things: what cannot be removed goes away sometime.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
