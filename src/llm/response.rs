//! One response of the model: attempts, time limits, and events for the call.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_openai::error::OpenAIError;
use async_openai::types::stream::StreamResponse;
use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::body::RequestBody;
use super::event::{ParseEventError, StreamEvent, TokenUsage};
use super::model::{Model, ModelInner};
use super::transport::TransportError;
use super::{ModelLimits, Profile};
use crate::call::{ModelEvent, ModelRequest, ToolCall};
use crate::redact::Private;

/// The longest wait before a retry. If OpenAI asks for more, there is no retry, since a caller is waiting.
const MAX_RETRY_WAIT: Duration = Duration::from_secs(1);

impl Model {
    /// Requests a response. The time limits start now; the request is sent when the stream is first polled.
    ///
    /// The last event, and no other, is `Completed` or `Failed`. A poll may be cancelled without loss of events; dropping
    /// the stream cancels the request.
    pub fn respond(&self, profile: Arc<Profile>, request: ModelRequest) -> BoxStream<'static, ModelEvent> {
        Box::pin(stream::unfold(ResponseStream::new(self, profile, request), ResponseStream::next))
    }
}

/// The time limit between two events of the stream, unless the limit for the first token is longer.
const STREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// The state of the stream that [`Model::respond`] returns.
pub(super) struct ResponseStream {
    model: Arc<ModelInner>,
    safety_identifier: Option<Arc<str>>,
    limits: ModelLimits,
    profile: Arc<Profile>,
    request: ModelRequest,
    started: Instant,
    attempts: u32,
    backoff: ExponentialBackoff,
    /// The events of the current attempt, once its headers have arrived.
    events: Option<StreamResponse<Box<RawValue>>>,
    first_token: Option<Duration>,
    /// Whether text or a function call was passed on.
    has_output: bool,
    /// Reasoning items that precede a function call that has not arrived yet. Without a call the API rejects them.
    pending_reasoning: Vec<Box<RawValue>>,
    /// Whether the next function call follows reasoning items that were passed on.
    follows_reasoning: bool,
    queue: VecDeque<ModelEvent>,
    is_finished: bool,
}

impl ResponseStream {
    pub(super) fn new(model: &Model, profile: Arc<Profile>, request: ModelRequest) -> Self {
        let limits = model.limits();
        let waits = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(100))
            .with_max_times(limits.retries as usize)
            .with_jitter()
            .build();
        Self {
            model: model.inner.clone(),
            safety_identifier: model.safety_identifier(),
            limits,
            profile,
            request,
            started: Instant::now(),
            attempts: 0,
            backoff: waits,
            events: None,
            first_token: None,
            has_output: false,
            pending_reasoning: Vec::new(),
            follows_reasoning: false,
            queue: VecDeque::new(),
            is_finished: false,
        }
    }

    /// Returns the next event for the call, and the state after it.
    pub(super) async fn next(mut self) -> Option<(ModelEvent, Self)> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Some((event, self));
            }
            if self.is_finished {
                return None;
            }
            if timeout_at(self.deadline(), self.advance()).await.is_err() {
                self.fail("the time limit was reached", None);
            }
        }
    }

    fn deadline(&self) -> Instant {
        let limits = &self.limits;
        let limit = if self.first_token.is_none() { limits.first_token.min(limits.response) } else { limits.response };
        self.started + limit
    }

    async fn advance(&mut self) {
        if let Err(failure) = self.step().await {
            self.retry(failure).await;
        }
    }

    /// Opens the stream, or handles one event of it.
    async fn step(&mut self) -> Result<(), TransportError> {
        let Some(events) = &mut self.events else {
            self.events = Some(self.open_stream().await?);
            return Ok(());
        };
        let Ok(event) = timeout(STREAM_IDLE_TIMEOUT.max(self.limits.first_token), events.next()).await else {
            return Err(TransportError::StreamClosed);
        };
        match event {
            Some(Ok(raw)) => match StreamEvent::parse(&raw) {
                Ok(event) => return self.apply_event(event),
                Err(ParseEventError(kind)) => {
                    tracing::debug!(
                        event = "openai.event_unreadable",
                        kind,
                        "An event that cannot be read is skipped."
                    );
                }
            },
            Some(Err(OpenAIError::JSONDeserialize(..))) => {
                tracing::debug!(event = "openai.event_not_json", "An event that is not JSON is skipped.");
            }
            Some(Err(_)) | None => return Err(TransportError::StreamClosed),
        }
        Ok(())
    }

    async fn open_stream(&mut self) -> Result<StreamResponse<Box<RawValue>>, TransportError> {
        self.attempts += 1;
        // Half of the time limit if retries are left, so that one is possible when a connection has died unnoticed.
        let limits = &self.limits;
        let limit = if self.attempts <= limits.retries { limits.first_token / 2 } else { limits.first_token };
        let capabilities = &self.model.capabilities;
        let mut options = capabilities.options();
        loop {
            let (input, caller) = (&self.request.input, self.safety_identifier.as_deref());
            let body = RequestBody::new(&self.model.name, &self.profile, input, &options, caller);
            let responses = self.model.client.responses();
            match timeout(limit, responses.create_stream_byot(body)).await {
                Ok(Ok(events)) => {
                    capabilities.learn_success(&options);
                    return Ok(events);
                }
                Ok(Err(error)) => {
                    let failure = TransportError::from(error);
                    let adapted = failure.refusal().and_then(|refusal| capabilities.learn_refusal(refusal, &options));
                    options = adapted.ok_or(failure)?;
                }
                Err(_) => return Err(TransportError::Timeout),
            }
        }
    }

    fn apply_event(&mut self, event: StreamEvent) -> Result<(), TransportError> {
        match event {
            StreamEvent::Text(text) => {
                self.mark_first_token();
                self.discard_reasoning();
                if !text.is_empty() {
                    self.has_output = true;
                    self.queue.push_back(ModelEvent::TextDelta(Private::new(text)));
                }
            }
            StreamEvent::MessagePhase(phase) => self.queue.push_back(ModelEvent::MessagePhase(phase)),
            StreamEvent::Arguments => self.mark_first_token(),
            StreamEvent::Reasoning(item) => {
                self.model.capabilities.learn_reasoning();
                self.pending_reasoning.push(item);
            }
            StreamEvent::Message => self.discard_reasoning(),
            StreamEvent::Call(call) => {
                self.mark_first_token();
                self.has_output = true;
                self.follows_reasoning |= !self.pending_reasoning.is_empty();
                self.queue.extend(self.pending_reasoning.drain(..).map(ModelEvent::Reasoning));
                let item_id = call.item_id.filter(|_| self.follows_reasoning);
                self.queue.push_back(ModelEvent::ToolCall(ToolCall { item_id, ..call }));
            }
            StreamEvent::Completed(usage) => self.complete("completed", &usage),
            StreamEvent::Incomplete(usage) if self.has_output => self.complete("incomplete", &usage),
            StreamEvent::Incomplete(_) => self.fail("the response ended without output", None),
            StreamEvent::Failed(fault) => return Err(TransportError::ResponseFailed(fault)),
            StreamEvent::Other => {}
        }
        Ok(())
    }

    fn mark_first_token(&mut self) {
        self.first_token.get_or_insert_with(|| self.started.elapsed());
    }

    /// Discards reasoning items before text. They need not be sent back, and could be only with the very item that
    /// followed them.
    fn discard_reasoning(&mut self) {
        self.pending_reasoning.clear();
        self.follows_reasoning = false;
    }

    /// Waits for the next attempt, if a retry is allowed, or fails.
    async fn retry(&mut self, failure: TransportError) {
        self.events = None;
        self.pending_reasoning.clear();
        let may_repeat = self.first_token.is_none() && failure.is_retryable();
        let requested_wait = failure.retry_after().unwrap_or_default();
        let wait = self.backoff.next().filter(|_| may_repeat && requested_wait <= MAX_RETRY_WAIT);
        let wait = wait.map(|wait| wait.max(requested_wait).min(MAX_RETRY_WAIT));
        let Some(wait) = wait.filter(|wait| Instant::now() + *wait < self.deadline()) else {
            return self.fail("no attempt succeeded", Some(&failure));
        };
        let code = failure.error_info().and_then(|fault| fault.code.as_deref());
        let cause = failure.root_cause();
        tracing::info!(
            event = "openai.retry",
            attempt = self.attempts,
            error = %failure,
            cause,
            error_code = code,
            ?wait,
            "The request to the model will be repeated."
        );
        sleep(wait).await;
    }

    fn complete(&mut self, status: &'static str, usage: &TokenUsage) {
        tracing::info!(
            event = "openai.response_ended",
            request = self.request.id.0,
            status,
            attempts = self.attempts,
            first_token_ms = self.first_token.map(milliseconds),
            response_ms = milliseconds(self.started.elapsed()),
            input_tokens = usage.input,
            cached_tokens = usage.cached,
            output_tokens = usage.output,
            reasoning_tokens = usage.reasoning,
            "The model has responded."
        );
        self.finish(ModelEvent::Completed);
    }

    fn fail(&mut self, reason: &'static str, failure: Option<&TransportError>) {
        let fault = failure.and_then(TransportError::error_info);
        tracing::warn!(
            event = "openai.response_failed",
            request = self.request.id.0,
            reason,
            error = failure.map(tracing::field::display),
            cause = failure.and_then(TransportError::root_cause),
            error_code = fault.and_then(|fault| fault.code.as_deref()),
            error_type = fault.and_then(|fault| fault.kind.as_deref()),
            attempts = self.attempts,
            first_token_ms = self.first_token.map(milliseconds),
            response_ms = milliseconds(self.started.elapsed()),
            "The model did not respond."
        );
        self.finish(ModelEvent::Failed);
    }

    fn finish(&mut self, event: ModelEvent) {
        self.events = None;
        self.is_finished = true;
        self.queue.push_back(event);
    }
}

fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}
