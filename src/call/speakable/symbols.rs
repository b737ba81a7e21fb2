//! Characters, HTML tags and entities, by how they are spoken.

/// A character of which text-to-speech makes a pause.
pub(super) fn is_pause(c: char) -> bool {
    ".,;:!?…–—。、，；：！？．।؟،؛".contains(c)
}

/// A character that bullets begin with in plain text.
pub(super) fn is_bullet(c: char) -> bool {
    "•‣◦⁃∙▪▫●○■□◆◇".contains(c)
}

/// A character for eyes alone: emoji, pictographs, and private use, which models use for citations.
pub(super) fn is_pictograph(c: char) -> bool {
    matches!(c,
        '\u{2600}'..='\u{27bf}' | '\u{2b00}'..='\u{2bff}' | '\u{2300}'..='\u{23ff}' | '\u{3030}' | '\u{303d}'
        | '\u{1f000}'..='\u{1faff}' | '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}')
}

/// A character without a shape of its own: variation selectors, the keycap, tags, zero-width and bidi controls.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{20e3}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffc}'
        | '\u{e0000}'..='\u{e01ef}' | '\0'..='\u{8}' | '\u{b}'..='\u{1f}' | '\u{7f}')
}

/// The joiners, which emoji sequences contain, and words of Persian and Indian languages.
pub(super) fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

/// Whether a joiner after `c` belongs to a word.
pub(super) fn takes_joiner(c: char) -> bool {
    c >= '\u{590}' && !is_pictograph(c) && !is_invisible(c)
}

/// A character before which emphasis may begin, besides a blank.
pub(super) fn opens(c: char) -> bool {
    "([{\"'“‘«¡¿*_~`>:–—-".contains(c)
}

/// Tags that are no word and no pause: HTML, and SSML, of which nothing reaches text-to-speech as mark-up.
const INLINE_TAGS: &[&str] = &[
    "a", "abbr", "b", "big", "code", "del", "em", "font", "i", "img", "ins", "kbd", "mark", "s", "small", "span",
    "strike", "strong", "sub", "sup", "u", "tt", "speak", "break", "prosody", "emphasis", "say-as", "phoneme", "voice",
    "audio", "lang",
];

/// Tags that begin or end a line.
const BLOCK_TAGS: &[&str] = &[
    "blockquote",
    "body",
    "br",
    "center",
    "dd",
    "details",
    "div",
    "dl",
    "dt",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "html",
    "li",
    "ol",
    "p",
    "pre",
    "section",
    "summary",
    "table",
    "tbody",
    "td",
    "th",
    "thead",
    "tr",
    "ul",
];

/// How an HTML tag is spoken: as nothing or as a line break. `None` if it is none.
pub(super) fn speak_tag(name: &str) -> Option<&'static str> {
    let is = |known: &&str| known.eq_ignore_ascii_case(name);
    if INLINE_TAGS.iter().any(is) {
        Some("")
    } else if BLOCK_TAGS.iter().any(is) {
        Some("\n")
    } else {
        None
    }
}

/// Whether the name of an HTML tag begins with `start`.
pub(super) fn may_be_tag(start: &str) -> bool {
    let may_be = |known: &&str| {
        known.as_bytes().get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start.as_bytes()))
    };
    INLINE_TAGS.iter().chain(BLOCK_TAGS).chain(&["http", "https"]).any(may_be)
}

/// Named HTML entities.
const ENTITIES: &[(&str, &str)] = &[
    ("amp", "&"),
    ("lt", "<"),
    ("gt", ">"),
    ("quot", "\""),
    ("apos", "'"),
    ("nbsp", " "),
    ("mdash", "—"),
    ("ndash", "–"),
    ("hellip", "…"),
    ("lsquo", "‘"),
    ("rsquo", "’"),
    ("ldquo", "“"),
    ("rdquo", "”"),
    ("laquo", "«"),
    ("raquo", "»"),
    ("euro", "€"),
    ("pound", "£"),
    ("yen", "¥"),
    ("cent", "¢"),
    ("copy", "©"),
    ("reg", "®"),
    ("trade", "™"),
    ("deg", "°"),
    ("times", "×"),
    ("plusmn", "±"),
    ("frac12", "½"),
    ("bull", ","),
    ("middot", ","),
    ("ensp", " "),
    ("emsp", " "),
    ("thinsp", " "),
    ("shy", ""),
    ("zwj", ""),
    ("zwnj", ""),
];

/// How an HTML entity is spoken, by its name without `&` and `;`. `None` if it is none.
pub(super) fn speak_entity(name: &str) -> Option<String> {
    let Some(number) = name.strip_prefix('#') else {
        return ENTITIES.iter().find(|(known, _)| *known == name).map(|(_, words)| (*words).to_owned());
    };
    let code = match number.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => number.parse(),
    };
    let c = char::from_u32(code.ok()?)?;
    let is_silent = is_pictograph(c) || is_invisible(c) || is_joiner(c);
    Some(if is_silent { String::new() } else { c.to_string() })
}

/// Whether the name of an HTML entity begins with `start`.
pub(super) fn may_be_entity(start: &str) -> bool {
    match start.strip_prefix('#') {
        Some(number) => number.strip_prefix(['x', 'X']).unwrap_or(number).chars().all(|c| c.is_ascii_hexdigit()),
        None => ENTITIES.iter().any(|(known, _)| known.starts_with(start)),
    }
}
