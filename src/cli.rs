//! The commands of the binary, one file each.

mod backup;
#[cfg(feature = "simulator")]
mod bench;
mod check;
mod deliver;
mod erase;
mod evidence;
mod health;
mod listen;
mod observe;
mod payments;
pub(crate) mod process;
#[cfg(feature = "simulator")]
mod prove;
mod reconcile;
mod refunded;
mod serve;
mod settle;
mod signals;
#[cfg(feature = "simulator")]
mod simulate;
mod upload_assets;

use std::fmt::Display;
use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use crelay_payments::config::{self, Vars};
use crelay_payments::ledger::{self, Ledger, Payment, PaymentFilter, PaymentState};
use crelay_payments::since::{self, ParseSinceError};
use jiff::Timestamp;

/// The exit code for a configuration that cannot be used.
const CONFIG_ERROR: u8 = 2;

/// The number of payments read from the ledger at once.
const PAGE: u32 = 1000;

/// An AI voice agent takes a card payment during a live Twilio call; the card data goes from the keypad to Twilio alone.
///
/// Without a command it serves calls: configure it by the environment or a file `.env` (see .env.example), point your
/// Twilio number's voice webhook at https://YOUR-HOST/connectConversationRelay, and call it.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    #[cfg(feature = "simulator")]
    Simulate(simulate::Simulate),
    #[cfg(feature = "simulator")]
    Prove(prove::Prove),
    #[cfg(feature = "simulator")]
    Bench(bench::Bench),
    /// Check the configuration, the assets, Twilio, the public address and the model before the first call.
    ///
    /// Changes nothing. The exit code is 1 if a check failed, and 2 if the configuration cannot be used.
    Check,
    Health(health::Health),
    Observe(observe::Observe),
    UploadAssets(upload_assets::UploadAssets),
    Payments(payments::Payments),
    Settle(settle::Settle),
    Refunded(refunded::Refunded),
    Reconcile(reconcile::Reconcile),
    Evidence(evidence::Evidence),
    /// Make every event not yet delivered to `PAYMENT_WEBHOOK_URL` due now, and print their number and the age of the
    /// oldest.
    Deliver,
    Backup(backup::Backup),
    Erase(erase::Erase),
}

/// Runs the command; without one, `serve`.
pub(crate) async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let vars = Vars::from_process();
    match cli.command.unwrap_or_else(|| Command::Serve(serve::Serve::default())) {
        Command::Serve(args) => serve::run(&args, &vars).await,
        #[cfg(feature = "simulator")]
        Command::Simulate(args) => simulate::run(args, &vars).await,
        #[cfg(feature = "simulator")]
        Command::Prove(args) => prove::run(&args, vars).await,
        #[cfg(feature = "simulator")]
        Command::Bench(args) => bench::run(args, &vars).await,
        Command::Check => check::run(&vars).await,
        Command::Health(args) => health::run(&args, &vars).await,
        Command::Observe(args) => observe::run(&args, &vars).await,
        Command::UploadAssets(args) => upload_assets::run(&args, &vars).await,
        Command::Payments(args) => payments::run(&args, &vars).await,
        Command::Settle(args) => settle::run(args, &vars).await,
        Command::Refunded(args) => refunded::run(args, &vars).await,
        Command::Reconcile(args) => reconcile::run(&args, &vars).await,
        Command::Evidence(args) => evidence::run(&args, &vars).await,
        Command::Deliver => deliver::run(&vars).await,
        Command::Backup(args) => backup::run(&args, &vars).await,
        Command::Erase(args) => erase::run(&args, &vars).await,
    }
}

/// Prints what is wrong with the configuration.
#[expect(clippy::unnecessary_wraps, reason = "it is what a command returns")]
fn refuse_configuration(problems: &impl Display) -> anyhow::Result<ExitCode> {
    print_error(problems);
    Ok(ExitCode::from(CONFIG_ERROR))
}

/// Runs a command on the ledger of the server on this machine, which may be running meanwhile.
async fn with_ledger(
    vars: &Vars,
    command: impl AsyncFnOnce(&Ledger) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    let (url, keys) = match config::ledger_from_vars(vars) {
        Ok(ledger) => ledger,
        Err(problems) => return refuse_configuration(&problems),
    };
    let ledger = Ledger::open_for_cli(url).await?;
    if let Some(keys) = keys {
        ledger.set_sealing_keys(keys);
    }
    let done = command(&ledger).await;
    ledger.close().await;
    done
}

/// Prints a text. A closed pipe (`| head`) is no error.
fn print(text: impl Display) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout();
    match write!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write the output"),
        _ => Ok(()),
    }
}

/// Prints a line of the standard error. Whether anybody reads it changes nothing.
pub(crate) fn print_error(text: impl Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// All payments opened at `since` or later and in this state, oldest first.
async fn all_payments(
    ledger: &Ledger,
    since: Option<Timestamp>,
    state: Option<PaymentState>,
) -> Result<Vec<Payment>, ledger::LedgerError> {
    let mut found: Vec<Payment> = Vec::new();
    loop {
        let after = found.last().map(|payment| payment.id);
        let page = ledger.payments(&PaymentFilter { since, state, after, limit: PAGE }).await?;
        if page.is_empty() {
            return Ok(found);
        }
        found.extend(page);
    }
}

/// Parses the value of `--since` or `--at`.
fn parse_since(text: &str) -> Result<Timestamp, ParseSinceError> {
    since::parse_since(text, Timestamp::now())
}

/// Completes at the first SIGTERM or Ctrl-C after the call.
async fn stop_signal() {
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
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_says_what_it_does() {
        for command in Cli::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
        }
    }
}
