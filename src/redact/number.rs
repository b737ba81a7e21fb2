//! A number in words, made word by word: `four`, `thousand`, `two`, `hundred`, `and`, `forty`, `two`.

use std::ops::Range;

use super::language::Way;

/// A number while it is read.
pub(super) struct Number {
    thousands: u32,
    rest: u32,
    /// What may be added: anything below this.
    open: u32,
    /// `and` came last.
    and: bool,
    /// How often it was said to stand: twice after `double`.
    pub(super) times: u8,
    /// Its bytes in the text.
    pub(super) place: Range<usize>,
}

impl Number {
    /// A number that begins with this word.
    pub(super) fn new(value: u32, way: Way) -> Self {
        let open = if value == 1_000 { 1_000 } else { open(value, way) };
        Self { thousands: value / 1_000, rest: value % 1_000, open, and: false, times: 1, place: 0..0 }
    }

    /// `and` follows.
    pub(super) fn joined(&mut self) {
        self.and = true;
    }

    /// Whether a number word that follows belongs to this number. `close` is whether it follows without as much as a comma.
    pub(super) fn takes(&self, value: u32, way: Way, close: bool) -> bool {
        let last_two = self.rest % 100;
        let is_unit = (1..10).contains(&last_two) && self.open == 1;
        match way {
            Way::UnitsFirst if self.and && is_unit => return (20..100).contains(&value) && value.is_multiple_of(10),
            Way::Scores if value == 20 && last_two == 4 && is_unit => return close,
            Way::Scores if last_two % 20 == 10 && self.open == 10 => return close && (7..10).contains(&value),
            _ => {}
        }
        // A comma may follow the hundreds; the units follow their tens at once.
        value > 0 && value < self.open && (close || self.open >= 100)
    }

    /// Adds a number word that it takes, which ends there in the text.
    pub(super) fn add(&mut self, value: u32, way: Way, end: usize) {
        let four_score = way == Way::Scores && value == 20 && self.open == 1;
        self.rest = if four_score { self.rest - 4 + 80 } else { self.rest + value };
        self.open = match way {
            Way::Scores if four_score => 20,
            // Its units came first.
            Way::UnitsFirst if value < 100 => 1,
            _ => open(value, way),
        };
        self.and = false;
        self.place.end = end;
    }

    /// Multiplies what was said by `hundred` or `thousand`, if that makes a number.
    pub(super) fn multiply(&mut self, by: u32, end: usize) -> bool {
        match by {
            100 if (1..100).contains(&self.rest) => self.rest *= 100,
            1_000 if self.thousands == 0 && (1..1_000).contains(&self.rest) => {
                self.thousands = self.rest;
                self.rest = 0;
            }
            _ => return false,
        }
        self.open = by;
        self.place.end = end;
        true
    }

    /// Its digits, 0 to 9 each.
    pub(super) fn digits(&self) -> Vec<u8> {
        let value = (self.thousands * 1_000 + self.rest).to_string();
        value.bytes().map(|digit| digit - b'0').collect::<Vec<_>>().repeat(self.times.into())
    }
}

/// What may be added to a number that ends in `value`.
fn open(value: u32, way: Way) -> u32 {
    match value {
        60 if way == Way::Scores => 20,
        10 if way == Way::Scores => 10,
        20..100 if value.is_multiple_of(10) && way != Way::UnitsFirst => 10,
        100.. if value.is_multiple_of(100) => 100,
        _ => 1,
    }
}
