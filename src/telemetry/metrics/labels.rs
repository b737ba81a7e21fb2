//! All values that labels can have, to show that no other is ever exported.

use super::calls::{REASONS, SHARES};
use super::fleet::{ClaimEvent, ForwardResult};
use super::payments::{LIMITS, PHASES, PROBLEMS};
use super::services::{
    ModelFailure, SPAN_RESULTS, TWILIO_CODES, TWILIO_STATUSES, ToolResult, TwilioOperation, WebhookRefusal,
};
use crate::payment::{Field, PaymentState};
use crate::telemetry::{TurnEnd, TurnTrigger};
use crate::usage_limits::UsageLimit;

/// Finds a sample in metrics whose name is not ours, or that has a label with another value than those of this program.
/// `tools` are the names of its own tools.
pub(crate) fn find_foreign_sample<'a>(text: &'a str, tools: &[&str]) -> Option<&'a str> {
    text.lines().filter(|line| !line.starts_with('#')).find(|line| !is_own_sample(line, tools))
}

fn is_own_sample(line: &str, tools: &[&str]) -> bool {
    let Some((series, value)) = line.rsplit_once(' ') else { return false };
    let (name, labels) = series.strip_suffix('}').and_then(|series| series.split_once('{')).unwrap_or((series, ""));
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let is_own = |label: &str| {
        let Some((label, value)) = label.split_once('=') else { return false };
        value
            .strip_prefix('"')
            .and_then(|value| value.strip_suffix('"'))
            .is_some_and(|value| is_value(name, label, value, tools))
    };
    name.starts_with("crelay_")
        && is_name(name)
        && value.parse::<f64>().is_ok()
        && labels.split(',').filter(|label| !label.is_empty()).all(is_own)
}

fn is_value(metric: &str, label: &str, value: &str, tools: &[&str]) -> bool {
    match label {
        "le" => value == "+Inf" || value.parse::<f64>().is_ok(),
        "version" => value == env!("CARGO_PKG_VERSION"),
        "reason" => REASONS.contains(&value) || WebhookRefusal::ALL.iter().any(|reason| reason.as_str() == value),
        "share" => SHARES.contains(&value),
        "trigger" => TurnTrigger::ALL.iter().any(|trigger| trigger.as_str() == value),
        "end" => ["reported", "stopped"].contains(&value) || TurnEnd::ALL.iter().any(|end| end.as_str() == value),
        "kind" => {
            ["input", "cached", "output", "reasoning"].contains(&value)
                || ModelFailure::ALL.iter().any(|kind| kind.as_str() == value)
        }
        "outcome" => ["repeated", "final"].contains(&value),
        "effect" => ["apology", "hand_off"].contains(&value),
        "field" => Field::ALL.iter().any(|field| field.wire_name() == value),
        "tool" => value == "business" || tools.contains(&value),
        "result" => {
            ["captured", "wrong"].contains(&value)
                || SPAN_RESULTS.contains(&value)
                || ToolResult::ALL.iter().any(|result| result.as_str() == value)
        }
        "operation" => TwilioOperation::ALL.iter().any(|operation| operation.as_str() == value),
        "status" => TWILIO_STATUSES.contains(&value),
        "code" => ["none", "other"].contains(&value) || TWILIO_CODES.iter().any(|(_, code)| *code == value),
        "state" => PaymentState::ALL.iter().any(|state| state.as_str() == value),
        "answer" => ForwardResult::ALL.iter().any(|result| result.as_str() == value),
        "claim" => ClaimEvent::ALL.iter().any(|event| event.as_str() == value),
        "phase" => PHASES.contains(&value),
        "problem" => PROBLEMS.contains(&value),
        "limit" if metric == "crelay_limit_refusals_total" => UsageLimit::ALL.iter().any(|limit| limit.name() == value),
        "limit" => LIMITS.contains(&value),
        _ => false,
    }
}
