//! What Twilio POSTs to the payment status callback, read into what it means.
//!
//! The callback has no kind of its own, and no source records all of its shapes: `created` and `complete` bodies are
//! known, those in between are documented only. So every field is optional, both spellings of `Required` are read, and
//! no mask is relied on. Expiry date, postal code and bank numbers arrive in clear: they are dropped here, unread.

use std::fmt;

use jiff::Timestamp;
use secrecy::SecretString;

use super::{CardType, Field, Fields};
use crate::redact::{has_card_number, without_card_numbers};
use crate::sid::{CallSid, PaymentSid};

/// One status callback.
#[derive(Debug, Clone)]
pub struct Status {
    /// The call; for a call with two legs, its parent leg.
    pub call: CallSid,
    /// The payment session: `Sid`.
    pub sid: PaymentSid,
    /// `I-Twilio-Idempotency-Token`: the same on each delivery of the same callback. A header, so not part of the form.
    pub delivery: Option<String>,
    /// `DateUpdated`, to the millisecond; callbacks arrive in any order.
    pub updated: Option<Timestamp>,
    /// `Required`: what is still missing. Absent is not empty: it says nothing.
    pub required: Option<Fields>,
    /// `ChargeAmount`, as it was written; when charging, and where the callback has it.
    pub charge: Option<String>,
    /// `PaymentCardType`, where it is told.
    pub card: Option<CardType>,
    /// The last four digits of the card, where the mask shows them.
    pub last4: Option<Last4>,
    /// What happened.
    pub news: News,
    /// A masked field held more than four digits in a row: it was dropped, and somebody should know.
    pub unmasked: bool,
}

/// What a callback tells.
#[derive(Debug, Clone)]
pub enum News {
    /// The session exists; nothing about a field.
    Exists,
    /// Keys are coming in for the field.
    Entering {
        /// The field.
        field: Field,
        /// Keys so far, where the mask tells.
        keys: usize,
    },
    /// The entry of the field is over, without an error.
    Entered {
        /// The field.
        field: Field,
        /// Whether a value for it stands in the callback.
        present: bool,
    },
    /// The entry of the field is over and wrong.
    Wrong {
        /// The field, where the callback names it.
        field: Option<Field>,
        /// What was wrong.
        error: EntryError,
    },
    /// The session is over.
    Ended(Box<Ending>),
}

/// `ErrorType`: what was wrong with an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryError {
    /// The caller stopped before the entry was whole.
    Timeout,
    /// Not a card number.
    CardNumber,
    /// A kind of card that is not taken.
    CardType,
    /// Not a date, or in the past.
    Date,
    /// The wrong length for this card.
    SecurityCode,
    /// Too short.
    PostalCode,
    /// Not the number of a bank.
    RoutingNumber,
    /// Not the number of an account.
    AccountNumber,
    /// A kind of account that is not taken.
    AccountType,
    /// It is not what was entered first.
    Mismatch,
    /// The security code was asked for before the card number.
    Sequence,
    /// A session is running already.
    SessionInProgress,
    /// Something else, in Twilio's word.
    Other(String),
}

impl EntryError {
    fn from_wire(word: &str) -> Self {
        match word {
            "input-timeout" | "timeout" => Self::Timeout,
            "invalid-card-number" => Self::CardNumber,
            "invalid-card-type" => Self::CardType,
            "invalid-date" | "date-validation-failed" => Self::Date,
            "invalid-security-code" => Self::SecurityCode,
            "invalid-postal-code" => Self::PostalCode,
            "invalid-bank-routing-number" => Self::RoutingNumber,
            "invalid-bank-account-number" => Self::AccountNumber,
            "invalid-bank-account-type" => Self::AccountType,
            "input-matching-failed" => Self::Mismatch,
            "invalid-card-number-security-code-capture-sequence" => Self::Sequence,
            "session-in-progress" => Self::SessionInProgress,
            other => Self::Other(word_only(other)),
        }
    }
}

/// What went wrong, in words for a conversation.
impl fmt::Display for EntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("the entry stopped before it was complete"),
            Self::CardNumber => f.write_str("that is not a valid card number"),
            Self::CardType => f.write_str("that kind of card is not accepted"),
            Self::Date => f.write_str("that is not a valid expiry date, or the card has expired"),
            Self::SecurityCode => f.write_str("that security code has the wrong length for this card"),
            Self::PostalCode => f.write_str("that is not a valid postal code"),
            Self::RoutingNumber => f.write_str("that is not a valid routing number; it has nine digits"),
            Self::AccountNumber => f.write_str("that is not a valid account number"),
            Self::AccountType => f.write_str("that kind of bank account is not accepted"),
            Self::Mismatch => f.write_str("the two entries are not the same"),
            Self::Sequence => f.write_str("the card number has to come before the security code"),
            Self::SessionInProgress => f.write_str("another payment session is running on this call"),
            Self::Other(word) => write!(f, "the entry was not accepted ({word})"),
        }
    }
}

/// How a payment session ended.
#[derive(Debug, Clone)]
pub struct Ending {
    /// `Result`.
    pub result: ResultWord,
    /// `PayErrorCode`, where one came.
    pub code: Option<u32>,
    /// `PaymentError`: at most 256 characters, card numbers cut.
    pub payment_error: Option<String>,
    /// `ConnectorError`, likewise.
    pub connector_error: Option<String>,
    /// `PayConnector_payment_status`, `PayConnector_gateway_status` and the like, likewise, as far as the connector sends them
    /// (Shuttle's does).
    pub connector_statuses: Vec<String>,
    /// `PayConnector_gateway_message` and the like, likewise.
    pub connector_messages: Vec<String>,
    /// `Currency` as it was written, where the result has it.
    pub currency: Option<String>,
    /// `ChargeAmount` as it was written, where the result has it.
    pub charge: Option<String>,
    /// `PaymentConfirmationCode` of a charge.
    pub confirmation: Option<String>,
    /// `PaymentToken` of a tokenization. Never shown to the model, never logged.
    pub token: Option<SecretString>,
    /// `ProfileId` of a tokenization.
    pub profile: Option<String>,
    /// The last digits of the card or the account: four at most.
    pub last4: Option<Last4>,
}

/// `Result`, as a word. What it means for the money is for [`Outcome`](super::Outcome) to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResultWord {
    /// Charged, or tokenized.
    Success,
    /// `payment-connector-error`: the processor or its connector said no, or something went wrong there.
    ConnectorError,
    /// The caller pressed the star key.
    Star,
    /// The caller hung up.
    HungUp,
    /// Cancelled: documented nowhere, and seen as `transaction-cancelled` after a `cancel`.
    Cancelled,
    /// What was entered was not taken, so that nothing went to the gateway: `validation-error`, and `too-many-failed-attempts` of
    /// `<Pay>`.
    NotTaken(&'static str),
    /// Any other word of Twilio's.
    Other(String),
}

impl ResultWord {
    fn from_wire(word: &str) -> Self {
        let word = word.trim().to_ascii_lowercase();
        match word.as_str() {
            "success" => Self::Success,
            "payment-connector-error" => Self::ConnectorError,
            "caller-interrupted-with-star" => Self::Star,
            "caller-hung-up" => Self::HungUp,
            "validation-error" => Self::NotTaken("validation-error"),
            "too-many-failed-attempts" => Self::NotTaken("too-many-failed-attempts"),
            word if word.contains("cancel") => Self::Cancelled,
            word => Self::Other(word_only(word)),
        }
    }

    /// The word, in lower case.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Success => "success",
            Self::ConnectorError => "payment-connector-error",
            Self::Star => "caller-interrupted-with-star",
            Self::HungUp => "caller-hung-up",
            Self::Cancelled => "cancelled",
            Self::NotTaken(word) => word,
            Self::Other(word) => word,
        }
    }
}

impl Ending {
    /// What Twilio and the processor said of it, for a person to read: `card is declined (card_declined)`.
    pub fn text(&self) -> Option<String> {
        match (&self.payment_error, &self.connector_error) {
            (Some(error), Some(of_connector)) => Some(format!("{error} ({of_connector})")),
            (Some(error), None) | (None, Some(error)) => Some(error.clone()),
            (None, None) => None,
        }
    }
}

/// The word and its code, for a log line.
impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.result.as_str())?;
        self.code.map_or(Ok(()), |code| write!(f, " {code}"))
    }
}

/// The last four digits of a card, or the last two to four of a bank account: all of a number that this program ever holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Last4 {
    digits: [u8; 4],
    /// How many of them there are, from the first.
    count: u8,
}

impl Last4 {
    /// Takes the trailing run of digits of a masked card number, if it is exactly four.
    pub fn from_mask(mask: &str) -> Option<Self> {
        Self::trailing(mask).filter(|last| last.count == 4)
    }

    /// Takes the trailing run of digits of a masked account number, if it is two to four.
    pub fn from_account_mask(mask: &str) -> Option<Self> {
        Self::trailing(mask)
    }

    fn trailing(mask: &str) -> Option<Self> {
        let run = mask.bytes().rev().take_while(u8::is_ascii_digit).count();
        let count = u8::try_from(run).ok().filter(|count| (2..=4).contains(count))?;
        let mut digits = [0; 4];
        digits[..run].copy_from_slice(&mask.as_bytes()[mask.len() - run..]);
        Some(Self { digits, count })
    }
}

impl fmt::Display for Last4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.digits[..usize::from(self.count)].iter().try_for_each(|digit| write!(f, "{}", char::from(*digit)))
    }
}

impl fmt::Debug for Last4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A callback that cannot be a payment status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadStatus {
    /// Without it nobody knows whose payment it is.
    #[error("CallSid is missing or is not a SID")]
    CallSid,
    /// Without it nobody knows which payment it is.
    #[error("Sid is missing or is not a SID")]
    Sid,
}

impl Status {
    /// Reads a callback's form. Only the two SIDs are demanded.
    pub fn from_form(form: &[(String, String)]) -> Result<Self, BadStatus> {
        let get = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.trim());
        let filled = |name: &str| get(name).filter(|value| !value.is_empty());

        let is_masked = |name: &str| MASKED.iter().any(|masked| name.starts_with(masked));
        let unmasked = |(name, value): &(String, String)| is_masked(name) && has_long_digit_run(value);
        let last4 = filled("PaymentCardNumber")
            .and_then(Last4::from_mask)
            .or_else(|| filled("BankAccountNumber").and_then(Last4::from_account_mask));
        Ok(Self {
            call: filled("CallSid").and_then(|sid| sid.parse().ok()).ok_or(BadStatus::CallSid)?,
            sid: filled("Sid").and_then(|sid| sid.parse().ok()).ok_or(BadStatus::Sid)?,
            delivery: None,
            updated: filled("DateUpdated").and_then(|date| date.parse().ok()),
            required: get("Required").map(required),
            charge: filled("ChargeAmount").map(str::to_owned),
            card: filled("PaymentCardType").and_then(|word| word.to_ascii_lowercase().parse().ok()),
            last4,
            unmasked: form.iter().any(unmasked),
            news: news(form, &filled, last4),
        })
    }
}

impl Status {
    /// Whether the entry of a field that is over put it in; `present` is whether a value stands there. `PartialResult=false` alone is no
    /// success: it also answers our own request for the field. `Required` decides where it is there.
    pub fn is_entered(&self, field: Field, present: bool) -> bool {
        self.required.map_or(present, |required| !required.contains(field))
    }
}

/// Fields of the form that are masked, each also with `Matcher` behind its name.
const MASKED: [&str; 3] = ["PaymentCardNumber", "SecurityCode", "BankAccountNumber"];

fn news<'a>(form: &[(String, String)], filled: &impl Fn(&str) -> Option<&'a str>, last4: Option<Last4>) -> News {
    if let Some(result) = filled("Result") {
        let text = |name| filled(name).map(|text| shortened(text, MAX_TEXT));
        let code = |name| filled(name).map(|code| shortened(code, MAX_CODE));
        return News::Ended(Box::new(Ending {
            result: ResultWord::from_wire(result),
            code: filled("PayErrorCode").and_then(|code| code.parse().ok()).filter(|code| *code < 100_000),
            payment_error: text("PaymentError"),
            connector_error: text("ConnectorError"),
            connector_statuses: of_connector(form, "status"),
            connector_messages: of_connector(form, "message"),
            currency: filled("Currency").map(str::to_owned),
            charge: filled("ChargeAmount").map(str::to_owned),
            confirmation: code("PaymentConfirmationCode"),
            token: filled("PaymentToken").and_then(token),
            profile: code("ProfileId"),
            last4,
        }));
    }
    let field = filled("Capture").and_then(Field::from_wire);
    if let Some(error) = filled("ErrorType") {
        return News::Wrong { field, error: EntryError::from_wire(error) };
    }
    let Some(field) = field else { return News::Exists };
    let value = value(field, filled);
    // PartialResult is text; absent says nothing, so only the word `false` ends an entry.
    if filled("PartialResult").is_some_and(|partial| partial.eq_ignore_ascii_case("false")) {
        News::Entered { field, present: value.is_some() }
    } else {
        let keys = value.map_or(0, |value| value.chars().filter(|c| c.is_alphanumeric() || *c == '*').count());
        News::Entering { field, keys: keys.min(32) }
    }
}

/// What stands for a field in the form. How a matcher's is called is not documented: it may be its field's.
fn value<'a>(field: Field, filled: &impl Fn(&str) -> Option<&'a str>) -> Option<&'a str> {
    let name = match field.first() {
        Field::SecurityCode => "SecurityCode",
        Field::ExpirationDate => "ExpirationDate",
        Field::PostalCode => "PaymentCardPostalCode",
        Field::BankRoutingNumber => "BankRoutingNumber",
        Field::BankAccountNumber => "BankAccountNumber",
        _ => "PaymentCardNumber",
    };
    let own = || filled(&format!("{name}Matcher")).filter(|_| field.is_matcher());
    own().or_else(|| filled(name)).or_else(|| filled("PostalCode").filter(|_| field == Field::PostalCode))
}

/// The longest code that is kept, in characters.
const MAX_CODE: usize = 64;

/// The longest text of a result that is kept, in characters.
const MAX_TEXT: usize = 256;

/// The longest token that is kept, in bytes. A token that is cut is none.
const MAX_TOKEN: usize = 1024;

/// The most fields of a connector's own that are read.
const MAX_OF_CONNECTOR: usize = 8;

/// The values of the connector's own fields (`PayConnector_…`) whose names have this word in them, in any spelling.
fn of_connector(form: &[(String, String)], word: &str) -> Vec<String> {
    let is_it = |name: &str| {
        let name = name.to_ascii_lowercase();
        name.strip_prefix("payconnector").is_some_and(|rest| rest.contains(word))
    };
    let values = form.iter().filter(|(name, value)| is_it(name) && !value.trim().is_empty());
    values.map(|(_, value)| shortened(value.trim(), MAX_CODE)).take(MAX_OF_CONNECTOR).collect()
}

/// A text of the processor's without card numbers and control characters, cut to so many characters.
fn shortened(text: &str, most: usize) -> String {
    // Card numbers first: of a number that is cut in two too much would stay.
    without_card_numbers(text).chars().map(|c| if c.is_control() { ' ' } else { c }).take(most).collect()
}

/// A payment token, unless it is a card number or endless.
fn token(text: &str) -> Option<SecretString> {
    (text.len() <= MAX_TOKEN && !has_card_number(text)).then(|| SecretString::from(text))
}

fn required(list: &str) -> Fields {
    list.split([',', ' ', ';']).filter_map(Field::from_wire).collect()
}

fn has_long_digit_run(value: &str) -> bool {
    value.split(|c: char| !c.is_ascii_digit()).any(|run| run.len() > 4)
}

/// A word of Twilio's that is not known here, cut to what a vocabulary consists of.
fn word_only(word: &str) -> String {
    word.chars().filter(|c| c.is_ascii_alphabetic() || matches!(c, '-' | '_')).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    fn read(fields: &[(&str, &str)]) -> Status {
        let sids = [("CallSid", "CA1"), ("Sid", "PK1")];
        let form: Vec<_> =
            sids.iter().chain(fields).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Status::from_form(&form).unwrap()
    }

    #[test]
    fn the_bodies_that_were_seen_are_read() {
        let created = read(&[
            ("PaymentConnector", "PGP_MOCK"),
            ("DateCreated", "2021-08-10T03:55:53.408Z"),
            ("PaymentMethod", "credit-card"),
            ("ChargeAmount", "9.99"),
        ]);
        assert!(matches!(created.news, News::Exists) && created.required.is_none());

        let charged = read(&[
            ("Result", "success"),
            ("PaymentConfirmationCode", "ch_a9dc"),
            ("PaymentToken", ""),
            ("ProfileId", ""),
            ("PaymentCardNumber", "xxxxxxxxxxxx1111"),
            ("SecurityCode", "xxx"),
            ("ExpirationDate", "1225"),
            ("DateUpdated", "2021-08-10T03:58:27.290Z"),
        ]);
        let News::Ended(ending) = charged.news else { panic!() };
        assert_eq!((ending.result, ending.confirmation.as_deref()), (ResultWord::Success, Some("ch_a9dc")));
        assert_eq!(ending.last4.unwrap().to_string(), "1111");
        assert!(ending.token.is_none() && charged.updated.is_some());

        let tokenized = read(&[("Result", "success"), ("PaymentToken", "hgyvy76"), ("PaymentConfirmationCode", "")]);
        let News::Ended(ending) = tokenized.news else { panic!() };
        assert_eq!(ending.token.unwrap().expose_secret(), "hgyvy76");
    }

    #[test]
    fn partial_result_is_text_and_its_absence_says_nothing() {
        let about = |partial: &[(&str, &str)]| {
            read(&[&[("Capture", "payment-card-number"), ("PaymentCardNumber", "xxxxxx")], partial].concat()).news
        };
        assert!(matches!(about(&[("PartialResult", "true")]), News::Entering { keys: 6, .. }));
        assert!(matches!(about(&[]), News::Entering { .. }));
        assert!(matches!(about(&[("PartialResult", "false")]), News::Entered { present: true, .. }));
        assert!(matches!(about(&[("PartialResult", "false"), ("ErrorType", "")]), News::Entered { .. }));
        let wrong = about(&[("PartialResult", "false"), ("ErrorType", "input-timeout")]);
        assert!(matches!(wrong, News::Wrong { field: Some(Field::CardNumber), error: EntryError::Timeout }));
    }

    #[test]
    fn required_is_read_in_both_spellings_and_empty_is_not_absent() {
        let required = |list| read(&[("Required", list)]).required.unwrap().to_string();
        assert_eq!(required("security-code, expiration-date"), "security code, expiry date");
        assert_eq!(required("ExpirationDate"), "expiry date");
        assert_eq!(required("SecurityCode PaymentCardPostalCode"), "security code, postal code");
        assert_eq!(required(""), "nothing");
        assert!(read(&[]).required.is_none());
    }

    #[test]
    fn last_four_digits_are_taken_from_any_mask_and_never_more() {
        for mask in ["xxxxxxxxxxxx4001", "xxxx-xxxxxx-x4001", "xxxx xxxx xxxx 4001", "************4001"] {
            assert_eq!(Last4::from_mask(mask).unwrap().to_string(), "4001", "{mask}");
        }
        for mask in ["", "xxxx", "xx12", "4242424242424242", "xxx12345"] {
            assert_eq!(Last4::from_mask(mask), None, "{mask}");
        }
        assert!(read(&[("PaymentCardNumber", "4242424242424242")]).unmasked);
        assert!(!read(&[("PaymentCardNumber", "xxxx-xxxxxx-x4001"), ("ExpirationDate", "1225")]).unmasked);
    }

    #[test]
    fn of_a_bank_account_only_the_last_digits_are_held() {
        let about = [("Capture", "bank-routing-number"), ("BankRoutingNumber", "110000000")];
        let entering = read(&[&about[..], &[("PartialResult", "true")]].concat());
        assert!(matches!(entering.news, News::Entering { field: Field::BankRoutingNumber, keys: 9 }));
        assert!(!entering.unmasked, "a routing number is never masked");
        assert!(!format!("{entering:?}").contains("110000000"));

        let done =
            read(&[("Result", "success"), ("BankRoutingNumber", "110000000"), ("BankAccountNumber", "*******92")]);
        let News::Ended(ending) = done.news else { panic!() };
        assert_eq!(ending.last4.unwrap().to_string(), "92");
        for mask in ["", "*********", "********9", "000123456789"] {
            assert_eq!(Last4::from_account_mask(mask), None, "{mask}");
        }
        assert!(read(&[("BankAccountNumber", "000123456789")]).unmasked);
    }

    #[test]
    fn a_matcher_is_read_by_its_own_name_and_by_its_fields() {
        for name in ["PaymentCardNumber", "PaymentCardNumberMatcher"] {
            let about = [("Capture", "payment-card-number-matcher"), (name, "xxxx")];
            let entering = read(&[&about[..], &[("PartialResult", "true")]].concat());
            assert!(matches!(entering.news, News::Entering { field: Field::CardNumberMatcher, keys: 4 }), "{name}");
        }
        let required = read(&[("Required", "payment-card-number-matcher, SecurityCode")]).required.unwrap();
        assert_eq!(required.to_string(), "repeated card number, security code");
        let wrong = read(&[("Capture", "payment-card-number-matcher"), ("ErrorType", "input-matching-failed")]);
        let mismatch = News::Wrong { field: Some(Field::CardNumberMatcher), error: EntryError::Mismatch };
        assert_eq!(format!("{:?}", wrong.news), format!("{mismatch:?}"));
        assert!(read(&[("PaymentCardNumberMatcher", "4242424242424242")]).unmasked);
    }

    #[test]
    fn results_are_read_in_any_case() {
        for (word, result) in [
            ("payment-connector-error", ResultWord::ConnectorError),
            ("Caller-Interrupted-With-Star", ResultWord::Star),
            ("caller-hung-up", ResultWord::HungUp),
            ("transaction-cancelled", ResultWord::Cancelled),
            ("validation-error", ResultWord::NotTaken("validation-error")),
            (" SUCCESS ", ResultWord::Success),
            ("successful", ResultWord::Other("successful".to_owned())),
        ] {
            let status = read(&[("Result", word), ("PayErrorCode", "64008")]);
            assert!(matches!(status.news, News::Ended(ending) if ending.result == result), "{word}");
        }
    }

    #[test]
    fn what_the_processor_says_is_bounded_and_holds_no_card_number() {
        let long = format!("ch_4242424242424242_{}", "x".repeat(5_000));
        let status = read(&[
            ("Result", "success"),
            ("PaymentConfirmationCode", &long),
            ("ProfileId", &long),
            ("PaymentError", &long),
            ("PayConnector_payment_status", &long),
            ("PaymentToken", "4242424242424242"),
        ]);
        let News::Ended(ending) = status.news else { panic!() };
        let codes = [ending.confirmation.unwrap(), ending.profile.unwrap(), ending.connector_statuses[0].clone()];
        for (text, most) in codes.into_iter().map(|code| (code, 64)).chain([(ending.payment_error.unwrap(), 256)]) {
            assert!(text.chars().count() <= most && !text.contains("4242"), "{text}");
        }
        assert!(ending.token.is_none(), "a card number is no token");
    }

    #[test]
    fn without_its_sids_it_is_refused() {
        let form = |name: &str| vec![(name.to_owned(), "X1".to_owned())];
        assert_eq!(Status::from_form(&form("Sid")).unwrap_err(), BadStatus::CallSid);
        assert_eq!(Status::from_form(&form("CallSid")).unwrap_err(), BadStatus::Sid);
    }

    proptest! {
        #[test]
        fn no_form_panics_and_nothing_secret_is_shown(
            names in prop::collection::vec(
                prop::sample::select(&["Result", "Capture", "PartialResult", "ErrorType", "Required", "DateUpdated",
                    "PaymentCardNumber", "SecurityCode", "ExpirationDate", "PaymentToken", "PayErrorCode",
                    "BankRoutingNumber", "BankAccountNumber", "PaymentCardNumberMatcher"][..]), 0..8),
            value in "[0-9]{5,16}|\\PC{0,20}",
        ) {
            let fields: Vec<_> = names.into_iter().map(|name| (name, value.as_str())).collect();
            // Twilio's error codes have five digits.
            let shown = format!("{:?}", read(&fields).news).replace(&format!("code: Some({value})"), "");
            prop_assert!(!shown.bytes().collect::<Vec<_>>().windows(5).any(|run| run.iter().all(u8::is_ascii_digit)));
        }
    }
}
