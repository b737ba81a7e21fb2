//! `serve`.

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use crelay_payments::assets::{Assets, LoadAssetsError};
use crelay_payments::config::{Config, Vars};
use crelay_payments::observation::Recorder;
use crelay_payments::server::{self, Shutdown};
use tokio::net::TcpListener;
use tracing::{info, warn};

/// How many further ports are tried when the port is busy.
const FALLBACK_PORTS: u16 = 50;

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
    crate::logging::init(vars.get("RUST_LOG"));
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
    let assets = match Assets::open(&config.assets_dir, &config.twilio).await {
        Ok(assets) => assets,
        Err(LoadAssetsError::Files(errors)) => return super::refuse_configuration(&errors),
        Err(error) => return Err(error.into()),
    };

    let listener = listen(config.port, config.port_fallback).await?;
    let shutdown = Shutdown::default();
    tokio::spawn(stop_on_signals(shutdown.clone()));
    server::serve(config, assets, listener, shutdown).await?;
    info!(event = "server.stopped", "The server has stopped.");
    Ok(ExitCode::SUCCESS)
}

/// Listens on the port or, if `fallback` allows it, on the next free one.
async fn listen(port: u16, fallback: bool) -> anyhow::Result<TcpListener> {
    let last = if fallback { port.saturating_add(FALLBACK_PORTS) } else { port };
    for candidate in port..=last {
        match TcpListener::bind((Ipv4Addr::UNSPECIFIED, candidate)).await {
            Ok(listener) => {
                if candidate != port {
                    warn!(
                        event = "server.port_busy",
                        port,
                        listening_on = candidate,
                        "The port is busy: point your tunnel or proxy to the port that the server listens on."
                    );
                }
                return Ok(listener);
            }
            Err(error) if error.kind() == ErrorKind::AddrInUse && candidate < last => {}
            Err(error) if error.kind() == ErrorKind::AddrInUse => break,
            Err(error) => return Err(error).with_context(|| format!("cannot listen on port {candidate}")),
        }
    }
    anyhow::bail!("port {port} is busy: set PORT to a free one, or stop the program that listens there")
}

/// Drains at the first signal, and stops at the second.
async fn stop_on_signals(shutdown: Shutdown) {
    super::stop_signal().await;
    shutdown.soft.cancel();
    super::stop_signal().await;
    shutdown.hard.cancel();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_busy_port_gives_way_to_the_next_free_one_or_is_an_error() {
        let busy = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
        let port = busy.local_addr().unwrap().port();
        assert_ne!(listen(port, true).await.unwrap().local_addr().unwrap().port(), port);
        assert!(listen(port, false).await.unwrap_err().to_string().contains("PORT"));
    }
}
