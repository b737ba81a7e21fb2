//! Finds runs of digits in a text, written as numerals or in number words of a language.
//!
//! A text is parsed once per language, since the same word may be a number in one and a filler in another.

use std::ops::Range;

use super::language::{LANGUAGES, NumberLanguage, NumberPart};
use super::spoken_number::SpokenNumber;
use super::text_token::{TextToken, TokenKind, tokenize};

/// The maximum number of characters between two digits of a run that are neither letters nor digits: blanks, dashes,
/// dots.
const MAX_GAP: usize = 8;

/// The maximum number of filler words between two digits of a run: `um, and then`.
const MAX_FILLERS: usize = 4;

/// Digits with only blanks, punctuation and filler words between them.
#[derive(Default)]
pub(super) struct DigitRun {
    /// 0 to 9 each.
    pub(super) digits: Vec<u8>,
    /// The numbers in the run: `4242`, or `forty-two`.
    pub(super) groups: Vec<DigitGroup>,
    /// Whether all number words of the run are everyday words in another language: `um, 25` is not 125.
    pub(super) is_ambiguous: bool,
}

/// The digits of one number.
pub(super) struct DigitGroup {
    /// Their range in the digits of the run.
    pub(super) digit_range: Range<usize>,
    /// Their range in the text, in bytes.
    pub(super) byte_range: Range<usize>,
}

impl DigitRun {
    /// The range of the run in the text, in bytes.
    pub(super) fn byte_range(&self) -> Range<usize> {
        let from = self.groups.first().map_or(0, |group| group.byte_range.start);
        from..self.groups.last().map_or(from, |group| group.byte_range.end)
    }

    fn push(&mut self, digits: &[u8], place: Range<usize>) {
        let from = self.digits.len();
        self.digits.extend_from_slice(digits);
        self.groups.push(DigitGroup { digit_range: from..self.digits.len(), byte_range: place });
    }
}

/// The runs that one language finds in a text.
pub(super) struct LanguageScan {
    /// All runs in order.
    pub(super) runs: Vec<DigitRun>,
    /// The start of the run that more text could continue, if there is one. It is among the runs if it has digits
    /// already.
    pub(super) open_run_start: Option<usize>,
    /// The number of words that are neither numbers nor fillers.
    pub(super) other_words: usize,
}

/// Finds the runs of a text, one list per language.
pub(super) fn find_runs(text: &str) -> Vec<Vec<DigitRun>> {
    scan_text(text).into_iter().map(|reading| reading.runs).collect()
}

/// Parses a text that may be continued, once per language.
pub(super) fn scan_text(text: &str) -> Vec<LanguageScan> {
    let tokens = tokenize(text);
    LANGUAGES.iter().map(|language| RunReader::new(language).read(&tokens, text)).collect()
}

struct RunReader<'a> {
    language: &'a NumberLanguage,
    runs: Vec<DigitRun>,
    run: DigitRun,
    number: Option<SpokenNumber>,
    /// The factor of `double` or `triple`, and its position in the text, in bytes.
    repeat: Option<(u8, usize)>,
    /// The number of filler words since the last digit.
    fillers: usize,
    other_words: usize,
    /// The number of number words in the run that are everyday words in another language, and of those that are not.
    ambiguous_words: usize,
    unambiguous_words: usize,
}

impl<'a> RunReader<'a> {
    fn new(language: &'a NumberLanguage) -> Self {
        Self {
            language,
            runs: Vec::new(),
            run: DigitRun::default(),
            number: None,
            repeat: None,
            fillers: 0,
            other_words: 0,
            ambiguous_words: 0,
            unambiguous_words: 0,
        }
    }

    fn read(mut self, tokens: &[TextToken], text: &str) -> LanguageScan {
        for (n, token) in tokens.iter().enumerate() {
            if token.gap > MAX_GAP {
                self.finish_run();
            }
            match &token.kind {
                TokenKind::Numeral(digits) => self.push_numeral(digits, &token.byte_range),
                TokenKind::Word(word) => match self.language.parse_word(word) {
                    Some(parts) => self.push_word(word, parts, token),
                    // The word may be incomplete.
                    None if n + 1 == tokens.len()
                        && token.byte_range.end == text.len()
                        && self.language.is_possible_prefix(word) => {}
                    None => {
                        self.other_words += 1;
                        self.finish_run();
                    }
                },
            }
            if self.fillers > MAX_FILLERS {
                self.finish_run();
            }
        }
        let trailing = tokens.last().map_or(text, |token| &text[token.byte_range.end..]);
        let open = trailing.chars().count() <= MAX_GAP;
        let begun = self.open_run_start();
        self.finish_run();
        LanguageScan { runs: self.runs, open_run_start: begun.filter(|_| open), other_words: self.other_words }
    }

    /// The start of the run that is being parsed.
    fn open_run_start(&self) -> Option<usize> {
        let run = self.run.groups.first().map(|group| group.byte_range.start);
        let number = self.number.as_ref().map(|number| number.byte_range.start);
        run.or(number).or(self.repeat.map(|(_, at)| at))
    }

    fn push_numeral(&mut self, digits: &[u8], place: &Range<usize>) {
        self.finish_number();
        let (times, from) = match self.repeat.take() {
            Some((times, from)) if digits.len() <= 2 => (times, from),
            _ => (1, place.start),
        };
        self.run.push(&digits.repeat(times.into()), from..place.end);
        self.fillers = 0;
    }

    fn push_word(&mut self, word: &str, parts: Vec<NumberPart>, token: &TextToken) {
        if parts.iter().any(|part| !matches!(part, NumberPart::And | NumberPart::Filler)) {
            *(if self.language.is_ambiguous(word) {
                &mut self.ambiguous_words
            } else {
                &mut self.unambiguous_words
            }) += 1;
        }
        for (n, part) in parts.into_iter().enumerate() {
            // The parts of one word form one number.
            self.push_part(part, token.is_adjacent || n > 0, &token.byte_range);
        }
    }

    fn push_part(&mut self, part: NumberPart, close: bool, place: &Range<usize>) {
        match part {
            NumberPart::Value(value) => self.push_value(value.into(), close, place),
            NumberPart::Hundred => self.push_multiplier(100, place),
            NumberPart::Thousand => self.push_multiplier(1_000, place),
            NumberPart::Repeat(times) => {
                self.finish_number();
                self.repeat = Some((times, place.start));
            }
            NumberPart::And => {
                self.fillers += 1;
                if let Some(number) = &mut self.number {
                    number.push_and();
                }
            }
            NumberPart::Filler => {
                self.fillers += 1;
                self.finish_number();
            }
        }
    }

    /// Adds a number word to the current number, or starts a new number with it.
    fn push_value(&mut self, value: u32, close: bool, place: &Range<usize>) {
        self.fillers = 0;
        let way = self.language.grammar;
        match &mut self.number {
            Some(number) if number.accepts(value, way, close) => number.add(value, way, place.end),
            _ => self.begin_number(SpokenNumber::new(value, way), place),
        }
    }

    fn push_multiplier(&mut self, by: u32, place: &Range<usize>) {
        self.fillers = 0;
        if !self.number.as_mut().is_some_and(|number| number.try_multiply(by, place.end)) {
            self.begin_number(SpokenNumber::new(by, self.language.grammar), place);
        }
    }

    fn begin_number(&mut self, mut number: SpokenNumber, place: &Range<usize>) {
        self.finish_number();
        number.byte_range = place.clone();
        if let Some((times, from)) = self.repeat.take() {
            number.repeat_count = times;
            number.byte_range.start = from;
        }
        self.number = Some(number);
    }

    fn finish_number(&mut self) {
        if let Some(number) = self.number.take() {
            self.run.push(&number.digits(), number.byte_range);
        }
    }

    fn finish_run(&mut self) {
        self.finish_number();
        self.repeat = None;
        self.fillers = 0;
        self.run.is_ambiguous = self.ambiguous_words > 0 && self.unambiguous_words == 0;
        (self.ambiguous_words, self.unambiguous_words) = (0, 0);
        if !self.run.digits.is_empty() {
            self.runs.push(std::mem::take(&mut self.run));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The runs of one language, each as text with blanks between its groups.
    fn read(language: usize, text: &str) -> Vec<String> {
        let group = |run: &DigitRun, group: &DigitGroup| {
            run.digits[group.digit_range.clone()].iter().map(u8::to_string).collect::<String>()
        };
        let run = |run: &DigitRun| run.groups.iter().map(|it| group(run, it)).collect::<Vec<_>>().join(" ");
        find_runs(text)[language].iter().map(run).collect()
    }

    #[test]
    fn digits_are_recognised_in_all_spellings() {
        for (said, digits) in [
            ("4242", "4242"),
            ("4242-4242", "4242 4242"),
            ("four oh four", "4 0 4"),
            ("double four, triple zero", "44 000"),
            ("double 4 double forty-two", "44 4242"),
            ("forty-two forty two", "42 42"),
            ("forty two hundred, forty two", "4242"),
            ("four thousand two hundred and forty two", "4242"),
            ("four thousand, two hundred, forty-two", "4242"),
            ("nineteen eighty four", "19 84"),
            ("four um, two and then dash four", "4 2 4"),
            ("twenty, oh four", "20 0 4"),
            ("one hundred", "100"),
            ("a thousand and one", "1001"),
            ("４２ ４٢", "42 42"),
        ] {
            assert_eq!(read(0, said), [digits], "{said}");
        }
    }

    #[test]
    fn numbers_of_other_languages_are_recognised() {
        for (language, said, digits) in [
            (1, "cuatro dos, cuarenta y dos, doscientos cuarenta y dos", "4 2 42 242"),
            (1, "cuatro mil doscientos cuarenta y dos, veintidós", "4242 22"),
            (2, "vier zwo, zweiundvierzig und fünf und dreißig", "4 2 42 35"),
            (2, "viertausendzweihundertzweiundvierzig null", "4242 0"),
            (3, "quatre deux, quarante-deux, soixante-douze, quatre-vingt-dix-sept, dix-sept", "4 2 42 72 97 17"),
            (3, "quatre-vingts, vingt et un, deux cent quarante-deux", "80 21 242"),
            (4, "quatro dois, quarenta e dois, duzentos e quarenta e dois, meia um", "4 2 42 242 6 1"),
            (5, "quattro due, quarantadue, duecentoquarantadue, ventuno", "4 2 42 242 21"),
        ] {
            assert_eq!(read(language, said), [digits], "{said}");
        }
    }

    #[test]
    fn another_word_ends_a_run() {
        assert_eq!(read(0, "I have two cards, one of 25 dollars"), ["2", "1", "25"]);
        assert_eq!(read(0, "call 415 867 5309 or 415 867 5310"), ["415 867 5309", "415 867 5310"]);
        assert_eq!(read(0, "the 4th of xxxx4242"), ["4", "4242"]);
        assert_eq!(read(0, "4 and so well then now 2"), ["4", "2"]);
        assert_eq!(read(0, "4           2"), ["4", "2"]);
    }

    #[test]
    fn a_run_is_open_while_more_digits_may_follow() {
        let open = |text: &str| scan_text(text)[0].open_run_start;
        for (text, begins) in [("is 42", 3), ("is forty ", 3), ("is 4 and th", 3), ("so double", 3), ("is four ze", 3)]
        {
            assert_eq!(open(text), Some(begins), "{text}");
        }
        for text in ["is 42 dollars", "is", "is 42 dol", "", "is 42          "] {
            assert_eq!(open(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_ranges_are_within_it(text in "[a-z0-9 ,é一]{0,40}|(four|two|hundred|double|and|cent|quatre|vingt|zwei|und|zig| ){0,20}|\\PC{0,60}") {
            for run in find_runs(&text).into_iter().flatten() {
                prop_assert!(text.get(run.byte_range()).is_some());
                prop_assert_eq!(run.groups.last().map(|group| group.digit_range.end), Some(run.digits.len()));
            }
        }
    }
}
