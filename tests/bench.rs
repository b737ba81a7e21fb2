//! The benchmark's soak: real calls with faults on the real binary, whose outcomes must be what Twilio knows.

#![cfg(all(feature = "simulator", target_os = "linux"))]

use std::process::Command;

use crelay_payments::bench::BenchReport;

#[test]
fn payments_on_calls_with_faults_end_as_twilio_knows() {
    let mut bench = Command::new(env!("CARGO_BIN_EXE_crelay-payments"));
    bench.args(["bench", "soak", "--payments", "40", "--seed", "3", "--cores", "0", "--no-floor", "--json"]);
    let output = bench.output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    let report: BenchReport = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no report:\n{log}"));
    assert!(output.status.success() && report.violations.is_empty(), "{:#?}\n{log}", report.violations);
    let count = |id: &str| report.rows.iter().find(|row| row.id == id).and_then(|row| row.server).unwrap_or(0.0);
    assert_eq!((count("soak.calls"), count("soak.wrong")), (40.0, 0.0));
    // Without faults every call would end with a charge.
    assert!(count("soak.state.charged") >= 10.0 && count("soak.state.declined") >= 1.0, "{report}");
    assert!(count("soak.state.cancelled") + count("soak.state.abandoned") >= 1.0, "{report}");
}
