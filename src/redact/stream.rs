//! Words that come piece by piece, and go on at once: only a run of digits is held back until it is decided.

use std::fmt;
use std::ops::Range;

use super::card::has_card_number;
use super::cut_places;
use super::scan::{Run, readings};

/// How many bytes are held back at most: no card number is that long, however it is read out.
const MAX_HELD: usize = 1_024;

/// No number word is longer, in bytes.
const MAX_WORD: usize = 64;

/// Text that comes in pieces, cut as [`without_card_numbers`](super::without_card_numbers) would cut it whole.
#[derive(Default)]
pub struct Stream {
    /// What may yet belong to a card number.
    text: String,
    /// How much of that was passed on already: letters with which a number word may begin, such as `for` of `forty`.
    given: usize,
}

impl Stream {
    /// Takes the next piece and tells what can be passed on now; mostly that is the piece itself.
    pub fn push(&mut self, piece: &str) -> String {
        self.text.push_str(piece);
        let readings = readings(&self.text);
        let mut until = readings.iter().filter_map(|reading| reading.open).min().unwrap_or(self.text.len());
        if self.text.len() - self.given > MAX_HELD {
            until = self.text.len();
        }
        let runs = || readings.iter().flat_map(|reading| &reading.runs);
        // A run is decided as a whole, though one language may see its end before another does.
        while let Some(run) = runs().map(Run::place).find(|run| run.start < until && until < run.end) {
            until = run.start;
        }
        let cards = runs().filter(|run| run.place().end <= until && has_card_number(run));
        let cards = cards.map(Run::place).collect();
        self.give(until, cards)
    }

    /// Nothing follows: decides what was held back.
    pub fn finish(&mut self) -> String {
        let cards = readings(&self.text).into_iter().flat_map(|reading| reading.runs);
        let cards = cards.filter(has_card_number).map(|run| run.place()).collect();
        let rest = self.give(self.text.len(), cards);
        *self = Self::default();
        rest
    }

    /// Passes on what stands before `until` and was not passed on before, without these places.
    fn give(&mut self, until: usize, cards: Vec<Range<usize>>) -> String {
        let from = self.given;
        let fresh = &self.text[from..until.max(from)];
        let shifted = cards.into_iter().filter(|card| card.end > from);
        let shifted = shifted.map(|card| card.start.saturating_sub(from)..card.end - from).collect();
        let given = cut_places(fresh, shifted).into_owned();

        let kept = if until < self.text.len() { until } else { last_word(&self.text) };
        self.given = until.max(from) - kept.min(until.max(from));
        self.text.drain(..kept);
        given
    }
}

/// Where the word begins that ends a text, since letters that follow belong to it.
fn last_word(text: &str) -> usize {
    let word = text.trim_end_matches(char::is_alphabetic).len();
    if text.len() - word > MAX_WORD { text.len() } else { word }
}

/// How much is held back, and none of it.
impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({} bytes)", self.text.len() - self.given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::without_card_numbers;
    use proptest::prelude::*;

    fn flows(pieces: &[&str]) -> Vec<String> {
        let mut stream = Stream::default();
        let mut given: Vec<String> = pieces.iter().map(|piece| stream.push(piece)).collect();
        given.push(stream.finish());
        given
    }

    #[test]
    fn words_flow_at_once_and_digits_wait_for_what_follows() {
        assert_eq!(flows(&["Your", " total", " is", " now", "."]), ["Your", " total", " is", " now", ".", ""]);
        assert_eq!(flows(&["It is $", "25", ".00", " and", " more"]), ["It is $", "", "", "", "25.00 and more", ""]);
        assert_eq!(flows(&["One", " moment", ","]), ["", "One moment", ",", ""]);
        assert_eq!(flows(&["for", "ever"]), ["for", "ever", ""]);
    }

    #[test]
    fn a_card_number_is_cut_in_whatever_pieces_it_comes() {
        let cut = "[digits removed]";
        assert_eq!(flows(&["It is 4242", " 4242 42", "42 4242", ", right"]).concat(), format!("It is {cut}, right"));
        assert_eq!(flows(&["4", "2"].repeat(8)).concat(), cut);
        assert_eq!(flows(&["for", "ty-two "].repeat(8)).concat(), format!("for{cut} "));
        assert_eq!(flows(&["It is double ", "4 ", "85 2757 ", "4230 8327", "."]).concat(), format!("It is {cut}."));
    }

    #[test]
    fn what_never_ends_is_not_held_for_ever() {
        let mut stream = Stream::default();
        let given: usize = (0..1_000).map(|_| stream.push("7 7 7 7 ").len()).sum();
        assert!(given > 0 && stream.text.len() <= MAX_HELD + 8);
        assert!((0..1_000).all(|_| !stream.push("word").is_empty()) && stream.text.len() <= MAX_WORD);
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
        fn what_holds_no_card_number_comes_out_unchanged(
            text in "((hello|um|and|four|twenty|hundred|veinti|double|4|25.00|4242|dos|zweiund|vier|cent|é|\n|,) ?){0,40}|\\PC{0,80}",
            sizes in prop::collection::vec(1_usize..12, 1..6),
        ) {
            let pieces = chunked(&text, &sizes);
            let given = flows(&pieces.iter().map(String::as_str).collect::<Vec<_>>()).concat();
            if without_card_numbers(&text) == text {
                prop_assert_eq!(given, text);
            }
        }

        #[test]
        fn what_is_cut_is_cut_as_if_it_had_come_whole(
            before in "(so|that|is|,| ){0,8}", after in "( dollars| please|[.]){0,4}",
            number in prop::sample::select(vec!["4242424242424242", "4242 4242-4242, 4242", "3782 822463 10005"]),
            sizes in prop::collection::vec(1_usize..12, 1..6),
        ) {
            let text = format!("{before}{number}{after}");
            let pieces = chunked(&text, &sizes);
            let given = flows(&pieces.iter().map(String::as_str).collect::<Vec<_>>()).concat();
            prop_assert_eq!(given, without_card_numbers(&text));
        }
    }
}
