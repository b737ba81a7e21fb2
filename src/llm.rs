//! The model's stream: what is asked of OpenAI's Responses API and what comes of it.

mod body;
mod event;
mod model;
mod profile;
mod response;
mod transport;

use std::time::Duration;

pub use model::{BadConfig, Model};
pub use profile::Profile;

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

#[cfg(test)]
mod tests;
