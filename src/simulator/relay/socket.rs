//! A ConversationRelay session on its socket.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::client::{RelayClient, RelayMessage};
use super::frames::ApplicationFrame;
use super::speaker::{Speaker, SpeechEvent};
use super::twiml::ConnectVerb;
use super::{AgentVoice, PhoneCommand, ScriptedRelay};
use crate::simulator::transcript::{ServerSignal, TranscriptEvent};
use crate::simulator::twilio::KeyRouting;

/// How a session ended.
#[derive(Debug)]
pub(super) enum RelaySessionEnd {
    /// By the server's `end`.
    Ended {
        /// Its `handoffData`.
        handoff: Option<String>,
    },
    /// By the caller.
    HungUp,
    /// By a broken socket.
    Failed,
}

/// An open session.
pub(super) struct ScriptedRelaySession<'a> {
    relay: &'a ScriptedRelay,
    connect: &'a ConnectVerb,
    /// The SID of the session.
    id: String,
    client: RelayClient,
    /// The language in which the caller is transcribed.
    language: &'static str,
    speaker: Speaker,
    /// Frames to send as the caller's speech proceeds.
    scheduled_frames: VecDeque<(Instant, Value)>,
    /// What the caller says once the agent is silent, because it could not be interrupted.
    deferred_speech: VecDeque<String>,
    /// The text after which the caller interrupts, and what the caller says.
    planned_interruption: Option<(String, String)>,
    spoken_since: Instant,
    /// Tokens since the last talk cycle was closed.
    token_count: usize,
    bad_frame_count: usize,
    /// Set after `end`. Queued speech is still played.
    ending: Option<RelaySessionEnd>,
    /// When the server is pinged next, if it is.
    next_ping: Option<Instant>,
}

const MAX_BAD_FRAMES: usize = 10;
/// The close codes of RFC 6455.
const NORMAL_CLOSURE: u16 = 1000;
const INVALID_PAYLOAD: u16 = 1007;
const SERVICE_RESTART: u16 = 1012;
const CLOSE_REASON: &str = "Closing websocket session";
/// The speech time of a letter.
const LETTER_DURATION: Duration = Duration::from_millis(45);

impl<'a> ScriptedRelaySession<'a> {
    /// Opens the socket as Twilio does, and sends `setup`.
    pub(super) async fn open(
        relay: &'a ScriptedRelay,
        connect: &'a ConnectVerb,
        id: &str,
        again: bool,
    ) -> Result<Self, String> {
        let client = open_client(relay, connect).await?;
        let mut session = Self {
            relay,
            connect,
            id: id.to_owned(),
            client,
            language: "en-US",
            speaker: Speaker::new(relay.pace),
            scheduled_frames: VecDeque::new(),
            deferred_speech: VecDeque::new(),
            planned_interruption: None,
            spoken_since: Instant::now(),
            token_count: 0,
            bad_frame_count: 0,
            ending: None,
            next_ping: relay.twilio.ping_interval().map(|interval| Instant::now() + interval),
        };
        session.send(session.setup(again)).await;
        relay.twilio.start_call();
        relay.transcript.record(TranscriptEvent::RelayConnected);
        if let Some(greeting) = connect.attribute("welcomeGreeting") {
            let interruptible = connect.is_interruptible_by("welcomeGreetingInterruptible", "speech");
            session.speaker.push(greeting, true, interruptible);
        }
        Ok(session)
    }

    /// Loses the socket. Returns the end of the session, unless another socket can be opened in it.
    async fn lose_socket(&mut self) -> Option<RelaySessionEnd> {
        self.record_cut_speech();
        self.relay.transcript.record(TranscriptEvent::SocketDropped);
        self.relay.twilio.lose_socket();
        let is_reopened = self.relay.twilio.reopens_socket() && self.reopen_and_replay(Vec::new()).await.is_ok();
        (!is_reopened).then_some(RelaySessionEnd::Failed)
    }

    /// Opens another socket in the same session, and sends on it what was buffered.
    async fn reopen_and_replay(&mut self, frames: Vec<Value>) -> Result<(), String> {
        self.client = open_client(self.relay, self.connect).await?;
        self.speaker = Speaker::new(self.relay.pace);
        self.token_count = 0;
        self.send(self.setup(true)).await;
        self.relay.transcript.record(TranscriptEvent::RelayConnected);
        for frame in frames {
            self.send(frame).await;
        }
        Ok(())
    }

    fn setup(&self, again: bool) -> Value {
        let account = self.relay.twilio.account();
        let (direction, from, to) = self.relay.parties();
        let in_progress = again || direction != "inbound";
        let parameters: serde_json::Map<String, Value> =
            self.connect.parameters.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        json!({
            "type": "setup",
            "sessionId": self.id,
            "callSid": self.relay.twilio.call_sid(),
            "parentCallSid": "",
            "from": from,
            "to": to,
            "forwardedFrom": to,
            "callerName": "",
            "direction": direction,
            "callType": "PSTN",
            "callStatus": if in_progress { "IN_PROGRESS" } else { "RINGING" },
            "accountSid": account.sid,
            "customParameters": parameters,
        })
    }

    /// Runs the session until it ends.
    pub(super) async fn run(
        mut self,
        caller: &mut mpsc::Receiver<PhoneCommand>,
        sound: &watch::Sender<AgentVoice>,
    ) -> RelaySessionEnd {
        loop {
            let now = Instant::now();
            self.play(now).await;
            self.send_due_frames(now).await;
            sound.send_replace(AgentVoice { speaking: self.speaker.is_speaking(), connected: true });
            if self.speaker.is_speaking() {
                // Queued speech is played first.
            } else if let Some(ended) = self.ending.take() {
                self.close(NORMAL_CLOSURE, CLOSE_REASON).await;
                return ended;
            }
            if self.is_silent(now).await {
                if let Some(over) = self.lose_socket().await {
                    return over;
                }
                continue;
            }
            let wakes_at = self.next_wake_up(now);
            let over = tokio::select! {
                message = self.client.receive() => self.handle_message(message).await,
                Some(command) = caller.recv() => self.run_command(command).await,
                () = tokio::time::sleep_until(wakes_at) => None,
            };
            if let Some(over) = over {
                return over;
            }
        }
    }

    fn next_wake_up(&self, now: Instant) -> Instant {
        // A planned interruption needs frequent checks.
        let tick = self.relay.pace.to_real(Duration::from_millis(80)).max(Duration::from_millis(1));
        let idle = if self.speaker.is_speaking() && self.planned_interruption.is_some() {
            tick
        } else {
            Duration::from_secs(3600)
        };
        let due = self.scheduled_frames.front().map(|(at, _)| *at);
        [self.speaker.next_event_at(), due, self.next_ping].into_iter().flatten().fold(now + idle, Instant::min)
    }

    /// Pings the server if that is due. Whether the last ping has had no answer.
    async fn is_silent(&mut self, now: Instant) -> bool {
        if self.next_ping.is_none_or(|at| at > now) {
            return false;
        }
        self.next_ping = self.relay.twilio.ping_interval().map(|interval| now + interval);
        !self.client.ping().await
    }

    /// Plays the speech that is due, clause by clause, so that a planned interruption happens at its place even if this
    /// is called late.
    async fn play(&mut self, now: Instant) {
        loop {
            let due = self.speaker.next_event_at().map_or(now, |at| at.min(now));
            self.interrupt_if_planned(due).await;
            self.play_until(due).await;
            if self.speaker.next_event_at().is_none_or(|at| at > now) {
                return;
            }
        }
    }

    async fn interrupt_if_planned(&mut self, now: Instant) {
        let heard = self.speaker.heard(now);
        let ready = self.speaker.is_audible()
            && self.planned_interruption.as_ref().is_some_and(|(after, _)| heard.contains(after));
        if !ready {
            return;
        }
        if let Some((_, says)) = self.planned_interruption.take() {
            self.speak_up(says, now).await;
        }
    }

    async fn play_until(&mut self, now: Instant) {
        for sound in self.speaker.advance(now) {
            match sound {
                SpeechEvent::Started => {
                    self.spoken_since = now;
                    self.send_info("speaker-events", "agentSpeaking", "on").await;
                }
                SpeechEvent::ClausePlayed(text) => self.send_info("tokens-played", "tokensPlayed", &text).await,
                SpeechEvent::UtterancePlayed(text) => {
                    self.relay.transcript.record(TranscriptEvent::AgentSaid { text, cut: false });
                }
                SpeechEvent::Stopped => self.send_info("speaker-events", "agentSpeaking", "off").await,
            }
        }
    }

    /// Sends the frames of the caller's speech that are due.
    async fn send_due_frames(&mut self, now: Instant) {
        while self.scheduled_frames.front().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, frame)) = self.scheduled_frames.pop_front() {
                self.send(frame).await;
            }
        }
        if self.speaker.is_speaking() || self.ending.is_some() {
            return;
        }
        if let Some(text) = self.deferred_speech.pop_front() {
            self.say(&text, false).await;
        }
    }

    async fn run_command(&mut self, command: PhoneCommand) -> Option<RelaySessionEnd> {
        match command {
            PhoneCommand::Say(text) => self.speak_up(text, Instant::now()).await,
            PhoneCommand::SayOver { after, says } => self.planned_interruption = Some((after, says)),
            PhoneCommand::Key(key) => self.press(key).await,
            PhoneCommand::KeysDone(told) => {
                self.relay.twilio.start_digit_timeout();
                // The receiver may have been dropped.
                let _ = told.send(());
            }
            PhoneCommand::HangUp => {
                self.record_cut_speech();
                self.relay.transcript.record(TranscriptEvent::CallerHungUp);
                self.close(NORMAL_CLOSURE, CLOSE_REASON).await;
                return Some(RelaySessionEnd::HungUp);
            }
            PhoneCommand::Speak(language) => self.language = language,
            PhoneCommand::ReconnectAndReplay(frames) => {
                self.relay.transcript.record(TranscriptEvent::SocketDropped);
                if let Err(what) = self.reopen_and_replay(frames).await {
                    self.relay.transcript.record_violation(what);
                    return Some(RelaySessionEnd::Failed);
                }
            }
            PhoneCommand::DropSocket => return self.lose_socket().await,
        }
        None
    }

    /// Says something, over the agent if it is speaking and can be interrupted, or after it.
    async fn speak_up(&mut self, text: String, now: Instant) {
        let speaking = self.speaker.is_speaking();
        if speaking && !self.interrupt("speech", now).await {
            self.deferred_speech.push_back(text);
        } else {
            self.say(&text, speaking).await;
        }
    }

    async fn say(&mut self, text: &str, over: bool) {
        self.relay.transcript.record(TranscriptEvent::CallerSaid { text: text.to_owned(), over });
        self.send_info("speaker-events", "clientSpeaking", "on").await;
        let letters = u32::try_from(text.chars().count()).unwrap_or(0);
        let (now, pace) = (Instant::now(), self.relay.pace);
        let lang = self.language;
        let prompt = |said: &str, last| json!({"type": "prompt", "voicePrompt": said, "lang": lang, "last": last});
        if self.connect.attribute("partialPrompts") == Some("true") {
            let half = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(at, _)| at);
            let words = text[..half].rfind(' ').map_or("", |space| &text[..space]);
            if !words.is_empty() {
                self.scheduled_frames
                    .push_back((pace.deadline(now, LETTER_DURATION * letters / 2), prompt(words, false)));
            }
            self.scheduled_frames.push_back((pace.deadline(now, LETTER_DURATION * letters), prompt(text, false)));
        }
        let ends = pace.deadline(now, LETTER_DURATION * letters + Duration::from_millis(350));
        if self.connect.has_event("speaker-events") {
            self.scheduled_frames.push_back((ends, json!({"type": "info", "name": "clientSpeaking", "value": "off"})));
        }
        self.scheduled_frames.push_back((ends, prompt(text, true)));
    }

    /// Interrupts the agent with speech or a key. False if the agent cannot be interrupted.
    async fn interrupt(&mut self, input: &str, now: Instant) -> bool {
        if !self.connect.is_interruptible_by("interruptible", input) {
            return false;
        }
        let Some(heard) = self.speaker.interrupt(now) else { return false };
        let ms = self.relay.pace.to_simulated(now.saturating_duration_since(self.spoken_since)).as_millis();
        self.send_info("tokens-played", "tokensPlayed", &heard).await;
        self.relay.transcript.record(TranscriptEvent::AgentSaid { text: heard.clone(), cut: true });
        let ms = u64::try_from(ms).unwrap_or(u64::MAX);
        self.send(json!({"type": "interrupt", "utteranceUntilInterrupt": heard, "durationUntilInterruptMs": ms})).await;
        self.send_info("speaker-events", "agentSpeaking", "off").await;
        true
    }

    /// Records what the caller heard of an unfinished utterance.
    fn record_cut_speech(&mut self) {
        let heard = self.speaker.heard(Instant::now());
        if !heard.trim().is_empty() {
            self.relay.transcript.record(TranscriptEvent::AgentSaid { text: heard, cut: true });
        }
    }

    async fn press(&mut self, key: char) {
        let taken = self.relay.twilio.press_key(key) == KeyRouting::Captured;
        let reported = self.connect.attribute("dtmfDetection") == Some("true");
        if (taken && !self.relay.twilio.leaks_dtmf()) || !reported {
            return;
        }
        self.relay.transcript.record(TranscriptEvent::DtmfSent);
        self.send(json!({"type": "dtmf", "digit": key.to_string()})).await;
        if self.speaker.is_speaking() {
            self.interrupt("dtmf", Instant::now()).await;
        }
    }

    async fn handle_message(&mut self, message: RelayMessage) -> Option<RelaySessionEnd> {
        let text = match message {
            RelayMessage::Text(text) => text,
            RelayMessage::Closed(SERVICE_RESTART, _) if self.has_happened(is_stop) => return self.lose_socket().await,
            RelayMessage::Lost if self.has_happened(is_kill) => return self.lose_socket().await,
            RelayMessage::Closed(..) | RelayMessage::Lost => {
                self.relay.transcript.record_violation("the server closed the socket without `end`");
                return Some(RelaySessionEnd::Failed);
            }
        };
        self.relay.transcript.record_evidence("a socket frame", text.clone());
        match ApplicationFrame::parse(&text) {
            Ok(frame) => {
                self.bad_frame_count = 0;
                self.handle_frame(frame);
                None
            }
            Err(what) => {
                self.relay.transcript.record_violation(format!("a bad frame (64107): {what}"));
                self.bad_frame_count += 1;
                let description = format!("Invalid message received, code: 64107, {text}");
                self.send(json!({"type": "error", "description": description})).await;
                if self.bad_frame_count < MAX_BAD_FRAMES {
                    return None;
                }
                self.close(INVALID_PAYLOAD, "Too many consecutive malformed messages.").await;
                Some(RelaySessionEnd::Failed)
            }
        }
    }

    fn has_happened(&self, is: fn(&TranscriptEvent) -> bool) -> bool {
        self.relay.transcript.entries().iter().any(|entry| is(&entry.event))
    }

    fn handle_frame(&mut self, frame: ApplicationFrame) {
        if self.ending.is_some() {
            self.relay.transcript.record_violation("a frame after `end`");
        }
        match frame {
            ApplicationFrame::Text { token, last, interruptible } => {
                if token.is_empty() && last && self.token_count == 0 {
                    self.relay.transcript.record_violation("an empty last token without text before it: an empty turn");
                }
                if self.token_count == 0 && !token.is_empty() {
                    self.relay.transcript.record(TranscriptEvent::FirstToken);
                }
                self.token_count = if last { 0 } else { self.token_count + usize::from(!token.is_empty()) };
                self.speaker.push(&token, last, interruptible.unwrap_or(true));
            }
            ApplicationFrame::End { handoff } => {
                if self.speaker.has_partial_clause() {
                    self.relay.transcript.record_violation("`end` came before the last token of what is being said");
                }
                self.relay.transcript.record(TranscriptEvent::EndFrame { handoff: handoff.clone() });
                self.ending = Some(RelaySessionEnd::Ended { handoff });
            }
            ApplicationFrame::Language { spoken } => {
                if let Some(language) = spoken {
                    self.relay.transcript.record(TranscriptEvent::VoiceSwitched { language });
                }
            }
            ApplicationFrame::Play | ApplicationFrame::SendDigits => {}
        }
    }

    async fn send_info(&mut self, event: &str, name: &str, value: &str) {
        if self.connect.has_event(event) {
            self.send(json!({"type": "info", "name": name, "value": value})).await;
        }
    }

    async fn send(&mut self, frame: Value) {
        // A closed socket is detected on the next read.
        let _ = self.client.send(&frame).await;
    }

    async fn close(&mut self, code: u16, reason: &'static str) {
        let _ = self.client.close(code, reason).await;
        if !self.client.drain(Duration::from_secs(2)).await {
            self.relay.transcript.record_violation("the server did not answer the close frame");
        }
    }
}

/// Whether the server was asked to stop or was ended. Only then may it close the socket during a call.
fn is_stop(event: &TranscriptEvent) -> bool {
    matches!(
        event,
        TranscriptEvent::DrainStarted { .. }
            | TranscriptEvent::ServerDied
            | TranscriptEvent::ServerSignalled(ServerSignal::Terminate)
    )
}

/// Whether the process of the server was killed. Only then may the socket end without a close frame.
fn is_kill(event: &TranscriptEvent) -> bool {
    matches!(event, TranscriptEvent::ServerSignalled(ServerSignal::Kill))
}

/// Opens the socket of the TwiML as Twilio does.
async fn open_client(relay: &ScriptedRelay, connect: &ConnectVerb) -> Result<RelayClient, String> {
    let signature = relay.signer.sign(&connect.url, &[]);
    let client = RelayClient::open(relay.webhooks.proxy().socket_target().await, &connect.url, Some(&signature)).await;
    client.map_err(|error| format!("the socket {} cannot be opened (64102): {error}", connect.url))
}
