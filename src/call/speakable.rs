//! Turns text for eyes into text for ears: Markdown, HTML, links and emoji become speech, or nothing.
//!
//! Text-to-speech reads "asterisk asterisk" and whole URLs. Prompts against it do not help reliably, so the text is
//! filtered as it streams. Ordinary text passes byte for byte, and at once, unless its end may begin mark-up.

mod block;
mod citation;
#[cfg(any(fuzzing, test))]
mod fuzzing;
mod inline;
mod link;
mod symbols;
#[cfg(test)]
mod tests;
mod url;

#[cfg(any(fuzzing, test))]
pub(crate) use fuzzing::make_speakable;

use std::borrow::Cow;
use std::fmt;

/// The maximum length of a run of equal marks, in bytes.
const MAX_MARKS: usize = 64;

/// Makes the streamed text of one response speakable.
///
/// The result is independent of how the text is cut into pieces. At most 2 KiB are held back.
#[derive(Default)]
pub(super) struct SpeakableText {
    /// Text that is not decided yet.
    text: String,
    line: Line,
    /// The URL that is being read.
    url: Option<Url>,
    /// The last character of the text that is decided.
    previous: Option<char>,
    /// The last character that passed.
    last_passed: Option<char>,
    /// Text with more than blanks passed since the beginning, or since [`SpeakableText::finish`].
    has_begun: bool,
    /// Text that does not end with a blank passed before the last [`SpeakableText::finish`].
    follows_text: bool,
    /// The next blank belongs to a symbol that was removed.
    drops_blank: bool,
}

/// The state of the current line.
#[derive(Default)]
struct Line {
    /// What is before the current position is more than indentation.
    has_begun: bool,
    /// The line is a heading, a bullet or a row: it ends with a pause.
    is_block: bool,
    /// The line is a row of a table.
    row: Option<RowGap>,
    emphasis: Emphasis,
    /// Two stars are expected that end strong emphasis.
    is_strong: bool,
    /// The last character that passed and is not blank.
    last_visible: Option<char>,
}

/// What separates the next text of a table row from the text before it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RowGap {
    Nothing,
    Blank,
    Cell,
}

/// The delimiters whose end is expected in this line.
#[derive(Default)]
struct Emphasis {
    star: bool,
    underscore: bool,
    code: bool,
}

/// A URL of which only the host is said.
#[derive(Clone, Copy)]
struct Url {
    /// It stands between angle brackets.
    is_bracketed: bool,
    /// The host was said.
    has_host: bool,
}

/// What to do with the beginning of the undecided text.
enum Step {
    /// These bytes pass.
    Pass(usize),
    /// These bytes say nothing.
    Drop(usize),
    /// These bytes are said in other words.
    Say(usize, Cow<'static, str>),
    /// More text is needed.
    Wait,
}

/// The undecided text, and whether it is all that there is.
#[derive(Clone, Copy)]
struct Rest<'a> {
    text: &'a str,
    is_end: bool,
}

impl SpeakableText {
    /// Adds the next piece and returns what can be spoken now.
    pub(super) fn push(&mut self, piece: &str) -> String {
        self.text.push_str(piece);
        self.advance(false)
    }

    /// Ends the text and returns the rest of what is spoken. Text that follows is another paragraph of the same speech.
    pub(super) fn finish(&mut self) -> String {
        let mut spoken = self.advance(true);
        spoken.push_str(self.line.pause());
        let follows_text = if self.has_begun {
            spoken.chars().next_back().or(self.last_passed).is_some_and(|last| !last.is_whitespace())
        } else {
            self.follows_text
        };
        *self = Self { follows_text, ..Self::default() };
        spoken
    }

    /// Decides as much of the text as is possible.
    fn advance(&mut self, is_end: bool) -> String {
        let text = std::mem::take(&mut self.text);
        let mut spoken = String::new();
        let mut at = 0;
        while at < text.len() {
            let rest = Rest { text: &text[at..], is_end };
            let taken = match self.step(rest) {
                Step::Pass(length) => {
                    self.pass(&rest.text[..length], &mut spoken);
                    length
                }
                Step::Say(length, words) => {
                    self.pass(&words, &mut spoken);
                    length
                }
                Step::Drop(length) => length,
                Step::Wait => break,
            };
            self.previous = rest.text[..taken].chars().next_back().or(self.previous);
            at += taken;
        }
        text[at..].clone_into(&mut self.text);
        spoken
    }

    fn step(&mut self, rest: Rest<'_>) -> Step {
        if let Some(url) = self.url {
            return self.step_in_url(url, rest);
        }
        if !self.line.has_begun {
            if let Some(step) = self.step_at_line_start(rest) {
                return step;
            }
            self.line.has_begun = true;
        }
        self.step_in_line(rest)
    }

    /// Passes text on. Blanks at the beginning are dropped, so that a text of blanks says nothing.
    fn pass(&mut self, text: &str, spoken: &mut String) {
        let ends_line = text.ends_with('\n');
        let text = if self.has_begun { text } else { text.trim_start() };
        let Some(last) = text.chars().next_back() else {
            if ends_line {
                self.line = Line::default();
            }
            return;
        };
        if !self.has_begun && self.follows_text {
            spoken.push(' ');
        }
        self.has_begun = true;
        if let Some(gap) = &mut self.line.row
            && !ends_line
        {
            let has_cell = self.line.last_visible.is_some();
            spoken.push_str(if has_cell { gap.words() } else { "" });
            *gap = RowGap::Nothing;
        }
        spoken.push_str(text);
        self.last_passed = Some(last);
        self.line.last_visible = text.chars().rfind(|c| !c.is_whitespace()).or(self.line.last_visible);
        if ends_line {
            self.line = Line::default();
        }
    }
}

impl Line {
    /// The pause at the end of the line, if it needs one.
    fn pause(&self) -> &'static str {
        let needs_pause = |c: char| !symbols::is_pause(c);
        if self.is_block && self.last_visible.is_some_and(needs_pause) { "." } else { "" }
    }
}

impl RowGap {
    fn words(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Blank => " ",
            Self::Cell => ", ",
        }
    }
}

impl<'a> Rest<'a> {
    /// The text from a position on.
    fn from(self, at: usize) -> Self {
        Self { text: &self.text[at..], ..self }
    }

    /// The character at a position: `Ok(None)` at the end, `Err` if it is not known yet.
    fn char_at(self, at: usize) -> Result<Option<char>, Step> {
        match self.text[at..].chars().next() {
            None if !self.is_end => Err(Step::Wait),
            next => Ok(next),
        }
    }

    /// The number of bytes at the beginning for which `is_part` is true, `limit` at most. `Err` if it is not known yet.
    fn run(self, limit: usize, is_part: impl Fn(char) -> bool) -> Result<usize, Step> {
        let run = self.text.char_indices().find(|(at, c)| *at >= limit || !is_part(*c)).map(|(at, _)| at);
        match run {
            None if !self.is_end && self.text.len() < limit => Err(Step::Wait),
            run => Ok(run.unwrap_or(self.text.len())),
        }
    }

    /// Whether the text begins with `literal`, in any case of ASCII letters. `Err` if it is not known yet.
    fn begins_with(self, literal: &str) -> Result<bool, Step> {
        let length = self.text.len().min(literal.len());
        let matches = self.text.as_bytes()[..length].eq_ignore_ascii_case(&literal.as_bytes()[..length]);
        if matches && length < literal.len() && !self.is_end {
            Err(Step::Wait)
        } else {
            Ok(matches && length == literal.len())
        }
    }

    /// The first `limit` bytes, and whether nothing follows them that is not known yet.
    fn window(self, limit: usize) -> (&'a str, bool) {
        match (limit..self.text.len()).find(|at| self.text.is_char_boundary(*at)) {
            Some(end) => (&self.text[..end], true),
            None => (self.text, self.is_end || self.text.len() >= limit),
        }
    }
}

/// Shows the number of bytes that are held back, not the text.
impl fmt::Debug for SpeakableText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpeakableText({} bytes)", self.text.len())
    }
}
