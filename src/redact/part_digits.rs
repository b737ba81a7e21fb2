//! The digits of a run that may be a part of a card number, and what their grouping says.

use super::card::MAX_CARD_DIGITS;

/// The lengths of parts in which people read a card: digits, pairs, threes, the printed groups, halves.
const EVEN_SIZES: [usize; 5] = [1, 2, 3, 4, 8];

/// At most as many digits as a card number has, and the number of digits in each of their groups. It is copied for each
/// language that reads a text, and needs no allocation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct PartDigits {
    digits: [u8; MAX_CARD_DIGITS],
    digit_count: u8,
    group_sizes: [u8; MAX_CARD_DIGITS],
    group_count: u8,
}

impl PartDigits {
    /// Joins groups of digits, none of which is empty. `None` if they are more than a card number has.
    pub(super) fn new<'a>(groups: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let (mut digits, mut group_sizes) = ([0; MAX_CARD_DIGITS], [0; MAX_CARD_DIGITS]);
        let (mut digit_count, mut group_count) = (0, 0);
        for group in groups {
            digits.get_mut(digit_count..digit_count + group.len())?.copy_from_slice(group);
            digit_count += group.len();
            *group_sizes.get_mut(group_count)? = u8::try_from(group.len()).ok()?;
            group_count += 1;
        }
        let (digit_count, group_count) = (u8::try_from(digit_count).ok()?, u8::try_from(group_count).ok()?);
        Some(Self { digits, digit_count, group_sizes, group_count })
    }

    /// 0 to 9 each.
    pub(super) fn digits(&self) -> &[u8] {
        &self.digits[..self.len()]
    }

    /// The number of digits.
    pub(super) fn len(&self) -> usize {
        self.digit_count.into()
    }

    /// The number of digits of each group.
    pub(super) fn group_sizes(&self) -> impl Iterator<Item = usize> + Clone + '_ {
        self.group_sizes[..self.group_count.into()].iter().map(|size| usize::from(*size))
    }

    /// The same, where a zero and a digit after it are a pair: `oh three` among `forty-five`.
    pub(super) fn pair_sizes(&self) -> impl Iterator<Item = usize> + Clone + '_ {
        let mut at = 0;
        let mut sizes = self.group_sizes().peekable();
        std::iter::from_fn(move || {
            let size = sizes.next()?;
            let is_pair = size == 1 && self.digits[at] == 0 && sizes.next_if_eq(&1).is_some();
            let size = if is_pair { 2 } else { size };
            at += size;
            Some(size)
        })
    }

    /// Whether the digits stand in groups as on a card, of which they may be several.
    pub(super) fn is_in_printed_groups(&self) -> bool {
        let sizes = || self.group_sizes[..self.group_count.into()].iter();
        sizes().all(|size| size.is_multiple_of(4))
            || matches!(self.group_sizes[..self.group_count.into()], [4, 6] | [6, 4 | 5])
    }
}

/// Whether sizes of two or more parts are all the same, except that the last one of three or more may be less.
pub(super) fn is_even(sizes: impl Iterator<Item = usize>) -> bool {
    let (mut first, mut count, mut has_ended) = (None, 0, false);
    for size in sizes {
        match first {
            _ if has_ended => return false,
            None if EVEN_SIZES.contains(&size) => first = Some(size),
            Some(first) if size == first => {}
            Some(first) if size < first && count > 1 => has_ended = true,
            _ => return false,
        }
        count += 1;
    }
    count > 1
}

/// Whether parts of these sizes end where the printed groups of a card end: the first or the last four digits alone, or
/// four, six and the rest of a number of 14 or 15 digits. The first ten of these alone are like a phone number.
pub(super) fn ends_with_printed_groups(mut sizes: impl Iterator<Item = usize>) -> bool {
    let sizes = [sizes.next(), sizes.next(), sizes.next(), sizes.next()];
    matches!(
        sizes,
        [Some(12), Some(4), None, None] | [Some(4), Some(10..=12), None, None] | [Some(4), Some(6), Some(4 | 5), None]
    )
}

/// Whether digits have a prefix of one of the large brands and the length of nearly all of its cards. The check digit
/// does not count.
pub(super) fn is_of_major_brand(digits: &[u8]) -> bool {
    major_brand_length(digits) == Some(digits.len())
}

/// The length of nearly all cards of the large brand whose prefix digits have.
pub(super) fn major_brand_length(digits: &[u8]) -> Option<usize> {
    let prefix = digits.iter().take(4).fold(0, |value, digit| value * 10 + u32::from(*digit));
    match prefix {
        3000..=3059 | 3600..=3699 | 3800..=3999 => Some(14),
        3400..=3499 | 3700..=3799 => Some(15),
        4000..=4999 | 5100..=5599 | 2221..=2720 | 6011 | 6440..=6599 | 6200..=6299 | 3528..=3589 => Some(16),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn even(sizes: &[usize]) -> bool {
        is_even(sizes.iter().copied())
    }

    fn printed(sizes: &[usize]) -> bool {
        ends_with_printed_groups(sizes.iter().copied())
    }

    #[test]
    fn only_the_last_size_may_be_less() {
        assert!(even(&[4, 4, 4, 4]) && even(&[3, 3, 3, 3, 3, 1]) && even(&[8, 8]));
        assert!(!even(&[10, 6]) && !even(&[5, 5, 5]) && !even(&[8, 6]) && !even(&[4, 4, 2, 2]));
        assert!(!even(&[4, 4, 2, 4]) && !even(&[2, 4]) && !even(&[4]) && !even(&[]));
    }

    #[test]
    fn parts_end_where_groups_are_printed() {
        assert!(printed(&[4, 6, 5]) && printed(&[4, 6, 4]) && printed(&[4, 11]) && printed(&[4, 10]));
        assert!(printed(&[12, 4]) && printed(&[4, 12]));
        assert!(!printed(&[10, 4]) && !printed(&[10, 5]) && !printed(&[6, 10]) && !printed(&[16]) && !printed(&[]));
        assert!(!printed(&[8, 4, 4]) && !printed(&[5, 5, 5]) && !printed(&[4, 4]) && !printed(&[4, 6, 5, 1]));
    }

    #[test]
    fn a_part_is_no_longer_than_a_card_number() {
        let part = |groups: &[&[u8]]| PartDigits::new(groups.iter().copied());
        let card = part(&[&[3, 7, 8, 2], &[8, 2, 2, 4, 6, 3]]).unwrap();
        assert_eq!((card.digits(), card.len()), (&[3, 7, 8, 2, 8, 2, 2, 4, 6, 3][..], 10));
        assert!(card.group_sizes().eq([4, 6]) && card.is_in_printed_groups());
        assert!(part(&[&[4; 19]]).is_some() && part(&[&[4; 20]]).is_none() && part(&[&[4; 12], &[4; 8]]).is_none());
        assert!(part(&[&[4; 10]]).is_some_and(|part| !part.is_in_printed_groups()));
    }
}
