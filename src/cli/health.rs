//! `health`.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use crelay_payments::check;
use crelay_payments::config::Vars;

/// The port of a server whose configuration names none.
const DEFAULT_PORT: u16 = 3001;

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
    let port = vars.get("PORT").map_or(Ok(DEFAULT_PORT), str::parse).context("PORT is not a port number")?;
    if args.alive {
        check::check_alive(port).await?;
    } else {
        check::check_health(port).await?;
    }
    Ok(ExitCode::SUCCESS)
}
