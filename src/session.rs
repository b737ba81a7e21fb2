//! The task that owns a call, and the registry from call SID to that task.
//!
//! Only this task touches its [`Call`]: it turns frames, callbacks, model output, tool results and time into events,
//! and executes the resulting actions. Other tasks send it messages through a mailbox.

mod admission;
mod agent_config;
mod chat;
mod chats;
mod external_calls;
mod inputs;
mod live_call;
mod liveness;
mod parameters;
pub(crate) mod payment_log;
mod pending_calls;
mod registry;
mod shared_settings;
mod socket;
#[cfg(test)]
mod tests;
mod tool_runner;
mod turn_recorder;

pub(crate) use admission::SocketAdmission;
pub(crate) use agent_config::{CONTEXT_KEY, MANIFEST_KEY};
pub(crate) use chat::{ChatMessage, ChatReplyError, ReplyPart};
pub(crate) use chats::{Chats, SendChatMessageError};
pub(crate) use external_calls::{ExternalAnswer, ExternalToolCall};
pub(crate) use live_call::{LiveCall, TurnShares};
pub(crate) use pending_calls::{AddPendingCallError, BusinessLookup, CallParameters, OutboundCallData, PendingCalls};
pub(crate) use registry::{CallRegistry, DeliveryOutcome, FindCallByTokenError, SessionMessage, TokenScope};
pub(crate) use shared_settings::SharedSettings;
pub(crate) use socket::{RelaySocket, SendFrameError, SocketInput, SocketOutput};

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use jiff::Timestamp;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, error, info, info_span, warn};
use uuid::Uuid;
use zeroize::Zeroize as _;

use crate::assets::{CurrentAssets, Library};
use crate::business_tools::BusinessToolClient;
use crate::call::{
    Action, CONTEXT_PARAMETERS, Call, CallEnding, CallEnvironment, CallEvent, CallProgress, CallSettings, ContextKeys,
    MANIFEST_PARAMETERS, ModelEvent, ToolSpec,
};
use crate::call_identity::CallIdentity;
use crate::call_stage::CallStage;
use crate::ids::CallSid;
use crate::ledger::{CallData, CallEnd, Ledger, LedgerError};
use crate::llm::Profile;
use crate::log_limit::LogLimiter;
use crate::payment::{ConsentRecord, PaymentLogEntry};
use crate::redact::Private;
use crate::relay::{IncomingFrame, Setup};
use crate::response_service::{CallResponseService, ResponseService};
use crate::telemetry::{CallRecord, CallTotals, Telemetry, ToolSpan, TurnRecord};
use crate::tools::ToolContext;
use crate::usage_limits::{AdmissionError, CallerKey, Usage};
use crate::{payment, recovery, twilio};
use admission::MAX_REMEMBERED_CALLS;
use agent_config::AgentConfig;
use external_calls::ExternalCalls;
use inputs::{Input, Inputs, ModelResponse};
use liveness::LivenessCheck;
use registry::{HandOverSocketError, Registration};
use tool_runner::ToolRunner;
use turn_recorder::TurnRecorder;

/// Time limit for the first frame of a socket.
const SETUP_TIMEOUT: Duration = Duration::from_secs(10);

/// Time limit for the close frame at the end of a call, for a peer that does not read.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// How long a draining call may continue after its payment has ended, so that the caller hears the result.
const POST_PAYMENT_GRACE: Duration = Duration::from_secs(30);

/// How long a webhook waits until the end of a call is durable.
const STAGE_WRITE_LIMIT: Duration = Duration::from_millis(500);

/// Time limit for reading the known payments of a new call from the ledger.
const KNOWN_PAYMENTS_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the recovery of a panicked session is retried while the ledger cannot be written.
const RECOVERY_RETRY_LIMIT: Duration = Duration::from_secs(300);

/// The number of events that a call handles without a pause for other calls, whatever floods it.
const EVENTS_PER_TURN: u32 = 64;

/// After an event that took longer a call pauses for others at once: a text that is hard to read may take milliseconds.
const LONG_WORK: Duration = Duration::from_millis(1);

/// Invalid frames in a row after which the socket is closed. Twilio applies the same limit to the frames it receives.
const MAX_BAD_FRAMES: u32 = 10;

/// The custom parameter by which an outbound call finds its data in [`PendingCalls`].
pub(crate) const CALL_REFERENCE: &str = "callReference";

/// The state and services that all sessions share.
#[derive(Debug)]
pub struct SessionContext {
    /// What answers the callers.
    pub response_service: ResponseService,
    /// The current configuration and agent files. A call reads them once, when it begins.
    pub assets: Arc<CurrentAssets>,
    /// The settings from environment variables.
    pub environment: CallEnvironment,
    /// The settings of calls.
    pub(crate) settings: SharedSettings,
    /// The client for Twilio's REST API.
    pub twilio: Arc<twilio::TwilioClient>,
    /// Runs the tools of the business.
    pub business_tools: Arc<BusinessToolClient>,
    /// Where all measurements go.
    pub(crate) telemetry: Arc<Telemetry>,
    /// The payment ledger.
    pub ledger: Ledger,
    /// Limits the log lines that anyone can cause.
    pub(crate) log_limiter: Arc<LogLimiter>,
    /// The live calls.
    pub calls: CallRegistry,
    /// Decides which sockets belong to a call of ours.
    pub admission: SocketAdmission,
    /// Recognises repeated payment status callbacks.
    pub callback_digester: payment::CallbackDigester,
    /// Orders and business look-ups of calls that have not ended.
    pub pending_calls: PendingCalls,
    /// The counts that the limits apply to.
    pub(crate) usage: Arc<Usage>,
    /// Whether the business gets `call.ended` for each call: there is a `PAYMENT_WEBHOOK_URL`.
    pub reports_call_ends: bool,
    /// All tasks that run for a call.
    pub tasks: TaskTracker,
    /// Cancelled when the server begins to drain: live calls may finish.
    pub soft_stop: CancellationToken,
    /// How long live calls may continue while draining. Calls without an open payment get half of it.
    pub drain_timeout: Duration,
    /// Cancelled to end all sessions immediately.
    pub hard_stop: CancellationToken,
}

impl SessionContext {
    /// Prepares the model for a call that rings, with the context and manifest that these parameters of its TwiML name.
    /// A business may name others later; those are prepared when the call connects.
    pub(crate) fn prewarm_model(&self, parameters: &[(String, String)]) {
        let key = |name| parameters.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str());
        if let Ok(profile) = self.assets.library().profile(key(CONTEXT_KEY), key(MANIFEST_KEY)) {
            self.prewarm_profile(&profile);
        }
    }

    /// Prepares the model for a call with this profile and the tools that the business's servers list.
    pub(crate) fn prewarm_profile(&self, profile: &Arc<Profile>) {
        self.response_service.prewarm(&self.business_tools.listed().extend_profile(profile));
    }

    /// Counts a call whose session begins, unless as many calls are live as the limits allow. A call that was admitted
    /// by its voice webhook or its order, or whose session failed, is never refused.
    fn admit_session(&self, setup: &Setup, now: Instant) -> Result<(), AdmissionError> {
        let limits = &self.assets.library().server.usage_limits;
        let party = if setup.is_outbound() { &setup.to } else { &setup.from };
        let caller = CallerKey::parse(party.reveal());
        self.usage.admissions.connect(&setup.call_sid, caller, limits, setup.is_reconnect(), now)
    }

    /// Remembers how far calls had come when an earlier process stopped.
    pub(crate) async fn load_call_stages(&self) -> Result<(), LedgerError> {
        for (call, stage) in self.ledger.load_call_stages(MAX_REMEMBERED_CALLS).await? {
            self.admission.record_stage(&call, stage, Instant::now());
        }
        Ok(())
    }

    /// Remembers that a call has reached a stage, also over a restart. Returns a task that ends when it is durable, at once
    /// if it was known.
    pub(crate) fn record_stage(&self, call: &CallSid, stage: CallStage) -> Option<JoinHandle<()>> {
        self.admission.record_stage(call, stage, Instant::now()).then(|| self.write_stage(call, Some(stage)))
    }

    /// Remembers that a call has ended. Waits until that is durable, but not for a ledger that cannot be written.
    pub(crate) async fn record_ended(&self, call: &CallSid) {
        if let Some(written) = self.record_stage(call, CallStage::Ended) {
            let _ = timeout(STAGE_WRITE_LIMIT, written).await;
        }
    }

    /// Forgets how far a call has come that a person sends back to the agent.
    pub(crate) fn begin_anew(&self, call: &CallSid) {
        self.admission.forget_stage(call, Instant::now());
        self.write_stage(call, None);
    }

    fn write_stage(&self, call: &CallSid, stage: Option<CallStage>) -> JoinHandle<()> {
        let (ledger, call) = (self.ledger.clone(), call.clone());
        self.tasks.spawn(async move {
            if let Err(error) = ledger.record_call_stage(&call, stage).await {
                warn!(
                    event = "ledger.call_stage_lost",
                    call_sid = %call,
                    %error,
                    "How far the call has come could be neither written nor buffered; a restart forgets it."
                );
            }
        })
    }

    /// Forgets an outbound call that ends without a session, and lets the webhook report its end.
    pub(crate) async fn end_unconnected_call(&self, call: &CallSid, reason: &'static str) {
        self.usage.admissions.release(call);
        let order = self.pending_calls.find(call);
        self.pending_calls.remove_call(call);
        let Some(order) = order.filter(|_| self.reports_call_ends) else { return };
        let end = CallEnd {
            call: CallData::from_order(call.clone(), order.reveal()),
            outbound: true,
            started_at: Timestamp::now(),
            reason,
            handoff: None,
            summary: Private::default(),
            arguments: Private::default(),
            is_recovered: false,
        };
        record_call_end(self, end).await;
    }

    /// Counts the event of the model if it is a tool call.
    fn count_tool_call(&self, event: &ModelEvent) {
        if let ModelEvent::ToolCall(call) = event {
            self.telemetry.record_tool_call(ToolSpec::find(&call.name).map(|tool| tool.name));
        }
    }

    /// Returns the services that the tools of a call use.
    fn tool_context(&self, setup: &Setup, library: &Library) -> Arc<ToolContext> {
        let ledger = self.ledger.with_limits(library.server.limits.clone(), self.environment.payment.currency);
        let mut call = CallData::from_setup(setup);
        call.attestation = self.pending_calls.attestation(&setup.call_sid);
        Arc::new(ToolContext { twilio: self.twilio.clone(), ledger, call })
    }
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SessionEnd {
    /// Twilio closed the socket with this code.
    SocketClosed(Option<u16>),
    /// Twilio reported that the call has ended.
    CallEnded,
    /// The server is stopping, or a newer session of the call has replaced this one.
    Stopped,
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
            Self::NotResumed => "not_resumed",
            Self::NotClosed => "not_closed",
            Self::Panicked => "panicked",
        }
    }

    /// The reason of `call.ended` if neither the agent nor the server has ended the call in words.
    fn reason(self) -> &'static str {
        match self {
            Self::SocketClosed(_) | Self::CallEnded | Self::NotClosed => "caller-hung-up",
            Self::Stopped => "server-stopped",
            Self::NotResumed => "connection-lost",
            Self::Panicked => "server-failed",
        }
    }
}

/// Serves one ConversationRelay socket. The socket of a new call is served until the call ends; the socket of a live
/// call is handed to the task that owns the call. A socket without the token of its call has no effect.
pub(crate) async fn serve_socket(context: Arc<SessionContext>, mut socket: RelaySocket) {
    let setup = match timeout(SETUP_TIMEOUT, first_frame(&mut socket)).await {
        Ok(Some(SocketInput::Text(frame))) => IncomingFrame::parse(&frame).ok(),
        _ => None,
    };
    let Some(IncomingFrame::Setup(mut setup)) = setup else {
        context.admission.log_refusal("setup", &"the socket did not begin with a `setup` frame");
        let _ = socket.send(SocketOutput::Close(1002, "the first frame must be setup")).await;
        return;
    };
    match context.admission.admit(&mut setup, Instant::now()) {
        Ok((session, is_new)) => {
            if is_new {
                context.write_stage(&setup.call_sid, Some(CallStage::Connected(session)));
            }
        }
        Err(error) => {
            context.admission.log_refusal("socket", &error);
            let _ = socket.send(SocketOutput::Close(1008, "this socket belongs to no call of this server")).await;
            return;
        }
    }
    socket.mark_identified();
    let span = info_span!("call", call_sid = %setup.call_sid);
    match context.calls.hand_over_socket(&setup.call_sid, socket) {
        Ok(()) => {}
        Err(HandOverSocketError::UnknownCall(socket)) => {
            run_session(context, setup, socket).instrument(span).await;
        }
        // The session keeps what it knows of the caller's payment. Twilio asks for a new socket.
        Err(HandOverSocketError::MailboxFull(mut socket)) => {
            error!(
                event = "session.mailbox_full",
                callback = "socket",
                call_sid = %setup.call_sid,
                "The mailbox of the session is full: it did not get a new socket, which is closed."
            );
            let _ = socket.send(SocketOutput::Close(1013, "the call is busy")).await;
        }
    }
}

/// Waits for the first frame that is neither a ping nor a pong.
async fn first_frame(socket: &mut RelaySocket) -> Option<SocketInput> {
    loop {
        match socket.receive().await {
            Some(SocketInput::Alive) => {}
            input => return input,
        }
    }
}

/// Runs a session from registration to its end, and logs both. What only the beginning and the end need is in boxes, so
/// that the task has no room for it while the call lasts.
async fn run_session(context: Arc<SessionContext>, setup: Setup, socket: RelaySocket) {
    let started = (Instant::now(), Timestamp::now());
    let Some(begun) = Box::pin(begin_session(&context, setup, socket, started)).await else { return };
    let BegunSession { mut session, actions, settings, tools, outbound } = begun;
    let (end, ending, totals) = AssertUnwindSafe(session.run(actions)).catch_unwind().await.unwrap_or_else(|_| {
        let (call, payment) = (tools.call.call_sid.clone(), settings.payment.clone());
        context.tasks.spawn(recover_panicked_session(context.clone(), call, payment).in_current_span());
        (SessionEnd::Panicked, CallEnding::default(), CallTotals::default())
    });
    // What it holds is removed with it, the registration as well.
    drop(session);
    let (started_at, started_on) = started;
    let (reason, is_handed_off) = (ending.reason.unwrap_or(end.reason()), ending.handoff_data.is_some());
    let call_end = CallEnd {
        call: tools.call.clone(),
        outbound,
        started_at: started_on,
        reason,
        handoff: ending.handoff_data,
        summary: ending.notes.summary,
        arguments: ending.notes.arguments,
        is_recovered: end == SessionEnd::Panicked,
    };
    Box::pin(forget_call(&context, call_end)).await;
    let (began_at, duration, end) = (started_on, started_at.elapsed(), end.as_str());
    let call_sid = tools.call.call_sid.clone();
    let call = CallRecord { call_sid, outbound, began_at, duration, end, reason, is_handed_off, totals };
    context.telemetry.record_call(call, context.calls.count());
}

/// A session that has begun, and what is needed of it once it has ended.
struct BegunSession {
    session: Box<Session>,
    /// What the call does first.
    actions: Vec<Action>,
    settings: Arc<CallSettings>,
    tools: Arc<ToolContext>,
    outbound: bool,
}

/// Registers a session and begins its call. `None` if there are too many calls.
async fn begin_session(
    context: &Arc<SessionContext>,
    mut setup: Setup,
    mut socket: RelaySocket,
    (started_at, started_on): (Instant, Timestamp),
) -> Option<BegunSession> {
    if let Err(error) = context.admit_session(&setup, started_at) {
        context.usage.monitor.report(error.limit());
        let _ = socket.send(SocketOutput::Close(1013, "too many calls")).await;
        return None;
    }
    let (registration, mailbox) = context.calls.register(&setup.call_sid, &context.hard_stop);
    registration.describe(&setup, started_on);
    let (live_calls, outbound) = (context.calls.count(), setup.is_outbound());
    info!(event = "call.connected", live_calls, outbound, "The call is connected.");

    let sid = setup.call_sid.clone();
    let due_required = context.environment.payment.due_required;
    parameters::merge_business_lookup(&mut setup, context.pending_calls.business_lookup(&sid), due_required);
    parameters::warn_of_unknown_names(&setup);
    let request = custom_parameter(&setup, CALL_REFERENCE).and_then(|own| context.pending_calls.claim(own, &sid));
    let request = request.as_ref().map(|data| &**data.reveal());
    let library = context.assets.library();
    let (agent_config, has_agent) = configure_agent(context, library.clone(), &setup);
    let settings = context.settings.of(&library, &context.environment);
    let settings = if has_agent { settings } else { Arc::new(CallSettings { has_agent, ..(*settings).clone() }) };
    let tool_context = context.tool_context(&setup, &library);
    let known = load_known_payments(&tool_context).await;
    let (call, actions) = Call::begin(settings.clone(), &setup, request, &known, Uuid::new_v4(), started_at.into_std());
    if let Some(error) = call.terms_error() {
        error!(event = "call_parameters.no_payment", %error, "The call's parameters allow no payment.");
    }
    let (tools, tool_events) = ToolRunner::new(context, tool_context.clone(), (started_at.into_std(), started_on));
    // The caller hears the greeting first. After a hand-over to this process, or without the voice webhook, nothing was
    // prepared while the call rang.
    if has_agent {
        context.response_service.prewarm(&agent_config.profile());
    }
    let session = Session {
        context: context.clone(),
        tools,
        response_service: context
            .response_service
            .for_call(library.server.model, CallIdentity::new(&setup, Some(registration.call_token()))),
        agent_config,
        call,
        inputs: Inputs::new(
            socket,
            registration.stopped(),
            context.soft_stop.child_token().cancelled_owned(),
            mailbox,
            tool_events,
        ),
        registration,
        turns: TurnRecorder::new(sid, started_at.into_std(), started_on, context.telemetry.prices()),
        external_calls: ExternalCalls::default(),
        bad_frames: 0,
        send_failed: false,
        drain_deadlines: None,
        payment_ended_at: None,
        end: None,
        closed: None,
    };
    Some(BegunSession { session: Box::new(session), actions, settings, tools: tool_context, outbound })
}

/// Returns the agent of a call, and whether there is one.
fn configure_agent(context: &SessionContext, library: Arc<Library>, setup: &Setup) -> (AgentConfig, bool) {
    match AgentConfig::new(library.clone(), &context_keys(setup)) {
        Ok(agent_config) => (agent_config.with_listed_tools(context.business_tools.listed()), true),
        Err(error) => {
            error!(event = "assets.unknown_key", %error, "The call names an unknown asset; a person takes over.");
            (AgentConfig::without_agent(library), false)
        }
    }
}

/// Forgets a call whose session has ended, and records its end. A newer session may own the call by now.
async fn forget_call(context: &SessionContext, end: CallEnd) {
    let sid = &end.call.call_sid;
    if context.calls.is_live(sid) {
        return;
    }
    context.usage.admissions.release(sid);
    context.pending_calls.remove_call(sid);
    record_call_end(context, end).await;
}

/// Records the end of a call: abandons its open payments, except those of a panicked session, which are cancelled first,
/// and lets the webhook report the call.
async fn record_call_end(context: &SessionContext, end: CallEnd) {
    let recorded = if context.reports_call_ends {
        context.ledger.report_call_end(end).await
    } else if end.is_recovered {
        Ok(())
    } else {
        context.ledger.record_call_ended(&end.call.call_sid).await
    };
    if let Err(error) = recorded {
        error!(
            event = "ledger.call_end_lost",
            %error,
            "The end of the call could be neither written nor buffered; the next start recovers its open payments."
        );
    }
}

/// Reads the known payments of a call from the ledger. If that fails the call begins without them: the ledger rejects a
/// second payment anyway when it is recorded.
async fn load_known_payments(tool_context: &ToolContext) -> payment::PriorPayments {
    match timeout(KNOWN_PAYMENTS_TIMEOUT, tool_context.ledger.load_prior_payments(&tool_context.call)).await {
        Ok(Ok(known)) => known,
        Ok(Err(error)) => {
            error!(event = "ledger.read_failed", %error, "The known payments of the call cannot be read.");
            payment::PriorPayments::default()
        }
        Err(_) => {
            error!(event = "ledger.read_failed", error = "timed out", "The known payments of the call cannot be read.");
            payment::PriorPayments::default()
        }
    }
}

/// Cancels the open payment of a panicked session, in the same way as after a crash of the server.
async fn recover_panicked_session(context: Arc<SessionContext>, call: CallSid, payment: payment::PaymentSettings) {
    error!(event = "session.panicked", "The session task panicked; its open payment, if any, is cancelled.");
    let retry_until = Instant::now() + RECOVERY_RETRY_LIMIT;
    loop {
        match context.ledger.recover_open_payments_of(&call).await {
            Ok(orphaned) => {
                return recovery::cancel_orphaned_payments(
                    context.ledger.clone(),
                    context.twilio.clone(),
                    payment,
                    orphaned,
                )
                .await;
            }
            Err(_) if Instant::now() < retry_until && !context.hard_stop.is_cancelled() => {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Err(error) => {
                return error!(
                    event = "recovery.ledger_unreadable",
                    %error,
                    "The open payments of the panicked session cannot be read; the next server start recovers them."
                );
            }
        }
    }
}

fn context_keys(setup: &Setup) -> ContextKeys {
    let key = |names: [&str; 2]| names.into_iter().find_map(|name| custom_parameter(setup, name)).map(str::to_owned);
    ContextKeys { context: key(CONTEXT_PARAMETERS), manifest: key(MANIFEST_PARAMETERS) }
}

/// Returns the value of a `<Parameter>` of the TwiML; an empty value counts as absent.
fn custom_parameter<'a>(setup: &'a Setup, name: &str) -> Option<&'a str> {
    setup.custom_parameters.reveal().get(name).map(String::as_str).filter(|value| !value.is_empty())
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
    bad_frames: u32,
    /// A write failed, and the call has not handled it yet.
    send_failed: bool,
    /// (idle deadline, hard deadline) while draining: the first applies without an open payment, the second always.
    drain_deadlines: Option<(Instant, Instant)>,
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
        // Unread messages are dropped, but payment results among them are logged.
        self.inputs.mailbox.close();
        while let Ok(message) = self.inputs.mailbox.try_recv() {
            if let SessionMessage::PaymentStatus(status) = &*message {
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
        match self.inputs.next(is_caller_gone, deadline).await {
            Input::Stop => Some(self.record_end(SessionEnd::Stopped)),
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
        [self.drain_deadline(), self.liveness_deadline(), self.write_deadline(), tick].into_iter().flatten().min()
    }

    /// Handles what is due first. What else is due has a deadline of its own, which has passed.
    async fn handle_deadline(&mut self, now: Instant) -> Option<CallEvent> {
        if self.end.is_none() && has_passed(self.write_deadline(), now) {
            return Some(self.handle_socket_closed(None));
        }
        if self.end.is_none() && has_passed(self.liveness_deadline(), now) {
            return self.check_liveness().await;
        }
        has_passed(self.call.deadline().map(Instant::from), now).then_some(CallEvent::Tick)
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
        let (idle_deadline, hard_deadline) = self.drain_deadlines?;
        let grace_end = self.payment_ended_at.map_or(idle_deadline, |ended| ended + POST_PAYMENT_GRACE);
        Some(if self.call.has_open_payment() { hard_deadline } else { grace_end.clamp(idle_deadline, hard_deadline) })
    }

    fn start_draining(&mut self) -> Option<CallEvent> {
        let now = Instant::now();
        self.drain_deadlines = Some((now + self.context.drain_timeout / 2, now + self.context.drain_timeout));
        None
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
                self.agent_config.apply_keys(&keys, Some(library));
                None
            }
            SessionMessage::ExternalToolCall(external) => self.accept_external_call(external),
            SessionMessage::ListTools(answer) => {
                let _ = answer.send(self.agent_config.profile().tools());
                None
            }
            SessionMessage::MachineAnswered => Some(CallEvent::MachineAnswered),
            SessionMessage::CallEnded => Some(self.record_end(SessionEnd::CallEnded)),
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
                Action::ReturnToolOutput { id, output } => self.external_calls.answer(id, output),
                Action::ChangeContext(keys) => self.agent_config.apply_keys(&keys, None),
                Action::Record(entry) => {
                    payment_log::log_entry(&entry, self.turns.request_id());
                    self.context.telemetry.record_payment_step(&entry);
                    if let PaymentLogEntry::ConsentAnswered(agreed) = *entry {
                        record_statement(&self.context, &self.tools.context, agreed);
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

fn has_passed(deadline: Option<Instant>, now: Instant) -> bool {
    deadline.is_some_and(|deadline| deadline <= now)
}
