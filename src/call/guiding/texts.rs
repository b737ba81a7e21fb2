//! What the server says by itself while it leads through a payment, in the languages that it knows.

use std::borrow::Cow;

use crate::payment::{CardType, Field};

/// What is said in one language: whole utterances, plain and short.
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
    /// The card, or the account, is stored. Said only if the model cannot.
    pub stored: String,
    /// The payment ended without success. Said only if the model cannot.
    pub failed: String,
    /// It is not known whether the payment went through. Said only if the model cannot.
    pub unknown: String,
}

/// Texts by language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guide(Vec<(String, Texts)>);

impl Guide {
    /// What is configured, then what is built in. The first counts for every language that is not known.
    pub fn new(configured: Vec<(String, Texts)>) -> Self {
        Self(configured.into_iter().chain(Texts::built_in()).collect())
    }

    /// Whether there are texts in the language of a BCP 47 code.
    pub fn speaks(&self, code: &str) -> bool {
        of_language(&self.0, code).is_some()
    }

    /// The texts for a BCP 47 code: those of that code, else those of its language, else the first.
    pub fn texts(&self, code: &str) -> &Texts {
        let exact = self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(code));
        let found = exact.or_else(|| of_language(&self.0, code)).or_else(|| self.0.first());
        &found.expect("English is built in").1
    }
}

/// The first of a language, whatever the region.
fn of_language<'a>(known: &'a [(String, Texts)], code: &str) -> Option<&'a (String, Texts)> {
    known.iter().find(|(known, _)| language(known).eq_ignore_ascii_case(language(code)))
}

fn language(code: &str) -> &str {
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

    /// What is built in for a code, or for its language.
    pub fn built_in_for(code: &str) -> Option<Self> {
        of_language(&Self::built_in(), code).map(|(_, texts)| texts.clone())
    }

    /// English, Spanish, German and French.
    fn built_in() -> [(String, Self); 4] {
        [("en-US", english()), ("es-US", spanish()), ("de-DE", german()), ("fr-FR", french())]
            .map(|(code, texts)| (code.to_owned(), texts))
    }
}

fn english() -> Texts {
    texts([
        "Please type your card number on the keypad, then press pound.",
        "Now the security code, the three digits on the back, then pound.",
        "Now the security code, the four digits on the front, then pound.",
        "Now the security code, three digits, or four on American Express, then pound.",
        "Now the expiry date as four digits, month and year, then pound.",
        "Now the postal code of the card, then pound.",
        "Please type the nine digits of your bank's routing number on the keypad, then press pound.",
        "Now your account number, then pound.",
        "Once more, so that it is certain.",
        "That was not accepted.",
        "Thank you. One moment while that goes through.",
        "Your payment went through. Thank you.",
        "Your payment details are stored. Thank you.",
        "I am sorry, that did not go through.",
        "I do not know yet whether that went through. A colleague looks it up and gets back to you.",
    ])
}

fn spanish() -> Texts {
    texts([
        "Por favor, marque el número de su tarjeta en el teclado y después la tecla numeral.",
        "Ahora el código de seguridad, los tres dígitos del reverso, y después numeral.",
        "Ahora el código de seguridad, los cuatro dígitos del frente, y después numeral.",
        "Ahora el código de seguridad, tres dígitos, o cuatro en American Express, y después numeral.",
        "Ahora la fecha de vencimiento en cuatro dígitos, mes y año, y después numeral.",
        "Ahora el código postal de la tarjeta, y después numeral.",
        "Por favor, marque los nueve dígitos del número de ruta de su banco y después la tecla numeral.",
        "Ahora el número de su cuenta, y después numeral.",
        "Una vez más, para estar seguros.",
        "No fue aceptado.",
        "Gracias. Un momento mientras se procesa.",
        "Su pago se realizó. Gracias.",
        "Sus datos de pago quedaron guardados. Gracias.",
        "Lo siento, no se pudo realizar.",
        "Todavía no sé si se realizó. Una persona lo revisará y se pondrá en contacto con usted.",
    ])
}

fn german() -> Texts {
    texts([
        "Bitte geben Sie Ihre Kartennummer über die Tasten ein, dann die Rautetaste.",
        "Jetzt die Prüfnummer, die drei Ziffern auf der Rückseite, dann Raute.",
        "Jetzt die Prüfnummer, die vier Ziffern auf der Vorderseite, dann Raute.",
        "Jetzt die Prüfnummer, drei Ziffern, bei American Express vier, dann Raute.",
        "Jetzt das Ablaufdatum in vier Ziffern, Monat und Jahr, dann Raute.",
        "Jetzt die Postleitzahl zur Karte, dann Raute.",
        "Bitte geben Sie die neun Ziffern der Routing-Nummer Ihrer Bank ein, dann die Rautetaste.",
        "Jetzt Ihre Kontonummer, dann Raute.",
        "Noch einmal, zur Sicherheit.",
        "Das wurde nicht angenommen.",
        "Danke. Einen Moment, das wird jetzt verarbeitet.",
        "Ihre Zahlung ist erfolgt. Vielen Dank.",
        "Ihre Zahlungsdaten sind gespeichert. Vielen Dank.",
        "Es tut mir leid, das hat nicht geklappt.",
        "Ich weiß noch nicht, ob das geklappt hat. Jemand sieht nach und meldet sich bei Ihnen.",
    ])
}

fn french() -> Texts {
    texts([
        "Veuillez taper le numéro de votre carte sur le clavier, puis la touche dièse.",
        "Maintenant le code de sécurité, les trois chiffres au dos, puis dièse.",
        "Maintenant le code de sécurité, les quatre chiffres au recto, puis dièse.",
        "Maintenant le code de sécurité, trois chiffres, ou quatre pour American Express, puis dièse.",
        "Maintenant la date d'expiration en quatre chiffres, mois et année, puis dièse.",
        "Maintenant le code postal de la carte, puis dièse.",
        "Veuillez taper les neuf chiffres du numéro de routage de votre banque, puis la touche dièse.",
        "Maintenant le numéro de votre compte, puis dièse.",
        "Encore une fois, par sécurité.",
        "Cela n'a pas été accepté.",
        "Merci. Un instant, le paiement est en cours.",
        "Votre paiement est effectué. Merci.",
        "Vos coordonnées de paiement sont enregistrées. Merci.",
        "Je suis désolé, cela n'a pas abouti.",
        "Je ne sais pas encore si le paiement est passé. Une personne va vérifier et reviendra vers vous.",
    ])
}

/// In the order of the struct.
fn texts(texts: [&str; 15]) -> Texts {
    let [
        card_number,
        security_code,
        security_code_amex,
        security_code_any,
        expiration_date,
        postal_code,
        bank_routing_number,
        bank_account_number,
        once_more,
        retry,
        processing,
        charged,
        stored,
        failed,
        unknown,
    ] = texts.map(str::to_owned);
    Texts {
        card_number,
        security_code,
        security_code_amex,
        security_code_any,
        expiration_date,
        postal_code,
        bank_routing_number,
        bank_account_number,
        once_more,
        retry,
        processing,
        charged,
        stored,
        failed,
        unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_by_code_then_by_language_then_the_first() {
        let austrian = Texts { retry: "Das war nix.".to_owned(), ..german() };
        let guide = Guide::new(vec![("de-AT".to_owned(), austrian.clone())]);
        assert!(guide.speaks("es-MX") && !guide.speaks("it-IT"));
        for (code, texts) in [
            ("de-at", &austrian),
            ("de-DE", &german()),
            ("de-CH", &austrian),
            ("de", &austrian),
            ("en-AU", &english()),
            ("es-ES", &spanish()),
            ("fr", &french()),
            ("it-IT", &austrian),
            ("multi", &austrian),
        ] {
            assert_eq!(guide.texts(code), texts, "{code}");
        }
    }

    #[test]
    fn an_american_express_card_is_asked_for_four_digits_and_an_unknown_one_for_either() {
        let texts = english();
        let asked = |card| texts.field(Field::SecurityCode, card).into_owned();
        assert!(asked(Some(CardType::Amex)).contains("four digits"));
        assert!(asked(Some(CardType::Visa)).contains("three digits"));
        assert!(asked(None).contains("three digits, or four"));
    }
}
