//! How an amount is said: "25 dollars and 50 cents". Figures stay figures, which every voice reads.

use super::guiding::language;
use crate::payment::Amount;

/// The amount in the language of a BCP 47 code; in another language, or in a currency without words there, `25.50 XYZ`.
pub(super) fn say(amount: Amount, code: &str) -> String {
    let exponent = amount.currency().exponent();
    let unit = 10_u64.pow(exponent);
    let (major, minor) = (amount.minor() / unit, amount.minor() % unit);
    let Some((language, words)) = words(amount, code) else { return plain(amount) };
    let majors = || counted(major, words.major);
    match (words.minor, minor) {
        (_, 0) => majors(),
        (Some(minors), _) if exponent == 2 && major == 0 => counted(minor, minors),
        (Some(minors), _) if exponent == 2 => format!("{}{}{}", majors(), language.and, counted(minor, minors)),
        _ => plain(amount),
    }
}

fn plain(amount: Amount) -> String {
    format!("{amount} {}", amount.currency())
}

fn counted(number: u64, (one, many): Noun) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// For one, and for any other number.
type Noun = (&'static str, &'static str);

/// The nouns of a currency: its unit, and a hundredth of it where there is one.
struct Words {
    code: &'static str,
    major: Noun,
    minor: Option<Noun>,
}

struct Language {
    code: &'static str,
    /// Between units and hundredths.
    and: &'static str,
    currencies: &'static [Words],
}

fn words(amount: Amount, code: &str) -> Option<(&'static Language, &'static Words)> {
    let spoken = LANGUAGES.iter().find(|known| known.code.eq_ignore_ascii_case(language(code)))?;
    let words = spoken.currencies.iter().find(|words| words.code == amount.currency().code())?;
    Some((spoken, words))
}

const fn noun(code: &'static str, major: Noun, minor: Noun) -> Words {
    Words { code, major, minor: Some(minor) }
}

const fn whole(code: &'static str, major: Noun) -> Words {
    Words { code, major, minor: None }
}

const LANGUAGES: &[Language] = &[
    Language {
        code: "en",
        and: " and ",
        currencies: &[
            noun("USD", ("dollar", "dollars"), ("cent", "cents")),
            noun("EUR", ("euro", "euros"), ("cent", "cents")),
            noun("GBP", ("pound", "pounds"), ("penny", "pence")),
            noun("CAD", ("Canadian dollar", "Canadian dollars"), ("cent", "cents")),
            noun("AUD", ("Australian dollar", "Australian dollars"), ("cent", "cents")),
            noun("NZD", ("New Zealand dollar", "New Zealand dollars"), ("cent", "cents")),
            noun("CHF", ("Swiss franc", "Swiss francs"), ("centime", "centimes")),
            whole("JPY", ("yen", "yen")),
            noun("MXN", ("Mexican peso", "Mexican pesos"), ("centavo", "centavos")),
            noun("BRL", ("Brazilian real", "Brazilian reais"), ("centavo", "centavos")),
            noun("INR", ("rupee", "rupees"), ("paisa", "paise")),
            noun("ZAR", ("rand", "rand"), ("cent", "cents")),
        ],
    },
    Language {
        code: "es",
        and: " con ",
        currencies: &[
            noun("USD", ("dólar", "dólares"), ("centavo", "centavos")),
            noun("EUR", ("euro", "euros"), ("céntimo", "céntimos")),
            noun("GBP", ("libra esterlina", "libras esterlinas"), ("penique", "peniques")),
            noun("CAD", ("dólar canadiense", "dólares canadienses"), ("centavo", "centavos")),
            noun("AUD", ("dólar australiano", "dólares australianos"), ("centavo", "centavos")),
            noun("NZD", ("dólar neozelandés", "dólares neozelandeses"), ("centavo", "centavos")),
            noun("CHF", ("franco suizo", "francos suizos"), ("céntimo", "céntimos")),
            whole("JPY", ("yen", "yenes")),
            noun("MXN", ("peso mexicano", "pesos mexicanos"), ("centavo", "centavos")),
            noun("BRL", ("real brasileño", "reales brasileños"), ("centavo", "centavos")),
            noun("INR", ("rupia", "rupias"), ("paisa", "paisas")),
            noun("ZAR", ("rand", "rands"), ("centavo", "centavos")),
        ],
    },
    Language {
        code: "de",
        and: " und ",
        // Nouns that are the same in every case, so that they fit into any sentence.
        currencies: &[
            noun("USD", ("Dollar", "Dollar"), ("Cent", "Cent")),
            noun("EUR", ("Euro", "Euro"), ("Cent", "Cent")),
            noun("GBP", ("Pfund", "Pfund"), ("Penny", "Pence")),
            noun("CAD", ("Kanada-Dollar", "Kanada-Dollar"), ("Cent", "Cent")),
            noun("AUD", ("Australien-Dollar", "Australien-Dollar"), ("Cent", "Cent")),
            noun("NZD", ("Neuseeland-Dollar", "Neuseeland-Dollar"), ("Cent", "Cent")),
            noun("CHF", ("Schweizer Franken", "Schweizer Franken"), ("Rappen", "Rappen")),
            whole("JPY", ("Yen", "Yen")),
            noun("MXN", ("Mexiko-Peso", "Mexiko-Peso"), ("Centavo", "Centavo")),
            noun("BRL", ("Brasil-Real", "Brasil-Real"), ("Centavo", "Centavo")),
            noun("INR", ("Rupie", "Rupien"), ("Paisa", "Paise")),
            noun("ZAR", ("Rand", "Rand"), ("Cent", "Cent")),
        ],
    },
    Language {
        code: "fr",
        and: " et ",
        currencies: &[
            noun("USD", ("dollar", "dollars"), ("cent", "cents")),
            noun("EUR", ("euro", "euros"), ("centime", "centimes")),
            noun("GBP", ("livre sterling", "livres sterling"), ("penny", "pence")),
            noun("CAD", ("dollar canadien", "dollars canadiens"), ("cent", "cents")),
            noun("AUD", ("dollar australien", "dollars australiens"), ("cent", "cents")),
            noun("NZD", ("dollar néo-zélandais", "dollars néo-zélandais"), ("cent", "cents")),
            noun("CHF", ("franc suisse", "francs suisses"), ("centime", "centimes")),
            whole("JPY", ("yen", "yens")),
            noun("MXN", ("peso mexicain", "pesos mexicains"), ("centavo", "centavos")),
            noun("BRL", ("réal brésilien", "réaux brésiliens"), ("centavo", "centavos")),
            noun("INR", ("roupie", "roupies"), ("paisa", "paisas")),
            noun("ZAR", ("rand", "rands"), ("cent", "cents")),
        ],
    },
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said(text: &str, currency: &str, code: &str) -> String {
        say(Amount::parse(text, currency.parse().unwrap()).unwrap().unwrap(), code)
    }

    #[test]
    fn an_amount_is_said_as_people_say_it() {
        for (text, currency, code, words) in [
            ("25", "USD", "en-US", "25 dollars"),
            ("25.50", "USD", "en-GB", "25 dollars and 50 cents"),
            ("1", "USD", "en", "1 dollar"),
            ("1.01", "USD", "en", "1 dollar and 1 cent"),
            ("0.50", "USD", "en", "50 cents"),
            ("0.01", "GBP", "en", "1 penny"),
            ("25.05", "CAD", "en", "25 Canadian dollars and 5 cents"),
            ("1500", "JPY", "en", "1500 yen"),
            ("25.50", "USD", "es-MX", "25 dólares con 50 centavos"),
            ("1", "EUR", "es-ES", "1 euro"),
            ("25.50", "EUR", "de-AT", "25 Euro und 50 Cent"),
            ("12.20", "CHF", "de-CH", "12 Schweizer Franken und 20 Rappen"),
            ("25.50", "EUR", "fr-FR", "25 euros et 50 centimes"),
            ("25.50", "PLN", "en-US", "25.50 PLN"),
            ("1.005", "KWD", "en-US", "1.005 KWD"),
            ("25.50", "EUR", "it-IT", "25.50 EUR"),
        ] {
            assert_eq!(said(text, currency, code), words);
        }
    }

    #[test]
    fn every_language_has_the_same_currencies() {
        let codes = |language: &Language| language.currencies.iter().map(|words| words.code).collect::<Vec<_>>();
        for language in LANGUAGES {
            assert_eq!(codes(language), codes(&LANGUAGES[0]), "{}", language.code);
        }
    }

    proptest! {
        #[test]
        fn the_number_that_is_said_is_exactly_the_amount(
            minor in 1_u64..100_000_000,
            code in prop::sample::select(&["en-US", "es-US", "de-DE", "fr-CA", "it-IT"][..]),
            currency in prop::sample::select(&["USD", "EUR", "GBP", "CHF", "JPY", "INR", "KWD", "PLN", "VND"][..]),
        ) {
            let Some(amount) = Amount::from_minor(minor, currency.parse().unwrap()) else { return Ok(()) };
            let said = say(amount, code);
            let unit = 10_u64.pow(amount.currency().exponent());
            let heard = if let Some(number) = said.strip_suffix(&format!(" {currency}")) {
                Amount::parse(number, amount.currency()).unwrap().unwrap().minor()
            } else {
                let numbers: Vec<u64> = said.split(' ').filter_map(|word| word.parse().ok()).collect();
                match numbers[..] {
                    [major, minor] => major * unit + minor,
                    [number] if amount.minor() < unit => number,
                    [number] => number * unit,
                    _ => panic!("{said}"),
                }
            };
            prop_assert_eq!(heard, minor, "{}", said);
        }
    }
}
