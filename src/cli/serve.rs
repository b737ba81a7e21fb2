//! `serve`.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use crelay_payments::assets::{Assets, LoadAssetsError, ReloadRequests};
use crelay_payments::config::{Config, Vars};
use crelay_payments::observation::Recorder;
use crelay_payments::server::{self, Shutdown};
use tracing::{info, warn};

use super::listen::listen;
use super::signals::handle_signals;

/// Serve calls (the default).
#[derive(Debug, Default, Args)]
pub(super) struct Serve {
    /// Use a ledger that is a copy: a backup, or the file of another server. Stop the server that uses the original first:
    /// two servers would continue the same payments
    #[arg(long)]
    take_over: bool,
}

/// Serves calls until a signal stops it.
pub(super) async fn run(args: &Serve, vars: &Vars) -> anyhow::Result<ExitCode> {
    run_observed(args, vars, None).await
}

/// Serves calls until a signal stops it. A recorder gets what Twilio and the server exchange.
pub(super) async fn run_observed(args: &Serve, vars: &Vars, recorder: Option<Recorder>) -> anyhow::Result<ExitCode> {
    super::process::raise_descriptor_limit();
    let _flush = crate::logging::init_queued(vars.get("RUST_LOG")).context("the thread that logs cannot start")?;
    let (mut config, warnings) = match Config::from_vars(vars) {
        Ok(config) => config,
        Err(problems) => return super::refuse_configuration(&problems),
    };
    for warning in warnings {
        warn!(event = "config.warning", %warning, "The configuration contains something that is probably not intended.");
    }
    config.take_over = args.take_over;
    config.recorder = recorder;
    info!(event = "config.loaded", model = config.response_service.model_name(), "The configuration is loaded.");
    let (shutdown, reload) = (Shutdown::default(), ReloadRequests::default());
    handle_signals(shutdown.clone(), config.drain_timeout, reload.clone())?;
    // Twilio Sync may take its time.
    let assets = tokio::select! {
        assets = Assets::open(&config.assets_dir, &config.twilio) => assets,
        () = shutdown.soft.cancelled() => return Ok(ExitCode::SUCCESS),
    };
    let assets = match assets {
        Ok(assets) => assets.with_reload_requests(reload),
        Err(LoadAssetsError::Files(errors)) => return super::refuse_configuration(&errors),
        Err(error) => return Err(error.into()),
    };
    let listeners = listen(&config)?;
    Box::pin(server::serve(config, assets, listeners, shutdown)).await?;
    info!(event = "server.stopped", "The server has stopped.");
    Ok(ExitCode::SUCCESS)
}
