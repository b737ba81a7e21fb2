//! One case of the proof: sends one card number to the server through one leak vector, then continues the conversation
//! so that anything the server kept appears in its output.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::capture::OutputChannel;
use super::harness::ProofHarness;
use super::model::ModelReply;
use super::payment;
use super::relay_client::RelayClient;
use super::vector::LeakVector;
use crate::redact::REDACTED;
use crate::simulator::proof::card_samples::{CardSample, SeededRng};

/// A case: one card number and one leak vector.
#[derive(Debug)]
pub struct ProofCase<'a> {
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
    rng: SeededRng,
}

impl<'a> ProofCase<'a> {
    /// Creates case number `case` of a run with this seed.
    pub fn new(harness: &'a ProofHarness, vector: LeakVector, seed: u64, case: usize) -> Self {
        let mut rng = case_rng(seed, case);
        let sample = card_sample(vector, &mut rng);
        let (call, caller) = (format!("CA{case:032x}"), format!("+1555{case:07}"));
        Self { harness, vector, call_sid: call, caller_number: caller, sample, secrets: Vec::new(), rng }
    }

    /// Runs the case. Returns the channel that still shows a part of a split card number, which a search for the whole
    /// number would miss.
    ///
    /// Returns an error if the server did not behave as the case requires; the case then proves nothing.
    pub async fn run(&mut self) -> anyhow::Result<Option<OutputChannel>> {
        match self.vector {
            LeakVector::OutboundCall => self.place_in_outbound_order().await?,
            LeakVector::OperatorsMistake => self.place_in_invalid_requests().await?,
            LeakVector::Chat | LeakVector::ChatInParts | LeakVector::ModelOutputInAChat => self.place_in_chat().await?,
            _ => return self.run_call().await,
        }
        Ok(None)
    }

    /// Generates a number of `count` digits that does not start with 0.
    pub fn random_digits(&mut self, count: usize) -> String {
        let first = 1 + self.rng.below(9);
        (1..count).fold(first.to_string(), |all, _| all + &self.rng.below(10).to_string())
    }

    async fn run_call(&mut self) -> anyhow::Result<Option<OutputChannel>> {
        let harness = self.harness;
        let (number, text) = (self.sample.number.clone(), self.sample.parts[0].clone());
        let parameters = match self.vector {
            LeakVector::CustomParameter => json!({"note": text, number.as_str(): "x", "list": [number]}),
            _ => json!({}),
        };
        let call_parameters = match self.vector {
            LeakVector::BusinessAnswer => json!({"note": text, number.as_str(): "x"}),
            _ => json!({}),
        };
        self.receive_call(call_parameters).await?;
        let mut client = harness.connect_call(&self.call_sid, &self.caller_number, &parameters).await?;
        let leftover = self.place_in_call(&mut client).await?;
        self.hang_up(client).await?;
        Ok(leftover)
    }

    /// Posts the incoming call and sets what the business answers to its look-up.
    pub async fn receive_call(&self, call_parameters: Value) -> anyhow::Result<()> {
        self.harness.stand_ins.set_call_parameters(call_parameters);
        let form = [("CallSid", self.call_sid.as_str()), ("From", &self.caller_number), ("To", "+15550100002")];
        let twiml = self.harness.post_as_twilio("/connectConversationRelay", &form).await?;
        ensure!(twiml.contains("<ConversationRelay"), "the TwiML does not connect the call to ConversationRelay");
        Ok(())
    }

    /// Ends the call and reads the rest of the socket.
    pub async fn hang_up(&self, client: RelayClient<'_>) -> anyhow::Result<()> {
        let form = [("CallSid", self.call_sid.as_str()), ("CallStatus", "completed")];
        self.harness.post_as_twilio("/connectAction", &form).await?;
        self.harness.wait_for_calls(0).await?;
        client.drain().await;
        Ok(())
    }

    /// Ends the call of a failed case, so that the next case starts without a live call.
    pub async fn abandon(&self) {
        let form = [("CallSid", self.call_sid.as_str()), ("CallStatus", "completed")];
        // Errors are ignored: the next case reports a call that is still live.
        let _ = self.harness.post_as_twilio("/connectAction", &form).await;
        let _ = self.harness.wait_for_calls(0).await;
    }

    /// Sends the card number through a vector that needs a call.
    async fn place_in_call(&mut self, client: &mut RelayClient<'_>) -> anyhow::Result<Option<OutputChannel>> {
        let (number, text) = (self.sample.number.clone(), self.sample.parts[0].clone());
        match self.vector {
            LeakVector::Entered => payment::run_successful_payment(self, client).await?,
            LeakVector::SpokenDuringACapture | LeakVector::KeyedDuringACapture | LeakVector::Callback => {
                payment::run_disturbed_payment(self, client).await?;
            }
            LeakVector::Spoken => {
                client.send(&json!({"type": "prompt", "voicePrompt": text, "last": false})).await?;
                client.say(&text, []).await?;
                ensure_redacted(&client.run_probe_turn().await?)?;
            }
            LeakVector::SpokenInParts => {
                for part in &self.sample.parts {
                    client.say(part, []).await?;
                }
                let shown = client.run_probe_turn().await?;
                ensure_redacted(&shown)?;
                let stands = |part: &String| shown.contains(&Value::from(part.as_str()).to_string());
                return Ok(self.sample.parts.iter().any(stands).then_some(OutputChannel::Model));
            }
            LeakVector::SpokenOverTheAgent => {
                client.say("Hello", []).await?;
                client.send(&json!({"type": "info", "name": "tokensPlayed", "value": text})).await?;
                let interrupt =
                    json!({"type": "interrupt", "utteranceUntilInterrupt": text, "durationUntilInterruptMs": 9});
                client.send(&interrupt).await?;
                client.run_probe_turn().await?;
            }
            LeakVector::KeyedOutsideACapture => {
                client.press_keys(&format!("{number}#")).await?;
                client.wait_for_speech().await?;
                ensure_redacted(&client.run_probe_turn().await?)?;
            }
            LeakVector::KeyedInParts => {
                let (first, second) = number.split_at(number.len() / 2);
                for part in [first, second] {
                    client.press_keys(&format!("{part}#")).await?;
                    client.wait_for_speech().await?;
                }
                let shown = client.run_probe_turn().await?;
                ensure_redacted(&shown)?;
                return Ok(shown.contains(first).then_some(OutputChannel::Model));
            }
            LeakVector::CustomParameter | LeakVector::BusinessAnswer => {
                ensure_redacted(&client.run_probe_turn().await?)?;
            }
            LeakVector::ModelOutput => {
                let tokens = self.rng.split(&format!("You said {text} to me."));
                client.say("What did I say?", [ModelReply::Text(tokens)]).await?;
                ensure_redacted(&client.run_probe_turn().await?)?;
            }
            LeakVector::HandOff => self.place_in_hand_off(client, &text).await?,
            LeakVector::BadFrame => {
                let frames =
                    [json!({"type": text, "a": number}), json!({"type": "error", "description": text}), json!(text)];
                for frame in &frames {
                    client.send(frame).await?;
                }
                client.send(&json!({"type": "prompt", "voicePrompt": [text]})).await?;
                client.run_probe_turn().await?;
            }
            _ => self.place_in_tool_call(client).await?,
        }
        Ok(None)
    }

    /// Lets the model put the card number into the name or the arguments of a tool call.
    async fn place_in_tool_call(&self, client: &mut RelayClient<'_>) -> anyhow::Result<()> {
        let (number, text) = (self.sample.number.as_str(), self.sample.parts[0].as_str());
        let calls = match self.vector {
            LeakVector::Message => vec![("send-sms", json!({"to": self.caller_number, "message": text}).to_string())],
            LeakVector::Tones => {
                let tones: String = number.chars().flat_map(|digit| [digit, 'w']).collect();
                [tones.as_str(), number].map(|it| ("send-dtmf", json!({"digits": it}).to_string())).into()
            }
            LeakVector::Amount => {
                vec![("start-capture", format!(r#"{{"chargeAmount": {number}, "callSid": "{number}"}}"#))]
            }
            _ => vec![(number, json!({number: number}).to_string())],
        };
        for (name, arguments) in calls {
            client.say("Do it.", [ModelReply::ToolCall(name.to_owned(), arguments)]).await?;
            let shown = client.run_probe_turn().await?;
            // An invalid amount is refused as such, so the number need not be redacted from the tool call.
            ensure!(
                self.vector == LeakVector::Amount || ensure_redacted(&shown).is_ok(),
                "nothing was redacted from the tool call"
            );
        }
        Ok(())
    }

    /// Lets the model put the card number into the hand-off data, and posts hand-off data that the model did not write.
    async fn place_in_hand_off(&self, client: &mut RelayClient<'_>, text: &str) -> anyhow::Result<()> {
        let arguments = json!({"reason": text, "conversationSummary": text});
        let data = self.request_hand_off(client, &arguments).await?;
        ensure!(data.contains(REDACTED), "nothing was redacted from the hand-off data");
        for data in [data, text.to_owned(), json!({"summary": [text]}).to_string()] {
            self.post_connect_action(&data).await?;
        }
        Ok(())
    }

    /// Lets the model hand the call off. Returns the hand-off data.
    pub async fn request_hand_off(&self, client: &mut RelayClient<'_>, arguments: &Value) -> anyhow::Result<String> {
        let replies = [ModelReply::tool_call("live-agent-handoff", arguments), ModelReply::from_words("One moment.")];
        client.say("I want a person.", replies).await?;
        client.send(&json!({"type": "info", "name": "agentSpeaking", "value": "on"})).await?;
        client.send(&json!({"type": "info", "name": "agentSpeaking", "value": "off"})).await?;
        client.wait_for_hand_off().await
    }

    /// Posts to the `<Connect>` action as Twilio does when a session ends with this hand-off data.
    pub async fn post_connect_action(&self, data: &str) -> anyhow::Result<()> {
        let form = [("CallSid", self.call_sid.as_str()), ("CallStatus", "in-progress"), ("HandoffData", data)];
        self.harness.post_as_twilio("/connectAction", &form).await.map(drop)
    }

    async fn place_in_outbound_order(&self) -> anyhow::Result<()> {
        let (number, text) = (&self.sample.number, &self.sample.parts[0]);
        let nested = json!({"note": {"deep": [{"note": text}]}});
        for mut properties in [json!({"note": text}), json!({number.as_str(): 1}), nested, json!({"n": number})] {
            properties["phoneNumber"] = json!(self.caller_number);
            let answer = self.harness.post_as_operator("/outboundCall", &json!({"properties": properties})).await?;
            ensure!(answer.contains("card"), "an order with a card number was not refused");
        }
        let order = json!({"properties": {"phoneNumber": self.caller_number, "callReference": self.call_sid}});
        let answer = self.harness.post_as_operator("/outboundCall", &order).await?;
        ensure!(answer.contains("callSid"), "an order without a card number was refused");
        Ok(())
    }

    async fn place_in_invalid_requests(&self) -> anyhow::Result<()> {
        let (number, text) = (&self.sample.number, &self.sample.parts[0]);
        for body in [json!({text.as_str(): 1}), json!({"message": "Hi", "role": text}), json!({"properties": number})] {
            for path in ["/outboundCall", "/conversation", "/updateResponseService"] {
                let answer = self.harness.post_as_operator(path, &body).await?;
                ensure!(answer.contains("error"), "an invalid operator request was accepted");
            }
        }
        Ok(())
    }

    async fn place_in_chat(&mut self) -> anyhow::Result<()> {
        let mut chat = ProofChat { harness: self.harness, session_id: Value::Null };
        if self.vector == LeakVector::ModelOutputInAChat {
            let text = format!("You said {} to me.", self.sample.parts[0]);
            chat.send("What did I say?", "user", ModelReply::Text(self.rng.split(&text))).await?;
            let hand_off = ModelReply::tool_call("live-agent-handoff", &json!({"summary": text}));
            chat.send("I want a person.", "user", hand_off).await?;
        } else {
            for part in &self.sample.parts {
                chat.send(part, self.rng.pick(&["user", "system"]), ModelReply::from_words("Mm-hm.")).await?;
            }
        }
        chat.send("And now?", "user", ModelReply::from_words("Well.")).await?;
        ensure_redacted(&self.harness.model.last_input())
    }
}

/// A chat over `/conversation`.
#[derive(Debug)]
pub struct ProofChat<'a> {
    harness: &'a ProofHarness,
    session_id: Value,
}

impl<'a> ProofChat<'a> {
    /// Creates a chat without messages.
    pub fn new(harness: &'a ProofHarness) -> Self {
        Self { harness, session_id: Value::Null }
    }

    /// Sends a message, to which the model replies with `reply`.
    pub async fn send(&mut self, message: &str, role: &str, reply: ModelReply) -> anyhow::Result<()> {
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

/// Checks that something was redacted. Otherwise the card number did not reach the server and the case proves nothing.
fn ensure_redacted(shown: &str) -> anyhow::Result<()> {
    ensure!(shown.contains(REDACTED), "nothing was redacted from the model's input");
    Ok(())
}

/// Returns the random number generator of a case. It depends on the seed and the case number only.
pub fn case_rng(seed: u64, case: usize) -> SeededRng {
    SeededRng::for_case(seed, case)
}

/// Generates a card number in the form that the vector needs.
fn card_sample(vector: LeakVector, rng: &mut SeededRng) -> CardSample {
    if vector.is_in_parts() {
        CardSample::random_parts(rng)
    } else if vector.is_typed() {
        CardSample::digits_only(rng)
    } else {
        CardSample::random(rng)
    }
}
