//! The words of each language, in lower case and without accents; spellings and genders of one word are joined by a bar.

use std::collections::HashMap;

use super::{Language, Part, Way};

/// One language.
struct Words {
    way: Way,
    /// 0 to 19, in order.
    units: &'static str,
    /// 20 to 90, in order.
    tens: &'static str,
    /// 100 to 900, in order, where they are words of their own.
    hundreds: &'static str,
    /// What multiplies what stands before it.
    hundred: &'static str,
    thousand: &'static str,
    double: &'static str,
    triple: &'static str,
    and: &'static str,
    /// What a caller says between digits.
    pauses: &'static str,
    /// Numbers that are everyday words in English.
    weak: &'static [&'static str],
    /// Like `units` (1) and `tens`, but only inside longer words.
    stem_one: &'static str,
    stem_tens: &'static str,
    stem_hundred: &'static str,
    stem_thousand: &'static str,
}

/// Sounds that mean nothing anywhere, unless a language has another use for them.
const PAUSES: &str = "um umm uh uhm uhh er erm ah eh hm hmm mm mhm ok okay";

const NONE: Words = Words {
    way: Way::Plain,
    units: "",
    tens: "",
    hundreds: "",
    hundred: "",
    thousand: "",
    double: "",
    triple: "",
    and: "",
    pauses: "",
    weak: &[],
    stem_one: "",
    stem_tens: "",
    stem_hundred: "",
    stem_thousand: "",
};

const ENGLISH: Words = Words {
    units: "zero|oh|o|nought|naught|nil one two three four five six seven eight nine|niner ten eleven twelve thirteen \
            fourteen fifteen sixteen seventeen eighteen nineteen",
    tens: "twenty thirty forty|fourty fifty sixty seventy eighty ninety",
    hundred: "hundred",
    thousand: "thousand",
    double: "double",
    triple: "triple|treble",
    and: "and",
    pauses: "then dash hyphen minus space comma next now so like well sorry yes yeah right followed by",
    ..NONE
};

const SPANISH: Words = Words {
    units: "cero uno|una dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciseis \
            diecisiete dieciocho diecinueve",
    tens: "veinte treinta cuarenta cincuenta sesenta setenta ochenta noventa",
    hundreds: "cien|ciento doscientos trescientos cuatrocientos quinientos seiscientos setecientos ochocientos \
               novecientos",
    thousand: "mil",
    double: "doble",
    triple: "triple",
    and: "y",
    pauses: "luego despues guion coma este pues bueno espacio si",
    weak: &["once"],
    stem_tens: "veinti",
    ..NONE
};

const GERMAN: Words = Words {
    way: Way::UnitsFirst,
    units: "null eins zwei|zwo drei vier funf|fuenf sechs sieben acht neun zehn elf zwolf|zwoelf dreizehn vierzehn \
            funfzehn|fuenfzehn sechzehn siebzehn achtzehn neunzehn",
    tens: "zwanzig dreissig vierzig funfzig|fuenfzig sechzig siebzig achtzig neunzig",
    hundred: "hundert",
    thousand: "tausend",
    double: "doppel|doppelte|zweimal",
    triple: "dreifach|dreimal",
    and: "und",
    pauses: "dann ahm aehm strich bindestrich komma so also ja leerzeichen",
    stem_one: "ein",
    ..NONE
};

const FRENCH: Words = Words {
    way: Way::Scores,
    units: "zero un|une deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize dix-sept \
            dix-huit dix-neuf",
    tens: "vingt|vingts trente quarante cinquante soixante septante huitante|octante nonante",
    hundred: "cent|cents",
    thousand: "mille",
    double: "double",
    triple: "triple",
    and: "et",
    pauses: "euh puis ensuite tiret virgule alors donc oui espace",
    ..NONE
};

const PORTUGUESE: Words = Words {
    units: "zero um|uma dois|duas tres quatro cinco seis|meia sete oito nove dez onze doze treze quatorze|catorze quinze \
            dezesseis|dezasseis dezessete|dezassete dezoito dezenove|dezanove",
    tens: "vinte trinta quarenta cinquenta sessenta setenta oitenta noventa",
    hundreds: "cem|cento duzentos trezentos quatrocentos quinhentos seiscentos setecentos oitocentos novecentos",
    thousand: "mil",
    double: "duplo",
    triple: "triplo",
    and: "e",
    pauses: "depois traco hifen virgula entao agora sim espaco",
    weak: &["um"],
    ..NONE
};

const ITALIAN: Words = Words {
    units: "zero uno|una due tre quattro cinque sei sette otto nove dieci undici dodici tredici quattordici quindici \
            sedici diciassette diciotto diciannove",
    tens: "venti trenta quaranta cinquanta sessanta settanta ottanta novanta",
    hundred: "cento",
    thousand: "mille",
    double: "doppio|doppia",
    triple: "triplo|tripla",
    and: "e",
    pauses: "poi trattino virgola allora spazio dunque",
    weak: &["due"],
    stem_tens: "vent trent quarant cinquant sessant settant ottant novant",
    stem_hundred: "cent",
    stem_thousand: "mila",
    ..NONE
};

/// All languages, English first.
pub(super) fn languages() -> [Language; 6] {
    [ENGLISH, SPANISH, GERMAN, FRENCH, PORTUGUESE, ITALIAN].map(|words| Language {
        way: words.way,
        weak: words.weak,
        stems: stems(&words),
        words: whole(&words),
    })
}

type Parts = HashMap<&'static str, Part>;

fn whole(words: &Words) -> Parts {
    let mut parts = Parts::new();
    add(&mut parts, PAUSES, |_| Part::Filler);
    add(&mut parts, words.pauses, |_| Part::Filler);
    add(&mut parts, words.units, Part::Value);
    add(&mut parts, words.tens, |n| Part::Value((n + 2) * 10));
    add(&mut parts, words.hundreds, |n| Part::Value((n + 1) * 100));
    add(&mut parts, words.hundred, |_| Part::Hundred);
    add(&mut parts, words.thousand, |_| Part::Thousand);
    add(&mut parts, words.double, |_| Part::Repeat(2));
    add(&mut parts, words.triple, |_| Part::Repeat(3));
    add(&mut parts, words.and, |_| Part::And);
    parts
}

fn stems(words: &Words) -> Parts {
    let mut parts = Parts::new();
    add(&mut parts, words.stem_one, |_| Part::Value(1));
    add(&mut parts, words.stem_tens, |n| Part::Value((n + 2) * 10));
    add(&mut parts, words.stem_hundred, |_| Part::Hundred);
    add(&mut parts, words.stem_thousand, |_| Part::Thousand);
    parts
}

fn add(parts: &mut Parts, list: &'static str, part: impl Fn(u16) -> Part) {
    for (n, spellings) in (0_u16..).zip(list.split_whitespace()) {
        parts.extend(spellings.split('|').map(|word| (word, part(n))));
    }
}
