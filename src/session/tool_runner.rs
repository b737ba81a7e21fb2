//! Runs the tools of one call, and reports to the task that owns the call.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::SendError;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;
use tracing::{Instrument, info, warn};

use super::SessionContext;
use super::agent_config::AgentConfig;
use crate::business_tools::BusinessToolClient;
use crate::call::{CallEvent, ReceiptNews, Tool, ToolOutcome, ToolRunId, ToolSpec};
use crate::payment::TwilioResponse;
use crate::receipts::ReceiptSender;
use crate::telemetry::{self, LateTool, Telemetry, ToolResult, ToolSpan};
use crate::tools::{self, AgentTools, ToolContext};
use crate::usage_limits::Usage;

/// Time limit for one tool run. The Twilio client and the tools of the business time out earlier.
pub(super) const TOOL_TIMEOUT: Duration = Duration::from_secs(16);

/// How long a tool of the business may take before the caller is told to wait.
const SPEAK_DELAY: Duration = Duration::from_millis(700);

/// What a tool reports to the task that owns the call.
#[derive(Debug)]
pub(super) struct ToolEvent {
    /// What the call is told.
    pub(super) event: CallEvent,
    /// What the run took, if the tool has finished.
    pub(super) span: Option<ToolSpan>,
}

/// Runs the tools of one call, and sends their outcomes to the task that owns the call.
pub(super) struct ToolRunner {
    /// The services that the tools use.
    pub(super) context: Arc<ToolContext>,
    business: Arc<BusinessToolClient>,
    usage: Arc<Usage>,
    receipts: ReceiptSender,
    telemetry: Arc<Telemetry>,
    /// When the session began.
    began: (std::time::Instant, Timestamp),
    /// Boxed, since a channel reserves room for 32 events.
    pub(super) events: mpsc::Sender<Box<ToolEvent>>,
    pub(super) tasks: TaskTracker,
}

impl ToolRunner {
    /// Creates a runner, and the receiver of its events.
    pub(super) fn new(
        session: &SessionContext,
        context: Arc<ToolContext>,
        began: (std::time::Instant, Timestamp),
    ) -> (Self, mpsc::Receiver<Box<ToolEvent>>) {
        let (events, received) = mpsc::channel(16);
        let (business, usage, tasks) = (session.business_tools.clone(), session.usage.clone(), session.tasks.clone());
        let (telemetry, receipts) = (session.telemetry.clone(), ReceiptSender::new(session));
        (Self { context, business, usage, receipts, telemetry, began, events, tasks }, received)
    }

    /// Runs a tool in a separate task, so that it finishes even if the call ends first.
    pub(super) fn spawn(&self, agent: &AgentConfig, run: ToolRunId, tool: Tool) {
        let agent = AgentTools {
            library: agent.library(),
            profile: agent.profile(),
            business: self.business.clone(),
            usage: self.usage.clone(),
            receipts: self.receipts.clone(),
        };
        let business = agent.business_tool(&tool);
        // An unknown name is the model's own text.
        let name = match (&tool, &business) {
            (Tool::Business { .. }, None) => "unknown",
            _ => tool.name(),
        };
        info!(event = "session.tool_started", tool = name, "A tool has started.");
        // The names of the business's own tools are no closed set.
        let kind = ToolSpec::find(name).map_or("business", |tool| tool.name);
        let (name, speak) = (name.to_owned(), business.and_then(|tool| tool.speak.clone()));
        let (context, events) = (self.context.clone(), self.events.clone());
        let (telemetry, call_began) = (self.telemetry.clone(), self.began);
        let work = async move {
            let started = Instant::now().into_std();
            let mut work = pin!(AssertUnwindSafe(tools::run(&context, &agent, tool)).catch_unwind());
            let delayed = async {
                if let Some(text) = speak {
                    sleep(SPEAK_DELAY).await;
                    let event = CallEvent::ToolDelayed { run, text };
                    let _ = events.send(Box::new(ToolEvent { event, span: None })).await;
                }
                std::future::pending().await
            };
            let finished = async {
                tokio::select! {
                    biased;
                    outcome = &mut work => outcome,
                    outcome = delayed => outcome,
                }
            };
            let (outcome, twilio) = telemetry::measure_twilio_work(timeout(TOOL_TIMEOUT, finished)).await;
            let outcome = match outcome {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) => ToolOutcome::NoResult,
                Err(_) => {
                    warn!(event = "session.tool_timed_out", tool = name, "A tool timed out.");
                    ToolOutcome::NoResult
                }
            };
            let (finished, result) = (Instant::now().into_std(), ToolResult::from(&outcome));
            let span = ToolSpan { name: kind, started, finished, twilio, result };
            telemetry.record_tool(&span);
            let event = CallEvent::ToolFinished { run, outcome };
            // The receiver is closed only if the session task has ended.
            if let Err(SendError(unsent)) = events.send(Box::new(ToolEvent { event, span: Some(span) })).await
                && let Some(tool) = unsent.span
            {
                telemetry.record_late_tool(LateTool { call_sid: context.call.call_sid.clone(), call_began, tool });
            }
        };
        self.tasks.spawn(work.in_current_span());
    }
}

impl From<&ToolOutcome> for ToolResult {
    fn from(outcome: &ToolOutcome) -> Self {
        match outcome {
            ToolOutcome::Payment(TwilioResponse::Created(_) | TwilioResponse::Accepted)
            | ToolOutcome::Context(Ok(_))
            | ToolOutcome::Sms(Ok(()))
            | ToolOutcome::Receipt(ReceiptNews::Sent)
            | ToolOutcome::DoNotCall { is_listed: true }
            | ToolOutcome::Business(Ok(_)) => Self::Done,
            ToolOutcome::Payment(TwilioResponse::Refused { .. } | TwilioResponse::Gone)
            | ToolOutcome::OrderHasPayment(_)
            | ToolOutcome::RecentlyPaid { .. }
            | ToolOutcome::NotPaused
            | ToolOutcome::DoNotCall { is_listed: false }
            | ToolOutcome::Context(Err(_))
            | ToolOutcome::Sms(Err(_))
            | ToolOutcome::Receipt(ReceiptNews::NoTextMessages | ReceiptNews::NotSent)
            | ToolOutcome::Business(Err(_)) => Self::Refused,
            ToolOutcome::LimitExceeded(_) => Self::LimitExceeded,
            ToolOutcome::Payment(TwilioResponse::Unknown)
            | ToolOutcome::Receipt(ReceiptNews::Unknown)
            | ToolOutcome::NoResult => Self::Unknown,
        }
    }
}
