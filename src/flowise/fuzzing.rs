//! What must hold for any answer of a flow, as a check for a fuzzer.

use std::collections::VecDeque;

use super::answer::{AnswerReader, AnswerTooLargeError};
use super::event::FlowiseEvent;
use crate::fuzzing::{read_in_pieces, text_size};

/// Checks an answer: the pieces in which it arrives make no difference, and it has no more text than has arrived.
pub fn check_flowise_stream(body: &[u8]) {
    let events = read_in_pieces(body, read_to_end);
    let text_bytes = |event: &FlowiseEvent| if let FlowiseEvent::Token(text) = event { text.len() } else { 0 };
    let text_bytes: usize = events.iter().flatten().map(text_bytes).sum();
    assert!(text_bytes <= text_size(body), "{events:?} has more text than has arrived");
}

fn read_to_end(pieces: &mut dyn Iterator<Item = &[u8]>) -> Result<VecDeque<FlowiseEvent>, AnswerTooLargeError> {
    let (mut reader, mut events) = (AnswerReader::new(), VecDeque::new());
    for piece in pieces {
        reader.push(piece, &mut events)?;
    }
    reader.finish(&mut events)?;
    Ok(events)
}
