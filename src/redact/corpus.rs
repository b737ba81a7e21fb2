//! What ordinary people say, with numbers in it: generated sentences, of which nearly none may be cut.
//!
//! `CRELAY_LONG=1` uses 10,000 sentences per language instead of 1,000.

use super::{RedactionPolicy, Redactor, redact_card_numbers};

/// The share of sentences that may be cut by mistake: one in 200.
const MAX_CUT: f64 = 0.005;

/// The number of sentences in a conversation.
const CONVERSATION: usize = 10;

/// The sentences of one language, with a slot for each number, and the words of its digits, 0 to 9.
struct Sentences {
    language: &'static str,
    templates: &'static [&'static str],
    digits: &'static str,
    /// A day and a month, and an amount.
    date: fn(u64, u64, u64) -> String,
    amount: fn(u64, u64) -> String,
}

fn dotted_date(day: u64, month: u64, year: u64) -> String {
    format!("{day}.{month}.{year}")
}

fn slashed_date(day: u64, month: u64, year: u64) -> String {
    format!("{day}/{month}/{year}")
}

fn english_date(day: u64, month: u64, year: u64) -> String {
    let month = ["January", "March", "May", "June", "August", "December"][usize::try_from(month % 6).unwrap()];
    if day.is_multiple_of(2) { format!("{month} {day}, {year}") } else { format!("the {day}th of {month}") }
}

fn euros(whole: u64, cents: u64) -> String {
    format!("{whole},{cents:02} €")
}

fn dollars(whole: u64, cents: u64) -> String {
    match cents % 3 {
        0 => format!("${whole}.{cents:02}"),
        1 => format!("{whole} dollars and {cents} cents"),
        _ => format!("{whole} dollars"),
    }
}

const LANGUAGES: &[Sentences] = &[
    Sentences {
        language: "en",
        templates: &[
            "My phone number is {phone}.",
            "You can call me back at {spoken_phone}",
            "It was due on {date}, I think",
            "I owe {amount}, is that right?",
            "I paid {amount} on {date} and the rest later",
            "My order number is {order}",
            "The invoice says {order} and it is for {amount}",
            "I live at {street} Main Street, apartment {count}",
            "My address is {street} Oak Avenue, {zip}",
            "I called at {time} and waited for {count} minutes",
            "I am {age} years old",
            "I have {count} questions about {count} of the tickets",
            "My ZIP code is {zip}",
            "There are {count} of us, one is {age}",
            "It is account {order}, from {year}",
            "The one from {year}, please",
        ],
        digits: "zero one two three four five six seven eight nine",
        date: english_date,
        amount: dollars,
    },
    Sentences {
        language: "es",
        templates: &[
            "Mi teléfono es el {phone}",
            "Me puede llamar al {spoken_phone}",
            "Vencía el {date}, creo",
            "Debo {amount}, ¿no?",
            "Mi número de pedido es {order}",
            "Vivo en la calle Mayor {street}, piso {count}",
            "Mi código postal es {zip}",
            "Llamé a las {time}",
            "Tengo {age} años",
            "Son {count} entradas para {count} personas",
            "La factura {order} es de {amount}",
        ],
        digits: "cero uno dos tres cuatro cinco seis siete ocho nueve",
        date: slashed_date,
        amount: euros,
    },
    Sentences {
        language: "de",
        templates: &[
            "Meine Telefonnummer ist {phone}",
            "Rufen Sie mich unter {spoken_phone} an",
            "Das war am {date} fällig",
            "Ich schulde {amount}, oder?",
            "Meine Bestellnummer ist {order}",
            "Ich wohne in der Hauptstraße {street}, {zip} Bonn",
            "Ich habe um {time} Uhr angerufen",
            "Ich bin {age} Jahre alt",
            "Es sind {count} Karten für {count} Leute",
            "Die Rechnung {order} über {amount}",
        ],
        digits: "null eins zwei drei vier fünf sechs sieben acht neun",
        date: dotted_date,
        amount: euros,
    },
    Sentences {
        language: "fr",
        templates: &[
            "Mon numéro est le {phone}",
            "Rappelez-moi au {spoken_phone}",
            "C'était pour le {date}",
            "Je dois {amount}, non ?",
            "Ma commande est la {order}",
            "J'habite au {street} rue de la Paix, {zip} Lyon",
            "J'ai appelé à {time}",
            "J'ai {age} ans",
            "Il y a {count} places pour {count} personnes",
            "La facture {order} de {amount}",
        ],
        digits: "zéro un deux trois quatre cinq six sept huit neuf",
        date: slashed_date,
        amount: euros,
    },
    Sentences {
        language: "pt",
        templates: &[
            "Meu telefone é {phone}",
            "Me ligue no {spoken_phone}",
            "Venceu em {date}",
            "Eu devo {amount}, certo?",
            "Meu pedido é o {order}",
            "Moro na rua Augusta {street}, CEP {zip}",
            "Liguei às {time}",
            "Tenho {age} anos",
            "São {count} ingressos para {count} pessoas",
            "A fatura {order} é de {amount}",
        ],
        digits: "zero um dois três quatro cinco seis sete oito nove",
        date: slashed_date,
        amount: euros,
    },
    Sentences {
        language: "it",
        templates: &[
            "Il mio numero è {phone}",
            "Mi chiami al {spoken_phone}",
            "Scadeva il {date}",
            "Devo {amount}, giusto?",
            "Il mio ordine è il {order}",
            "Abito in via Roma {street}, {zip} Torino",
            "Ho chiamato alle {time}",
            "Ho {age} anni",
            "Sono {count} biglietti per {count} persone",
            "La fattura {order} è di {amount}",
        ],
        digits: "zero uno due tre quattro cinque sei sette otto nove",
        date: slashed_date,
        amount: euros,
    },
    Sentences {
        language: "nl",
        templates: &[
            "Mijn nummer is {phone}",
            "Bel me terug op {spoken_phone}",
            "Dat was op {date}",
            "Ik moet {amount} betalen, toch?",
            "Mijn bestelnummer is {order}",
            "Ik woon op Kerkstraat {street}, {zip} Utrecht",
            "Ik belde om {time} uur",
            "Ik ben {age} jaar oud",
            "Het zijn {count} kaarten voor {count} mensen",
            "De rekening {order} van {amount}",
        ],
        digits: "nul een twee drie vier vijf zes zeven acht negen",
        date: dotted_date,
        amount: euros,
    },
    // Any other language: the numbers are numerals, and the words are none that is known.
    Sentences {
        language: "other",
        templates: &[
            "zba kro {phone}",
            "vlem {date} zba",
            "kro {amount} vlem",
            "zba {order}",
            "vlem kro {street} zba, {zip}",
            "kro {time}",
            "zba vlem {age} kro",
            "vlem {count} zba {count}",
            "kro {order} vlem {amount}",
        ],
        digits: "0 1 2 3 4 5 6 7 8 9",
        date: dotted_date,
        amount: euros,
    },
];

/// A seeded generator (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from)
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }

    fn phone(&mut self) -> String {
        let (area, office, line) = (self.between(201, 990), self.between(200, 999), self.below(10_000));
        match self.below(4) {
            0 => format!("{area} {office} {line:04}"),
            1 => format!("({area}) {office}-{line:04}"),
            2 => format!("+{} {area} {office} {line:04}", self.between(1, 99)),
            _ => format!("{area}{office}{line:04}"),
        }
    }

    /// The value of a slot.
    fn fill(&mut self, slot: &str, of: &Sentences) -> String {
        let spoken = |digits: String| {
            let words: Vec<&str> = of.digits.split(' ').collect();
            digits.bytes().map(|digit| words[usize::from(digit - b'0')]).collect::<Vec<_>>().join(" ")
        };
        match slot {
            "phone" => self.phone(),
            "spoken_phone" => spoken(format!("{}{:07}", self.between(201, 990), self.between(2_000_000, 9_999_999))),
            "date" => (of.date)(self.between(1, 29), self.between(1, 13), self.between(2020, 2028)),
            "amount" => (of.amount)(self.between(1, 2_000), self.below(100)),
            "order" => {
                let digits = u32::try_from(self.between(4, 10)).unwrap();
                self.between(10_u64.pow(digits - 1), 10_u64.pow(digits)).to_string()
            }
            "street" => self.between(1, 3_000).to_string(),
            "time" => format!("{}:{:02}", self.between(1, 24), self.below(60)),
            "age" => self.between(18, 95).to_string(),
            "count" => self.between(1, 13).to_string(),
            "year" => self.between(1990, 2027).to_string(),
            "zip" => format!("{:05}", self.between(1_000, 99_999)),
            other => panic!("no slot {other}"),
        }
    }

    fn sentence(&mut self, of: &Sentences) -> String {
        let mut sentence = String::new();
        let mut rest = self.pick(of.templates);
        while let Some((before, more)) = rest.split_once('{') {
            let (slot, after) = more.split_once('}').unwrap();
            sentence += before;
            sentence += &self.fill(slot, of);
            rest = after;
        }
        sentence + rest
    }
}

fn is_long() -> bool {
    crate::config::Vars::from_process().get("CRELAY_LONG").is_some()
}

fn generate(of: &Sentences) -> Vec<String> {
    let mut random = Random(of.language.bytes().fold(7, |seed, byte| seed * 31 + u64::from(byte)));
    (0..if is_long() { 10_000 } else { 1_000 }).map(|_| random.sentence(of)).collect()
}

/// The number of sentences that are not as they were after the whole conversation.
fn count_cut(conversation: &[String]) -> usize {
    let mut redactor = Redactor::default();
    let mut kept: Vec<String> = Vec::new();
    for said in conversation {
        let heard = redactor.redact(said, RedactionPolicy::CardNumbers);
        for card in &heard.cards {
            let since = kept.len().saturating_sub(usize::try_from(card.earlier_inputs()).unwrap());
            for (at, text) in kept.iter_mut().enumerate() {
                *text = card.redact_from(text, at >= since).into_owned();
            }
        }
        kept.push(heard.text);
    }
    conversation.iter().zip(&kept).filter(|(said, kept)| said != kept).count()
}

#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn share(cut: usize, of: usize) -> f64 {
    cut as f64 / of as f64
}

#[test]
fn what_people_say_survives_alone_and_in_conversations() {
    let mut totals = [0; 3];
    for of in LANGUAGES {
        let sentences = generate(of);
        let alone = sentences.iter().filter(|said| redact_card_numbers(said) != said.as_str()).count();
        let together: usize = sentences.chunks(CONVERSATION).map(count_cut).sum();
        totals = [totals[0] + alone, totals[1] + together, totals[2] + sentences.len()];
        // A thousand sentences are too few to measure a share of one in 200.
        if is_long() {
            assert!(share(alone, sentences.len()) <= MAX_CUT, "{}: {alone} cut alone", of.language);
            assert!(share(together, sentences.len()) <= MAX_CUT, "{}: {together} cut in conversations", of.language);
        }
    }
    let [alone, together, sentences] = totals;
    assert!(share(alone, sentences) <= MAX_CUT && share(together, sentences) <= MAX_CUT, "{totals:?}");
}
