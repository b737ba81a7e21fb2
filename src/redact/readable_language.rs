//! The languages whose number words are recognised.

/// The primary language subtags.
const PRIMARY_TAGS: [&str; 6] = ["en", "es", "de", "fr", "pt", "it"];

/// Whether number words of a language are recognised. `tag` is a BCP 47 language tag such as `en-US`, in upper or lower
/// case; only its primary language counts. `multi` is no language.
pub fn is_readable_language(tag: &str) -> bool {
    let primary = tag.split(['-', '_']).next().unwrap_or(tag);
    PRIMARY_TAGS.iter().any(|known| known.eq_ignore_ascii_case(primary))
}
