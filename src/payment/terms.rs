//! By what terms one call pays: the server's settings, and what the parameters of the call say otherwise.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::method::{AvsName, Card, CardType, Method, MethodName};
use super::settings::{Description, IdParameter, MAX_DESCRIPTION, Parameters, Settings, Timeout, TokenType};
use super::{BadDue, Currency, Due, Field, Fields, PaymentId};
use crate::redact::{Private, without_card_numbers};

/// Everything about the payments of one call. What Twilio would refuse as contradictory cannot be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The unique name of the Pay connector.
    pub connector: String,
    /// What is to be charged.
    pub due: Due,
    /// What amounts are in.
    pub currency: Currency,
    /// What a payment without an amount leaves behind.
    pub token_type: TokenType,
    /// What is paid with.
    pub method: Method,
    /// How long the caller may let pass between two digits; Twilio's own 5 s if there is none.
    pub timeout: Option<Timeout>,
    /// What it is for.
    pub description: Option<Description>,
    /// What the business calls it: `orderReference`, else `callReference`.
    pub reference: Option<Private<String>>,
    /// Under which name among the parameters the payment processor is told the payment's id.
    pub id_parameter: Option<IdParameter>,
    /// What the payment processor is told beside all that, the name of an account's holder aside.
    pub parameters: Parameters,
}

/// Why a call cannot pay. Each is a sentence for whoever chose the parameters of the call; none repeats what was chosen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTerms {
    /// What is due cannot be read.
    #[error(transparent)]
    Due(#[from] BadDue),
    /// It is not one of the values that it can have.
    #[error("{name} {expected}")]
    Value {
        /// The parameter.
        name: &'static str,
        /// What it can be, as the end of a sentence.
        expected: String,
    },
    /// The parameter belongs to another method.
    #[error("{name} is for {method} only, and this call does not pay so: set paymentMethod, or leave {name} out")]
    OtherMethod {
        /// The parameter.
        name: &'static str,
        /// The method's word.
        method: &'static str,
    },
    /// Twilio demands the name of an account's holder (error 64014).
    #[error(
        "ach-debit needs the name of the account's holder: set avsName, or AVSName among the parameters of Payments"
    )]
    NoAvsName,
}

/// The name under which Twilio wants the holder of an account.
pub(super) const AVS_NAME: &str = "AVSName";

/// The longest reference, in characters.
const MAX_REFERENCE: usize = 256;

/// A reference of the business as it is kept and sent on: without card numbers, 256 characters of it; none if nothing is left.
/// Of what it returns it makes the same again.
pub fn reference(text: &str) -> Option<Private<String>> {
    // The digits before the end of what is kept may be a card number where the whole run of digits is none.
    let kept = |text: &str| without_card_numbers(text).chars().take(MAX_REFERENCE).collect::<String>();
    let (mut text, mut again) = (kept(text), String::new());
    while text != again {
        again = text;
        text = kept(&again);
    }
    (!text.is_empty()).then(|| Private::new(text))
}

/// The parameters of a call that say something of its payments. No other is read.
#[derive(Debug, Clone, Copy)]
struct Said<'a>(&'a BTreeMap<String, String>);

impl Settings {
    /// [`terms`](Self::terms) of a call that can pay: it has to say what is due where that is required.
    pub fn terms_of_call(&self, parameters: &BTreeMap<String, String>) -> Result<Terms, BadTerms> {
        let terms = self.terms(parameters)?;
        if self.due_required && terms.due == Due::Open { Err(BadDue::Unsaid.into()) } else { Ok(terms) }
    }

    /// The terms of a call with these parameters: `amountDue` and `currency`; `orderReference` and
    /// `callReference`; `paymentMethod`, `tokenType`, `description`, `paymentTimeout` and
    /// `paymentParameters`, a JSON object; for a card `validCardTypes` and `requireMatchingInputs`, each a list, and
    /// `minPostalCodeLength`; for a bank account `bankAccountType` and `avsName`.
    pub fn terms(&self, parameters: &BTreeMap<String, String>) -> Result<Terms, BadTerms> {
        let said = Said(parameters);
        let text = |name| parameters.get(name).map(String::as_str);
        let due = Due::read(text("amountDue"), text("currency"), self.currency, &self.max_due)?;
        let method = match said.word("paymentMethod")?.unwrap_or(self.options.method) {
            MethodName::CreditCard => self.card(said)?,
            MethodName::AchDebit => self.account(said)?,
        };
        let seconds = |text: &str| text.parse().ok().and_then(Timeout::from_seconds);
        Ok(Terms {
            connector: self.connector.clone(),
            due,
            currency: if let Due::Amount(amount) = due { amount.currency() } else { self.currency },
            token_type: said.word("tokenType")?.unwrap_or(self.token_type),
            method,
            timeout: said
                .read("paymentTimeout", "must be whole seconds from 1 to 600", seconds)?
                .or(self.options.timeout),
            description: said.word::<Description>("description")?.or_else(|| self.options.description.clone()),
            reference: ["orderReference", "callReference"].into_iter().find_map(|name| reference(text(name)?)),
            id_parameter: self.options.id_parameter.clone(),
            parameters: self.parameters(said)?.without(AVS_NAME),
        })
    }

    fn parameters(&self, said: Said<'_>) -> Result<Parameters, BadTerms> {
        const EXPECTED: &str = "must be a JSON object of one level, as a text";
        let own = said.read("paymentParameters", EXPECTED, Parameters::from_json)?.unwrap_or_default();
        Ok(self.options.parameters.clone().with(own.reveal().clone()))
    }

    fn card(&self, said: Said<'_>) -> Result<Method, BadTerms> {
        said.leaves_out(&["bankAccountType", "avsName"], MethodName::AchDebit)?;
        let options = &self.options;
        let digits = |text: &str| text.parse().ok().filter(|digits| (1..=20).contains(digits));
        let min_postal_code_length = said.read("minPostalCodeLength", "must be a number from 1 to 20", digits)?;
        let matching: Option<Fields> = said.list("requireMatchingInputs", MATCHING, matching)?;
        let asked = [(Field::SecurityCode, self.security_code), (Field::PostalCode, self.postal_code)];
        let not_asked = asked.into_iter().filter(|(_, asked)| !asked).map(|(field, _)| field).collect();
        Ok(Method::Card(Card {
            security_code: self.security_code,
            postal_code: self.postal_code,
            min_postal_code_length: min_postal_code_length
                .or(options.min_postal_code_length)
                .filter(|_| self.postal_code),
            valid_types: said
                .list("validCardTypes", "must be kinds of cards, such as visa mastercard", |word| {
                    word.parse::<CardType>().ok()
                })?
                .unwrap_or_else(|| options.valid_card_types.clone()),
            matching: matching.unwrap_or(options.matching).without(not_asked),
        }))
    }

    fn account(&self, said: Said<'_>) -> Result<Method, BadTerms> {
        let for_cards = ["validCardTypes", "requireMatchingInputs", "minPostalCodeLength"];
        said.leaves_out(&for_cards, MethodName::CreditCard)?;
        let among = self.parameters(said)?;
        let among = || among.get(AVS_NAME).and_then(|name| name.parse().ok());
        Ok(Method::AchDebit {
            account_type: said.word("bankAccountType")?.unwrap_or(self.options.bank_account_type),
            avs_name: said.word::<AvsName>("avsName")?.or_else(among).ok_or(BadTerms::NoAvsName)?,
        })
    }
}

/// What `requireMatchingInputs` can hold.
pub const MATCHING: &str = "must be payment-card-number, expiration-date, security-code or postal-code";

/// A field of a card that can be entered twice, from Twilio's word for it.
pub fn matching(word: &str) -> Option<Field> {
    Field::ALL.into_iter().find(|field| field.matcher().is_some() && field.wire() == word)
}

impl<'a> Said<'a> {
    fn get(self, name: &str) -> Option<&'a str> {
        self.0.get(name).map(|text| text.trim()).filter(|text| !text.is_empty())
    }

    /// A parameter that is one word of a vocabulary.
    fn word<T: FromStr<Err: std::fmt::Display>>(self, name: &'static str) -> Result<Option<T>, BadTerms> {
        let read = |text: &str| text.parse().map_err(|bad: T::Err| BadTerms::Value { name, expected: bad.to_string() });
        self.get(name).map(read).transpose()
    }

    fn read<T>(
        self,
        name: &'static str,
        expected: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, BadTerms> {
        let bad = || BadTerms::Value { name, expected: expected.to_owned() };
        self.get(name).map(|text| read(text).ok_or_else(bad)).transpose()
    }

    /// A parameter that is a list, with commas or spaces between its words.
    fn list<T, C: FromIterator<T>>(
        self,
        name: &'static str,
        expected: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<C>, BadTerms> {
        self.read(name, expected, |text| text.split([',', ' ']).filter(|word| !word.is_empty()).map(&read).collect())
    }

    fn leaves_out(self, names: &[&'static str], method: MethodName) -> Result<(), BadTerms> {
        match names.iter().find(|name| self.get(name).is_some()) {
            Some(name) => Err(BadTerms::OtherMethod { name, method: method.wire() }),
            None => Ok(()),
        }
    }
}

impl Terms {
    /// The fields that a payment needs, in the order in which they are asked for.
    pub fn fields(&self) -> Fields {
        self.method.fields()
    }

    /// `Description` as it goes over the wire: what the payment is for, the reference, and always the id of the payment at its end, by
    /// which the processor's records are matched with the ledger. What stands before the id is cut, so that all of it has
    /// [`MAX_DESCRIPTION`] characters at most; it depends on nothing that the ledger does not keep.
    pub fn description(&self, id: PaymentId) -> String {
        let parts = [
            self.description.as_ref().map(Description::reveal),
            self.reference.as_ref().map(|it| it.reveal().as_str()),
        ];
        let about = parts.into_iter().flatten().collect::<Vec<_>>().join(" ").replace(char::is_control, " ");
        let id = id.to_string();
        let room = MAX_DESCRIPTION - id.chars().count() - 1;
        // The two may make a card number together. It is cut out first: of one that is cut in two too much would stay.
        let about: String = without_card_numbers(&about).chars().take(room).collect();
        if about.trim().is_empty() { id } else { format!("{} {id}", about.trim()) }
    }

    /// `Parameter` as it goes over the wire: a JSON object of one level; none if there is nothing to say.
    pub fn parameter(&self, id: PaymentId) -> Option<String> {
        let holder = match &self.method {
            Method::AchDebit { avs_name, .. } => Some((AVS_NAME.to_owned(), avs_name.reveal().to_owned())),
            Method::Card(_) => None,
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
    use crate::payment::{BankAccountType, Ids, Options};
    use proptest::prelude::*;

    fn settings(options: Options) -> Settings {
        Settings { options, ..Settings::sample() }
    }

    fn id() -> PaymentId {
        Ids::new(uuid::Uuid::nil()).make()
    }

    fn terms(said: &[(&str, &str)]) -> Result<Terms, BadTerms> {
        let said = said.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        settings(Options::default()).terms(&said)
    }

    #[test]
    fn a_call_that_says_nothing_pays_by_card_and_as_configured() {
        let plain = terms(&[("amount", "25"), ("callReference", "7")]).unwrap();
        assert_eq!(plain.fields().to_string(), "card number, security code, expiry date");
        assert_eq!((plain.parameter(id()), plain.timeout, plain.description), (None, None, None));
    }

    #[test]
    fn a_call_chooses_among_what_twilio_takes() {
        let account = terms(&[
            ("paymentMethod", "ach-debit"),
            ("bankAccountType", "consumer-savings"),
            ("avsName", "Ann \"A\" Lee"),
            ("description", "Invoice 1042"),
            ("paymentTimeout", "30"),
        ])
        .unwrap();
        assert!(matches!(&account.method, Method::AchDebit { account_type: BankAccountType::ConsumerSavings, .. }));
        assert_eq!(account.parameter(id()).as_deref(), Some(r#"{"AVSName":"Ann \"A\" Lee"}"#));
        assert_eq!(account.timeout.map(Timeout::seconds), Some(30));
        assert_eq!(account.description.unwrap().reveal(), "Invoice 1042");

        let card = terms(&[
            ("validCardTypes", "visa, amex"),
            ("requireMatchingInputs", "payment-card-number,postal-code"),
            ("minPostalCodeLength", "5"),
            ("tokenType", "reusable"),
        ])
        .unwrap();
        let Method::Card(asked) = &card.method else { panic!("{card:?}") };
        assert_eq!(asked.valid_types, [CardType::Visa, CardType::Amex]);
        // The postal code is not asked for: neither twice nor in a certain length.
        assert_eq!((asked.matching.to_string().as_str(), asked.min_postal_code_length), ("card number", None));
        assert_eq!(card.token_type, TokenType::Reusable);
    }

    #[test]
    fn a_call_that_has_to_say_what_is_due_and_does_not_has_no_terms() {
        let required = Settings { due_required: true, ..Settings::sample() };
        let said = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            required.terms_of_call(&pairs)
        };
        for silent in [&[][..], &[("amount_due", "25.00")], &[("AmountDue", "25.00")], &[("currency", "USD")]] {
            assert_eq!(said(silent).unwrap_err(), BadTerms::Due(BadDue::Unsaid), "{silent:?}");
        }
        assert!(said(&[("amountDue", "25.00")]).is_ok() && said(&[("amountDue", "0")]).is_ok());
        assert_eq!(said(&[("amountDue", "250000")]).unwrap_err(), BadTerms::Due(BadDue::TooMuch));
        assert!(Settings::sample().terms_of_call(&BTreeMap::new()).is_ok(), "it is optional");
    }

    #[test]
    fn a_description_ends_in_the_id_of_the_payment() {
        let id = id().to_string();
        let sent = |said: &[(&str, &str)]| terms(said).unwrap().description(self::id());
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
    fn the_id_is_a_parameter_too_where_it_has_a_name() {
        let options = Options { id_parameter: "ledgerId".parse().ok(), ..Options::default() };
        let said =
            BTreeMap::from([("paymentParameters".to_owned(), r#"{"Merchant":7,"ledgerId":"forged"}"#.to_owned())]);
        let sent = settings(options).terms(&said).unwrap().parameter(id()).unwrap();
        assert_eq!(sent, format!(r#"{{"Merchant":"7","ledgerId":"{}"}}"#, id()));
    }

    #[test]
    fn what_twilio_would_refuse_is_refused_with_what_to_do() {
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
    fn the_configuration_stands_where_a_call_says_nothing() {
        let options = Options {
            method: MethodName::AchDebit,
            bank_account_type: BankAccountType::CommercialChecking,
            parameters: Parameters::default().with([("AVSName".to_owned(), "Acme".to_owned())]),
            valid_card_types: vec![CardType::Discover],
            ..Options::default()
        };
        let settings = settings(options);
        let account = settings.terms(&BTreeMap::new()).unwrap();
        assert_eq!(account.parameter(id()).as_deref(), Some(r#"{"AVSName":"Acme"}"#));
        let by_card = settings.terms(&BTreeMap::from([("paymentMethod".to_owned(), "credit-card".to_owned())]));
        let by_card = by_card.unwrap();
        assert_eq!(by_card.parameter(id()), None, "a card has no holder's name");
        assert!(matches!(by_card.method, Method::Card(card) if card.valid_types == [CardType::Discover]));
        let own = r#"{"MerchantAccountId":7,"AVSName":"Ann"}"#;
        let of_call = settings.terms(&BTreeMap::from([("paymentParameters".to_owned(), own.to_owned())]));
        assert_eq!(of_call.unwrap().parameter(id()).as_deref(), Some(r#"{"AVSName":"Ann","MerchantAccountId":"7"}"#));
    }

    proptest! {
        #[test]
        fn a_reference_that_was_kept_is_kept_as_it_is(text in "[0-9 a-]{240,300}|.{0,300}") {
            let kept = reference(&text);
            if let Some(text) = &kept {
                prop_assert!(text.reveal().chars().count() <= MAX_REFERENCE);
                prop_assert_eq!(&reference(text.reveal()), &kept);
            }
        }

        #[test]
        fn every_description_fits_and_ends_in_the_id(description in "\\PC{0,512}", reference in ".{0,400}") {
            let said = [("description", description), ("orderReference", reference)];
            let said = said.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            if let Ok(terms) = settings(Options::default()).terms(&said) {
                let sent = terms.description(id());
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
            if let Ok(terms) = settings(Options::default()).terms(&said) {
                let named = terms.parameter(id()).is_some_and(|json| json.contains(AVS_NAME));
                prop_assert_eq!(named, matches!(terms.method, Method::AchDebit { .. }));
            }
        }
    }
}
