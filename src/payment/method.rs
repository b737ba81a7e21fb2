//! Payment methods: a card or a bank account, each with exactly the parameters that Twilio accepts for it.

use std::str::FromStr;

use super::{Field, Fields};
use crate::redact::Private;

/// The parameter in which Twilio expects the name of an account's holder.
pub(super) const AVS_NAME: &str = "AVSName";

/// `PaymentMethod` with its parameters. The type excludes what Twilio refuses: a bank account type for a card (error
/// 64017), and a bank account without the name of its holder (error 64014).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PaymentMethod {
    /// `credit-card`
    Card(CardTerms),
    /// `ach-debit`: a bank account in the United States.
    AchDebit {
        /// `BankAccountType`
        account_type: BankAccountType,
        /// The holder, as `AVSName` in `Parameter`.
        avs_name: AvsName,
    },
}

/// The parameters of a payment by card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardTerms {
    /// `SecurityCode`: whether the security code is captured.
    pub security_code: bool,
    /// `PostalCode`: whether the postal code is captured.
    pub postal_code: bool,
    /// `MinPostalCodeLength`: 1 to 20 digits; only if the postal code is captured.
    pub min_postal_code_length: Option<u8>,
    /// `ValidCardTypes`; empty: Twilio's default, which is Visa, Mastercard and American Express.
    pub valid_types: Vec<CardType>,
    /// `RequireMatchingInputs`: captured fields that are entered twice.
    pub matching_inputs: Fields,
}

impl PaymentMethod {
    /// The value on the wire.
    pub fn name(&self) -> PaymentMethodName {
        match self {
            Self::Card(_) => PaymentMethodName::CreditCard,
            Self::AchDebit { .. } => PaymentMethodName::AchDebit,
        }
    }

    /// The method's name in conversation.
    pub fn spoken_name(&self) -> &'static str {
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

impl CardTerms {
    fn fields(&self) -> Fields {
        let asked = [
            (Field::CardNumber, true),
            (Field::SecurityCode, self.security_code),
            (Field::ExpirationDate, true),
            (Field::PostalCode, self.postal_code),
        ];
        let asked = asked.into_iter().filter(|(_, asked)| *asked).map(|(field, _)| field);
        let twice = |field: Field| field.matcher().filter(|_| self.matching_inputs.contains(field));
        asked.flat_map(|field| [Some(field), twice(field)]).flatten().collect()
    }
}

/// The text is not one of the accepted values, which the field describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be {0}")]
pub struct ParseValueError(pub(super) &'static str);

/// Finds the value with this name on the wire.
fn find_by_wire_name<T: Copy, const N: usize>(all: [T; N], wire: impl Fn(T) -> &'static str, text: &str) -> Option<T> {
    all.into_iter().find(|it| wire(*it) == text)
}

/// `PaymentMethod`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PaymentMethodName {
    /// `credit-card`
    #[default]
    CreditCard,
    /// `ach-debit`
    AchDebit,
}

impl PaymentMethodName {
    /// The value on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CreditCard => "credit-card",
            Self::AchDebit => "ach-debit",
        }
    }
}

impl FromStr for PaymentMethodName {
    type Err = ParseValueError;

    fn from_str(text: &str) -> Result<Self, ParseValueError> {
        find_by_wire_name([Self::CreditCard, Self::AchDebit], Self::as_str, text)
            .ok_or(ParseValueError("credit-card or ach-debit"))
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
    /// The value on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConsumerChecking => "consumer-checking",
            Self::ConsumerSavings => "consumer-savings",
            Self::CommercialChecking => "commercial-checking",
        }
    }
}

impl FromStr for BankAccountType {
    type Err = ParseValueError;

    fn from_str(text: &str) -> Result<Self, ParseValueError> {
        const EXPECTED: ParseValueError = ParseValueError("consumer-checking, consumer-savings or commercial-checking");
        find_by_wire_name([Self::ConsumerChecking, Self::ConsumerSavings, Self::CommercialChecking], Self::as_str, text)
            .ok_or(EXPECTED)
    }
}

/// A kind of card that `ValidCardTypes` may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say everything")]
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
    /// The value on the wire.
    pub fn as_str(self) -> &'static str {
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
    type Err = ParseValueError;

    fn from_str(text: &str) -> Result<Self, ParseValueError> {
        use CardType::{Amex, DinersClub, Discover, Enroute, Jcb, Maestro, Mastercard, Optima, Visa};
        const EXPECTED: ParseValueError =
            ParseValueError("visa, mastercard, amex, maestro, discover, optima, jcb, diners-club or enroute");
        find_by_wire_name(
            [Visa, Mastercard, Amex, Maestro, Discover, Optima, Jcb, DinersClub, Enroute],
            Self::as_str,
            text,
        )
        .ok_or(EXPECTED)
    }
}

/// The name of a bank account's holder: 1 to 100 characters. `Debug` does not print it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AvsName(Private<String>);

impl AvsName {
    /// The name in clear, for the request to Twilio.
    pub fn reveal(&self) -> &str {
        self.0.reveal()
    }
}

impl FromStr for AvsName {
    type Err = ParseValueError;

    fn from_str(text: &str) -> Result<Self, ParseValueError> {
        let name = text.trim();
        let fits = (1..=100).contains(&name.chars().count()) && !name.chars().any(char::is_control);
        fits.then(|| Self(Private::new(name.to_owned()))).ok_or(ParseValueError("the name of the account's holder"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card() -> CardTerms {
        CardTerms {
            security_code: true,
            postal_code: false,
            min_postal_code_length: None,
            valid_types: Vec::new(),
            matching_inputs: Fields::default(),
        }
    }

    #[test]
    fn a_card_needs_the_configured_fields_and_an_account_its_two_numbers() {
        let fields = |method: PaymentMethod| method.fields().to_string();
        assert_eq!(fields(PaymentMethod::Card(card())), "card number, security code, expiry date");
        let all = CardTerms { postal_code: true, matching_inputs: [Field::CardNumber].into_iter().collect(), ..card() };
        assert_eq!(
            fields(PaymentMethod::Card(all)),
            "card number, repeated card number, security code, expiry date, postal code"
        );
        let account =
            PaymentMethod::AchDebit { account_type: BankAccountType::default(), avs_name: "Ann".parse().unwrap() };
        assert_eq!(fields(account), "bank routing number, bank account number");
    }

    #[test]
    fn values_are_parsed_as_twilio_writes_them() {
        for word in ["visa", "diners-club", "enroute"] {
            assert_eq!(word.parse::<CardType>().unwrap().as_str(), word);
        }
        for word in ["consumer-checking", "consumer-savings", "commercial-checking"] {
            assert_eq!(word.parse::<BankAccountType>().unwrap().as_str(), word);
        }
        assert!("Visa".parse::<CardType>().unwrap_err().to_string().contains("mastercard"));
        assert!("cash".parse::<PaymentMethodName>().unwrap_err().to_string().contains("ach-debit"));
    }

    #[test]
    fn debug_does_not_print_the_name_of_the_account_holder() {
        let name: AvsName = " Ann Lee ".parse().unwrap();
        assert_eq!(name.reveal(), "Ann Lee");
        assert!(!format!("{name:?}").contains("Ann"));
        for bad in ["", "  ", "Ann\nLee", &"x".repeat(101)] {
            assert!(bad.parse::<AvsName>().is_err(), "{bad}");
        }
    }
}
