//! A client for OpenAI's Responses API with streaming.
//!
#![doc = include_str!("llm/README.md")]

mod answer_reader;
mod assembler;
#[cfg(any(feature = "simulator", test))]
mod bench;
mod body;
mod capabilities;
mod error_info;
mod event;
#[cfg(any(fuzzing, test))]
mod fuzzing;
mod inflater;
mod item;
mod json;
mod markup;
mod model;
mod model_name;
mod prewarm;
mod profile;
mod received_response;
mod refusal;
mod response;
mod shutdown_date;
mod transport;
mod websocket;

use std::time::Duration;

#[cfg(any(feature = "simulator", test))]
pub(crate) use bench::{BenchRequest, BenchResponse};
#[cfg(any(fuzzing, test))]
pub use fuzzing::check_model_stream;
#[cfg(any(fuzzing, test))]
pub(crate) use fuzzing::remove_markup;
pub(crate) use markup::MarkupFilter;
pub(crate) use model::{BuildModelError, Model};
pub(crate) use model_name::provider_name;
pub(crate) use profile::{HashedJson, Profile};
#[cfg(test)]
pub(crate) use received_response::read_body;
pub(crate) use shutdown_date::{ModelShutdown, today};
pub(crate) use websocket::try_websocket;

/// Time limits and retries of a response: `Model` of `serverConfig.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelLimits {
    /// From the request to the first text or tool call, over all attempts: `firstTokenSeconds`.
    pub first_token: Duration,
    /// From the request to the end of the response: `responseSeconds`.
    pub response: Duration,
    /// The number of retries before the first token: `retries`.
    pub retries: u32,
}

/// The time that a response may always take until its first token, unless less was asked for.
const MIN_FIRST_TOKEN: Duration = Duration::from_secs(1);

impl ModelLimits {
    /// The limits of a response for which a caller has waited so long already, in earlier requests that were interrupted and had
    /// brought nothing: a caller who asks again and again would never hear that there is no answer otherwise.
    pub(crate) fn after_wait(self, waited: Duration) -> Self {
        let rest = self.first_token.saturating_sub(waited).max(MIN_FIRST_TOKEN);
        Self { first_token: rest.min(self.first_token), ..self }
    }
}

#[cfg(test)]
mod tests;
