//! `payments --totals`.

use std::process::ExitCode;

use crelay_payments::config::Vars;
use crelay_payments::ledger::{self, TotalsCsv, TotalsTable};
use jiff::Timestamp;

/// Prints sums by day, currency and state.
pub async fn run(since: Option<&str>, csv: bool, vars: &Vars) -> anyhow::Result<ExitCode> {
    super::with_ledger(vars, async |ledger| {
        let since = since.map(|since| ledger::since(since, Timestamp::now())).transpose()?;
        let totals = ledger.totals(since).await?;
        super::print(&if csv { TotalsCsv(&totals).to_string() } else { TotalsTable(&totals).to_string() });
        Ok(ExitCode::SUCCESS)
    })
    .await
}
