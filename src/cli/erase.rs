//! `erase`.

use std::io::{IsTerminal as _, stderr};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use crelay_payments::config::Vars;
use crelay_payments::ledger::{Erased, Ledger};
use crelay_payments::phone_number::PhoneNumber;

/// How often the write-ahead log is tried to be emptied, and how long to wait in between.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(250);

/// So many payments take a second or so.
const MANY: usize = 5000;

/// What `erase` is told.
#[derive(Debug, Args)]
pub struct Erase {
    /// The caller's number, in E.164 form
    #[arg(long)]
    caller: PhoneNumber,
}

/// Erases the personal data of a caller's payments.
pub async fn run(what: Erase, vars: &Vars) -> anyhow::Result<ExitCode> {
    super::with_ledger(vars, async |ledger| {
        let Erased { erased, left } = ledger.erase_caller(&what.caller, show_progress).await?;
        println!("erased: {erased}");
        if left > 0 {
            println!("left: {left}, which are not over or have an event that is not delivered");
        }
        if let Err(error) = ledger.rebuild().await {
            eprintln!("what was erased may still stand in unused parts of the file, which could not be written anew: {error}; run this again");
            return Ok(ExitCode::FAILURE);
        }
        if !is_wiped(ledger).await? {
            eprintln!(
                "what was erased still stands in the write-ahead log, since the ledger is being read: run this again"
            );
            return Ok(ExitCode::FAILURE);
        }
        Ok(if left > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    })
    .await
}

/// Shows on a terminal how far it is with many payments.
fn show_progress(done: usize, all: usize) {
    if all >= MANY && stderr().is_terminal() {
        eprint!("\rerasing: {done} of {all}{}", if done == all { "\n" } else { "" });
    }
}

/// Empties the write-ahead log, which a reader may hold up.
async fn is_wiped(ledger: &Ledger) -> anyhow::Result<bool> {
    for _ in 0..ATTEMPTS {
        ledger.wipe_erased().await?;
        if !ledger.is_to_be_wiped() {
            return Ok(true);
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(false)
}
