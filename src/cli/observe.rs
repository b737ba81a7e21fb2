//! `observe`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use crelay_payments::config::Vars;
use crelay_payments::observation::Recorder;

use super::serve::Serve;

/// Serve calls as `serve` does, and record the shapes of what Twilio and the server exchange.
///
/// Call the number once, pay with a test card, and stop the server. The file has a JSON object a line for each frame,
/// webhook, callback and answer: names, types and lengths, with letters as x and digits as 9. It contains nothing that
/// was said, no digit and no identifier. `simulate --replay FILE` plays it.
#[derive(Debug, Args)]
pub(super) struct Observe {
    /// The file to write; it must not exist
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Send one `config` frame on the first socket and record what Twilio answers. Its form is not documented: use a
    /// test call
    #[arg(long)]
    try_config: bool,
    #[command(flatten)]
    serve: Serve,
}

/// Serves calls until a signal stops it, and completes the file.
pub(super) async fn run(args: &Observe, vars: &Vars) -> anyhow::Result<ExitCode> {
    let recorder = Recorder::create(&args.out, args.try_config)?;
    let served = super::serve::run_observed(&args.serve, vars, Some(recorder.clone())).await;
    let left_out = recorder.close();
    if left_out > 0 {
        eprintln!("{left_out} observations were left out: the disk is slow, or the file is full.");
    }
    served
}
