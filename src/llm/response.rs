//! One response of the model, from asking to its end: attempts, time limits, and events for the call.

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

use super::body::Body;
use super::event::{Broken, Event, Usage};
use super::model::{Inner, Model};
use super::transport::Failure;
use super::{Limits, Profile};
use crate::call::{ModelEvent, Request, ToolCall};
use crate::redact::Private;

/// The longest wait before an attempt. A server that asks for more is not asked again: a caller is waiting.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

impl Model {
    /// Asks the model. The clock of the limits starts now; the request goes out when the stream is first polled.
    ///
    /// The last event, and no other, is `Done` or `Failed`. A poll may be abandoned without loss; dropping the stream
    /// abandons the request.
    pub fn respond(&self, profile: Arc<Profile>, request: Request) -> BoxStream<'static, ModelEvent> {
        Box::pin(stream::unfold(Response::new(self.inner.clone(), self.limits(), profile, request), Response::next))
    }
}

/// How long the stream may say nothing, unless the first token may take longer.
const SILENCE: Duration = Duration::from_secs(10);

/// The state of the stream that `Model::respond` returns.
pub(super) struct Response {
    model: Arc<Inner>,
    limits: Limits,
    profile: Arc<Profile>,
    request: Request,
    asked: Instant,
    attempts: u32,
    waits: ExponentialBackoff,
    /// The events of the attempt under way, once its headers are here.
    events: Option<StreamResponse<Box<RawValue>>>,
    first_token: Option<Duration>,
    /// Whether words or a call were passed on.
    gave: bool,
    /// Reasoning items that wait for the call that they led to. Without one they are of no use, and are refused.
    held: Vec<Box<RawValue>>,
    /// Whether a call that comes now follows from reasoning that was passed on.
    reasoned: bool,
    ready: VecDeque<ModelEvent>,
    over: bool,
}

impl Response {
    pub(super) fn new(model: Arc<Inner>, limits: Limits, profile: Arc<Profile>, request: Request) -> Self {
        let waits = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(100))
            .with_max_times(limits.retries as usize)
            .with_jitter()
            .build();
        Self {
            model,
            limits,
            profile,
            request,
            asked: Instant::now(),
            attempts: 0,
            waits,
            events: None,
            first_token: None,
            gave: false,
            held: Vec::new(),
            reasoned: false,
            ready: VecDeque::new(),
            over: false,
        }
    }

    /// The next event for the call, and the state after it.
    pub(super) async fn next(mut self) -> Option<(ModelEvent, Self)> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some((event, self));
            }
            if self.over {
                return None;
            }
            if timeout_at(self.deadline(), self.advance()).await.is_err() {
                self.fail("time is up", None);
            }
        }
    }

    fn deadline(&self) -> Instant {
        let limits = &self.limits;
        let limit = if self.first_token.is_none() { limits.first_token.min(limits.response) } else { limits.response };
        self.asked + limit
    }

    async fn advance(&mut self) {
        if let Err(failure) = self.step().await {
            self.try_again(failure).await;
        }
    }

    /// Opens the stream, or takes one event from it.
    async fn step(&mut self) -> Result<(), Failure> {
        let Some(events) = &mut self.events else {
            self.events = Some(self.open().await?);
            return Ok(());
        };
        let Ok(event) = timeout(SILENCE.max(self.limits.first_token), events.next()).await else {
            return Err(Failure::Cut);
        };
        match event {
            Some(Ok(raw)) => match Event::read(&raw) {
                Ok(event) => return self.take(event),
                Err(Broken(kind)) => tracing::debug!(kind, "skipped an event that cannot be read"),
            },
            Some(Err(OpenAIError::JSONDeserialize(..))) => tracing::debug!("skipped an event that is no JSON"),
            Some(Err(_)) | None => return Err(Failure::Cut),
        }
        Ok(())
    }

    async fn open(&mut self) -> Result<StreamResponse<Box<RawValue>>, Failure> {
        self.attempts += 1;
        // Half of the time, if more attempts are left for the rest: a connection may have died unnoticed.
        let limits = &self.limits;
        let limit = if self.attempts <= limits.retries { limits.first_token / 2 } else { limits.first_token };
        loop {
            let asks_for_reasoning = self.model.asks_for_reasoning();
            let body = Body::new(&self.model.name, &self.profile, &self.request.input, asks_for_reasoning);
            let responses = self.model.client.responses();
            match timeout(limit, responses.create_stream_byot(body)).await {
                Ok(Ok(events)) => return Ok(events),
                Ok(Err(error)) => match Failure::from(error) {
                    failure if asks_for_reasoning && failure.refuses_include() => {
                        tracing::info!(model = self.model.name, "encrypted reasoning was refused: not asked for again");
                        self.model.learn_that_it_keeps_its_reasoning();
                    }
                    failure => return Err(failure),
                },
                Err(_) => return Err(Failure::Late),
            }
        }
    }

    fn take(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::Text(text) => {
                self.answering();
                self.set_reasoning_aside();
                if !text.is_empty() {
                    self.gave = true;
                    self.ready.push_back(ModelEvent::Delta(Private::new(text)));
                }
            }
            Event::Arguments => self.answering(),
            Event::Reasoning(item) => {
                self.model.learn_that_it_reasons();
                self.held.push(item);
            }
            Event::Message => self.set_reasoning_aside(),
            Event::Call(call) => {
                self.answering();
                self.gave = true;
                self.reasoned |= !self.held.is_empty();
                self.ready.extend(self.held.drain(..).map(ModelEvent::Reasoning));
                let item_id = call.item_id.filter(|_| self.reasoned);
                self.ready.push_back(ModelEvent::Call(ToolCall { item_id, ..call }));
            }
            Event::Completed(usage) => self.done("completed", &usage),
            Event::Incomplete(usage) if self.gave => self.done("incomplete", &usage),
            Event::Incomplete(_) => self.fail("it stopped before it said anything", None),
            Event::Failed(fault) => return Err(Failure::Failed(fault)),
            Event::Other => {}
        }
        Ok(())
    }

    fn answering(&mut self) {
        self.first_token.get_or_insert_with(|| self.asked.elapsed());
    }

    /// Reasoning that led to words need not travel back, and may not without the very item that followed it.
    fn set_reasoning_aside(&mut self) {
        self.held.clear();
        self.reasoned = false;
    }

    /// Waits for the next attempt, if there may be one.
    async fn try_again(&mut self, failure: Failure) {
        self.events = None;
        self.held.clear();
        let may_repeat = self.first_token.is_none() && failure.may_pass();
        let asked_for = failure.retry_after().unwrap_or_default();
        let wait = self.waits.next().filter(|_| may_repeat && asked_for <= LONGEST_WAIT);
        let wait = wait.map(|wait| wait.max(asked_for).min(LONGEST_WAIT));
        let Some(wait) = wait.filter(|wait| Instant::now() + *wait < self.deadline()) else {
            return self.fail("it cannot be had", Some(&failure));
        };
        let code = failure.fault().and_then(|fault| fault.code.as_deref());
        let cause = failure.root_cause();
        tracing::info!(attempt = self.attempts, %failure, cause, code, ?wait, "the model will be asked again");
        sleep(wait).await;
    }

    fn done(&mut self, how: &'static str, usage: &Usage) {
        tracing::info!(
            request = self.request.id.0,
            how,
            attempts = self.attempts,
            first_token_ms = self.first_token.map(milliseconds),
            response_ms = milliseconds(self.asked.elapsed()),
            input_tokens = usage.input,
            cached_tokens = usage.cached,
            output_tokens = usage.output,
            reasoning_tokens = usage.reasoning,
            "the model answered"
        );
        self.end(ModelEvent::Done);
    }

    fn fail(&mut self, why: &'static str, failure: Option<&Failure>) {
        let fault = failure.and_then(Failure::fault);
        tracing::warn!(
            request = self.request.id.0,
            why,
            failure = failure.map(tracing::field::display),
            cause = failure.and_then(Failure::root_cause),
            code = fault.and_then(|fault| fault.code.as_deref()),
            kind = fault.and_then(|fault| fault.kind.as_deref()),
            attempts = self.attempts,
            first_token_ms = self.first_token.map(milliseconds),
            response_ms = milliseconds(self.asked.elapsed()),
            "the model did not answer"
        );
        self.end(ModelEvent::Failed);
    }

    fn end(&mut self, event: ModelEvent) {
        self.events = None;
        self.over = true;
        self.ready.push_back(event);
    }
}

fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}
