//! One prediction: the request, time limits, and events for the call.

use std::collections::VecDeque;
use std::iter;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use futures_util::stream::{self, BoxStream};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Response, StatusCode};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{debug, warn};

use super::abort::AbortOnDrop;
use super::answer::{AnswerReader, AnswerTooLargeError};
use super::event::FlowiseEvent;
use super::{FlowiseCall, FlowiseClient};
use crate::call::{ModelEvent, ModelRequest, ModelRequestId};
use crate::llm::MarkupFilter;
use crate::llm::ModelLimits;
use crate::redact::Private;
use crate::telemetry::{ModelFailure, ResponseReport, TokenUsage};

/// The time limit for the headers, which Flowise sends before it runs the flow, unless the flow is known not to stream. It
/// never answers for a flow that does not exist.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(3);

/// The time limit between two parts of the answer, unless the limit for the first token is longer.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// The time limit between two parts of the answer while the flow calls tools: a little longer than ours take.
const TOOLS_IDLE_TIMEOUT: Duration = Duration::from_secs(25);

/// How long something may still follow an `end` that was not the last one: each step of a flow sends one.
const END_GRACE: Duration = Duration::from_millis(500);

/// The maximum size of the text of an answer, in bytes: about an hour of speech.
const MAX_TEXT_BYTES: usize = 64 * 1024;

/// The maximum number of parts that are read without a pause for other tasks.
const EVENTS_PER_POLL: usize = 64;

/// The state of the stream that [`FlowiseCall::respond`] returns.
pub(super) struct PredictionStream {
    client: Arc<FlowiseClient>,
    limits: ModelLimits,
    url: String,
    headers_limit: Duration,
    request: ModelRequestId,
    body: String,
    abort: AbortOnDrop,
    started: Instant,
    attempts: u32,
    backoff: ExponentialBackoff,
    /// The answer, once its headers have arrived.
    response: Option<Response>,
    reader: AnswerReader,
    events: VecDeque<FlowiseEvent>,
    first_token: Option<Duration>,
    text_bytes: usize,
    content: AnswerContent,
    has_metadata: bool,
    activity: FlowActivity,
    token_usage: Option<(u64, u64)>,
    /// Removes reasoning and tool mark-up, which a model behind the flow may leave in its text.
    markup: MarkupFilter,
    queue: VecDeque<ModelEvent>,
    is_finished: bool,
}

/// What the flow was doing when it last sent an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FlowActivity {
    /// It prepares the answer, or gives it.
    Speaking,
    /// It calls tools.
    CallingTools,
    /// It, or a step of it, has ended.
    Ended,
}

/// What has come of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum AnswerContent {
    /// Neither words nor tools.
    Nothing,
    /// Only tools: some ask the agent to say nothing.
    Tools,
    /// Words that can be spoken.
    Words,
}

/// The reason why a prediction gave no complete answer.
#[derive(Debug, thiserror::Error)]
enum PredictionError {
    /// No connection could be opened, so that nothing was sent.
    #[error("no connection")]
    NoConnection(#[source] reqwest::Error),
    /// The connection broke before the headers.
    #[error("no response")]
    NoResponse(#[source] reqwest::Error),
    /// The headers did not arrive in time.
    #[error("no response in time")]
    HeadersTimeout,
    /// The response has an error status.
    #[error("HTTP {0}")]
    ErrorStatus(StatusCode),
    /// The connection broke, or nothing arrived for too long.
    #[error("the answer broke off")]
    BrokenOff,
    /// The limit for the first token, or for the whole answer, was reached.
    #[error("the time limit was reached")]
    TimedOut,
    /// The flow reported an error.
    #[error("the flow failed")]
    FlowFailed,
    /// Somebody else stopped the prediction.
    #[error("the prediction was stopped")]
    Aborted,
    /// The answer ended without a word, and without a tool.
    #[error("the answer has no text")]
    NoWords,
    /// The answer is larger than any that a caller could listen to.
    #[error(transparent)]
    TooLarge(#[from] AnswerTooLargeError),
}

impl PredictionError {
    /// The root cause, for the log: an unknown host name or an untrusted certificate, for example.
    fn root_cause(&self) -> Option<String> {
        let source = std::error::Error::source(self);
        iter::successors(source, |error| (*error).source()).last().map(ToString::to_string)
    }

    /// The kind of failure, for the metrics.
    fn kind(&self) -> ModelFailure {
        match self {
            Self::NoConnection(_) | Self::NoResponse(_) => ModelFailure::NoResponse,
            Self::HeadersTimeout | Self::TimedOut => ModelFailure::Timeout,
            Self::ErrorStatus(status) => ModelFailure::of_status(status.as_u16()),
            Self::BrokenOff => ModelFailure::BrokenOff,
            Self::FlowFailed | Self::Aborted => ModelFailure::Reported,
            Self::NoWords | Self::TooLarge(_) => ModelFailure::Unusable,
        }
    }

    /// Whether the flow has ended, so that there is nothing to stop. A gateway that answers in place of Flowise does not
    /// stop the flow.
    fn has_ended_flow(&self) -> bool {
        match self {
            Self::ErrorStatus(status) => !matches!(
                *status,
                StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
            ),
            Self::NoConnection(_) | Self::FlowFailed | Self::Aborted | Self::NoWords => true,
            Self::NoResponse(_) | Self::HeadersTimeout | Self::BrokenOff | Self::TimedOut | Self::TooLarge(_) => false,
        }
    }
}

impl PredictionStream {
    /// Creates the stream of a prediction that was not requested yet.
    pub(super) fn new(call: &FlowiseCall, request: &ModelRequest, body: String, abort: AbortOnDrop) -> Self {
        let limits = call.limits.after_wait(request.waited);
        let waits = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(100))
            .with_max_times(limits.retries as usize)
            .with_jitter()
            .build();
        let may_stream = call.client.known_flows.may_stream(&call.chatflow_id);
        Self {
            client: call.client.clone(),
            headers_limit: if may_stream { HEADERS_TIMEOUT } else { limits.first_token },
            limits,
            url: call.client.url(&format!("prediction/{}", call.chatflow_id)),
            request: request.id,
            body,
            abort,
            started: Instant::now(),
            attempts: 0,
            backoff: waits,
            response: None,
            reader: AnswerReader::new(),
            events: VecDeque::new(),
            first_token: None,
            text_bytes: 0,
            content: AnswerContent::Nothing,
            has_metadata: false,
            activity: FlowActivity::Speaking,
            token_usage: None,
            markup: MarkupFilter::default(),
            queue: VecDeque::new(),
            is_finished: false,
        }
    }

    /// Returns the stream of events for the call.
    pub(super) fn into_events(self) -> BoxStream<'static, ModelEvent> {
        Box::pin(stream::unfold(self, Self::next))
    }

    /// Returns the next event for the call, and the state after it.
    async fn next(mut self) -> Option<(ModelEvent, Self)> {
        for steps in 1_usize.. {
            if let Some(event) = self.queue.pop_front() {
                return Some((event, self));
            }
            if self.is_finished {
                return None;
            }
            if steps.is_multiple_of(EVENTS_PER_POLL) {
                tokio::task::yield_now().await;
            }
            let advanced = timeout_at(self.deadline(), self.advance()).await;
            if let Err(error) = advanced.unwrap_or(Err(PredictionError::TimedOut)) {
                self.fail(&error);
            }
        }
        None
    }

    fn deadline(&self) -> Instant {
        let limits = &self.limits;
        let limit = if self.first_token.is_none() { limits.first_token.min(limits.response) } else { limits.response };
        self.started + limit
    }

    /// Requests the prediction, or handles one part of the answer.
    async fn advance(&mut self) -> Result<(), PredictionError> {
        if let Some(event) = self.events.pop_front() {
            return self.apply_event(event);
        }
        let idle_limit = self.idle_limit();
        let Some(response) = &mut self.response else { return self.request_prediction().await };
        match timeout(idle_limit, response.chunk()).await {
            Ok(Ok(Some(bytes))) => {
                self.abort.mark_answered();
                Ok(self.reader.push(&bytes, &mut self.events)?)
            }
            Ok(Ok(None)) => self.handle_end_of_body(),
            Err(_) if self.activity == FlowActivity::Ended => self.complete(),
            Ok(Err(_)) | Err(_) => Err(PredictionError::BrokenOff),
        }
    }

    fn idle_limit(&self) -> Duration {
        match self.activity {
            FlowActivity::Speaking => IDLE_TIMEOUT.max(self.limits.first_token),
            FlowActivity::CallingTools => TOOLS_IDLE_TIMEOUT,
            FlowActivity::Ended => END_GRACE,
        }
    }

    /// Sends the request. It is repeated only if no connection could be opened: once it was sent, the flow may run and
    /// call its tools.
    async fn request_prediction(&mut self) -> Result<(), PredictionError> {
        self.attempts += 1;
        self.abort.set_may_run(true);
        match self.send().await {
            Ok(response) => self.response = Some(response),
            Err(PredictionError::NoConnection(error)) => {
                self.abort.set_may_run(false);
                let Some(wait) = self.backoff.next() else { return Err(PredictionError::NoConnection(error)) };
                self.client
                    .telemetry
                    .record(|telemetry| telemetry.record_model_failure(ModelFailure::NoResponse, true));
                sleep(wait).await;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn send(&self) -> Result<Response, PredictionError> {
        let request = self.client.http.post(&self.url).header(CONTENT_TYPE, "application/json");
        let sent = timeout(self.headers_limit, request.body(self.body.clone()).send()).await;
        let response = sent.map_err(|_| PredictionError::HeadersTimeout)?.map_err(|error| {
            let (is_connect, error) = (error.is_connect(), error.without_url());
            if is_connect { PredictionError::NoConnection(error) } else { PredictionError::NoResponse(error) }
        })?;
        let status = response.status();
        if status.is_success() { Ok(response) } else { Err(PredictionError::ErrorStatus(status)) }
    }

    fn apply_event(&mut self, event: FlowiseEvent) -> Result<(), PredictionError> {
        match event {
            FlowiseEvent::Token(text) if text.is_empty() => {}
            FlowiseEvent::Token(text) => {
                self.mark_first_token();
                self.activity = FlowActivity::Speaking;
                self.text_bytes += text.len();
                if self.text_bytes > MAX_TEXT_BYTES {
                    return Err(AnswerTooLargeError.into());
                }
                let text = self.markup.push(&text);
                self.say(text);
            }
            FlowiseEvent::Usage { input, output } => self.token_usage = Some((input, output)),
            FlowiseEvent::Metadata => self.has_metadata = true,
            FlowiseEvent::Error => return Err(PredictionError::FlowFailed),
            FlowiseEvent::Abort => return Err(PredictionError::Aborted),
            FlowiseEvent::Tools => {
                self.mark_first_token();
                self.activity = FlowActivity::CallingTools;
                self.content = self.content.max(AnswerContent::Tools);
            }
            FlowiseEvent::End if self.has_metadata => return self.complete(),
            FlowiseEvent::End => self.activity = FlowActivity::Ended,
            FlowiseEvent::Other => {}
        }
        Ok(())
    }

    fn say(&mut self, text: String) {
        if !text.trim().is_empty() {
            self.content = AnswerContent::Words;
        }
        if !text.is_empty() {
            self.queue.push_back(ModelEvent::TextDelta(Private::new(text)));
        }
    }

    fn mark_first_token(&mut self) {
        self.first_token.get_or_insert_with(|| self.started.elapsed());
    }

    /// Handles the end of the body: the answer is complete if `end` or `metadata` came before, since `metadata` follows
    /// the last token.
    fn handle_end_of_body(&mut self) -> Result<(), PredictionError> {
        self.reader.finish(&mut self.events)?;
        match self.events.is_empty() {
            false => Ok(()),
            true if self.has_metadata || self.activity == FlowActivity::Ended => self.complete(),
            true => Err(PredictionError::BrokenOff),
        }
    }

    fn complete(&mut self) -> Result<(), PredictionError> {
        let held = self.markup.finish();
        self.say(held);
        if self.content == AnswerContent::Nothing {
            return Err(PredictionError::NoWords);
        }
        // The line of the turn has these numbers of all its responses.
        debug!(
            event = "flowise.response_ended",
            request = self.request.0,
            attempts = self.attempts,
            first_token_ms = self.first_token.map(milliseconds),
            response_ms = milliseconds(self.started.elapsed()),
            input_tokens = self.token_usage.map(|(input, _)| input),
            output_tokens = self.token_usage.map(|(_, output)| output),
            "The flow has responded."
        );
        self.abort.set_may_run(false);
        self.finish(ModelEvent::Completed);
        Ok(())
    }

    fn fail(&mut self, error: &PredictionError) {
        self.client.telemetry.record(|telemetry| telemetry.record_model_failure(error.kind(), false));
        warn!(
            event = "flowise.response_failed",
            request = self.request.0,
            reason = %error,
            cause = error.root_cause(),
            attempts = self.attempts,
            first_token_ms = self.first_token.map(milliseconds),
            response_ms = milliseconds(self.started.elapsed()),
            "The flow did not respond, or its answer broke off."
        );
        if error.has_ended_flow() {
            self.abort.set_may_run(false);
        }
        self.finish(ModelEvent::Failed);
    }

    /// Ends the stream. What is still to come is not read.
    fn finish(&mut self, event: ModelEvent) {
        self.response = None;
        self.events.clear();
        self.is_finished = true;
        let (input, output) = self.token_usage.unwrap_or_default();
        let usage = TokenUsage { input, output, ..TokenUsage::default() };
        let report = ResponseReport { attempts: self.attempts, usage, request_id: None };
        self.queue.extend([ModelEvent::Report(Box::new(report)), event]);
    }
}

fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}
