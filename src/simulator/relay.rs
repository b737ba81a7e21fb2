//! ConversationRelay's side of one call: requests the TwiML, opens the socket, speaks the tokens, reports the caller's
//! input, and requests the action after the session.

mod client;
mod frames;
mod hand_off;
mod outbound;
mod socket;
mod speaker;
mod twiml;

use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

pub use client::{OpenRelaySocketError, RelayClient, RelayMessage};
pub(crate) use frames::ApplicationFrame;
pub(crate) use twiml::{ConnectVerb, TwimlDocument};

use super::pace::Pace;
use super::transcript::{Transcript, TranscriptEvent};
use super::twilio::{ScriptedTwilio, WebhookResponse, WebhookSender};
use crate::twilio::Signer;
use socket::{RelaySessionEnd, ScriptedRelaySession};

/// The direction of a call.
#[derive(Debug, Clone, Copy)]
pub(super) enum CallDirection {
    /// The caller calls the server.
    Inbound,
    /// An operator requests a call with these properties in addition to the number.
    Outbound(fn() -> Value),
}

/// An action of the caller on the phone.
#[derive(Debug)]
pub(super) enum PhoneCommand {
    /// Says something, also while the agent is speaking.
    Say(String),
    /// Speaks over the agent as soon as it has said `after`.
    SayOver {
        /// The text that the agent has said.
        after: String,
        /// The text that the caller says.
        says: String,
    },
    /// Presses a key.
    Key(char),
    /// Has pressed all keys for now. The sender is notified when all have arrived.
    KeysDone(oneshot::Sender<()>),
    /// Hangs up.
    HangUp,
    /// Speaks this language from now on, by its primary tag.
    Speak(&'static str),
    /// Outside the call: the socket breaks.
    DropSocket,
    /// Outside the call: the socket breaks, and Twilio opens another one at once and sends these frames on it.
    ReconnectAndReplay(Vec<Value>),
}

/// What the caller hears at the moment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct AgentVoice {
    /// Whether the agent is speaking.
    pub speaking: bool,
    /// Whether the agent is connected.
    pub connected: bool,
}

/// The caller's phone.
#[derive(Debug)]
pub(super) struct PhoneLine {
    /// The actions of the caller.
    pub commands: mpsc::Sender<PhoneCommand>,
    /// What the caller hears at the moment.
    pub voice: watch::Receiver<AgentVoice>,
    /// The task of the call, which ends with it.
    pub task: JoinHandle<()>,
}

/// Everything that ConversationRelay needs for a call.
#[derive(Debug, Clone)]
pub(super) struct ScriptedRelay {
    /// Captures the keys during a payment.
    pub twilio: ScriptedTwilio,
    /// Posts the webhooks to the server.
    pub webhooks: WebhookSender,
    /// Signs the WebSocket upgrade.
    pub signer: Signer,
    /// The direction of the call.
    pub direction: CallDirection,
    /// The phone number of the caller.
    pub caller_number: &'static str,
    /// The speed of simulated time.
    pub pace: Pace,
    /// The transcript.
    pub transcript: Transcript,
}

/// The phone number of the first caller.
pub(super) const CALLER_NUMBER: &str = "+15550100001";
/// The phone number of the second caller.
pub(super) const SECOND_CALLER_NUMBER: &str = "+15550100007";
/// The phone number of the server.
pub(super) const SERVER_NUMBER: &str = "+15550100002";
/// The number of new sessions after a lost one, if the action connects again.
const MAX_RECONNECTS: usize = 3;

impl ScriptedRelay {
    /// Creates another inbound call from this number.
    pub(super) fn for_next_call(&self, person: &'static str) -> Self {
        let twilio = self.twilio.for_next_call();
        let transcript = twilio.transcript().clone();
        Self { twilio, direction: CallDirection::Inbound, caller_number: person, transcript, ..self.clone() }
    }

    /// Starts the call.
    pub(super) fn start_call(self) -> PhoneLine {
        let (commands, caller) = mpsc::channel(64);
        let (sound, voice) = watch::channel(AgentVoice::default());
        let over = tokio::spawn(async move {
            let transcript = self.transcript.clone();
            if let Err(what) = self.run_call(caller, sound).await {
                transcript.record_violation(what);
            }
        });
        PhoneLine { commands, voice, task: over }
    }

    async fn run_call(
        self,
        mut caller: mpsc::Receiver<PhoneCommand>,
        sound: watch::Sender<AgentVoice>,
    ) -> Result<(), String> {
        let (placed, connect) = match self.direction {
            CallDirection::Inbound => (None, self.request_twiml().await?),
            CallDirection::Outbound(properties) => {
                let (placed, connect) = self.place_call(properties()).await?;
                (Some(placed), connect)
            }
        };
        let Some(mut connect) = connect else {
            self.twilio.end_call();
            if let Some(placed) = placed {
                self.report_completed(&placed).await;
            }
            return Ok(());
        };
        for session in 0..=MAX_RECONNECTS {
            let id = format!("VX{:032x}", session + 1);
            let opened = ScriptedRelaySession::open(&self, &connect, &id, session > 0).await?;
            let over = opened.run(&mut caller, &sound).await;
            sound.send_replace(AgentVoice::default());
            match self.request_action(over, &connect, &id).await? {
                Some(again) => connect = again,
                None => break,
            }
        }
        self.twilio.end_call();
        if let Some(placed) = placed {
            self.report_completed(&placed).await;
        }
        Ok(())
    }

    /// Requests the TwiML of an inbound call. `None` if the call ends after a sentence.
    pub(super) async fn request_twiml(&self) -> Result<Option<ConnectVerb>, String> {
        let url = self.webhooks.public_url().join("/connectConversationRelay").map_err(|error| error.to_string())?;
        let answer = self.webhooks.post(&url, &self.voice_form("ringing", &[]), "voice").await;
        let twiml = self.read_twiml("the voice webhook", &answer)?;
        self.transcript
            .record(TranscriptEvent::IncomingCall { answer: twiml.describe_verbs().join(", "), took: answer.elapsed });
        self.hear_or_connect(&twiml)
    }

    /// Returns the `<Connect>` verb of a document, or hears its `<Say>`, after which it has to hang up.
    fn hear_or_connect(&self, twiml: &TwimlDocument) -> Result<Option<ConnectVerb>, String> {
        if let Some(connect) = twiml.connect() {
            return connect.map(Some);
        }
        let [say, hangup] = twiml.verbs.as_slice() else { return Err("TwiML without <Connect>".to_owned()) };
        if (say.name.as_str(), hangup.name.as_str()) != ("Say", "Hangup") {
            return Err("TwiML with neither <Connect> nor <Say> and <Hangup>".to_owned());
        }
        self.transcript.record(TranscriptEvent::AgentSaid { text: say.text.clone(), cut: false });
        Ok(None)
    }

    /// Requests the action after a session, and returns the next session, if any.
    async fn request_action(
        &self,
        over: RelaySessionEnd,
        connect: &ConnectVerb,
        id: &str,
    ) -> Result<Option<ConnectVerb>, String> {
        let mut form = vec![("SessionId", id.to_owned()), ("SessionDuration", "9".to_owned())];
        let (session, call) = match &over {
            RelaySessionEnd::Ended { .. } => ("ended", "in-progress"),
            RelaySessionEnd::HungUp => ("completed", "completed"),
            RelaySessionEnd::Failed => ("failed", "in-progress"),
        };
        form.push(("SessionStatus", session.to_owned()));
        match over {
            RelaySessionEnd::Ended { handoff: Some(handoff) } => form.push(("HandoffData", handoff)),
            RelaySessionEnd::Failed => {
                form.push(("ErrorCode", "64105".to_owned()));
                form.push(("ErrorMessage", "Websocket ended".to_owned()));
            }
            RelaySessionEnd::Ended { handoff: None } => {}
            RelaySessionEnd::HungUp => self.twilio.end_call(),
        }
        self.transcript.record(TranscriptEvent::RelaySessionEnded { status: session });
        self.pace.sleep(Duration::from_millis(400)).await;
        let answer = self.webhooks.post(&connect.action, &self.voice_form(call, &form), &format!("action-{id}")).await;
        let twiml = self.read_twiml("the <Connect> action", &answer)?;
        self.transcript.record(TranscriptEvent::ActionAnswered {
            status: session.to_owned(),
            verbs: twiml.describe_verbs(),
            took: answer.elapsed,
        });
        if call == "completed" {
            return Ok(None);
        }
        match twiml.hand_off()? {
            Some(way) => self.run_hand_off(way).await,
            None => twiml.connect().transpose(),
        }
    }

    fn read_twiml(&self, what: &str, answer: &WebhookResponse) -> Result<TwimlDocument, String> {
        self.transcript.record_evidence("TwiML", answer.body.clone());
        if answer.status != 200 {
            return Err(format!("{what} was answered {}, not 200", answer.status));
        }
        let kind = answer.content_type.split(';').next().unwrap_or_default().trim();
        if kind != "text/xml" && kind != "application/xml" {
            return Err(format!("{what} was answered as {kind:?}, not text/xml (12300)"));
        }
        TwimlDocument::parse(&answer.body).map_err(|wrong| format!("{what}: {wrong}"))
    }

    /// `Direction`, `From` and `To`.
    fn parties(&self) -> (&'static str, &'static str, &'static str) {
        match self.direction {
            CallDirection::Inbound => ("inbound", self.caller_number, SERVER_NUMBER),
            CallDirection::Outbound(_) => ("outbound-api", SERVER_NUMBER, self.caller_number),
        }
    }

    /// Builds the form of a voice webhook, as recorded from Twilio.
    fn voice_form(&self, status: &str, more: &[(&str, String)]) -> Vec<(String, String)> {
        let (sid, call) = (&self.twilio.account().sid, self.twilio.call_sid());
        let (direction, from, to) = self.parties();
        let mut form: Vec<(String, String)> = [
            ("AccountSid", sid.as_str()),
            ("ApiVersion", "2010-04-01"),
            ("CallSid", call.as_str()),
            ("CallStatus", status),
            ("Direction", direction),
            ("From", from),
            ("Caller", from),
            ("To", to),
            ("Called", to),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        for party in ["From", "Caller", "To", "Called"] {
            for place in ["City", "State", "Zip"] {
                form.push((format!("{party}{place}"), String::new()));
            }
            form.push((format!("{party}Country"), "US".to_owned()));
        }
        form.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        form
    }
}
