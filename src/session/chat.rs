//! A chat in writing: a [`Call`] without a telephone, and the task that owns it.
//!
//! The same conversation, model and tools as on the phone; what is said is collected instead of spoken. Whoever asks waits
//! for the reply, so a chat never says anything by itself.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::BoxStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use super::briefing::Briefing;
use super::chats::Ask;
use super::{Context, begin_tool, next_of, payment_log};
use crate::call::{
    Action, Call, ContextKeys, Event, ModelEvent, Outcome, RequestId, RunId, Settings, Silence, ToolCall,
};
use crate::llm::Model;
use crate::payment::Known;
use crate::redact::Private;
use crate::relay::{Incoming, Interrupt, Outgoing, Prompt, Setup};
use crate::sid::CallSid;
use crate::tools::Desk;

/// How long a chat waits for the next message before it ends.
pub(super) const IDLE: Duration = Duration::from_secs(30 * 60);

/// What is said in a chat.
#[derive(Debug)]
pub enum Message {
    /// By the one whom the agent talks with.
    User(Private<String>),
    /// By whoever runs the agent: it stands above what users say.
    System(Private<String>),
}

/// A part of a reply. The last one, and no other, is `Done` or `Failed`; if neither comes the chat is over.
#[derive(Debug)]
pub enum Reply {
    /// Words, as they come.
    Token(Private<String>),
    /// The reply is complete.
    Done {
        /// All the words.
        text: Private<String>,
        /// The tools that the model called, in order.
        tool_calls: Vec<ToolCall>,
    },
    /// There is no reply, or only the words that came.
    Failed(NoReply),
}

/// Why there is no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoReply {
    /// The model failed, or had nothing to say.
    #[error("the model gave no answer: send the message again")]
    Model,
    /// The model, with its tools, took too long.
    #[error("the model took too long to answer: send the message again")]
    TooLate,
    /// The server stops.
    #[error("the server is stopping: the chat is over")]
    Stopped,
    /// Nobody waits for the reply any more.
    #[error("nobody waits for the reply any more")]
    Unwanted,
}

/// One chat.
pub(super) struct Chat {
    context: Arc<Context>,
    model: Model,
    briefing: Briefing,
    call: Call,
    /// What its tools work with.
    desk: Arc<Desk>,
    response: Option<(RequestId, BoxStream<'static, ModelEvent>)>,
    finished_sender: mpsc::Sender<(RunId, Outcome)>,
    finished: mpsc::Receiver<(RunId, Outcome)>,
}

/// A reply under way.
#[derive(Default)]
struct Turn {
    unsent: VecDeque<String>,
    /// What was handed out.
    text: String,
    tool_calls: Vec<ToolCall>,
    /// The last response of the model failed.
    failed: bool,
    /// An utterance is complete: the next one begins on a new line.
    utterance_ended: bool,
}

impl Chat {
    /// A chat in which nothing has been said.
    pub(super) fn begin(context: Arc<Context>, id: Uuid) -> Self {
        let library = context.shelf.library();
        let settings = library.server.settings(&context.environment);
        let settings = Settings {
            telephone: false,
            welcome_greeting: None,
            silence: Silence { enabled: false, ..settings.silence },
            ..settings
        };
        let sid: CallSid = format!("chat-{id}").parse().expect("41 letters, digits and dashes are a SID");
        let setup = Setup {
            session_id: String::new(),
            call_sid: sid,
            direction: "chat".to_owned(),
            from: Private::default(),
            to: Private::default(),
            custom_parameters: Private::default(),
        };
        // Nothing is to be done before somebody says something.
        let (call, _) = Call::begin(Arc::new(settings), &setup, None, &Known::default(), id, now());
        let (finished_sender, finished) = mpsc::channel(16);
        let model = context.model.within(library.server.model);
        let desk = context.desk(&setup, &library);
        let briefing = Briefing::begin(library, &ContextKeys::default());
        Self { context, model, briefing, desk, call, response: None, finished_sender, finished }
    }

    /// Answers one message after the other, until none comes for [`IDLE`] or the server stops.
    pub(super) async fn live(mut self, mut asks: mpsc::Receiver<Ask>, draining: CancellationToken) {
        info!("chat begun");
        let mut known = false;
        loop {
            let ask = tokio::select! {
                biased;
                ask = timeout(IDLE, asks.recv()) => ask.ok().flatten(),
                () = draining.cancelled() => None,
            };
            let Some(ask) = ask else { break };
            known |= self.answer(ask).await;
            // Its id is told with the first answer: without one nobody can come back.
            if !known {
                break;
            }
        }
        info!("chat ended");
    }

    /// Whether there was an answer.
    async fn answer(&mut self, ask: Ask) -> bool {
        let Ask { message, replies, turn: may_speak } = ask;
        let limit = self.model.limits().response;
        let stop = self.context.hard_stop.clone();
        let mut turn = Turn::default();
        let answered = tokio::select! {
            biased;
            () = replies.closed() => Err(NoReply::Unwanted),
            () = stop.cancelled() => Err(NoReply::Stopped),
            answered = timeout(limit, self.converse(message, &mut turn, &replies)) => {
                answered.unwrap_or(Err(NoReply::TooLate))
            }
        };
        let last = match answered {
            Ok(()) => Reply::Done { text: Private::new(turn.text), tool_calls: turn.tool_calls },
            Err(why) => {
                warn!(%why, "a message was not answered");
                self.break_off(&turn.text);
                Reply::Failed(why)
            }
        };
        let answered = matches!(last, Reply::Done { .. });
        // Whoever reads the end of the reply may answer it at once; one who does not read is not waited for long.
        drop(may_speak);
        let _ = timeout(limit, replies.send(last)).await;
        answered
    }

    /// Feeds the message and whatever follows from it, until the conversation is at rest. May be dropped at any await.
    async fn converse(
        &mut self,
        message: Message,
        turn: &mut Turn,
        replies: &mpsc::Sender<Reply>,
    ) -> Result<(), NoReply> {
        let mut event = match message {
            Message::User(text) => Event::Heard(Incoming::Prompt(Prompt { voice_prompt: text, last: true })),
            Message::System(text) => Event::Instructed(text),
        };
        loop {
            let actions = self.call.handle(event, now());
            self.carry_out(actions, turn);
            while let Some(token) = turn.unsent.pop_front() {
                turn.text.push_str(&token);
                replies.send(Reply::Token(Private::new(token))).await.map_err(|_| NoReply::Unwanted)?;
            }
            if self.call.is_idle() {
                let answered = !turn.failed && !turn.text.trim().is_empty();
                return answered.then_some(()).ok_or(NoReply::Model);
            }
            event = tokio::select! {
                biased;
                (request, event) = next_of(&mut self.response) => {
                    turn.note(&event);
                    Event::Model { request, event }
                }
                Some((run, outcome)) = self.finished.recv() => Event::ToolFinished { run, outcome },
            };
        }
    }

    /// At once and whole: the call relies on it that all of it is done.
    fn carry_out(&mut self, actions: Vec<Action>, turn: &mut Turn) {
        for action in actions {
            match action {
                Action::Say(frame) => turn.say(frame),
                Action::AskModel(request) => {
                    let id = request.id;
                    self.response = Some((id, self.model.respond(self.briefing.profile(), request)));
                }
                Action::StopModel => self.response = None,
                Action::RunTool { run, tool } => {
                    begin_tool(&self.context, &self.desk, self.briefing.library(), &self.finished_sender, run, tool);
                }
                Action::ChangeContext(keys) => self.briefing.take(&keys, None),
                Action::Record(entry) => payment_log::record(&entry),
                Action::Close => {}
            }
        }
    }

    /// Stops the model; what is remembered of the reply is what was handed out. A tool that runs is finished, and its
    /// outcome is taken in with the next message.
    fn break_off(&mut self, text: &str) {
        let interrupt = Interrupt { utterance_until_interrupt: Private::new(text.to_owned()) };
        let actions = self.call.handle(Event::Heard(Incoming::Interrupt(interrupt)), now());
        self.carry_out(actions, &mut Turn::default());
    }
}

impl Turn {
    fn say(&mut self, frame: Outgoing) {
        // Nothing else can be written down.
        let Outgoing::Text { mut token, last, .. } = frame else { return };
        if !token.is_empty() {
            if std::mem::take(&mut self.utterance_ended) {
                token.insert(0, '\n');
            }
            self.unsent.push_back(token);
        }
        self.utterance_ended |= last && !(self.text.is_empty() && self.unsent.is_empty());
    }

    fn note(&mut self, event: &ModelEvent) {
        match event {
            ModelEvent::Call(call) => self.tool_calls.push(call.clone()),
            ModelEvent::Done => self.failed = false,
            ModelEvent::Failed => self.failed = true,
            ModelEvent::Delta(_) | ModelEvent::Reasoning(_) => {}
        }
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
