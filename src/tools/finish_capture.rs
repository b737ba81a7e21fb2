//! `finish-capture`: submits the payment.

use super::{ToolContext, request_update};
use crate::call::ToolOutcome;
use crate::payment::UpdatePayment;

/// Submits what was entered: `Status=complete`. An accepted request is not yet paid: the result arrives by callback.
pub(super) async fn finish_capture(context: &ToolContext, update: &UpdatePayment) -> ToolOutcome {
    request_update(context, update).await
}
