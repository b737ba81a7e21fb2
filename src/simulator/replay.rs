//! Plays a recording of `observe` against the server in this process: what Twilio sent on a real call, with
//! placeholders for everything that was masked.
//!
//! It reports what the server could not read, and where Twilio differs from what the simulator knows.

mod contract;
mod placeholder;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::relay::{ConnectVerb, RelayClient, RelayMessage, TwimlDocument};
use super::runner::{RunningScenario, ScenarioRunner};
use super::server_under_test::{self, FrameReading};
use crate::observation::{Direction, Member, Observation, ObservedEvent, Shape, parse_recording};
use placeholder::Placeholders;

/// The webhook that answers with the TwiML of the session.
const VOICE_WEBHOOK: &str = "/connectConversationRelay";
/// The callback that reports the end of the call.
const CALL_STATUS: &str = "/twilioStatusCallback";
/// How long the server may take to say something before the next frame is sent, on the real clock.
const PAUSE: Duration = Duration::from_millis(2);

/// What a replay found.
#[derive(Debug, Default)]
pub struct ReplayReport {
    /// The number of frames that were sent.
    pub frames: usize,
    /// The number of webhooks that were posted.
    pub webhooks: usize,
    /// What the server could not read or answered otherwise than on the real call, with how often.
    pub unread: BTreeMap<String, usize>,
    /// What differs from what the simulator knows of Twilio and does not disturb the server, with how often.
    pub differences: BTreeMap<String, usize>,
}

impl ReplayReport {
    /// Whether the server could read everything.
    pub fn has_passed(&self) -> bool {
        self.unread.is_empty()
    }

    fn add_unread(&mut self, what: impl Into<String>) {
        *self.unread.entry(what.into()).or_default() += 1;
    }
}

impl fmt::Display for ReplayReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} frames and {} webhooks were replayed.", self.frames, self.webhooks)?;
        for (title, found) in [("not read", &self.unread), ("differs from the contract", &self.differences)] {
            for (what, times) in found {
                writeln!(f, "  {title}: {what} ({times}×)")?;
            }
        }
        f.write_str(if self.has_passed() {
            "The server could read everything."
        } else {
            "The server could not read everything."
        })
    }
}

/// Replays a recording. An error means that the file is not a recording, or that the simulator itself failed.
pub async fn replay(recording: &str) -> anyhow::Result<ReplayReport> {
    let mut observations = parse_recording(recording)?;
    anyhow::ensure!(!observations.is_empty(), "the recording is empty");
    // Webhooks are written once they are answered.
    observations.sort_by_key(|observation| observation.at_ms);
    let scenario = super::find_scenario("happy-path")?;
    let set = Box::pin(ScenarioRunner::fast().start(&scenario)).await?;
    let placeholders = Placeholders::new(set.twilio.call_sid(), set.twilio.account().sid.clone());
    let report = ReplayReport { differences: contract::find_differences(&observations), ..ReplayReport::default() };
    let mut replayer = Replayer { set, placeholders, connect: None, sockets: HashMap::new(), report };
    replayer.run(&observations).await?;
    Box::pin(replayer.finish()).await
}

struct Replayer {
    set: RunningScenario,
    placeholders: Placeholders,
    /// The session of the TwiML that the server answered with.
    connect: Option<ConnectVerb>,
    sockets: HashMap<u64, RelayClient>,
    report: ReplayReport,
}

impl Replayer {
    async fn run(&mut self, observations: &[Observation]) -> anyhow::Result<()> {
        for (at, observation) in observations.iter().enumerate() {
            if observation.direction == Direction::Out {
                continue;
            }
            match &observation.event {
                ObservedEvent::Webhook { path, query, form, .. } => {
                    let recorded = observations[at..].iter().find_map(|later| match &later.event {
                        ObservedEvent::Answer { path: of, status, .. } if of == path => Some(*status),
                        _ => None,
                    });
                    self.post(path, query, form, recorded).await?;
                }
                ObservedEvent::SocketOpened { socket, .. } => self.open_socket(*socket).await?,
                ObservedEvent::Frame { socket, shape } => self.send_frame(*socket, shape).await,
                ObservedEvent::UnreadableFrame { socket, .. } => self.send_text(*socket, "not JSON".to_owned()).await,
                ObservedEvent::SocketClosed { socket, code } => {
                    if let Some(mut client) = self.sockets.remove(socket) {
                        // A socket that failed is dropped without a close frame.
                        if let Some(code) = code {
                            let _ = client.close(*code, "replayed").await;
                        }
                    }
                }
                ObservedEvent::Answer { .. } | ObservedEvent::End { .. } => {}
            }
        }
        Ok(())
    }

    /// Posts a webhook, and compares the status of the answer with that on the real call.
    async fn post(
        &mut self,
        path: &str,
        query: &[Member],
        form: &[Member],
        recorded: Option<u16>,
    ) -> anyhow::Result<()> {
        let mut url = self.set.webhooks.public_url().join(path)?;
        if path != VOICE_WEBHOOK && !contract::is_webhook(path) {
            // The path has an id that was masked.
            return Ok(());
        }
        let query = self.placeholders.fill_form(query);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let form = self.placeholders.fill_form(form);
        let token = format!("replay-{}", self.report.webhooks);
        let answer = self.set.webhooks.post(&url, &form, &token).await;
        self.report.webhooks += 1;
        let is_read = (200..300).contains(&answer.status) || recorded == Some(answer.status);
        if !is_read {
            let recorded = recorded.map_or_else(|| "nothing".to_owned(), |status| status.to_string());
            self.report.add_unread(format!("{path} is answered {}, and was answered {recorded}", answer.status));
        }
        if path == VOICE_WEBHOOK {
            let connect = TwimlDocument::parse(&answer.body).ok().and_then(|twiml| twiml.connect()?.ok());
            self.connect = connect.or(self.connect.take());
        }
        Ok(())
    }

    /// Opens a socket as the TwiML says. Without a voice webhook in the recording, one is posted first.
    async fn open_socket(&mut self, socket: u64) -> anyhow::Result<()> {
        if self.connect.is_none() {
            let form = [("AccountSid", "AC"), ("CallSid", "CA")].map(|(name, prefix)| Member {
                name: name.to_owned(),
                shape: Shape::Sid { prefix: prefix.to_owned(), length: 34 },
            });
            self.post(VOICE_WEBHOOK, &[], &form, None).await?;
        }
        let connect = self.connect.as_ref().context("the server did not answer a call with <Connect>")?;
        let signature = self.set.relay.signer.sign(&connect.url, &[]);
        let client =
            RelayClient::open(self.set.webhooks.proxy().socket_target().await, &connect.url, Some(&signature)).await?;
        self.sockets.insert(socket, client);
        Ok(())
    }

    async fn send_frame(&mut self, socket: u64, shape: &Shape) {
        let mut frame = self.placeholders.fill("", shape);
        if frame["type"] == "setup" {
            // The parameters are those of the TwiML, which may say to which call the socket belongs.
            let parameters = self.connect.iter().flat_map(|connect| &connect.parameters);
            frame["customParameters"] =
                Value::Object(parameters.map(|(name, value)| (name.clone(), json!(value))).collect());
        }
        let kind = frame["type"].as_str().unwrap_or("no type").to_owned();
        let text = frame.to_string();
        match server_under_test::read_frame(&text) {
            FrameReading::Read => {}
            FrameReading::UnknownType => self.report.add_unread(format!("a frame of the type {kind}")),
            FrameReading::Invalid(error) => self.report.add_unread(format!("a frame of the type {kind}: {error}")),
        }
        self.send_text(socket, text).await;
    }

    /// Sends a frame, and takes what the server has said meanwhile.
    async fn send_text(&mut self, socket: u64, text: String) {
        let Some(client) = self.sockets.get_mut(&socket) else { return };
        self.report.frames += 1;
        if client.send_text(text).await.is_err() {
            self.sockets.remove(&socket);
            return self.report.add_unread("the server closed a socket");
        }
        while let Ok(message) = tokio::time::timeout(PAUSE, client.receive()).await {
            match message {
                RelayMessage::Text(_) => {}
                RelayMessage::Closed(code, reason) => {
                    // The server ends a session by `end`, and closes it only after an error.
                    self.sockets.remove(&socket);
                    return self.report.add_unread(format!("the server closed a socket: {code} {reason}"));
                }
                RelayMessage::Lost => {
                    self.sockets.remove(&socket);
                    return;
                }
            }
        }
    }

    /// Ends the call and stops the server.
    async fn finish(mut self) -> anyhow::Result<ReplayReport> {
        for (_, mut client) in self.sockets.drain() {
            let _ = client.close(1000, "replayed").await;
        }
        let url = self.set.webhooks.public_url().join(CALL_STATUS)?;
        let (account, call) = (self.placeholders.account_sid(), self.placeholders.call_sid());
        let form = [("AccountSid", account), ("CallSid", call), ("CallStatus", "completed")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.set.webhooks.post(&url, &form, "replay-end").await;
        let Self { set, mut report, .. } = self;
        if let Err(what) = set.stop().await {
            report.add_unread(what);
        }
        Ok(report)
    }
}
