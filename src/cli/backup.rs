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

/// Copies the ledger.
pub async fn run(what: Backup, vars: &Vars) -> anyhow::Result<ExitCode> {
    super::with_ledger(vars, async |ledger| {
        ledger.backup(&what.file).await?;
        println!("{} is written, without payment tokens", what.file.display());
        Ok(ExitCode::SUCCESS)
    })
    .await
}
