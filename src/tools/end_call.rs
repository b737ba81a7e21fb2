//! `end-call`: the call ends after a goodbye.

use crate::call::Outcome;
use crate::redact::Private;

/// Asks the call to end once the goodbye was heard.
pub(super) async fn end_call(summary: Private<String>) -> Outcome {
    Outcome::EndCall { summary }
}
