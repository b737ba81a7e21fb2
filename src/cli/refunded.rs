//! `refunded ID`.

use std::process::ExitCode;

use clap::Args;
use crelay_payments::config::Vars;
use crelay_payments::ledger::{Refund, RefundKind};
use crelay_payments::payment::PaymentId;

/// Record that a payment was refunded, or is disputed, at the processor.
#[derive(Debug, Args)]
pub(super) struct Refunded {
    /// The id of the payment, as `payments` prints it
    id: PaymentId,
    /// The amount, as decimal text in the payment's currency: at most the charged amount less what is already refunded
    #[arg(long)]
    amount: String,
    /// The processor's reference of the refund or dispute; the same reference again changes nothing
    #[arg(long)]
    reference: String,
    /// The payer disputes the payment; nothing was refunded
    #[arg(long)]
    dispute: bool,
    /// The time of it: a date in UTC (2026-11-01), a timestamp, or a duration ago (30m, 24h, 7d) [default: now]
    #[arg(long)]
    at: Option<String>,
}

/// Records a refund or a dispute.
pub(super) async fn run(args: Refunded, vars: &Vars) -> anyhow::Result<ExitCode> {
    super::with_ledger(vars, async |ledger| {
        let at = args.at.as_deref().map(super::parse_since).transpose()?;
        let kind = if args.dispute { RefundKind::Dispute } else { RefundKind::Refund };
        let refund = Refund { kind, amount: args.amount, reference: args.reference, at, operator: None };
        let payment = ledger.record_refund(args.id, &refund).await?;
        let refunded = payment.amount.filter(|_| payment.refunded > 0).map_or_else(String::new, |charged| {
            format!(", {} {} refunded", charged.currency().format_minor(payment.refunded), charged.currency())
        });
        super::print(format_args!("{} is {}{refunded}\n", payment.id, payment.state))?;
        Ok(ExitCode::SUCCESS)
    })
    .await
}
