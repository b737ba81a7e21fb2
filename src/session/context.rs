//! What all sessions share: the state and the services of a server.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::admission::{MAX_REMEMBERED_CALLS, SocketAdmission};
use super::claims::EndingCalls;
use super::hand_over::HandOvers;
use super::lifecycle::record_call_end;
use super::registry::Registration;
use super::{CONTEXT_KEY, CallRegistry, JournalWriter, MANIFEST_KEY, PendingCalls, SharedSettings};
use crate::assets::{CurrentAssets, Library};
use crate::business_tools::BusinessToolClient;
use crate::call::{CallEnvironment, ModelEvent, ToolSpec};
use crate::call_claim::CallClaim;
use crate::call_stage::CallStage;
use crate::call_token::CallToken;
use crate::fleet::Fleet;
use crate::ids::CallSid;
use crate::ledger::{CallData, CallEnd, Ledger, LedgerError};
use crate::llm::Profile;
use crate::log_limit::LogLimiter;
use crate::payment::PaymentId;
use crate::redact::Private;
use crate::relay::Setup;
use crate::response_service::ResponseService;
use crate::server_id::ServerId;
use crate::telemetry::Telemetry;
use crate::tools::ToolContext;
use crate::usage_limits::{AdmissionError, CallerKey, Usage};
use crate::{payment, twilio};

/// How long a webhook waits until a stage of a call is durable, or known.
const STAGE_WRITE_LIMIT: Duration = Duration::from_millis(500);

/// The state and services that all sessions share.
#[derive(Debug)]
pub struct SessionContext {
    /// What answers the callers.
    pub response_service: ResponseService,
    /// The current configuration and agent files. A call reads them once, when it begins.
    pub assets: Arc<CurrentAssets>,
    /// The settings from environment variables.
    pub environment: Arc<CallEnvironment>,
    /// The settings of calls.
    pub(crate) settings: SharedSettings,
    /// The client for Twilio's REST API.
    pub twilio: Arc<twilio::TwilioClient>,
    /// Runs the tools of the business.
    pub business_tools: Arc<BusinessToolClient>,
    /// Writes what another server needs to take calls up; `None` if the ledger has no key to seal it with.
    pub(crate) journal: Option<JournalWriter>,
    /// Where all measurements go.
    pub(crate) telemetry: Arc<Telemetry>,
    /// The payment ledger.
    pub ledger: Ledger,
    /// Limits the log lines that anyone can cause.
    pub(crate) log_limiter: Arc<LogLimiter>,
    /// This server.
    pub server: ServerId,
    /// The servers that share the ledger; `None` if this one has it alone.
    pub fleet: Option<Arc<Fleet>>,
    /// The calls without a living server whose payments this one cancels.
    pub(crate) ending_calls: EndingCalls,
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
    /// When the server began to drain, and which calls it has handed over.
    pub(crate) hand_overs: HandOvers,
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
    /// by its voice webhook or its order, or whose session failed, is never refused. Returns whether it was admitted before.
    pub(super) fn admit_session(&self, setup: &Setup, now: Instant) -> Result<bool, AdmissionError> {
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

    /// Remembers that a call has reached a stage, also over a restart. Waits until that is durable, but not for a ledger that
    /// cannot be written.
    pub(crate) async fn record_stage(&self, call: &CallSid, stage: CallStage) {
        if self.admission.record_stage(call, stage, Instant::now()) {
            self.write_stage_durably(call, Some(stage)).await;
        }
    }

    /// Forgets how far a call has come that a person sends back to the agent.
    pub(crate) async fn begin_anew(&self, call: &CallSid) {
        self.admission.forget_stage(call, Instant::now());
        self.write_stage_durably(call, None).await;
    }

    /// As [`write_stage`](Self::write_stage), and waits for it.
    pub(super) async fn write_stage_durably(&self, call: &CallSid, stage: Option<CallStage>) {
        let _ = timeout(STAGE_WRITE_LIMIT, self.write_stage(call, stage)).await;
    }

    /// Learns how far a call has come on another server. Nothing is learnt of a call that is live here, or while the ledger
    /// cannot be read.
    pub(crate) async fn refresh_stage(&self, call: &CallSid) {
        if self.fleet.is_none() || self.calls.is_live(call) {
            return;
        }
        if let Ok(Ok(stage)) = timeout(STAGE_WRITE_LIMIT, self.ledger.load_call_stage(call)).await {
            self.admission.forget_stage(call, Instant::now());
            if let Some(stage) = stage {
                self.admission.record_stage(call, stage, Instant::now());
            }
        }
    }

    pub(super) fn write_stage(&self, call: &CallSid, stage: Option<CallStage>) -> JoinHandle<()> {
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
        let order = match self.pending_calls.find(call) {
            None if self.fleet.is_some() => self.take_order(call).await,
            order => order,
        };
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

    /// The token of a session, which names this server where several share the ledger.
    pub(super) fn call_token(&self, registration: &Registration) -> CallToken {
        let token = registration.call_token();
        match &self.fleet {
            Some(fleet) => token.at_server(self.admission.tokens().server_tag(fleet.id())),
            None => token,
        }
    }

    /// Counts the event of the model if it is a tool call.
    pub(super) fn count_tool_call(&self, event: &ModelEvent) {
        if let ModelEvent::ToolCall(call) = event {
            self.telemetry.record_tool_call(ToolSpec::find(&call.name).map(|tool| tool.name));
        }
    }

    /// Returns the services that the tools of a call use. Twilio reports on the payment that was taken up to its first server.
    pub(super) fn tool_context(
        &self,
        setup: &Setup,
        library: &Library,
        claim: Option<CallClaim>,
        taken_up: Option<(PaymentId, Option<ServerId>)>,
    ) -> Arc<ToolContext> {
        let ledger = self.ledger.with_limits(library.server.limits.clone(), self.environment.payment.currency);
        let mut call = CallData::from_setup(setup);
        call.attestation = self.pending_calls.attestation(&setup.call_sid);
        call.claim = claim;
        let taken_up = taken_up.map(|(payment, server)| (payment, self.client_reporting_to(server)));
        Arc::new(ToolContext { twilio: self.twilio.clone(), taken_up, ledger, call })
    }
}
