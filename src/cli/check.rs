//! `check`.

use std::process::ExitCode;

use crelay_payments::check;
use crelay_payments::config::{Config, Vars};

/// Runs all checks and prints one line for each.
pub(super) async fn run(vars: &Vars) -> anyhow::Result<ExitCode> {
    let (config, warnings) = match Config::from_vars(vars) {
        Ok(config) => config,
        Err(problems) => return super::refuse_configuration(&problems),
    };
    let report = check::check(&config, &warnings).await;
    super::print(format_args!("{report}\n"))?;
    Ok(if report.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
