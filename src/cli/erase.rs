//! `erase`.

use std::io::{IsTerminal as _, stderr};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use crelay_payments::config::Vars;
use crelay_payments::ledger::{ErasureResult, Ledger};
use crelay_payments::phone_number::PhoneNumber;

/// How often to try to empty the write-ahead log, and how long to wait in between.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(250);

/// From this number on the progress is printed: so many payments take about a second.
const PROGRESS_FROM: usize = 5000;

/// Erase the caller, the references and the description of a caller's payments. Amounts, states and events stay.
///
/// Leaves out a payment that is not over, or has an undelivered event. The exit code is 1 if a payment was left out.
#[derive(Debug, Args)]
pub(super) struct Erase {
    /// The caller's number, in E.164 form
    #[arg(long)]
    caller: PhoneNumber,
}

/// Erases the personal data of a caller's payments.
pub(super) async fn run(args: &Erase, vars: &Vars) -> anyhow::Result<ExitCode> {
    super::with_ledger(vars, async |ledger| {
        let ErasureResult { erased, kept: left } = ledger.erase_caller(&args.caller, show_progress).await?;
        super::print(format_args!("erased: {erased}\n"))?;
        if left > 0 {
            super::print(format_args!("left: {left}, which are not over or have an undelivered event\n"))?;
        }
        if let Err(error) = ledger.vacuum().await {
            super::print_error(format_args!("the file cannot be rebuilt, and its unused parts may still contain what was erased: {error}; run this again"));
            return Ok(ExitCode::FAILURE);
        }
        if !is_wiped(ledger).await? {
            super::print_error(format_args!("the write-ahead log still contains what was erased, because a reader keeps it: run this again"));
            return Ok(ExitCode::FAILURE);
        }
        Ok(if left > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    })
    .await
}

/// Prints the progress on a terminal.
fn show_progress(done: usize, all: usize) {
    if all >= PROGRESS_FROM && stderr().is_terminal() {
        eprint!("\rerasing: {done} of {all}{}", if done == all { "\n" } else { "" });
    }
}

/// Empties the write-ahead log; false if a reader prevents it.
async fn is_wiped(ledger: &Ledger) -> anyhow::Result<bool> {
    for _ in 0..ATTEMPTS {
        ledger.wipe_erased().await?;
        if !ledger.is_wipe_pending() {
            return Ok(true);
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(false)
}
