//! `upload-assets`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use crelay_payments::assets::{UploadStatus, upload};
use crelay_payments::config::{ConfigProblem, TwilioConfig, Vars};

/// Upload contexts (*.md), manifests (*.json) and serverConfig.json to Twilio Sync.
///
/// Needs ACCOUNT_SID, AUTH_TOKEN and FROM_NUMBER. All files are checked before the first is sent; the exit code is 1 if one
/// was refused.
#[derive(Debug, Args)]
pub(super) struct UploadAssets {
    /// The files; each is stored under its own name
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Replace files in Sync that have other contents
    #[arg(long)]
    force: bool,
}

/// Uploads the files and prints the result of each.
pub(super) async fn run(args: &UploadAssets, vars: &Vars) -> anyhow::Result<ExitCode> {
    let twilio = match TwilioConfig::from_vars(vars) {
        Ok((twilio, _)) => twilio,
        Err(problems) => {
            for ConfigProblem { location, what, expected } in problems.iter() {
                super::print_error(format_args!("{location} {what}: expected {expected}"));
            }
            return Ok(ExitCode::from(super::CONFIG_ERROR));
        }
    };
    crate::logging::init(vars.get("RUST_LOG").or(Some("warn")));
    let mut printed = Ok(());
    let print_result = |file: &Path, result| {
        let result = match result {
            UploadStatus::Added => "added",
            UploadStatus::Replaced => "replaced",
            UploadStatus::Unchanged => "unchanged",
        };
        // The upload goes on if its output cannot be written.
        if printed.is_ok() {
            printed = super::print(format_args!("{}  {result}\n", file.display()));
        }
    };
    for warning in upload(&args.files, args.force, &twilio, print_result).await? {
        super::print_error(warning);
    }
    printed?;
    Ok(ExitCode::SUCCESS)
}
