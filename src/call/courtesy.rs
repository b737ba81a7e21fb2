//! Words of courtesy at the end of a call: "okay", "thank you, goodbye". They do not take a goodbye back.

use super::consent_lexicon::split_clauses;

/// The maximum number of words. A longer utterance says something, as far as the server can know.
const MAX_WORDS: usize = 3;

/// The phrases in all built-in languages, in lower case, without accents and apostrophes. Words that may begin something
/// new, such as "yes" and "sure", are not among them.
const PHRASES: &[&str] = &[
    // English
    "okay",
    "ok",
    "o k",
    "okey",
    "alright",
    "all right",
    "all good",
    "sounds good",
    "no problem",
    "uh huh",
    "thanks",
    "thank you",
    "thanks a lot",
    "many thanks",
    "much appreciated",
    "cheers",
    "bye",
    "bye bye",
    "byebye",
    "goodbye",
    "good bye",
    "good night",
    "good day",
    "see you",
    "see ya",
    "see you later",
    "see you soon",
    "take care",
    "you too",
    "you as well",
    "same to you",
    "same here",
    "likewise",
    "great",
    "perfect",
    "wonderful",
    "excellent",
    "lovely",
    "awesome",
    "cool",
    "very good",
    "youre welcome",
    "my pleasure",
    "sir",
    "maam",
    "oh",
    "ah",
    "um",
    "uh",
    "mhm",
    "mm",
    "hmm",
    // Spanish
    "vale",
    "muy bien",
    "de acuerdo",
    "bueno",
    "gracias",
    "muchas gracias",
    "mil gracias",
    "muchisimas gracias",
    "adios",
    "hasta luego",
    "hasta pronto",
    "hasta la vista",
    "chao",
    "chau",
    "igualmente",
    "a usted",
    "perfecto",
    "genial",
    "estupendo",
    "excelente",
    "de nada",
    "nos vemos",
    "buen dia",
    "buenos dias",
    "buenas tardes",
    "buenas noches",
    "senor",
    "senora",
    "senorita",
    // German
    "danke",
    "danke schon",
    "danke sehr",
    "danke ihnen",
    "vielen dank",
    "besten dank",
    "herzlichen dank",
    "gern geschehen",
    "gerne",
    "bitte schon",
    "tschau",
    "tschuss",
    "tschus",
    "auf wiedersehen",
    "wiedersehen",
    "auf wiederhoren",
    "wiederhoren",
    "bis bald",
    "bis dann",
    "bis spater",
    "servus",
    "ade",
    "ciao",
    "alles klar",
    "in ordnung",
    "ist gut",
    "prima",
    "super",
    "perfekt",
    "wunderbar",
    "gleichfalls",
    "ebenfalls",
    "ebenso",
    "ihnen auch",
    "schonen tag",
    "schonen tag noch",
    "schonen abend",
    "guten tag",
    "gute nacht",
    "gern geschehen",
    // French
    "daccord",
    "d accord",
    "entendu",
    "tres bien",
    "parfait",
    "merci",
    "merci beaucoup",
    "merci bien",
    "grand merci",
    "au revoir",
    "a bientot",
    "a plus tard",
    "bonne journee",
    "bonne soiree",
    "bonne nuit",
    "bon apres midi",
    "salut",
    "pareillement",
    "a vous aussi",
    "vous aussi",
    "de rien",
    "madame",
    "monsieur",
];

/// Whether an utterance consists of words of courtesy only, three at most.
pub(super) fn is_courtesy(utterance: &str) -> bool {
    // Enough for three words of any language, so that a long utterance is not taken apart.
    if utterance.len() > 120 {
        return false;
    }
    let clauses = split_clauses(utterance);
    if clauses.iter().any(|clause| clause.is_question) {
        return false;
    }
    let words: Vec<String> = clauses.into_iter().flat_map(|clause| clause.words).collect();
    (1..=MAX_WORDS).contains(&words.len()) && are_phrases(&words)
}

/// Whether words can be split into phrases of courtesy.
fn are_phrases(words: &[String]) -> bool {
    words.is_empty()
        || (1..=words.len())
            .any(|length| PHRASES.contains(&words[..length].join(" ").as_str()) && are_phrases(&words[length..]))
}

#[cfg(test)]
mod tests {
    use super::is_courtesy;

    #[test]
    fn courtesy_is_understood_in_all_built_in_languages() {
        for said in [
            "Okay.",
            "OK, thanks!",
            "O.K.",
            "Thank you, goodbye.",
            "Thanks, bye-bye",
            "Bye.",
            "Great, thank you!",
            "You too, bye.",
            "¡Muchas gracias, adiós!",
            "Vale.",
            "Danke schön, tschüss!",
            "Alles klar, danke.",
            "Auf Wiederhören",
            "D'accord, merci.",
            "Merci beaucoup.",
            "À bientôt !",
            "Bonne journée",
        ] {
            assert!(is_courtesy(said), "{said}");
        }
    }

    #[test]
    fn anything_else_is_not_courtesy() {
        for said in [
            "",
            "...",
            "No",
            "Yes",
            "Wait",
            "Okay, but wait",
            "Okay?",
            "Thank you very much, bye",
            "Thanks, one more question",
            "Bye 5",
            "No thanks",
            "Okay okay okay okay",
            "Hello",
            "Nein danke",
            "Stop",
            "4242",
        ] {
            assert!(!is_courtesy(said), "{said}");
        }
    }
}
