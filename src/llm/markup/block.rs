//! A block that is no answer, and how it ends.

use super::marker::{self, Match};
use super::tag::{self, Kind, Role};

/// What ends a block. The name is the model's text and is not shown.
pub(super) enum End {
    /// These characters.
    Literal(&'static str),
    /// The tag that belongs to the tag at its beginning.
    Tag { kind: Kind, stem: String },
}

/// The state of a block.
pub(super) struct Block {
    end: End,
    /// The blocks of the same name that begin within.
    depth: usize,
    /// The last character that was skipped.
    previous: Option<char>,
}

/// How far a block was read.
pub(super) enum Skip {
    /// These bytes belong to it.
    Within(usize),
    /// It ends after these bytes.
    Ended(usize),
    /// More text is needed.
    Wait,
}

impl Block {
    pub(super) fn new(end: End) -> Self {
        Self { end, depth: 0, previous: None }
    }

    /// Reasoning whose beginning is unknown.
    pub(super) fn unopened_reasoning() -> Self {
        Self::new(End::Tag { kind: Kind::Reasoning, stem: "think".to_owned() })
    }

    /// Skips over text of the block.
    pub(super) fn skip(&mut self, text: &str, is_end: bool) -> Skip {
        let plain = text.find(marker::BRACKETS).unwrap_or(text.len());
        if plain > 0 {
            return self.keep(text, plain);
        }
        let found = match &self.end {
            End::Literal(end) => match marker::match_literal(text, end) {
                Match::Yes(length) => return Skip::Ended(length),
                miss => Err(miss),
            },
            End::Tag { kind, stem } => {
                tag::read_tag(text).map(|tag| (tag.length, tag.role, belongs(&tag, *kind, stem)))
            }
        };
        match found {
            Ok((length, Role::End, true)) if self.depth == 0 => Skip::Ended(length),
            Ok((length, Role::End, true)) => {
                self.depth -= 1;
                self.keep(text, length)
            }
            Ok((length, Role::Begin, true)) => {
                // Reasoning about the tag itself quotes it.
                let is_quoted = self.previous.is_some_and(|c| "`\"'“‘".contains(c));
                self.depth += usize::from(!is_quoted);
                self.keep(text, length)
            }
            Err(Match::Partial) if !is_end => Skip::Wait,
            _ => self.keep(text, marker::first_char(text)),
        }
    }

    fn keep(&mut self, text: &str, length: usize) -> Skip {
        self.previous = text[..length].chars().next_back();
        Skip::Within(length)
    }
}

/// Whether a tag belongs to a block. Reasoning may begin as `think` and end as `thinking`, but does not nest like that.
fn belongs(tag: &tag::Tag, kind: Kind, stem: &str) -> bool {
    let is_variant = || tag.stem.starts_with(stem) || stem.starts_with(&tag.stem);
    tag.stem == stem || kind == Kind::Reasoning && tag.role == Role::End && is_variant()
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Block(depth {})", self.depth)
    }
}
