//! `reconcile FILE`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use crelay_payments::config::Vars;
use crelay_payments::ledger::{Ledger, SettleError, Settlement};
use crelay_payments::reconcile::{ExportSettlement, Reconciliation, read_export};

/// Compare the ledger with the processor's export: settle payments in `unknown` or `pending`, list differences.
///
/// A row matches a payment by the ledger's id in any cell, else by the confirmation code, else by amount, currency,
/// last four digits and time; only a unique match counts. The exit code is 1 if there is a difference to look at.
#[derive(Debug, Args)]
pub(super) struct Reconcile {
    /// The processor's export: CSV with a header line, such as id,description,amount,currency,last4,created,status
    file: PathBuf,
    /// The amounts are in minor units (2500 for 25.00)
    #[arg(long)]
    minor: bool,
    /// Show what would be settled, and settle nothing
    #[arg(long)]
    dry_run: bool,
}

/// Compares the ledger with the export, and settles payments by it.
pub(super) async fn run(args: &Reconcile, vars: &Vars) -> anyhow::Result<ExitCode> {
    let file = File::open(&args.file).with_context(|| format!("{} cannot be read", args.file.display()))?;
    let rows = read_export(file, args.minor)?;
    super::with_ledger(vars, async |ledger| {
        let payments = super::all_payments(ledger, None, None).await?;
        let result = Reconciliation::compare(&rows, &payments);
        let mut is_clean = result.findings.is_empty();
        for settlement in &result.settlements {
            let done = if args.dry_run { "would be" } else { "is" };
            match if args.dry_run { Ok(()) } else { settle(ledger, settlement, &args.file).await } {
                Ok(()) => super::print(format_args!(
                    "line {}: {done} settled as {}: {}\n",
                    settlement.line,
                    settlement.outcome.as_str(),
                    settlement.payment_id
                ))?,
                Err(SettleError::Ledger(error)) => return Err(error.into()),
                // The late callback, or an operator, was faster.
                Err(error) => {
                    is_clean = false;
                    super::print(format_args!(
                        "line {}: is not settled, {error}: {}\n",
                        settlement.line, settlement.payment_id
                    ))?;
                }
            }
        }
        for finding in &result.findings {
            super::print(format_args!("{finding}\n"))?;
        }
        super::print(format_args!(
            "{} rows: {} agree, {} {}settled, {} to look at\n",
            rows.len(),
            result.agreeing_rows,
            result.settlements.len(),
            if args.dry_run { "to be " } else { "" },
            result.findings.len()
        ))?;
        is_clean &= !args.dry_run || result.is_clean();
        Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
    .await
}

async fn settle(ledger: &Ledger, settlement: &ExportSettlement, file: &Path) -> Result<(), SettleError> {
    let ExportSettlement { payment_id: payment, line, outcome: verdict, confirmation } = settlement.clone();
    let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
    let note = Some(format!("reconciled with {name}, line {line}"));
    ledger
        .settle(payment, &Settlement { outcome: verdict, confirmation, note, is_correction: false, operator: None })
        .await?;
    Ok(())
}
