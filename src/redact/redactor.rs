//! Removes card numbers from the inputs of one conversation, also a number that is spread over several inputs.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::ops::{Range, RangeInclusive};

use serde::de::IgnoredAny;

use super::card::{MAX_CARD_DIGITS, has_card_number, is_of_known_brand};
use super::digit_window::{DigitWindow, SpreadCard, WINDOW_INPUTS};
use super::json::RedactedJson;
use super::language::READINGS;
use super::part_digits::{PartDigits, ends_with_printed_groups, is_even, is_of_major_brand};
use super::run_kind::{RunKind, is_named_otherwise};
use super::scan::{DigitRun, LanguageScan, is_plain, scan_text};
use super::{StreamedText, redact_ranges, redact_runs};

/// The most that is read at once, in bytes, so that the memory that this takes does not grow with the text.
const MAX_READ_BYTES: usize = 4 * 1024;

/// The maximum number of card numbers that are kept of one input. Beyond it every long run of earlier inputs is removed.
const MAX_CARDS: usize = 8;

/// The maximum length of the start of a word that is carried from one piece of a text to the next, in bytes.
const MAX_CARRIED_BYTES: usize = 64;

/// The minimum number of digits that count as part of a card number where they were not given as a part of it.
const MIN_PARTIAL_DIGITS: usize = 4;

/// The maximum number of digits before a card number that are not part of it: `one`, `number two`.
const MAX_STRAY_DIGITS: usize = 2;

/// After a run of at least this many digits that is no card number, one or two digits may complete it whatever the
/// other words: `and a two, that's it`. Shorter runs are often phone numbers.
const NEARLY_CARD_DIGITS: usize = 13;

/// The maximum number of other words in a short input: `and it ends with 00`.
const MAX_OTHER_WORDS: usize = 3;

/// The longest end of a number whose parts differ in length, in a short input.
const MAX_END_DIGITS: usize = 4;

/// The longest part of a number in an input with other words. Longer runs are phone numbers and references.
const MAX_PART_DIGITS: usize = 8;

/// The minimum number of digits in a row that are cut during a capture although each may be an everyday word: `for for
/// ate`.
const MIN_AMBIGUOUS_DIGITS: usize = 3;

/// The lengths of most card numbers.
const USUAL_CARD_LENGTHS: RangeInclusive<usize> = 15..=16;

/// How many digits of a card may follow its number: a security code, an expiry date or both.
const DIGITS_BESIDE_NUMBER: RangeInclusive<usize> = 3..=8;

/// Which digits are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedactionPolicy {
    /// Card numbers only.
    CardNumbers,
    /// Every digit and every number word: during a capture, any of them may be card data. A word such as `once` or `due`,
    /// which is one in another language or misheard, counts if it stands with others.
    EveryDigit,
}

/// Redacts the inputs of a conversation, and remembers the digits of the last ten.
#[derive(Default)]
pub struct Redactor {
    inputs: u64,
    /// The length of the present input so far, in bytes.
    input_length: usize,
    /// The card numbers that were found in the present input so far.
    cards_in_input: usize,
    /// The last word of the present input so far, which its next piece may continue.
    carried: String,
    /// What the readings have found. Readings that have found the same share a window.
    windows: Vec<LanguageWindow>,
    /// Which window is that of each reading.
    window_of: [usize; READINGS],
}

/// The digits of the last inputs, as some readings have found them.
#[derive(Clone, Default, PartialEq, Eq)]
struct LanguageWindow {
    /// Runs that may be parts of a card number, with no other digits between them.
    parts: VecDeque<EarlierRun>,
    /// All runs.
    spread: DigitWindow,
}

/// A redacted input.
pub struct Redacted {
    /// The remaining text.
    pub text: String,
    /// The number of digits that were removed.
    pub digits_removed: usize,
    /// The card numbers that the input contained or completed. The calling function removes their parts from earlier
    /// inputs.
    pub cards: Vec<DetectedCard>,
}

/// A detected card number. It is kept only until its parts are removed from other texts.
#[derive(PartialEq, Eq)]
pub struct DetectedCard {
    digits: Vec<u8>,
    /// The runs of earlier inputs that are parts of it.
    parts: Vec<Vec<u8>>,
    /// How many inputs before this one it started.
    earlier_inputs: u64,
    /// There were more card numbers than are kept, so that any long run may be a part of one.
    is_any: bool,
}

/// A run of digits of an earlier input.
#[derive(Clone, PartialEq, Eq)]
struct EarlierRun {
    input: u64,
    /// Its range in that input, in bytes.
    byte_range: Range<usize>,
    digits: PartDigits,
    /// How few other words its input has.
    bareness: Bareness,
}

/// The text that is being redacted, and where it stands in its input.
#[derive(Clone, Copy)]
struct InputPiece<'a> {
    text: &'a str,
    /// The position of the text in its input, in bytes.
    offset: usize,
    kind: PieceKind,
    policy: RedactionPolicy,
}

/// What a text is of its input.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PieceKind {
    /// All of it.
    Whole,
    /// All of it, and it is keys: its words are the server's.
    Keys,
    /// A piece of what is streamed.
    Piece,
    /// A value of a document. Others stand beside it that are about something else.
    Value,
}

impl Redactor {
    /// Redacts an input.
    pub fn redact(&mut self, text: &str, policy: RedactionPolicy) -> Redacted {
        self.begin_input();
        self.redact_piece_of(InputPiece { text, offset: 0, kind: PieceKind::Whole, policy }, 0)
    }

    /// Redacts an input of keys, which the server has put into words.
    pub fn redact_keys(&mut self, text: &str) -> Redacted {
        self.begin_input();
        let policy = RedactionPolicy::CardNumbers;
        self.redact_piece_of(InputPiece { text, offset: 0, kind: PieceKind::Keys, policy }, 0)
    }

    /// Begins an input that arrives in pieces.
    pub fn begin_input(&mut self) {
        self.inputs += 1;
        self.input_length = 0;
        self.cards_in_input = 0;
        self.carried.clear();
        self.share_windows();
    }

    /// Lets readings whose windows have become the same share one.
    fn share_windows(&mut self) {
        let mut shared: Vec<LanguageWindow> = Vec::new();
        let mut index_of = Vec::with_capacity(self.windows.len());
        for mut window in self.windows.drain(..) {
            window.forget_before(self.inputs);
            let at = shared.iter().position(|other| *other == window).unwrap_or_else(|| {
                shared.push(window);
                shared.len() - 1
            });
            index_of.push(at);
        }
        self.window_of = self.window_of.map(|at| index_of.get(at).copied().unwrap_or(0));
        self.windows = shared;
    }

    /// Groups the readings by their window and by what they find now, so that each group needs one window. Returns a
    /// reading of each group, with the window of the group.
    fn split_windows(&mut self, readings: &[LanguageScan]) -> Vec<(usize, usize)> {
        let mut groups: Vec<(usize, usize)> = Vec::new();
        let before = self.window_of;
        if self.windows.is_empty() {
            self.windows.push(LanguageWindow::default());
        }
        for (at, reading) in readings.iter().enumerate() {
            let same = groups
                .iter()
                .find(|(first, _)| before[*first] == before[at] && readings[*first].finds_the_same_as(reading));
            if let Some((_, window)) = same {
                self.window_of[at] = *window;
                continue;
            }
            if groups.iter().any(|(_, window)| *window == before[at]) {
                self.window_of[at] = self.windows.len();
                self.windows.push(self.windows[before[at]].clone());
            }
            groups.push((at, self.window_of[at]));
        }
        groups
    }

    /// Redacts the next piece of the present input. No piece ends within a run of digits.
    pub fn redact_piece(&mut self, piece: &str) -> Redacted {
        let (text, done) = ([&self.carried, piece].concat(), self.carried.len());
        let offset = self.input_length.saturating_sub(done);
        self.carry(piece);
        let policy = RedactionPolicy::CardNumbers;
        self.redact_piece_of(InputPiece { text: &text, offset, kind: PieceKind::Piece, policy }, done)
    }

    /// As [`redact_piece`](Self::redact_piece). A piece that has no numbers is not read again.
    pub fn redact_streamed(&mut self, piece: StreamedText) -> Redacted {
        if piece.may_have_numbers {
            return self.redact_piece(&piece.text);
        }
        self.carry(&piece.text);
        Redacted { text: piece.text, digits_removed: 0, cards: Vec::new() }
    }

    /// Adds a piece to the present input, and keeps its last word.
    fn carry(&mut self, piece: &str) {
        self.input_length += piece.len();
        let word = piece.trim_end_matches(char::is_alphabetic).len();
        if word > 0 {
            self.carried.clear();
        }
        self.carried.push_str(&piece[word..]);
        if self.carried.len() > MAX_CARRIED_BYTES {
            self.carried.clear();
        }
    }

    /// Returns the card numbers that a text which is not streamed contains or completes.
    pub fn find_cards(&mut self, text: &str) -> Vec<DetectedCard> {
        if text.len() <= MAX_READ_BYTES {
            return self.redact(text, RedactionPolicy::CardNumbers).cards;
        }
        self.begin_input();
        let mut cards = Vec::new();
        for piece in pieces(text) {
            for card in self.redact_piece(piece).cards {
                keep_card(&mut cards, card);
            }
        }
        cards
    }

    /// Returns the card numbers that the next value of a document completes.
    pub(super) fn read_value(&mut self, text: &str) -> Vec<DetectedCard> {
        let mut cards = Vec::new();
        for text in pieces(text) {
            let (offset, policy) = (self.input_length, RedactionPolicy::CardNumbers);
            self.input_length += text.len();
            let found = self.redact_piece_of(InputPiece { text, offset, kind: PieceKind::Value, policy }, 0).cards;
            for card in found {
                keep_card(&mut cards, card);
            }
        }
        cards
    }

    /// Redacts a piece, whose first `done` bytes were passed on before.
    fn redact_piece_of(&mut self, piece: InputPiece<'_>, done: usize) -> Redacted {
        if is_plain(piece.text) {
            let text = piece.text.get(done..).unwrap_or_default().to_owned();
            return Redacted { text, digits_removed: 0, cards: Vec::new() };
        }
        let readings = scan_text(piece.text);
        let (mut places, mut cards, mut digits_removed) = (Vec::new(), Vec::new(), 0);
        // Each card number is searched for in all that was said, so a stream of many of them has no further digits.
        let is_flood = piece.kind == PieceKind::Piece && self.cards_in_input >= MAX_CARDS;
        let has_runs = readings.iter().any(|reading| !reading.runs.is_empty());
        for (reading, window) in if has_runs { self.split_windows(&readings) } else { Vec::new() } {
            let (reading, window) = (&readings[reading], &mut self.windows[window]);
            let mut removed = 0;
            for run in reading.runs.iter().filter(|run| run.byte_range().end > done) {
                let before = places.len();
                if is_flood {
                    let range = run.byte_range();
                    places.push(range.start + piece.offset..range.end + piece.offset);
                } else {
                    window.add_run(run, reading, piece, self.inputs, &mut places, &mut cards);
                }
                removed += if places.len() > before { run.digits.len() } else { 0 };
            }
            digits_removed = digits_removed.max(removed);
        }
        // Earlier pieces of the input are beyond reach.
        let places = places.into_iter().filter(|place: &Range<usize>| place.end > piece.offset + done);
        let places =
            places.map(|place| place.start.saturating_sub(piece.offset + done)..place.end - piece.offset - done);
        let rest = piece.text.get(done..).unwrap_or_default();
        let text = redact_ranges(rest, places.collect());
        self.cards_in_input += cards.len();
        Redacted { text: text.into_owned(), digits_removed, cards }
    }
}

impl Redacted {
    /// Whether anything was removed.
    pub fn was_redacted(&self) -> bool {
        self.digits_removed > 0
    }
}

/// The pieces in which a long text is read.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (piece, later) = rest.split_at(rest.floor_char_boundary(MAX_READ_BYTES));
        rest = later;
        (!piece.is_empty()).then_some(piece)
    })
}

impl LanguageWindow {
    /// Forgets what no longer counts in input number `input`. A run that later ones continue counts as long as they do.
    fn forget_before(&mut self, input: u64) {
        self.spread.forget_before(input);
        if self.parts.back().is_some_and(|part| input - part.input >= WINDOW_INPUTS) {
            self.parts.clear();
        }
    }

    /// Adds a run, and the places and card numbers that are to be removed because of it. Places are relative to the
    /// input.
    fn add_run(
        &mut self,
        run: &DigitRun,
        reading: &LanguageScan,
        piece: InputPiece<'_>,
        input: u64,
        places: &mut Vec<Range<usize>>,
        cards: &mut Vec<DetectedCard>,
    ) {
        let range = run.byte_range();
        let range = range.start + piece.offset..range.end + piece.offset;
        let kind = if piece.kind == PieceKind::Keys { RunKind::Plain } else { RunKind::of(run, piece.text) };
        let may_be_short = match piece.kind {
            PieceKind::Whole => reading.other_words == 0,
            PieceKind::Keys => true,
            PieceKind::Piece | PieceKind::Value => false,
        };
        let is_part = is_possible_part(run, may_be_short) && kind != RunKind::Measured;
        let is_part = is_part && (!run.is_ambiguous || reading.other_words == 0);
        let bareness = match piece.kind {
            PieceKind::Value => Bareness::Sentence,
            PieceKind::Keys => Bareness::Bare,
            PieceKind::Whole | PieceKind::Piece => Bareness::of(reading),
        };
        let nearly = self.parts.back().is_some_and(EarlierRun::is_nearly_card);
        let may_complete = !self.parts.is_empty() && (nearly || is_part);
        let card = if may_complete { find_completed_card(&self.parts, run, input, bareness) } else { None };
        let is_off =
            || piece.kind != PieceKind::Value && kind != RunKind::Measured && is_one_number_off(run, piece.text);
        let card = card.or_else(|| (has_card_number(run) || is_off()).then(|| DetectedCard::whole(run)));
        let may_be_off = piece.kind != PieceKind::Value;
        let spread = self.spread.push(run, kind, input, piece.offset, may_be_off);
        if card.is_some() || piece.policy.removes(run) {
            places.push(range.clone());
        }
        if let Some(card) = card {
            let others = self.parts.iter().filter(|part| card.includes_run(part, input));
            places.extend(others.map(|part| part.byte_range.clone()));
            keep_card(cards, card);
        }
        if let Some(card) = spread {
            places.extend(card.byte_ranges.iter().cloned());
            keep_card(cards, DetectedCard::from_spread(card, input));
        }
        if is_part {
            remember_run(&mut self.parts, run, range, input, bareness);
        }
    }
}

/// Adds a card number to those of an input, once.
fn keep_card(cards: &mut Vec<DetectedCard>, card: DetectedCard) {
    if cards.contains(&card) {
        return;
    }
    if cards.len() < MAX_CARDS {
        return cards.push(card);
    }
    if let Some(first) = cards.first_mut() {
        first.is_any = true;
        first.earlier_inputs = first.earlier_inputs.max(card.earlier_inputs);
    }
}

impl RedactionPolicy {
    /// Whether a run is removed although it is no card number.
    fn removes(self, run: &DigitRun) -> bool {
        match self {
            Self::CardNumbers => false,
            Self::EveryDigit => {
                // A word of a hundred stands alone: `set`.
                let is_one_word = run.groups.len() == 1 && run.digits.ends_with(&[0, 0]);
                let stands_with_others = !is_one_word && run.digits.len() >= MIN_AMBIGUOUS_DIGITS;
                !run.is_ambiguous || stands_with_others
            }
        }
    }
}

/// Whether a run is one numeral that is a card number of a large brand but for one digit that was misheard.
fn is_one_number_off(run: &DigitRun, text: &str) -> bool {
    let is_numeral = run.groups.len() == 1 && run.digits.len() == run.byte_range().len();
    is_numeral && is_of_major_brand(&run.digits) && !is_named_otherwise(run, text)
}

/// Returns the card number that ends in this run and started in an earlier one. It starts where a run starts, or after
/// a stray word such as the `one` of `this one`, and only other digits of the card may follow it. Wider windows would
/// find card numbers in phone numbers and amounts by chance.
fn find_completed_card(
    parts: &VecDeque<EarlierRun>,
    run: &DigitRun,
    input: u64,
    bareness: Bareness,
) -> Option<DetectedCard> {
    let (mut digits, mut starts) = (Vec::with_capacity(4 * MAX_CARD_DIGITS), Vec::with_capacity(parts.len()));
    for part in parts {
        starts.push(digits.len());
        digits.extend_from_slice(part.digits.digits());
    }
    let run_start = digits.len();
    digits.extend(run.digits.iter().take(MAX_CARD_DIGITS));
    for (at, (part, start)) in parts.iter().zip(&starts).enumerate() {
        let stray = part.digits.group_sizes().scan(0, |stray, size| {
            *stray += size;
            Some(*stray)
        });
        for from in [0].into_iter().chain(stray.take_while(|stray| *stray <= MAX_STRAY_DIGITS)) {
            let from = start + from;
            let ends = run.groups.iter().map(|group| run_start + group.digit_range.end);
            for to in ends.take_while(|to| to - from <= MAX_CARD_DIGITS) {
                let (number, after) = (&digits[from..to], run_start + run.digits.len() - to);
                let is_end =
                    after == 0 || (DIGITS_BESIDE_NUMBER.contains(&after) && USUAL_CARD_LENGTHS.contains(&number.len()));
                if is_end && is_of_known_brand(number) && is_plausible(parts, at, run, number, (input, bareness, after))
                {
                    let parts = parts.iter().skip(at).map(|part| part.digits.digits().to_vec()).collect();
                    let earlier_inputs = input - part.input;
                    return Some(DetectedCard { digits: number.to_vec(), parts, earlier_inputs, is_any: false });
                }
            }
        }
    }
    None
}

/// Whether a number that starts in part `at` and ends in a run, `after` digits before its end, was read from one card.
/// Inputs with other words may be sentences of their own, about other numbers. Their digits are only parts of a number
/// of a large brand, and must look like parts of one: the more words, the more.
fn is_plausible(
    parts: &VecDeque<EarlierRun>,
    at: usize,
    run: &DigitRun,
    number: &[u8],
    (input, bareness, after): (u64, Bareness, usize),
) -> bool {
    let later = parts.iter().skip(at + 1).filter(|part| part.input != input);
    let bareness = later.map(|part| part.bareness).chain([bareness]).min().unwrap_or(Bareness::Sentence);
    let sizes = || parts.iter().skip(at).map(|part| part.digits.len()).chain([run.digits.len()]);
    let is_shaped = || is_even(sizes()) || ends_with_printed_groups(sizes());
    match bareness {
        Bareness::Bare => true,
        Bareness::Short => {
            let are_short = || sizes().all(|size| size <= MAX_PART_DIGITS || size >= NEARLY_CARD_DIGITS);
            let is_end = || run.digits.len() <= MAX_END_DIGITS && are_short();
            // The issuer's digits and the rest, or the reverse.
            let are_two = || sizes().eq([6, 10]) || sizes().eq([10, 6]);
            is_of_major_brand(number) && (is_shaped() || is_end() || are_two())
        }
        Bareness::Sentence => {
            let is_nearly = || sizes().count() == 2 && sizes().any(|size| size >= NEARLY_CARD_DIGITS);
            after == 0 && is_of_major_brand(number) && (is_shaped() || is_nearly())
        }
    }
}

/// Whether a run may be part of a card number. One or two digits are only if the input has no other words, unlike `two
/// cards`.
fn is_possible_part(run: &DigitRun, may_be_short: bool) -> bool {
    run.digits.len() > MAX_STRAY_DIGITS || may_be_short
}

/// Remembers a run that the next one may continue. A complete card number is remembered too, since one in ten numbers
/// passes the Luhn check before its end.
fn remember_run(
    parts: &mut VecDeque<EarlierRun>,
    run: &DigitRun,
    byte_range: Range<usize>,
    input: u64,
    bareness: Bareness,
) {
    let groups = run.groups.iter().map(|group| &run.digits[group.digit_range.clone()]);
    let Some(digits) = PartDigits::new(groups) else { return parts.clear() };
    parts.push_back(EarlierRun { input, byte_range, digits, bareness });
    let later = |parts: &VecDeque<EarlierRun>| parts.iter().skip(1).map(|part| part.digits.len()).sum::<usize>();
    while later(parts) >= MAX_CARD_DIGITS - 1 {
        parts.pop_front();
    }
}

/// How few other words an input has, besides its digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Bareness {
    /// A sentence of its own.
    Sentence,
    /// A few words.
    Short,
    /// None.
    Bare,
}

impl Bareness {
    fn of(reading: &LanguageScan) -> Self {
        match reading.other_words {
            0 => Self::Bare,
            words if words <= MAX_OTHER_WORDS => Self::Short,
            _ => Self::Sentence,
        }
    }
}

impl LanguageScan {
    /// Whether another reading's runs are to be judged like those of this one.
    fn finds_the_same_as(&self, other: &Self) -> bool {
        self.runs == other.runs && Bareness::of(self) == Bareness::of(other)
    }
}

impl EarlierRun {
    fn is_nearly_card(&self) -> bool {
        self.digits.len() >= NEARLY_CARD_DIGITS && !is_of_known_brand(self.digits.digits())
    }
}

impl DetectedCard {
    /// Whether it is in several parts.
    pub(super) fn is_in_parts(&self) -> bool {
        self.parts.len() > 1
    }

    /// The card number that a run contains.
    fn whole(run: &DigitRun) -> Self {
        Self { digits: run.digits.clone(), parts: Vec::new(), earlier_inputs: 0, is_any: false }
    }

    fn from_spread(card: SpreadCard, input: u64) -> Self {
        let SpreadCard { digits, parts, first_input, .. } = card;
        Self { digits, parts, earlier_inputs: input - first_input, is_any: false }
    }

    /// How many inputs before this one it started: 0 if it was in one input.
    pub fn earlier_inputs(&self) -> u64 {
        self.earlier_inputs
    }

    /// Whether this run is part of the card number and in the same input as its end.
    fn includes_run(&self, part: &EarlierRun, input: u64) -> bool {
        part.input == input && self.parts.iter().any(|digits| digits == part.digits.digits())
    }

    fn is_part(&self, run: &[u8], said: bool) -> bool {
        let is_within = || self.is_any || self.digits.windows(run.len()).any(|part| part == run);
        (said && self.parts.iter().any(|part| part == run)) || (run.len() >= MIN_PARTIAL_DIGITS && is_within())
    }
}

/// Card numbers whose parts are removed from what was said or written before.
#[derive(Debug)]
pub struct CardParts<'a> {
    /// With whether the text is one of the inputs that the number came from, in which any part of it is removed.
    cards: Vec<(&'a DetectedCard, bool)>,
}

impl<'a> CardParts<'a> {
    /// The parts of these numbers in a text; `said` is whether the text is one of the inputs that a number came from.
    pub fn new(cards: &'a [DetectedCard], said: impl Fn(&DetectedCard) -> bool) -> Self {
        Self { cards: cards.iter().map(|card| (card, said(card))).collect() }
    }

    /// Whether there is no number.
    pub fn is_empty(&self) -> bool {
        self.cards.is_empty()
    }

    /// Removes the parts from a text.
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        redact_runs(text, |run| self.cards.iter().any(|(card, said)| card.is_part(&run.digits, *said)))
    }

    /// Removes the parts from the end of a text, so that the work does not grow with the text.
    pub fn redact_end(&self, text: &mut String, max_bytes: usize) {
        let start = text.floor_char_boundary(text.len().saturating_sub(max_bytes));
        if let Cow::Owned(end) = self.redact(&text[start..]) {
            text.replace_range(start.., &end);
        }
    }

    /// Whether a text has a part.
    pub fn are_in(&self, text: &str) -> bool {
        matches!(self.redact(text), Cow::Owned(_))
    }

    /// Removes the parts from JSON, which stays JSON.
    pub fn redact_json(&self, json: &mut RedactedJson) {
        json.update(|text| match self.redact(text) {
            Cow::Borrowed(_) => None,
            Cow::Owned(text) => {
                let is_json = serde_json::from_str::<IgnoredAny>(&text).is_ok();
                Some(if is_json { text } else { "{}".to_owned() })
            }
        });
    }
}

/// Prints the number of inputs, not their text.
impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redactor({} inputs)", self.inputs)
    }
}

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redacted({} digits removed)", self.digits_removed)
    }
}

impl fmt::Debug for DetectedCard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DetectedCard")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::REDACTED;
    use proptest::prelude::*;

    /// The inputs after redaction of all of them.
    fn heard(inputs: &[&str]) -> Vec<String> {
        let mut redactor = Redactor::default();
        let mut kept: Vec<String> = Vec::new();
        for input in inputs {
            let heard = redactor.redact(input, RedactionPolicy::CardNumbers);
            for (ago, text) in (1..).zip(kept.iter_mut().rev()) {
                *text = CardParts::new(&heard.cards, |card| ago <= card.earlier_inputs()).redact(text).into_owned();
            }
            assert_eq!(heard.was_redacted(), heard.text != *input);
            kept.push(heard.text);
        }
        kept
    }

    #[test]
    fn a_card_number_in_parts_is_removed_from_all_inputs() {
        for parts in [
            &["it is 4242 4242", "4242 4242"][..],
            &["four two four two four two four two", "and then forty-two forty-two 4242, got it?"],
            &["4242 42", "um", "42 4242", "wait a second", "the last four are 4242"],
            &["4", "2", "4", "2", "4", "2", "4", "2", "4", "2", "4", "2", "4", "2", "4", "2"],
            &["3782", "822463", "10005 and 1227"],
            &["one 4242 4242", "4242 4242 123"],
            &["cuatro dos cuatro dos cuatro dos", "cuatro dos 4242 4242"],
            &["it is 4242 4242, are you writing, 4242 4242"],
            &["5105 1051 0510 510", "zero, that's it"],
            &["5105 1051 0510 51", "and it ends with 00"],
            &["it is 4242, are you writing? 4242", "4242 yes, and the rest is 4242"],
            &["it is 4242 4242", "yes", "no", "hm", "well then", "4242 4242"],
            // A digit is wrong, or missing.
            &["4242 4242", "4242 4241"],
            &["4242 4242", "4242 424"],
            &["4242 4242 4242 4241"],
            &["the number is 4242424242424241, right?"],
            &["378282246310004"],
            // Parts that end where groups are printed, and the issuer's digits alone.
            &["it starts with 424242424242 I believe", "then after that it goes on with 4242, and that is all of it"],
            &[
                "the first bit of it says 3782, see",
                "after that bit there is 822463",
                "and the end of it reads 10005 here",
            ],
            &["it is 424242", "then 4242424242"],
            &["that one starts 4539148803, you see", "and after that it goes on 436467 as far as I see"],
            &["the first of it reads 4539148, you see", "and after that it goes on 803436467 as far as I see"],
            &["the first of it reads 45391, you see", "then after that 48803, and", "at the end I see 436467 on it"],
            &[
                "it reads 45391, you see",
                "then after that 48803, and",
                "here I see 43646 on it",
                "and at the very end a 7",
            ],
            &["it begins with a 4, you see", "and after that it goes on 539148803436467 as far as I see"],
            &["the first of it reads 37828, you see", "then after that 22463, and", "at the end I see 10005 on it"],
            // Particles that are written together with the number.
            &["4539에 1488에 0343에 6467"],
            &["4539km 1488W 0343th 6467"],
            &[
                "it begins with forty-five, next we have thirty-nine, then fourteen, then comes eighty-eight, then oh three, next we \
               have forty-three, then sixty-four, and last sixty-seven",
            ],
            &["four two four two four two four two four two four two four two four one"],
        ] {
            let kept = heard(parts);
            assert!(!kept.concat().contains(|c: char| c.is_ascii_digit()), "{kept:?}");
            assert!(!["forty", "two", "dos"].iter().any(|word| kept.concat().contains(word)), "{kept:?}");
        }
    }

    #[test]
    fn a_repeated_card_number_is_removed_where_it_was_started() {
        let kept = heard(&["it is 4242 4242", "sorry: 4242 4242 4242 4242"]);
        assert_eq!(kept, [format!("it is {REDACTED}"), format!("sorry: {REDACTED}")]);
    }

    #[test]
    fn other_numbers_stay() {
        for inputs in [
            &["call 415 867 5309", "my order is 1234", "I owe 25.00", "two cards", "90210"][..],
            &["my order is 4242424242424241"],
            &["the invoice number, I think, is 378282246310004", "and parcel 5105105105105101"],
            &["it says 1242424242424241", "37828224631000"],
            &["call me at +44 20 7946 0958", "one moment, please"],
            &["it is 4000 1234 56", "one moment, please"],
            &["call 415 867 5309 or 415 867 5310", "or 650 555 0100, order 90210"],
            &["mój numer to +44 20 7946 9210", "mój numer to +49 30 9220 2755"],
            &[
                "I see 4 here",
                "and 2 there",
                "4 of them",
                "call zero eight one two seven four four zero zero seven four three",
            ],
        ] {
            assert_eq!(heard(inputs), inputs);
        }
    }

    /// The inputs that make up a number, each with other words.
    const SPREAD: &[&[&str]] = &[
        &[
            "then I see 44 on it, then I see 85 on it, then I see 27 on it, then I see 57 on it, then 42 is there, then I \
           see 30 on it, then 83 it says, and then I see 27",
        ],
        &[
            "first it says 44",
            "then I see 85 here",
            "27 is the next",
            "and 57 comes after that",
            "the next says 42",
            "30 is behind it",
            "83 follows",
            "and at the end I read 27",
        ],
        &["digit 4 digit 4 digit 8 digit 5 digit 2 digit 7 digit 5 digit 7 digit 4 digit 2 digit 3 digit 0 digit 8 \
           digit 3 digit 2 digit 7"],
        &["the front half is 4485 2757", "yes", "I am 44", "no, not that", "thanks", "and the back half is 4230 8327"],
        &[
            "then forty five, next we have thirty nine, then fourteen, then eighty eight, then zero three, then forty three, \
           then sixty four, then sixty seven",
        ],
        &[
            "it begins with forty five, next we have thirty nine, after that fourteen, then comes eighty eight, then zero \
           three, next we have forty three, after that sixty four, and then comes sixty seven",
        ],
        &[
            "one of them is forty-four",
            "this one is eighty-five",
            "twenty-seven it says",
            "fifty-seven is behind",
            "forty-two after it",
            "one more, thirty I think",
            "eighty-three there",
            "the last one says twenty-seven",
        ],
        &[
            "I read 4 here, 48 there, 5 beside it, 275 below, 74 and there 230, also 83 it seems",
            "the last is 27 I think",
        ],
        // The last digit is wrong.
        &[
            "first is 44",
            "then I see 85 here",
            "27 is next",
            "57 comes after that",
            "next says 42",
            "30 is behind it",
            "83 follows",
            "at the end I read 28",
        ],
    ];

    #[test]
    fn digits_are_counted_over_the_last_ten_inputs() {
        for inputs in SPREAD {
            let kept = heard(inputs).concat();
            let left = kept.chars().filter(char::is_ascii_digit).count();
            assert!(left <= 2, "{kept}");
            for word in ["forty", "fifty", "eighty", "thirty"] {
                assert!(!kept.contains(word), "{kept}");
            }
        }
    }

    #[test]
    fn pieces_of_a_text_are_counted_like_inputs() {
        let mut redactor = Redactor::default();
        redactor.begin_input();
        for piece in ["I see 44 on it,", " then 85 is", " there and 27 then", " 57 follows", " with 42 be", "hind for"]
        {
            assert!(!redactor.redact_piece(piece).was_redacted(), "{piece}");
        }
        redactor.begin_input();
        for piece in ["a 30 is", " there, eigh", "ty-three comes"] {
            assert!(!redactor.redact_piece(piece).was_redacted(), "{piece}");
        }
        let last = redactor.redact_piece(" and 27 is last");
        assert_eq!(last.text, format!(" and {REDACTED} is last"));
        assert_eq!(last.cards[0].earlier_inputs(), 1);
        assert_eq!(CardParts::new(&last.cards, |_| true).redact("eighty-three comes"), format!("{REDACTED} comes"));
    }

    #[test]
    fn keys_in_parts_of_any_length_are_one_number() {
        let mut redactor = Redactor::default();
        assert!(!redactor.redact_keys("[on the keypad] 3782822").was_redacted());
        assert_eq!(redactor.redact_keys("[on the keypad] 46310005").text, format!("[on the keypad] {REDACTED}"));
    }

    #[test]
    fn many_card_numbers_in_one_input_are_bounded() {
        let inputs = (0..400).map(|n| format!("4{n:03} is x")).collect::<Vec<_>>().join(" ");
        let mut redactor = Redactor::default();
        let heard = redactor.redact(&inputs, RedactionPolicy::CardNumbers);
        assert!(heard.was_redacted() && heard.cards.len() <= MAX_CARDS);
    }

    #[test]
    fn a_removed_part_still_counts() {
        let mut redactor = Redactor::default();
        assert!(!redactor.redact("4242 4242", RedactionPolicy::CardNumbers).was_redacted());
        let policy = RedactionPolicy::EveryDigit;
        assert_eq!(redactor.redact("4242 42", policy).text, REDACTED);
        let last = redactor.redact("42", policy);
        assert_eq!((last.text.as_str(), last.cards[0].earlier_inputs()), (REDACTED, 2));
    }

    proptest! {
        #[test]
        fn no_part_of_a_card_number_stays_wherever_it_is_split(
            splits in prop::collection::vec(1_usize..16, 1..4), inputs in prop::sample::select(vec![" ", "uh ", "and "]),
        ) {
            let mut splits: Vec<usize> = splits;
            splits.sort_unstable();
            splits.dedup();
            let number = "5105105105105100";
            let bounds: Vec<usize> = [vec![0], splits, vec![16]].concat();
            let parts: Vec<String> = bounds.windows(2).map(|part| format!("{inputs}{}", &number[part[0]..part[1]])).collect();
            let kept = heard(&parts.iter().map(String::as_str).collect::<Vec<_>>());
            prop_assert!(!kept.concat().contains(|c: char| c.is_ascii_digit()), "{kept:?}");
        }
    }
}
