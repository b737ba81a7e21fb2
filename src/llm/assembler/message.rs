//! A message of a response: what of its text was said.

use std::borrow::Cow;

use super::super::markup::MarkupFilter;
use crate::call::MessagePhase;

/// A message. Its parts are said in the order in which they begin.
#[derive(Default)]
pub(super) struct PendingMessage {
    /// The phase that the call has not been told yet.
    pub(super) phase: Option<MessagePhase>,
    parts: Vec<Part>,
    /// The text that stood in the beginning of the item.
    initial: String,
    /// What the ends of the message and its parts gave as their text, where deltas were lost or damaged: what was said is
    /// another text. Never said, but known again.
    other_text: String,
    /// Removes what is not said: reasoning and tool mark-up.
    filter: MarkupFilter,
    /// The whole message has arrived: what follows is a repetition.
    is_complete: bool,
    /// Text other than white space was said. White space before it is left out.
    has_words: bool,
    /// The text that was said ends in white space.
    ends_in_space: bool,
}

struct Part {
    index: u64,
    text: String,
    is_complete: bool,
}

impl PendingMessage {
    /// Begins a message of this phase. `may_begin_in_reasoning` says that the server leaves out the beginning of
    /// reasoning: the text is held back until its end.
    pub(super) fn new(phase: Option<MessagePhase>, may_begin_in_reasoning: bool) -> Self {
        let filter =
            if may_begin_in_reasoning { MarkupFilter::holding_unopened_reasoning() } else { MarkupFilter::default() };
        Self { phase, filter, ..Self::default() }
    }

    /// The message with the text that stands in the beginning of its item. It counts if nothing else comes.
    pub(super) fn beginning_with(self, text: String) -> Self {
        Self { initial: text, ..self }
    }

    /// Whether reasoning has ended that did not begin.
    pub(super) fn found_unopened_reasoning(&self) -> bool {
        self.filter.found_unopened_reasoning()
    }

    /// Adds a delta of a part; returns what is to be said.
    pub(super) fn push(&mut self, index: u64, delta: &str) -> String {
        if self.is_complete {
            return String::new();
        }
        let part = self.part_mut(index);
        if part.is_complete {
            return String::new();
        }
        let begins = part.text.is_empty();
        part.text.push_str(delta);
        self.say(delta, begins)
    }

    /// Completes a part whose whole text is `text`; returns what is to be said. Of a text that is said already only the
    /// end of the part is taken.
    pub(super) fn complete_part(&mut self, index: u64, text: &str, is_said: bool) -> String {
        if self.is_complete {
            return String::new();
        }
        let part = self.part_mut(index);
        part.is_complete = true;
        let (begins, rest) = (part.text.is_empty(), if is_said { "" } else { rest_of(text, &part.text) }.to_owned());
        let is_other = !is_beginning(&part.text, text);
        part.text.push_str(&rest);
        if is_other {
            self.other_text.push_str(text);
        }
        self.say(&rest, begins)
    }

    /// Completes the message, which has these parts; returns what is to be said, unless it is said already.
    pub(super) fn complete(&mut self, parts: &[Cow<'_, str>], is_said: bool) -> String {
        if self.is_complete {
            return String::new();
        }
        let mut said = String::new();
        if !self.has_begun() && !is_said {
            // The text arrives whole.
            self.filter = MarkupFilter::holding_unopened_reasoning();
            for (index, part) in (0..).zip(parts) {
                said += &self.push(index, part);
            }
        } else if !is_said {
            let (whole, text) = (parts.concat(), self.text());
            if !is_beginning(&text, &whole) {
                self.other_text.clone_from(&whole);
            }
            let rest = rest_of(&whole, &text);
            let index = self.parts.last().map_or(0, |part| part.index);
            self.part_mut(index).text.push_str(rest);
            said = self.say(rest, false);
        }
        said + &self.finish()
    }

    /// Ends the message; returns what is still to be said.
    pub(super) fn finish(&mut self) -> String {
        let initial = std::mem::take(&mut self.initial);
        let text = if self.has_begun() || self.is_complete { String::new() } else { self.push(0, &initial) };
        self.is_complete = true;
        let held = self.filter.finish();
        text + &self.without_leading_space(held)
    }

    /// Whether the message may be the one that has this text: one text begins with the other.
    pub(super) fn has_text(&self, text: &str) -> bool {
        let is_it = |own: &str| !own.is_empty() && !text.is_empty() && is_beginning(own, text);
        is_it(&self.text()) || is_it(&self.other_text)
    }

    /// Whether the whole message, or each of its parts, has arrived.
    pub(super) fn is_complete(&self) -> bool {
        self.is_complete || self.parts.iter().all(|part| part.is_complete)
    }

    /// The size of what is kept of the message, in bytes.
    pub(super) fn kept_bytes(&self) -> usize {
        self.initial.len() + self.other_text.len() + self.parts.iter().map(|part| part.text.len()).sum::<usize>()
    }

    /// The number of its parts, at least 1.
    pub(super) fn part_count(&self) -> usize {
        self.parts.len().max(1)
    }

    /// Whether the text that was said ends in white space.
    pub(super) fn ends_in_space(&self) -> bool {
        self.ends_in_space
    }

    /// Whether text has arrived.
    pub(super) fn has_begun(&self) -> bool {
        self.parts.iter().any(|part| !part.text.is_empty())
    }

    /// The text that has arrived.
    pub(super) fn text(&self) -> String {
        self.parts.iter().map(|part| part.text.as_str()).collect()
    }

    /// What of a text is new: of that of a part, or of the whole message.
    pub(super) fn rest<'a>(&self, part: Option<u64>, text: &'a str) -> &'a str {
        let Some(index) = part else { return rest_of(text, &self.text()) };
        let part = self.parts.iter().find(|part| part.index == index);
        part.map_or(text, |part| rest_of(text, &part.text))
    }

    /// The text of all parts, except one, and what was to be said instead, up to `max_bytes`.
    pub(super) fn text_besides(&self, index: Option<u64>, max_bytes: usize) -> String {
        let parts = self.parts.iter().filter(|part| Some(part.index) != index).map(|part| &part.text);
        let (mut text, between) = (String::new(), " ".to_owned());
        for piece in parts.chain([&between, &self.other_text]) {
            let room = max_bytes.saturating_sub(text.len());
            text.push_str(&piece[..piece.floor_char_boundary(room)]);
        }
        text
    }

    fn part_mut(&mut self, index: u64) -> &mut Part {
        let at = self.parts.iter().position(|part| part.index == index).unwrap_or_else(|| {
            self.parts.push(Part { index, text: String::new(), is_complete: false });
            self.parts.len() - 1
        });
        &mut self.parts[at]
    }

    /// `begins_part` says that the text begins another part, whose words are apart from those before it.
    fn say(&mut self, text: &str, begins_part: bool) -> String {
        let mut text = self.filter.push(text);
        if begins_part && self.has_words && !self.ends_in_space && text.starts_with(|c: char| !c.is_whitespace()) {
            text.insert(0, ' ');
        }
        self.without_leading_space(text)
    }

    fn without_leading_space(&mut self, text: String) -> String {
        let text = if self.has_words { text } else { text.trim_start().to_owned() };
        self.has_words |= !text.is_empty();
        self.ends_in_space = text.chars().last().map_or(self.ends_in_space, char::is_whitespace);
        text
    }
}

/// Whether one text begins with the other.
fn is_beginning(one: &str, other: &str) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

/// What of `text` follows `said`. Nothing if it is another text: what was said cannot be taken back.
fn rest_of<'a>(text: &'a str, said: &str) -> &'a str {
    text.strip_prefix(said).unwrap_or_default()
}
