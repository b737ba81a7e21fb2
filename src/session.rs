//! The task that owns a call, and the registry from call SID to that task.
//!
//! Only this task touches its [`Call`]: it turns frames, callbacks, model output, tool results and time into events,
//! and executes the resulting actions. Other tasks send it messages through a mailbox.

mod admission;
mod agent_config;
mod chat;
mod chats;
mod claims;
mod context;
mod external_calls;
mod hand_over;
mod inputs;
mod journal;
mod lifecycle;
mod live_call;
mod liveness;
mod parameters;
pub(crate) mod payment_log;
mod pending_calls;
mod recording;
mod registry;
mod shared_calls;
mod shared_settings;
mod socket;
mod take_up;
#[cfg(test)]
mod tests;
mod tool_runner;
mod turn_recorder;

pub(crate) use admission::SocketAdmission;
pub(crate) use agent_config::{CONTEXT_KEY, MANIFEST_KEY};
pub(crate) use chat::{ChatMessage, ChatReplyError, ReplyPart};
pub(crate) use chats::{Chats, SendChatMessageError};
pub(crate) use claims::EndingCalls;
pub(crate) use context::SessionContext;
pub(crate) use external_calls::{ExternalAnswer, ExternalToolCall};
pub(crate) use hand_over::{HandOvers, is_moved};
pub(crate) use journal::JournalWriter;
pub(crate) use lifecycle::{CALL_REFERENCE, serve_socket};
pub(crate) use live_call::{LiveCall, TurnShares};
pub(crate) use pending_calls::{AddPendingCallError, BusinessLookup, CallParameters, OutboundCallData, PendingCalls};
pub(crate) use registry::{CallRegistry, DeliveryOutcome, FindCallByTokenError, SessionMessage, TokenScope};
pub(crate) use shared_settings::SharedSettings;
pub(crate) use socket::{RelaySocket, SendFrameError, SocketInput, SocketOutput};

use std::sync::Arc;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{Instant, timeout};
use tracing::{Instrument as _, debug, error, info, warn};
use zeroize::Zeroize as _;

use crate::assets::Library;
use crate::call::{Action, Call, CallEnding, CallEvent, CallProgress, ContextKeys};
use crate::payment::{ConsentRecord, NoticeKind, PaymentLogEntry, SpokenStatement};
use crate::relay::IncomingFrame;
use crate::response_service::CallResponseService;
use crate::telemetry::{CallTotals, ToolSpan, TurnRecord};
use crate::tools::ToolContext;
use agent_config::AgentConfig;
use external_calls::ExternalCalls;
use hand_over::DrainDeadlines;
use inputs::{Input, Inputs, ModelResponse};
use journal::CallJournal;
use lifecycle::custom_parameter;
use liveness::LivenessCheck;
use registry::Registration;
use tool_runner::ToolRunner;
use turn_recorder::TurnRecorder;

/// Time limit for the close frame at the end of a call, for a peer that does not read.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// How often a draining call looks whether another server takes calls.
const SUCCESSOR_POLL: Duration = Duration::from_millis(250);

/// How long a draining call may continue after its payment has ended, so that the caller hears the result.
const POST_PAYMENT_GRACE: Duration = Duration::from_secs(30);

/// The number of events that a call handles without a pause for other calls, whatever floods it.
const EVENTS_PER_TURN: u32 = 64;

/// After an event that took longer a call pauses for others at once: a text that is hard to read may take milliseconds.
const LONG_WORK: Duration = Duration::from_millis(1);

/// Invalid frames in a row after which the socket is closed. Twilio applies the same limit to the frames it receives.
const MAX_BAD_FRAMES: u32 = 10;

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SessionEnd {
    /// Twilio closed the socket with this code.
    SocketClosed(Option<u16>),
    /// Twilio reported that the call has ended.
    CallEnded,
    /// The server is stopping, or a newer session of the call has replaced this one.
    Stopped,
    /// Another server has the call.
    Moved,
    /// The server drains, and another one goes on with the call.
    HandedOver,
    /// The socket failed and Twilio opened no new one in time.
    NotResumed,
    /// Twilio did not close the socket after the `end` frame.
    NotClosed,
    /// The session task panicked.
    Panicked,
}

impl SessionEnd {
    /// The word in the log.
    fn as_str(self) -> &'static str {
        match self {
            Self::SocketClosed(_) => "socket_closed",
            Self::CallEnded => "call_ended",
            Self::Stopped => "stopped",
            Self::Moved => "moved",
            Self::HandedOver => "handed_over",
            Self::NotResumed => "not_resumed",
            Self::NotClosed => "not_closed",
            Self::Panicked => "panicked",
        }
    }

    /// The reason of `call.ended` if neither the agent nor the server has ended the call in words.
    fn reason(self) -> &'static str {
        match self {
            Self::SocketClosed(_) | Self::CallEnded | Self::NotClosed => "caller-hung-up",
            Self::Stopped | Self::Moved | Self::HandedOver => "server-stopped",
            Self::NotResumed => "connection-lost",
            Self::Panicked => "server-failed",
        }
    }
}

struct Session {
    context: Arc<SessionContext>,
    response_service: CallResponseService,
    tools: ToolRunner,
    /// The instructions and tools for the next model request.
    agent_config: AgentConfig,
    call: Call,
    inputs: Inputs,
    /// Removes the call from the registry when it is dropped.
    registration: Registration,
    /// Records what the agent's turns are made of.
    turns: TurnRecorder,
    external_calls: ExternalCalls,
    /// What another server needs to take the call up, where it is kept.
    journal: Option<CallJournal>,
    bad_frames: u32,
    /// A write failed, and the call has not handled it yet.
    send_failed: bool,
    /// Set while the server drains.
    drain: Option<DrainDeadlines>,
    /// When the last payment ended.
    payment_ended_at: Option<Instant>,
    /// Set once the caller is gone; the session then only waits for running work.
    end: Option<SessionEnd>,
    /// How the session ended, once it is closed.
    closed: Option<SessionEnd>,
}

impl Session {
    async fn run(&mut self, actions: Vec<Action>) -> (SessionEnd, CallEnding, CallTotals) {
        self.execute(actions, Instant::now()).await;
        let (mut events, mut work) = (0_u32, Duration::ZERO);
        let mut published = CallProgress::default();
        let end = loop {
            if let Some(end) = self.closed {
                break end;
            }
            let progress = self.call.progress();
            if progress != published {
                self.registration.publish(progress);
                published = progress;
            }
            events = events.wrapping_add(1);
            if events.is_multiple_of(EVENTS_PER_TURN) || work > LONG_WORK {
                yield_now().await;
            }
            let Some(event) = self.next_event().await else { continue };
            if let CallEvent::ToolFinished { .. } = event {
                self.withdraw_external_calls().await;
            }
            let had_open_payment = self.call.has_open_payment();
            let now = Instant::now();
            let handled = self.handle(event, now).await;
            work = handled - now;
            if had_open_payment && !self.call.has_open_payment() {
                self.payment_ended_at = Some(handled);
            }
        };
        // Unread messages are dropped, but payment results among them are logged, unless another server tells them.
        self.inputs.mailbox.close();
        while let Ok(message) = self.inputs.mailbox.try_recv() {
            if let (SessionMessage::PaymentStatus(status), false) = (&*message, end == SessionEnd::HandedOver) {
                payment_log::log_late_result(status);
            }
        }
        self.inputs.tool_events.close();
        while let Ok(finished) = self.inputs.tool_events.try_recv() {
            self.record_tool(finished.span);
        }
        let last_turn = self.turns.end_call(Instant::now().into_std());
        self.report_turn(last_turn);
        (end, self.call.take_ending(), self.turns.take_totals())
    }

    /// Lets the call handle an event, and executes its actions. Returns when it had handled the event.
    async fn handle(&mut self, event: CallEvent, now: Instant) -> Instant {
        if let Some(journal) = &mut self.journal {
            journal.note_event(&event, now);
        }
        self.turns.record_event(&event, now.into_std());
        let actions = self.call.handle(event, now.into_std());
        let handled = Instant::now();
        self.execute(actions, handled).await;
        handled
    }

    /// Withdraws the tool calls of external clients that no longer wait, before the next of them starts.
    async fn withdraw_external_calls(&mut self) {
        for id in self.external_calls.take_withdrawn() {
            self.handle(CallEvent::ExternalCallWithdrawn(id), Instant::now()).await;
        }
    }

    /// Waits for the next input, and returns the event that it is for the call, if it is one.
    async fn next_event(&mut self) -> Option<CallEvent> {
        if std::mem::take(&mut self.send_failed) {
            return Some(self.handle_socket_closed(None));
        }
        let is_caller_gone = self.end.is_some();
        let (drain_deadline, deadline) = (self.drain_deadline(), self.deadline());
        if !is_caller_gone && has_passed(drain_deadline, Instant::now()) {
            return Some(self.record_end(SessionEnd::Stopped));
        }
        if !is_caller_gone && has_passed(self.hand_over_deadline(), Instant::now()) {
            self.hand_over().await;
            return None;
        }
        match self.inputs.next(is_caller_gone, deadline).await {
            Input::Stop => self.stop().await,
            Input::Drain => self.start_draining(),
            Input::Socket(frame) => self.handle_input(frame).await,
            Input::Message(message) => self.handle_message(*message).await,
            Input::Model(request, event) => {
                self.context.count_tool_call(&event);
                Some(CallEvent::Model { request, event })
            }
            Input::Tool(finished) => {
                self.record_tool(finished.span);
                Some(finished.event)
            }
            Input::Deadline => self.handle_deadline(Instant::now()).await,
        }
    }

    /// Returns when something is due, if no event arrives before.
    fn deadline(&self) -> Option<Instant> {
        let tick = self.call.deadline().map(Instant::from);
        if self.end.is_some() {
            return tick;
        }
        // Another server may come while this one drains.
        let looks_for_successor = self.drain.is_some() && self.journal.is_some();
        let look = looks_for_successor.then(|| Instant::now() + SUCCESSOR_POLL);
        let of_server = [self.drain_deadline(), self.hand_over_deadline(), self.journal_deadline(), look];
        let of_socket = [self.liveness_deadline(), self.write_deadline()];
        of_server.into_iter().chain(of_socket).chain([tick]).flatten().min()
    }

    /// Handles what is due first. What else is due has a deadline of its own, which has passed.
    async fn handle_deadline(&mut self, now: Instant) -> Option<CallEvent> {
        if has_passed(self.journal_deadline(), now) {
            self.write_journal(now);
        }
        if self.end.is_none() && has_passed(self.write_deadline(), now) {
            return Some(self.handle_socket_closed(None));
        }
        if self.end.is_none() && has_passed(self.liveness_deadline(), now) {
            return self.check_liveness().await;
        }
        has_passed(self.call.deadline().map(Instant::from), now).then_some(CallEvent::Tick)
    }

    fn journal_deadline(&self) -> Option<Instant> {
        self.journal.as_ref().filter(|_| self.end.is_none())?.deadline()
    }

    fn write_journal(&mut self, now: Instant) {
        if let Some(journal) = &mut self.journal {
            journal.write(&self.call, now);
        }
    }

    /// Returns until when the peer of the socket has to take what is written to it.
    fn write_deadline(&self) -> Option<Instant> {
        self.inputs.socket.as_ref()?.write_deadline()
    }

    /// Returns when the peer of the socket is asked whether it is there.
    fn liveness_deadline(&self) -> Option<Instant> {
        self.inputs.socket.as_ref().map(|socket| socket.liveness.deadline())
    }

    /// Returns when a draining server ends this call; `None` while the server is not draining.
    fn drain_deadline(&self) -> Option<Instant> {
        let DrainDeadlines { idle: idle_deadline, hard: hard_deadline, .. } = self.drain?;
        if self.hand_over_deadline().is_some() {
            return Some(hard_deadline);
        }
        let grace_end = self.payment_ended_at.map_or(idle_deadline, |ended| ended + POST_PAYMENT_GRACE);
        Some(if self.call.has_open_payment() { hard_deadline } else { grace_end.clamp(idle_deadline, hard_deadline) })
    }

    fn start_draining(&mut self) -> Option<CallEvent> {
        let (timeout, live_calls) = (self.context.drain_timeout, self.context.calls.count());
        self.drain = Some(self.context.hand_overs.schedule(timeout, live_calls, Instant::now()));
        None
    }

    /// Ends the session at once. If the server stops, and another one takes calls, that one goes on with the call.
    async fn stop(&mut self) -> Option<CallEvent> {
        if self.context.hard_stop.is_cancelled() && self.context.has_successor() {
            self.hand_over().await;
        }
        self.closed.is_none().then(|| self.record_end(SessionEnd::Stopped))
    }

    fn record_end(&mut self, end: SessionEnd) -> CallEvent {
        self.end.get_or_insert(end);
        CallEvent::HungUp
    }

    async fn handle_input(&mut self, frame: SocketInput) -> Option<CallEvent> {
        if let Some(socket) = &mut self.inputs.socket {
            socket.liveness.record_input();
        }
        let frame = match frame {
            SocketInput::Alive => return None,
            SocketInput::Text(mut frame) => {
                let parsed = IncomingFrame::parse(&frame);
                // It may have a card number, which the call removes from what it keeps.
                frame.zeroize();
                parsed
            }
            SocketInput::Closed(code) => return Some(self.handle_socket_closed(code)),
            SocketInput::Invalid => return self.handle_bad_frame().await,
            SocketInput::TooLarge => {
                self.close_socket(1009, "the frame is too large").await;
                return Some(self.handle_socket_closed(Some(1009)));
            }
        };
        match frame {
            Ok(IncomingFrame::Error) => {
                warn!(
                    event = "relay.error_frame",
                    "ConversationRelay sent an error frame: it rejected a frame or could not synthesize speech."
                );
                None
            }
            Ok(frame) => {
                self.bad_frames = 0;
                Some(CallEvent::RelayFrame(frame))
            }
            Err(error) => {
                debug!(event = "relay.frame_ignored", %error, "A frame could not be parsed and is ignored.");
                if error.has_type() { None } else { self.handle_bad_frame().await }
            }
        }
    }

    /// Handles the end of the socket, which either side has closed with this code. Twilio's is 1000 when the session has
    /// ended; after any other code the caller may still be on the line.
    fn handle_socket_closed(&mut self, code: Option<u16>) -> CallEvent {
        self.inputs.socket = None;
        if code == Some(1000) {
            return self.record_end(SessionEnd::SocketClosed(code));
        }
        warn!(event = "session.socket_lost", ?code, "The socket failed; the call waits for a new one.");
        CallEvent::SocketLost
    }

    /// Sends a ping. A peer that answered neither of the last two is gone, and the call waits for a new socket.
    async fn check_liveness(&mut self) -> Option<CallEvent> {
        match self.inputs.socket.as_mut()?.liveness.check(Instant::now()) {
            LivenessCheck::Ping => {
                self.send(SocketOutput::Ping).await;
                None
            }
            LivenessCheck::Lost => Some(self.handle_socket_closed(None)),
        }
    }

    /// Counts an invalid frame and closes the socket at [`MAX_BAD_FRAMES`]. The call and its payment wait for a new
    /// socket.
    async fn handle_bad_frame(&mut self) -> Option<CallEvent> {
        self.bad_frames += 1;
        if self.bad_frames < MAX_BAD_FRAMES {
            return None;
        }
        self.close_socket(1007, "too many bad frames").await;
        warn!(
            event = "session.too_many_bad_frames",
            "Too many invalid frames in a row; the socket is closed, and the call waits for a new one."
        );
        Some(CallEvent::SocketLost)
    }

    /// Closes the socket. The call waits for a new one.
    async fn close_socket(&mut self, code: u16, reason: &'static str) {
        if let Some(mut socket) = self.inputs.socket.take() {
            let _ = socket.post(SocketOutput::Close(code, reason)).await;
        }
    }

    async fn handle_message(&mut self, message: SessionMessage) -> Option<CallEvent> {
        match message {
            SessionMessage::PaymentStatus(status) => Some(CallEvent::PaymentStatus(*status)),
            SessionMessage::Socket(_) if self.end.is_some() => None,
            SessionMessage::Socket(socket) => self.replace_socket(socket).await,
            SessionMessage::CallStatus(status) if status.is_terminal() => Some(self.record_end(SessionEnd::CallEnded)),
            SessionMessage::CallStatus(status) => {
                info!(event = "call.progress", ?status, "The status of the call has changed.");
                None
            }
            SessionMessage::Reconfigure { keys, library } => {
                self.apply_keys(&keys, Some(library));
                None
            }
            SessionMessage::ExternalToolCall(external) => self.accept_external_call(external),
            SessionMessage::ListTools(answer) => {
                let _ = answer.send(self.agent_config.profile().tools());
                None
            }
            SessionMessage::PaymentsKnown(known) => Some(CallEvent::PaymentsKnown(known)),
            SessionMessage::ReceiptSent(news) => Some(CallEvent::ReceiptSent(news)),
            SessionMessage::MachineAnswered => Some(CallEvent::MachineAnswered),
            SessionMessage::CallEnded => Some(self.record_end(SessionEnd::CallEnded)),
            SessionMessage::Moved => Some(self.record_end(SessionEnd::Moved)),
        }
    }

    /// Switches the context or the manifest.
    fn apply_keys(&mut self, keys: &ContextKeys, library: Option<Arc<Library>>) {
        if self.agent_config.apply_keys(keys, library)
            && let Some(journal) = &mut self.journal
        {
            journal.note_keys(keys, Instant::now());
        }
    }

    /// Accepts a tool call of an external client, which may only call the tools of the call's manifest.
    fn accept_external_call(&mut self, external: ExternalToolCall) -> Option<CallEvent> {
        let ExternalToolCall { call, request, answer, .. } = external;
        // The client has left while the call waited in the mailbox: it would never know what the tool did.
        if answer.is_closed() {
            return None;
        }
        if !self.agent_config.profile().has_tool(&call.name) {
            let _ = answer.send(ExternalAnswer::UnknownTool);
            return None;
        }
        info!(event = "mcp.tool_called", tool = call.name, "An external client has called a tool.");
        Some(CallEvent::ExternalToolCall { id: self.external_calls.insert(answer), request, call })
    }

    /// Serves the call on a new socket, and closes the old one if it is still open.
    async fn replace_socket(&mut self, socket: RelaySocket) -> Option<CallEvent> {
        info!(event = "session.resumed", "A new socket serves the call.");
        self.bad_frames = 0;
        if let Some(mut older) = self.inputs.replace_socket(socket) {
            let _ = older.post(SocketOutput::Close(1001, "a newer socket has taken the call")).await;
            self.handle(CallEvent::SocketLost, Instant::now()).await;
        }
        Some(CallEvent::SocketResumed)
    }

    /// Executes the actions of an event that was handled at `now`.
    async fn execute(&mut self, actions: Vec<Action>, now: Instant) {
        for action in actions {
            let ended_turn = self.turns.record_action(&action, now.into_std());
            self.report_turn(ended_turn);
            match action {
                Action::SendFrame(frame) => self.send(SocketOutput::Text(frame.to_json())).await,
                Action::AskModel(request) => {
                    let id = request.id;
                    let response = self.response_service.respond(self.agent_config.profile(), request);
                    self.inputs.response = ModelResponse::new(id, response);
                }
                Action::StopModel => self.inputs.response = ModelResponse::default(),
                Action::RunTool { run, tool } => self.tools.spawn(&self.agent_config, run, tool),
                Action::ControlRecording(request) => self.tools.control_recording(request),
                Action::ReturnToolOutput { id, output } => self.external_calls.answer(id, output),
                Action::ChangeContext(keys) => self.apply_keys(&keys, None),
                Action::Record(entry) => {
                    // Where a call moved, its new owner has the last word about its payments.
                    let call = &self.tools.context.call;
                    match *entry {
                        _ if call.has_moved() => {}
                        PaymentLogEntry::Unresolved { .. } if self.context.fleet.is_some() => {
                            self.context.log_unless_moved(&call.call_sid, (*entry).clone());
                        }
                        _ => payment_log::log_entry(&entry, self.turns.request_id()),
                    }
                    self.context.telemetry.record_payment_step(&entry);
                    match *entry {
                        PaymentLogEntry::ConsentAnswered(agreed) => {
                            record_statement(&self.context, &self.tools.context, agreed);
                        }
                        PaymentLogEntry::NoticeHeard(kind, heard) => {
                            record_notice(&self.context, &self.tools.context, kind, heard);
                        }
                        _ => {}
                    }
                }
                Action::ReportModelOutage(outage) => {
                    self.context.telemetry.record_outage(outage, self.turns.request_id());
                }
                Action::ReportLimit(limit) => self.context.usage.monitor.report(limit),
                // The recorder of turns has seen it.
                Action::RecordSilence => {}
                Action::Close => self.close().await,
            }
        }
        let ended_turn = self.turns.record_state(self.call.agent_state(), now.into_std());
        self.report_turn(ended_turn);
    }

    fn record_tool(&mut self, tool: Option<ToolSpan>) {
        if let Some(late) = self.turns.record_tool(tool) {
            self.context.telemetry.record_late_tool(late);
        }
    }

    fn report_turn(&self, turn: Option<TurnRecord>) {
        if let Some(turn) = turn {
            self.registration.publish_turn(&turn);
            self.context.telemetry.record_turn(turn);
        }
    }

    /// Sends a frame. A socket that fails is dropped. One that is not read keeps the frame, and the call goes on.
    async fn send(&mut self, frame: SocketOutput) {
        let Some(socket) = self.inputs.socket.as_mut().filter(|_| self.end.is_none()) else { return };
        if socket.post(frame).await.is_err() {
            self.inputs.socket = None;
            self.send_failed = true;
        }
    }

    async fn close(&mut self) {
        let frame = match self.end {
            None => Some(SocketOutput::Close(1000, "the call is over")),
            Some(SessionEnd::Stopped) => Some(SocketOutput::Close(1012, "the server stops")),
            Some(SessionEnd::Moved) => Some(SocketOutput::Close(1001, "another server has the call")),
            Some(_) => None,
        };
        let unseen = if self.inputs.socket.is_some() { SessionEnd::NotClosed } else { SessionEnd::NotResumed };
        let end = *self.end.get_or_insert(unseen);
        if let (Some(close), Some(socket)) = (frame, &mut self.inputs.socket) {
            let _ = timeout(CLOSE_TIMEOUT, socket.send(close)).await;
        }
        self.closed = Some(end);
    }
}

/// Records a statement and the caller's answer in a separate task, so that the caller does not wait for the ledger.
fn record_statement(context: &SessionContext, tool_context: &Arc<ToolContext>, agreed: ConsentRecord) {
    let tool_context = tool_context.clone();
    let work = async move {
        if let Err(error) = tool_context.ledger.record_statement(&tool_context.call, &agreed).await {
            error!(event = "ledger.statement_lost", %error, "The caller's answer to a statement could be neither written nor buffered.");
        }
    };
    context.tasks.spawn(work.in_current_span());
}

/// Records that the caller has heard a notice, in a separate task.
fn record_notice(context: &SessionContext, tool_context: &Arc<ToolContext>, kind: NoticeKind, heard: SpokenStatement) {
    let tool_context = tool_context.clone();
    let work = async move {
        if let Err(error) = tool_context.ledger.record_notice(&tool_context.call, kind, &heard).await {
            error!(event = "ledger.notice_lost", notice = kind.as_str(), %error, "That the caller heard a notice could be neither written nor buffered.");
        }
    };
    context.tasks.spawn(work.in_current_span());
}

fn has_passed(deadline: Option<Instant>, now: Instant) -> bool {
    deadline.is_some_and(|deadline| deadline <= now)
}
