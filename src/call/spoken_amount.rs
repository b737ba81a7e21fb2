//! Amounts as spoken text: "25 dollars and 50 cents". Numbers stay digits, which every voice can read.

use super::guided_flow::primary_subtag;
use crate::payment::Amount;

/// Formats an amount in the language of a BCP 47 code. An unknown language or currency gives `25.50 XYZ`.
pub(super) fn format_spoken(amount: Amount, code: &str) -> String {
    let exponent = amount.currency().exponent();
    let unit = 10_u64.pow(exponent);
    let (major, minor) = (amount.minor() / unit, amount.minor() % unit);
    let Some((language, words)) = find_words(amount, code) else { return format_plain(amount) };
    let majors = || format_count(major, words.major);
    match (words.minor, minor) {
        (_, 0) => majors(),
        (Some(minors), _) if exponent == 2 && major == 0 => format_count(minor, minors),
        (Some(minors), _) if exponent == 2 => format!("{}{}{}", majors(), language.and, format_count(minor, minors)),
        _ => format_plain(amount),
    }
}

fn format_plain(amount: Amount) -> String {
    format!("{amount} {}", amount.currency())
}

fn format_count(number: u64, (one, many): NounForms) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// The singular and the plural of a noun.
type NounForms = (&'static str, &'static str);

/// The nouns of a currency: its major unit, and its minor unit if it has one.
struct CurrencyWords {
    code: &'static str,
    major: NounForms,
    minor: Option<NounForms>,
}

struct AmountLanguage {
    code: &'static str,
    /// The conjunction between the major and the minor unit.
    and: &'static str,
    currencies: &'static [CurrencyWords],
}

fn find_words(amount: Amount, code: &str) -> Option<(&'static AmountLanguage, &'static CurrencyWords)> {
    let spoken = LANGUAGES.iter().find(|known| known.code.eq_ignore_ascii_case(primary_subtag(code)))?;
    let words = spoken.currencies.iter().find(|words| words.code == amount.currency().code())?;
    Some((spoken, words))
}

const fn with_minor_unit(code: &'static str, major: NounForms, minor: NounForms) -> CurrencyWords {
    CurrencyWords { code, major, minor: Some(minor) }
}

const fn without_minor_unit(code: &'static str, major: NounForms) -> CurrencyWords {
    CurrencyWords { code, major, minor: None }
}

const LANGUAGES: &[AmountLanguage] = &[
    AmountLanguage {
        code: "en",
        and: " and ",
        currencies: &[
            with_minor_unit("USD", ("dollar", "dollars"), ("cent", "cents")),
            with_minor_unit("EUR", ("euro", "euros"), ("cent", "cents")),
            with_minor_unit("GBP", ("pound", "pounds"), ("penny", "pence")),
            with_minor_unit("CAD", ("Canadian dollar", "Canadian dollars"), ("cent", "cents")),
            with_minor_unit("AUD", ("Australian dollar", "Australian dollars"), ("cent", "cents")),
            with_minor_unit("NZD", ("New Zealand dollar", "New Zealand dollars"), ("cent", "cents")),
            with_minor_unit("CHF", ("Swiss franc", "Swiss francs"), ("centime", "centimes")),
            without_minor_unit("JPY", ("yen", "yen")),
            with_minor_unit("MXN", ("Mexican peso", "Mexican pesos"), ("centavo", "centavos")),
            with_minor_unit("BRL", ("Brazilian real", "Brazilian reais"), ("centavo", "centavos")),
            with_minor_unit("INR", ("rupee", "rupees"), ("paisa", "paise")),
            with_minor_unit("ZAR", ("rand", "rand"), ("cent", "cents")),
        ],
    },
    AmountLanguage {
        code: "es",
        and: " con ",
        currencies: &[
            with_minor_unit("USD", ("dólar", "dólares"), ("centavo", "centavos")),
            with_minor_unit("EUR", ("euro", "euros"), ("céntimo", "céntimos")),
            with_minor_unit("GBP", ("libra esterlina", "libras esterlinas"), ("penique", "peniques")),
            with_minor_unit("CAD", ("dólar canadiense", "dólares canadienses"), ("centavo", "centavos")),
            with_minor_unit("AUD", ("dólar australiano", "dólares australianos"), ("centavo", "centavos")),
            with_minor_unit("NZD", ("dólar neozelandés", "dólares neozelandeses"), ("centavo", "centavos")),
            with_minor_unit("CHF", ("franco suizo", "francos suizos"), ("céntimo", "céntimos")),
            without_minor_unit("JPY", ("yen", "yenes")),
            with_minor_unit("MXN", ("peso mexicano", "pesos mexicanos"), ("centavo", "centavos")),
            with_minor_unit("BRL", ("real brasileño", "reales brasileños"), ("centavo", "centavos")),
            with_minor_unit("INR", ("rupia", "rupias"), ("paisa", "paisas")),
            with_minor_unit("ZAR", ("rand", "rands"), ("centavo", "centavos")),
        ],
    },
    AmountLanguage {
        code: "de",
        and: " und ",
        // These nouns are the same in every grammatical case, so they fit into any sentence.
        currencies: &[
            with_minor_unit("USD", ("Dollar", "Dollar"), ("Cent", "Cent")),
            with_minor_unit("EUR", ("Euro", "Euro"), ("Cent", "Cent")),
            with_minor_unit("GBP", ("Pfund", "Pfund"), ("Penny", "Pence")),
            with_minor_unit("CAD", ("Kanada-Dollar", "Kanada-Dollar"), ("Cent", "Cent")),
            with_minor_unit("AUD", ("Australien-Dollar", "Australien-Dollar"), ("Cent", "Cent")),
            with_minor_unit("NZD", ("Neuseeland-Dollar", "Neuseeland-Dollar"), ("Cent", "Cent")),
            with_minor_unit("CHF", ("Schweizer Franken", "Schweizer Franken"), ("Rappen", "Rappen")),
            without_minor_unit("JPY", ("Yen", "Yen")),
            with_minor_unit("MXN", ("Mexiko-Peso", "Mexiko-Peso"), ("Centavo", "Centavo")),
            with_minor_unit("BRL", ("Brasil-Real", "Brasil-Real"), ("Centavo", "Centavo")),
            with_minor_unit("INR", ("Rupie", "Rupien"), ("Paisa", "Paise")),
            with_minor_unit("ZAR", ("Rand", "Rand"), ("Cent", "Cent")),
        ],
    },
    AmountLanguage {
        code: "fr",
        and: " et ",
        currencies: &[
            with_minor_unit("USD", ("dollar", "dollars"), ("cent", "cents")),
            with_minor_unit("EUR", ("euro", "euros"), ("centime", "centimes")),
            with_minor_unit("GBP", ("livre sterling", "livres sterling"), ("penny", "pence")),
            with_minor_unit("CAD", ("dollar canadien", "dollars canadiens"), ("cent", "cents")),
            with_minor_unit("AUD", ("dollar australien", "dollars australiens"), ("cent", "cents")),
            with_minor_unit("NZD", ("dollar néo-zélandais", "dollars néo-zélandais"), ("cent", "cents")),
            with_minor_unit("CHF", ("franc suisse", "francs suisses"), ("centime", "centimes")),
            without_minor_unit("JPY", ("yen", "yens")),
            with_minor_unit("MXN", ("peso mexicain", "pesos mexicains"), ("centavo", "centavos")),
            with_minor_unit("BRL", ("réal brésilien", "réaux brésiliens"), ("centavo", "centavos")),
            with_minor_unit("INR", ("roupie", "roupies"), ("paisa", "paisas")),
            with_minor_unit("ZAR", ("rand", "rands"), ("cent", "cents")),
        ],
    },
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said(text: &str, currency: &str, code: &str) -> String {
        format_spoken(Amount::parse(text, currency.parse().unwrap()).unwrap().unwrap(), code)
    }

    #[test]
    fn an_amount_is_formatted_as_spoken() {
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
        let codes = |language: &AmountLanguage| language.currencies.iter().map(|words| words.code).collect::<Vec<_>>();
        for language in LANGUAGES {
            assert_eq!(codes(language), codes(&LANGUAGES[0]), "{}", language.code);
        }
    }

    proptest! {
        #[test]
        fn the_spoken_number_is_exactly_the_amount(
            minor in 1_u64..100_000_000,
            code in prop::sample::select(&["en-US", "es-US", "de-DE", "fr-CA", "it-IT"][..]),
            currency in prop::sample::select(&["USD", "EUR", "GBP", "CHF", "JPY", "INR", "KWD", "PLN", "VND"][..]),
        ) {
            let Some(amount) = Amount::from_minor(minor, currency.parse().unwrap()) else { return Ok(()) };
            let said = format_spoken(amount, code);
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
