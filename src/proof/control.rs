//! The two controls of the search. A harmless word, the canary, must appear in the output of every channel, which shows
//! that the channel is captured. Card numbers inserted into captured output must be found, which shows that the search
//! works.

use std::collections::BTreeSet;

use anyhow::bail;
use serde_json::json;

use super::call::ProofCall;
use super::capture::OutputChannel;
use super::case::{ProofCase, ProofChat};
use super::harness::ProofHarness;
use super::payment;
use super::vector::LeakVector;
use crate::simulator::card_samples::{CardSample, SeededRng};
use crate::simulator::leak_scan::{CapturedOutput, SampleMatch, find_samples};
use crate::simulator::{ModelReply, PlacedCallTwiml};

/// The canary word. It occurs in no other text of a call.
const CANARY: &str = "zymurgy";

/// The case number of the canary call. No other case has it.
pub(super) const CANARY_CASE: usize = 9_999_999;

/// The channels in which the canary word or the SID of its call was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CanarySightings(BTreeSet<&'static str>);

impl CanarySightings {
    /// Records the channels whose output contains the canary.
    pub(super) fn record(&mut self, output: &[CapturedOutput]) {
        let call = canary_call_sid();
        let seen = output.iter().filter(|it| it.bytes.contains(CANARY) || it.bytes.contains(&call));
        self.0.extend(seen.map(|it| it.channel));
    }

    /// Whether the canary was seen in this channel.
    pub(super) fn is_seen_in(&self, channel: OutputChannel) -> bool {
        self.0.contains(channel.name())
    }
}

fn canary_call_sid() -> String {
    format!("CA{CANARY_CASE:032x}")
}

/// Runs an ordinary call and chat in which the canary word goes everywhere a card number might go: into the call
/// look-up, the caller's and the agent's speech, a payment's reference, the hand-off data, and an outbound call whose
/// TwiML is too long for the request.
pub(super) async fn run_canary_call(harness: &ProofHarness) -> anyhow::Result<()> {
    let mut case = ProofCase::new(harness, LeakVector::Entered, 0, CANARY_CASE);
    case.receive_call(json!({"callReference": CANARY})).await?;
    let mut call = ProofCall::connect(harness, &case.call_sid, &case.caller_number, &json!({})).await?;
    call.say(&format!("My word is {CANARY}."), [ModelReply::Text(format!("So it is {CANARY}.").into())]).await?;
    payment::run_successful_payment(&mut case, &mut call).await?;
    let data = case.request_hand_off(&mut call, &json!({"reason": CANARY, "conversationSummary": CANARY})).await?;
    case.post_connect_action(&data).await?;
    case.hang_up(call).await?;
    ProofChat::new(harness).send(CANARY, "user", ModelReply::Text(format!("You wrote {CANARY}.").into())).await?;
    let order = json!({"phoneNumber": case.caller_number, "note": format!("{CANARY} ").repeat(1_000)});
    harness.post_as_operator("/outboundCall", &json!({ "properties": order })).await?;
    let Some(PlacedCallTwiml::Url(url)) = harness.twilio.placed_calls().pop().map(|placed| placed.twiml) else {
        bail!("the outbound call has no TwiML URL");
    };
    let id = url.path().rsplit_once('/').map_or("", |(_, id)| id);
    harness.post_as_twilio(&format!("/outboundTwiml/{id}"), &[("CallSid", case.call_sid.as_str())]).await.map(drop)
}

/// How many card numbers were inserted into the captured output of a channel, and how many of them were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct SearchControl {
    /// The number of inserted card numbers.
    pub written: usize,
    /// The number of them that the search found.
    pub found: usize,
}

/// Inserts one card number per encoding into captured output of a channel, and searches for it.
pub(super) fn run_search_control(channel: OutputChannel, sample: &CapturedOutput, seed: u64) -> SearchControl {
    let mut rng = SeededRng::new(seed);
    let mut control = SearchControl { written: 0, found: 0 };
    for form in ENCODINGS {
        let cards = [CardSample::random(&mut rng)];
        let mut output = form(&cards[0], sample, &mut rng);
        for it in &mut output {
            it.channel = channel.name();
        }
        control.written += 1;
        control.found +=
            usize::from(find_samples(&output, &cards) == [SampleMatch { channel: channel.name(), sample: 0 }]);
    }
    control
}

type Encoding = fn(&CardSample, &CapturedOutput, &mut SeededRng) -> Vec<CapturedOutput>;

/// Digits, the text of the sample, JSON, percent-encoding, and tokens of many frames.
const ENCODINGS: [Encoding; 5] = [
    |card, sample, _| vec![insert_in_middle(sample, &card.number)],
    |card, sample, _| vec![insert_in_middle(sample, &card.text())],
    |card, sample, _| vec![insert_in_middle(sample, &json!({ "text": card.text() }).to_string())],
    |card, _, _| {
        let form = url::form_urlencoded::Serializer::new(String::new()).append_pair("Body", &card.text()).finish();
        vec![CapturedOutput { channel: "", bytes: form }]
    },
    |card, _, rng| {
        let pieces = rng.split(&card.text());
        pieces
            .iter()
            .map(|it| CapturedOutput { channel: "", bytes: json!({"type": "text", "token": it}).to_string() })
            .collect()
    },
];

/// Inserts a text into the middle of captured output.
fn insert_in_middle(sample: &CapturedOutput, text: &str) -> CapturedOutput {
    let middle = sample.bytes.char_indices().nth(sample.bytes.chars().count() / 2).map_or(0, |(at, _)| at);
    let (before, after) = sample.bytes.split_at(middle);
    CapturedOutput { channel: "", bytes: format!("{before} {text} {after}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_number_is_found_in_any_captured_output() {
        for (seed, bytes) in
            (0..200).zip(["", "2026-11-23T01:02:03Z INFO x", "{\"a\":[1,2]}", "a=b%20c&d=é", "ü 4242"].iter().cycle())
        {
            let sample = CapturedOutput { channel: "", bytes: (*bytes).to_owned() };
            assert_eq!(
                run_search_control(OutputChannel::Log, &sample, seed),
                SearchControl { written: 5, found: 5 },
                "{seed} {bytes}"
            );
        }
    }
}
