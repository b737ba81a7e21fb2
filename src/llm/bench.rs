//! A request and its response as the benches measure them: all of the work, and no I/O.

use std::sync::Arc;

use super::Profile;
use super::body::RequestBody;
use super::capabilities::{Capabilities, RequestOptions};
use super::model_name::ServerKind;
use super::received_response::{Progress, ReceivedResponse};
use super::transport::serialize;
use crate::call::{ConversationItem, ModelEvent, ModelRequestId};
use crate::config::{DEFAULT_BASE_URL, DEFAULT_MODEL, OpenAiConfig};

/// A response that is being received.
pub(crate) struct BenchResponse(ReceivedResponse);

impl BenchResponse {
    pub(crate) fn new() -> Self {
        Self(ReceivedResponse::new(ModelRequestId(1), false))
    }

    /// Reads a piece of the body. Returns the size of the text in it, in bytes.
    pub(crate) fn read(&mut self, piece: &[u8]) -> usize {
        let mut text_bytes = 0;
        self.0.push(piece).expect("the response is short");
        while let Progress::Continues = self.0.advance().expect("the events are valid") {
            while let Some(event) = self.0.pop_event() {
                if let ModelEvent::TextDelta(text) = event {
                    text_bytes += text.reveal().len();
                }
            }
        }
        text_bytes
    }
}

/// A request to the default model of OpenAI.
pub(crate) struct BenchRequest {
    profile: Arc<Profile>,
    input: Vec<Arc<ConversationItem>>,
    options: RequestOptions,
}

impl BenchRequest {
    pub(crate) fn new(profile: Arc<Profile>, input: Vec<Arc<ConversationItem>>) -> Self {
        let base_url = DEFAULT_BASE_URL.parse().expect("the default is valid");
        let config = OpenAiConfig::new("sk-bench".into(), DEFAULT_MODEL, base_url);
        let options = Capabilities::new(ServerKind::OpenAi, &config).options();
        Self { profile, input, options }
    }

    /// Builds its body.
    pub(crate) fn build(&self) -> String {
        let body = RequestBody::new(DEFAULT_MODEL, &self.profile, &self.input, &self.options, None);
        serialize(&body, body.estimated_bytes()).expect("every conversation is JSON")
    }
}
