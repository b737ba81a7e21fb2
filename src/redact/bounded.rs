//! Texts from outside, as they may be kept: bounded, without card numbers and without characters that act on a terminal.

use std::borrow::Cow;

use super::{is_card_number_of_known_brand, redact_card_numbers};
use crate::phone_number::PhoneNumber;

/// How many characters beyond the bound are searched for the rest of a card number.
const LOOK_AHEAD_CHARS: usize = 256;

/// The longest party of a call that is kept, in characters. A SIP URI may be that long.
const MAX_PARTY_CHARS: usize = 256;

/// Returns at most `most` characters of a text, with card numbers removed and control characters replaced by blanks.
pub fn bound_text(text: &str, most: usize) -> String {
    // What is never kept costs no time.
    let end = text.char_indices().nth(most + LOOK_AHEAD_CHARS).map_or(text.len(), |(end, _)| end);
    // Card numbers first: truncation could split one so that the rest is no longer recognised.
    let redacted = redact_card_numbers(&text[..end]);
    let cut = |text: &str| text.chars().map(|c| if acts_on_terminals(c) { ' ' } else { c }).take(most).collect();
    let bounded: String = cut(&redacted);
    // What was a longer number may be one now.
    match redact_card_numbers(&bounded) {
        Cow::Borrowed(_) => bounded,
        Cow::Owned(redacted) => cut(&redacted),
    }
}

/// Returns the calling or called party as it may be kept: a phone number in E.164 form however it is spelled, and anything
/// else bounded. No phone number has the prefix and the length of a card number.
pub fn bound_party(text: &str) -> String {
    match PhoneNumber::from_spelling(text) {
        Some(number) if !is_card_number_of_known_brand(number.as_str()) => number.as_str().to_owned(),
        _ => bound_text(text, MAX_PARTY_CHARS),
    }
}

/// Replaces control characters, and those that reorder or hide text, by escape sequences in ASCII, so that a text acts on
/// no terminal and no spreadsheet line.
pub fn escape_control_characters(text: &str) -> Cow<'_, str> {
    if !text.contains(acts_on_terminals) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if acts_on_terminals(c) { escaped.extend(c.escape_default()) } else { escaped.push(c) }
    }
    Cow::Owned(escaped)
}

/// Whether a character is a control character, or one that reorders or hides the text around it.
fn acts_on_terminals(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_text_is_bounded_and_has_no_card_number() {
        assert_eq!(bound_text("card is declined", 64), "card is declined");
        let split = format!("{} 4242 4242 4242 4242", "x".repeat(55));
        assert!(!bound_text(&split, 64).contains("4242"), "its beginning is within the bound");
        assert!(!bound_text(&"0".repeat(32), 16).contains('0'), "what is left of a longer number is one");
        assert_eq!(bound_text("a\u{1b}[2J\nb\u{202e}", 64), "a [2J b ");
        assert_eq!(bound_text(&"é".repeat(100_000), 64).chars().count(), 64);
    }

    #[test]
    fn a_party_is_a_phone_number_or_bounded() {
        assert_eq!(bound_party("+15550100001"), "+15550100001");
        assert_eq!(bound_party("+1 (555) 010-0001"), "+15550100001");
        assert_eq!(bound_party("client:ann"), "client:ann");
        for card in ["+378282246310005", "+3782 822463 10005", "4242424242424242", "sip:4242424242424242@example.com"] {
            assert!(!bound_party(card).contains("24242") && !bound_party(card).contains("82822"), "{card}");
        }
        assert_eq!(bound_party(&"a".repeat(10_000)).len(), MAX_PARTY_CHARS);
    }

    #[test]
    fn a_listing_shows_escapes_as_text() {
        assert_eq!(escape_control_characters("Invoice 7 — Zoë"), "Invoice 7 — Zoë");
        assert_eq!(escape_control_characters("a\u{1b}[2J\nb\u{202e}c"), "a\\u{1b}[2J\\nb\\u{202e}c");
    }

    proptest! {
        #[test]
        fn any_text_is_bounded_and_acts_on_no_terminal(text in any::<String>(), most in 0_usize..40) {
            let bounded = bound_text(&text, most);
            prop_assert!(bounded.chars().count() <= most && !bounded.contains(acts_on_terminals));
            prop_assert!(!escape_control_characters(&text).contains(acts_on_terminals));
        }
    }
}
