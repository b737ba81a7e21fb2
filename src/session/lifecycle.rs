//! The beginning and the end of a session: which task a socket goes to, what a call begins with, and what is recorded of its end.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use jiff::Timestamp;
use tokio::time::{Instant, timeout};
use tracing::{Instrument as _, error, info, info_span};
use uuid::Uuid;

use super::agent_config::AgentConfig;
use super::claims::FAULT_TIMEOUT;
use super::external_calls::ExternalCalls;
use super::inputs::Inputs;
use super::journal::{CallJournal, KeptCall};
use super::parameters;
use super::registry::HandOverSocketError;
use super::take_up;
use super::tool_runner::ToolRunner;
use super::turn_recorder::TurnRecorder;
use super::{RelaySocket, Session, SessionContext, SessionEnd, SocketInput, SocketOutput};
use crate::assets::Library;
use crate::call::{
    Action, CONTEXT_PARAMETERS, Call, CallEnding, CallSettings, ContextKeys, MANIFEST_PARAMETERS, WallClock,
};
use crate::call_claim::{CallClaim, ClaimState};
use crate::call_identity::CallIdentity;
use crate::call_stage::CallStage;
use crate::ids::CallSid;
use crate::ledger::{CallData, CallEnd};
use crate::payment;
use crate::redact::Private;
use crate::relay::{IncomingFrame, Setup};
use crate::telemetry::{CallRecord, CallTotals};
use crate::tools::ToolContext;

/// Time limit for the first frame of a socket.
const SETUP_TIMEOUT: Duration = Duration::from_secs(10);

/// Time limit for reading the known payments of a new call from the ledger.
const KNOWN_PAYMENTS_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the recovery of a panicked session is retried while the ledger cannot be written.
const RECOVERY_RETRY_LIMIT: Duration = Duration::from_secs(300);

/// The custom parameter by which an outbound call finds its data in [`PendingCalls`].
pub(crate) const CALL_REFERENCE: &str = "callReference";

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
    context.refresh_stage(&setup.call_sid).await;
    let is_new = match context.admission.admit(&mut setup, Instant::now()) {
        Ok((session, is_new)) => {
            let stage = Some(CallStage::Connected(session));
            match is_new {
                // Every server has to know it before it is asked about the call.
                true if context.fleet.is_some() => context.write_stage_durably(&setup.call_sid, stage).await,
                true => drop(context.write_stage(&setup.call_sid, stage)),
                false => {}
            }
            is_new
        }
        Err(error) => {
            context.admission.log_refusal("socket", &error);
            let _ = socket.send(SocketOutput::Close(1008, "this socket belongs to no call of this server")).await;
            return;
        }
    };
    socket.mark_identified();
    let span = info_span!("call", call_sid = %setup.call_sid);
    match context.calls.hand_over_socket(&setup.call_sid, socket) {
        Ok(()) => {}
        Err(HandOverSocketError::UnknownCall(socket)) => {
            let was_connected = !is_new || setup.is_reconnect();
            run_session(context, setup, socket, was_connected).instrument(span).await;
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
async fn run_session(context: Arc<SessionContext>, setup: Setup, socket: RelaySocket, was_connected: bool) {
    let started = (Instant::now(), Timestamp::now());
    let begun = Box::pin(begin_session(&context, setup, socket, started, was_connected)).await;
    let Some(begun) = begun else { return };
    let BegunSession { mut session, actions, tools, outbound, call_began_on } = begun;
    let (end, ending, totals) = AssertUnwindSafe(session.run(actions)).catch_unwind().await.unwrap_or_else(|_| {
        context.tasks.spawn(recover_panicked_session(context.clone(), tools.call.clone()).in_current_span());
        (SessionEnd::Panicked, CallEnding::default(), CallTotals::default())
    });
    let sid = tools.call.call_sid.clone();
    // Twilio reports the end at once, which is not written yet.
    context.ending_calls.insert(&sid);
    // What it holds is removed with it, the registration as well.
    drop(session);
    let (started_at, started_on) = started;
    let (reason, is_handed_off) = (ending.reason.unwrap_or(end.reason()), ending.handoff_data.is_some());
    let call_end = CallEnd {
        call: tools.call.clone(),
        outbound,
        started_at: call_began_on,
        reason,
        handoff: ending.handoff_data,
        summary: ending.notes.summary,
        arguments: ending.notes.arguments,
        is_recovered: end == SessionEnd::Panicked,
    };
    if end == SessionEnd::HandedOver {
        // Another server will report its end.
        leave_call(&context, &call_end.call.call_sid);
    } else {
        Box::pin(forget_call(&context, call_end)).await;
    }
    context.ending_calls.remove(&sid);
    let (began_at, duration, end) = (started_on, started_at.elapsed(), end.as_str());
    let call = CallRecord { call_sid: sid, outbound, began_at, duration, end, reason, is_handed_off, totals };
    context.telemetry.record_call(call, context.calls.count());
}

/// A session that has begun, and what is needed of it once it has ended.
struct BegunSession {
    session: Box<Session>,
    /// What the call does first.
    actions: Vec<Action>,
    tools: Arc<ToolContext>,
    outbound: bool,
    /// When the call began, perhaps on another server.
    call_began_on: Timestamp,
}

/// Registers a session and begins its call. `None` if there are too many calls.
async fn begin_session(
    context: &Arc<SessionContext>,
    mut setup: Setup,
    mut socket: RelaySocket,
    (started_at, started_on): (Instant, Timestamp),
    was_connected: bool,
) -> Option<BegunSession> {
    let began_here = match context.admit_session(&setup, started_at) {
        Ok(was_admitted) => was_admitted && !was_connected,
        Err(error) => {
            context.usage.monitor.report(error.limit());
            let _ = socket.send(SocketOutput::Close(1013, "too many calls")).await;
            return None;
        }
    };
    let (registration, mailbox) = context.calls.register(&setup.call_sid, &context.hard_stop);
    registration.describe(&setup, started_on);
    let (live_calls, outbound) = (context.calls.count(), setup.is_outbound());
    info!(event = "call.connected", live_calls, outbound, "The call is connected.");

    let sid = setup.call_sid.clone();
    let claim = CallClaim::new(context.server);
    registration.set_claim(claim.clone());
    let left = context.claim_call(&sid, &claim, was_connected).await;
    let kept = match left.as_ref().and_then(|left| KeptCall::parse(left.state.as_ref()?)) {
        Some(kept) => {
            setup.custom_parameters = Private::new(kept.parameters.clone());
            kept
        }
        None => learn_call(context, &mut setup, left.is_some(), started_on).await,
    };
    let order = kept.order();
    let request = order.as_ref().map(|data| &**data.reveal());
    let library = context.assets.library();
    let (agent_config, has_agent) = configure_agent(context, library.clone(), &kept.keys());
    let settings = context.settings.of(&library, &context.environment);
    let settings = if has_agent { settings } else { Arc::new(CallSettings { has_agent, ..(*settings).clone() }) };
    let reported_to =
        left.as_ref().and_then(|left| left.payment.as_ref()).map(|left| (left.payment.id, left.reported_to));
    let tool_context = context.tool_context(&setup, &library, Some(claim.clone()), reported_to);
    // A ledger that could not be asked for the claim is not waited for again. Another server may have had the call.
    let known = match claim.state() {
        ClaimState::Unclaimed if !began_here => {
            payment::PriorPayments { is_unread: true, ..payment::PriorPayments::default() }
        }
        ClaimState::Unclaimed | ClaimState::Held(_) | ClaimState::Lost => load_known_payments(&tool_context).await,
    };
    let resumed = take_up::read_left_call(left, &kept, &settings, &setup);
    if reported_to.is_some() && resumed.as_ref().is_none_or(|resumed| resumed.payment.is_none()) {
        context.cancel_left_payments(&sid, &claim).await;
    }
    let (nonce, clock) = (Uuid::new_v4(), WallClock { now: started_at.into_std(), at: started_on });
    let (call, actions) = match resumed {
        Some(resumed) => Call::resume(settings.clone(), &setup, request, &known, resumed, nonce, clock),
        None => Call::begin(settings.clone(), &setup, request, &known, nonce, clock),
    };
    if let Some(error) = call.terms_error() {
        error!(event = "call_parameters.no_payment", %error, "The call's parameters allow no payment.");
    }
    let (tools, tool_events) = ToolRunner::new(context, tool_context.clone(), (started_at.into_std(), started_on));
    // The caller hears the greeting first. After a hand-over to this process, or without the voice webhook, nothing was
    // prepared while the call rang.
    if has_agent {
        context.response_service.prewarm(&agent_config.profile());
    }
    let call_began_on = kept.started_at;
    let journal = context.journal.clone().map(|writer| CallJournal::new(writer, sid.clone(), claim, kept, started_at));
    let session = Session {
        context: context.clone(),
        tools,
        response_service: context
            .response_service
            .for_call(library.server.model, CallIdentity::new(&setup, Some(context.call_token(&registration)))),
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
        journal,
        bad_frames: 0,
        send_failed: false,
        drain: None,
        payment_ended_at: None,
        end: None,
        closed: None,
    };
    Some(BegunSession { session: Box::new(session), actions, tools: tool_context, outbound, call_began_on })
}

/// Learns what a call begins with that no server has kept: what the business says of it, or its order. `was_live`: another
/// server has had it, so that it is not greeted again.
async fn learn_call(context: &SessionContext, setup: &mut Setup, was_live: bool, began_on: Timestamp) -> KeptCall {
    let due_required = context.environment.payment.due_required;
    let lookup = context.pending_calls.business_lookup(&setup.call_sid);
    parameters::merge_business_lookup(setup, lookup, due_required);
    parameters::warn_of_unknown_names(setup);
    if was_live {
        setup.mark_as_reconnect();
    }
    let order = match custom_parameter(setup, CALL_REFERENCE) {
        Some(own) => context.find_order(own, &setup.call_sid).await,
        None => None,
    };
    KeptCall::new(began_on, setup, order.as_ref(), context_keys(setup))
}

/// Returns the agent of a call, and whether there is one.
fn configure_agent(context: &SessionContext, library: Arc<Library>, keys: &ContextKeys) -> (AgentConfig, bool) {
    match AgentConfig::new(library.clone(), keys) {
        Ok(agent_config) => (agent_config.with_listed_tools(context.business_tools.listed()), true),
        Err(error) => {
            error!(event = "assets.unknown_key", %error, "The call names an unknown asset; a person takes over.");
            (AgentConfig::without_agent(library), false)
        }
    }
}

/// Forgets a call whose session has ended, and records its end. A newer session, here or on another server, may own the call
/// by now.
async fn forget_call(context: &SessionContext, end: CallEnd) {
    let sid = &end.call.call_sid;
    if context.calls.is_live(sid) {
        return;
    }
    leave_call(context, sid);
    record_call_end(context, end).await;
}

/// Forgets what only this server knew of a call.
fn leave_call(context: &SessionContext, sid: &CallSid) {
    context.usage.admissions.release(sid);
    context.pending_calls.remove_call(sid);
}

/// Records the end of a call: abandons its open payments, except those of a panicked session, which are cancelled first,
/// and lets the webhook report the call.
pub(super) async fn record_call_end(context: &SessionContext, end: CallEnd) {
    let recorded = if context.reports_call_ends {
        context.ledger.report_call_end(end).await
    } else if end.is_recovered {
        Ok(())
    } else {
        context.ledger.record_call_ended(&end.call).await
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
    let patience = tool_context.ledger.fault().map_or(KNOWN_PAYMENTS_TIMEOUT, |_| FAULT_TIMEOUT);
    match timeout(patience, tool_context.ledger.load_prior_payments(&tool_context.call)).await {
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
async fn recover_panicked_session(context: Arc<SessionContext>, call: CallData) {
    error!(event = "session.panicked", "The session task panicked; its open payment, if any, is cancelled.");
    let retry_until = Instant::now() + RECOVERY_RETRY_LIMIT;
    loop {
        match context.ledger.recover_open_payments_of(&call.call_sid, call.claim.as_ref()).await {
            Ok(orphaned) => {
                context.cancel_payments(orphaned).await;
                if let Some(claim) = &call.claim {
                    context.release_call(&call.call_sid, claim).await;
                }
                return;
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

pub(super) fn context_keys(setup: &Setup) -> ContextKeys {
    let key = |names: [&str; 2]| names.into_iter().find_map(|name| custom_parameter(setup, name)).map(str::to_owned);
    ContextKeys { context: key(CONTEXT_PARAMETERS), manifest: key(MANIFEST_PARAMETERS) }
}

/// Returns the value of a `<Parameter>` of the TwiML; an empty value counts as absent.
pub(super) fn custom_parameter<'a>(setup: &'a Setup, name: &str) -> Option<&'a str> {
    setup.custom_parameters.reveal().get(name).map(String::as_str).filter(|value| !value.is_empty())
}
