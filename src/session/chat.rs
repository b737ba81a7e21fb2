//! A text chat: a [`Call`] without a telephone, and the task that owns it.
//!
//! A chat uses the same conversation, model and tools as a phone call; the text is collected instead of spoken. The
//! agent only replies to messages and never starts a turn of its own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::yield_now;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use super::agent_config::AgentConfig;
use super::inputs::ModelResponse;
use super::tool_runner::{ToolEvent, ToolRunner};
use super::turn_recorder::TurnRecorder;
use super::{EVENTS_PER_TURN, SessionContext, payment_log};
use crate::call::{
    Action, Call, CallEvent, CallSettings, ContextKeys, ModelEvent, SilenceSettings, ToolCall, WallClock,
};
use crate::call_identity::CallIdentity;
use crate::ids::CallSid;
use crate::payment::PriorPayments;
use crate::redact::Private;
use crate::relay::{IncomingFrame, Interrupt, OutgoingFrame, Prompt, Setup};
use crate::response_service::CallResponseService;
use crate::telemetry::ChatRecord;

/// How long a chat waits for the next message before it ends.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// A message to the agent.
#[derive(Debug)]
pub(crate) enum ChatMessage {
    /// From the user.
    User(Private<String>),
    /// From the operator. It takes precedence over user messages.
    System(Private<String>),
}

/// A message to a chat, with the channel for its reply.
#[derive(Debug)]
pub(super) struct ChatRequest {
    pub(super) message: ChatMessage,
    pub(super) replies: mpsc::Sender<ReplyPart>,
    /// The permit to send a message, held as long as this request exists.
    pub(super) turn: OwnedSemaphorePermit,
}

/// A part of a reply. Only the last part is `Done` or `Failed`; if the reply ends without one, the chat has ended.
#[derive(Debug)]
pub(crate) enum ReplyPart {
    /// The next piece of text.
    Token(Private<String>),
    /// The reply is complete.
    Done {
        /// The whole text.
        text: Private<String>,
        /// The tools that the model called, in order.
        tool_calls: Vec<ToolCall>,
    },
    /// The reply failed; any text already sent is incomplete.
    Failed(ChatReplyError),
}

/// Why a message got no complete reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChatReplyError {
    /// The model failed or returned no text.
    #[error("the model gave no answer: send the message again")]
    ModelFailed,
    /// The model and its tools took too long.
    #[error("the model took too long to answer: send the message again")]
    TimedOut,
    /// The server is stopping.
    #[error("the server is stopping: the chat is over")]
    ServerStopping,
    /// The client closed its connection before the reply was complete.
    #[error("the client no longer waits for the reply")]
    ClientGone,
}

/// One chat and the state of its task.
pub(super) struct Chat {
    context: Arc<SessionContext>,
    response_service: CallResponseService,
    agent_config: AgentConfig,
    call: Call,
    tools: ToolRunner,
    response: ModelResponse,
    tool_events: mpsc::Receiver<Box<ToolEvent>>,
    turns: TurnRecorder,
    began: (std::time::Instant, Timestamp),
    call_sid: CallSid,
}

/// A reply in progress.
#[derive(Default)]
struct PendingReply {
    unsent_tokens: VecDeque<String>,
    /// The text that was sent to the client.
    text: String,
    tool_calls: Vec<ToolCall>,
    /// Whether the model has written anything. The server's disclosure alone is no answer.
    has_words: bool,
    /// Whether the last response of the model failed.
    failed: bool,
    /// Whether an utterance is complete; the next one then begins on a new line.
    utterance_ended: bool,
}

impl Chat {
    /// Creates an empty chat.
    pub(super) fn new(context: Arc<SessionContext>, id: Uuid) -> Self {
        let library = context.assets.library();
        let settings = library.server.call_settings(&context.environment);
        let settings = CallSettings {
            has_telephone: false,
            welcome_greeting: None,
            silence: SilenceSettings { enabled: false, ..settings.silence },
            ..settings
        };
        let setup = Setup {
            call_sid: CallSid::of_chat(id),
            direction: "chat".to_owned(),
            from: Private::default(),
            to: Private::default(),
            account_sid: None,
            custom_parameters: Private::default(),
        };
        // The initial actions are not needed: a chat has no greeting.
        let clock = WallClock { now: now(), at: Timestamp::now() };
        let (call, _) = Call::begin(Arc::new(settings), &setup, None, &PriorPayments::default(), id, clock);
        let response_service = context.response_service.for_call(library.server.model, CallIdentity::new(&setup, None));
        let began = (now(), Timestamp::now());
        let (tools, tool_events) = ToolRunner::new(&context, context.tool_context(&setup, &library, None, None), began);
        let agent_config = AgentConfig::new(library, &ContextKeys::default()).expect("the default assets exist");
        let agent_config = agent_config.with_listed_tools(context.business_tools.listed());
        let prices = context.telemetry.prices();
        let turns = TurnRecorder::new(setup.call_sid.clone(), began.0, began.1, prices);
        Self {
            context,
            response_service,
            agent_config,
            call,
            tools,
            response: ModelResponse::default(),
            tool_events,
            turns,
            began,
            call_sid: setup.call_sid,
        }
    }

    /// Answers one message after another, until none arrives for [`IDLE_TIMEOUT`] or the server stops.
    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<ChatRequest>, draining: CancellationToken) {
        info!(event = "chat.started", "The chat has started.");
        let mut has_replied = false;
        loop {
            let request = tokio::select! {
                biased;
                request = timeout(IDLE_TIMEOUT, requests.recv()) => request.ok().flatten(),
                () = draining.cancelled() => None,
            };
            let Some(request) = request else { break };
            has_replied |= self.answer(request).await;
            // The first reply carries the session id. Without that reply no client can continue the chat.
            if !has_replied {
                break;
            }
        }
        if let Some(turn) = self.turns.end_call(now()) {
            self.context.telemetry.record_turn(turn);
        }
        let (duration, totals) = (now().saturating_duration_since(self.began.0), self.turns.take_totals());
        let chat = ChatRecord { call_sid: self.call_sid, began_at: self.began.1, duration, totals };
        self.context.telemetry.record_chat(chat);
    }

    /// Answers a message; returns whether the reply was complete.
    async fn answer(&mut self, request: ChatRequest) -> bool {
        let ChatRequest { message, replies, turn: permit } = request;
        let limit = self.response_service.limits().response;
        let stop = self.context.hard_stop.clone();
        let mut reply = PendingReply::default();
        let answered = tokio::select! {
            biased;
            () = replies.closed() => Err(ChatReplyError::ClientGone),
            () = stop.cancelled() => Err(ChatReplyError::ServerStopping),
            answered = timeout(limit, self.respond(message, &mut reply, &replies)) => {
                answered.unwrap_or(Err(ChatReplyError::TimedOut))
            }
        };
        let last = match answered {
            Ok(()) => ReplyPart::Done { text: Private::new(reply.text), tool_calls: reply.tool_calls },
            Err(error) => {
                let request_id = self.turns.request_id();
                warn!(event = "chat.reply_failed", %error, request_id, "A message got no complete reply.");
                self.interrupt(&reply.text);
                ReplyPart::Failed(error)
            }
        };
        let answered = matches!(last, ReplyPart::Done { .. });
        // A client may send its next message as soon as it reads the last part. A client that does not read is not
        // awaited for longer than the limit.
        drop(permit);
        let _ = timeout(limit, replies.send(last)).await;
        answered
    }

    /// Handles the message and all events that follow from it, until the call is idle. Cancel-safe: it may be dropped
    /// at any await.
    async fn respond(
        &mut self,
        message: ChatMessage,
        reply: &mut PendingReply,
        replies: &mpsc::Sender<ReplyPart>,
    ) -> Result<(), ChatReplyError> {
        let mut event = match message {
            ChatMessage::User(text) => {
                CallEvent::RelayFrame(IncomingFrame::Prompt(Prompt { voice_prompt: text, lang: None, last: true }))
            }
            ChatMessage::System(text) => CallEvent::OperatorMessage(text),
        };
        for events in 1_u32.. {
            if events.is_multiple_of(EVENTS_PER_TURN) {
                yield_now().await;
            }
            self.handle(event, reply);
            while let Some(token) = reply.unsent_tokens.pop_front() {
                reply.text.push_str(&token);
                replies.send(ReplyPart::Token(Private::new(token))).await.map_err(|_| ChatReplyError::ClientGone)?;
            }
            if self.call.is_idle() {
                let answered = !reply.failed && reply.has_words && !reply.text.trim().is_empty();
                return answered.then_some(()).ok_or(ChatReplyError::ModelFailed);
            }
            event = tokio::select! {
                biased;
                (request, event) = self.response.next_event() => {
                    self.context.count_tool_call(&event);
                    reply.record_model_event(&event);
                    CallEvent::Model { request, event }
                }
                Some(finished) = self.tool_events.recv() => {
                    if let Some(late) = self.turns.record_tool(finished.span) {
                        self.context.telemetry.record_late_tool(late);
                    }
                    finished.event
                }
            };
        }
        Err(ChatReplyError::ModelFailed)
    }

    /// Handles an event without awaiting, since the call relies on all of its actions being executed.
    fn handle(&mut self, event: CallEvent, reply: &mut PendingReply) {
        let now = now();
        self.turns.record_event(&event, now);
        for action in self.call.handle(event, now) {
            if let Some(turn) = self.turns.record_action(&action, now) {
                self.context.telemetry.record_turn(turn);
            }
            match action {
                Action::SendFrame(frame) => reply.push_frame(frame),
                Action::AskModel(request) => {
                    let id = request.id;
                    let response = self.response_service.respond(self.agent_config.profile(), request);
                    self.response = ModelResponse::new(id, response);
                }
                Action::StopModel => self.response = ModelResponse::default(),
                Action::RunTool { run, tool } => self.tools.spawn(&self.agent_config, run, tool),
                Action::ChangeContext(keys) => drop(self.agent_config.apply_keys(&keys, None)),
                Action::Record(entry) => payment_log::log_entry(&entry, self.turns.request_id()),
                Action::ReportModelOutage(outage) => {
                    self.context.telemetry.record_outage(outage, self.turns.request_id());
                }
                // No external client calls tools in a chat, and the limited tools need a telephone.
                Action::ReturnToolOutput { .. }
                | Action::ControlRecording(_)
                | Action::RecordSilence
                | Action::ReportLimit(_)
                | Action::Close => {}
            }
        }
        if let Some(turn) = self.turns.record_state(self.call.agent_state(), now) {
            self.context.telemetry.record_turn(turn);
        }
    }

    /// Stops the model and keeps in the history only the text that was sent. A running tool finishes, and its outcome
    /// is handled with the next message.
    fn interrupt(&mut self, text: &str) {
        let interrupt = Interrupt { utterance_until_interrupt: Private::new(text.to_owned()) };
        self.handle(CallEvent::RelayFrame(IncomingFrame::Interrupt(interrupt)), &mut PendingReply::default());
    }
}

impl PendingReply {
    fn push_frame(&mut self, frame: OutgoingFrame) {
        // A chat has only text: all other frames are dropped.
        let OutgoingFrame::Text { mut token, last, .. } = frame else { return };
        if !token.is_empty() {
            if std::mem::take(&mut self.utterance_ended) {
                token.insert(0, '\n');
            }
            self.unsent_tokens.push_back(token);
        }
        self.utterance_ended |= last && !(self.text.is_empty() && self.unsent_tokens.is_empty());
    }

    fn record_model_event(&mut self, event: &ModelEvent) {
        match event {
            ModelEvent::ToolCall(call) => self.tool_calls.push(call.clone()),
            ModelEvent::Completed => self.failed = false,
            ModelEvent::Failed | ModelEvent::InputRefused(_) => self.failed = true,
            ModelEvent::TextDelta(text) => self.has_words |= !text.reveal().trim().is_empty(),
            ModelEvent::MessagePhase(_) | ModelEvent::Reasoning(_) | ModelEvent::Report(_) => {}
        }
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
