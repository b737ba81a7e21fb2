//! The signals to a server.
//!
//! They are handled by a thread of their own, so that a server whose workers are all busy still stops.

use std::ops::RangeInclusive;
use std::process::exit;
use std::time::Duration;

use anyhow::Context as _;
use crelay_payments::assets::ReloadRequests;
use crelay_payments::server::{STOP_TIMEOUT, Shutdown};
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};
use tracing::{error, info};

/// How long the last log line may take before the process ends without it.
const LAST_LINE_TIMEOUT: Duration = Duration::from_millis(200);

/// Signals that would end the process by default and mean nothing to it. The numbers differ between systems.
const IGNORED: &[(&str, rustix::process::Signal)] = &[
    ("SIGQUIT", rustix::process::Signal::QUIT),
    ("SIGUSR1", rustix::process::Signal::USR1),
    ("SIGUSR2", rustix::process::Signal::USR2),
    ("SIGALRM", rustix::process::Signal::ALARM),
    ("SIGVTALRM", rustix::process::Signal::VTALARM),
    ("SIGPROF", rustix::process::Signal::PROF),
    ("SIGIO", rustix::process::Signal::IO),
    ("SIGXCPU", rustix::process::Signal::XCPU),
    // Without it a file that may not grow, such as the ledger, would end the process instead of failing the write.
    ("SIGXFSZ", rustix::process::Signal::XFSZ),
];

/// Further signals of Linux that would end the process and mean nothing to it: TRAP, STKFLT, SYS, and the real-time ones.
const OTHER_SIGNALS: [RangeInclusive<i32>; 4] = [5..=5, 16..=16, 31..=31, 34..=64];

/// The number of SIGPWR on Linux: the power fails, or a container is to stop.
const POWER_FAILURE: i32 = 30;

/// Handles the signals of this process from now on: TERM and INT drain the server and the second one ends its calls,
/// PWR drains it too, HUP reloads the assets, others are ignored. A server that has not ended [`STOP_TIMEOUT`] after
/// its drain time is ended.
pub(super) fn handle_signals(shutdown: Shutdown, drain: Duration, reload: ReloadRequests) -> anyhow::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().context("cannot handle signals")?;
    let entered = runtime.enter();
    let stops = [SignalKind::terminate(), SignalKind::interrupt()].map(signal);
    let hangup = signal(SignalKind::hangup());
    let mut ignored: Vec<_> =
        IGNORED.iter().map(|(name, number)| (*name, signal(SignalKind::from_raw(number.as_raw())))).collect();
    if cfg!(target_os = "linux") {
        let others = OTHER_SIGNALS.into_iter().flatten();
        ignored.extend(others.map(|number| ("other", signal(SignalKind::from_raw(number)))));
    }
    let power_failure = if cfg!(target_os = "linux") { signal(SignalKind::from_raw(POWER_FAILURE)).ok() } else { None };
    drop(entered);
    let [terminate, interrupt] = stops;
    let (terminate, interrupt) =
        (terminate.context("cannot handle SIGTERM")?, interrupt.context("cannot handle SIGINT")?);
    let hangup = hangup.context("cannot handle SIGHUP")?;
    let handle = async move {
        for (name, signals) in ignored {
            // A signal that cannot be handled keeps its default.
            if let Ok(signals) = signals {
                tokio::spawn(ignore(name, signals));
            }
        }
        tokio::spawn(reload_on_hangup(hangup, reload));
        if let Some(power_failure) = power_failure {
            tokio::spawn(drain_on(power_failure, shutdown.clone()));
        }
        stop_on(terminate, interrupt, shutdown, drain).await;
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || runtime.block_on(handle))
        .context("cannot handle signals")?;
    Ok(())
}

/// Drains at the first signal, and ends the calls at the second. Ends the process if it has not ended in time.
async fn stop_on(mut terminate: Signal, mut interrupt: Signal, shutdown: Shutdown, drain: Duration) {
    wait_for_either(&mut terminate, &mut interrupt).await;
    shutdown.soft.cancel();
    let mut deadline = Instant::now() + drain + STOP_TIMEOUT;
    tokio::select! {
        () = wait_for_either(&mut terminate, &mut interrupt) => {
            shutdown.hard.cancel();
            deadline = deadline.min(Instant::now() + STOP_TIMEOUT);
        }
        () = sleep_until(deadline) => {}
    }
    sleep_until(deadline).await;
    // The log may be what is stuck.
    std::thread::spawn(|| error!(event = "server.stop_forced", "The server did not stop in time; the process ends."));
    tokio::time::sleep(LAST_LINE_TIMEOUT).await;
    exit(1);
}

/// Drains at a signal that is not counted among the two that stop a server.
async fn drain_on(mut signal: Signal, shutdown: Shutdown) {
    if signal.recv().await.is_some() {
        shutdown.soft.cancel();
    }
}

async fn wait_for_either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

async fn reload_on_hangup(mut hangup: Signal, reload: ReloadRequests) {
    while hangup.recv().await.is_some() {
        info!(event = "server.reload_requested", "SIGHUP: the assets are looked at now.");
        reload.request();
    }
}

async fn ignore(signal: &'static str, mut signals: Signal) {
    while signals.recv().await.is_some() {
        info!(event = "server.signal_ignored", signal, "A signal was ignored.");
    }
}
