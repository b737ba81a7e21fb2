//! The caller: runs the script with the timing of a person.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};

use super::deployment::Deployment;
use super::operator;
use super::pace::Pace;
use super::relay::{PhoneCommand, PhoneLine, SECOND_CALLER_NUMBER, ScriptedRelay};
use super::scenario_ledger::LedgerFault;
use super::transcript::{ServerSignal, Transcript, TranscriptEntry, TranscriptEvent};
use super::twilio::{CaptureField, PaymentsRequest, ScriptedTwilio};

/// A step of a script.
#[derive(Debug, Clone, Copy)]
pub(super) enum CallerStep {
    /// Waits until the agent has said one of these texts (separated by `|`) since the last step.
    Hears(&'static str),
    /// Waits until the agent is silent, and says this.
    Says(&'static str),
    /// Speaks over the agent once it has said this.
    SpeaksOver {
        /// The text that the agent has said.
        after: &'static str,
        /// The text that the caller says.
        says: &'static str,
    },
    /// Waits to be asked for a field, enters it and presses hash.
    Enters(CaptureField, &'static str),
    /// Waits to be asked for a field and presses exactly these keys.
    Presses(CaptureField, &'static str),
    /// Waits until an entry times out at Twilio.
    WaitsForEntryTimeout,
    /// Waits until Twilio has answered this request.
    WaitsForRequest(PaymentsRequest),
    /// Waits until Twilio captures the field and the agent has said one of these texts, in either order: the server asks
    /// Twilio while it speaks.
    IsAskedFor(CaptureField, &'static str),
    /// Waits until Twilio has created a payment session, whether the server has the response or not.
    WaitsForSession,
    /// Waits for this many seconds of simulated time.
    Waits(u64),
    /// Waits until the call has ended.
    WaitsForCallEnd,
    /// Hangs up.
    HangsUp,
    /// Speaks this language from now on, by its primary tag.
    Speaks(&'static str),
    /// The socket between Twilio and the server breaks.
    LosesSocket,
    /// The socket breaks, and Twilio opens another one at once. In one burst of 500 frames it replays these two
    /// prompts, with interrupts of earlier speech and these keys around them.
    LosesSocketAndReplays([&'static str; 2], &'static str),
    /// Waits until the call has ended, and calls again.
    Redials,
    /// Continues with one of two scripts, which are the rest of the script.
    Branches {
        /// The texts (separated by `|`) that the agent says to select `then`.
        hears: &'static str,
        /// The script after one of these texts.
        then: &'static [CallerStep],
        /// The script after Twilio has started to capture the card number.
        otherwise: &'static [CallerStep],
    },
    /// Outside the call: the server is asked to drain, as in a roll-out.
    ServerStops,
    /// Outside the call: the server is killed, and another one starts on its ledger.
    ServerDies,
    /// Outside the call: the process of the server that has the call gets a signal.
    SignalsServer(ServerSignal),
    /// Waits until ConversationRelay is connected anew.
    IsConnectedAgain,
    /// Outside the call: writes to the ledger fail from now on.
    LedgerFails(LedgerFault),
    /// Outside the call: writes to the ledger succeed again.
    LedgerRecovers,
    /// Outside the call: waits until Twilio has delivered a result.
    WaitsForResult,
    /// Outside the call: Twilio reports the results that it held back until the call had ended.
    LateResultsCome,
    /// Outside the call: waits until the server has asked Twilio for a text message.
    WaitsForMessage,
    /// Outside the call: an operator requests a call about this order, and must get this status.
    OperatorOrdersCall(&'static str, u16),
    /// Outside the call: somebody else calls, and hears this in place of the agent.
    AnotherCallerHears(&'static str),
}

impl CallerStep {
    /// The keys that are pressed.
    pub(super) fn keys(&self) -> Vec<&'static str> {
        match self {
            Self::Enters(_, keys) | Self::Presses(_, keys) => vec![keys],
            Self::Branches { then, otherwise, .. } => then.iter().chain(*otherwise).flat_map(Self::keys).collect(),
            _ => Vec::new(),
        }
    }
}

/// The scripted caller.
#[derive(Debug)]
pub(super) struct ScriptedCaller<'a> {
    /// ConversationRelay's side of the call.
    pub relay: ScriptedRelay,
    /// The connection to the call.
    pub phone: PhoneLine,
    /// Twilio's side of the payments.
    pub twilio: ScriptedTwilio,
    /// The server instances.
    pub deployment: &'a Deployment,
    /// The transcript so far.
    pub transcript: Transcript,
    /// The speed of simulated time.
    pub pace: Pace,
    /// The timeout of a step, on the real clock.
    pub step_timeout: Duration,
    /// Whether any text matches, because a real model chooses its own words.
    pub accepts_any_words: bool,
    /// The first entry of the transcript that a step has not consumed.
    pub next_entry: usize,
}

/// How long the agent is silent before the caller speaks.
const SILENCE: Duration = Duration::from_millis(700);
/// How long the caller waits for the agent to name the field.
const PROMPT_TIMEOUT: Duration = Duration::from_secs(8);
/// The time between two keys.
const KEY_INTERVAL: Duration = Duration::from_millis(260);

impl<'a> ScriptedCaller<'a> {
    /// Starts a call to the server.
    pub(super) fn start_call(
        relay: ScriptedRelay,
        deployment: &'a Deployment,
        patience: Duration,
        lenient: bool,
    ) -> Self {
        let (line, twilio, transcript, pace) =
            (relay.clone().start_call(), relay.twilio.clone(), relay.transcript.clone(), relay.pace);
        Self {
            relay,
            phone: line,
            twilio,
            deployment,
            transcript,
            pace,
            step_timeout: patience,
            accepts_any_words: lenient,
            next_entry: 0,
        }
    }

    /// Runs a script. An error names the step that timed out.
    pub(super) async fn run_script(&mut self, script: &[CallerStep]) -> Result<(), String> {
        for step in script {
            self.run_step(*step).await?;
        }
        Ok(())
    }

    async fn run_step(&mut self, step: CallerStep) -> Result<(), String> {
        match step {
            CallerStep::Hears(words) => self.wait_to_hear(words).await,
            CallerStep::Says(words) => {
                self.wait_for_silence().await?;
                self.say(words).await;
                Ok(())
            }
            CallerStep::SpeaksOver { after, says } => {
                self.next_entry = self.transcript.len();
                let (what, says) = (format!("to speak over “{after}”"), says.to_owned());
                let after = if self.accepts_any_words { String::new() } else { after.to_owned() };
                let _ = self.phone.commands.send(PhoneCommand::SayOver { after, says: says.clone() }).await;
                self.wait_for_event(
                    |event| matches!(event, TranscriptEvent::CallerSaid { text, .. } if *text == says),
                    &what,
                )
                .await
            }
            CallerStep::Enters(field, digits) => {
                self.wait_for_prompt(field).await?;
                self.press_keys(&format!("{digits}#"), field.label()).await;
                Ok(())
            }
            CallerStep::Presses(field, keys) => {
                self.wait_for_prompt(field).await?;
                self.press_keys(keys, field.label()).await;
                Ok(())
            }
            CallerStep::WaitsForEntryTimeout => {
                self.wait_for_event(
                    |event| matches!(event, TranscriptEvent::EntryCompleted { .. }),
                    "for the entry to time out",
                )
                .await
            }
            CallerStep::WaitsForRequest(request) => self.wait_for_request(request).await,
            CallerStep::IsAskedFor(field, words) => {
                let since = self.next_entry;
                self.wait_for_request(PaymentsRequest::Capture(field)).await?;
                let after_request = std::mem::replace(&mut self.next_entry, since);
                self.wait_to_hear(words).await?;
                self.next_entry = self.next_entry.max(after_request);
                Ok(())
            }
            CallerStep::WaitsForSession => {
                self.wait_for_event(
                    |event| matches!(event, TranscriptEvent::PaymentCreated { .. }),
                    "for a payment session to be created",
                )
                .await
            }
            CallerStep::Waits(seconds) => {
                self.pace.sleep(Duration::from_secs(seconds)).await;
                Ok(())
            }
            CallerStep::WaitsForCallEnd => self.wait_for_call_end().await,
            CallerStep::HangsUp => self.send_and_wait_for_end(PhoneCommand::HangUp).await,
            CallerStep::LosesSocket => {
                self.next_entry = self.transcript.len();
                let _ = self.phone.commands.send(PhoneCommand::DropSocket).await;
                let asked = |event: &TranscriptEvent| matches!(event, TranscriptEvent::ActionAnswered { status, .. } if status == "failed");
                self.wait_for_event(asked, "for Twilio to request the action").await
            }
            CallerStep::Redials => {
                self.wait_for_call_end().await?;
                self.next_entry = self.transcript.len();
                let relay = self.relay.for_next_call(self.relay.caller_number);
                *self = Self::start_call(relay, self.deployment, self.step_timeout, self.accepts_any_words);
                Ok(())
            }
            CallerStep::Branches { hears, then, otherwise } => {
                let said = self.find_entry(|event| agent_says(event, hears));
                let asked = self.wait_for_field(CaptureField::CardNumber);
                let forks = async {
                    tokio::select! { _ = said => then, () = asked => otherwise }
                };
                let way = self.with_timeout(forks, "to hear whether it goes on").await?;
                Box::pin(self.run_script(way)).await
            }
            _ => self.run_external_step(step).await,
        }
    }

    /// Runs a step outside the call.
    async fn run_external_step(&mut self, step: CallerStep) -> Result<(), String> {
        match step {
            CallerStep::ServerStops => {
                self.next_entry = self.transcript.len();
                self.deployment.roll_out(&self.relay.webhooks, &self.transcript).await;
                Ok(())
            }
            CallerStep::ServerDies => {
                self.next_entry = self.transcript.len();
                self.deployment
                    .crash_and_restart(&self.transcript)
                    .await
                    .map_err(|error| format!("for another server: {error:#}"))
            }
            CallerStep::SignalsServer(signal) => {
                self.next_entry = self.transcript.len();
                let signalled = self.deployment.signal_server(signal, &self.transcript).await;
                signalled.map_err(|error| format!("for a signal to the server: {error:#}"))
            }
            CallerStep::IsConnectedAgain => {
                let connected = |event: &TranscriptEvent| matches!(event, TranscriptEvent::RelayConnected);
                self.wait_for_event(connected, "for ConversationRelay to be connected again").await
            }
            CallerStep::Speaks(language) => {
                let _ = self.phone.commands.send(PhoneCommand::Speak(language)).await;
                Ok(())
            }
            CallerStep::LosesSocketAndReplays(prompts, keys) => {
                self.next_entry = self.transcript.len();
                let _ =
                    self.phone.commands.send(PhoneCommand::ReconnectAndReplay(replayed_frames(prompts, keys))).await;
                Ok(())
            }
            CallerStep::LedgerFails(fault) => self.set_ledger_fault(Some(fault)).await,
            CallerStep::LedgerRecovers => self.set_ledger_fault(None).await,
            CallerStep::WaitsForResult => {
                let delivered = |event: &TranscriptEvent| {
                    matches!(event, TranscriptEvent::CallbackDelivered { terminal: Some(_), .. })
                };
                self.wait_for_event(delivered, "for the result to be delivered").await
            }
            CallerStep::LateResultsCome => {
                self.next_entry = self.transcript.len();
                self.relay.twilio.report_late_results();
                let delivered = |event: &TranscriptEvent| {
                    matches!(event, TranscriptEvent::CallbackDelivered { terminal: Some(_), .. })
                };
                self.wait_for_event(delivered, "for a late result to be delivered").await
            }
            CallerStep::WaitsForMessage => {
                let requested = |event: &TranscriptEvent| matches!(event, TranscriptEvent::MessageRequested { .. });
                self.wait_for_event(requested, "for a text message").await
            }
            CallerStep::OperatorOrdersCall(reference, wanted) => {
                let properties = json!({"phoneNumber": self.relay.caller_number, "callReference": reference});
                let order = json!({"properties": properties});
                let (status, _) = operator::post_order(&self.deployment.proxy, "/outboundCall", &order).await?;
                if status != wanted {
                    self.transcript.record_violation(format!("an order to call was answered {status}, not {wanted}"));
                }
                Ok(())
            }
            CallerStep::AnotherCallerHears(words) => {
                let other = self.relay.for_next_call(SECOND_CALLER_NUMBER);
                if other.request_twiml().await?.is_some() {
                    return Err("for another call to be refused".to_owned());
                }
                other.twilio.end_call();
                let heard = self.transcript.wait_until(self.step_timeout, |entries| {
                    entries.iter().any(|entry| agent_says(&entry.event, words)).then_some(())
                });
                heard.await.ok_or_else(|| format!("for another caller to hear “{words}”"))
            }
            _ => Ok(()),
        }
    }

    /// Says something without waiting for silence.
    pub(super) async fn say(&mut self, words: &str) {
        self.next_entry = self.transcript.len();
        let _ = self.phone.commands.send(PhoneCommand::Say(words.to_owned())).await;
    }

    /// Presses keys one after the other.
    pub(super) async fn press_keys(&mut self, keys: &str, what: &str) {
        self.next_entry = self.transcript.len();
        self.transcript.record(TranscriptEvent::KeysPressed { dots: mask_keys(keys), what: what.to_owned() });
        for key in keys.chars() {
            let _ = self.phone.commands.send(PhoneCommand::Key(key)).await;
            self.pace.sleep(KEY_INTERVAL).await;
        }
        let (rests, arrived) = oneshot::channel();
        let _ = self.phone.commands.send(PhoneCommand::KeysDone(rests)).await;
        // The sender is dropped if the call has ended.
        let _ = arrived.await;
    }

    async fn wait_for_call_end(&mut self) -> Result<(), String> {
        if self.phone.task.is_finished() {
            return Ok(());
        }
        let over = tokio::time::timeout(self.step_timeout, &mut self.phone.task).await;
        over.map(drop).map_err(|_| "for the server to end the call".to_owned())
    }

    async fn send_and_wait_for_end(&mut self, command: PhoneCommand) -> Result<(), String> {
        self.phone.commands.send(command).await.map_err(|_| "for the call to be still connected".to_owned())?;
        let over = tokio::time::timeout(self.step_timeout, &mut self.phone.task).await;
        over.map(drop).map_err(|_| "for the call to end".to_owned())
    }

    async fn set_ledger_fault(&mut self, fault: Option<LedgerFault>) -> Result<(), String> {
        self.deployment
            .set_ledger_fault(fault, &self.transcript)
            .await
            .map_err(|error| format!("for the ledger: {error:#}"))
    }

    async fn wait_to_hear(&mut self, words: &str) -> Result<(), String> {
        let lenient = self.accepts_any_words;
        let fits = |event: &TranscriptEvent| if lenient { agent_says(event, "") } else { agent_says(event, words) };
        self.wait_for_event(fits, &format!("to hear “{words}”")).await
    }

    async fn wait_for_request(&mut self, request: PaymentsRequest) -> Result<(), String> {
        let asked = |event: &TranscriptEvent| matches!(event, TranscriptEvent::PaymentsRequested { request: it, .. } if *it == request);
        self.wait_for_event(asked, &format!("for Twilio to be asked for: {request}")).await
    }

    /// Waits for an event after the last consumed entry, and consumes it.
    async fn wait_for_event(&mut self, fits: impl Fn(&TranscriptEvent) -> bool, what: &str) -> Result<(), String> {
        self.next_entry = self.find_entry(fits).await.ok_or(what)? + 1;
        Ok(())
    }

    /// Waits for an entry of this call after the last consumed one, and returns its index. `None` after the step's
    /// timeout.
    async fn find_entry(&self, fits: impl Fn(&TranscriptEvent) -> bool) -> Option<usize> {
        let (from, line) = (self.next_entry, self.transcript.call_number());
        let found = self.transcript.wait_until(self.step_timeout, |entries| {
            let fits = |entry: &TranscriptEntry| entry.call_number == line && fits(&entry.event);
            entries.iter().enumerate().skip(from).find_map(|(at, entry)| fits(entry).then_some(at))
        });
        found.await
    }

    async fn wait_for_prompt(&mut self, field: CaptureField) -> Result<(), String> {
        loop {
            self.wait_for_capture(field).await?;
            self.wait_for_silence().await?;
            // The entry may have timed out meanwhile; then the agent asks again.
            if self.twilio.captured_field() == Some(field) {
                return Ok(());
            }
        }
    }

    async fn wait_for_capture(&self, field: CaptureField) -> Result<(), String> {
        let asked = async {
            self.wait_for_field(field).await;
            // Waits for the agent to name the field, and continues without it after the timeout.
            let from = self.transcript.len();
            let told = |entries: &[TranscriptEntry]| {
                entries[from..].iter().any(|entry| self.is_prompt_for(entry, field)).then_some(())
            };
            let _ = self.transcript.wait_until(self.pace.to_real(PROMPT_TIMEOUT), told).await;
        };
        self.with_timeout(asked, &format!("to be asked for the {}", field.label())).await
    }

    async fn wait_for_field(&self, field: CaptureField) {
        while self.twilio.captured_field() != Some(field) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn is_prompt_for(&self, entry: &TranscriptEntry, field: CaptureField) -> bool {
        entry.call_number == self.transcript.call_number()
            && matches!(&entry.event, TranscriptEvent::AgentSaid { text, .. } if self.accepts_any_words || text.contains(field.label()))
    }

    async fn wait_for_silence(&mut self) -> Result<(), String> {
        let mut voice = self.phone.voice.clone();
        // A real model pauses between two sentences on the real clock.
        let pause = if self.accepts_any_words { Duration::from_secs(2) } else { self.pace.to_real(SILENCE) };
        let silence = async {
            loop {
                voice.wait_for(|voice| voice.connected && !voice.speaking).await?;
                let speaks = voice.wait_for(|voice| voice.speaking);
                if tokio::time::timeout(pause, speaks).await.is_err() {
                    return Ok::<(), watch::error::RecvError>(());
                }
            }
        };
        self.with_timeout(silence, "for the agent to stop talking")
            .await?
            .map_err(|_| "for the call to be still connected".to_owned())
    }

    async fn with_timeout<T>(&self, it: impl Future<Output = T>, what: &str) -> Result<T, String> {
        tokio::time::timeout(self.step_timeout, it).await.map_err(|_| what.to_owned())
    }
}

/// The 500 frames that Twilio buffers at most: two prompts, interrupts of earlier speech, and keys.
fn replayed_frames([first, second]: [&str; 2], keys: &str) -> Vec<Value> {
    let prompt = |words: &str| json!({"type": "prompt", "voicePrompt": words, "lang": "en-US", "last": true});
    let interrupt =
        || json!({"type": "interrupt", "utteranceUntilInterrupt": "Please", "durationUntilInterruptMs": 460});
    let mut frames = vec![interrupt(), prompt(first), interrupt()];
    frames.extend(keys.chars().cycle().take(495).map(|key| json!({"type": "dtmf", "digit": key.to_string()})));
    frames.extend([prompt(second), interrupt()]);
    frames
}

/// Whether the event is an utterance of the agent with one of these texts (separated by `|`).
fn agent_says(event: &TranscriptEvent, words: &str) -> bool {
    let TranscriptEvent::AgentSaid { text, .. } = event else { return false };
    let text = text.to_lowercase();
    words.split('|').any(|words| text.contains(&words.to_lowercase()))
}

/// Replaces the digits with dots, so that the output shows no digit.
pub(super) fn mask_keys(keys: &str) -> String {
    let digits = keys.chars().filter(char::is_ascii_digit).count();
    let mut dots = String::new();
    for (at, key) in keys.chars().enumerate() {
        if at > 0 && (at % 4 == 0 && digits > 4 || key == '#') {
            dots.push(' ');
        }
        dots.push(if key.is_ascii_digit() { '•' } else { key });
    }
    dots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_shown_as_dots() {
        assert_eq!(mask_keys("4242424242424242#"), "•••• •••• •••• •••• #");
        assert_eq!(mask_keys("123#"), "••• #");
        assert_eq!(mask_keys("42*"), "••*");
    }
}
