//! Runs of digits in a text, whatever they are written as: numerals, or the number words of a language.
//!
//! Every text is read once for each language, since the same word may be a number in one and a pause in another.

use std::ops::Range;

use super::language::{LANGUAGES, Language, Part};
use super::number::Number;
use super::token::{Kind, Token, tokens};

/// How many characters that are neither letters nor digits may stand between two digits of a run: pauses, dashes, dots.
const MAX_GAP: usize = 8;

/// How many words may: `um, and then`.
const MAX_FILLERS: usize = 4;

/// Digits with nothing but pauses between them.
#[derive(Default)]
pub(super) struct Run {
    /// 0 to 9 each.
    pub(super) digits: Vec<u8>,
    /// The numbers that it is made of: `4242`, or `forty-two`.
    pub(super) groups: Vec<Group>,
    /// All of its words are everyday words in another language: `um, 25` is no 125.
    pub(super) doubtful: bool,
}

/// Digits that belong together.
pub(super) struct Group {
    /// Where they stand in the run.
    pub(super) digits: Range<usize>,
    /// Where they stand in the text, in bytes.
    pub(super) place: Range<usize>,
}

impl Run {
    /// Where the run stands in the text, in bytes.
    pub(super) fn place(&self) -> Range<usize> {
        let from = self.groups.first().map_or(0, |group| group.place.start);
        from..self.groups.last().map_or(from, |group| group.place.end)
    }

    /// Whether it may be a part of a card, as far as three digits tell.
    pub(super) fn is_long(&self) -> bool {
        self.digits.len() >= 3 && !self.doubtful
    }

    fn push(&mut self, digits: &[u8], place: Range<usize>) {
        let from = self.digits.len();
        self.digits.extend_from_slice(digits);
        self.groups.push(Group { digits: from..self.digits.len(), place });
    }
}

/// What one language makes of a text.
pub(super) struct Reading {
    /// Every run, from first to last.
    pub(super) runs: Vec<Run>,
    /// Where the run begins that more text could go on with, if there is one. It is among the runs if it has digits yet.
    pub(super) open: Option<usize>,
    /// How many words are neither numbers nor pauses.
    pub(super) strangers: usize,
}

/// The runs of a text, one list for each language.
pub(super) fn runs(text: &str) -> Vec<Vec<Run>> {
    readings(text).into_iter().map(|reading| reading.runs).collect()
}

/// What the languages make of a text that may go on.
pub(super) fn readings(text: &str) -> Vec<Reading> {
    let tokens = tokens(text);
    LANGUAGES.iter().map(|language| Reader::new(language).read(&tokens, text)).collect()
}

struct Reader<'a> {
    language: &'a Language,
    runs: Vec<Run>,
    run: Run,
    number: Option<Number>,
    /// `double`, and where it stands.
    repeat: Option<(u8, usize)>,
    /// Words without digits since the last digit.
    fillers: usize,
    strangers: usize,
    /// Number words in the run that are everyday words elsewhere, and those that are not.
    weak: usize,
    strong: usize,
}

impl<'a> Reader<'a> {
    fn new(language: &'a Language) -> Self {
        Self {
            language,
            runs: Vec::new(),
            run: Run::default(),
            number: None,
            repeat: None,
            fillers: 0,
            strangers: 0,
            weak: 0,
            strong: 0,
        }
    }

    fn read(mut self, tokens: &[Token], text: &str) -> Reading {
        for (n, token) in tokens.iter().enumerate() {
            if token.gap > MAX_GAP {
                self.close();
            }
            match &token.kind {
                Kind::Numeral(digits) => self.numeral(digits, &token.place),
                Kind::Word(word) => match self.language.read(word) {
                    Some(parts) => self.word(word, parts, token),
                    // Its last letters may be yet to come.
                    None if n + 1 == tokens.len()
                        && token.place.end == text.len()
                        && self.language.may_become(word) => {}
                    None => {
                        self.strangers += 1;
                        self.close();
                    }
                },
            }
            if self.fillers > MAX_FILLERS {
                self.close();
            }
        }
        let trailing = tokens.last().map_or(text, |token| &text[token.place.end..]);
        let open = trailing.chars().count() <= MAX_GAP;
        let begun = self.begun();
        self.close();
        Reading { runs: self.runs, open: begun.filter(|_| open), strangers: self.strangers }
    }

    /// Where the run that is being read begins.
    fn begun(&self) -> Option<usize> {
        let run = self.run.groups.first().map(|group| group.place.start);
        let number = self.number.as_ref().map(|number| number.place.start);
        run.or(number).or(self.repeat.map(|(_, at)| at))
    }

    fn numeral(&mut self, digits: &[u8], place: &Range<usize>) {
        self.finish_number();
        let (times, from) = match self.repeat.take() {
            Some((times, from)) if digits.len() <= 2 => (times, from),
            _ => (1, place.start),
        };
        self.run.push(&digits.repeat(times.into()), from..place.end);
        self.fillers = 0;
    }

    fn word(&mut self, word: &str, parts: Vec<Part>, token: &Token) {
        if parts.iter().any(|part| !matches!(part, Part::And | Part::Filler)) {
            *(if self.language.is_weak(word) { &mut self.weak } else { &mut self.strong }) += 1;
        }
        for (n, part) in parts.into_iter().enumerate() {
            // What is one word is one number.
            self.part(part, token.close || n > 0, &token.place);
        }
    }

    fn part(&mut self, part: Part, close: bool, place: &Range<usize>) {
        match part {
            Part::Value(value) => self.value(value.into(), close, place),
            Part::Hundred => self.multiply(100, place),
            Part::Thousand => self.multiply(1_000, place),
            Part::Repeat(times) => {
                self.finish_number();
                self.repeat = Some((times, place.start));
            }
            Part::And => {
                self.fillers += 1;
                if let Some(number) = &mut self.number {
                    number.joined();
                }
            }
            Part::Filler => {
                self.fillers += 1;
                self.finish_number();
            }
        }
    }

    /// A number word either goes on with the number before it, or begins one.
    fn value(&mut self, value: u32, close: bool, place: &Range<usize>) {
        self.fillers = 0;
        let way = self.language.way;
        match &mut self.number {
            Some(number) if number.takes(value, way, close) => number.add(value, way, place.end),
            _ => self.begin_number(Number::new(value, way), place),
        }
    }

    fn multiply(&mut self, by: u32, place: &Range<usize>) {
        self.fillers = 0;
        if !self.number.as_mut().is_some_and(|number| number.multiply(by, place.end)) {
            self.begin_number(Number::new(by, self.language.way), place);
        }
    }

    fn begin_number(&mut self, mut number: Number, place: &Range<usize>) {
        self.finish_number();
        number.place = place.clone();
        if let Some((times, from)) = self.repeat.take() {
            number.times = times;
            number.place.start = from;
        }
        self.number = Some(number);
    }

    fn finish_number(&mut self) {
        if let Some(number) = self.number.take() {
            self.run.push(&number.digits(), number.place);
        }
    }

    fn close(&mut self) {
        self.finish_number();
        self.repeat = None;
        self.fillers = 0;
        self.run.doubtful = self.weak > 0 && self.strong == 0;
        (self.weak, self.strong) = (0, 0);
        if !self.run.digits.is_empty() {
            self.runs.push(std::mem::take(&mut self.run));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The runs of one language, a run a text, groups separated by blanks.
    fn read(language: usize, text: &str) -> Vec<String> {
        let group =
            |run: &Run, group: &Group| run.digits[group.digits.clone()].iter().map(u8::to_string).collect::<String>();
        let run = |run: &Run| run.groups.iter().map(|it| group(run, it)).collect::<Vec<_>>().join(" ");
        runs(text)[language].iter().map(run).collect()
    }

    #[test]
    fn digits_are_read_however_they_are_said() {
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
    fn other_languages_have_ways_of_their_own() {
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
    fn a_word_that_is_no_number_ends_a_run() {
        assert_eq!(read(0, "I have two cards, one of 25 dollars"), ["2", "1", "25"]);
        assert_eq!(read(0, "call 415 867 5309 or 415 867 5310"), ["415 867 5309", "415 867 5310"]);
        assert_eq!(read(0, "the 4th of xxxx4242"), ["4", "4242"]);
        assert_eq!(read(0, "4 and so well then now 2"), ["4", "2"]);
        assert_eq!(read(0, "4           2"), ["4", "2"]);
    }

    #[test]
    fn a_run_is_open_as_long_as_more_may_follow() {
        let open = |text: &str| readings(text)[0].open;
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
        fn no_text_panics_and_places_are_in_it(text in "[a-z0-9 ,é一]{0,40}|(four|two|hundred|double|and|cent|quatre|vingt|zwei|und|zig| ){0,20}|\\PC{0,60}") {
            for run in runs(&text).into_iter().flatten() {
                prop_assert!(text.get(run.place()).is_some());
                prop_assert_eq!(run.groups.last().map(|group| group.digits.end), Some(run.digits.len()));
            }
        }
    }
}
