//! A number in words, built word by word: `four`, `thousand`, `two`, `hundred`, `and`, `forty`, `two`.

use std::ops::Range;

use super::language::NumberGrammar;

/// A number that is being parsed.
pub(super) struct SpokenNumber {
    value: u64,
    /// The powers of ten from a thousand up by which parts of it were multiplied, as bits: 1 << 3 for a thousand.
    powers: u16,
    /// The next word is added only if its value is below this.
    addable_below: u32,
    /// The value of the last word.
    last_value: u32,
    /// Whether the last word was `and`.
    ends_with_and: bool,
    /// How often the number is repeated: 2 after `double`.
    pub(super) repeat_count: u8,
    /// Its range in the text, in bytes.
    pub(super) byte_range: Range<usize>,
    /// Whether all its words are everyday words of other languages.
    pub(super) is_weak: bool,
}

impl SpokenNumber {
    /// A number that starts with this word.
    pub(super) fn new(value: u32, way: NumberGrammar) -> Self {
        let zeros = value.checked_ilog10().filter(|zeros| value.is_multiple_of(10_u32.pow(*zeros)) && *zeros >= 3);
        Self {
            value: value.into(),
            powers: zeros.map_or(0, |zeros| 1 << zeros),
            addable_below: zeros.map_or_else(|| addable_below(value, way), |zeros| 10_u32.pow(zeros)),
            last_value: value,
            ends_with_and: false,
            repeat_count: 1,
            byte_range: 0..0,
            is_weak: false,
        }
    }

    /// Ten, to which units may be added: `puluh`, `十`.
    pub(super) fn ten() -> Self {
        Self { addable_below: 10, ..Self::new(10, NumberGrammar::Plain) }
    }

    /// Adds an `and`.
    pub(super) fn push_and(&mut self) {
        self.ends_with_and = true;
    }

    /// Whether the next number word belongs to this number. `close` is whether only blanks and hyphens come before it.
    pub(super) fn accepts(&self, value: u32, way: NumberGrammar, close: bool) -> bool {
        let last_two = self.value % 100;
        let is_unit = (1..10).contains(&last_two) && self.addable_below == 1;
        match way {
            NumberGrammar::UnitsFirst if self.ends_with_and && is_unit => {
                return (20..100).contains(&value) && value.is_multiple_of(10);
            }
            NumberGrammar::Vigesimal if value == 20 && last_two == 4 && is_unit => return close,
            NumberGrammar::Vigesimal if self.last_value == 10 && self.addable_below == 10 => {
                return close && (7..10).contains(&value);
            }
            NumberGrammar::PlacedZero if value == 0 => return close && self.addable_below >= 100,
            _ => {}
        }
        // A comma may follow hundreds; units directly follow their tens.
        value > 0 && value < self.addable_below && (close || self.addable_below >= 100)
    }

    /// Adds an accepted number word, which ends at byte `end` of the text.
    pub(super) fn add(&mut self, value: u32, way: NumberGrammar, end: usize) {
        let four_score = way == NumberGrammar::Vigesimal && value == 20 && self.addable_below == 1;
        self.value = if four_score { self.value - 4 + 80 } else { self.value + u64::from(value) };
        self.addable_below = match way {
            NumberGrammar::Vigesimal if four_score => 20,
            // The units came first.
            NumberGrammar::UnitsFirst if value < 100 => 1,
            NumberGrammar::PlacedZero if value == 0 => 100,
            _ => addable_below(value, way),
        };
        self.ends_with_and = false;
        self.last_value = value;
        self.byte_range.end = end;
    }

    /// Multiplies what follows the next larger power by a power of ten from a hundred up, if that makes a number; returns
    /// whether it did. After a larger power it may stand alone: `cinq mille cent`.
    pub(super) fn try_multiply(&mut self, by: u32, end: usize) -> bool {
        let power = u64::from(by);
        let zeros = by.ilog10();
        let larger = self.powers >> zeros >> 1;
        let after = if larger == 0 { u64::MAX } else { 10_u64.pow(zeros + 1 + larger.trailing_zeros()) };
        let part = self.value % after;
        self.value = match part {
            _ if self.addable_below == 0 => return false,
            // `không trăm`: no hundreds.
            0 if self.last_value == 0 && larger != 0 => self.value,
            0 if larger != 0 => self.value + power,
            1.. if part < power && part.saturating_mul(power) < after => self.value - part + part * power,
            _ => return false,
        };
        if by >= 1_000 {
            self.powers = self.powers >> zeros << zeros | 1 << zeros;
        }
        self.addable_below = by;
        self.byte_range.end = end;
        true
    }

    /// Multiplies a unit at the end by ten, and returns whether there was one.
    pub(super) fn try_multiply_by_ten(&mut self, end: usize) -> bool {
        let unit = self.value % 100;
        if !(1..10).contains(&unit) || self.addable_below != 1 {
            return false;
        }
        self.value += unit * 9;
        self.addable_below = 10;
        self.byte_range.end = end;
        true
    }

    /// Adds ten to a unit at the end, and returns whether there was one.
    pub(super) fn try_add_ten(&mut self, end: usize) -> bool {
        let is_unit = (1..10).contains(&(self.value % 100)) && self.addable_below == 1;
        if is_unit {
            self.value += 10;
            self.byte_range.end = end;
        }
        is_unit
    }

    /// Takes the number as a count of this digit, and returns whether it is a count: `four ones`.
    pub(super) fn try_count(&mut self, digit: u8, end: usize) -> bool {
        let count = u8::try_from(self.value).ok().filter(|count| (2..20).contains(count));
        let (Some(count), 1) = (count, self.repeat_count) else { return false };
        (self.value, self.repeat_count, self.addable_below) = (digit.into(), count, 0);
        self.byte_range.end = end;
        true
    }

    /// Its digits, 0 to 9 each.
    pub(super) fn digits(&self) -> Vec<u8> {
        let value = self.value.to_string();
        value.bytes().map(|digit| digit - b'0').collect::<Vec<_>>().repeat(self.repeat_count.into())
    }
}

/// The value below which the next word is added to a number that ends in `value`.
fn addable_below(value: u32, way: NumberGrammar) -> u32 {
    match value {
        10 if way == NumberGrammar::OpenTen => 10,
        60 if way == NumberGrammar::Vigesimal => 20,
        10 if way == NumberGrammar::Vigesimal => 10,
        20..100 if value.is_multiple_of(10) && way != NumberGrammar::UnitsFirst => 10,
        100.. if value.is_multiple_of(100) => 100,
        _ => 1,
    }
}
