//! `prove`.

use std::io::{IsTerminal as _, stderr};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use crelay_payments::config::Vars;
use crelay_payments::proof::{self, ProofOutcome};

/// Show that no card data leaves the server in this set-up, and write a report for an assessor.
///
/// Runs this program, or the server at --server, with this configuration, but with stand-ins for Twilio, OpenAI and the
/// business and a ledger of its own: it needs no account and uses no configured credential. Card numbers are entered,
/// spoken and misplaced in every known way, and every byte that left the server is searched: log, requests, socket,
/// answers, webhook, ledger. The report also has a diagram of data flows, the providers, a draft of who answers for which
/// requirement of PCI DSS 4.0.1, and the settings that matter, all made from the configuration. The exit code is 1 if card data was found, a case could not be run or a control failed,
/// and 2 if the configuration cannot be used.
#[derive(Debug, Args)]
pub(super) struct Prove {
    /// The directory for crelay-payments-proof.md and crelay-payments-proof.json
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// The server to test, as it is shipped [default: this program]
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// The number of card numbers; at least one for each leak vector
    #[arg(long, default_value_t = 230, value_parser = clap::value_parser!(u32).range(proof::VECTOR_COUNT..=100_000))]
    numbers: u32,
    /// The same seed puts the same numbers into the same places
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Proves it, prints a summary and writes the report.
pub(super) async fn run(args: &Prove, vars: Vars) -> anyhow::Result<ExitCode> {
    std::fs::create_dir_all(&args.out).with_context(|| format!("cannot create {}", args.out.display()))?;
    let program = match &args.server {
        // The server is started in another directory.
        Some(path) => path.canonicalize().with_context(|| format!("cannot find the server {}", path.display()))?,
        None => std::env::current_exe().context("cannot find the path of this program")?,
    };
    let options = proof::ProofOptions { program, vars, numbers: args.numbers as usize, seed: args.seed };
    let is_watched = stderr().is_terminal();
    let progress = |done| {
        if is_watched {
            eprint!("\r{done} of {} card numbers", args.numbers);
        }
    };
    let proved = proof::prove(options, progress).await;
    if is_watched {
        super::print_error("");
    }
    let report = match proved? {
        ProofOutcome::Completed(report) => report,
        ProofOutcome::InvalidConfig(problems) => return super::refuse_configuration(&problems),
    };
    super::print(format_args!("{}\n", report.summary()))?;
    for (extension, text) in [("md", report.to_markdown()), ("json", report.to_json()?)] {
        let file = args.out.join("crelay-payments-proof").with_extension(extension);
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        super::print(format_args!("{}\n", file.display()))?;
    }
    Ok(if report.verdict == proof::ProofVerdict::NothingFound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
