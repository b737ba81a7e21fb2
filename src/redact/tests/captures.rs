//! What is said during a capture, in many languages: no digit passes in any form, and other words stay.

use crate::redact::{REDACTED, Redactor};

fn during_a_capture(said: &str, language: &str) -> String {
    Redactor::default().redact_during_capture(said, language).text
}

/// Words that mean digits, separated by ` | `.
const FORMS: &[(&str, &str)] = &[
    ("en", "fourth | thirteenth | fourfivethree | fifth | second | ninth | twelfth | twentieth | sevens | eightieth"),
    (
        "ko",
        "사오삼구에 | 사오삼구요 | 사오삼구입니다 | 일사팔팔이에요 | 하나랑 둘이랑 | 사요 | 구입니다 | 칠하고 팔이요",
    ),
    (
        "ko",
        "오월 | 이십팔년 | 네개 | 일은 | 셋이랑 넷 | 사오삼구랑 | 영이고 | 다섯째 | 공삼사삼까지 | 사랑 오랑 | 육과 칠",
    ),
    ("hi", "नौवां | छठा"),
    ("hi", "shunya ek do teen char paanch chhe saat aath nau | do | char | char paanch teen nau | chautha | चौथा | दो"),
    ("fil", "kwatro singko siyete | apat | ikaapat | lima'ng"),
    (
        "ja",
        "よっつ | ふたつ | ワン ツー スリー | ひとつ、みっつ | いつつ | むっつ | ななつ | やっつ | ここのつ | よんにです",
    ),
    ("am", "አምስተኛ | ፬ | ፵፪ | አራት"),
    ("zh", "〤 | 四 | 两"),
    (
        "ru",
        "сотка | ста | восьмёрка | четвёрку | двумя | пяти | трёх | шестой | семи | одного | нулём | девятка | двоечка",
    ),
    ("uk", "вісімка | четвірка | двома | п'яти | шість | сьомий | трійку"),
    ("be", "васьмёрка | чацвёрка | двума | пяці"),
    ("bg", "осмица | четворка | двойката | петте"),
    ("sr", "осмица | четворку | двојка | osmica | četvorku"),
    ("hr", "osmica | četvorka | dvojku | petica | šestorka"),
    ("sl", "osmica | štirica | dvojko | petico"),
    ("mk", "осумка | четворка | двојка"),
    ("pl", "ósemka | czwórkę | dwójka | pięciu | siódmy | dwóch | jedynką | szóstka"),
    ("cs", "čtyřka | osmičku | dvojka | pětka | sedmi | nulou | jedničky"),
    ("sk", "štvorka | osmička | dvojku | päťka | siedmy"),
    (
        "fi",
        "kaheksan | nelosta | kahdeksikko | yhden | kahta | viittä | kuuden | seitsemällä | nollan | ykkönen | vitonen",
    ),
    ("et", "kahe | nelja | viit | kuus | ühest"),
    ("hu", "ötből | négyes | négyet | ötöt | hatos | hármat | kettőt | nyolcast | hetet | nullát"),
    ("tr", "onbir | dörtte | dörde | üçte | beşi | ikinci | sıfırdan | onda | yedide | birinci"),
    ("az", "dördü | beşi | üçə"),
    ("de", "Vier | eine Acht | zwote | vierer | achten | siebte | dritte | Nullen | Sechser | Fünfer"),
    ("nl", "vier | een acht | zessen | achtste | derde | tweetje | nulletje"),
    ("sv", "fyran | sexan | åttan | nian | femma | tvåa | nollan | tredje"),
    ("da", "firer | otter | femmer | syver | nieren | fjerde"),
    ("nb", "firer | åtter | femmer | sjuer | nier"),
    ("el", "τεσσάρι | τεσσάρων | οχτάρι | δυάρι | πέμπτο | εξάρι | τριών"),
    ("he", "ארבע | ארבעה | והשמונה | בשלוש | הרביעי | לאחת"),
    ("ar", "الأربعة | وبخمسة | أربعه | تمنية | الرابع | تلاتة | اتنين"),
    ("lt", "keturių | ketvertas | penktas | aštuonetas"),
    ("lv", "četriem | piektais | astotais"),
    ("ro", "patrulea | optul | doiul | cincisprezece"),
    ("es", "cuarto | ochos | cincuentena | séptimo"),
    ("id", "empatnya | keempat | duanya | berempat"),
    ("it", "l'otto | quattordicesimo | nono | ventotto"),
    ("fr", "quatrième | d’huit | dizaine | soixantaine"),
    ("pt", "nono | dúzia"),
    ("fa", "چهارم | پنجمی | دوم"),
    ("ur", "چوتھا | پانچواں"),
    ("ta", "நான்கில் | ஐந்தாவது"),
    ("te", "నాలుగవ | ఐదో"),
    ("kn", "ನಾಲ್ಕನೇ | ಎರಡನೇ"),
    ("ml", "നാലാം | രണ്ടാം"),
    ("bn", "চারটা | দুইটি"),
    ("ka", "ორს | მეოთხე"),
    ("hy", "չորսը | չորրորդ"),
    ("kk", "төртінші | үшінші"),
    ("uz", "to'rtinchi | uchta"),
];

#[test]
fn no_form_of_a_number_word_passes_during_a_capture() {
    let mut wrong = Vec::new();
    for (language, forms) in FORMS {
        for form in forms.split(" | ") {
            let left = during_a_capture(form, language).replace(REDACTED, "");
            if left.contains(char::is_alphabetic) {
                wrong.push(format!("{language}: {form}: {left}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

/// Words of a language by which a caller cancels, asks for help or a person, agrees or refuses, and small talk.
const OTHER_WORDS: &[(&str, &str)] = &[
    ("en", "no, no, I want to go on to the next, please wait, I am looking for my card"),
    ("en", "can you help me? yes, stop, cancel it and give me a person"),
    ("es", "sí, no, espere por favor, quiero cancelar, pare, ayuda, persona"),
    ("de", "ja, nein, stopp, bitte abbrechen, Hilfe, ich suche meine Karte, Mensch"),
    ("fr", "oui, non, annulez, stop, aidez-moi, je cherche ma carte, personne"),
    ("it", "sì, no, annulla, fermo, aiuto, persona"),
    ("pt", "sim, não, cancelar, pare, ajuda, pessoa"),
    ("nl", "ja, nee, annuleren, stop, hulp, mens"),
    ("sv", "ja, nej, avbryt, stopp, hjälp, människa"),
    ("da", "ja, nej, annuller, stop, hjælp, menneske"),
    ("nb", "ja, nei, avbryt, stopp, hjelp, menneske"),
    ("pl", "tak, nie, stop, anuluj, pomoc, chwileczkę, człowiek"),
    ("cs", "ano, ne, stop, zrušit, pomoc, člověk"),
    ("sk", "áno, nie, stop, zrušiť, pomoc, človek"),
    ("hr", "da, ne, stop, otkaži, pomoć, čovjek"),
    ("ru", "да, нет, стоп, отмена, помогите, подождите пожалуйста, человек"),
    ("uk", "так, ні, стоп, скасувати, допомога, людина"),
    ("hu", "igen, nem, stop, mégse, segítség, ember"),
    ("ro", "da, nu, stop, anulează, ajutor, om"),
    ("el", "ναι, όχι, στοπ, ακύρωση, βοήθεια, άνθρωπος"),
    ("ko", "아니요, 취소해 주세요, 도와주세요, 카드, 상담원"),
    ("ja", "はい、いいえ、キャンセル、助けて"),
    ("zh", "是，不是，取消，帮忙"),
    ("tr", "evet, hayır, iptal, dur, yardım, lütfen bekleyin"),
    ("fi", "joo, ei, peruuta, apua, odota hetki, ihminen"),
    ("ar", "نعم، لا، إلغاء، مساعدة"),
    ("he", "כן, לא, ביטול, עזרה"),
    ("hi", "हाँ, नहीं, रद्द, मदद, haan, nahin, madad"),
    ("id", "iya, tidak, batal, tolong, orang"),
    ("vi", "vâng, huỷ, giúp"),
    ("th", "ใช่ ไม่ ยกเลิก ช่วย"),
];

#[test]
fn other_words_stay_during_a_capture() {
    let cut = OTHER_WORDS.iter().map(|(language, said)| (language, said, during_a_capture(said, language)));
    let wrong: Vec<_> = cut.filter(|(_, said, left)| left != *said).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
