//! `payments`.

use std::process::ExitCode;

use clap::Args;
use crelay_payments::config::Vars;
use crelay_payments::ledger::{PaymentState, PaymentsCsv, PaymentsTable, TotalsCsv, TotalsTable};

/// List the payments of the ledger, oldest first. The server may be running.
#[derive(Debug, Args)]
pub(super) struct Payments {
    /// Only payments opened at this time or later: a date in UTC (2026-11-01), a timestamp, or a duration ago (30m,
    /// 24h, 7d)
    #[arg(long)]
    since: Option<String>,
    /// Only payments in this state: opened, capturing, submitted, pending, charged, tokenized, declined, failed, cancelled,
    /// abandoned, unknown, returned, refunded, disputed
    #[arg(long)]
    state: Option<PaymentState>,
    /// Print CSV
    #[arg(long)]
    csv: bool,
    /// Print sums by day (UTC), currency and state, of the payments submitted since then
    #[arg(long, conflicts_with = "state")]
    totals: bool,
}

/// Prints the payments, or their totals.
pub(super) async fn run(args: &Payments, vars: &Vars) -> anyhow::Result<ExitCode> {
    super::with_ledger(vars, async |ledger| {
        let since = args.since.as_deref().map(super::parse_since).transpose()?;
        if args.totals {
            let totals = ledger.totals(since).await?;
            if args.csv { super::print(TotalsCsv(&totals))? } else { super::print(TotalsTable(&totals))? }
        } else {
            let payments = super::all_payments(ledger, since, args.state).await?;
            if args.csv { super::print(PaymentsCsv(&payments))? } else { super::print(PaymentsTable(&payments))? }
        }
        Ok(ExitCode::SUCCESS)
    })
    .await
}
