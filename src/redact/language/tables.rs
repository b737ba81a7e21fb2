//! The words of each language, in lower case and without accents. A bar separates spellings and genders of one word.

use std::collections::HashMap;

use super::{NumberGrammar, NumberLanguage, NumberPart};

/// One language.
struct WordTable {
    grammar: NumberGrammar,
    /// 0 to 19, in order.
    units: &'static str,
    /// 20 to 90, in order.
    tens: &'static str,
    /// 100 to 900, in order, where they are words of their own.
    hundreds: &'static str,
    /// The multipliers of the number before them.
    hundred: &'static str,
    thousand: &'static str,
    double: &'static str,
    triple: &'static str,
    and: &'static str,
    /// Filler words between digits.
    fillers: &'static str,
    /// Number words that are everyday words in English.
    ambiguous_words: &'static [&'static str],
    /// Like `units` (1) and `tens`, but only inside compound words.
    stem_one: &'static str,
    stem_tens: &'static str,
    stem_hundred: &'static str,
    stem_thousand: &'static str,
}

/// Fillers in every language, unless a language gives them another meaning.
const COMMON_FILLERS: &str = "um umm uh uhm uhh er erm ah eh hm hmm mm mhm ok okay";

const EMPTY: WordTable = WordTable {
    grammar: NumberGrammar::Plain,
    units: "",
    tens: "",
    hundreds: "",
    hundred: "",
    thousand: "",
    double: "",
    triple: "",
    and: "",
    fillers: "",
    ambiguous_words: &[],
    stem_one: "",
    stem_tens: "",
    stem_hundred: "",
    stem_thousand: "",
};

const ENGLISH: WordTable = WordTable {
    units: "zero|oh|o|nought|naught|nil one two three four five six seven eight nine|niner ten eleven twelve thirteen \
            fourteen fifteen sixteen seventeen eighteen nineteen",
    tens: "twenty thirty forty|fourty fifty sixty seventy eighty ninety",
    hundred: "hundred",
    thousand: "thousand",
    double: "double",
    triple: "triple|treble",
    and: "and",
    fillers: "then dash hyphen minus space comma next now so like well sorry yes yeah right followed by",
    ..EMPTY
};

const SPANISH: WordTable = WordTable {
    units: "cero uno|una dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciseis \
            diecisiete dieciocho diecinueve",
    tens: "veinte treinta cuarenta cincuenta sesenta setenta ochenta noventa",
    hundreds: "cien|ciento doscientos trescientos cuatrocientos quinientos seiscientos setecientos ochocientos \
               novecientos",
    thousand: "mil",
    double: "doble",
    triple: "triple",
    and: "y",
    fillers: "luego despues guion coma este pues bueno espacio si",
    ambiguous_words: &["once"],
    stem_tens: "veinti",
    ..EMPTY
};

const GERMAN: WordTable = WordTable {
    grammar: NumberGrammar::UnitsFirst,
    units: "null eins zwei|zwo drei vier funf|fuenf sechs sieben acht neun zehn elf zwolf|zwoelf dreizehn vierzehn \
            funfzehn|fuenfzehn sechzehn siebzehn achtzehn neunzehn",
    tens: "zwanzig dreissig vierzig funfzig|fuenfzig sechzig siebzig achtzig neunzig",
    hundred: "hundert",
    thousand: "tausend",
    double: "doppel|doppelte|zweimal",
    triple: "dreifach|dreimal",
    and: "und",
    fillers: "dann ahm aehm strich bindestrich komma so also ja leerzeichen",
    stem_one: "ein",
    ..EMPTY
};

const FRENCH: WordTable = WordTable {
    grammar: NumberGrammar::Vigesimal,
    units: "zero un|une deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize dix-sept \
            dix-huit dix-neuf",
    tens: "vingt|vingts trente quarante cinquante soixante septante huitante|octante nonante",
    hundred: "cent|cents",
    thousand: "mille",
    double: "double",
    triple: "triple",
    and: "et",
    fillers: "euh puis ensuite tiret virgule alors donc oui espace",
    ..EMPTY
};

const PORTUGUESE: WordTable = WordTable {
    units: "zero um|uma dois|duas tres quatro cinco seis|meia sete oito nove dez onze doze treze quatorze|catorze quinze \
            dezesseis|dezasseis dezessete|dezassete dezoito dezenove|dezanove",
    tens: "vinte trinta quarenta cinquenta sessenta setenta oitenta noventa",
    hundreds: "cem|cento duzentos trezentos quatrocentos quinhentos seiscentos setecentos oitocentos novecentos",
    thousand: "mil",
    double: "duplo",
    triple: "triplo",
    and: "e",
    fillers: "depois traco hifen virgula entao agora sim espaco",
    ambiguous_words: &["um"],
    ..EMPTY
};

const ITALIAN: WordTable = WordTable {
    units: "zero uno|una due tre quattro cinque sei sette otto nove dieci undici dodici tredici quattordici quindici \
            sedici diciassette diciotto diciannove",
    tens: "venti trenta quaranta cinquanta sessanta settanta ottanta novanta",
    hundred: "cento",
    thousand: "mille",
    double: "doppio|doppia",
    triple: "triplo|tripla",
    and: "e",
    fillers: "poi trattino virgola allora spazio dunque",
    ambiguous_words: &["due"],
    stem_tens: "vent trent quarant cinquant sessant settant ottant novant",
    stem_hundred: "cent",
    stem_thousand: "mila",
    ..EMPTY
};

/// All languages, English first.
pub(super) fn languages() -> [NumberLanguage; 6] {
    [ENGLISH, SPANISH, GERMAN, FRENCH, PORTUGUESE, ITALIAN].map(|words| NumberLanguage {
        grammar: words.grammar,
        ambiguous_words: words.ambiguous_words,
        stems: build_stems(&words),
        words: build_words(&words),
    })
}

type PartsByWord = HashMap<&'static str, NumberPart>;

fn build_words(words: &WordTable) -> PartsByWord {
    let mut parts = PartsByWord::new();
    add_words(&mut parts, COMMON_FILLERS, |_| NumberPart::Filler);
    add_words(&mut parts, words.fillers, |_| NumberPart::Filler);
    add_words(&mut parts, words.units, NumberPart::Value);
    add_words(&mut parts, words.tens, |n| NumberPart::Value((n + 2) * 10));
    add_words(&mut parts, words.hundreds, |n| NumberPart::Value((n + 1) * 100));
    add_words(&mut parts, words.hundred, |_| NumberPart::Hundred);
    add_words(&mut parts, words.thousand, |_| NumberPart::Thousand);
    add_words(&mut parts, words.double, |_| NumberPart::Repeat(2));
    add_words(&mut parts, words.triple, |_| NumberPart::Repeat(3));
    add_words(&mut parts, words.and, |_| NumberPart::And);
    parts
}

fn build_stems(words: &WordTable) -> PartsByWord {
    let mut parts = PartsByWord::new();
    add_words(&mut parts, words.stem_one, |_| NumberPart::Value(1));
    add_words(&mut parts, words.stem_tens, |n| NumberPart::Value((n + 2) * 10));
    add_words(&mut parts, words.stem_hundred, |_| NumberPart::Hundred);
    add_words(&mut parts, words.stem_thousand, |_| NumberPart::Thousand);
    parts
}

fn add_words(parts: &mut PartsByWord, list: &'static str, part: impl Fn(u16) -> NumberPart) {
    for (n, spellings) in (0_u16..).zip(list.split_whitespace()) {
        parts.extend(spellings.split('|').map(|word| (word, part(n))));
    }
}
