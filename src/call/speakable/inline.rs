//! Mark-up within a line: emphasis, code, tags, entities, escapes and symbols.

use super::{MAX_MARKS, Rest, RowGap, SpeakableText, Step, citation, symbols};

/// The maximum length of a tag and of a comment, in bytes.
const MAX_TAG: usize = 512;

/// The maximum length of text that is held back because it may be code, in bytes.
const MAX_CODE: usize = 64;

/// An exponent has this many digits at most.
const MAX_EXPONENT: usize = 3;

/// The maximum length of an entity, in bytes.
const MAX_ENTITY: usize = 10;

impl SpeakableText {
    /// Takes a step within a line.
    pub(super) fn step_in_line(&mut self, rest: Rest<'_>) -> Step {
        let plain = self.plain_length(rest.text);
        if plain > 0 {
            let blank = usize::from(std::mem::take(&mut self.drops_blank) && rest.text.starts_with(' '));
            return if blank > 0 { Step::Drop(blank) } else { Step::Pass(plain) };
        }
        let Some(first) = rest.text.chars().next() else { return Step::Wait };
        let step = match first {
            '\n' => Ok(self.end_line()),
            '*' => self.read_stars(rest),
            '_' => self.read_underscores(rest),
            '~' => read_tildes(rest),
            '`' => self.read_backticks(rest),
            '[' => self.read_link(rest),
            '!' => self.read_image(rest),
            ':' => self.read_emoji_name(rest),
            '【' => citation::read_source(rest),
            '<' => self.read_tag(rest),
            '&' => read_entity(rest),
            '\\' => read_escape(rest),
            'h' | 'H' => self.read_scheme(rest),
            'w' | 'W' => self.read_www(rest),
            '|' => Ok(self.set_gap(RowGap::Cell, 1)),
            c if symbols::is_bullet(c) => {
                let pauses = self.line.last_visible.is_some_and(|c| !symbols::is_pause(c));
                Ok(if pauses { Step::Say(c.len_utf8(), ",".into()) } else { Step::Drop(c.len_utf8()) })
            }
            c if c.is_whitespace() => Ok(self.set_gap(RowGap::Blank, c.len_utf8())),
            c => return citation::read_citation(rest).unwrap_or_else(|| self.read_symbol(c)),
        };
        let step = step.unwrap_or_else(|wait| wait);
        if matches!(step, Step::Pass(_) | Step::Say(..)) {
            self.drops_blank = false;
        }
        step
    }

    /// The number of bytes that are neither mark-up nor may begin it.
    fn plain_length(&self, text: &str) -> usize {
        let mut previous = self.previous;
        for (at, c) in text.char_indices() {
            let is_special = match c {
                '\n' | '*' | '_' | '~' | '`' | '[' | '<' | '&' | '\\' | '【' => true,
                '!' | ':' => previous.is_none_or(char::is_whitespace),
                'w' | 'W' => !previous.is_some_and(|c| c.is_alphanumeric() || "@./-_".contains(c)),
                'h' | 'H' => !previous.is_some_and(char::is_alphanumeric),
                '|' => self.line.row.is_some(),
                c if c.is_whitespace() => self.line.row.is_some(),
                c => symbols::is_bullet(c) || is_silent(c),
            };
            if is_special {
                return at;
            }
            previous = Some(c);
        }
        text.len()
    }

    fn end_line(&mut self) -> Step {
        match self.line.pause() {
            "" => Step::Pass(1),
            pause => Step::Say(1, format!("{pause}\n").into()),
        }
    }

    fn set_gap(&mut self, gap: RowGap, length: usize) -> Step {
        if let Some(row) = &mut self.line.row
            && (*row == RowGap::Nothing || gap == RowGap::Cell)
        {
            *row = gap;
        }
        Step::Drop(length)
    }

    /// Whether a blank, or nothing, is before the current position.
    fn follows_blank(&self) -> bool {
        self.previous.is_none_or(char::is_whitespace)
    }

    /// Whether emphasis may begin at the current position.
    fn may_open(&self) -> bool {
        self.previous.is_none_or(|c| c.is_whitespace() || symbols::opens(c))
    }

    /// Stars are emphasis next to a word, and otherwise times, or the key.
    fn read_stars(&mut self, rest: Rest<'_>) -> Result<Step, Step> {
        let marks = rest.run(MAX_MARKS, |c| c == '*')?;
        let next = rest.char_at(marks)?;
        let before_blank = next.is_none_or(char::is_whitespace);
        let is_key = next.is_some_and(symbols::is_invisible) || self.follows_blank() && before_blank;
        Ok(if is_key || marks == 2 && self.is_power(rest)? {
            Step::Pass(marks)
        } else if marks > 1 {
            self.line.is_strong ^= marks == 2;
            Step::Drop(marks)
        } else if self.line.emphasis.star && !self.follows_blank() {
            self.line.emphasis.star = false;
            Step::Drop(1)
        } else if self.may_open() && next.is_some_and(begins_words) {
            self.line.emphasis.star = true;
            Step::Drop(1)
        } else {
            Step::Pass(1)
        })
    }

    /// Whether two stars mean a power, as in `2**3`, and are neither emphasis nor the mask of a card number.
    fn is_power(&self, rest: Rest<'_>) -> Result<bool, Step> {
        if self.line.is_strong || !self.previous.is_some_and(|c| c.is_ascii_digit()) {
            return Ok(false);
        }
        let exponent = rest.from(2);
        let digits = exponent.run(MAX_EXPONENT + 1, |c| c.is_ascii_digit())?;
        let is_short = (1..=MAX_EXPONENT).contains(&digits);
        Ok(is_short && exponent.char_at(digits)? != Some('*'))
    }

    /// Underscores are emphasis around words, and otherwise part of a name. Three are a gap to fill in.
    fn read_underscores(&mut self, rest: Rest<'_>) -> Result<Step, Step> {
        let marks = rest.run(MAX_MARKS, |c| c == '_')?;
        let next = rest.char_at(marks)?;
        let before_word = next.is_some_and(char::is_alphanumeric);
        Ok(if marks > 2 {
            Step::Drop(marks)
        } else if self.line.emphasis.underscore && !self.follows_blank() && !before_word {
            self.line.emphasis.underscore = false;
            Step::Drop(marks)
        } else if self.may_open() && next.is_some_and(|c| begins_words(c) || c.is_ascii_digit()) {
            self.line.emphasis.underscore = true;
            Step::Drop(marks)
        } else {
            Step::Pass(marks)
        })
    }

    /// Backticks are dropped in pairs, and otherwise an apostrophe.
    fn read_backticks(&mut self, rest: Rest<'_>) -> Result<Step, Step> {
        let marks = rest.run(MAX_MARKS, |c| c == '`')?;
        let next = rest.char_at(marks)?;
        let in_word = self.previous.is_some_and(char::is_alphanumeric) && next.is_some_and(char::is_alphanumeric);
        let is_alone = self.follows_blank() && next.is_none_or(char::is_whitespace);
        Ok(if !self.line.emphasis.code && marks == 1 && (in_word || is_alone || !is_code(rest)?) {
            Step::Pass(1)
        } else {
            self.line.emphasis.code = !self.line.emphasis.code;
            Step::Drop(marks)
        })
    }

    /// A tag is nothing or a line break. A URL between angle brackets is a URL.
    fn read_tag(&mut self, rest: Rest<'_>) -> Result<Step, Step> {
        let (window, is_whole) = rest.window(MAX_TAG);
        let not_yet = |step| if is_whole { Ok(step) } else { Err(Step::Wait) };
        if rest.begins_with("<!--")? {
            return window.find("-->").map_or_else(|| not_yet(Step::Pass(1)), |end| Ok(Step::Drop(end + 3)));
        }
        let start = 1 + usize::from(rest.char_at(1)? == Some('/'));
        let name = &window[start..];
        let name = &name[..name.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(name.len())];
        let after = &window[start + name.len()..];
        if !symbols::may_be_tag(name) || name.is_empty() && !after.is_empty() {
            return Ok(Step::Pass(1));
        }
        if after.is_empty() {
            return not_yet(Step::Pass(1));
        }
        if name.eq_ignore_ascii_case("http") || name.eq_ignore_ascii_case("https") {
            return Ok(if after.starts_with(':') { self.begin_url(1, true) } else { Step::Pass(1) });
        }
        let Some(words) = symbols::speak_tag(name) else { return Ok(Step::Pass(1)) };
        let Some(end) = after.find(['>', '<', '\n']) else { return not_yet(Step::Pass(1)) };
        let attributes = after[..end].trim_end_matches('/').trim();
        if !after[end..].starts_with('>') || !attributes.is_empty() && !attributes.contains('=') {
            return Ok(Step::Pass(1));
        }
        let length = start + name.len() + end + 1;
        if name.eq_ignore_ascii_case("break") {
            self.drop_next_blank();
        }
        let breaks_line = words == "\n" && self.line.last_visible.is_some();
        Ok(if breaks_line { Step::Say(length, format!("{}\n", self.line.pause()).into()) } else { Step::Drop(length) })
    }

    /// A character that says nothing.
    fn read_symbol(&mut self, c: char) -> Step {
        if symbols::is_joiner(c) && self.previous.is_some_and(symbols::takes_joiner) {
            return Step::Pass(c.len_utf8());
        }
        if symbols::is_pictograph(c) {
            self.drop_next_blank();
        }
        Step::Drop(c.len_utf8())
    }
}

/// Whether a backtick at the beginning of the text has its end in the line. Longer text is taken for code.
fn is_code(rest: Rest<'_>) -> Result<bool, Step> {
    let (window, is_whole) = rest.from(1).window(MAX_CODE);
    match window.find(['`', '\n']) {
        Some(end) => Ok(window[end..].starts_with('`')),
        None if is_whole => Ok(window.len() >= MAX_CODE),
        None => Err(Step::Wait),
    }
}

/// Whether a character is for eyes alone.
fn is_silent(c: char) -> bool {
    symbols::is_pictograph(c) || symbols::is_invisible(c) || symbols::is_joiner(c)
}

/// Whether emphasized text may begin with a character. With a digit it does not: `*67` is dialled.
fn begins_words(c: char) -> bool {
    c.is_alphabetic() || "$€£¥\"'“‘«([{¿¡_`~<&\\".contains(c) || symbols::is_pictograph(c)
}

/// Says the character that an HTML entity means.
fn read_entity(rest: Rest<'_>) -> Result<Step, Step> {
    let name = &rest.text[1..];
    let length = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '#').unwrap_or(name.len());
    if length > MAX_ENTITY || !symbols::may_be_entity(&name[..length]) {
        return Ok(Step::Pass(1));
    }
    match rest.char_at(1 + length)? {
        Some(';') => {
            Ok(symbols::speak_entity(&name[..length]).map_or(Step::Pass(1), |c| Step::Say(length + 2, c.into())))
        }
        _ => Ok(Step::Pass(1)),
    }
}

/// Says what a backslash keeps from being mark-up.
fn read_escape(rest: Rest<'_>) -> Result<Step, Step> {
    Ok(match rest.char_at(1)? {
        Some(c) if c.is_ascii_punctuation() => Step::Say(2, c.to_string().into()),
        Some('\n') => Step::Drop(1),
        _ => Step::Pass(1),
    })
}

/// Two tildes strike text out. What is struck out is still said: an end that is missing must not swallow words.
fn read_tildes(rest: Rest<'_>) -> Result<Step, Step> {
    let marks = rest.run(MAX_MARKS, |c| c == '~')?;
    Ok(if marks == 1 { Step::Pass(1) } else { Step::Drop(marks) })
}
