//! Sends a card number in parts over time: in several prompts of the caller, or in several outputs of the model.
//!
//! The first part alone is no card number, so it must be seen where the number would leak: that shows that the search
//! would find the parts. Once the last part has been sent, none of them may be left.

use anyhow::ensure;
use serde_json::json;

use super::call::ProofCall;
use super::capture::OutputChannel;
use super::case::ProofCase;
use super::placement::ensure_redacted;
use super::vector::LeakVector;
use crate::simulator::ModelReply;

/// What the caller says between two halves of a number.
const BETWEEN: [&str; 4] = ["Sorry, the dog.", "Yes.", "Just a moment, please.", "Here I am again."];

/// Lets the caller say the parts.
pub(super) async fn speak(case: &ProofCase<'_>, call: &mut ProofCall<'_>) -> anyhow::Result<Option<OutputChannel>> {
    for (n, part) in case.sample.parts.iter().enumerate() {
        call.say(part, []).await?;
        if n == 0 {
            ensure_first_part_is_seen(case, call).await?;
        }
        if case.vector == LeakVector::SpokenInHalves && n == 0 {
            for words in BETWEEN {
                call.say(words, []).await?;
            }
        }
    }
    find_parts(case, call).await
}

/// Lets the model say the parts, each in a response of its own.
pub(super) async fn let_model_speak(
    case: &ProofCase<'_>,
    call: &mut ProofCall<'_>,
) -> anyhow::Result<Option<OutputChannel>> {
    for (n, part) in case.sample.parts.iter().enumerate() {
        call.say("And what then?", [ModelReply::Text(format!("{part}.").into())]).await?;
        if n == 0 {
            ensure_first_part_is_seen(case, call).await?;
        }
    }
    find_parts(case, call).await
}

/// Lets the model write the parts into tool calls.
pub(super) async fn let_model_call_tools(
    case: &ProofCase<'_>,
    call: &mut ProofCall<'_>,
) -> anyhow::Result<Option<OutputChannel>> {
    for (n, part) in case.sample.parts.iter().enumerate() {
        let digits: String = part.chars().filter(char::is_ascii_digit).collect();
        let (name, arguments) = match case.vector {
            LeakVector::MessagesInParts => ("send-sms".to_owned(), json!({ "message": part })),
            LeakVector::TonesInParts => ("send-dtmf".to_owned(), json!({ "digits": digits })),
            _ => (format!("note-{digits}"), json!({})),
        };
        call.say("Do it.", [ModelReply::ToolCall(name.into(), arguments.to_string().into())]).await?;
        if n == 0 {
            ensure_first_part_is_seen(case, call).await?;
        }
    }
    let shown = call.run_probe_turn().await?;
    Ok(last_part_left(case, &shown).then_some(OutputChannel::Model))
}

/// The digits of a part.
fn digits_of(part: &str) -> String {
    part.chars().filter(char::is_ascii_digit).collect()
}

async fn ensure_first_part_is_seen(case: &ProofCase<'_>, call: &mut ProofCall<'_>) -> anyhow::Result<()> {
    let shown = call.run_probe_turn().await?;
    ensure!(shown.contains(&digits_of(&case.sample.parts[0])), "the first part of the number was not seen");
    Ok(())
}

/// Returns the channel in which a part is left.
async fn find_parts(case: &ProofCase<'_>, call: &mut ProofCall<'_>) -> anyhow::Result<Option<OutputChannel>> {
    let shown = call.run_probe_turn().await?;
    ensure_redacted(&shown)?;
    let is_left = |part: &String| shown.contains(part.as_str());
    Ok(case.sample.parts.iter().any(is_left).then_some(OutputChannel::Model))
}

/// Whether the part that completes the number is left.
fn last_part_left(case: &ProofCase<'_>, shown: &str) -> bool {
    case.sample.parts.last().is_some_and(|part| shown.contains(&digits_of(part)))
}
