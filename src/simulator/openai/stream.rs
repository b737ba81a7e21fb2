//! Streams a response: its events with the model's timing, or a configured failure.

use std::io;
use std::time::Duration;

use axum::body::Bytes;
use futures_util::{Stream, stream};

use super::events::{Pause, TimedEvent, to_server_sent};
use super::{ModelFault, ScriptedOpenAi, TranscriptEvent};

/// A response in progress. It is dropped with the connection.
pub(super) struct ResponseGuard {
    openai: ScriptedOpenAi,
    is_finished: bool,
}

impl ResponseGuard {
    /// Starts a response.
    pub(super) fn new(openai: &ScriptedOpenAi) -> Self {
        openai.conversation.in_flight.send_modify(|count| *count += 1);
        Self { openai: openai.clone(), is_finished: false }
    }

    /// The model that sends the response.
    pub(super) fn openai(&self) -> &ScriptedOpenAi {
        &self.openai
    }

    /// Marks the response as ended by the model.
    pub(super) fn finish(&mut self) {
        self.is_finished = true;
    }
}

impl Drop for ResponseGuard {
    fn drop(&mut self) {
        self.openai.conversation.in_flight.send_modify(|count| *count -= 1);
        if !self.is_finished {
            self.openai.conversation.transcript.record(TranscriptEvent::ModelStopped);
        }
    }
}

/// Streams the events of a response as a body.
pub(super) fn stream_events(
    openai: &ScriptedOpenAi,
    events: Vec<TimedEvent>,
    fault: Option<ModelFault>,
) -> impl Stream<Item = Result<Bytes, io::Error>> + use<> {
    let flight = ResponseGuard::new(openai);
    stream::unfold((events.into_iter(), flight), move |(mut events, mut flight)| async move {
        let Some(TimedEvent { pause, event }) = events.next() else {
            return match fault {
                Some(ModelFault::Stall) => std::future::pending().await,
                Some(ModelFault::ConnectionCut(_) | ModelFault::ConnectionLost) if !flight.is_finished => {
                    flight.finish();
                    Some((Err(io::Error::other("cut")), (events, flight)))
                }
                _ => {
                    flight.finish();
                    None
                }
            };
        };
        flight.openai.pause(pause).await;
        if event["type"] == "response.output_item.done" {
            flight.openai.record_item(&event["item"]);
        }
        if events.as_slice().is_empty() && !matches!(fault, Some(ModelFault::ConnectionCut(_))) {
            flight.finish();
        }
        Some((Ok(to_server_sent(&event)), (events, flight)))
    })
}

impl ScriptedOpenAi {
    pub(super) async fn pause(&self, pause: Pause) {
        let token = if self.shared.behaviour.is_slow { 400 } else { 30 };
        match pause {
            Pause::None => {}
            Pause::Thinking => self.shared.pace.sleep(Duration::from_millis(450)).await,
            Pause::Token => self.shared.pace.sleep(Duration::from_millis(token)).await,
        }
    }
}
