//! Mark-up at the beginning of a line: headings, bullets, quotes, rules, tables and fences.
//!
//! A heading, a bullet and a row end with a pause, so that a list is heard as sentences. Numbers of lists stay.

use super::{Rest, RowGap, SpeakableText, Step, symbols};

/// The maximum indentation of mark-up, in bytes.
const MAX_INDENT: usize = 64;

/// The maximum length of a line that is only a rule, in bytes.
const MAX_RULE: usize = 512;

/// The maximum length of the language of a fence, in bytes.
const MAX_INFO: usize = 32;

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

impl SpeakableText {
    /// Takes a step at the beginning of a line; `None` if no mark-up begins it.
    pub(super) fn step_at_line_start(&mut self, rest: Rest<'_>) -> Option<Step> {
        match self.read_line_start(rest) {
            Ok(step) => step,
            Err(wait) => Some(wait),
        }
    }

    fn read_line_start(&mut self, rest: Rest<'_>) -> Result<Option<Step>, Step> {
        let indent = rest.run(MAX_INDENT, is_blank)?;
        let body = rest.from(indent);
        let Some(first) = body.char_at(0)?.filter(|_| indent < MAX_INDENT) else { return Ok(None) };
        let taken = match first {
            '#' => self.read_heading(body)?,
            '-' | '*' | '+' | '_' | '=' => self.read_rule_or_bullet(body, first)?,
            '>' => match body.char_at(1)? {
                Some(' ') => Some(2),
                Some('>' | '\n') | None => Some(1),
                Some(_) => None,
            },
            '|' => self.read_row(body)?,
            '`' => self.read_fence(body)?,
            c if symbols::is_bullet(c) => {
                let blanks = body.from(c.len_utf8()).run(8, is_blank)?;
                self.begin_block();
                Some(c.len_utf8() + blanks)
            }
            _ => None,
        };
        Ok(taken.map(|length| Step::Drop(indent + length)))
    }

    /// A line that ends with a pause begins with its text.
    fn begin_block(&mut self) {
        self.line.has_begun = true;
        self.line.is_block = true;
    }

    fn read_heading(&mut self, body: Rest<'_>) -> Result<Option<usize>, Step> {
        let marks = body.run(7, |c| c == '#')?;
        match body.char_at(marks)? {
            Some(' ' | '\t') if marks <= 6 => {
                self.begin_block();
                Ok(Some(marks + 1))
            }
            _ => Ok(None),
        }
    }

    /// A rule is a line of three or more equal marks, and says nothing. A bullet is a mark and a blank.
    fn read_rule_or_bullet(&mut self, body: Rest<'_>, mark: char) -> Result<Option<usize>, Step> {
        let is_ruled = |c: char| c == mark && c != '+' || is_blank(c);
        let length = match body.char_at(1)? {
            Some(second) if is_ruled(second) => body.run(MAX_RULE, is_ruled)?,
            _ => return Ok(None),
        };
        let marks = body.text[..length].chars().filter(|c| *c == mark).count();
        match body.char_at(length)? {
            Some('\n') if marks >= 3 => return Ok(Some(length + 1)),
            None if marks >= 3 => return Ok(Some(length)),
            _ => {}
        }
        if !"-*+".contains(mark) || !body.text[1..].starts_with(is_blank) {
            return Ok(None);
        }
        let blanks = body.from(1).run(8, is_blank)?;
        let text = body.from(1 + blanks);
        let is_box = ["[ ] ", "[x] "].into_iter().map(|mark| text.begins_with(mark)).collect::<Result<Vec<_>, _>>()?;
        self.begin_block();
        Ok(Some(1 + blanks + if is_box.contains(&true) { 4 } else { 0 }))
    }

    /// A row of a table. The line between head and body says nothing.
    fn read_row(&mut self, body: Rest<'_>) -> Result<Option<usize>, Step> {
        let length = body.run(MAX_RULE, |c| is_blank(c) || matches!(c, '|' | ':' | '-'))?;
        match body.char_at(length)? {
            Some('\n') => return Ok(Some(length + 1)),
            None => return Ok(Some(length)),
            Some(_) => {}
        }
        self.begin_block();
        self.line.row = Some(RowGap::Nothing);
        Ok(Some(1))
    }

    /// The fences of a code block are dropped, and their language; the text between them stays.
    fn read_fence(&mut self, body: Rest<'_>) -> Result<Option<usize>, Step> {
        let marks = body.run(MAX_RULE, |c| c == '`')?;
        if marks < 3 {
            return Ok(None);
        }
        let info = body.from(marks).run(MAX_INFO, |c| c.is_ascii_alphanumeric() || "_+.#- ".contains(c))?;
        match body.char_at(marks + info)? {
            Some('\n') => Ok(Some(marks + info + 1)),
            None if info == 0 => Ok(Some(marks)),
            _ => {
                self.line.has_begun = true;
                Ok(Some(marks))
            }
        }
    }
}
