//! `finish-capture`: what was entered is submitted.

use super::{Desk, change};
use crate::call::Outcome;
use crate::payment::Update;

/// Submits what was entered: `Status=complete`. Accepted is not paid: the result comes by callback.
pub(super) async fn finish_capture(desk: &Desk, update: &Update) -> Outcome {
    change(desk, update).await
}
