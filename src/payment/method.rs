//! What a payment is made with: a card or a bank account, each with what Twilio takes for it and nothing else.

use std::str::FromStr;

use super::{Field, Fields};
use crate::redact::Private;

/// `PaymentMethod`, with everything that belongs to it. A bank account type cannot stand beside a card (error 64017), and a
/// bank account cannot be without the name of its holder (error 64014).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// `credit-card`
    Card(Card),
    /// `ach-debit`: a bank account in the United States.
    AchDebit {
        /// `BankAccountType`
        account_type: BankAccountType,
        /// The holder, as `AVSName` in `Parameter`.
        avs_name: AvsName,
    },
}

/// What is asked of a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// `SecurityCode`: whether it is asked for.
    pub security_code: bool,
    /// `PostalCode`: whether it is asked for.
    pub postal_code: bool,
    /// `MinPostalCodeLength`: 1 to 20 digits; only where the postal code is asked for.
    pub min_postal_code_length: Option<u8>,
    /// `ValidCardTypes`; none: those that Twilio takes by itself, Visa, Mastercard and American Express.
    pub valid_types: Vec<CardType>,
    /// `RequireMatchingInputs`: fields that are entered twice, all of them asked for.
    pub matching: Fields,
}

impl Method {
    /// The word on the wire.
    pub fn name(&self) -> MethodName {
        match self {
            Self::Card(_) => MethodName::CreditCard,
            Self::AchDebit { .. } => MethodName::AchDebit,
        }
    }

    /// What it is, in the words of a conversation.
    pub fn means(&self) -> &'static str {
        match self {
            Self::Card(_) => "card",
            Self::AchDebit { .. } => "bank account",
        }
    }

    /// The fields that a payment needs.
    pub fn fields(&self) -> Fields {
        match self {
            Self::Card(card) => card.fields(),
            Self::AchDebit { .. } => Fields::from_iter([Field::BankRoutingNumber, Field::BankAccountNumber]),
        }
    }
}

impl Card {
    fn fields(&self) -> Fields {
        let asked = [
            (Field::CardNumber, true),
            (Field::SecurityCode, self.security_code),
            (Field::ExpirationDate, true),
            (Field::PostalCode, self.postal_code),
        ];
        let asked = asked.into_iter().filter(|(_, asked)| *asked).map(|(field, _)| field);
        let twice = |field: Field| field.matcher().filter(|_| self.matching.contains(field));
        asked.flat_map(|field| [Some(field), twice(field)]).flatten().collect()
    }
}

/// A text that is none of the words that Twilio takes there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be {0}")]
pub struct BadWord(pub(super) &'static str);

/// Finds the one that is written like this.
fn find<T: Copy, const N: usize>(all: [T; N], wire: impl Fn(T) -> &'static str, text: &str) -> Option<T> {
    all.into_iter().find(|it| wire(*it) == text)
}

/// `PaymentMethod`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MethodName {
    /// `credit-card`
    #[default]
    CreditCard,
    /// `ach-debit`
    AchDebit,
}

impl MethodName {
    /// The word on the wire.
    pub fn wire(self) -> &'static str {
        match self {
            Self::CreditCard => "credit-card",
            Self::AchDebit => "ach-debit",
        }
    }
}

impl FromStr for MethodName {
    type Err = BadWord;

    fn from_str(text: &str) -> Result<Self, BadWord> {
        find([Self::CreditCard, Self::AchDebit], Self::wire, text).ok_or(BadWord("credit-card or ach-debit"))
    }
}

/// `BankAccountType`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BankAccountType {
    /// `consumer-checking`
    #[default]
    ConsumerChecking,
    /// `consumer-savings`
    ConsumerSavings,
    /// `commercial-checking`
    CommercialChecking,
}

impl BankAccountType {
    /// The word on the wire.
    pub fn wire(self) -> &'static str {
        match self {
            Self::ConsumerChecking => "consumer-checking",
            Self::ConsumerSavings => "consumer-savings",
            Self::CommercialChecking => "commercial-checking",
        }
    }
}

impl FromStr for BankAccountType {
    type Err = BadWord;

    fn from_str(text: &str) -> Result<Self, BadWord> {
        const EXPECTED: BadWord = BadWord("consumer-checking, consumer-savings or commercial-checking");
        find([Self::ConsumerChecking, Self::ConsumerSavings, Self::CommercialChecking], Self::wire, text)
            .ok_or(EXPECTED)
    }
}

/// A kind of card that `ValidCardTypes` may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "their names are all that there is to say")]
pub enum CardType {
    Visa,
    Mastercard,
    Amex,
    Maestro,
    Discover,
    Optima,
    Jcb,
    DinersClub,
    Enroute,
}

impl CardType {
    /// The word on the wire.
    pub fn wire(self) -> &'static str {
        match self {
            Self::Visa => "visa",
            Self::Mastercard => "mastercard",
            Self::Amex => "amex",
            Self::Maestro => "maestro",
            Self::Discover => "discover",
            Self::Optima => "optima",
            Self::Jcb => "jcb",
            Self::DinersClub => "diners-club",
            Self::Enroute => "enroute",
        }
    }
}

impl FromStr for CardType {
    type Err = BadWord;

    fn from_str(text: &str) -> Result<Self, BadWord> {
        use CardType::{Amex, DinersClub, Discover, Enroute, Jcb, Maestro, Mastercard, Optima, Visa};
        const EXPECTED: BadWord =
            BadWord("visa, mastercard, amex, maestro, discover, optima, jcb, diners-club or enroute");
        find([Visa, Mastercard, Amex, Maestro, Discover, Optima, Jcb, DinersClub, Enroute], Self::wire, text)
            .ok_or(EXPECTED)
    }
}

/// Who holds a bank account: 1 to 100 characters. `Debug` prints nothing of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AvsName(Private<String>);

impl AvsName {
    /// The name, for the one who has to send it.
    pub fn reveal(&self) -> &str {
        self.0.reveal()
    }
}

impl FromStr for AvsName {
    type Err = BadWord;

    fn from_str(text: &str) -> Result<Self, BadWord> {
        let name = text.trim();
        let fits = (1..=100).contains(&name.chars().count()) && !name.chars().any(char::is_control);
        fits.then(|| Self(Private::new(name.to_owned()))).ok_or(BadWord("the name of the account's holder"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card() -> Card {
        Card {
            security_code: true,
            postal_code: false,
            min_postal_code_length: None,
            valid_types: Vec::new(),
            matching: Fields::default(),
        }
    }

    #[test]
    fn a_card_is_asked_for_what_is_configured_and_an_account_for_its_two_numbers() {
        let fields = |method: Method| method.fields().to_string();
        assert_eq!(fields(Method::Card(card())), "card number, security code, expiry date");
        let all = Card { postal_code: true, matching: [Field::CardNumber].into_iter().collect(), ..card() };
        assert_eq!(
            fields(Method::Card(all)),
            "card number, repeated card number, security code, expiry date, postal code"
        );
        let account = Method::AchDebit { account_type: BankAccountType::default(), avs_name: "Ann".parse().unwrap() };
        assert_eq!(fields(account), "bank routing number, bank account number");
    }

    #[test]
    fn words_are_twilios_own() {
        for word in ["visa", "diners-club", "enroute"] {
            assert_eq!(word.parse::<CardType>().unwrap().wire(), word);
        }
        for word in ["consumer-checking", "consumer-savings", "commercial-checking"] {
            assert_eq!(word.parse::<BankAccountType>().unwrap().wire(), word);
        }
        assert!("Visa".parse::<CardType>().unwrap_err().to_string().contains("mastercard"));
        assert!("cash".parse::<MethodName>().unwrap_err().to_string().contains("ach-debit"));
    }

    #[test]
    fn a_holder_has_a_name_that_is_not_shown() {
        let name: AvsName = " Ann Lee ".parse().unwrap();
        assert_eq!(name.reveal(), "Ann Lee");
        assert!(!format!("{name:?}").contains("Ann"));
        for bad in ["", "  ", "Ann\nLee", &"x".repeat(101)] {
            assert!(bad.parse::<AvsName>().is_err(), "{bad}");
        }
    }
}
