//! A response on its way: its events come in the model's own time, or break off to order.

use std::io;
use std::time::Duration;

use axum::body::Bytes;
use futures_util::{Stream, stream};

use super::events::{Pause, Timed};
use super::{Event, Fault, OpenAi};

/// A response on its way; dropped with the connection.
pub struct Flight {
    openai: OpenAi,
    landed: bool,
}

impl Flight {
    /// One more response is on its way.
    pub fn new(openai: &OpenAi) -> Self {
        openai.talk.in_flight.send_modify(|count| *count += 1);
        Self { openai: openai.clone(), landed: false }
    }

    /// Whose response it is.
    pub fn openai(&self) -> &OpenAi {
        &self.openai
    }

    /// It came to its end, whatever that was.
    pub fn land(&mut self) {
        self.landed = true;
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.openai.talk.in_flight.send_modify(|count| *count -= 1);
        if !self.landed {
            self.openai.talk.tape.write(Event::StoppedModel);
        }
    }
}

/// The events of a response, as a body.
pub fn scripted(
    openai: &OpenAi,
    events: Vec<Timed>,
    fault: Option<Fault>,
) -> impl Stream<Item = Result<Bytes, io::Error>> + use<> {
    let flight = Flight::new(openai);
    stream::unfold((events.into_iter(), flight), move |(mut events, mut flight)| async move {
        let Some(Timed { pause, event }) = events.next() else {
            return match fault {
                Some(Fault::Stalls) => std::future::pending().await,
                Some(Fault::Cut(_)) if !flight.landed => {
                    flight.land();
                    Some((Err(io::Error::other("cut")), (events, flight)))
                }
                _ => {
                    flight.land();
                    None
                }
            };
        };
        flight.openai.take_time(pause).await;
        let kind = event["type"].as_str().unwrap_or_default();
        if kind == "response.output_item.done" {
            flight.openai.tell(&event["item"]);
        }
        if events.as_slice().is_empty() && !matches!(fault, Some(Fault::Cut(_))) {
            flight.land();
        }
        Some((Ok(Bytes::from(format!("event: {kind}\ndata: {event}\n\n"))), (events, flight)))
    })
}

impl OpenAi {
    async fn take_time(&self, pause: Pause) {
        let token = if self.shared.behaviour.drawls { 400 } else { 30 };
        match pause {
            Pause::None => {}
            Pause::Thinking => self.shared.pace.pass(Duration::from_millis(450)).await,
            Pause::Token => self.shared.pace.pass(Duration::from_millis(token)).await,
        }
    }
}
