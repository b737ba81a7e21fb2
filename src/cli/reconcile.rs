//! `reconcile FILE`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use crelay_payments::config::Vars;
use crelay_payments::ledger::{Ledger, NotSettled, Settlement};
use crelay_payments::reconcile::{ExportSettlement, Reconciliation, read_export};

/// What `reconcile` is told.
#[derive(Debug, Args)]
pub struct Reconcile {
    /// The processor's export: CSV with a header line, such as id,description,amount,currency,last4,created,status
    file: PathBuf,
    /// The amounts are in minor units (2500 for 25.00)
    #[arg(long)]
    minor: bool,
    /// Show what would be settled, and settle nothing
    #[arg(long)]
    dry_run: bool,
}

/// Compares the ledger with an export, and settles what it tells.
pub async fn run(what: Reconcile, vars: &Vars) -> anyhow::Result<ExitCode> {
    let file = File::open(&what.file).with_context(|| format!("{} cannot be read", what.file.display()))?;
    let rows = read_export(file, what.minor)?;
    super::with_ledger(vars, async |ledger| {
        let payments = super::all_payments(ledger, None, None).await?;
        let result = Reconciliation::of(&rows, &payments);
        let mut is_clean = result.findings.is_empty();
        for settlement in &result.settlements {
            let done = if what.dry_run { "would be" } else { "is" };
            match if what.dry_run { Ok(()) } else { settle(ledger, settlement, &what.file).await } {
                Ok(()) => super::print(&format!(
                    "line {}: {done} settled as {}: {}\n",
                    settlement.line,
                    settlement.verdict.as_str(),
                    settlement.payment
                )),
                Err(NotSettled::Unwritten(error)) => return Err(error.into()),
                // The late callback, or an operator, was faster.
                Err(error) => {
                    is_clean = false;
                    super::print(&format!(
                        "line {}: is not settled, {error}: {}\n",
                        settlement.line, settlement.payment
                    ));
                }
            }
        }
        for finding in &result.findings {
            super::print(&format!("{finding}\n"));
        }
        super::print(&format!(
            "{} rows: {} agree, {} {}settled, {} to look at\n",
            rows.len(),
            result.agreed,
            result.settlements.len(),
            if what.dry_run { "to be " } else { "" },
            result.findings.len()
        ));
        is_clean &= !what.dry_run || result.agrees();
        Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
    .await
}

async fn settle(ledger: &Ledger, settlement: &ExportSettlement, file: &Path) -> Result<(), NotSettled> {
    let ExportSettlement { payment, line, verdict, confirmation } = settlement.clone();
    let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
    let note = Some(format!("reconciled with {name}, line {line}"));
    ledger.settle(payment, &Settlement { verdict, confirmation, note, corrects: false }).await?;
    Ok(())
}
