//! The payment terms of one call: the server's settings, overridden by call parameters.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::method::{AVS_NAME, AvsName, CardTerms, CardType, PaymentMethod, PaymentMethodName};
use super::settings::{
    IdParameter, MAX_DESCRIPTION, PaymentDescription, PaymentSettings, PaymentTimeout, ProcessorParameters, TokenType,
};
use super::{
    AmountDue, AmountDueError, BusinessDue, Currency, Field, Fields, ParseBusinessDueError, PaymentId,
    find_parameter_value,
};
use crate::redact::{Private, redact_card_numbers};

/// The terms of the payments of one call. Combinations that Twilio refuses cannot be expressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentTerms {
    /// The unique name of the Pay connector.
    pub connector: String,
    /// The amount due.
    pub amount_due: AmountDue,
    /// The currency of amounts.
    pub currency: Currency,
    /// The type of token that a payment without an amount creates.
    pub token_type: TokenType,
    /// The payment method.
    pub method: PaymentMethod,
    /// The maximum time between two digits; `None`: Twilio's default of 5 s.
    pub timeout: Option<PaymentTimeout>,
    /// The purpose of the payment.
    pub description: Option<PaymentDescription>,
    /// The reference of the business: `orderReference`, else `callReference`.
    pub reference: Option<Private<String>>,
    /// The name of the parameter that sends the payment id to the payment processor.
    pub id_parameter: Option<IdParameter>,
    /// Further parameters for the payment processor, without the name of an account's holder.
    pub parameters: ProcessorParameters,
    /// The references of the debt if a tool of the business named it during the call; `None`: those of the call.
    pub debt: Option<DebtReferences>,
}

/// The references of a debt that a tool of the business named during the call, whole, as they were given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DebtReferences {
    /// `callReference`.
    pub call: Option<Private<String>>,
    /// `orderReference`.
    pub order: Option<Private<String>>,
}

/// Why a call cannot take payments. Each message tells the author of the call parameters what to change and repeats no
/// values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PaymentTermsError {
    /// The amount due is invalid or missing.
    #[error(transparent)]
    Due(#[from] AmountDueError),
    /// A tool of the business named an amount due that cannot be read.
    #[error(transparent)]
    Answer(#[from] ParseBusinessDueError),
    /// A parameter does not have an accepted value.
    #[error("{name} {expected}")]
    Value {
        /// The parameter.
        name: &'static str,
        /// The accepted values, as the end of a sentence.
        expected: String,
    },
    /// The parameter belongs to another payment method.
    #[error("{name} is for {method} only, and this call uses another method: set paymentMethod, or omit {name}")]
    OtherMethod {
        /// The parameter.
        name: &'static str,
        /// The method's value on the wire.
        method: &'static str,
    },
    /// Twilio requires the name of an account's holder (error 64014).
    #[error(
        "ach-debit needs the name of the account's holder: set avsName, or AVSName among the parameters of Payments"
    )]
    NoAvsName,
}

/// The longest reference, in characters.
const MAX_REFERENCE_CHARS: usize = 256;

/// Removes card numbers from a reference of the business and truncates it to 256 characters; `None` if nothing is left.
/// Applied to its own result, it changes nothing.
pub fn sanitize_reference(text: &str) -> Option<Private<String>> {
    // Truncation may turn a run of digits that is no card number into one that is.
    let kept = |text: &str| redact_card_numbers(text).chars().take(MAX_REFERENCE_CHARS).collect::<String>();
    let (mut text, mut again) = (kept(text), String::new());
    while text != again {
        again = text;
        text = kept(&again);
    }
    (!text.is_empty()).then(|| Private::new(text))
}

/// The call parameters, of which only those about payments are read.
#[derive(Debug, Clone, Copy)]
struct PaymentParameters<'a>(&'a BTreeMap<String, String>);

impl PaymentSettings {
    /// Parses the terms like [`parse_terms`](Self::parse_terms), and requires an `amountDue` if the settings do.
    pub fn parse_call_terms(&self, parameters: &BTreeMap<String, String>) -> Result<PaymentTerms, PaymentTermsError> {
        let terms = self.parse_terms(parameters)?;
        if self.due_required && terms.amount_due == AmountDue::Unspecified {
            Err(AmountDueError::Missing.into())
        } else {
            Ok(terms)
        }
    }

    /// Parses the terms of a call whose amount due a tool of the business has named: its parameters with that due.
    pub fn parse_terms_with_due(
        &self,
        parameters: &BTreeMap<String, String>,
        due: &BusinessDue,
    ) -> Result<PaymentTerms, PaymentTermsError> {
        let mut parameters = parameters.clone();
        due.replace_in(&mut parameters);
        let reference = |name| find_parameter_value(&parameters, name).map(|text| Private::new(text.to_owned()));
        let debt = DebtReferences { call: reference("callReference"), order: reference("orderReference") };
        Ok(PaymentTerms { debt: due.has_reference().then_some(debt), ..self.parse_call_terms(&parameters)? })
    }

    /// Parses the terms from call parameters: `amountDue` and `currency`; `orderReference` and
    /// `callReference`; `paymentMethod`, `tokenType`, `description`, `paymentTimeout` and
    /// `paymentParameters`, a JSON object; for a card `validCardTypes` and `requireMatchingInputs`, each a list, and
    /// `minPostalCodeLength`; for a bank account `bankAccountType` and `avsName`.
    pub fn parse_terms(&self, parameters: &BTreeMap<String, String>) -> Result<PaymentTerms, PaymentTermsError> {
        let said = PaymentParameters(parameters);
        let text = |name| parameters.get(name).map(String::as_str);
        let due = AmountDue::parse(text("amountDue"), text("currency"), self.currency, &self.max_due)?;
        let method = match said.parse("paymentMethod")?.unwrap_or(self.options.method) {
            PaymentMethodName::CreditCard => self.parse_card(said)?,
            PaymentMethodName::AchDebit => self.parse_bank_account(said)?,
        };
        let seconds = |text: &str| text.parse().ok().and_then(PaymentTimeout::from_seconds);
        Ok(PaymentTerms {
            connector: self.connector.clone(),
            amount_due: due,
            currency: if let AmountDue::Amount(amount) = due { amount.currency() } else { self.currency },
            token_type: said.parse("tokenType")?.unwrap_or(self.token_type),
            method,
            timeout: said
                .parse_with("paymentTimeout", "must be whole seconds from 1 to 600", seconds)?
                .or(self.options.timeout),
            description: said.parse::<PaymentDescription>("description")?.or_else(|| self.options.description.clone()),
            reference: ["orderReference", "callReference"].into_iter().find_map(|name| sanitize_reference(text(name)?)),
            id_parameter: self.options.id_parameter.clone(),
            parameters: self.parse_processor_parameters(said)?.without(AVS_NAME),
            debt: None,
        })
    }

    fn parse_processor_parameters(
        &self,
        said: PaymentParameters<'_>,
    ) -> Result<ProcessorParameters, PaymentTermsError> {
        const EXPECTED: &str = "must be a JSON object of one level, as a text";
        let own = said.parse_with("paymentParameters", EXPECTED, ProcessorParameters::from_json)?.unwrap_or_default();
        Ok(self.options.parameters.clone().with(own.reveal().clone()))
    }

    fn parse_card(&self, said: PaymentParameters<'_>) -> Result<PaymentMethod, PaymentTermsError> {
        said.reject_parameters(&["bankAccountType", "avsName"], PaymentMethodName::AchDebit)?;
        let options = &self.options;
        let digits = |text: &str| text.parse().ok().filter(|digits| (1..=20).contains(digits));
        let min_postal_code_length = said.parse_with("minPostalCodeLength", "must be a number from 1 to 20", digits)?;
        let matching: Option<Fields> =
            said.parse_list("requireMatchingInputs", EXPECTED_MATCHING_INPUT, parse_matching_input)?;
        let asked = [(Field::SecurityCode, self.security_code), (Field::PostalCode, self.postal_code)];
        let not_asked = asked.into_iter().filter(|(_, asked)| !asked).map(|(field, _)| field).collect();
        Ok(PaymentMethod::Card(CardTerms {
            security_code: self.security_code,
            postal_code: self.postal_code,
            min_postal_code_length: min_postal_code_length
                .or(options.min_postal_code_length)
                .filter(|_| self.postal_code),
            valid_types: said
                .parse_list("validCardTypes", "must be kinds of cards, such as visa mastercard", |word| {
                    word.parse::<CardType>().ok()
                })?
                .unwrap_or_else(|| options.valid_card_types.clone()),
            matching_inputs: matching.unwrap_or(options.matching_inputs).without(not_asked),
        }))
    }

    fn parse_bank_account(&self, said: PaymentParameters<'_>) -> Result<PaymentMethod, PaymentTermsError> {
        let for_cards = ["validCardTypes", "requireMatchingInputs", "minPostalCodeLength"];
        said.reject_parameters(&for_cards, PaymentMethodName::CreditCard)?;
        let among = self.parse_processor_parameters(said)?;
        let among = || among.get(AVS_NAME).and_then(|name| name.parse().ok());
        Ok(PaymentMethod::AchDebit {
            account_type: said.parse("bankAccountType")?.unwrap_or(self.options.bank_account_type),
            avs_name: said.parse::<AvsName>("avsName")?.or_else(among).ok_or(PaymentTermsError::NoAvsName)?,
        })
    }
}

/// The accepted values of `requireMatchingInputs`.
pub const EXPECTED_MATCHING_INPUT: &str = "must be payment-card-number, expiration-date, security-code or postal-code";

/// Parses the wire name of a card field that can be entered twice.
pub fn parse_matching_input(word: &str) -> Option<Field> {
    Field::ALL.into_iter().find(|field| field.matcher().is_some() && field.wire_name() == word)
}

impl<'a> PaymentParameters<'a> {
    fn get(self, name: &str) -> Option<&'a str> {
        self.0.get(name).map(|text| text.trim()).filter(|text| !text.is_empty())
    }

    /// Parses an optional parameter.
    fn parse<T: FromStr<Err: std::fmt::Display>>(self, name: &'static str) -> Result<Option<T>, PaymentTermsError> {
        let read = |text: &str| {
            text.parse().map_err(|bad: T::Err| PaymentTermsError::Value { name, expected: bad.to_string() })
        };
        self.get(name).map(read).transpose()
    }

    fn parse_with<T>(
        self,
        name: &'static str,
        expected: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, PaymentTermsError> {
        let bad = || PaymentTermsError::Value { name, expected: expected.to_owned() };
        self.get(name).map(|text| read(text).ok_or_else(bad)).transpose()
    }

    /// Parses an optional list, separated by commas or spaces.
    fn parse_list<T, C: FromIterator<T>>(
        self,
        name: &'static str,
        expected: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<C>, PaymentTermsError> {
        self.parse_with(name, expected, |text| {
            text.split([',', ' ']).filter(|word| !word.is_empty()).map(&read).collect()
        })
    }

    fn reject_parameters(self, names: &[&'static str], method: PaymentMethodName) -> Result<(), PaymentTermsError> {
        match names.iter().find(|name| self.get(name).is_some()) {
            Some(name) => Err(PaymentTermsError::OtherMethod { name, method: method.as_str() }),
            None => Ok(()),
        }
    }
}

impl PaymentTerms {
    /// The fields that a payment needs, in the order in which they are captured.
    pub fn fields(&self) -> Fields {
        self.method.fields()
    }

    /// `Description` on the wire: the purpose, the reference and, always last, the payment id, by which the processor's
    /// records are matched with the ledger. The text before the id is truncated so that the whole has at most
    /// `MAX_DESCRIPTION` characters. It depends only on data that the ledger keeps.
    pub fn wire_description(&self, id: PaymentId) -> String {
        let parts = [
            self.description.as_ref().map(PaymentDescription::reveal),
            self.reference.as_ref().map(|it| it.reveal().as_str()),
        ];
        let about = parts.into_iter().flatten().collect::<Vec<_>>().join(" ").replace(char::is_control, " ");
        let id = id.to_string();
        let room = MAX_DESCRIPTION - id.chars().count() - 1;
        // Purpose and reference may form a card number together. It is removed first, since truncation could split it
        // so that the rest is no longer recognised.
        let about: String = redact_card_numbers(&about).chars().take(room).collect();
        if about.trim().is_empty() { id } else { format!("{} {id}", about.trim()) }
    }

    /// `Parameter` on the wire: a flat JSON object; `None` if it is empty.
    pub fn wire_parameter(&self, id: PaymentId) -> Option<String> {
        let holder = match &self.method {
            PaymentMethod::AchDebit { avs_name, .. } => Some((AVS_NAME.to_owned(), avs_name.reveal().to_owned())),
            PaymentMethod::Card(_) => None,
        };
        let id = self.id_parameter.as_ref().map(|name| (name.as_str().to_owned(), id.to_string()));
        let all = self.parameters.clone().with(holder).with(id);
        let json = || serde_json::to_string(all.reveal()).expect("a map of strings always serialises");
        (!all.is_empty()).then(json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::{BankAccountType, PaymentIdGenerator, PaymentOptions};
    use proptest::prelude::*;

    fn settings(options: PaymentOptions) -> PaymentSettings {
        PaymentSettings { options, ..PaymentSettings::sample() }
    }

    fn id() -> PaymentId {
        PaymentIdGenerator::new(uuid::Uuid::nil()).generate()
    }

    fn terms(said: &[(&str, &str)]) -> Result<PaymentTerms, PaymentTermsError> {
        let said = said.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        settings(PaymentOptions::default()).parse_terms(&said)
    }

    #[test]
    fn a_call_without_parameters_pays_by_card_and_as_configured() {
        let plain = terms(&[("amount", "25"), ("callReference", "7")]).unwrap();
        assert_eq!(plain.fields().to_string(), "card number, security code, expiry date");
        assert_eq!((plain.wire_parameter(id()), plain.timeout, plain.description), (None, None, None));
    }

    #[test]
    fn call_parameters_override_the_settings() {
        let account = terms(&[
            ("paymentMethod", "ach-debit"),
            ("bankAccountType", "consumer-savings"),
            ("avsName", "Ann \"A\" Lee"),
            ("description", "Invoice 1042"),
            ("paymentTimeout", "30"),
        ])
        .unwrap();
        assert!(matches!(
            &account.method,
            PaymentMethod::AchDebit { account_type: BankAccountType::ConsumerSavings, .. }
        ));
        assert_eq!(account.wire_parameter(id()).as_deref(), Some(r#"{"AVSName":"Ann \"A\" Lee"}"#));
        assert_eq!(account.timeout.map(PaymentTimeout::seconds), Some(30));
        assert_eq!(account.description.unwrap().reveal(), "Invoice 1042");

        let card = terms(&[
            ("validCardTypes", "visa, amex"),
            ("requireMatchingInputs", "payment-card-number,postal-code"),
            ("minPostalCodeLength", "5"),
            ("tokenType", "reusable"),
        ])
        .unwrap();
        let PaymentMethod::Card(asked) = &card.method else { panic!("{card:?}") };
        assert_eq!(asked.valid_types, [CardType::Visa, CardType::Amex]);
        // The postal code is not asked for: neither twice nor in a certain length.
        assert_eq!((asked.matching_inputs.to_string().as_str(), asked.min_postal_code_length), ("card number", None));
        assert_eq!(card.token_type, TokenType::Reusable);
    }

    #[test]
    fn a_call_without_a_required_amount_due_has_no_terms() {
        let required = PaymentSettings { due_required: true, ..PaymentSettings::sample() };
        let said = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            required.parse_call_terms(&pairs)
        };
        for silent in [&[][..], &[("amount_due", "25.00")], &[("AmountDue", "25.00")], &[("currency", "USD")]] {
            assert_eq!(said(silent).unwrap_err(), PaymentTermsError::Due(AmountDueError::Missing), "{silent:?}");
        }
        assert!(said(&[("amountDue", "25.00")]).is_ok() && said(&[("amountDue", "0")]).is_ok());
        assert_eq!(said(&[("amountDue", "250000")]).unwrap_err(), PaymentTermsError::Due(AmountDueError::AboveMaxDue));
        assert!(PaymentSettings::sample().parse_call_terms(&BTreeMap::new()).is_ok(), "it is optional");
    }

    #[test]
    fn a_description_ends_with_the_payment_id() {
        let id = id().to_string();
        let sent = |said: &[(&str, &str)]| terms(said).unwrap().wire_description(self::id());
        assert_eq!(sent(&[]), id);
        assert_eq!(sent(&[("description", "Invoice 1042")]), format!("Invoice 1042 {id}"));
        assert_eq!(sent(&[("callReference", "order-7")]), format!("order-7 {id}"));
        assert_eq!(
            sent(&[("description", "Tea"), ("callReference", "call-7"), ("orderReference", "order-7")]),
            format!("Tea order-7 {id}")
        );
        assert_eq!(sent(&[("orderReference", ""), ("callReference", "call-7")]), format!("call-7 {id}"));
        assert_eq!(sent(&[("callReference", "a\u{7}\n")]), format!("a {id}"));
        let split = sent(&[("description", "4242 4242"), ("callReference", "4242 4242")]);
        assert!(!split.contains("4242 4242 4242") && split.ends_with(&id), "{split}");
    }

    #[test]
    fn the_payment_id_is_also_a_parameter_if_configured() {
        let options = PaymentOptions { id_parameter: "ledgerId".parse().ok(), ..PaymentOptions::default() };
        let said =
            BTreeMap::from([("paymentParameters".to_owned(), r#"{"Merchant":7,"ledgerId":"forged"}"#.to_owned())]);
        let sent = settings(options).parse_terms(&said).unwrap().wire_parameter(id()).unwrap();
        assert_eq!(sent, format!(r#"{{"Merchant":"7","ledgerId":"{}"}}"#, id()));
    }

    #[test]
    fn parameters_that_twilio_refuses_are_refused_with_advice() {
        for (said, why) in [
            (&[("paymentMethod", "cash")][..], "paymentMethod must be credit-card or ach-debit"),
            (&[("paymentMethod", "ach-debit")], "avsName"),
            (&[("bankAccountType", "consumer-savings")], "bankAccountType is for ach-debit only"),
            (&[("avsName", "Ann"), ("paymentMethod", "credit-card")], "avsName is for ach-debit only"),
            (
                &[("paymentMethod", "ach-debit"), ("avsName", "Ann"), ("validCardTypes", "visa")],
                "validCardTypes is for credit-card only",
            ),
            (&[("validCardTypes", "visa cash")], "validCardTypes must be"),
            (&[("requireMatchingInputs", "bank-account-number")], "requireMatchingInputs must be"),
            (&[("paymentTimeout", "601")], "1 to 600"),
            (&[("minPostalCodeLength", "0")], "1 to 20"),
            (&[("paymentParameters", "{\"a\":[]}")], "paymentParameters must be a JSON object"),
            (&[("description", "4242 4242 4242 4242")], "description must be"),
        ] {
            let refused = terms(said).unwrap_err().to_string();
            assert!(refused.contains(why) && !refused.contains("4242"), "{said:?}: {refused}");
        }
    }

    #[test]
    fn the_settings_apply_where_call_parameters_are_absent() {
        let options = PaymentOptions {
            method: PaymentMethodName::AchDebit,
            bank_account_type: BankAccountType::CommercialChecking,
            parameters: ProcessorParameters::default().with([("AVSName".to_owned(), "Acme".to_owned())]),
            valid_card_types: vec![CardType::Discover],
            ..PaymentOptions::default()
        };
        let settings = settings(options);
        let account = settings.parse_terms(&BTreeMap::new()).unwrap();
        assert_eq!(account.wire_parameter(id()).as_deref(), Some(r#"{"AVSName":"Acme"}"#));
        let by_card = settings.parse_terms(&BTreeMap::from([("paymentMethod".to_owned(), "credit-card".to_owned())]));
        let by_card = by_card.unwrap();
        assert_eq!(by_card.wire_parameter(id()), None, "a card has no holder's name");
        assert!(matches!(by_card.method, PaymentMethod::Card(card) if card.valid_types == [CardType::Discover]));
        let own = r#"{"MerchantAccountId":7,"AVSName":"Ann"}"#;
        let of_call = settings.parse_terms(&BTreeMap::from([("paymentParameters".to_owned(), own.to_owned())]));
        assert_eq!(
            of_call.unwrap().wire_parameter(id()).as_deref(),
            Some(r#"{"AVSName":"Ann","MerchantAccountId":"7"}"#)
        );
    }

    proptest! {
        #[test]
        fn a_sanitized_reference_stays_as_it_is(text in "[0-9 a-]{240,300}|.{0,300}") {
            let kept = sanitize_reference(&text);
            if let Some(text) = &kept {
                prop_assert!(text.reveal().chars().count() <= MAX_REFERENCE_CHARS);
                prop_assert_eq!(&sanitize_reference(text.reveal()), &kept);
            }
        }

        #[test]
        fn every_description_fits_and_ends_with_the_id(description in "\\PC{0,512}", reference in ".{0,400}") {
            let said = [("description", description), ("orderReference", reference)];
            let said = said.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            if let Ok(terms) = settings(PaymentOptions::default()).parse_terms(&said) {
                let sent = terms.wire_description(id());
                prop_assert!(sent.chars().count() <= MAX_DESCRIPTION && sent.ends_with(&id().to_string()), "{}", sent);
                prop_assert!(!sent.contains(char::is_control) && sent == sent.trim());
            }
        }

        #[test]
        fn no_parameters_panic_and_none_make_a_contradiction(
            said in prop::collection::btree_map(
                prop::sample::select(&["paymentMethod", "bankAccountType", "avsName", "validCardTypes",
                    "requireMatchingInputs", "minPostalCodeLength", "paymentTimeout", "description", "tokenType",
                    "paymentParameters"][..])
                    .prop_map(str::to_owned),
                prop::sample::select(&["ach-debit", "credit-card", "consumer-savings", "Ann", "visa", "5", "security-code",
                    "", ",", "\u{1}", "{\"AVSName\":\"Ann\"}"][..]).prop_map(str::to_owned),
                0..6,
            ),
        ) {
            if let Ok(terms) = settings(PaymentOptions::default()).parse_terms(&said) {
                let named = terms.wire_parameter(id()).is_some_and(|json| json.contains(AVS_NAME));
                prop_assert_eq!(named, matches!(terms.method, PaymentMethod::AchDebit { .. }));
            }
        }
    }
}
