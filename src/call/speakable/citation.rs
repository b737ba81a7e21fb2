//! Signs for eyes that are made of several characters: emoji by name, and the citations of search tools.

use super::{Rest, SpeakableText, Step};

/// The maximum length of the name of an emoji, in bytes.
const MAX_EMOJI: usize = 32;

/// The maximum length of a citation, in bytes.
const MAX_CITATION: usize = 512;

/// The characters around a citation of OpenAI's search, for private use.
const CITATION: (char, char) = ('\u{e200}', '\u{e201}');

impl SpeakableText {
    /// Drops `:smile:` between blanks.
    pub(super) fn read_emoji_name(&mut self, rest: Rest<'_>) -> Result<Step, Step> {
        let name = rest.from(1);
        let length = name.run(MAX_EMOJI, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')?;
        let is_name = length > 1 && name.text.starts_with(|c: char| c.is_ascii_lowercase());
        if !is_name || name.char_at(length)? != Some(':') {
            return Ok(Step::Pass(1));
        }
        let next = name.char_at(length + 1)?;
        if !next.is_none_or(|c| c.is_whitespace() || ".,!?".contains(c)) {
            return Ok(Step::Pass(1));
        }
        self.drop_next_blank();
        Ok(Step::Drop(length + 2))
    }

    /// The next blank is dropped if a blank was said before.
    pub(super) fn drop_next_blank(&mut self) {
        self.drops_blank |= self.last_passed.is_none_or(char::is_whitespace);
    }
}

/// Drops `【4:0†source】`, a citation of OpenAI's file search. The brackets are used in East Asian text too.
pub(super) fn read_source(rest: Rest<'_>) -> Result<Step, Step> {
    let bracket = '【'.len_utf8();
    let (window, is_whole) = rest.window(MAX_CITATION);
    match window[bracket..].find(['】', '【', '\n']).map(|at| at + bracket) {
        Some(end) if window[end..].starts_with('】') && window[..end].contains('†') => {
            Ok(Step::Drop(end + '】'.len_utf8()))
        }
        None if !is_whole => Err(Step::Wait),
        _ => Ok(Step::Pass(bracket)),
    }
}

/// Drops a citation that begins with a character for private use. `None` if the text does not begin with it.
pub(super) fn read_citation(rest: Rest<'_>) -> Option<Step> {
    let (begin, end) = CITATION;
    if !rest.text.starts_with(begin) {
        return None;
    }
    let (window, is_whole) = rest.window(MAX_CITATION);
    Some(match window.find(|c: char| c == end || c.is_whitespace()) {
        Some(length) if window[length..].starts_with(end) => Step::Drop(length + end.len_utf8()),
        Some(length) => Step::Drop(length),
        None if is_whole => Step::Drop(window.len()),
        None => Step::Wait,
    })
}
