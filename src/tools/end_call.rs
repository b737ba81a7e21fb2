//! `end-call`: the call ends after a goodbye.

use crate::call::Outcome;

/// Asks the call to end once the goodbye was heard.
pub(super) async fn end_call() -> Outcome {
    Outcome::EndCall
}
