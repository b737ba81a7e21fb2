//! The model's stream: what is asked of OpenAI's Responses API and what comes of it.

use std::time::Duration;

/// `Model` of serverConfig.json.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From asking to the first words or tool call, over all attempts: `firstTokenSeconds`.
    pub first_token: Duration,
    /// From asking to the end of the response: `responseSeconds`.
    pub response: Duration,
    /// How often a request is repeated before the first token: `retries`.
    pub retries: u32,
}
