//! Removes reasoning and tool mark-up that a model server left in the text of an answer.
//!
//! Servers that lack the parser of a model's chat template send its control text as ordinary text: `<think>…</think>`,
//! `<tool_call>…</tool_call>`, `<|channel|>analysis<|message|>…`. None of it is an answer, in any medium.

mod block;
mod marker;
mod tag;
#[cfg(test)]
mod tests;
mod tool_call;

use block::{Block, Skip};
use marker::{Marker, Match};
use tool_call::CallScan;

/// The maximum size of text that is held back because it may be reasoning without its beginning, in bytes. Longer text
/// is no answer to a caller.
const MAX_HELD_BYTES: usize = 16 * 1024;

/// The maximum size of a Harmony header that is kept, in bytes.
const MAX_HEADER_BYTES: usize = 128;

/// Removes reasoning and tool mark-up from the streamed text of one message item.
///
/// The result is independent of how the text is cut into pieces. Text without mark-up passes byte for byte, and at
/// once, unless its end may begin a marker. A block that is not closed is removed to the end of the text.
///
/// **A `</think>` without its beginning**: some chat templates put `<think>` into the prompt, so that an answer begins
/// in its reasoning. Text that was passed on cannot be taken back, and no whole answer is held back on suspicion, so by
/// default only the tag is removed. [`MarkupFilter::found_unopened_reasoning`] says that this happened: later answers of
/// that server, and answers that arrive whole, take [`MarkupFilter::holding_unopened_reasoning`].
#[derive(Debug, Default)]
pub(crate) struct MarkupFilter {
    /// Text that is not decided yet.
    text: Undecided,
    mode: Mode,
    /// Everything before a first `</think>` is kept here instead of being passed on.
    held: Option<Undecided>,
    /// The text so far has something besides blanks.
    has_passed: bool,
    /// Only blanks were passed on since the last line break or the last removed block.
    is_line_blank: bool,
    removed: Removed,
}

/// What was removed so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Removed {
    #[default]
    Nothing,
    Markup,
    /// Mark-up, with the end of reasoning that did not begin.
    UnopenedReasoning,
}

/// Text of the model. `Debug` prints its size only.
#[derive(Default)]
struct Undecided(String);

/// What the next text belongs to.
#[derive(Debug, Default)]
enum Mode {
    /// The answer.
    #[default]
    Text,
    /// A block that ends with its marker, or at the end of the text.
    Block(Block),
    /// A block that only the end of the text ends.
    Rest,
    /// The header of a Harmony message, between `<|start|>` or `<|channel|>` and `<|message|>`.
    Header(Undecided),
    /// A Harmony message that is not for the caller.
    HiddenMessage,
    /// A tool call without markers.
    Call(CallScan),
}

/// What to do with the beginning of the undecided text.
enum Step {
    Pass(usize),
    Remove(usize),
    /// More text is needed.
    Wait,
}

impl MarkupFilter {
    /// A filter for an answer that may begin in its reasoning: everything is held back until a `</think>`, which removes
    /// it, or until the end, which shows that it is the answer. Text above 16 KiB without an end is reasoning.
    pub(crate) fn holding_unopened_reasoning() -> Self {
        Self { held: Some(Undecided::default()), is_line_blank: true, ..Self::default() }
    }

    /// Adds the next piece and returns the text that can be passed on now.
    pub(crate) fn push(&mut self, piece: &str) -> String {
        self.text.0.push_str(piece);
        self.advance(false)
    }

    /// Ends the text and returns what was held back.
    pub(crate) fn finish(&mut self) -> String {
        let mut passed = self.advance(true);
        if let Some(held) = self.held.take() {
            passed.insert_str(0, &held.0);
        }
        passed
    }

    /// Whether anything was removed.
    pub(crate) fn has_removed(&self) -> bool {
        self.removed > Removed::Nothing
    }

    /// Whether the answer had the end of reasoning that did not begin in it.
    pub(crate) fn found_unopened_reasoning(&self) -> bool {
        self.removed == Removed::UnopenedReasoning
    }

    /// Decides as much of the text as is possible, and returns what passes.
    fn advance(&mut self, is_end: bool) -> String {
        let text = std::mem::take(&mut self.text.0);
        let mut passed = String::new();
        let mut at = 0;
        while at < text.len() {
            let rest = &text[at..];
            match self.step(rest, is_end) {
                Step::Pass(length) => {
                    self.pass(&rest[..length], &mut passed);
                    at += length;
                }
                Step::Remove(length) => {
                    self.removed = self.removed.max(Removed::Markup);
                    self.is_line_blank = true;
                    at += length;
                }
                Step::Wait => break,
            }
        }
        self.text.0.push_str(&text[at..]);
        passed
    }

    /// Passes text on, or holds it back.
    fn pass(&mut self, text: &str, passed: &mut String) {
        self.has_passed |= !text.trim().is_empty();
        match text.rsplit_once('\n') {
            Some((_, line)) => self.is_line_blank = line.trim().is_empty(),
            None => self.is_line_blank &= text.trim().is_empty(),
        }
        let Some(held) = &mut self.held else { return passed.push_str(text) };
        held.0.push_str(text);
        if held.0.len() > MAX_HELD_BYTES {
            self.drop_held();
            self.mode = Mode::Block(Block::unopened_reasoning());
        }
    }

    /// Drops what was held back: it is reasoning.
    fn drop_held(&mut self) {
        self.removed = Removed::UnopenedReasoning;
        if self.held.take().is_some() {
            self.has_passed = false;
        }
    }

    fn step(&mut self, rest: &str, is_end: bool) -> Step {
        match &mut self.mode {
            Mode::Text => self.step_in_text(rest, is_end),
            Mode::Rest => Step::Remove(rest.len()),
            Mode::Call(scan) => {
                let (length, is_complete) = scan.skip(rest);
                if is_complete {
                    self.mode = Mode::Text;
                }
                Step::Remove(length)
            }
            Mode::Block(block) => match block.skip(rest, is_end) {
                Skip::Within(length) => Step::Remove(length),
                Skip::Ended(length) => {
                    self.mode = Mode::Text;
                    Step::Remove(length)
                }
                Skip::Wait => Step::Wait,
            },
            Mode::Header(_) | Mode::HiddenMessage => self.step_in_harmony(rest, is_end),
        }
    }

    /// Takes a step in the answer.
    fn step_in_text(&mut self, rest: &str, is_end: bool) -> Step {
        let blanks = rest.len() - rest.trim_start().len();
        if blanks > 0 && self.has_removed() && !self.has_passed {
            return Step::Remove(blanks);
        }
        let begins_line = self.is_line_blank || !self.has_passed;
        let Some(length) = marker::find_candidate(rest, begins_line) else { return Step::Pass(rest.len()) };
        if length > 0 {
            return Step::Pass(length);
        }
        match marker::find_marker(rest, begins_line) {
            Ok((length, found)) => self.enter(length, found),
            Err(Match::Partial) if !is_end => Step::Wait,
            // A control token or a closing tag that the end cut off.
            Err(Match::Partial) if marker::is_surely_markup(rest) => Step::Remove(rest.len()),
            Err(_) => Step::Pass(marker::first_char(rest)),
        }
    }

    /// Removes a marker and enters what it begins.
    fn enter(&mut self, length: usize, found: Marker) -> Step {
        match found {
            Marker::Reasoning(end) => {
                if self.held.as_ref().is_some_and(|held| held.0.trim().is_empty()) {
                    self.held = None;
                }
                self.mode = Mode::Block(Block::new(end));
            }
            Marker::ReasoningEnd => self.drop_held(),
            Marker::Block(end) => self.mode = Mode::Block(Block::new(end)),
            Marker::Rest => self.mode = Mode::Rest,
            Marker::Header => self.mode = Mode::Header(Undecided::default()),
            Marker::Json => self.mode = Mode::Call(CallScan::default()),
            Marker::Python => self.mode = Mode::Call(CallScan::python()),
            Marker::Token => {}
        }
        Step::Remove(length)
    }

    /// Takes a step in a Harmony header or in a message that is not for the caller.
    fn step_in_harmony(&mut self, rest: &str, is_end: bool) -> Step {
        let length = rest.find('<').unwrap_or(rest.len());
        if let Mode::Header(header) = &mut self.mode {
            header.0.extend(rest[..length].chars().take(MAX_HEADER_BYTES.saturating_sub(header.0.len())));
        }
        if length > 0 {
            return Step::Remove(length);
        }
        match marker::match_token(rest) {
            Ok((length, name)) => {
                self.apply_harmony_token(name);
                Step::Remove(length)
            }
            Err(Match::Partial) if !is_end => Step::Wait,
            Err(_) => Step::Remove(1),
        }
    }

    fn apply_harmony_token(&mut self, name: &str) {
        match (&mut self.mode, name) {
            (Mode::Header(header), "message") => {
                self.mode = if marker::is_header_for_caller(&header.0) { Mode::Text } else { Mode::HiddenMessage };
            }
            (_, "end" | "call" | "return") => self.mode = Mode::Text,
            (Mode::Header(header), _) => header.0.push(' '),
            (_, "start" | "channel") => self.mode = Mode::Header(Undecided::default()),
            _ => {}
        }
    }
}

impl std::fmt::Debug for Undecided {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}
