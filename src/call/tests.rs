//! Tests of [`Call`], event by event, with event orders that are known to cause errors.

#![expect(clippy::unchecked_time_subtraction, reason = "these constants are longer than a second")]

mod business_tools;
mod call_recording;
mod caller_language;
mod charge_authorization;
mod chat;
mod disclosure;
mod endings;
mod external_calls;
mod guided_flow;
mod guided_flow_consent;
mod guided_flow_methods;
pub(super) mod harness;
mod linear_work;
mod model_response;
mod mutated_streams;
mod other_tools;
mod payment_authorization;
mod payment_methods;
mod payments;
mod progress;
mod properties;
mod receipts;
mod redaction;
mod replay;
mod resume;
mod statements;
mod uncertain_results;
mod usage;
mod velocity_limits;

use std::time::Duration;

use super::*;
use crate::payment::{Field, PaymentLogEntry, TwilioResponse, UpdateAction};
use harness::*;

const SECOND: Duration = Duration::from_secs(1);
