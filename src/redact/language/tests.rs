use super::*;

fn parts(reading: u8, word: &str) -> Option<Vec<NumberPart>> {
    Compound::split(word).into_iter().find(|compound| compound.reading == reading).map(|compound| compound.parts)
}

#[test]
fn joined_words_are_split() {
    use NumberPart::{And, Power, Value};
    for (reading, word, expected) in [
        (2, "zweihundertzweiundvierzig", vec![Value(200), Value(42)]),
        (2, "siebenhunderteinunddreissig", vec![Value(700), Value(31)]),
        (5, "duecentoquarantadue", vec![Value(200), Value(42)]),
        (0, "fourtwofourtwo", vec![Value(4), Value(2), Value(4), Value(2)]),
        (0, "onehundredandfortytwo", vec![Value(1), Power(100), And, Value(40), Value(2)]),
    ] {
        assert_eq!(parts(reading, word), Some(expected), "{word}");
    }
}

#[test]
fn ordinary_words_are_not_split() {
    for word in
        ["achtung", "zweifel", "weight", "someone", "tonight", "fourteen", "anyone", "ventilator", "onetwo", "e"]
    {
        assert!(Compound::split(word).is_empty(), "{word}");
    }
}

#[test]
fn an_unknown_word_is_rejected_quickly() {
    let long = "dreivierdrei".repeat(10);
    assert!(Compound::split(&(long.clone() + "x")).is_empty());
    let _ = Compound::languages_with_prefix(&long);
}

#[test]
fn readable_languages_are_found_by_primary_tag() {
    for tag in ["en", "en-US", "PT-br", "de_AT", "th-TH", "nl", "hi-IN", "cmn-Hans-CN", "fil-PH", "no-NO", "bn", "zu"] {
        assert!(is_readable_language(tag), "{tag}");
    }
    for tag in ["", "multi", "xx-YY", "e", "english", "so-SO"] {
        assert!(!is_readable_language(tag), "{tag}");
    }
}
