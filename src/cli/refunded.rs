//! `refunded ID`.

use std::process::ExitCode;

use clap::Args;
use crelay_payments::config::Vars;
use crelay_payments::ledger::{self, Refund, RefundKind};
use crelay_payments::payment::PaymentId;
use jiff::Timestamp;

/// What `refunded` is told.
#[derive(Debug, Args)]
pub struct Refunded {
    /// The id of the payment, as `payments` shows it
    id: PaymentId,
    /// How much, as decimal text in the payment's currency: what was charged less what is refunded, at most
    #[arg(long)]
    amount: String,
    /// What the processor calls the refund or the dispute; the same reference again changes nothing
    #[arg(long)]
    reference: String,
    /// The payer disputes the payment; nothing was given back
    #[arg(long)]
    dispute: bool,
    /// When: a day in UTC (2026-11-01), a moment, or how long ago (30m, 24h, 7d) [default: now]
    #[arg(long)]
    at: Option<String>,
}

/// Records a refund or a dispute.
pub async fn run(what: Refunded, vars: &Vars) -> anyhow::Result<ExitCode> {
    super::with_ledger(vars, async |ledger| {
        let at = what.at.as_deref().map(|at| ledger::since(at, Timestamp::now())).transpose()?;
        let kind = if what.dispute { RefundKind::Dispute } else { RefundKind::Refund };
        let refund = Refund { kind, amount: what.amount, reference: what.reference, at };
        let payment = ledger.record_refund(what.id, &refund).await?;
        let refunded = payment.amount.filter(|_| payment.refunded > 0).map_or_else(String::new, |charged| {
            format!(", {} {} refunded", ledger::decimal(payment.refunded, charged.currency()), charged.currency())
        });
        println!("{} is {}{refunded}", payment.id, payment.state);
        Ok(ExitCode::SUCCESS)
    })
    .await
}
