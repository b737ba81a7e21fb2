//! The server's texts for payments, and the words that it understands, by language.

mod built_in;

use std::borrow::Cow;
use std::sync::Arc;

use crate::call::consent_lexicon::ConsentLexicon;
use crate::payment::{CardType, ConsentAnswer, ConsentPurpose, Field};

/// The texts of one language: complete, short utterances, and the words of assent and refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentTexts {
    /// Asks for the card number.
    pub card_number: String,
    /// Asks for a security code of three digits.
    pub security_code: String,
    /// Asks for the four-digit security code of an American Express card.
    pub security_code_amex: String,
    /// Asks for the security code if the card type is unknown.
    pub security_code_any: String,
    /// Asks for the expiry date.
    pub expiration_date: String,
    /// Asks for the postal code.
    pub postal_code: String,
    /// Asks for the routing number of a bank.
    pub bank_routing_number: String,
    /// Asks for the bank account number.
    pub bank_account_number: String,
    /// Prefix for a field that is entered a second time, to be matched with the first entry.
    pub once_more: String,
    /// Prefix for a field that is asked for again after an invalid entry.
    pub retry: String,
    /// The payment is submitted.
    pub processing: String,
    /// The payment succeeded. Said only if the model cannot.
    pub charged: String,
    /// The debit of a bank account is accepted. Said only if the model cannot.
    pub pending: String,
    /// The card, or the account, is stored. Said only if the model cannot.
    pub stored: String,
    /// The payment ended without success. Said only if the model cannot.
    pub failed: String,
    /// It is not known whether the payment went through. Said only if the model cannot.
    pub unknown: String,
    /// The receipt was sent. Said only if the model cannot; empty in a language that has no such text.
    pub receipt_sent: String,
    /// No receipt can be sent to the caller's number. The same holds.
    pub no_receipt: String,
    /// Asks for a yes to an amount, with `{amount}` in it.
    pub confirm_amount: String,
    /// The same for a debit of a bank account.
    pub confirm_amount_account: String,
    /// Asks for a yes to charging the same amount again, with `{amount}` and `{minutes}` in it.
    pub pay_again: String,
    /// Asks for a yes to submitting the payment.
    pub go_on: String,
    /// The payment was cancelled at the caller's request.
    pub cancelled: String,
    /// Words and phrases of assent, separated by commas.
    pub assent: String,
    /// Words and phrases of refusal, separated by commas.
    pub refusal: String,
}

/// The payment texts by language. Clones share them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalizedTexts {
    texts: Arc<[(String, PaymentTexts)]>,
    lexicon: Arc<ConsentLexicon>,
}

impl LocalizedTexts {
    /// Combines the configured texts with the built-in ones, in this order. The first is the default for other
    /// languages.
    pub fn new(configured: Vec<(String, PaymentTexts)>) -> Self {
        let texts: Arc<[_]> = configured.into_iter().chain(built_in::built_in()).collect();
        let lexicon =
            ConsentLexicon::new(texts.iter().map(|(_, texts)| (texts.assent.as_str(), texts.refusal.as_str())));
        Self { texts, lexicon: Arc::new(lexicon) }
    }

    /// Whether there are texts for the language of a BCP 47 code.
    pub fn has_language(&self, code: &str) -> bool {
        find_language(&self.texts, code).is_some()
    }

    /// The texts for a BCP 47 code: those of that code, else those of its language, else the first.
    pub fn texts(&self, code: &str) -> &PaymentTexts {
        self.find(code).1
    }

    /// The same, with the BCP 47 code under which the texts are listed.
    pub fn find(&self, code: &str) -> (&str, &PaymentTexts) {
        let exact = self.texts.iter().find(|(known, _)| known.eq_ignore_ascii_case(code));
        let found = exact.or_else(|| find_language(&self.texts, code)).or_else(|| self.texts.first());
        let (code, texts) = found.expect("English is built in");
        (code, texts)
    }

    /// Classifies an answer as yes, no or unclear, in any of the languages.
    pub fn classify_answer(&self, words: &str) -> ConsentAnswer {
        self.lexicon.classify_answer(words)
    }

    /// Whether an utterance is a refusal and contains nothing else, in any of the languages.
    pub fn is_refusal(&self, words: &str) -> bool {
        self.lexicon.is_refusal(words)
    }
}

/// Finds the first texts of a language, ignoring the region.
fn find_language<'a>(known: &'a [(String, PaymentTexts)], code: &str) -> Option<&'a (String, PaymentTexts)> {
    known.iter().find(|(known, _)| primary_subtag(known).eq_ignore_ascii_case(primary_subtag(code)))
}

/// The primary language subtag of a BCP 47 code.
pub(in crate::call) fn primary_subtag(code: &str) -> &str {
    code.split(['-', '_']).next().unwrap_or(code)
}

impl PaymentTexts {
    /// The prompt for a field, or for its second entry.
    pub(super) fn field_prompt(&self, field: Field, card: Option<CardType>) -> Cow<'_, str> {
        let asks = match field.base_field() {
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

    /// The template of a question, with its placeholders. `None` for an authorisation, which is not a text for payments.
    pub(in crate::call) fn question(&self, purpose: ConsentPurpose, by_account: bool) -> Option<&str> {
        match purpose {
            ConsentPurpose::Charge(_) if by_account => Some(&self.confirm_amount_account),
            ConsentPurpose::Charge(_) => Some(&self.confirm_amount),
            ConsentPurpose::ChargeAgain(_) => Some(&self.pay_again),
            ConsentPurpose::SubmitOpenPayment => Some(&self.go_on),
            ConsentPurpose::BankDebit(_) | ConsentPurpose::StoredCard => None,
        }
    }

    /// The built-in texts for a code, or for its language.
    pub fn built_in_for(code: &str) -> Option<Self> {
        find_language(&built_in::built_in(), code).map(|(_, texts)| texts.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::{Amount, Currency};

    fn of(code: &str) -> PaymentTexts {
        PaymentTexts::built_in_for(code).unwrap()
    }

    #[test]
    fn texts_are_found_by_code_then_by_language_then_by_default() {
        let austrian = PaymentTexts { retry: "Das war nix.".to_owned(), ..of("de") };
        let guide = LocalizedTexts::new(vec![("de-AT".to_owned(), austrian.clone())]);
        assert!(guide.has_language("es-MX") && !guide.has_language("it-IT"));
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
        let asked = |card| texts.field_prompt(Field::SecurityCode, card).into_owned();
        assert!(asked(Some(CardType::Amex)).contains("four digits"));
        assert!(asked(Some(CardType::Visa)).contains("three digits"));
        assert!(asked(None).contains("three digits, or four"));
    }

    #[test]
    fn questions_name_the_amount_and_the_keys_in_every_language() {
        for code in ["en", "es", "de", "fr"] {
            let texts = of(code);
            let amount = Amount::parse("25", Currency::USD).unwrap().unwrap();
            for purpose in
                [ConsentPurpose::Charge(amount), ConsentPurpose::ChargeAgain(amount), ConsentPurpose::SubmitOpenPayment]
            {
                for by_account in [false, true] {
                    let text = texts.question(purpose, by_account).unwrap();
                    assert!(text.contains('1') && text.contains('2'), "{code} {purpose:?}");
                    assert_eq!(text.contains("{amount}"), purpose.amount().is_some(), "{code} {purpose:?}");
                    assert_eq!(
                        text.contains("{minutes}"),
                        purpose == ConsentPurpose::ChargeAgain(amount),
                        "{code} {purpose:?}"
                    );
                }
            }
            assert_ne!(texts.confirm_amount, texts.confirm_amount_account, "{code}");
        }
    }
}
