//! Payment calls one after the other on some lines, with faults, and what has become of each payment.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::time::Instant;

use super::call::Line;
use super::caller::{Caller, CallerEnd};
use super::outcomes::{LedgerEntry, find_wrong_outcomes, read_ledger};
use super::twilio::LoadTwilio;

/// How often progress is reported.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// How long after the last call the ledger may take to agree with Twilio: orphaned payments are cancelled three times.
const LEDGER_PATIENCE: Duration = Duration::from_secs(30);

/// What callers have done so far.
#[derive(Debug, Default)]
pub(super) struct SoakCounts {
    /// The calls that are over.
    pub(super) calls: AtomicUsize,
    /// Those whose caller has given up waiting for the agent.
    pub(super) given_up: AtomicUsize,
}

/// Plays this many calls, on so many lines. `progress` gets a line every few seconds.
pub(super) async fn pay_on_lines(
    line: &Arc<Line>,
    twilio: &LoadTwilio,
    counts: &SoakCounts,
    calls: usize,
    lines: usize,
    progress: impl Fn(&str),
) {
    let playing = stream::iter(0..calls).for_each_concurrent(lines, |_| async {
        if let Err(error) = play(line, twilio, counts).await {
            line.measured.record_violation(format!("a call failed: {error:#}"));
        }
        counts.calls.fetch_add(1, Ordering::Relaxed);
    });
    let report = async {
        loop {
            tokio::time::sleep(PROGRESS_INTERVAL).await;
            let (played, broken) = (counts.calls.load(Ordering::Relaxed), line.measured.violations().0);
            progress(&format!("{played} calls, {broken} violations"));
        }
    };
    tokio::select! {
        () = playing => {}
        () = report => {}
    }
}

/// Reads the ledger until it agrees with Twilio, or has not for too long. Returns it, and the wrong outcomes.
pub(super) async fn compare_outcomes(
    line: &Line,
    twilio: &LoadTwilio,
) -> anyhow::Result<(Vec<LedgerEntry>, Vec<String>)> {
    twilio.finish().await;
    let began = Instant::now();
    let calls = line.probes.all();
    loop {
        let ledger = read_ledger(line.address).await?;
        let wrong = find_wrong_outcomes(calls.iter().map(|call| &**call), &ledger);
        if wrong.is_empty() || began.elapsed() > LEDGER_PATIENCE {
            return Ok((ledger, wrong));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// A call: the caller pays, and does what the faults of the call say.
async fn play(line: &Arc<Line>, twilio: &LoadTwilio, counts: &SoakCounts) -> anyhow::Result<()> {
    let open = line.open_call().await?;
    let probe = open.probe.clone();
    let open = match Caller::INSISTENT.pay(open).await? {
        CallerEnd::GivenUp(call) => {
            counts.given_up.fetch_add(1, Ordering::Relaxed);
            Some(call)
        }
        CallerEnd::Over(call) => Some(call),
        CallerEnd::Lost => None,
    };
    // Twilio learns of the end first, last, or in the middle.
    if probe.number % 2 == 0 {
        twilio.end_call(&probe).await;
    }
    if let Some(call) = open {
        call.close().await?;
    }
    twilio.end_call(&probe).await;
    Ok(())
}
