//! One case of the proof: a card number, its leak vector, and the requests of its call or chat.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::call::ProofCall;
use super::harness::ProofHarness;
use super::vector::LeakVector;
use crate::simulator::ModelReply;
use crate::simulator::card_samples::{CardSample, SeededRng};

/// A case: one card number and one leak vector.
#[derive(Debug)]
pub(super) struct ProofCase<'a> {
    /// The running server and its stand-ins.
    pub harness: &'a ProofHarness,
    /// The leak vector.
    pub vector: LeakVector,
    /// The SID of the call.
    pub call_sid: String,
    /// The caller's number, different in each case.
    pub caller_number: String,
    /// The card number.
    pub sample: CardSample,
    /// The other secrets of the case: expiry date, security code, postal code, payment token.
    pub secrets: Vec<CardSample>,
    /// The source of the case's random choices.
    pub rng: SeededRng,
}

impl<'a> ProofCase<'a> {
    /// Creates case number `case` of a run with this seed.
    pub(super) fn new(harness: &'a ProofHarness, vector: LeakVector, seed: u64, case: usize) -> Self {
        let mut rng = case_rng(seed, case);
        let sample = card_sample(vector, &mut rng);
        let (call, caller) = (format!("CA{case:032x}"), format!("+1555{case:07}"));
        Self { harness, vector, call_sid: call, caller_number: caller, sample, secrets: Vec::new(), rng }
    }

    /// Generates a number of `count` digits that does not start with 0.
    pub(super) fn random_digits(&mut self, count: usize) -> String {
        let first = 1 + self.rng.below(9);
        (1..count).fold(first.to_string(), |all, _| all + &self.rng.below(10).to_string())
    }

    /// Posts the incoming call and sets what the business answers to its look-up.
    pub(super) async fn receive_call(&self, call_parameters: Value) -> anyhow::Result<()> {
        self.harness.business.set_call_parameters(call_parameters);
        let form = [("CallSid", self.call_sid.as_str()), ("From", &self.caller_number), ("To", "+15550100002")];
        let twiml = self.harness.post_as_twilio("/connectConversationRelay", &form).await?;
        ensure!(twiml.contains("<ConversationRelay"), "the TwiML does not connect the call to ConversationRelay");
        Ok(())
    }

    /// Ends the call and reads the rest of the socket.
    pub(super) async fn hang_up(&self, call: ProofCall<'_>) -> anyhow::Result<()> {
        self.harness.read_console(&self.sample.text()).await?;
        let form = [("CallSid", self.call_sid.as_str()), ("CallStatus", "completed")];
        self.harness.post_as_twilio("/connectAction", &form).await?;
        self.harness.wait_for_calls(0).await?;
        call.drain().await;
        Ok(())
    }

    /// Ends the call of a failed case, so that the next case starts without a live call.
    pub(super) async fn abandon(&self) {
        let form = [("CallSid", self.call_sid.as_str()), ("CallStatus", "completed")];
        // Errors are ignored: the next case reports a call that is still live.
        let _ = self.harness.post_as_twilio("/connectAction", &form).await;
        let _ = self.harness.wait_for_calls(0).await;
    }

    /// Lets the model hand the call off. Returns the hand-off data.
    pub(super) async fn request_hand_off(&self, call: &mut ProofCall<'_>, arguments: &Value) -> anyhow::Result<String> {
        let replies = [
            ModelReply::ToolCall("live-agent-handoff".into(), arguments.to_string().into()),
            ModelReply::text("One moment."),
        ];
        call.say("I want a person.", replies).await?;
        call.client.send(&json!({"type": "info", "name": "agentSpeaking", "value": "on"})).await?;
        call.client.send(&json!({"type": "info", "name": "agentSpeaking", "value": "off"})).await?;
        call.wait_for_hand_off().await
    }

    /// Posts to the `<Connect>` action as Twilio does when a session ends with this hand-off data.
    pub(super) async fn post_connect_action(&self, data: &str) -> anyhow::Result<()> {
        let form = [("CallSid", self.call_sid.as_str()), ("CallStatus", "in-progress"), ("HandoffData", data)];
        self.harness.post_as_twilio("/connectAction", &form).await.map(drop)
    }
}

/// A chat over `/conversation`.
#[derive(Debug)]
pub(super) struct ProofChat<'a> {
    harness: &'a ProofHarness,
    session_id: Value,
}

impl<'a> ProofChat<'a> {
    /// Creates a chat without messages.
    pub(super) fn new(harness: &'a ProofHarness) -> Self {
        Self { harness, session_id: Value::Null }
    }

    /// Sends a message, to which the model replies with `reply`.
    pub(super) async fn send(&mut self, message: &str, role: &str, reply: ModelReply) -> anyhow::Result<()> {
        self.harness.model.set_replies([reply]);
        let said = match &self.session_id {
            Value::Null => json!({"message": message, "role": role}),
            session => json!({"message": message, "role": role, "sessionId": session}),
        };
        let answer = self.harness.post_as_operator("/conversation", &said).await?;
        let answer = answer.split_once('{').map_or("", |(_, rest)| rest);
        let answer: Value = serde_json::from_str(&format!("{{{answer}")).context("a chat message was not answered")?;
        self.session_id = answer["sessionId"].clone();
        Ok(())
    }
}

/// Returns the random number generator of a case. It depends on the seed and the case number only.
pub(super) fn case_rng(seed: u64, case: usize) -> SeededRng {
    SeededRng::for_case(seed, case)
}

/// Generates a card number in the form that the vector needs.
fn card_sample(vector: LeakVector, rng: &mut SeededRng) -> CardSample {
    use LeakVector as V;
    match vector {
        V::SpokenAmongWords | V::SpokenAmongWordsDuringACapture => return CardSample::among_words(rng, 2, true),
        V::SpokenDigitByDigit => return CardSample::among_words(rng, 1, true),
        V::SpokenOverPrompts => return CardSample::among_words(rng, 2, false),
        V::SpokenInHalves | V::OutboundCallInParts | V::ModelOutputOverTime | V::MessagesInParts => {
            return CardSample::among_words(rng, 8, false);
        }
        V::TonesInParts | V::ToolNamesInParts => return CardSample::among_words(rng, 8, false),
        V::MisheardDigit => return CardSample::one_digit_off(rng),
        V::SpokenInOtherForms => return CardSample::in_another_form(rng),
        _ => {}
    }
    if vector.is_in_parts() {
        CardSample::random_parts(rng)
    } else if vector.is_typed() {
        CardSample::digits_only(rng)
    } else {
        CardSample::random(rng)
    }
}
