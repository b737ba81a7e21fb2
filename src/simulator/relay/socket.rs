//! One ConversationRelay session on its socket.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::frames::Frame;
use super::speaker::{Sound, Speaker};
use super::twiml::Connect;
use super::{Command, Relay, Voice};
use crate::simulator::tape::Event;
use crate::simulator::twilio::Pressed;

/// How a session ended.
#[derive(Debug)]
pub enum Over {
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
pub struct Session<'a> {
    relay: &'a Relay,
    connect: &'a Connect,
    socket: WebSocketStream<TcpStream>,
    speaker: Speaker,
    /// Frames that become due as the caller's speech goes on.
    due: VecDeque<(Instant, Value)>,
    /// What the caller will say as soon as the agent lets anybody speak.
    held: VecDeque<String>,
    /// What the caller will say over the agent, and after which of its words.
    poised: Option<(String, String)>,
    spoken_since: Instant,
    /// Tokens since the last talk cycle was closed.
    tokens: usize,
    bad_frames: usize,
    /// `end` has come; what is queued is still played.
    ending: Option<Over>,
}

const BAD_FRAMES: usize = 10;
const CLOSING: &str = "Closing websocket session";
/// How long the caller takes to say a letter.
const LETTER: Duration = Duration::from_millis(45);

impl<'a> Session<'a> {
    /// Opens the socket as Twilio does, and introduces the call.
    pub async fn open(relay: &'a Relay, connect: &'a Connect, id: &str, again: bool) -> Result<Self, String> {
        let signature = relay.signer.sign(&connect.url, &[]);
        let broken =
            |error: &dyn std::fmt::Display| format!("the socket {} cannot be opened (64102): {error}", connect.url);
        let mut request = connect.url.replacen("wss://", "ws://", 1).into_client_request().map_err(|e| broken(&e))?;
        let headers = request.headers_mut();
        headers.insert("User-Agent", HeaderValue::from_static("Jetty/11.0.24"));
        headers.insert("X-Twilio-Signature", HeaderValue::from_str(&signature).map_err(|e| broken(&e))?);
        let stream = TcpStream::connect(relay.webhooks.server().leads_to()).await.map_err(|e| broken(&e))?;
        let _ = stream.set_nodelay(true);
        let (socket, answer) = tokio_tungstenite::client_async(request, stream).await.map_err(|e| broken(&e))?;
        if answer.headers().contains_key("sec-websocket-protocol") {
            relay.tape.violation("the server chose a subprotocol that was not offered");
        }
        let mut session = Self {
            relay,
            connect,
            socket,
            speaker: Speaker::new(relay.pace),
            due: VecDeque::new(),
            held: VecDeque::new(),
            poised: None,
            spoken_since: Instant::now(),
            tokens: 0,
            bad_frames: 0,
            ending: None,
        };
        session.send(session.setup(id, again)).await;
        relay.twilio.call_is_up();
        relay.tape.write(Event::Connected);
        if let Some(greeting) = connect.attribute("welcomeGreeting") {
            let interruptible = connect.lets_interrupt("welcomeGreetingInterruptible", "speech");
            session.speaker.push(greeting, true, interruptible);
        }
        Ok(session)
    }

    fn setup(&self, id: &str, again: bool) -> Value {
        let account = self.relay.twilio.account();
        let (direction, from, to) = self.relay.parties();
        let in_progress = again || direction != "inbound";
        let parameters: serde_json::Map<String, Value> =
            self.connect.parameters.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        json!({
            "type": "setup",
            "sessionId": id,
            "callSid": self.relay.twilio.call(),
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

    /// Carries the session until it is over.
    pub async fn run(mut self, caller: &mut mpsc::Receiver<Command>, sound: &watch::Sender<Voice>) -> Over {
        loop {
            let now = Instant::now();
            self.play(now).await;
            self.hear(now).await;
            sound.send_replace(Voice { speaking: self.speaker.is_speaking(), connected: true });
            if self.speaker.is_speaking() {
                // Still something to play out.
            } else if let Some(ended) = self.ending.take() {
                self.close(CloseCode::Normal, CLOSING).await;
                return ended;
            }
            let wakes_at = self.wakes_at(now);
            let over = tokio::select! {
                frame = self.socket.next() => self.take(frame).await,
                Some(command) = caller.recv() => self.obey(command).await,
                () = tokio::time::sleep_until(wakes_at) => None,
            };
            if let Some(over) = over {
                return over;
            }
        }
    }

    fn wakes_at(&self, now: Instant) -> Instant {
        // Who waits for a word listens closely.
        let tick = self.relay.pace.real(Duration::from_millis(80)).max(Duration::from_millis(1));
        let idle = if self.speaker.is_speaking() && self.poised.is_some() { tick } else { Duration::from_secs(3600) };
        let due = self.due.front().map(|(at, _)| *at);
        [self.speaker.wakes_at(), due].into_iter().flatten().fold(now + idle, Instant::min)
    }

    /// Plays what is due, clause by clause: a caller who is poised to interrupt does so however late this is called.
    async fn play(&mut self, now: Instant) {
        loop {
            let due = self.speaker.wakes_at().map_or(now, |at| at.min(now));
            self.interrupt_if_poised(due).await;
            self.play_until(due).await;
            if self.speaker.wakes_at().is_none_or(|at| at > now) {
                return;
            }
        }
    }

    async fn interrupt_if_poised(&mut self, now: Instant) {
        let heard = self.speaker.heard(now);
        let ready = self.speaker.is_audible() && self.poised.as_ref().is_some_and(|(after, _)| heard.contains(after));
        if !ready {
            return;
        }
        if let Some((_, says)) = self.poised.take() {
            self.speak_up(says, now).await;
        }
    }

    async fn play_until(&mut self, now: Instant) {
        for sound in self.speaker.advance(now) {
            match sound {
                Sound::Began => {
                    self.spoken_since = now;
                    self.inform("speaker-events", "agentSpeaking", "on").await;
                }
                Sound::Clause(text) => self.inform("tokens-played", "tokensPlayed", &text).await,
                Sound::Utterance(text) => self.relay.tape.write(Event::AgentSaid { text, cut: false }),
                Sound::Silent => self.inform("speaker-events", "agentSpeaking", "off").await,
            }
        }
    }

    /// Sends what the caller's speech has come to.
    async fn hear(&mut self, now: Instant) {
        while self.due.front().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, frame)) = self.due.pop_front() {
                self.send(frame).await;
            }
        }
        if self.speaker.is_speaking() || self.ending.is_some() {
            return;
        }
        if let Some(text) = self.held.pop_front() {
            self.say(&text, false).await;
        }
    }

    async fn obey(&mut self, command: Command) -> Option<Over> {
        match command {
            Command::Say(text) => self.speak_up(text, Instant::now()).await,
            Command::SayOver { after, says } => self.poised = Some((after, says)),
            Command::Key(key) => self.press(key).await,
            Command::Rest(told) => {
                self.relay.twilio.rest();
                // Whoever asked may be gone.
                let _ = told.send(());
            }
            Command::HangUp => {
                self.cut_short();
                self.relay.tape.write(Event::HungUp);
                self.close(CloseCode::Normal, CLOSING).await;
                return Some(Over::HungUp);
            }
            Command::LoseSocket => {
                self.cut_short();
                self.relay.tape.write(Event::Dropped);
                return Some(Over::Failed);
            }
        }
        None
    }

    /// The caller speaks, over the agent if that is speaking and lets itself be interrupted.
    async fn speak_up(&mut self, text: String, now: Instant) {
        let speaking = self.speaker.is_speaking();
        if speaking && !self.interrupt("speech", now).await {
            self.held.push_back(text);
        } else {
            self.say(&text, speaking).await;
        }
    }

    async fn say(&mut self, text: &str, over: bool) {
        self.relay.tape.write(Event::CallerSaid { text: text.to_owned(), over });
        self.inform("speaker-events", "clientSpeaking", "on").await;
        let letters = u32::try_from(text.chars().count()).unwrap_or(0);
        let (now, pace) = (Instant::now(), self.relay.pace);
        let prompt = |said: &str, last| json!({"type": "prompt", "voicePrompt": said, "lang": "en-US", "last": last});
        if self.connect.attribute("partialPrompts") == Some("true") {
            let half = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(at, _)| at);
            let words = text[..half].rfind(' ').map_or("", |space| &text[..space]);
            if !words.is_empty() {
                self.due.push_back((pace.after(now, LETTER * letters / 2), prompt(words, false)));
            }
            self.due.push_back((pace.after(now, LETTER * letters), prompt(text, false)));
        }
        let ends = pace.after(now, LETTER * letters + Duration::from_millis(350));
        if self.connect.wants("speaker-events") {
            self.due.push_back((ends, json!({"type": "info", "name": "clientSpeaking", "value": "off"})));
        }
        self.due.push_back((ends, prompt(text, true)));
    }

    /// The caller speaks or presses a key while the agent speaks. False if the agent goes on.
    async fn interrupt(&mut self, input: &str, now: Instant) -> bool {
        if !self.connect.lets_interrupt("interruptible", input) {
            return false;
        }
        let Some(heard) = self.speaker.interrupt(now) else { return false };
        let ms = self.relay.pace.of_call(now.saturating_duration_since(self.spoken_since)).as_millis();
        self.inform("tokens-played", "tokensPlayed", &heard).await;
        self.relay.tape.write(Event::AgentSaid { text: heard.clone(), cut: true });
        let ms = u64::try_from(ms).unwrap_or(u64::MAX);
        self.send(json!({"type": "interrupt", "utteranceUntilInterrupt": heard, "durationUntilInterruptMs": ms})).await;
        self.inform("speaker-events", "agentSpeaking", "off").await;
        true
    }

    /// Notes what the caller heard of an utterance that will not be finished.
    fn cut_short(&mut self) {
        let heard = self.speaker.heard(Instant::now());
        if !heard.trim().is_empty() {
            self.relay.tape.write(Event::AgentSaid { text: heard, cut: true });
        }
    }

    async fn press(&mut self, key: char) {
        let taken = self.relay.twilio.press(key) == Pressed::Taken;
        let reported = self.connect.attribute("dtmfDetection") == Some("true");
        if (taken && !self.relay.twilio.leaks()) || !reported {
            return;
        }
        self.relay.tape.write(Event::Dtmf);
        self.send(json!({"type": "dtmf", "digit": key.to_string()})).await;
        if self.speaker.is_speaking() {
            self.interrupt("dtmf", Instant::now()).await;
        }
    }

    async fn take(&mut self, frame: Option<Result<Message, Error>>) -> Option<Over> {
        let text = match frame {
            Some(Ok(Message::Text(text))) => text.as_str().to_owned(),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => return None,
            Some(Ok(Message::Binary(_))) => String::new(),
            Some(Ok(Message::Close(Some(close)))) if close.code == CloseCode::Restart && self.is_stopped() => {
                self.cut_short();
                self.relay.tape.write(Event::Dropped);
                return Some(Over::Failed);
            }
            Some(Ok(Message::Close(_)) | Err(_)) | None => {
                self.relay.tape.violation("the server closed the socket without `end`");
                return Some(Over::Failed);
            }
        };
        self.relay.tape.keep("a socket frame", text.clone());
        match Frame::read(&text) {
            Ok(frame) => {
                self.bad_frames = 0;
                self.do_frame(frame);
                None
            }
            Err(what) => {
                self.relay.tape.violation(format!("a bad frame (64107): {what}"));
                self.bad_frames += 1;
                let description = format!("Invalid message received, code: 64107, {text}");
                self.send(json!({"type": "error", "description": description})).await;
                if self.bad_frames < BAD_FRAMES {
                    return None;
                }
                self.close(CloseCode::Invalid, "Too many consecutive malformed messages.").await;
                Some(Over::Failed)
            }
        }
    }

    /// Whether the server was told to stop, or died: only then may it close the socket of a call that goes on.
    fn is_stopped(&self) -> bool {
        let stops = |event: &Event| matches!(event, Event::ToldToStop { .. } | Event::ServerDied);
        self.relay.tape.entries().iter().any(|entry| stops(&entry.event))
    }

    fn do_frame(&mut self, frame: Frame) {
        if self.ending.is_some() {
            self.relay.tape.violation("a frame after `end`");
        }
        match frame {
            Frame::Text { token, last, interruptible } => {
                if token.is_empty() && last && self.tokens == 0 {
                    self.relay
                        .tape
                        .violation("an empty final token without words before it: a turn with nothing in it");
                }
                if self.tokens == 0 && !token.is_empty() {
                    self.relay.tape.write(Event::Speaks);
                }
                self.tokens = if last { 0 } else { self.tokens + usize::from(!token.is_empty()) };
                self.speaker.push(&token, last, interruptible.unwrap_or(true));
            }
            Frame::End { handoff } => {
                if self.speaker.is_unfinished() {
                    self.relay.tape.violation("`end` came before the last token of what is being said");
                }
                self.relay.tape.write(Event::EndFrame { handoff: handoff.clone() });
                self.ending = Some(Over::Ended { handoff });
            }
            Frame::Play | Frame::SendDigits | Frame::Language => {}
        }
    }

    async fn inform(&mut self, event: &str, name: &str, value: &str) {
        if self.connect.wants(event) {
            self.send(json!({"type": "info", "name": name, "value": value})).await;
        }
    }

    async fn send(&mut self, frame: Value) {
        // A socket that is gone is noticed when it is read.
        let _ = self.socket.send(Message::text(frame.to_string())).await;
    }

    async fn close(&mut self, code: CloseCode, reason: &'static str) {
        let _ = self.socket.close(Some(CloseFrame { code, reason: reason.into() })).await;
        let the_server_closes_too = async { while let Some(Ok(_)) = self.socket.next().await {} };
        if tokio::time::timeout(Duration::from_secs(2), the_server_closes_too).await.is_err() {
            self.relay.tape.violation("the server did not answer the close frame");
        }
    }
}
