//! Links, images, references and footnotes: their text is spoken, their target is not.

use super::{Rest, SpeakableText, Step};

/// The maximum length of the text of a link, in bytes.
const MAX_TEXT: usize = 512;

/// The maximum length of a link with its URL, in bytes.
const MAX_LINK: usize = 2_048;

/// The maximum length of the label of a reference, in bytes.
const MAX_LABEL: usize = 64;

impl SpeakableText {
    /// Says the text of a link. Other brackets pass.
    pub(super) fn read_link(&self, rest: Rest<'_>) -> Result<Step, Step> {
        let (window, is_whole) = rest.window(MAX_TEXT);
        let close = match window[1..].find([']', '[', '\n']).map(|at| at + 1) {
            None => return pass_if(is_whole),
            Some(close) if window[close..].starts_with(']') => close,
            Some(_) => return Ok(Step::Pass(1)),
        };
        let text = &rest.text[1..close];
        let begins_line = self.line.last_visible.is_none();
        if text.starts_with('^') {
            let is_note = begins_line && rest.char_at(close + 1)? == Some(':');
            return Ok(Step::Drop(close + 1 + usize::from(is_note)));
        }
        match rest.char_at(close + 1)? {
            Some('(') => read_target(rest, close),
            Some('[') => read_reference(rest, close),
            Some(':') if begins_line => read_definition(rest, close),
            _ => Ok(Step::Pass(1)),
        }
    }

    /// Says the description of an image.
    pub(super) fn read_image(&self, rest: Rest<'_>) -> Result<Step, Step> {
        if rest.char_at(1)? != Some('[') {
            return Ok(Step::Pass(1));
        }
        Ok(match self.read_link(rest.from(1))? {
            Step::Say(length, words) => Step::Say(length + 1, words),
            _ => Step::Pass(1),
        })
    }
}

fn pass_if(is_whole: bool) -> Result<Step, Step> {
    if is_whole { Ok(Step::Pass(1)) } else { Err(Step::Wait) }
}

/// Reads `[text](url)`, whose text ends at `close`.
fn read_target(rest: Rest<'_>, close: usize) -> Result<Step, Step> {
    let (window, is_whole) = rest.window(MAX_LINK);
    let mut depth = 0_u32;
    for (at, c) in window.char_indices().skip_while(|(at, _)| *at <= close) {
        match c {
            '(' => depth += 1,
            ')' if depth == 1 => return Ok(Step::Say(at + 1, speak_link(&rest.text[1..close]).into())),
            ')' => depth -= 1,
            '\n' => return Ok(Step::Pass(1)),
            _ => {}
        }
    }
    pass_if(is_whole)
}

/// Reads `[text][label]`. Numbers in brackets are no text.
fn read_reference(rest: Rest<'_>, close: usize) -> Result<Step, Step> {
    let text = &rest.text[1..close];
    let label = rest.from(close + 2);
    let length = label.run(MAX_LABEL, |c| c.is_alphanumeric() || "_-. ".contains(c))?;
    Ok(match label.char_at(length)? {
        Some(']') if text.contains(char::is_alphabetic) => Step::Say(close + length + 3, speak_link(text).into()),
        _ => Step::Pass(1),
    })
}

/// Reads `[label]: url`, a line that says nothing.
fn read_definition(rest: Rest<'_>, close: usize) -> Result<Step, Step> {
    let body = rest.from(close + 2);
    let blanks = body.run(8, |c| c == ' ')?;
    let url = body.from(blanks);
    if !url.begins_with("http://")? && !url.begins_with("https://")? {
        return Ok(Step::Pass(1));
    }
    Ok(Step::Drop(close + 2 + blanks + url.run(MAX_LINK, |c| c != '\n')?))
}

/// Makes the text of a link speakable.
fn speak_link(text: &str) -> String {
    let mut speakable = SpeakableText::default();
    speakable.line.has_begun = true;
    let mut said = speakable.push(text);
    said.push_str(&speakable.finish());
    said
}
