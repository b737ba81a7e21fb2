//! `backup FILE`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use crelay_payments::config::Vars;

/// Copy the ledger into a new file, without payment tokens. The server may be running.
///
/// The copy has mode 0600 and is verified. It is named FILE.part until it is complete, and overwrites nothing.
#[derive(Debug, Args)]
pub(super) struct Backup {
    /// The new file; it must not exist
    file: PathBuf,
}

/// Copies the ledger. A signal ends the copying, and removes what was copied.
pub(super) async fn run(args: &Backup, vars: &Vars) -> anyhow::Result<ExitCode> {
    super::with_ledger(vars, async |ledger| {
        tokio::select! {
            done = ledger.backup(&args.file) => done?,
            () = super::stop_signal() => anyhow::bail!("interrupted: there is no backup"),
        }
        super::print(format_args!(
            "{} is written, without payment tokens; a server starts on it with `serve --take-over`\n",
            args.file.display()
        ))?;
        Ok(ExitCode::SUCCESS)
    })
    .await
}
