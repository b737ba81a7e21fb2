//! Evidence of one payment for a dispute or an assessor: all that the ledger has about it, as Markdown and as JSON.
//!
//! Both are signed like requests to the business: HMAC-SHA256 of the timestamp, a full stop and the content. Neither
//! contains card data or a token.

mod clean;
mod describe;
mod markdown;
mod report;
mod signed;
#[cfg(test)]
mod tests;

pub use report::{EvidenceOrigin, PaymentEvidence};
pub use signed::{VerifiedEvidence, VerifyEvidenceError, verify_evidence};
