//! The command line; the server is the library's.

mod cli;
mod logging;

use std::io::{ErrorKind, IsTerminal};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum};
use cli::BAD_CONFIGURATION;
use crelay_payments::assets::{Assets, BadAssets, Uploaded, upload};
use crelay_payments::check;
use crelay_payments::config::{self, Config, Problem, Vars};
use crelay_payments::ledger::{self, Verdict};
use crelay_payments::payment::PaymentId;
use crelay_payments::server::{self, Shutdown};
use crelay_payments::simulator::proof::{self, Proof};
use crelay_payments::simulator::{self, Colours, Options, Which};
use jiff::Timestamp;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tracing::{info, warn};

/// How many ports are tried after a busy one.
const PORTS_TRIED: u16 = 50;

/// Where a server is that was told of no port.
const DEFAULT_PORT: u16 = 3001;

/// An AI voice agent takes a card payment during a live Twilio call; the card data goes from the keypad to Twilio alone.
///
/// Without a command it serves calls: configure it by the environment or a file `.env` (see .env.example), point your
/// Twilio number's voice webhook at https://YOUR-HOST/connectConversationRelay, and call it.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve calls (the default).
    Serve(Serve),
    /// Play a payment call against the real server, with Twilio, OpenAI and the caller played by this program.
    ///
    /// Needs no account, no key and no configuration. The exit code is 1 if anything that should hold did not.
    Simulate(Simulate),
    /// Show that no card data leaves the server in this set-up, and write it down for an assessor.
    ///
    /// Runs this program as it is configured, with Twilio, OpenAI and the business played by stand-ins and a ledger of its own;
    /// needs no account, and uses no configured credential. Card numbers are entered, spoken and misplaced in every known way,
    /// and every byte that left the server is searched: log, requests, socket, answers, webhook, ledger. The exit code is 1 if
    /// anything was found or could not be tried, and 2 if the configuration cannot be used.
    Prove(Prove),
    /// Tell before the first call what would go wrong in it.
    ///
    /// Looks at the configuration, the assets, the Twilio account and its number, the public address and the model, and
    /// changes nothing. The exit code is 1 if anything has to be mended, and 2 if the configuration cannot be used.
    Check,
    /// Query this machine's /health
    ///
    /// The exit code is 1 if no server answers, or if it takes no payments since the ledger cannot be written.
    Health(HealthArgs),
    /// Put contexts (*.md), manifests (*.json) and serverConfig.json into Twilio Sync.
    ///
    /// Needs ACCOUNT_SID, AUTH_TOKEN and FROM_NUMBER. Everything is checked before anything is sent; the exit code is 1 if
    /// anything was refused.
    UploadAssets(Upload),
    /// List the payments of the ledger, oldest first; the server may be running meanwhile.
    Payments(Payments),
    /// Record the outcome of a payment in state `unknown`, or `pending`, after it was looked up at the processor.
    ///
    /// A settlement that was wrong is corrected with --correct and a note. The server may be running meanwhile, and tells the
    /// business.
    Settle(Settle),
    /// Record that a payment was refunded, or is disputed, at the processor.
    Refunded(cli::refunded::Refunded),
    /// Compare the ledger with the processor's export: settle what is unknown or pending, list what disagrees.
    ///
    /// A row is a payment's by the ledger's id in any of its cells, else by the confirmation code, else by amount, currency, last
    /// four digits and time; a match that is not unique is none. The exit code is 1 if there is something to look at.
    Reconcile(cli::reconcile::Reconcile),
    /// Make everything that waits for PAYMENT_WEBHOOK_URL due now, and show how much waits since when.
    Deliver,
    /// Copy the ledger into a new file, without payment tokens; the server may be running meanwhile.
    ///
    /// The copy has mode 0600 and is checked. It is FILE.part until it is whole, and overwrites nothing.
    Backup(cli::backup::Backup),
    /// Erase the caller, the references and the description of a caller's payments; amounts, states and events stay.
    ///
    /// A payment that is not over, or has an event that is not delivered, is left as it is. The exit code is 1 if one was left.
    Erase(cli::erase::Erase),
}

#[derive(Debug, Default, Args)]
struct Serve {
    /// Use the ledger although it is a copy: a backup, or a file that another server worked on. No server may work on the
    /// original any more: two would carry the same payments on
    #[arg(long)]
    take_over: bool,
}

#[derive(Debug, Args)]
struct Upload {
    /// The files; each is kept under its own name
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Replace what says something else in Sync
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
struct Payments {
    /// Only those opened then or later: a day in UTC (2026-11-01), a moment, or how long ago (30m, 24h, 7d)
    #[arg(long)]
    since: Option<String>,
    /// Only those in this state: opened, capturing, submitted, pending, charged, tokenized, declined, failed, cancelled,
    /// abandoned, unknown, returned, refunded, disputed
    #[arg(long)]
    state: Option<ledger::State>,
    /// As CSV, for reconciliation
    #[arg(long)]
    csv: bool,
    /// Sums by day (UTC), currency and state, of what was submitted since then
    #[arg(long, conflicts_with = "state")]
    totals: bool,
}

#[derive(Debug, Args)]
struct HealthArgs {
    /// Only whether a server answers: for a health check that restarts the container
    #[arg(long)]
    alive: bool,
}

#[derive(Debug, Args)]
struct Settle {
    /// The id of the payment, as `payments` shows it
    id: PaymentId,
    /// How it ended: charged, tokenized, declined, cancelled, or returned (a bank debit)
    #[arg(long = "as")]
    verdict: Verdict,
    /// The processor's confirmation code
    #[arg(long)]
    confirmation: Option<String>,
    /// Why, or how it was found out
    #[arg(long)]
    note: Option<String>,
    /// Correct an earlier settlement; a note has to say why
    #[arg(long, requires = "note")]
    correct: bool,
}

#[derive(Debug, Args)]
struct Simulate {
    /// Which call to play [default: happy-path]; --list shows them all
    name: Option<String>,
    /// Play every call, one line for each
    #[arg(long, conflicts_with_all = ["name", "interactive"])]
    all: bool,
    /// Show the names of all calls that can be played
    #[arg(long)]
    list: bool,
    /// Who decides what the agent says
    #[arg(long, value_enum, default_value_t = Model::Scripted)]
    model: Model,
    /// Be the caller yourself: type what you say and which keys you press
    #[arg(long)]
    interactive: bool,
}

#[derive(Debug, Args)]
struct Prove {
    /// Where to write crelay-payments-proof.md and crelay-payments-proof.json
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// How many card numbers; one for each way at least
    #[arg(long, default_value_t = 230, value_parser = clap::value_parser!(u32).range(proof::WAYS..=100_000))]
    numbers: u32,
    /// The same seed puts the same numbers into the same places
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Model {
    /// A stand-in that follows the context like a dutiful agent
    Scripted,
    /// OpenAI itself: needs OPENAI_API_KEY, and costs what it costs
    Live,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command.unwrap_or(Command::Serve(Serve::default())) {
        Command::Serve(how) => serve(&how, Vars::from_process()).await,
        Command::Simulate(what) => simulate(what, &Vars::from_process()).await,
        Command::Prove(what) => prove(what, Vars::from_process()).await,
        Command::Check => check(&Vars::from_process()).await,
        Command::Health(what) => health(&what, &Vars::from_process()).await,
        Command::UploadAssets(what) => upload_assets(what, &Vars::from_process()).await,
        Command::Payments(which) => payments(&which, &Vars::from_process()).await,
        Command::Settle(what) => settle(what, &Vars::from_process()).await,
        Command::Refunded(what) => cli::refunded::run(what, &Vars::from_process()).await,
        Command::Reconcile(what) => cli::reconcile::run(what, &Vars::from_process()).await,
        Command::Deliver => cli::deliver::run(&Vars::from_process()).await,
        Command::Erase(what) => cli::erase::run(what, &Vars::from_process()).await,
        Command::Backup(what) => cli::backup::run(what, &Vars::from_process()).await,
    };
    done.unwrap_or_else(|error| {
        eprintln!("Error: {error:#}");
        ExitCode::FAILURE
    })
}

async fn serve(how: &Serve, vars: Vars) -> anyhow::Result<ExitCode> {
    logging::start(vars.get("RUST_LOG"));
    let (mut config, warnings) = match Config::from_vars(&vars) {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return Ok(ExitCode::from(BAD_CONFIGURATION));
        }
    };
    for warning in warnings {
        warn!("{warning}");
    }
    config.take_over = how.take_over;
    info!(model = config.openai.model, "configured");
    let assets = match Assets::open(&config.assets_dir, &config.twilio).await {
        Ok(assets) => assets,
        Err(BadAssets::Files(errors)) => {
            eprintln!("{errors}");
            return Ok(ExitCode::from(BAD_CONFIGURATION));
        }
        Err(error) => return Err(error.into()),
    };

    let listener = listen(config.port, config.port_fallback).await?;
    let shutdown = Shutdown::default();
    tokio::spawn(stop_on_signals(shutdown.clone()));
    server::serve(config, assets, listener, shutdown).await?;
    info!("stopped");
    Ok(ExitCode::SUCCESS)
}

async fn simulate(what: Simulate, vars: &Vars) -> anyhow::Result<ExitCode> {
    if what.list {
        for (name, about) in simulator::list() {
            println!("{name:24} {about}");
        }
        return Ok(ExitCode::SUCCESS);
    }
    // The transcript is what is shown; the server's log only if it is asked for.
    if let Some(filter) = vars.get("RUST_LOG") {
        logging::start(Some(filter));
    }
    let which = match what.name {
        _ if what.all => Which::All,
        Some(name) => Which::Named(name),
        None => Which::HappyPath,
    };
    let model = match what.model {
        Model::Scripted => simulator::Model::Scripted,
        Model::Live => simulator::Model::Live {
            api_key: SecretString::from(vars.get("OPENAI_API_KEY").context("--model live needs OPENAI_API_KEY")?),
            model: vars.get("OPENAI_MODEL").unwrap_or("gpt-4o").to_owned(),
            base_url: vars.get("OPENAI_BASE_URL").unwrap_or("https://api.openai.com/v1").to_owned(),
        },
    };
    let colours = std::io::stdout().is_terminal() && vars.get("NO_COLOR").is_none();
    let colours = if colours { Colours::On } else { Colours::Off };
    let report = simulator::run(Options { which, model, interactive: what.interactive, colours }).await?;
    Ok(if report.held() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn prove(what: Prove, vars: Vars) -> anyhow::Result<ExitCode> {
    std::fs::create_dir_all(&what.out).with_context(|| format!("{} cannot be made", what.out.display()))?;
    let program = std::env::current_exe().context("this program does not know where it is")?;
    let options = proof::Options { program, vars, numbers: what.numbers as usize, seed: what.seed };
    let watched = std::io::stderr().is_terminal();
    let progress = |done| {
        if watched {
            eprint!("\r{done} of {} card numbers", what.numbers);
        }
    };
    let proved = proof::prove(options, progress).await;
    if watched {
        eprintln!();
    }
    let report = match proved? {
        Proof::Tried(report) => report,
        Proof::Unusable(why) => {
            eprintln!("{why}");
            return Ok(ExitCode::from(BAD_CONFIGURATION));
        }
    };
    println!("{}", report.summary());
    for (extension, text) in [("md", report.markdown()), ("json", report.json()?)] {
        let file = what.out.join("crelay-payments-proof").with_extension(extension);
        std::fs::write(&file, text).with_context(|| format!("{} cannot be written", file.display()))?;
        println!("{}", file.display());
    }
    Ok(if report.verdict == proof::Verdict::NothingFound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn check(vars: &Vars) -> anyhow::Result<ExitCode> {
    let (config, warnings) = match Config::from_vars(vars) {
        Ok(read) => read,
        Err(problems) => {
            eprintln!("{problems}");
            return Ok(ExitCode::from(BAD_CONFIGURATION));
        }
    };
    let report = check::check(&config, &warnings).await;
    println!("{report}");
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn health(what: &HealthArgs, vars: &Vars) -> anyhow::Result<ExitCode> {
    let port = vars.get("PORT").map_or(Ok(DEFAULT_PORT), str::parse).context("PORT is not a port number")?;
    if what.alive {
        check::alive(port).await?;
    } else {
        check::health(port).await?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn upload_assets(what: Upload, vars: &Vars) -> anyhow::Result<ExitCode> {
    let twilio = match config::Twilio::from_vars(vars) {
        Ok((twilio, _)) => twilio,
        Err(problems) => {
            for Problem { place, what, mend } in problems.iter() {
                eprintln!("{place} {what}: give {mend}");
            }
            return Ok(ExitCode::from(BAD_CONFIGURATION));
        }
    };
    logging::start(vars.get("RUST_LOG").or(Some("warn")));
    let tell = |file: &Path, done| {
        let done = match done {
            Uploaded::Added => "added",
            Uploaded::Replaced => "replaced",
            Uploaded::Unchanged => "unchanged",
        };
        println!("{}  {done}", file.display());
    };
    for warning in upload(&what.files, what.force, &twilio, tell).await? {
        eprintln!("{warning}");
    }
    Ok(ExitCode::SUCCESS)
}

async fn payments(which: &Payments, vars: &Vars) -> anyhow::Result<ExitCode> {
    if which.totals {
        return cli::totals::run(which.since.as_deref(), which.csv, vars).await;
    }
    cli::with_ledger(vars, async |ledger| {
        let since = which.since.as_deref().map(|since| ledger::since(since, Timestamp::now())).transpose()?;
        let found = cli::all_payments(ledger, since, which.state).await?;
        let text = if which.csv { ledger::Csv(&found).to_string() } else { ledger::Table(&found).to_string() };
        cli::print(&text);
        Ok(ExitCode::SUCCESS)
    })
    .await
}

async fn settle(what: Settle, vars: &Vars) -> anyhow::Result<ExitCode> {
    cli::with_ledger(vars, async |ledger| {
        let Settle { id, verdict, confirmation, note, correct } = what;
        let settlement = ledger::Settlement { verdict, confirmation, note, corrects: correct };
        let payment = ledger.settle(id, &settlement).await?;
        println!("{} is {}", payment.id, payment.state);
        Ok(ExitCode::SUCCESS)
    })
    .await
}

/// Listens on the port, or, where that is allowed, on the next one that is free.
async fn listen(port: u16, fallback: bool) -> anyhow::Result<TcpListener> {
    let last = if fallback { port.saturating_add(PORTS_TRIED) } else { port };
    for candidate in port..=last {
        match TcpListener::bind((Ipv4Addr::UNSPECIFIED, candidate)).await {
            Ok(listener) => {
                if candidate != port {
                    warn!("port {port} is busy: listening on {candidate} instead; point your tunnel or proxy there");
                }
                return Ok(listener);
            }
            Err(error) if error.kind() == ErrorKind::AddrInUse && candidate < last => {}
            Err(error) if error.kind() == ErrorKind::AddrInUse => break,
            Err(error) => return Err(error).with_context(|| format!("port {candidate} cannot be listened on")),
        }
    }
    anyhow::bail!("port {port} is busy: set PORT to a free one, or stop what listens there")
}

/// The first signal lets live calls finish, the second ends them.
async fn stop_on_signals(shutdown: Shutdown) {
    signal().await;
    shutdown.soft.cancel();
    signal().await;
    shutdown.hard.cancel();
}

async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminate = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signals) => signals.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = terminate => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[tokio::test]
    async fn a_busy_port_gives_way_to_the_next_free_one_or_is_an_error() {
        let busy = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
        let port = busy.local_addr().unwrap().port();
        assert_ne!(listen(port, true).await.unwrap().local_addr().unwrap().port(), port);
        assert!(listen(port, false).await.unwrap_err().to_string().contains("PORT"));
    }
}
