//! `settle ID`.

use std::process::ExitCode;

use clap::Args;
use crelay_payments::config::Vars;
use crelay_payments::ledger::{SettledOutcome, Settlement};
use crelay_payments::payment::PaymentId;

/// Record the outcome of a payment in state `unknown` or `pending`, as the processor shows it.
///
/// --correct, with a note, replaces a wrong settlement. The server may be running, and sends the business an event.
#[derive(Debug, Args)]
pub(super) struct Settle {
    /// The id of the payment, as `payments` prints it
    id: PaymentId,
    /// The outcome: charged, tokenized, declined, cancelled, or returned (a bank debit)
    #[arg(long = "as")]
    outcome: SettledOutcome,
    /// The processor's confirmation code
    #[arg(long)]
    confirmation: Option<String>,
    /// Why, or how it was found out
    #[arg(long)]
    note: Option<String>,
    /// Correct an earlier settlement; needs a note that says why
    #[arg(long, requires = "note")]
    correct: bool,
}

/// Settles the payment.
pub(super) async fn run(args: Settle, vars: &Vars) -> anyhow::Result<ExitCode> {
    super::with_ledger(vars, async |ledger| {
        let Settle { id, outcome, confirmation, note, correct } = args;
        let payment = ledger
            .settle(id, &Settlement { outcome, confirmation, note, is_correction: correct, operator: None })
            .await?;
        super::print(format_args!("{} is {}\n", payment.id, payment.state))?;
        Ok(ExitCode::SUCCESS)
    })
    .await
}
