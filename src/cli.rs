//! The commands that work on the ledger, one file each. A server may be running meanwhile.

pub mod backup;
pub mod deliver;
pub mod erase;
pub mod reconcile;
pub mod refunded;
pub mod totals;

use std::io::Write as _;
use std::process::ExitCode;

use crelay_payments::config::{self, Vars};
use crelay_payments::ledger::{self, Filter, Ledger, Payment, State};
use jiff::Timestamp;

/// The exit code for a configuration that cannot be used.
pub const BAD_CONFIGURATION: u8 = 2;

/// Payments that are read from the ledger at once.
const PAGE: u32 = 1000;

/// Runs a command on the ledger of the server on this machine. A configuration that cannot be used is printed.
pub async fn with_ledger(
    vars: &Vars,
    command: impl AsyncFnOnce(&Ledger) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    let path = match config::database(vars) {
        Ok(path) => path,
        Err(problems) => {
            eprintln!("{problems}");
            return Ok(ExitCode::from(BAD_CONFIGURATION));
        }
    };
    let ledger = Ledger::visit(&path).await?;
    let done = command(&ledger).await;
    ledger.close().await;
    done
}

/// Prints a text. A reader that has seen enough closes the pipe, which is no error.
pub fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// All payments since then in this state, oldest first.
pub async fn all_payments(
    ledger: &Ledger,
    since: Option<Timestamp>,
    state: Option<State>,
) -> Result<Vec<Payment>, ledger::Error> {
    let mut found: Vec<Payment> = Vec::new();
    loop {
        let after = found.last().map(|payment| payment.id);
        let page = ledger.payments(&Filter { since, state, after, limit: PAGE }).await?;
        if page.is_empty() {
            return Ok(found);
        }
        found.extend(page);
    }
}
