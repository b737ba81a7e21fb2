//! Tool calls of external clients: from the mailbox of a session to the call, and its answers back.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot};

use crate::call::{ExternalCallId, ExternalOutput, ModelRequestId, ToolCall};

/// A tool call of an external client. If it is dropped without an answer, the call has ended.
#[derive(Debug)]
pub struct ExternalToolCall {
    /// The tool call, without card numbers.
    pub(crate) call: ToolCall,
    /// The request within whose answer it was called, if the client has the token of a request.
    pub(crate) request: Option<ModelRequestId>,
    /// Receives the answer.
    pub(crate) answer: oneshot::Sender<ExternalAnswer>,
    /// Its part of the room in the mailbox.
    room: Option<OwnedSemaphorePermit>,
}

impl ExternalToolCall {
    /// Creates a tool call that is in no mailbox yet.
    pub(crate) fn new(
        call: ToolCall,
        request: Option<ModelRequestId>,
        answer: oneshot::Sender<ExternalAnswer>,
    ) -> Self {
        Self { call, request, answer, room: None }
    }

    /// Takes its part of the room in a mailbox, in bytes, until it is dropped.
    pub(super) fn reserve(&mut self, room: Arc<Semaphore>) -> Result<(), TryAcquireError> {
        let bytes = u32::try_from(self.call.arguments.as_str().len()).unwrap_or(u32::MAX);
        self.room = Some(room.try_acquire_many_owned(bytes)?);
        Ok(())
    }
}

/// The request of an external client for the tools of the call: a JSON array in the form of the Responses API.
pub(crate) type ToolsRequest = oneshot::Sender<Arc<RawValue>>;

/// The answer to a tool call of an external client.
#[derive(Debug)]
pub(crate) enum ExternalAnswer {
    /// The output of the tool.
    Output(ExternalOutput),
    /// The manifest of the call has no tool of this name.
    UnknownTool,
}

/// The tool calls of external clients that have no answer yet.
#[derive(Debug, Default)]
pub(super) struct ExternalCalls {
    call_count: u64,
    unanswered: HashMap<ExternalCallId, oneshot::Sender<ExternalAnswer>>,
}

impl ExternalCalls {
    /// Adds a tool call whose answer goes to `answer`.
    pub(super) fn insert(&mut self, answer: oneshot::Sender<ExternalAnswer>) -> ExternalCallId {
        self.call_count += 1;
        let id = ExternalCallId(self.call_count);
        self.unanswered.insert(id, answer);
        id
    }

    /// Answers a tool call. It does nothing if the client no longer waits.
    pub(super) fn answer(&mut self, id: ExternalCallId, output: ExternalOutput) {
        if let Some(answer) = self.unanswered.remove(&id) {
            let _ = answer.send(ExternalAnswer::Output(output));
        }
    }

    /// Removes and returns the tool calls whose clients no longer wait.
    pub(super) fn take_withdrawn(&mut self) -> Vec<ExternalCallId> {
        self.unanswered.extract_if(|_, answer| answer.is_closed()).map(|(id, _)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::Private;

    fn output() -> ExternalOutput {
        ExternalOutput { json: Private::new("{}".to_owned()), is_error: false }
    }

    #[test]
    fn a_call_is_answered_once_or_withdrawn() {
        let mut calls = ExternalCalls::default();
        let (answer, mut answered) = oneshot::channel();
        let id = calls.insert(answer);
        let (abandoned, _) = oneshot::channel();
        let withdrawn = calls.insert(abandoned);
        assert_eq!(calls.take_withdrawn(), [withdrawn]);
        calls.answer(withdrawn, output());
        calls.answer(id, output());
        calls.answer(id, output());
        assert!(matches!(answered.try_recv(), Ok(ExternalAnswer::Output(given)) if given == output()));
        assert!(calls.unanswered.is_empty());
    }
}
