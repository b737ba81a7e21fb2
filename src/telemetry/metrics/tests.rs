use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use super::*;
use crate::payment::{CallbackKind, PaymentState};
use crate::telemetry::{Telemetry, TwilioAttempt, find_foreign_sample};

const MANUAL: &str = include_str!("../README.md");
const DASHBOARD: &str = include_str!("../../../assets/monitoring/grafana.json");
const ALERTS: &str = include_str!("../../../assets/monitoring/alerts.yml");

fn metrics() -> String {
    Telemetry::default().metrics_text(Snapshot { refusals: vec![("chats", 3)], ..Snapshot::default() })
}

/// The names of all metrics, as Prometheus stores them.
fn exported() -> BTreeSet<String> {
    let text = metrics();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

/// The names of metrics in a text, without the suffixes of a histogram's series.
fn mentioned(text: &str) -> BTreeSet<String> {
    let words = text.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
    let names = words.filter(|word| word.starts_with("crelay_"));
    let base = |name: &str| {
        ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name).to_owned()
    };
    names.map(base).collect()
}

#[test]
fn every_metric_is_in_the_manual_and_nothing_else_is() {
    assert_eq!(exported(), mentioned(MANUAL));
}

#[test]
fn the_dashboard_and_the_alerts_use_exported_metrics() {
    serde_json::from_str::<serde_json::Value>(DASHBOARD).unwrap();
    for text in [DASHBOARD, ALERTS] {
        let (used, exported) = (mentioned(text), exported());
        assert!(used.len() > 5 && used.is_subset(&exported), "{:?}", used.difference(&exported));
    }
}

#[test]
fn what_happens_is_counted_under_words_of_this_program() {
    let telemetry = Telemetry::default();
    let now = tokio::time::Instant::now().into_std();
    let attempt = |operation, result| TwilioAttempt {
        operation,
        number: 1,
        started: now,
        finished: now,
        result,
        request_id: None,
    };
    telemetry.record_callback(&CallbackKind::SessionExists);
    telemetry.record_payment_state(PaymentState::Charged);
    for code in [Some(64_008), Some(99_999), None] {
        telemetry.record_twilio_attempt(attempt(TwilioOperation::UpdatePayment, Some((400, code))));
    }
    telemetry.record_twilio_attempt(attempt(TwilioOperation::PlaceCall, None));
    telemetry.record_twilio_request(TwilioOperation::PlaceCall, Duration::from_millis(30));
    telemetry.record_model_failure(ModelFailure::of_status(429), true);
    telemetry.record_shutdown(Some(jiff::civil::date(2027, 1, 14)));
    let text = telemetry.metrics_text(Snapshot { calls: 2, refusals: vec![("chats", 3)], ..Snapshot::default() });
    for sample in [
        r#"crelay_payment_callbacks_total{phase="session_exists"} 1"#,
        r#"crelay_payments_total{state="charged"} 1"#,
        r#"crelay_twilio_attempts_total{operation="update_payment",status="4xx",code="64008"} 1"#,
        r#"crelay_twilio_attempts_total{operation="update_payment",status="4xx",code="other"} 1"#,
        r#"crelay_twilio_attempts_total{operation="update_payment",status="4xx",code="none"} 1"#,
        r#"crelay_twilio_attempts_total{operation="place_call",status="none",code="none"} 1"#,
        r#"crelay_twilio_request_seconds_bucket{operation="place_call",le="0.025"} 0"#,
        r#"crelay_twilio_request_seconds_bucket{operation="place_call",le="0.05"} 1"#,
        r#"crelay_model_failures_total{kind="rate_limited",outcome="repeated"} 1"#,
        r#"crelay_limit_refusals_total{limit="chats"} 3"#,
        "crelay_calls_live 2",
        "crelay_model_shutdown_timestamp_seconds 1799884800.0",
        "crelay_outbox_events NaN",
    ] {
        assert!(text.lines().any(|line| line == sample), "{sample} is not in\n{text}");
    }
    assert_eq!(find_foreign_sample(&text, &[]), None);
}

#[test]
fn a_label_value_from_outside_is_found() {
    for foreign in [
        r#"crelay_tools_total{tool="look-up-4242",result="done"} 1"#,
        r#"crelay_tools_total{caller="+15550001111"} 1"#,
        r#"crelay_twilio_attempts_total{code="12345"} 1"#,
        "other_metric 1",
        "crelay_calls_live many",
    ] {
        assert_eq!(find_foreign_sample(&format!("{}\n{foreign}\n", metrics().trim_end()), &[]), Some(foreign));
    }
}

#[test]
fn promtool_finds_nothing_wrong() {
    let child =
        Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = child else {
        eprintln!("skipped: there is no promtool (Debian's package prometheus has it)");
        return;
    };
    child.stdin.take().unwrap().write_all(metrics().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let alerts = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/monitoring/alerts.yml");
    assert!(
        Command::new("promtool").args(["check", "rules", alerts]).stdout(Stdio::null()).status().unwrap().success()
    );
}
