//! Tests of what counts as a yes, as a no and as unclear.

use proptest::prelude::*;

use super::*;
use crate::call::LocalizedTexts;
use crate::call::guided_flow::PaymentTexts;

fn judge(words: &str) -> ConsentAnswer {
    LocalizedTexts::new(Vec::new()).classify_answer(words)
}

#[test]
fn assent_with_fillers_only_is_a_yes() {
    for yes in [
        "Yes.",
        "yes please",
        "Yeah, go ahead.",
        "Um, yes, okay.",
        "Yes, that's right, thank you!",
        "Yes, I authorize that.",
        "I authorise it",
        "Sí, lo autorizo.",
        "Oui, je l'autorise.",
        "That’s fine.",
        "Sure, no problem.",
        "Go ahead with the payment, please.",
        "sí, claro",
        "¡Que sí!",
        "Sí, de acuerdo, gracias.",
        "ja, in Ordnung",
        "Ja bitte, machen Sie das.",
        "Jawohl, natürlich.",
        "oui d'accord",
        "Oui, allez-y, s'il vous plaît.",
        "C’est d’accord.",
    ] {
        assert_eq!(judge(yes), ConsentAnswer::Yes, "{yes}");
    }
}

#[test]
fn a_refusal_without_assent_is_a_no() {
    for no in [
        "No, I do not authorize that.",
        "No.",
        "No, absolutely not",
        "Absolutely not.",
        "Certainly not!",
        "no thank you",
        "No, not 500 dollars, only 50",
        "No wait, 15",
        "Stop, cancel it, I do not want to pay",
        "I don't want to pay.",
        "Please don't.",
        "That's not okay",
        "Don't do it.",
        "I do not agree",
        "No, why would I?",
        "claro que no",
        "No, de ninguna manera.",
        "No quiero pagar",
        "No estoy de acuerdo.",
        "Nein, auf keinen Fall!",
        "Bitte nicht.",
        "Natürlich nicht",
        "Ich möchte nicht bezahlen.",
        "Nicht einverstanden",
        "Non, pas du tout.",
        "Je ne veux pas payer",
        "Je ne suis pas d'accord.",
        "Absolument pas",
    ] {
        assert_eq!(judge(no), ConsentAnswer::No, "{no}");
    }
}

#[test]
fn any_other_answer_is_unclear() {
    for unclear in [
        "",
        "...",
        "?",
        "Yes?",
        "¿Sí?",
        "Yes, 50 dollars.",
        "yes twenty-five",
        "one",
        "Yes, but only tomorrow",
        "yes if you must",
        "Yes no",
        "No, yes, go ahead",
        "Yeah, right.",
        "Sure, whatever",
        "I guess so",
        "Not sure.",
        "I'm not sure",
        "Don't stop.",
        "Please do not cancel",
        "No, don't stop!",
        "I don't want to cancel",
        "Can I cancel later?",
        "What was that?",
        "I did not understand",
        "I don't know",
        "Wait a second",
        "Please",
        "sí, pero mañana",
        "No cancele",
        "ja aber",
        "na ja",
        "Bitte nicht abbrechen",
        "Ich verstehe nicht",
        "oui mais non",
        "N'annulez pas",
        "Say yes or press 1; say no or press 2.",
    ] {
        assert_eq!(judge(unclear), ConsentAnswer::Unclear, "{unclear}");
    }
}

#[test]
fn a_pure_refusal_is_distinguished_from_a_no_among_other_words() {
    let guide = LocalizedTexts::new(Vec::new());
    for refusal in [
        "cancel",
        "Stop!",
        "No.",
        "No, thank you",
        "I do not want to pay",
        "stop, cancel it, I do not want to pay",
        "Sorry, I changed my mind. Please cancel that.",
        "Please cancel the payment",
        "Cancele el pago, por favor.",
        "No quiero pagar.",
        "Bitte brechen Sie die Zahlung ab.",
        "Ich will nicht zahlen",
        "Arrêtez, je ne veux pas payer.",
    ] {
        assert!(guide.is_refusal(refusal), "{refusal}");
    }
    for other in [
        "don't stop",
        "no no, don't cancel",
        "I have no idea",
        "There is no code on my card",
        "Stop, I need to find my card",
        "Can I cancel?",
        "Yes",
        "No. That's all, goodbye.",
        "No, go on",
        "Nicht abbrechen!",
        "N'arrêtez pas",
    ] {
        assert!(!guide.is_refusal(other), "{other}");
    }
}

#[test]
fn a_configured_language_adds_words_and_never_turns_the_no_of_another_language_into_a_yes() {
    let texts = |assent: &str, refusal: &str| PaymentTexts {
        assent: assent.to_owned(),
        refusal: refusal.to_owned(),
        ..PaymentTexts::built_in_for("en").unwrap()
    };
    let guide = LocalizedTexts::new(vec![
        ("it-IT".to_owned(), texts("sì, va bene, d'accordo", "no, annulla")),
        ("xx".to_owned(), texts("no, please, but", "yes")),
        ("ja-JP".to_owned(), texts("はい, お願いします", "いいえ")),
    ]);
    assert_eq!(guide.classify_answer("Sì, va bene!"), ConsentAnswer::Yes);
    assert_eq!(guide.classify_answer("Annulla, per favore"), ConsentAnswer::No);
    assert_eq!(guide.classify_answer("はい、お願いします。"), ConsentAnswer::Yes);
    assert_eq!(guide.classify_answer("いいえ"), ConsentAnswer::No);
    for contradictory in ["no", "please", "yes"] {
        assert_eq!(guide.classify_answer(contradictory), ConsentAnswer::Unclear, "{contradictory}");
    }
}

#[test]
fn built_in_phrases_do_not_contradict_each_other() {
    let guide = LocalizedTexts::new(Vec::new());
    for code in ["en", "es", "de", "fr"] {
        let texts = PaymentTexts::built_in_for(code).unwrap();
        for phrase in texts.assent.split(", ") {
            assert_eq!(guide.classify_answer(phrase), ConsentAnswer::Yes, "{code}: {phrase}");
        }
        for phrase in texts.refusal.split(", ") {
            assert_eq!(guide.classify_answer(phrase), ConsentAnswer::No, "{code}: {phrase}");
            assert!(guide.is_refusal(phrase), "{code}: {phrase}");
        }
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,80}") {
        let _ = judge(&text);
    }

    #[test]
    fn an_answer_with_an_unknown_word_is_never_a_yes(
        before in prop::sample::select(&["yes", "sí", "ja, ", "oui", "go ahead", "please"][..]),
        word in prop::sample::select(&["500", "but", "maybe", "pero", "aber", "mais", "if", "half", "no", "nein", "not"][..]),
        after in prop::sample::select(&["", "yes", "claro", "ja", "okay", ", please"][..]),
    ) {
        prop_assert_ne!(judge(&format!("{before} {word} {after}")), ConsentAnswer::Yes);
    }
}
