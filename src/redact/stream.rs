//! Redacts streamed text. Text is passed on at once; only a run of digits is held back until it is complete.

use std::cmp::Reverse;
use std::fmt;
use std::ops::Range;

use super::card::has_card_number;
use super::language::MISHEARD;
use super::redact_ranges;
use super::scan::{DigitRun, LanguageScan, is_plain, scan_text};
use super::text_token::MAX_WORD_BYTES;

/// The maximum number of bytes that are held back. No spoken card number is that long.
const MAX_HELD_BYTES: usize = 1_024;

/// As long as no more bytes than this are held back, each piece is read at once.
const READ_AT_ONCE_BYTES: usize = 96;

/// A longer text is read again when it has grown by one part in so many, so that work grows with the text, not faster.
const GROWTH: usize = 8;

/// Redacts text that arrives in pieces as [`redact_card_numbers`](super::redact_card_numbers) redacts it as a whole,
/// but for number words as they are misheard, since nobody mishears what is written here.
#[derive(Default)]
pub struct StreamRedactor {
    /// Text that may still belong to a card number.
    text: String,
    /// How many bytes of `text` were already passed on: the possible start of a number word, such as `for` of `forty`.
    emitted: usize,
    /// The length of `text` from which on it is read again.
    read_at: usize,
}

/// What can be passed on of a streamed text.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct StreamedText {
    /// The text, without card numbers.
    pub text: String,
    /// Whether it may have numbers or be a part of one, in any reading.
    pub may_have_numbers: bool,
}

impl StreamRedactor {
    /// Adds the next piece and returns the text that can be passed on now, usually the piece itself.
    pub fn push(&mut self, piece: &str) -> StreamedText {
        self.text.push_str(piece);
        if self.text.len() < self.read_at {
            return StreamedText::default();
        }
        if is_plain(&self.text) {
            let text = self.emit(self.text.len(), self.text.len(), Vec::new());
            return StreamedText { text, may_have_numbers: false };
        }
        let mut readings = scan_text(&self.text);
        let may_have_numbers = readings.iter().any(|reading| reading.has_numbers);
        readings.truncate(MISHEARD);
        readings.iter_mut().for_each(LanguageScan::shorten_open_run);
        let end = self.text.len();
        let open_runs = || readings.iter().filter_map(|reading| Some((reading.open_run_start?, reading)));
        let mut keep_from = open_runs().map(|(at, _)| at).min().unwrap_or(end);
        let mut until =
            open_runs().filter(|(_, reading)| reading.is_open_run_likely).map(|(at, _)| at).min().unwrap_or(end);
        if end - self.emitted > MAX_HELD_BYTES || end > 2 * MAX_HELD_BYTES {
            (keep_from, until) = (end, end);
        }
        // A run is passed on or removed as a whole, though languages may differ on where it ends.
        let mut runs: Vec<&DigitRun> = readings.iter().flat_map(|reading| &reading.runs).collect();
        runs.sort_by_key(|run| Reverse(run.byte_range().end));
        for place in runs.iter().map(|run| run.byte_range()) {
            if place.start < until && until < place.end {
                until = place.start;
            }
        }
        let cards = runs.into_iter().filter(|run| run.byte_range().end <= until && has_card_number(run));
        let cards = cards.map(DigitRun::byte_range).collect();
        StreamedText { text: self.emit(until, keep_from, cards), may_have_numbers }
    }

    /// Whether a text has a run of so many digits that its parts are judged before all of it is known. More of it may be
    /// removed than if it is read as a whole.
    #[cfg(any(fuzzing, test))]
    pub(crate) fn judges_in_parts(text: &str) -> bool {
        scan_written(text).iter().any(LanguageScan::has_long_run)
    }

    /// Ends the text and returns what was held back, redacted.
    pub fn finish(&mut self) -> StreamedText {
        let cards = scan_written(&self.text).into_iter().flat_map(|reading| reading.runs);
        let cards = cards.filter(has_card_number).map(|run| run.byte_range()).collect();
        let end = self.text.len();
        let text = self.emit(end, end, cards);
        *self = Self::default();
        StreamedText { may_have_numbers: !text.is_empty(), text }
    }

    /// Returns the text before `until` that was not passed on yet, without these card numbers, and keeps what is needed
    /// to read the rest.
    fn emit(&mut self, until: usize, keep_from: usize, cards: Vec<Range<usize>>) -> String {
        let from = self.emitted;
        let to = until.max(from);
        let fresh = &self.text[from..to];
        let shifted = cards.into_iter().filter(|card| card.end > from);
        let shifted = shifted.map(|card| card.start.saturating_sub(from)..card.end - from).collect();
        let given = redact_ranges(fresh, shifted).into_owned();

        let kept = if until < self.text.len() { until } else { last_word_start(&self.text) };
        let kept = touching_start(&self.text, kept.min(keep_from));
        self.emitted = to - kept;
        self.text.drain(..kept);
        let held = self.text.len() - self.emitted;
        self.read_at = if held > READ_AT_ONCE_BYTES { self.text.len() + held / GROWTH } else { 0 };
        given
    }
}

/// The readings of a text that was written, not heard.
fn scan_written(text: &str) -> Vec<LanguageScan> {
    let mut readings = scan_text(text);
    readings.truncate(MISHEARD);
    readings
}

/// The start of the last word of a text, which more letters may continue.
fn last_word_start(text: &str) -> usize {
    let word = text.trim_end_matches(char::is_alphabetic).len();
    if text.len() - word > MAX_WORD_BYTES { text.len() } else { word }
}

/// The start of the characters that touch a position on its left: whether `4l` is 41 depends on them.
fn touching_start(text: &str, at: usize) -> usize {
    let start = text[..at].trim_end_matches(|c: char| !c.is_whitespace() && !c.is_ascii_punctuation()).len();
    if at - start > MAX_WORD_BYTES { at } else { start }
}

/// Prints the number of bytes that are held back, not the text.
impl fmt::Debug for StreamRedactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({} bytes)", self.text.len() - self.emitted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::{Redactor, redact_card_numbers};
    use proptest::prelude::*;

    fn flows(pieces: &[&str]) -> Vec<String> {
        let mut stream = StreamRedactor::default();
        let mut given: Vec<String> = pieces.iter().map(|piece| stream.push(piece).text).collect();
        given.push(stream.finish().text);
        given
    }

    #[test]
    fn words_flow_at_once_and_digits_wait_for_what_follows() {
        assert_eq!(flows(&["Your", " total", " is", " now", "."]), ["Your", " total", " is", " now", ".", ""]);
        assert_eq!(flows(&["It is $", "25", ".00", " and", " more"]), ["It is $", "", "", "", "25.00 and more", ""]);
        assert_eq!(flows(&["One", " moment", ","]), ["", "One moment", ",", ""]);
        assert_eq!(flows(&["for", "ever"]), ["for", "ever", ""]);
        // A number of which the beginning was passed on already is still the whole number.
        assert_eq!(flows(&["fou", "r hundred 25 0", "04242 and 4242."]).concat(), "four hundred 25 004242 and 4242.");
    }

    #[test]
    fn a_card_number_is_removed_however_it_is_split() {
        let cut = "[digits removed]";
        assert_eq!(flows(&["It is 4242", " 4242 42", "42 4242", ", right"]).concat(), format!("It is {cut}, right"));
        assert_eq!(flows(&["4", "2"].repeat(8)).concat(), cut);
        assert_eq!(flows(&["for", "ty-two "].repeat(8)).concat(), format!("for{cut} "));
        assert_eq!(flows(&["It is double ", "4 ", "85 2757 ", "4230 8327", "."]).concat(), format!("It is {cut}."));
    }

    #[test]
    fn a_numeral_longer_than_any_card_number_comes_out_whole() {
        for sign in ["7", "77", "7 "] {
            let text = format!("It is {}, you see", sign.repeat(120));
            let pieces = chunked(&text, &[1]);
            assert_eq!(flows(&pieces.iter().map(String::as_str).collect::<Vec<_>>()).concat(), text, "{sign}");
        }
    }

    #[test]
    fn a_long_numeral_stays_one_open_run() {
        let mut readings = scan_written(&format!("It is {}", "7".repeat(60)));
        readings.iter_mut().for_each(LanguageScan::shorten_open_run);
        for reading in readings {
            assert_eq!(reading.open_run_start, Some(6));
            assert!(reading.runs.iter().all(|run| !run.groups.is_empty()));
        }
    }

    #[test]
    fn letters_that_touch_a_digit_stay_beside_it() {
        let text = "un 12/05/դf9ll +1 415 867un 12/05/դf9";
        let characters: Vec<String> = text.chars().map(String::from).collect();
        assert_eq!(flows(&characters.iter().map(String::as_str).collect::<Vec<_>>()).concat(), text);
    }

    #[test]
    fn an_endless_run_is_not_held_back_for_ever() {
        let mut stream = StreamRedactor::default();
        let given: usize = (0..1_000).map(|_| stream.push("7 7 7 7 ").text.len()).sum();
        assert!(given > 0 && stream.text.len() <= MAX_HELD_BYTES + 8);
        assert!((0..1_000).all(|_| !stream.push("word").text.is_empty()) && stream.text.len() <= MAX_WORD_BYTES);
    }

    fn chunked(text: &str, sizes: &[usize]) -> Vec<String> {
        let mut chars = text.chars().peekable();
        let mut sizes = sizes.iter().cycle();
        let mut pieces = Vec::new();
        while chars.peek().is_some() {
            pieces.push(chars.by_ref().take(*sizes.next().unwrap_or(&1)).collect());
        }
        pieces
    }

    proptest! {
        #[test]
        fn text_without_a_card_number_is_unchanged(
            text in "((hello|um|and|four|twenty|hundred|veinti|double|4|25.00|4242|dos|zweiund|vier|cent|é|\n|,) ?){0,40}|\\PC{0,80}",
            sizes in prop::collection::vec(1_usize..12, 1..6),
        ) {
            let pieces = chunked(&text, &sizes);
            let given = flows(&pieces.iter().map(String::as_str).collect::<Vec<_>>()).concat();
            if redact_card_numbers(&text) == text {
                prop_assert_eq!(given, text);
            }
        }

        #[test]
        fn what_has_no_numbers_is_redacted_without_being_read_again(
            pieces in prop::collection::vec(
                " ?(hello|um|and|is|to|on|a|for|ate|four|ty|two|oh|double|veinti|dos|vier|cent|é|l|4|42|4242|'|&#5|2;|,|\n)[ ,]?|\\PC{0,6}",
                0..40,
            ),
        ) {
            let (mut stream, mut first, mut second) = (StreamRedactor::default(), Redactor::default(), Redactor::default());
            first.begin_input();
            second.begin_input();
            let mut streamed: Vec<StreamedText> = pieces.iter().map(|piece| stream.push(piece)).collect();
            streamed.push(stream.finish());
            for piece in streamed {
                let whole = second.redact_piece(&piece.text);
                let redacted = first.redact_streamed(piece);
                prop_assert_eq!((&redacted.text, redacted.cards.len()), (&whole.text, whole.cards.len()));
            }
        }

        #[test]
        fn pieces_are_redacted_like_the_whole_text(
            before in "(so|that|is|,| ){0,8}", after in "( dollars| please|[.]){0,4}",
            number in prop::sample::select(vec!["4242424242424242", "4242 4242-4242, 4242", "3782 822463 10005"]),
            sizes in prop::collection::vec(1_usize..12, 1..6),
        ) {
            let text = format!("{before}{number}{after}");
            let pieces = chunked(&text, &sizes);
            let given = flows(&pieces.iter().map(String::as_str).collect::<Vec<_>>()).concat();
            prop_assert_eq!(given, redact_card_numbers(&text));
        }
    }
}
