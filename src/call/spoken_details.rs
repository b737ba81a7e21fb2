//! Dates, accounts and telephone numbers as spoken text. Numbers stay digits, which every voice can read.

use jiff::civil::Date;

use super::guided_flow::primary_subtag;
use crate::payment::{BankAccountType, Last4, PaymentMethod};
use crate::phone_number::PhoneNumber;

/// The words of one language.
struct DetailWords {
    code: &'static str,
    months: [&'static str; 12],
    /// A date, with `{day}`, `{month}` and `{year}` in it.
    date: &'static str,
    card: &'static str,
    checking_account: &'static str,
    savings_account: &'static str,
    business_account: &'static str,
    /// What follows an account whose last digits are known, with `{digits}` in it.
    ending: &'static str,
    /// What follows an account whose last digits are not known.
    just_entered: &'static str,
}

const LANGUAGES: &[DetailWords] = &[
    DetailWords {
        code: "en",
        months: [
            "January",
            "February",
            "March",
            "April",
            "May",
            "June",
            "July",
            "August",
            "September",
            "October",
            "November",
            "December",
        ],
        date: "{month} {day}, {year}",
        card: "card",
        checking_account: "personal checking account",
        savings_account: "personal savings account",
        business_account: "business checking account",
        ending: "ending in {digits}",
        just_entered: "that you have just entered",
    },
    DetailWords {
        code: "es",
        months: [
            "enero",
            "febrero",
            "marzo",
            "abril",
            "mayo",
            "junio",
            "julio",
            "agosto",
            "septiembre",
            "octubre",
            "noviembre",
            "diciembre",
        ],
        date: "{day} de {month} de {year}",
        card: "tarjeta",
        checking_account: "cuenta corriente personal",
        savings_account: "cuenta de ahorros personal",
        business_account: "cuenta corriente de empresa",
        ending: "terminada en {digits}",
        just_entered: "que acaba de introducir",
    },
    DetailWords {
        code: "de",
        months: [
            "Januar",
            "Februar",
            "März",
            "April",
            "Mai",
            "Juni",
            "Juli",
            "August",
            "September",
            "Oktober",
            "November",
            "Dezember",
        ],
        date: "{day}. {month} {year}",
        card: "Karte",
        checking_account: "privates Girokonto",
        savings_account: "privates Sparkonto",
        business_account: "Geschäftskonto",
        ending: "mit den Endziffern {digits}",
        just_entered: "mit der eben eingegebenen Nummer",
    },
    DetailWords {
        code: "fr",
        months: [
            "janvier",
            "février",
            "mars",
            "avril",
            "mai",
            "juin",
            "juillet",
            "août",
            "septembre",
            "octobre",
            "novembre",
            "décembre",
        ],
        date: "{day} {month} {year}",
        card: "carte",
        checking_account: "compte courant personnel",
        savings_account: "compte d'épargne personnel",
        business_account: "compte courant professionnel",
        ending: "se terminant par {digits}",
        just_entered: "que vous venez de saisir",
    },
];

fn find_words(code: &str) -> Option<&'static DetailWords> {
    LANGUAGES.iter().find(|words| words.code.eq_ignore_ascii_case(primary_subtag(code)))
}

/// A date in the language of a BCP 47 code; in an unknown one as `2026-11-28`.
pub(super) fn format_date(date: Date, code: &str) -> String {
    let Some(words) = find_words(code) else { return date.to_string() };
    let month = usize::try_from(date.month()).ok().and_then(|month| words.months.get(month.checked_sub(1)?));
    words
        .date
        .replace("{day}", &date.day().to_string())
        .replace("{month}", month.copied().unwrap_or_default())
        .replace("{year}", &date.year().to_string())
}

/// The card or the account of a payment, with its last digits. English in an unknown language.
pub(super) fn describe_account(method: &PaymentMethod, last4: Option<Last4>, code: &str) -> String {
    let words = find_words(code).unwrap_or(&LANGUAGES[0]);
    let noun = match method {
        PaymentMethod::Card(_) => words.card,
        PaymentMethod::AchDebit { account_type: BankAccountType::ConsumerChecking, .. } => words.checking_account,
        PaymentMethod::AchDebit { account_type: BankAccountType::ConsumerSavings, .. } => words.savings_account,
        PaymentMethod::AchDebit { account_type: BankAccountType::CommercialChecking, .. } => words.business_account,
    };
    let which = last4.map_or_else(
        || words.just_entered.to_owned(),
        |last4| words.ending.replace("{digits}", &spell_digits(&last4.to_string())),
    );
    format!("{noun} {which}")
}

/// A telephone number in groups, as it is read out: `+1 555 010 0001`.
pub(super) fn format_number(number: &PhoneNumber) -> String {
    let digits = number.as_str().trim_start_matches('+');
    let groups: &[usize] = if digits.len() == 11 && digits.starts_with('1') { &[1, 3, 3, 4] } else { &[2, 3, 3, 3, 4] };
    let (mut rest, mut text) = (digits, String::from("+"));
    for length in groups {
        let (group, after) = rest.split_at((*length).min(rest.len()));
        let separator = if text.len() > 1 && !group.is_empty() { " " } else { "" };
        text.push_str(separator);
        text.push_str(group);
        rest = after;
    }
    text + rest
}

/// Digits that a voice reads one by one.
fn spell_digits(digits: &str) -> String {
    let digits: Vec<String> = digits.chars().map(String::from).collect();
    digits.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::{PaymentSettings, PaymentTerms};
    use jiff::civil::date;

    #[test]
    fn a_date_is_said_in_the_language_of_the_call() {
        for (code, text) in [
            ("en-AU", "November 28, 2026"),
            ("es", "28 de noviembre de 2026"),
            ("de-CH", "28. November 2026"),
            ("fr-FR", "28 novembre 2026"),
            ("it-IT", "2026-11-28"),
        ] {
            assert_eq!(format_date(date(2026, 11, 28), code), text, "{code}");
        }
        assert_eq!(format_date(date(2026, 1, 1), "en"), "January 1, 2026");
    }

    #[test]
    fn an_account_is_named_by_its_kind_and_last_digits() {
        let terms = |said: &[(&str, &str)]| -> PaymentTerms {
            let said = said.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            PaymentSettings::sample().parse_terms(&said).unwrap()
        };
        let card = terms(&[]).method;
        let savings = [("paymentMethod", "ach-debit"), ("bankAccountType", "consumer-savings"), ("avsName", "Ann Lee")];
        let savings = terms(&savings).method;
        for (method, last4, code, text) in [
            (&card, Some("4242"), "en-US", "card ending in 4 2 4 2"),
            (&card, None, "de-DE", "Karte mit der eben eingegebenen Nummer"),
            (&savings, Some("92"), "es-US", "cuenta de ahorros personal terminada en 9 2"),
            (&savings, None, "it-IT", "personal savings account that you have just entered"),
        ] {
            assert_eq!(describe_account(method, last4.and_then(Last4::from_account_mask), code), text);
        }
    }

    #[test]
    fn a_telephone_number_is_read_in_groups() {
        for (number, text) in [
            ("+15550100001", "+1 555 010 0001"),
            ("+4915112345678", "+49 151 123 456 78"),
            ("+441632960000", "+44 163 296 000 0"),
            ("+123456789012345", "+12 345 678 901 2345"),
        ] {
            assert_eq!(format_number(&number.parse().unwrap()), text);
        }
    }
}
