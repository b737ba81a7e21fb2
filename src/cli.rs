//! The commands that work on the ledger, one file each. A server may be running meanwhile.

pub mod backup;
pub mod deliver;
pub mod erase;
pub mod refunded;
pub mod totals;

use std::io::Write as _;
use std::process::ExitCode;

use crelay_payments::config::{self, Vars};
use crelay_payments::ledger::Ledger;

/// The exit code for a configuration that cannot be used.
pub const BAD_CONFIGURATION: u8 = 2;

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
