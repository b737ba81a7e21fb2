//! Numbers in all languages of the table.

use crate::redact::language::Dictionary;
use crate::redact::scan::{DigitRun, find_runs};
use crate::redact::{REDACTED, has_card_number, redact_card_numbers};

/// Numbers as CLDR spells them, a line per language: `tag|0=zero|1=one`.
const SAMPLES: &str = include_str!("../language/samples.txt");

fn samples() -> impl Iterator<Item = (&'static str, Vec<(&'static str, &'static str)>)> {
    SAMPLES.lines().map(|line| {
        let mut fields = line.split('|');
        (fields.next().unwrap(), fields.map(|field| field.split_once('=').unwrap()).collect())
    })
}

/// The digits that the reading of a language finds.
fn digits_in(tag: &str, text: &str) -> String {
    let reading = Dictionary::reading_of(tag).unwrap();
    let digits = |run: &DigitRun| run.digits.iter().map(u8::to_string).collect::<String>();
    find_runs(text)[reading].iter().map(digits).collect::<Vec<_>>().join(" ")
}

/// What is not read as one number: a Filipino ten after `na`, a Swahili hundred or thousand, which precedes its number,
/// Hungarian and Latvian words that are joined of short ones, a Maltese unit before its ten after thousands, and Korean
/// `만`, which also means only. Digits and pairs that are read one by one are read as such.
const NOT_COMPOSED: [(&str, &[&str]); 6] = [
    ("fil", &["42", "60", "99", "242", "4242", "4242424"]),
    ("sw", &["100", "5105"]),
    ("hu", &["5105"]),
    ("lv", &["4242", "5105"]),
    ("mt", &["4242424"]),
    ("ko", &["4242424"]),
];

#[test]
fn numbers_are_read_in_every_language() {
    let mut wrong = Vec::new();
    for (tag, numbers) in samples() {
        for (number, spelled) in numbers {
            let read = digits_in(tag, spelled);
            let is_composed = !NOT_COMPOSED.iter().any(|(of, numbers)| *of == tag && numbers.contains(&number));
            if (read == number) != is_composed {
                wrong.push(format!("{tag} {number} {spelled}: {read}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn numbers_of_languages_that_cldr_lacks_are_read() {
    for (tag, spelled, digits) in [
        ("bn", "চার দুই শূন্য নয়, সতেরো, চল্লিশ", "42091740"),
        ("te", "నాలుగు రెండు సున్నా తొమ్మిది, పదిహేడు", "420917"),
        ("kn", "ನಾಲ್ಕು ಎರಡು ಸೊನ್ನೆ ಒಂಬತ್ತು, ಹದಿನೇಳು", "420917"),
        ("ml", "നാല് രണ്ട് പൂജ്യം ഒമ്പത്, പതിനേഴ്", "420917"),
        ("mr", "चार दोन शून्य नऊ, सतरा", "420917"),
        ("pa", "ਚਾਰ ਦੋ ਸਿਫ਼ਰ ਨੌਂ, ਸਤਾਰਾਂ", "420917"),
        ("si", "හතර දෙක බිංදුව නවය, දහහත", "420917"),
        ("ur", "چار دو صفر نو، سترہ", "420917"),
        ("gl", "catro dous cero nove, dezasete", "420917"),
        ("eu", "lau bi zero bederatzi, hamazazpi", "420917"),
        ("mn", "дөрөв хоёр тэг ес, дөч", "420940"),
        ("uz", "to‘rt ikki nol to‘qqiz, qirq ikki", "420942"),
        ("jv", "papat loro nol sanga, patang puluh", "420940"),
        ("zu", "kune kubili iqanda isishiyagalolunye", "4209"),
        ("xh", "zine zimbini iqanda zilithoba", "4209"),
    ] {
        assert_eq!(digits_in(tag, spelled), digits, "{tag}");
    }
}

/// The digits 0 to 9 as people say them, or as they are written in Latin letters.
const COLLOQUIAL_DIGITS: &[(&str, &str)] = &[
    ("fil", "zero uno dos tres kwatro singko sais siyete otso nuwebe"),
    ("fil", "sero isa dalawa tatlo apat lima anim pito walo siyam"),
    ("fi", "nolla yks kaks kol neli viis kuus seittemän kasi ysi"),
    ("fi", "nolla yks kaks kolme nel viis kuus seiska kaheksan yheksän"),
    ("de", "null eins zwo drei vier fünf sechs sieben acht neun"),
    ("de-CH", "null eis zwöi drü vier füüf sächs sibe acht nüün"),
    ("hi-Latn", "shunya ek do teen char paanch chhe saat aath nau"),
    ("hi-Latn", "zero ek do tin chaar panch che sat ath nau"),
    ("pa-Latn", "zero ikk do tinn char panj chhe satt atth naun"),
    ("bn-Latn", "shunno ek dui tin char panch chhoy shat aat noy"),
    ("mr-Latn", "shunya ek don teen char paach saha saat aath nau"),
    ("gu-Latn", "shunya ek be tran char panch chha saat aath nav"),
    ("ta-Latn", "poojyam onnu rendu moonu naalu anju aaru ezhu ettu ombadhu"),
    ("te-Latn", "sunna okati rendu moodu naalugu aidu aaru edu enimidi tommidi"),
    ("kn-Latn", "sonne ondu eradu mooru naalku aidu aaru elu entu ombattu"),
    ("ml-Latn", "poojyam onnu randu moonnu naalu anchu aaru ezhu ettu ombathu"),
    ("ar", "صفر واحد اتنين تلاتة أربعة خمسة ستة سبعة تمانية تسعة"),
    ("ar", "زيرو وحدة تنين تلات أربع خمس ست سبع تمن تسع"),
    ("ar", "صفر واحد ثنين ثلاثة اربعه خمسه سته سبعه ثمنية تسعه"),
    ("pt", "zero um dois três quatro cinco meia sete oito nove"),
    ("zh", "洞 幺 两 三 四 五 六 拐 八 勾"),
    ("yue", "〇 一 兩 三 四 五 六 七 八 九"),
    ("ja", "ゼロ ワン ツー スリー フォー ファイブ シックス セブン エイト ナイン"),
    ("ja", "まる いち に さん よん ご ろく なな はち きゅう"),
    ("ko", "공 하나 둘 셋 넷 다섯 여섯 일곱 여덟 아홉"),
    ("ko", "공 일 이 삼 사 오 육 칠 팔 구"),
    ("ko", "제로 원 투 쓰리 포 파이브 식스 세븐 에잇 나인"),
    ("vi", "không mốt hai ba tư lăm sáu bảy tám chín"),
    ("th", "ศูนย์ หนึ่ง โท สาม สี่ ห้า หก เจ็ด แปด เก้า"),
    ("fi", "nolla ykkönen kakkonen kolmonen nelonen vitonen kutonen seiska kasi ysi"),
    ("fi", "nolla yy kaa koo nee vii kuu see kasi ysi"),
    ("de-CH", "null äis zwöi dräi vieri füfi sächsi sibni achti nüni"),
    ("ar", "سفر واحد إتنين تلاتة أربعة خمسة ستة سبعة تمنية تسعة"),
    ("ar-Latn", "sifr wahed etnein talata arbaa khamsa setta sabaa tamanya tesaa"),
    ("ja", "ゼロ ひとつ ふたつ みっつ よっつ いつつ むっつ ななつ やっつ ここのつ"),
    ("pl", "zero jedynka dwójka trójka czwórka piątka szóstka siódemka ósemka dziewiątka"),
    ("cs", "nula jednička dvojka trojka čtyřka pětka šestka sedmička osmička devítka"),
    ("sk", "nula jednotka dvojka trojka štvorka päťka šestka sedmička osmička deviatka"),
    ("hr", "nula jedinica dvojka trojka četvorka petica šestica sedmica osmica devetka"),
    ("sr", "нула јединица двојка тројка четворка петица шестица седмица осмица деветка"),
    ("sl", "ničla enica dvojka trojka štirica petica šestica sedmica osmica devetica"),
    ("bg", "нула единица двойка тройка четворка петица шестица седмица осмица деветка"),
    ("uk", "нуль одиниця двійка трійка четвірка п'ятірка шістка сімка вісімка дев'ятка"),
    ("hu", "nullás egyes kettes hármas négyes ötös hatos hetes nyolcas kilences"),
    ("ru", "нолик единица двойка тройка четверка пятерка шестерка семерка восьмерка девятка"),
];

#[test]
fn a_card_number_in_colloquial_words_is_removed() {
    let mut wrong = Vec::new();
    for (tag, words) in COLLOQUIAL_DIGITS {
        let words: Vec<&str> = words.split(' ').collect();
        let read = digits_in(tag, &words.join(", "));
        if read != "0123456789" {
            wrong.push(format!("{tag} {words:?}: {read}"));
        }
        for card in ["4242424242424242", "5105105105105100", "378282246310005", "6011000990139424"] {
            let said = card.bytes().map(|digit| words[usize::from(digit - b'0')]).collect::<Vec<_>>().join(" ");
            let cut = redact_card_numbers(&format!("..., {said}!")).into_owned();
            if cut != format!("..., {REDACTED}!") {
                wrong.push(format!("{tag} {said}: {cut}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn particles_of_korean_are_no_part_of_the_digits() {
    for (said, digits) in [
        ("사오삼구에 일사팔팔에 공삼사삼에 육사육칠", "4539148803436467"),
        ("사오삼구와 일사팔팔과 공삼사삼과 육사육칠이요", "4539148803436467"),
        ("사오삼구랑 일사팔팔이랑 공삼사삼이랑 육사육칠이에요", "4539148803436467"),
        ("사오삼구요, 일사팔팔이요, 공삼사삼이요, 육사육칠입니다", "4539148803436467"),
        ("사이사이요 사이사이요 사이사이랑 사이사이요", "4242424242424242"),
    ] {
        assert_eq!(digits_in("ko", said), digits, "{said}");
        assert_eq!(redact_card_numbers(said), REDACTED, "{said}");
    }
}

#[test]
fn colloquial_numbers_are_read() {
    let mut wrong = Vec::new();
    for (tag, spelled, digits) in [
        ("fil", "bente dos, trenta'y singko, kwarentay dos, singkwenta", "22354250"),
        ("fi", "kakskyt, neljäkyt kaks, nelkytkaks, viistoista, seitkytkuus", "2042421576"),
        ("de", "fuffzig, fuffzehn, zwoundvierzig", "501542"),
        ("de-CH", "zwänzg, zwöievierzg, sächzäh, nünenünzg", "20421699"),
        ("en", "four million two hundred forty two thousand four hundred twenty four", "4242424"),
        ("en", "forty two lakh forty two thousand four hundred", "4242400"),
        ("en", "one crore, a million and one", "10000000 1000001"),
        ("zh", "四亿二千四百二十四万二千四百二十四", "424242424"),
        ("hi-Latn", "bayalis, bees, tees, chalis, pachas, char sau bayalis", "4220304050442"),
        ("ar", "اتنين وأربعين، تلتاشر، حداشر، تمانين، ميتين", "42131180200"),
        ("fr", "septante-deux, huitante, octante, nonante et un", "72808091"),
        ("pt", "meia meia, sessenta e meia", "6666"),
        ("zh", "四百零二，四千零二，四千零四十二，四十二，廿", "402400240424220"),
        ("vi", "hai trăm linh bốn, hai trăm lẻ tư, hai mươi mốt, ba linh năm", "20420421305"),
        ("th", "สี่สิบเอ็ด, ยี่สิบเอ็ด", "4121"),
        ("ru", "три нуля, пятьдесят два, две четверки, тыща двести", "00052441200"),
        ("es", "cuarentaidós, treintaiuno, cero", "42310"),
        ("ko", "사에 이에, 사십이의 사십이", "424242"),
        ("ja", "よんじゅうに、ゼロ、ヨンゼロ", "42040"),
    ] {
        let read = digits_in(tag, spelled);
        if read != digits {
            wrong.push(format!("{tag} {spelled}: {read} and not {digits}"));
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_card_number_read_digit_by_digit_is_removed_in_every_language() {
    for (tag, numbers) in samples() {
        let word = |digit: char| numbers.iter().find(|(number, _)| *number == digit.to_string()).unwrap().1;
        for card in ["4242424242424242", "5105105105105100", "378282246310005"] {
            for between in [" ", ", "] {
                let said = card.chars().map(word).collect::<Vec<_>>().join(between);
                assert!(has_card_number(&said), "{tag}: {said}");
            }
        }
    }
}

#[test]
fn a_phone_number_stays_in_every_language() {
    for (tag, numbers) in samples() {
        let word = |digit: char| numbers.iter().find(|(number, _)| *number == digit.to_string()).unwrap().1;
        for phone in ["4158675309", "02079460958", "491701234567"] {
            let said = phone.chars().map(word).collect::<Vec<_>>().join(" ");
            assert_eq!(redact_card_numbers(&said), said, "{tag}");
        }
    }
}
