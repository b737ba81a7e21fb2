//! What the server says by itself, and understands by itself, in the languages that it knows.

mod built_in;

use std::borrow::Cow;
use std::sync::Arc;

use crate::call::answer::Lexicon;
use crate::payment::{CardType, Consent, Field, Purpose};

/// What is said in one language: whole utterances, plain and short. And the words that are understood there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Texts {
    /// Asks for the card number.
    pub card_number: String,
    /// Asks for the security code of a card that has three digits.
    pub security_code: String,
    /// Asks for the four digits of an American Express card.
    pub security_code_amex: String,
    /// Asks for the security code where the kind of card is not known.
    pub security_code_any: String,
    /// Asks for the expiry date.
    pub expiration_date: String,
    /// Asks for the postal code.
    pub postal_code: String,
    /// Asks for the routing number of a bank.
    pub bank_routing_number: String,
    /// Asks for the number of a bank account.
    pub bank_account_number: String,
    /// Stands before what is asked for twice, so that it is certain.
    pub once_more: String,
    /// Stands before what is asked for again after a wrong entry.
    pub retry: String,
    /// The payment is submitted.
    pub processing: String,
    /// The payment was made. Said only if the model cannot.
    pub charged: String,
    /// The debit of a bank account is accepted. Said only if the model cannot.
    pub pending: String,
    /// The card, or the account, is stored. Said only if the model cannot.
    pub stored: String,
    /// The payment ended without success. Said only if the model cannot.
    pub failed: String,
    /// It is not known whether the payment went through. Said only if the model cannot.
    pub unknown: String,
    /// Asks for a yes to an amount, with `{amount}` in it.
    pub confirm_amount: String,
    /// The same where a bank account is debited.
    pub confirm_amount_account: String,
    /// Asks for a yes to the same payment once more, with `{amount}` and `{minutes}` in it.
    pub pay_again: String,
    /// Asks for a yes to submitting the payment.
    pub go_on: String,
    /// The payment was cancelled at the caller's wish.
    pub cancelled: String,
    /// Words and phrases of assent, with commas between them.
    pub assent: String,
    /// Words and phrases of refusal, with commas between them.
    pub refusal: String,
}

/// Texts by language. A clone shares them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guide {
    texts: Arc<[(String, Texts)]>,
    lexicon: Arc<Lexicon>,
}

impl Guide {
    /// What is configured, then what is built in. The first counts for every language that is not known.
    pub fn new(configured: Vec<(String, Texts)>) -> Self {
        let texts: Arc<[_]> = configured.into_iter().chain(built_in::built_in()).collect();
        let lexicon = Lexicon::new(texts.iter().map(|(_, texts)| (texts.assent.as_str(), texts.refusal.as_str())));
        Self { texts, lexicon: Arc::new(lexicon) }
    }

    /// Whether there are texts in the language of a BCP 47 code.
    pub fn speaks(&self, code: &str) -> bool {
        of_language(&self.texts, code).is_some()
    }

    /// The texts for a BCP 47 code: those of that code, else those of its language, else the first.
    pub fn texts(&self, code: &str) -> &Texts {
        self.find(code).1
    }

    /// The same with the code that the texts have.
    pub fn find(&self, code: &str) -> (&str, &Texts) {
        let exact = self.texts.iter().find(|(known, _)| known.eq_ignore_ascii_case(code));
        let found = exact.or_else(|| of_language(&self.texts, code)).or_else(|| self.texts.first());
        let (code, texts) = found.expect("English is built in");
        (code, texts)
    }

    /// Whether these words are a yes or a no, in any of the languages.
    pub fn judge(&self, words: &str) -> Consent {
        self.lexicon.judge(words)
    }

    /// Whether these words are a refusal and nothing else, in any of the languages.
    pub fn is_refusal(&self, words: &str) -> bool {
        self.lexicon.is_refusal(words)
    }
}

/// The first of a language, whatever the region.
fn of_language<'a>(known: &'a [(String, Texts)], code: &str) -> Option<&'a (String, Texts)> {
    known.iter().find(|(known, _)| language(known).eq_ignore_ascii_case(language(code)))
}

/// The language in a BCP 47 code.
pub(in crate::call) fn language(code: &str) -> &str {
    code.split(['-', '_']).next().unwrap_or(code)
}

impl Texts {
    /// What asks for a field, or for it once more.
    pub(super) fn field(&self, field: Field, card: Option<CardType>) -> Cow<'_, str> {
        let asks = match field.first() {
            Field::SecurityCode => match card {
                Some(CardType::Amex) => &self.security_code_amex,
                Some(_) => &self.security_code,
                None => &self.security_code_any,
            },
            Field::ExpirationDate => &self.expiration_date,
            Field::PostalCode => &self.postal_code,
            Field::BankRoutingNumber => &self.bank_routing_number,
            Field::BankAccountNumber => &self.bank_account_number,
            _ => &self.card_number,
        };
        if field.is_matcher() { format!("{} {asks}", self.once_more).into() } else { asks.into() }
    }

    /// The template of a statement.
    pub(in crate::call) fn statement(&self, purpose: Purpose, by_account: bool) -> &str {
        match purpose {
            Purpose::Charge(_) if by_account => &self.confirm_amount_account,
            Purpose::Charge(_) => &self.confirm_amount,
            Purpose::ChargeAgain(_) => &self.pay_again,
            Purpose::GoOn => &self.go_on,
        }
    }

    /// What is built in for a code, or for its language.
    pub fn built_in_for(code: &str) -> Option<Self> {
        of_language(&built_in::built_in(), code).map(|(_, texts)| texts.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::{Amount, Currency};

    fn of(code: &str) -> Texts {
        Texts::built_in_for(code).unwrap()
    }

    #[test]
    fn texts_are_found_by_code_then_by_language_then_the_first() {
        let austrian = Texts { retry: "Das war nix.".to_owned(), ..of("de") };
        let guide = Guide::new(vec![("de-AT".to_owned(), austrian.clone())]);
        assert!(guide.speaks("es-MX") && !guide.speaks("it-IT"));
        for (code, texts) in [
            ("de-at", &austrian),
            ("de-DE", &of("de")),
            ("de-CH", &austrian),
            ("de", &austrian),
            ("en-AU", &of("en")),
            ("es-ES", &of("es")),
            ("fr", &of("fr")),
            ("it-IT", &austrian),
            ("multi", &austrian),
        ] {
            assert_eq!(guide.texts(code), texts, "{code}");
        }
        assert_eq!(guide.find("en-AU").0, "en-US");
    }

    #[test]
    fn an_american_express_card_is_asked_for_four_digits_and_an_unknown_one_for_either() {
        let texts = of("en");
        let asked = |card| texts.field(Field::SecurityCode, card).into_owned();
        assert!(asked(Some(CardType::Amex)).contains("four digits"));
        assert!(asked(Some(CardType::Visa)).contains("three digits"));
        assert!(asked(None).contains("three digits, or four"));
    }

    #[test]
    fn statements_name_what_they_ask_for_and_how_to_answer_in_every_language() {
        for code in ["en", "es", "de", "fr"] {
            let texts = of(code);
            let amount = Amount::parse("25", Currency::USD).unwrap().unwrap();
            for purpose in [Purpose::Charge(amount), Purpose::ChargeAgain(amount), Purpose::GoOn] {
                for by_account in [false, true] {
                    let text = texts.statement(purpose, by_account);
                    assert!(text.contains('1') && text.contains('2'), "{code} {purpose:?}");
                    assert_eq!(text.contains("{amount}"), purpose.amount().is_some(), "{code} {purpose:?}");
                    assert_eq!(
                        text.contains("{minutes}"),
                        purpose == Purpose::ChargeAgain(amount),
                        "{code} {purpose:?}"
                    );
                }
            }
            assert_ne!(texts.confirm_amount, texts.confirm_amount_account, "{code}");
        }
    }
}
