//! ConversationRelay's side of one call: asks for TwiML, opens the socket, speaks what it is sent, reports what the
//! caller does, and asks the action what to do when the session is over.

mod frames;
mod handover;
mod outbound;
mod socket;
mod speaker;
mod twiml;

use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

pub use twiml::Twiml;

use super::pace::Pace;
use super::scenario::Begins;
use super::tape::{Event, Tape};
use super::twilio::{Answer, Twilio, Webhooks};
use crate::twilio::Signer;
use socket::{Over, Session};
use twiml::Connect;

/// What the caller does on the phone.
#[derive(Debug)]
pub enum Command {
    /// Says something, over the agent if it is speaking.
    Say(String),
    /// Says something over the agent, as soon as this was heard of what it is saying.
    SayOver {
        /// What the agent has to have said.
        after: String,
        /// What the caller says.
        says: String,
    },
    /// Presses a key.
    Key(char),
    /// Has pressed all keys for now; told when they have all arrived.
    Rest(oneshot::Sender<()>),
    /// Hangs up.
    HangUp,
    /// Not the caller's doing: the socket breaks on the way.
    LoseSocket,
}

/// What the caller hears at this moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Voice {
    /// Whether the agent is speaking.
    pub speaking: bool,
    /// Whether the call is connected to the agent.
    pub connected: bool,
}

/// The caller's end of the line.
#[derive(Debug)]
pub struct Line {
    /// What the caller does.
    pub commands: mpsc::Sender<Command>,
    /// What the caller hears.
    pub voice: watch::Receiver<Voice>,
    /// Ends with the call.
    pub over: JoinHandle<()>,
}

/// Everything that ConversationRelay needs to carry a call.
#[derive(Debug, Clone)]
pub struct Relay {
    /// Takes the keys.
    pub twilio: Twilio,
    /// Leads to the server.
    pub webhooks: Webhooks,
    /// Signs the upgrade.
    pub signer: Signer,
    /// Who calls whom.
    pub begins: Begins,
    /// The person on the line.
    pub person: &'static str,
    /// How fast people talk.
    pub pace: Pace,
    /// What happens is written here.
    pub tape: Tape,
}

/// The person who calls first.
pub const CALLER: &str = "+15550100001";
/// Somebody else.
pub const ANOTHER_CALLER: &str = "+15550100007";
/// The number of the server.
const CALLED: &str = "+15550100002";
/// How often a lost session is opened again, if the action asks for it.
const RECONNECTS: usize = 3;

impl Relay {
    /// Another call, by this person.
    pub fn another_call(&self, person: &'static str) -> Self {
        let twilio = self.twilio.another_call();
        let tape = twilio.tape().clone();
        Self { twilio, begins: Begins::CallerRings, person, tape, ..self.clone() }
    }

    /// The phone rings at the server.
    pub fn ring(self) -> Line {
        let (commands, caller) = mpsc::channel(64);
        let (sound, voice) = watch::channel(Voice::default());
        let over = tokio::spawn(async move {
            let tape = self.tape.clone();
            if let Err(what) = self.carry(caller, sound).await {
                tape.violation(what);
            }
        });
        Line { commands, voice, over }
    }

    async fn carry(self, mut caller: mpsc::Receiver<Command>, sound: watch::Sender<Voice>) -> Result<(), String> {
        let (placed, mut connect) = match self.begins {
            Begins::CallerRings => (None, self.rings().await?),
            Begins::OperatorCalls(properties) => {
                let (placed, connect) = self.order(properties()).await?;
                (Some(placed), connect)
            }
        };
        for session in 0..=RECONNECTS {
            let id = format!("VX{:032x}", session + 1);
            let opened = Session::open(&self, &connect, &id, session > 0).await?;
            let over = opened.run(&mut caller, &sound).await;
            sound.send_replace(Voice::default());
            match self.ended(over, &connect, &id).await? {
                Some(again) => connect = again,
                None => break,
            }
        }
        self.twilio.call_is_over();
        if let Some(placed) = placed {
            self.completed(&placed).await;
        }
        Ok(())
    }

    /// The caller calls.
    async fn rings(&self) -> Result<Connect, String> {
        let url = self.webhooks.public().join("/connectConversationRelay").map_err(|error| error.to_string())?;
        let answer = self.webhooks.post(&url, &self.form("ringing", &[]), "voice").await;
        let twiml = self.read("the voice webhook", &answer)?;
        self.tape.write(Event::Called { answer: twiml.told().join(", "), took: answer.took });
        twiml.connect().ok_or("the voice webhook did not answer with <Connect>")?
    }

    /// The session is over: asks the action, and answers with the next session, if there is to be one.
    async fn ended(&self, over: Over, connect: &Connect, id: &str) -> Result<Option<Connect>, String> {
        let mut form = vec![("SessionId", id.to_owned()), ("SessionDuration", "9".to_owned())];
        let (session, call) = match &over {
            Over::Ended { .. } => ("ended", "in-progress"),
            Over::HungUp => ("completed", "completed"),
            Over::Failed => ("failed", "in-progress"),
        };
        form.push(("SessionStatus", session.to_owned()));
        match over {
            Over::Ended { handoff: Some(handoff) } => form.push(("HandoffData", handoff)),
            Over::Failed => {
                form.push(("ErrorCode", "64105".to_owned()));
                form.push(("ErrorMessage", "Websocket ended".to_owned()));
            }
            Over::Ended { handoff: None } => {}
            Over::HungUp => self.twilio.call_is_over(),
        }
        self.tape.write(Event::SessionEnded { status: session });
        self.pace.pass(Duration::from_millis(400)).await;
        let answer = self.webhooks.post(&connect.action, &self.form(call, &form), &format!("action-{id}")).await;
        let twiml = self.read("the <Connect> action", &answer)?;
        self.tape.write(Event::Action { status: session.to_owned(), verbs: twiml.told(), took: answer.took });
        if call == "completed" {
            return Ok(None);
        }
        match twiml.put_through()? {
            Some(way) => self.put_through(way).await,
            None => twiml.connect().transpose(),
        }
    }

    fn read(&self, what: &str, answer: &Answer) -> Result<Twiml, String> {
        self.tape.keep("TwiML", answer.body.clone());
        if answer.status != 200 {
            return Err(format!("{what} was answered {}, not 200", answer.status));
        }
        let kind = answer.content_type.split(';').next().unwrap_or_default().trim();
        if kind != "text/xml" && kind != "application/xml" {
            return Err(format!("{what} was answered as {kind:?}, not text/xml (12300)"));
        }
        Twiml::read(&answer.body).map_err(|wrong| format!("{what}: {wrong}"))
    }

    /// The direction of the call, who calls and who is called.
    fn parties(&self) -> (&'static str, &'static str, &'static str) {
        match self.begins {
            Begins::CallerRings => ("inbound", self.person, CALLED),
            Begins::OperatorCalls(_) => ("outbound-api", CALLED, self.person),
        }
    }

    /// The form of a voice webhook, in the recorded shape.
    fn form(&self, status: &str, more: &[(&str, String)]) -> Vec<(String, String)> {
        let (sid, call) = (&self.twilio.account().sid, self.twilio.call());
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
