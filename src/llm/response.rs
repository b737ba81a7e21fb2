//! One response of the model: attempts, time limits, and events for the call.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use futures_util::stream::{self, BoxStream};
use tokio::time::{Instant, sleep};

use super::body::RequestBody;
use super::model::{Model, ModelInner};
use super::received_response::{Progress, ReceivedResponse, ResponseEnd};
use super::transport::{self, OpenResponse, Phase, Piece, TransportError};
use super::{ModelLimits, Profile};
use crate::call::{InputRefusal, ModelEvent, ModelRequest, ModelRequestId};
use crate::deadline_timer::DeadlineTimer;
use crate::http_client::StreamLease;
use crate::telemetry::{ModelFailure, ResponseReport, TokenUsage};

/// The longest wait before a retry. If OpenAI asks for more, there is no retry, since a caller is waiting.
const MAX_RETRY_WAIT: Duration = Duration::from_secs(1);

/// The time limit between two events of the stream, unless the limit for the first token is longer.
const STREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// The maximum number of events that are read without a pause for other tasks.
const EVENTS_PER_POLL: usize = 64;

impl Model {
    /// Requests a response. The time limits start now; the request is sent when the stream is first polled.
    ///
    /// The last event, and no other, is `Completed`, `Failed` or `InputRefused`; the one before is `Report`. A poll may be
    /// cancelled without loss of events; dropping the stream cancels the request.
    pub(crate) fn respond(&self, profile: Arc<Profile>, request: ModelRequest) -> BoxStream<'static, ModelEvent> {
        // In a box, it is not copied from event to event.
        let response = Box::new(ResponseStream::new(self, profile, request));
        let next = async |(mut response, mut timer): (Box<ResponseStream>, _)| {
            Some((response.next(&mut timer).await?, (response, timer)))
        };
        Box::pin(stream::unfold((response, DeadlineTimer::new()), next))
    }
}

/// The state of the stream that [`Model::respond`] returns.
struct ResponseStream {
    model: Arc<ModelInner>,
    safety_identifier: Option<Arc<str>>,
    limits: ModelLimits,
    profile: Arc<Profile>,
    request: ModelRequest,
    started: Instant,
    attempts: u32,
    backoff: ExponentialBackoff,
    /// The response of the current attempt, once the server has accepted it.
    body: Option<OpenResponse>,
    /// The place of the last request on its connection, if it was sent over HTTP.
    place: Option<StreamLease>,
    /// Until when the next piece of it has to arrive.
    idle_until: Option<Instant>,
    /// Whether a WebSocket may be used. What has failed over one is repeated over HTTP.
    may_use_socket: bool,
    received: ReceivedResponse,
    first_token: Option<Duration>,
    usage: TokenUsage,
    /// OpenAI's identifier of the last request, once it has answered.
    request_id: Option<String>,
    report: Option<Box<ResponseReport>>,
    /// The last event, and that no event follows it.
    end: Option<ModelEvent>,
    is_finished: bool,
}

impl ModelInner {
    fn new_response(&self, request: ModelRequestId) -> ReceivedResponse {
        ReceivedResponse::new(request, self.leaves_reasoning_unopened.load(Relaxed))
    }

    /// Learns from an answer whether the server leaves out the beginning of reasoning. Such a server does so in every
    /// answer, so the next one without it ends the suspicion: nobody can slow all calls down by making the model say the
    /// tag once.
    fn learn_unopened_reasoning(&self, is_found: bool) {
        let was_known = self.leaves_reasoning_unopened.swap(is_found, Relaxed);
        if is_found && !was_known {
            tracing::warn!(
                event = "openai.reasoning_spoken",
                model = self.name,
                "An answer began with reasoning that was not marked as such, and was spoken; the next answers are held back until it ends."
            );
        }
    }
}

impl ResponseStream {
    fn new(model: &Model, profile: Arc<Profile>, request: ModelRequest) -> Self {
        let limits = model.limits().after_wait(request.waited);
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
            started: Instant::now(),
            attempts: 0,
            backoff: waits,
            body: None,
            place: None,
            idle_until: None,
            may_use_socket: true,
            received: model.inner.new_response(request.id),
            request,
            first_token: None,
            usage: TokenUsage::default(),
            request_id: None,
            report: None,
            end: None,
            is_finished: false,
        }
    }

    /// Returns the next event for the call. `timer` is for the time limits of the whole response.
    async fn next(&mut self, timer: &mut DeadlineTimer) -> Option<ModelEvent> {
        for steps in 1_usize.. {
            let report = || self.report.take().map(ModelEvent::Report);
            if let Some(event) = self.received.pop_event().or_else(report).or_else(|| self.end.take()) {
                return Some(event);
            }
            if self.is_finished {
                return None;
            }
            if steps.is_multiple_of(EVENTS_PER_POLL) {
                tokio::task::yield_now().await;
            }
            let deadline = self.idle_until.unwrap_or(self.deadline()).min(self.deadline());
            if timer.limit(deadline, self.advance()).await.is_none() {
                self.handle_timeout(deadline).await;
            }
        }
        None
    }

    /// The time limit of the whole response.
    fn deadline(&self) -> Instant {
        let limits = &self.limits;
        let limit = if self.first_token.is_none() { limits.first_token.min(limits.response) } else { limits.response };
        self.started + limit
    }

    async fn handle_timeout(&mut self, deadline: Instant) {
        if deadline < self.deadline() {
            return self.handle_failure(TransportError::TimedOut(Phase::Idle)).await;
        }
        let failure = TransportError::TimedOut(self.phase());
        self.leave_dead_connection(&failure);
        self.break_off("the time limit was reached", Some(&failure));
    }

    /// What is being waited for.
    fn phase(&self) -> Phase {
        match (&self.body, self.first_token) {
            (None, _) => Phase::Headers,
            (Some(_), None) => Phase::FirstToken,
            (Some(_), Some(_)) => Phase::End,
        }
    }

    async fn advance(&mut self) {
        match self.step().await {
            Ok(Progress::NeedsBytes | Progress::Continues) => {}
            Ok(Progress::Completed(end, usage)) => self.complete(end, usage),
            Err(failure) => self.handle_failure(failure).await,
        }
    }

    /// Opens the response, reads one event of it, or waits for more bytes.
    async fn step(&mut self) -> Result<Progress, TransportError> {
        let Some(body) = &mut self.body else {
            self.body = Some(self.open().await?);
            self.await_next_piece();
            return Ok(Progress::Continues);
        };
        let mut progress = self.received.advance()?;
        if matches!(progress, Progress::NeedsBytes) {
            let piece = body.next().await?;
            if let Some(place) = &self.place {
                place.record_heard();
            }
            match piece {
                Piece::Bytes(bytes) => self.received.push(&bytes)?,
                Piece::Event(json) => progress = self.received.read_event(&json)?,
                Piece::End => self.received.end(),
            }
            self.await_next_piece();
        }
        if self.received.has_output() {
            // It is not repeated any more.
            self.request.input = Vec::new();
        }
        if self.received.has_begun() {
            self.first_token.get_or_insert_with(|| self.started.elapsed());
        }
        if self.received.has_reasoning() {
            self.model.capabilities.learn_reasoning();
        }
        Ok(progress)
    }

    fn await_next_piece(&mut self) {
        self.idle_until = Some(Instant::now() + STREAM_IDLE_TIMEOUT.max(self.limits.first_token));
    }

    async fn open(&mut self) -> Result<OpenResponse, TransportError> {
        self.attempts += 1;
        // Half of the time limit if retries are left, so that one is possible when a connection has died unnoticed.
        let limits = &self.limits;
        let limit = if self.attempts <= limits.retries { limits.first_token / 2 } else { limits.first_token };
        let capabilities = &self.model.capabilities;
        let mut options = capabilities.options();
        loop {
            let (input, caller) = (&self.request.input, self.safety_identifier.as_deref());
            let body = RequestBody::new(&self.model.name, &self.profile, input, &options, caller);
            let sockets = self.model.sockets.as_ref().filter(|_| self.may_use_socket);
            match transport::send(&self.model, sockets, &body, limit, &mut self.place).await {
                Ok(response) => {
                    self.request_id = response.request_id();
                    self.may_use_socket = matches!(response, OpenResponse::Socket(_));
                    capabilities.learn_success(&options);
                    return Ok(response);
                }
                Err(failure) => {
                    self.request_id = failure.request_id().map(str::to_owned);
                    let adapted = failure.refusal().and_then(|refusal| capabilities.learn_refusal(refusal, &options));
                    options = adapted.ok_or(failure)?;
                }
            }
        }
    }

    /// Repeats the request if nothing was passed on and that may help; fails otherwise.
    async fn handle_failure(&mut self, failure: TransportError) {
        self.leave_dead_connection(&failure);
        self.idle_until = None;
        let was_on_socket = matches!(self.body.take(), Some(OpenResponse::Socket(_)));
        self.may_use_socket = false;
        if self.received.has_output() {
            return self.break_off("the response broke off", Some(&failure));
        }
        self.received = self.model.new_response(self.request.id);
        self.first_token = None;
        match failure.input_refusal() {
            Some(refusal) => self.refuse_input(refusal, &failure),
            // HTTP may do at once what a socket did not, whatever retries are left.
            None if was_on_socket && failure.is_of_connection() => self.log_retry(&failure, Duration::ZERO),
            None => self.retry(failure).await,
        }
    }

    /// Lets no further request use the connection of this one, if it may be dead.
    fn leave_dead_connection(&mut self, failure: &TransportError) {
        if let Some(place) = self.place.take_if(|_| failure.may_be_of_dead_connection()) {
            self.model.http.retire(&place);
        }
    }

    /// Waits for the next attempt, if a retry is allowed, or fails.
    async fn retry(&mut self, failure: TransportError) {
        let requested_wait = failure.retry_after().unwrap_or_default();
        let may_repeat = failure.is_retryable() && requested_wait <= MAX_RETRY_WAIT;
        let wait = if may_repeat { self.backoff.next() } else { None };
        let wait = wait.map(|wait| wait.max(requested_wait).min(MAX_RETRY_WAIT));
        let Some(wait) = wait.filter(|wait| Instant::now() + *wait < self.deadline()) else {
            return self.fail("no attempt succeeded", Some(&failure));
        };
        self.log_retry(&failure, wait);
        sleep(wait).await;
    }

    fn log_retry(&self, failure: &TransportError, wait: Duration) {
        self.record_failure(failure.kind(), true);
        tracing::warn!(
            event = "openai.retry",
            attempt = self.attempts,
            error = %failure,
            cause = failure.root_cause(),
            error_code = failure.error_info().and_then(|info| info.code.as_deref()),
            request_id = self.request_id,
            ?wait,
            "The request to the model is repeated."
        );
    }

    /// Ends a response that cannot be read on. An answer whose items are complete is one, whatever comes after.
    fn break_off(&mut self, reason: &'static str, failure: Option<&TransportError>) {
        if !self.received.complete_without_end() {
            return self.fail(reason, failure);
        }
        tracing::warn!(
            event = "openai.end_missing",
            request = self.request.id.0,
            reason,
            error = failure.map(tracing::field::display),
            request_id = self.request_id,
            "The answer is complete, and the response did not end as it should."
        );
        self.complete(ResponseEnd::BrokenOff, TokenUsage::default());
    }

    fn complete(&mut self, end: ResponseEnd, usage: TokenUsage) {
        self.usage = usage;
        if let Some(is_found) = self.received.found_unopened_reasoning() {
            self.model.learn_unopened_reasoning(is_found);
        }
        if end == ResponseEnd::Incomplete {
            tracing::warn!(
                event = "openai.response_cut",
                request = self.request.id.0,
                request_id = self.request_id,
                "The model's server cut the answer off: a limit or a filter."
            );
        }
        // The line of the turn has these numbers of all its responses.
        tracing::debug!(
            event = "openai.response_ended",
            request = self.request.id.0,
            ?end,
            attempts = self.attempts,
            first_token_ms = self.first_token.map(milliseconds),
            response_ms = milliseconds(self.started.elapsed()),
            input_tokens = usage.input,
            cached_tokens = usage.cached,
            output_tokens = usage.output,
            reasoning_tokens = usage.reasoning,
            request_id = self.request_id,
            "The model has responded."
        );
        self.finish(ModelEvent::Completed);
    }

    /// Ends the response: the call changes the conversation and asks again.
    fn refuse_input(&mut self, refusal: InputRefusal, failure: &TransportError) {
        self.record_failure(failure.kind(), true);
        let info = failure.error_info();
        tracing::warn!(
            event = "openai.input_refused",
            request = self.request.id.0,
            ?refusal,
            error = %failure,
            error_code = info.and_then(|info| info.code.as_deref()),
            error_param = info.and_then(|info| info.param.as_deref()),
            request_id = self.request_id,
            "The model's server refused a part of the conversation."
        );
        self.finish(ModelEvent::InputRefused(refusal));
    }

    fn record_failure(&self, kind: ModelFailure, is_repeated: bool) {
        self.model.telemetry.record(|telemetry| telemetry.record_model_failure(kind, is_repeated));
    }

    fn fail(&mut self, reason: &'static str, failure: Option<&TransportError>) {
        self.record_failure(failure.map_or(ModelFailure::Timeout, TransportError::kind), false);
        let info = failure.and_then(TransportError::error_info);
        tracing::warn!(
            event = "openai.response_failed",
            request = self.request.id.0,
            reason,
            error = failure.map(tracing::field::display),
            cause = failure.and_then(TransportError::root_cause),
            error_code = info.and_then(|info| info.code.as_deref()),
            error_type = info.and_then(|info| info.kind.as_deref()),
            attempts = self.attempts,
            request_id = self.request_id,
            first_token_ms = self.first_token.map(milliseconds),
            response_ms = milliseconds(self.started.elapsed()),
            "The model did not respond."
        );
        self.finish(ModelEvent::Failed);
    }

    fn finish(&mut self, event: ModelEvent) {
        (self.body, self.place) = (None, None);
        let request_id = self.request_id.take();
        self.report = Some(Box::new(ResponseReport { attempts: self.attempts, usage: self.usage, request_id }));
        self.is_finished = true;
        self.end = Some(event);
    }
}

fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}
