//! The tools that run outside of the call, one file each: async functions that do I/O, and `change-context`, which needs
//! the library of contexts and manifests.
//!
//! A tool gets validated arguments from the call, never raw arguments of the model, and returns a [`ToolOutcome`]. The
//! call applies the outcome to the conversation. All other tools act in the call itself and have no function here.
//!
//! A new tool takes two places and its definition in the manifest. The first is its row in the table of
//! `call::tool_request`, whose request the compiler then wants performed by `Call::perform`. The second, only if the
//! tool does I/O, is its [`Tool`] and an async function here, which [`run`] has to call.

mod business_tool;
mod change_context;
mod do_not_call;
mod recording;
mod send_receipt;
mod send_sms;
mod start_capture;
mod update_payment;

pub(crate) use recording::control_recording;
pub(crate) use start_capture::open_session;
pub(crate) use update_payment::update_payment;

use std::sync::Arc;

use tracing::{error, warn};

use crate::assets::Library;
use crate::business_tools::{BusinessTool, BusinessToolClient};
use crate::call::{Tool, ToolOutcome};
use crate::ledger::{self, CallData, Ledger};
use crate::llm::Profile;
use crate::payment::{PaymentId, TwilioResponse};
use crate::receipts::ReceiptSender;
use crate::twilio::{self, TwilioClient};
use crate::usage_limits::Usage;

/// The services that the tools of a call use.
#[derive(Debug, Clone)]
pub(crate) struct ToolContext {
    /// Twilio's REST API.
    pub twilio: Arc<TwilioClient>,
    /// The client for a payment that another server had begun, to which Twilio reports on it.
    pub taken_up: Option<(PaymentId, Arc<TwilioClient>)>,
    /// The ledger of payments, which also enforces the velocity limits.
    pub ledger: Ledger,
    /// The call on which the tools run.
    pub call: CallData,
}

impl ToolContext {
    /// The client for the requests of a payment.
    fn client_for(&self, payment: PaymentId) -> &TwilioClient {
        match &self.taken_up {
            Some((taken_up, client)) if *taken_up == payment => client,
            _ => &self.twilio,
        }
    }
}

/// What the tools of a call use of its agent.
#[derive(Debug)]
pub(crate) struct AgentTools {
    /// The contexts and manifests of the call.
    pub library: Arc<Library>,
    /// The instructions and tools in use.
    pub profile: Arc<Profile>,
    /// Runs the tools of the business.
    pub business: Arc<BusinessToolClient>,
    /// The counts that the limits apply to.
    pub usage: Arc<Usage>,
    /// Sends receipts.
    pub receipts: ReceiptSender,
}

impl AgentTools {
    /// The tool of the business that `tool` is, if the call has it.
    pub(crate) fn business_tool(&self, tool: &Tool) -> Option<&BusinessTool> {
        match tool {
            Tool::Business { name, .. } => self.profile.business_tools().get(name).map(|tool| &**tool),
            _ => None,
        }
    }
}

/// Runs a tool.
pub(crate) async fn run(context: &ToolContext, agent: &AgentTools, tool: Tool) -> ToolOutcome {
    match tool {
        Tool::StartCapture(create) => start_capture::start_capture(context, &create).await,
        Tool::UpdatePayment(update) => update_payment(context, &update).await,
        Tool::SendSms { to, body } => send_sms::send_sms(context, agent, &to, &body).await,
        Tool::SendReceipt(sid) => send_receipt::send_receipt(agent, &sid).await,
        Tool::DoNotCall { number } => do_not_call::do_not_call(context, &number).await,
        Tool::ChangeContext { keys, .. } => change_context::change_context(&agent.library, keys),
        Tool::Business { name, arguments } => business_tool::business_tool(context, agent, &name, &arguments).await,
    }
}

/// Converts the result of a Twilio request into the response for the payment.
fn to_twilio_response(answer: Result<TwilioResponse, twilio::TwilioError>) -> TwilioResponse {
    match answer {
        Ok(answer) => answer,
        Err(error) if error.is_gone() => TwilioResponse::Gone,
        Err(twilio::TwilioError::Unknown(_)) => TwilioResponse::Unknown,
        Err(error) => TwilioResponse::Refused { code: error.code(), reason: error.describe_payment_failure() },
    }
}

/// Logs a refusal of the ledger and converts it into a tool outcome. Twilio is not asked.
fn refusal_outcome(context: &ToolContext, refusal: &ledger::RecordRequestError) -> ToolOutcome {
    if let ledger::RecordRequestError::LimitExceeded(bar) = refusal {
        context.ledger.report_limit(*bar);
        warn!(
            event = "payment.limit_exceeded",
            call_sid = %context.call.call_sid,
            limit = %bar,
            "A velocity limit stopped a payment."
        );
        return ToolOutcome::LimitExceeded(refusal.model_message());
    }
    warn!(event = "payment.refused_by_ledger", error = %refusal, "The ledger refused a payment request.");
    if let ledger::RecordRequestError::OrderHasPayment(payment) = refusal {
        return ToolOutcome::OrderHasPayment(*payment);
    }
    if let ledger::RecordRequestError::RecentlyPaid { amount, minutes } = *refusal {
        return ToolOutcome::RecentlyPaid { amount, minutes };
    }
    ToolOutcome::Payment(TwilioResponse::Refused { code: None, reason: refusal.model_message() })
}

/// Logs a response that could be neither written nor buffered. The request is in the ledger, and Twilio's callbacks
/// report the rest.
fn log_lost_response(answer: Result<(), ledger::LedgerError>) {
    if let Err(error) = answer {
        error!(event = "ledger.response_lost", %error, "A response of Twilio could be neither written nor buffered.");
    }
}
