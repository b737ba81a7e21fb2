//! The digits of all scripts.

/// The zero of each script's decimal digits, in ascending order: the first of each ten characters of the general
/// category `Nd` of Unicode. The other nine follow it.
const ZEROS: [u32; 77] = [
    0x30, 0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50, 0xed0,
    0xf20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40, 0x1c50, 0xa620,
    0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10, 0x104a0, 0x10d30, 0x10d40, 0x11066, 0x110f0, 0x11136,
    0x111d0, 0x112f0, 0x11450, 0x114d0, 0x11650, 0x116c0, 0x116d0, 0x116da, 0x11730, 0x118e0, 0x11950, 0x11bf0,
    0x11c50, 0x11d50, 0x11da0, 0x11de0, 0x11f50, 0x16130, 0x16a60, 0x16ac0, 0x16b50, 0x16d70, 0x1ccf0, 0x1d7ce,
    0x1d7d8, 0x1d7e2, 0x1d7ec, 0x1d7f6, 0x1e140, 0x1e2f0, 0x1e4f0, 0x1e5f1, 0x1e950, 0x1fbf0,
];

/// Digits and numbers in circles and the like which do not decompose: the first character, the last, and the value of the first.
const ENCLOSED: [(u32, u32, u32); 9] = [
    // Ⅰ and ⅰ: read as a digit, not as letters.
    (0x2160, 0x2168, 1),
    (0x2170, 0x2178, 1),
    (0x24eb, 0x24f4, 11),
    (0x24f5, 0x24fe, 1),
    (0x24ff, 0x24ff, 0),
    (0x2776, 0x277f, 1),
    (0x2780, 0x2789, 1),
    (0x278a, 0x2793, 1),
    (0x1f10b, 0x1f10c, 0),
];

/// Returns the digits of a character that is a decimal digit, or a number in a circle: two digits from ten on.
pub(super) fn digits_of(c: char) -> Option<impl Iterator<Item = u8>> {
    let value = decimal_digit(c).or_else(|| enclosed_number(c))?;
    let digit = |value: u32| u8::try_from(value).ok();
    Some([digit(value / 10).filter(|tens| *tens > 0), digit(value % 10)].into_iter().flatten())
}

fn decimal_digit(c: char) -> Option<u32> {
    let zero = ZEROS[..ZEROS.partition_point(|zero| *zero <= u32::from(c))].last()?;
    Some(u32::from(c) - zero).filter(|value| *value < 10)
}

fn enclosed_number(c: char) -> Option<u32> {
    let c = u32::from(c);
    let (first, _, value) = ENCLOSED.iter().find(|(first, last, _)| (*first..=*last).contains(&c))?;
    // The two circled zeros have the same value.
    Some(if *first == 0x1f10b { 0 } else { value + c - first })
}
