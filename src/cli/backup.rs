//! `backup FILE`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use crelay_payments::config::Vars;

/// What `backup` is told.
#[derive(Debug, Args)]
pub struct Backup {
    /// The new file; it must not exist
    file: PathBuf,
}

/// Copies the ledger. A signal ends that, and nothing is left of the copy.
pub async fn run(what: Backup, vars: &Vars) -> anyhow::Result<ExitCode> {
    super::with_ledger(vars, async |ledger| {
        tokio::select! {
            done = ledger.backup(&what.file) => done?,
            () = crate::signal() => anyhow::bail!("interrupted: there is no backup"),
        }
        println!(
            "{} is written, without payment tokens; a server starts on it with `serve --take-over`",
            what.file.display()
        );
        Ok(ExitCode::SUCCESS)
    })
    .await
}
