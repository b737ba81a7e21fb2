//! Normalises a text character by character: what looks or reads like a digit is a digit, letters are in lower case and
//! without accents, and what cannot be seen is dropped. Each symbol keeps its place in the text, since redaction cuts
//! the text as it was written.

mod digits;

use std::ops::Range;

use unicode_normalization::char::{decompose_compatible, is_combining_mark};

use digits::{decimal_digit, parse_number_signs};

/// One character of the normalised text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Symbol {
    /// 0 to 9.
    Digit(u8),
    /// A letter in lower case and without accents, or a vowel sign of a script that has them.
    Letter(char),
    /// An apostrophe, which may stand inside a word: `that's`.
    Apostrophe,
    /// An accent or an invisible character. It belongs to the character before it.
    Mark,
    /// A blank or a hyphen, which may stand inside a number: `forty-two`.
    Joiner,
    /// Anything else.
    Other,
}

/// Passes each symbol of a text with its range in bytes to `emit`. A character that decomposes into several symbols has
/// the same range for each of them. Returns the start of a character reference at the end of the text that more text
/// may complete: `&#5`.
pub(super) fn normalise(text: &str, mut emit: impl FnMut(Symbol, Range<usize>)) -> Option<usize> {
    let mut at = 0;
    let mut incomplete = None;
    while let Some(c) = text[at..].chars().next() {
        let mut end = at + c.len_utf8();
        let mut c = c;
        if c == '&' {
            let reference = CharacterReference::parse(&text[at..]);
            if reference.is_incomplete {
                incomplete = incomplete.or(Some(at));
            }
            if let Some(meant) = reference.character {
                (c, end) = (meant, at + reference.length);
            }
        }
        if c.is_ascii() {
            emit(classify_ascii(c), at..end);
        } else if let Some((value, length)) = parse_number_signs(c, &text[end..]) {
            end += length;
            value.to_string().bytes().for_each(|digit| emit(Symbol::Digit(digit - b'0'), at..end));
        } else {
            classify(c, |symbol| emit(symbol, at..end));
        }
        at = end;
    }
    incomplete
}

/// Returns a letter in lower case and without accents, as the table of number words has it.
#[cfg(test)]
pub(super) fn fold_word(word: &str) -> String {
    let mut folded = String::new();
    normalise(word, |symbol, _| {
        if let Symbol::Letter(letter) = symbol {
            push_letter(&mut folded, letter);
        }
    });
    folded
}

/// Adds a letter to a word; some letters are written as two.
pub(super) fn push_letter(word: &mut String, letter: char) {
    match letter {
        'ß' => word.push_str("ss"),
        'æ' => word.push_str("ae"),
        'œ' => word.push_str("oe"),
        'þ' => word.push_str("th"),
        letter => word.push(letter),
    }
}

fn classify_ascii(c: char) -> Symbol {
    match c {
        '0'..='9' => Symbol::Digit(u8::try_from(c).map_or(0, |c| c - b'0')),
        'a'..='z' => Symbol::Letter(c),
        'A'..='Z' => Symbol::Letter(c.to_ascii_lowercase()),
        '\'' => Symbol::Apostrophe,
        '-' => Symbol::Joiner,
        c if c.is_whitespace() => Symbol::Joiner,
        _ => Symbol::Other,
    }
}

fn classify(c: char, mut emit: impl FnMut(Symbol)) {
    match c {
        '\u{2018}' | '\u{2019}' | '\u{2bb}' | '\u{2bc}' => return emit(Symbol::Apostrophe),
        '\u{2010}' | '\u{2011}' => return emit(Symbol::Joiner),
        // Syllables of Hangul stay composed: their parts are no letters of a word.
        '\u{ac00}'..='\u{d7a3}' => return emit(Symbol::Letter(c)),
        c if is_dropped(c) => return emit(Symbol::Mark),
        c if c.is_whitespace() => return emit(Symbol::Joiner),
        c => {
            if let Some(digit) = decimal_digit(c) {
                return emit(Symbol::Digit(digit));
            }
        }
    }
    for lower in c.to_lowercase() {
        decompose_compatible(lower, |part| emit(classify_part(part)));
    }
}

/// Classifies a character that is decomposed already.
fn classify_part(c: char) -> Symbol {
    if c.is_ascii() {
        return classify_ascii(c);
    }
    match c {
        c if is_dropped(c) => Symbol::Mark,
        c if c.is_whitespace() => Symbol::Joiner,
        c if c.is_alphabetic() || is_combining_mark(c) => Symbol::Letter(fold_letter(c)),
        c => match decimal_digit(c) {
            Some(digit) => Symbol::Digit(digit),
            None if c.is_numeric() => Symbol::Letter(c),
            None => Symbol::Other,
        },
    }
}

/// Returns the letter that is usually written instead, where decomposition has none.
fn fold_letter(c: char) -> char {
    match c {
        'ø' => 'o',
        'đ' | 'ð' => 'd',
        'ł' => 'l',
        'ı' => 'i',
        'ħ' => 'h',
        'ς' => 'σ',
        // The two signs of a nasal vowel in Indian scripts are written for each other.
        '\u{901}' => '\u{902}',
        '\u{981}' => '\u{982}',
        '\u{a81}' => '\u{a82}',
        'ك' => 'ک',
        'ي' | 'ى' => 'ی',
        'ة' => 'ه',
        c => c,
    }
}

/// Whether a character is an accent, a point of Hebrew or Arabic, an enclosing mark, or invisible.
fn is_dropped(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{640}' | '\u{670}' | '\u{180b}'..='\u{180e}' | '\u{feff}'
        | '\u{300}'..='\u{36f}' | '\u{591}'..='\u{5c7}' | '\u{600}'..='\u{605}' | '\u{64b}'..='\u{65f}'
        | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{20d0}'..='\u{20ff}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{fe20}'..='\u{fe2f}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// A numeric character reference of HTML at the start of a text: `&#52;`, `&#x34;`.
#[derive(Default)]
struct CharacterReference {
    character: Option<char>,
    /// Its length in bytes.
    length: usize,
    /// Whether the text ends before it does.
    is_incomplete: bool,
}

impl CharacterReference {
    fn parse(text: &str) -> Self {
        /// Digits of the largest code point, with a few zeros in front.
        const MAX_DIGITS: usize = 8;
        let bytes = text.as_bytes();
        let Some(b'#') = bytes.get(1) else {
            return Self { is_incomplete: bytes.len() == 1, ..Self::default() };
        };
        let (radix, from) = if matches!(bytes.get(2), Some(b'x' | b'X')) { (16, 3) } else { (10, 2) };
        let is_digit = |byte: &&u8| char::from(**byte).is_digit(radix);
        let length = bytes[from..].iter().take(MAX_DIGITS).take_while(is_digit).count();
        let to = from + length;
        let value = u32::from_str_radix(&text[from..to], radix).ok().and_then(char::from_u32);
        let is_ended = bytes.get(to) == Some(&b';');
        // What perhaps is no reference is read as it is written, since its digits are digits then: `&#12/27`, `&#0;`. A
        // second reference inside the first is none.
        let is_text = |c: char| c != '&' && (!c.is_control() || c.is_whitespace());
        let character = value.filter(|c| c.is_numeric() || (is_ended && is_text(*c)));
        let is_incomplete = to == bytes.len() && length < MAX_DIGITS;
        Self { character, length: to + usize::from(is_ended), is_incomplete }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::language::DICTIONARY;

    fn normal(text: &str) -> String {
        let mut normal = String::new();
        normalise(text, |symbol, _| match symbol {
            Symbol::Digit(digit) => normal.push(char::from(b'0' + digit)),
            Symbol::Letter(letter) => push_letter(&mut normal, letter),
            Symbol::Apostrophe => normal.push('\''),
            Symbol::Mark => {}
            Symbol::Joiner => normal.push(' '),
            Symbol::Other => normal.push('.'),
        });
        normal
    }

    #[test]
    fn digits_of_all_kinds_are_digits() {
        for (written, digits) in [
            ("４２４２", "4242"),
            ("٤٢۴۲", "4242"),
            ("४२৪২๔๒໔໒", "42424242"),
            ("𝟒𝟚𝟜𝟐𝟺𝟮", "424242"),
            ("④②❹❷➃➁⓸⓶", "42424242"),
            ("⑩⓪⓿🄋⑲㉑㊿", "1000019"),
            ("4\u{fe0f}\u{20e3}2\u{fe0f}\u{20e3}", "42"),
            ("4\u{336}2\u{336}", "42"),
            ("4\u{200b}2\u{200d}4\u{2060}2\u{ad}", "4242"),
            ("&#52;&#x32;&#x00034;&#50", "4242"),
            ("⁴₂", "42"),
            ("Ⅳⅱ", "42"),
            ("🯴🯲", "42"),
        ] {
            assert!(normal(written).starts_with(digits), "{written}: {}", normal(written));
        }
        assert_eq!(normal("⑷⑵ ⒋"), ".4..2. 4.");
    }

    #[test]
    fn number_signs_are_numbers() {
        for (written, digits) in [
            ("፵፪፻፲፩፪", "421112"),
            ("〡〢〣〤〥〦〧〨〩", "123456789"),
            ("ⅩⅣ Ⅼ Ⅷ ⅹⅱ Ⅻ", "14 50 8 12 12"),
            ("❿❷⓬㉈", "1021210"),
            ("𝍠𝍨𝋢𝋓𝋀", "192190"),
            ("𐄚𐄓𐄈", "242"),
            ("௰௱ ൰", "10100 10"),
            ("&#x3024;&#x3022;", "42"),
        ] {
            assert_eq!(normal(written).replace(' ', ""), digits.replace(' ', ""), "{written}");
        }
    }

    #[test]
    fn no_numeric_character_is_overlooked() {
        let is_read = |c: &char| {
            let normal = normal(&c.to_string());
            let word = normal.trim_matches('.');
            normal.contains(|c: char| c.is_ascii_digit()) || !DICTIONARY.find(word).is_empty()
        };
        let overlooked: String = ('\0'..=char::MAX).filter(|c| c.is_numeric() && !is_read(c)).collect();
        // Fractions, numbers above 99,999, and signs of instruments.
        let others = concat!(
            "৴৵৶৷৸୲୳୴୵୶୷൘൙൚൛൜൝൞൳൴൵൶൷൸༪༫༬༭༮༯༰༱༲༳ↈ⳽꠰꠱꠲꠳꠴꠵𐅀𐅁𐅵𐅶𐅷𐅸𐆋𐦼𐦽𐧭𐧮𐧯𐧰𐧱𐧲𐧳𐧴𐧵𐧶𐧷𐧸𐧹𐧺𐧻𐧼𐧽𐧾𐧿𐩈𐹻𐹼𐹽𐹾𐼦𑿀𑿁𑿂𑿃𑿄𑿅𑿆𑿇𑿈𑿉𑿊𑿋𑿌𑿍𑿎𑿏𑿐𑿑𑿒𑿓𑿔",
            "𒐲𒐳𒑚𒑛𒑜𒑝𒑞𒑟𒑠𒑡𒑢𒑣𒑤𒑥𒑦𖭞𖭟𖭠𖭡𖿴𖿵𖿶𞲞𞲟𞲠𞲡𞲢𞲭𞲮𞲯𞲴𞴼𞴽"
        );
        assert_eq!(overlooked, others);
    }

    #[test]
    fn letters_are_folded() {
        for (written, folded) in [
            ("Quatre-VINGTS", "quatre vingts"),
            ("zwölf dreißig", "zwolf dreissig"),
            ("e\u{301}te\u{301}", "ete"),
            ("ＦＯＵＲ 𝐟𝐨𝐮𝐫 ﬁve", "four four five"),
            ("İki ÅTTA", "iki atta"),
            ("אַרְבַּע", "ארבע"),
            ("that’s", "that's"),
        ] {
            assert_eq!(normal(written), folded, "{written}");
        }
    }

    #[test]
    fn only_a_numeric_reference_is_read() {
        for (written, read) in [
            ("a & b", "a . b"),
            ("&amp; &#; &#zz &#x;", ".amp. ..  ..zz ..x."),
            ("&#38;#52;", "..38..52."),
            ("&#102;&#111;ur &#x46;", "four f"),
            ("4&#32;2&#45;4", "4 2 4"),
            ("&#0; &#12/27 &#65", "..0. ..12.27 ..65"),
        ] {
            assert_eq!(normal(written), read.replace("  ", ". "), "{written}");
        }
        assert_eq!(normalise("is &#5", |_, _| {}), Some(3));
        assert_eq!(normalise("is &", |_, _| {}), Some(3));
        assert_eq!(normalise("is &#52;", |_, _| {}), None);
    }
}
