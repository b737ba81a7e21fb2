//! Words of cancelling, help, assent and refusal in many languages, for callers whose words are not shown to the model.

/// What the caller wants, by the words that say it. Languages are mixed: a word that means different things in two of
/// them is left out. Words of languages without blanks are found anywhere in the text.
const SIGNALS: &[(&str, &str)] = &[
    (
        "cancel",
        "cancel stop annuleer annuleren stoppen stop avbryt avbryta sluta annuller afbryd stopp avslutt peruuta keskeytä \
         lopeta anuluj anulować przestań zrušit zrušte přestaňte zrušiť mégse mégsem leállít állj anulează anulați oprește \
         отмена отменить отмените стоп хватит скасувати скасуйте відміна отказ откажи спри ακύρωση ακυρώστε σταμάτα iptal \
         durdur إلغاء الغاء توقف ביטול תבטל עצור रद्द रुको बंद 取消 停止 キャンセル 中止 やめて 취소 중지 그만 ยกเลิก หยุด hủy \
         huỷ dừng batal batalkan berhenti hentikan otkaži prekini prekliči ustavi atšaukti atcelt tühista katkesta",
    ),
    (
        "help",
        "help hulp helpen hjälp hjælp hjelp apua pomoc pomóż pomozte segítség segítsen ajutor помощь помогите допомога \
         допоможіть помощ βοήθεια yardım مساعدة ساعدني עזרה मदद सहायता 帮助 幫助 帮忙 助けて 手伝って 도움 도와 ช่วย giúp \
         bantuan tolong pomoć pomagaj pagalba palīdzība abi",
    ),
    (
        "yes",
        "yes ja yep jo jawel kyllä joo tak ano áno igen da да так ναι evet نعم כן हाँ हां जी 是 对 好的 はい 네 예 ใช่ vâng iya taip jā jah",
    ),
    (
        "no",
        "no nee nej nei ei nie nem nu нет ні не όχι hayır لا לא नहीं 不 不是 いいえ 아니요 아니오 ไม่ không tidak bukan nē",
    ),
    (
        "person",
        "agent person human medewerker mens iemand handläggare människa medarbejder menneske rådgiver ihminen \
         asiakaspalvelija człowiek konsultant człowiekiem člověk operátor ember ügyintéző operator оператор человек оператора \
         людина човек άνθρωπος εκπρόσωπος temsilci müşteri موظف شخص נציג אדם एजेंट व्यक्ति 人工 客服 担当者 オペレーター 상담원 \
         사람 เจ้าหน้าที่ nhân orang petugas čovjek žmogus cilvēks inimene",
    ),
];

/// The meanings of the words in a text, each once.
pub(super) fn find_signals(text: &str) -> Vec<&'static str> {
    let text = text.to_lowercase();
    let words: Vec<&str> = text.split(|c: char| !is_of_word(c)).collect();
    let is_said = |word: &str| if has_blanks(word) { words.contains(&word) } else { text.contains(word) };
    let known = SIGNALS.iter().filter(|(_, known)| known.split_whitespace().any(is_said));
    known.map(|(meaning, _)| *meaning).collect()
}

/// Whether a character is part of a word: a letter, or a mark of Devanagari or Thai.
fn is_of_word(c: char) -> bool {
    c.is_alphabetic() || matches!(c, '\u{300}'..='\u{36f}' | '\u{900}'..='\u{97f}' | '\u{e31}'..='\u{e4e}')
}

/// Whether the script of a word separates words by blanks.
fn has_blanks(word: &str) -> bool {
    !word.contains(|c| matches!(c, '\u{e00}'..='\u{e7f}' | '\u{3040}'..='\u{30ff}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_many_languages_are_understood() {
        for (said, meanings) in [
            ("Ja, graag annuleren", &["cancel", "yes"][..]),
            ("помогите мне", &["help"]),
            ("请帮忙，取消", &["cancel", "help"]),
            ("हाँ", &["yes"]),
            ("ช่วยด้วย", &["help"]),
            ("fyra två fyra två", &[]),
            ("ich möchte mit einem Berater reden", &[]),
        ] {
            assert_eq!(find_signals(said), meanings, "{said}");
        }
    }
}
