//! Sends the card number of a case to the server through its leak vector, then continues the conversation so that
//! anything the server kept appears in its output.

use anyhow::ensure;
use serde_json::{Value, json};

use super::call::ProofCall;
use super::capture::OutputChannel;
use super::case::{ProofCase, ProofChat};
use super::vector::LeakVector;
use super::{over_time, payment};
use crate::redact::REDACTED;
use crate::simulator::ModelReply;

impl ProofCase<'_> {
    /// Runs the case. Returns the channel that still shows a part of a split card number, which a search for the whole
    /// number would miss.
    ///
    /// Returns an error if the server did not behave as the case requires; the case then proves nothing.
    pub(super) async fn run(&mut self) -> anyhow::Result<Option<OutputChannel>> {
        match self.vector {
            LeakVector::OutboundCall => self.place_in_outbound_order().await?,
            LeakVector::OutboundCallInParts => self.place_in_two_properties().await?,
            LeakVector::OperatorsMistake => self.place_in_invalid_requests().await?,
            LeakVector::Chat | LeakVector::ChatInParts | LeakVector::ModelOutputInAChat => self.place_in_chat().await?,
            _ => return self.run_call().await,
        }
        Ok(None)
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
        let mut call = ProofCall::connect(harness, &self.call_sid, &self.caller_number, &parameters).await?;
        let leftover = self.place_in_call(&mut call).await?;
        self.hang_up(call).await?;
        Ok(leftover)
    }

    /// Sends the card number through a vector that needs a call.
    async fn place_in_call(&mut self, call: &mut ProofCall<'_>) -> anyhow::Result<Option<OutputChannel>> {
        let (number, text) = (self.sample.number.clone(), self.sample.parts[0].clone());
        match self.vector {
            LeakVector::Entered => payment::run_successful_payment(self, call).await?,
            LeakVector::SpokenDuringACapture
            | LeakVector::SpokenAmongWordsDuringACapture
            | LeakVector::KeyedDuringACapture
            | LeakVector::Callback => {
                payment::run_disturbed_payment(self, call).await?;
            }
            LeakVector::SpokenAmongWords | LeakVector::SpokenDigitByDigit | LeakVector::MisheardDigit => {
                call.say(&text, []).await?;
                ensure_redacted(&call.run_probe_turn().await?)?;
            }
            LeakVector::SpokenInOtherForms => {
                call.say(&text, []).await?;
                let shown = call.run_probe_turn().await?;
                ensure_redacted(&shown)?;
                // The search knows no such form, so the text itself must be gone.
                let stands = shown.contains(&Value::from(text.as_str()).to_string());
                return Ok(stands.then_some(OutputChannel::Model));
            }
            LeakVector::SpokenOverPrompts | LeakVector::SpokenInHalves => return over_time::speak(self, call).await,
            LeakVector::ModelOutputOverTime => return over_time::let_model_speak(self, call).await,
            LeakVector::MessagesInParts | LeakVector::TonesInParts | LeakVector::ToolNamesInParts => {
                return over_time::let_model_call_tools(self, call).await;
            }
            LeakVector::Spoken => {
                call.client.send(&json!({"type": "prompt", "voicePrompt": text, "last": false})).await?;
                call.say(&text, []).await?;
                ensure_redacted(&call.run_probe_turn().await?)?;
            }
            LeakVector::SpokenInParts => {
                for part in &self.sample.parts {
                    call.say(part, []).await?;
                }
                let shown = call.run_probe_turn().await?;
                ensure_redacted(&shown)?;
                let stands = |part: &String| shown.contains(&Value::from(part.as_str()).to_string());
                return Ok(self.sample.parts.iter().any(stands).then_some(OutputChannel::Model));
            }
            LeakVector::SpokenOverTheAgent => {
                call.say("Hello", []).await?;
                call.client.send(&json!({"type": "info", "name": "tokensPlayed", "value": text})).await?;
                let interrupt =
                    json!({"type": "interrupt", "utteranceUntilInterrupt": text, "durationUntilInterruptMs": 9});
                call.client.send(&interrupt).await?;
                call.run_probe_turn().await?;
            }
            LeakVector::KeyedOutsideACapture => {
                call.client.press_keys(&format!("{number}#")).await?;
                call.client.wait_for_speech().await?;
                ensure_redacted(&call.run_probe_turn().await?)?;
            }
            LeakVector::KeyedInParts => {
                let (first, second) = number.split_at(number.len() / 2);
                for part in [first, second] {
                    call.client.press_keys(&format!("{part}#")).await?;
                    call.client.wait_for_speech().await?;
                }
                let shown = call.run_probe_turn().await?;
                ensure_redacted(&shown)?;
                return Ok(shown.contains(first).then_some(OutputChannel::Model));
            }
            LeakVector::CustomParameter | LeakVector::BusinessAnswer => {
                ensure_redacted(&call.run_probe_turn().await?)?;
            }
            LeakVector::ModelOutput => {
                let tokens = self.rng.split(&format!("You said {text} to me."));
                call.say("What did I say?", [ModelReply::Tokens(tokens)]).await?;
                ensure_redacted(&call.run_probe_turn().await?)?;
            }
            LeakVector::HandOff => self.place_in_hand_off(call, &text).await?,
            LeakVector::BadFrame => {
                let frames =
                    [json!({"type": text, "a": number}), json!({"type": "error", "description": text}), json!(text)];
                for frame in &frames {
                    call.client.send(frame).await?;
                }
                call.client.send(&json!({"type": "prompt", "voicePrompt": [text]})).await?;
                call.run_probe_turn().await?;
            }
            _ => self.place_in_tool_call(call).await?,
        }
        Ok(None)
    }

    /// Lets the model put the card number into the name or the arguments of a tool call.
    async fn place_in_tool_call(&self, call: &mut ProofCall<'_>) -> anyhow::Result<()> {
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
            call.say("Do it.", [ModelReply::ToolCall(name.to_owned().into(), arguments.into())]).await?;
            let shown = call.run_probe_turn().await?;
            // An invalid amount is refused as such, so the number need not be redacted from the tool call.
            ensure!(
                self.vector == LeakVector::Amount || ensure_redacted(&shown).is_ok(),
                "nothing was redacted from the tool call"
            );
        }
        Ok(())
    }

    /// Lets the model put the card number into the hand-off data, and posts hand-off data that the model did not write.
    async fn place_in_hand_off(&self, call: &mut ProofCall<'_>, text: &str) -> anyhow::Result<()> {
        let arguments = json!({"reason": text, "conversationSummary": text});
        let data = self.request_hand_off(call, &arguments).await?;
        ensure!(data.contains(REDACTED), "nothing was redacted from the hand-off data");
        for data in [data, text.to_owned(), json!({"summary": [text]}).to_string()] {
            self.post_connect_action(&data).await?;
        }
        Ok(())
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

    async fn place_in_two_properties(&self) -> anyhow::Result<()> {
        let (first, second) = (&self.sample.parts[0], &self.sample.parts[1]);
        let order = json!({"properties": {"phoneNumber": self.caller_number, "a": first, "n": {"b": second}}});
        let answer = self.harness.post_as_operator("/outboundCall", &order).await?;
        ensure!(answer.contains("card"), "an order with a card number in parts was not refused");
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
        let mut chat = ProofChat::new(self.harness);
        if self.vector == LeakVector::ModelOutputInAChat {
            let text = format!("You said {} to me.", self.sample.parts[0]);
            chat.send("What did I say?", "user", ModelReply::Tokens(self.rng.split(&text))).await?;
            let hand_off =
                ModelReply::ToolCall("live-agent-handoff".into(), json!({"summary": text}).to_string().into());
            chat.send("I want a person.", "user", hand_off).await?;
        } else {
            for part in &self.sample.parts {
                chat.send(part, self.rng.pick(&["user", "system"]), ModelReply::text("Mm-hm.")).await?;
            }
        }
        chat.send("And now?", "user", ModelReply::text("Well.")).await?;
        ensure_redacted(&self.harness.model.last_input())
    }
}

/// Checks that something was redacted. Otherwise the card number did not reach the server and the case proves nothing.
pub(super) fn ensure_redacted(shown: &str) -> anyhow::Result<()> {
    ensure!(shown.contains(REDACTED), "nothing was redacted from the model's input");
    Ok(())
}
