//! What the removal of card data knows of each language in which callers are heard.

use super::report::Finding;
use crate::assets::ServerConfig;
use crate::redact::is_readable_language;

const SUBJECT: &str = "languages";

/// One finding for each language in which callers are heard.
pub(super) fn check(server: &ServerConfig) -> Vec<Finding> {
    let finding = |tag: String| {
        let message = format!("{tag}: {}", describe_language(&tag));
        let is_known = is_detected(&tag) || is_readable_language(&tag);
        if is_known { Finding::pass(SUBJECT, message) } else { Finding::warning(SUBJECT, message) }
    };
    heard_languages(server).into_iter().map(finding).collect()
}

/// The languages in which callers may be heard, as configured.
pub(crate) fn heard_languages(server: &ServerConfig) -> Vec<String> {
    let mut tags = vec![server.heard_language().to_owned()];
    for tag in server.language_codes() {
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    tags
}

/// What holds for a caller who speaks this language.
pub(crate) fn describe_language(tag: &str) -> &'static str {
    if is_detected(tag) {
        "the language of each prompt decides; a prompt without one does not reach the model while card data is entered"
    } else if is_readable_language(tag) {
        "number words are recognised: card numbers are removed, and while card data is entered every digit"
    } else {
        "number words are not recognised: only numerals are removed, and while card data is entered nothing that is said \
         reaches the model"
    }
}

fn is_detected(tag: &str) -> bool {
    tag.eq_ignore_ascii_case("multi")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_language_is_described() {
        assert!(describe_language("multi").starts_with("the language of each prompt"));
        assert!(describe_language("es-MX").starts_with("number words are recognised"));
        assert!(describe_language("tlh").starts_with("number words are not recognised"));
    }
}
