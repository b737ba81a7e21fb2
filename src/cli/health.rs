//! `health`.

use std::process::ExitCode;

use clap::Args;
use crelay_payments::check;
use crelay_payments::config::{self, Vars};

/// Query this machine's /health
///
/// The exit code is 1 if no server answers, or if it takes no payments because the ledger cannot be written.
#[derive(Debug, Args)]
pub(super) struct Health {
    /// Only check that a server answers: for a health check that restarts the container
    #[arg(long)]
    alive: bool,
}

/// Queries the health of the server on this machine.
pub(super) async fn run(args: &Health, vars: &Vars) -> anyhow::Result<ExitCode> {
    let address = match config::local_address_from_vars(vars) {
        Ok(address) => address,
        Err(problems) => return super::refuse_configuration(&problems),
    };
    if args.alive {
        check::check_alive(address).await?;
    } else {
        check::check_health(address).await?;
    }
    Ok(ExitCode::SUCCESS)
}
