//! The limit of one input: what a caller, an operator or a business can make the server work on at once.

use crate::redact::Redacted;

/// The maximum size of an input, in bytes: about four minutes of speech. The rest is not passed on.
const MAX_INPUT_BYTES: usize = 4 * 1024;

/// What is looked at behind the limit, in bytes: a card number that stands on the edge is seen whole, and removed.
const LOOK_AHEAD_BYTES: usize = 1024;

/// An input, which may be longer than the limit.
pub(super) struct LimitedInput<'a> {
    text: &'a str,
}

impl<'a> LimitedInput<'a> {
    /// Takes an input without the blanks around it.
    pub(super) fn new(text: &'a str) -> Self {
        Self { text: text.trim() }
    }

    /// Whether a part of the input is not passed on.
    pub(super) fn is_cut(&self) -> bool {
        self.text.len() > MAX_INPUT_BYTES
    }

    /// The beginning of the input, up to the limit.
    pub(super) fn kept(&self) -> &'a str {
        cut_at(self.text, MAX_INPUT_BYTES)
    }

    /// Redacts the input up to the limit, and what is just behind it. Returns the redacted input up to the limit.
    pub(super) fn redact_with(&self, redact: impl FnOnce(&str) -> Redacted) -> Redacted {
        let redacted = redact(cut_at(self.text, MAX_INPUT_BYTES + LOOK_AHEAD_BYTES));
        if !self.is_cut() {
            return redacted;
        }
        // A number on the edge is replaced by its mark, so that none of it is before the cut.
        Redacted { text: cut_at(&redacted.text, MAX_INPUT_BYTES).to_owned(), ..redacted }
    }
}

/// The beginning of a text, up to this many bytes, and up to a character.
fn cut_at(text: &str, bytes: usize) -> &str {
    if text.len() <= bytes { text } else { &text[..text.floor_char_boundary(bytes)] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::{RedactionPolicy, Redactor};
    use proptest::prelude::*;

    fn redact(text: &str) -> Redacted {
        LimitedInput::new(text).redact_with(|text| Redactor::default().redact(text, RedactionPolicy::CardNumbers))
    }

    #[test]
    fn an_input_is_cut_at_a_character() {
        let (short, long) = (" Hello. ", "\u{e9}".repeat(MAX_INPUT_BYTES));
        assert_eq!((LimitedInput::new(short).kept(), LimitedInput::new(short).is_cut()), ("Hello.", false));
        let long = LimitedInput::new(&long);
        assert_eq!((long.kept().len(), long.is_cut()), (MAX_INPUT_BYTES, true));
        let odd = format!("x{}", "\u{e9}".repeat(MAX_INPUT_BYTES));
        assert_eq!(LimitedInput::new(&odd).kept().len(), MAX_INPUT_BYTES - 1);
    }

    proptest! {
        /// No digit of a card number on the edge is passed on, wherever the edge is in it.
        #[test]
        fn a_card_number_on_the_edge_is_not_let_through(before in MAX_INPUT_BYTES - 40..MAX_INPUT_BYTES + 4, is_spaced: bool) {
            let card = if is_spaced { "4242 4242 4242 4242" } else { "4242424242424242" };
            let text = format!("{} {card}, and so on. {}", "x".repeat(before), "y".repeat(2_000));
            let input = redact(&text);
            prop_assert!(!input.text.contains(|c: char| c.is_ascii_digit()), "{}", &input.text[MAX_INPUT_BYTES - 60..]);
            prop_assert!(input.text.len() <= MAX_INPUT_BYTES);
        }
    }
}
