//! Twilio, OpenAI and the caller, played by this program over real HTTP and real sockets against the real server.
//!
//! `simulate` shows a newcomer a payment call without any account; the tests play every scenario. Only the outside world
//! is simulated, and strictly: whatever Twilio or OpenAI would refuse, ignore or misread fails the run.

mod business;
mod caller;
mod deployment;
mod desk;
mod house;
mod interactive;
mod ledger_file;
mod openai;
mod operator;
mod pace;
mod planted;
pub mod proof;
mod prying;
mod relay;
mod scenario;
mod stage;
mod tape;
mod twilio;
mod view;

use std::time::Duration;

use futures_util::{StreamExt, stream};
use secrecy::SecretString;

pub use scenario::Check;
pub use twilio::Sync as TwilioSync;
pub use view::Colours;

use pace::Pace;
use scenario::Scenario;
use stage::Stage;
use tape::Entry;

/// What to play, and how.
#[derive(Debug)]
pub struct Options {
    /// Which calls.
    pub which: Which,
    /// Who decides what the agent says.
    pub model: Model,
    /// A person plays the caller.
    pub interactive: bool,
    /// How it is shown.
    pub colours: Colours,
}

/// Which calls to play.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// A caller stores a card.
    HappyPath,
    /// One scenario, by name.
    Named(String),
    /// Every scenario, one line for each.
    All,
}

/// Who decides what the agent says.
#[derive(Debug, Clone)]
pub enum Model {
    /// A stand-in that follows the context like a dutiful agent, in true events of the Responses API.
    Scripted,
    /// OpenAI's API itself.
    Live {
        /// `OPENAI_API_KEY`.
        api_key: SecretString,
        /// `OPENAI_MODEL`.
        model: String,
        /// `OPENAI_BASE_URL`.
        base_url: String,
    },
}

/// What came of the calls.
#[derive(Debug)]
pub struct Report {
    /// One for each call.
    pub outcomes: Vec<Outcome>,
}

/// What came of one call.
#[derive(Debug)]
pub struct Outcome {
    /// The scenario.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// What had to hold.
    pub checks: Vec<Check>,
    /// How long it took, on the real clock.
    pub took: Duration,
    tape: Vec<Entry>,
}

impl Report {
    /// Whether everything held that has to.
    pub fn held(&self) -> bool {
        self.outcomes.iter().all(Outcome::held)
    }
}

impl Outcome {
    /// Whether everything held that has to.
    pub fn held(&self) -> bool {
        self.checks.iter().all(|check| check.broken.is_none())
    }

    /// The call as text, with what did not hold: what a failed test prints.
    pub fn story(&self) -> String {
        let lines: Vec<String> = self.tape.iter().filter_map(|entry| view::line(entry, Colours::Off)).collect();
        format!("{}\n{}\n{}", self.about, lines.join("\n"), view::summary(self, Colours::Off))
    }
}

/// How many calls are played at once by [`Which::All`]: each waits for clocks most of the time.
const AT_ONCE: usize = 4;

/// The names of all scenarios, with a sentence about each.
pub fn list() -> Vec<(&'static str, &'static str)> {
    scenario::all().into_iter().map(|scenario| (scenario.name, scenario.about)).collect()
}

/// Plays one scenario as fast as it goes, and shows nothing.
pub async fn play(name: &str) -> anyhow::Result<Outcome> {
    Box::pin(Stage::fast().play(&named(name)?)).await
}

/// Plays what the options ask for, and shows it. An error means that the simulator itself could not do its work.
pub async fn run(options: Options) -> anyhow::Result<Report> {
    let colours = options.colours;
    if options.which == Which::All {
        return run_all(options).await;
    }
    let scenario = match &options.which {
        Which::Named(name) => named(name)?,
        _ => named("happy-path")?,
    };
    let live = options.interactive || matches!(options.model, Model::Live { .. });
    let pace = if live { Pace::LIVE } else { Pace::WATCH };
    let stage = Stage::shown(pace, options.model, move |entry| {
        if let Some(line) = view::line(entry, colours) {
            show(&line);
        }
    });
    show(&view::headline(&scenario, pace, colours));
    let outcome = if options.interactive {
        stage.play_with_a_person(&scenario).await?
    } else {
        Box::pin(stage.play(&scenario)).await?
    };
    show(&view::summary(&outcome, colours));
    Ok(Report { outcomes: vec![outcome] })
}

async fn run_all(options: Options) -> anyhow::Result<Report> {
    let colours = options.colours;
    let model = options.model;
    let calls = scenario::all().into_iter().map(|scenario| {
        let stage = Stage::with_model(model.clone());
        async move { Box::pin(stage.play(&scenario)).await }
    });
    let mut calls = stream::iter(calls).buffered(AT_ONCE);
    let mut outcomes = Vec::new();
    while let Some(outcome) = calls.next().await {
        let outcome = outcome?;
        show(&view::one_line(&outcome, colours));
        outcomes.push(outcome);
    }
    let report = Report { outcomes };
    show(&view::total(&report, colours));
    Ok(report)
}

fn named(name: &str) -> anyhow::Result<Scenario> {
    let found = scenario::all().into_iter().find(|scenario| scenario.name == name);
    found.ok_or_else(|| anyhow::anyhow!("there is no scenario {name:?}; --list shows them all"))
}

/// Shows a line. Whoever closed the terminal does not want to see it: that is no error.
fn show(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

#[cfg(test)]
mod tests;
