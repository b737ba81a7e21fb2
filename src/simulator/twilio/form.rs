//! The forms of Payments requests, read strictly: what Twilio would silently ignore or guess is a violation here.

use url::Url;

use super::card::Taken;
use super::{Field, Request};

/// A request to create a payment session.
#[derive(Debug, Clone)]
pub struct Create {
    /// Common to both kinds of request.
    pub common: Common,
    /// `ChargeAmount`; none tokenizes.
    pub charge: Option<String>,
    /// `TokenType`, Twilio's default if none was sent.
    pub token_type: String,
    /// `PaymentConnector`.
    pub connector: String,
    /// `PaymentMethod`.
    pub method: String,
    /// `BankAccountType`, where an account is paid from.
    pub account_type: Option<String>,
    /// `Description` without the id of the payment that it ends in.
    pub description: Option<String>,
    /// What is taken of each field.
    pub taken: Taken,
    /// The fields that the session needs before it can be completed.
    pub needs: Vec<Field>,
    /// Seconds between two digits, after the first.
    pub timeout: u64,
}

/// A request to move a session on.
#[derive(Debug, Clone)]
pub struct Update {
    /// Common to both kinds of request.
    pub common: Common,
    /// `Capture` or `Status`.
    pub change: Request,
}

/// What every request has to bring.
#[derive(Debug, Clone)]
pub struct Common {
    /// `IdempotencyKey`.
    pub key: String,
    /// `StatusCallback`.
    pub callback: Url,
}

/// Why a form is refused: Twilio's code, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// The error code of the 400 answer.
    pub code: u32,
    /// For the violation.
    pub what: String,
}

const CREATE: &[&str] = &[
    "IdempotencyKey",
    "StatusCallback",
    "PaymentConnector",
    "PaymentMethod",
    "ChargeAmount",
    "Currency",
    "TokenType",
    "SecurityCode",
    "PostalCode",
    "MinPostalCodeLength",
    "ValidCardTypes",
    "Timeout",
    "Input",
    "Description",
    "Parameter",
    "BankAccountType",
    "RequireMatchingInputs",
    "Confirmation",
];
const UPDATE: &[&str] = &["IdempotencyKey", "StatusCallback", "Capture", "Status"];
const ACCOUNTS: &[&str] = &["consumer-checking", "consumer-savings", "commercial-checking"];
const CARDS: &[&str] =
    &["visa", "mastercard", "amex", "maestro", "discover", "optima", "jcb", "diners-club", "enroute"];

impl Create {
    /// Reads the body of `POST …/Payments.json`. `public` is where the server says that it can be reached.
    pub fn read(body: &str, public: &Url) -> Result<Self, Wrong> {
        let form = Form::read(body, CREATE)?;
        let charge = form.get("ChargeAmount").map(amount).transpose()?.flatten();
        if charge.is_some() && form.get("TokenType").is_some() {
            return Err(invalid(
                "TokenType was sent together with ChargeAmount: the card is either charged or tokenized",
            ));
        }
        let token_type = form.one_of("TokenType", &["one-time", "reusable", "payment-method"])?.unwrap_or("reusable");
        let method = form.one_of("PaymentMethod", &["credit-card", "ach-debit"])?.unwrap_or("credit-card");
        form.one_of("Input", &["dtmf"])?;
        form.one_of("Confirmation", &["true", "false"])?;
        form.shape("Currency", "three letters", |it| it.len() == 3 && it.bytes().all(|c| c.is_ascii_alphabetic()))?;
        form.shape("PaymentConnector", "the connector's unique name", |it| !it.is_empty() && !is_connector_sid(it))?;
        form.shape("MinPostalCodeLength", "a positive integer", |it| it.parse::<u32>().is_ok_and(|n| n > 0))?;
        form.shape("Timeout", "1 to 600 seconds", |it| it.parse::<u32>().is_ok_and(|n| (1..=600).contains(&n)))?;
        form.shape("Parameter", "a single-level JSON object", is_flat_object)?;
        form.shape("ValidCardTypes", "card types with spaces between", |it| it.split(' ').all(|c| CARDS.contains(&c)))?;
        let needs = if method == "ach-debit" { account_fields(&form)? } else { card_fields(&form)? };
        let account_type = form.one_of("BankAccountType", ACCOUNTS)?.unwrap_or("consumer-checking");
        let mut taken = Taken::default();
        if let Some(types) = form.get("ValidCardTypes") {
            taken.card_types = types.split(' ').map(str::to_owned).collect();
        }
        if let Some(length) = form.get("MinPostalCodeLength").and_then(|it| it.parse().ok()) {
            taken.postal_code_length = length;
        }
        let common = Common::read(&form, public)?;
        let description = about(form.get("Description"), &common.key)?;
        Ok(Self {
            common,
            charge,
            token_type: token_type.to_owned(),
            connector: form.get("PaymentConnector").unwrap_or("Default").to_owned(),
            method: method.to_owned(),
            account_type: (method == "ach-debit").then(|| account_type.to_owned()),
            description,
            taken,
            needs,
            timeout: form.get("Timeout").and_then(|it| it.parse().ok()).unwrap_or(5),
        })
    }
}

impl Create {
    /// How it is paid, for the tape.
    pub fn told(&self) -> String {
        let parts = [Some(self.method.clone()), self.account_type.clone(), self.description.clone()];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// What a description says before the id of the payment, which the key of the request begins with: without it nothing at the
/// processor can be matched with the ledger.
fn about(description: Option<&str>, key: &str) -> Result<Option<String>, Wrong> {
    let Some(id) = key.strip_suffix("-create") else { return Ok(description.map(str::to_owned)) };
    let about = description.and_then(|text| text.strip_suffix(id));
    let about = about.filter(|about| about.is_empty() || about.ends_with(' '));
    let about = about.ok_or_else(|| invalid("Description does not end in the id of the payment"))?.trim();
    Ok((!about.is_empty()).then(|| about.to_owned()))
}

/// The fields that a payment by card needs.
fn card_fields(form: &Form) -> Result<Vec<Field>, Wrong> {
    if form.get("BankAccountType").is_some() {
        return Err(Wrong { code: 64017, what: "BankAccountType was sent for a payment by card".to_owned() });
    }
    let mut needs = vec![Field::CardNumber, Field::ExpirationDate];
    for (name, field) in [("SecurityCode", Field::SecurityCode), ("PostalCode", Field::PostalCode)] {
        if form.one_of(name, &["true", "false"])? != Some("false") {
            needs.push(field);
        }
    }
    let twice = form.get("RequireMatchingInputs").map_or_else(Vec::new, |list| list.split(',').collect());
    for word in twice {
        let field = Field::ALL.into_iter().find(|field| field.kebab() == word && needs.contains(field));
        let matcher = field.and_then(Field::matcher);
        needs.push(
            matcher.ok_or_else(|| invalid(format!("RequireMatchingInputs names {word:?}, which is not asked for")))?,
        );
    }
    Ok(needs)
}

/// The fields that a payment from a bank account needs.
fn account_fields(form: &Form) -> Result<Vec<Field>, Wrong> {
    for name in ["ValidCardTypes", "MinPostalCodeLength", "RequireMatchingInputs"] {
        if form.get(name).is_some() {
            return Err(invalid(format!("{name} was sent for a payment from a bank account")));
        }
    }
    for name in ["SecurityCode", "PostalCode"] {
        if form.one_of(name, &["true", "false"])? == Some("true") {
            return Err(invalid(format!("{name} was asked of a bank account")));
        }
    }
    let parameters: Option<serde_json::Value> = form.get("Parameter").and_then(|json| serde_json::from_str(json).ok());
    let holder = parameters.as_ref().and_then(|all| all["AVSName"].as_str());
    if holder.is_none_or(str::is_empty) {
        return Err(Wrong {
            code: 64014,
            what: "a payment from a bank account has no AVSName in Parameter".to_owned(),
        });
    }
    Ok(vec![Field::BankRoutingNumber, Field::BankAccountNumber])
}

impl Update {
    /// Reads the body of `POST …/Payments/{PK}.json`.
    pub fn read(body: &str, public: &Url) -> Result<Self, Wrong> {
        let form = Form::read(body, UPDATE)?;
        let change = match (form.get("Capture"), form.get("Status")) {
            (Some(capture), None) => Field::ALL
                .into_iter()
                .find(|field| field.kebab() == capture)
                .map(Request::Capture)
                .ok_or_else(|| invalid(format!("Capture={capture} is none of the fields")))?,
            (None, Some("complete")) => Request::Complete,
            (None, Some("cancel")) => Request::Cancel,
            (None, Some(other)) => return Err(invalid(format!("Status={other} is neither complete nor cancel"))),
            (both, _) => {
                let what = if both.is_some() { "both Capture and Status" } else { "neither Capture nor Status" };
                return Err(Wrong { code: 64018, what: format!("an update has {what}") });
            }
        };
        Ok(Self { common: Common::read(&form, public)?, change })
    }
}

impl Common {
    fn read(form: &Form, public: &Url) -> Result<Self, Wrong> {
        let filled = |name| {
            form.get(name).filter(|it| !it.is_empty()).ok_or_else(|| invalid(format!("{name} is missing or empty")))
        };
        let callback: Url =
            filled("StatusCallback")?.parse().map_err(|_| invalid("StatusCallback is not an absolute URL"))?;
        if callback.origin() != public.origin() {
            return Err(invalid(format!("StatusCallback {callback} is not on {public}")));
        }
        Ok(Self { key: filled("IdempotencyKey")?.to_owned(), callback })
    }
}

/// The pairs of a form, every name known and there once.
struct Form(Vec<(String, String)>);

impl Form {
    fn read(body: &str, known: &[&str]) -> Result<Self, Wrong> {
        let pairs: Vec<(String, String)> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
        for (at, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                return Err(invalid(format!("unknown form field {name}")));
            }
            if pairs[..at].iter().any(|(earlier, _)| earlier == name) {
                return Err(invalid(format!("form field {name} is there twice")));
            }
        }
        Ok(Self(pairs))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn one_of(&self, name: &str, words: &[&str]) -> Result<Option<&str>, Wrong> {
        self.shape(name, &words.join(" or "), |it| words.contains(&it))?;
        Ok(self.get(name))
    }

    fn shape(&self, name: &str, wanted: &str, fits: impl Fn(&str) -> bool) -> Result<(), Wrong> {
        match self.get(name) {
            Some(value) if !fits(value) => Err(invalid(format!("{name}={value:?} is not {wanted}"))),
            _ => Ok(()),
        }
    }
}

fn invalid(what: impl Into<String>) -> Wrong {
    Wrong { code: 64020, what: what.into() }
}

/// Plain decimal text below a million with two decimals at most; zero is no charge.
fn amount(text: &str) -> Result<Option<String>, Wrong> {
    let (whole, cents) = text.split_once('.').unwrap_or((text, "0"));
    let digits =
        |part: &str, most: usize| (1..=most).contains(&part.len()) && part.bytes().all(|digit| digit.is_ascii_digit());
    if !digits(whole, 6) || !digits(cents, 2) {
        return Err(Wrong { code: 64003, what: format!("ChargeAmount={text:?} is not a plain decimal amount") });
    }
    Ok(text.bytes().any(|digit| (b'1'..=b'9').contains(&digit)).then(|| text.to_owned()))
}

fn is_connector_sid(name: &str) -> bool {
    name.len() == 34 && name.starts_with("PC")
}

fn is_flat_object(text: &str) -> bool {
    serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text)
        .is_ok_and(|map| map.values().all(|value| !value.is_object() && !value.is_array()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMON: &str = "IdempotencyKey=k1&StatusCallback=https%3A%2F%2Fpay.example.com%2Fpayment-status-callback";

    fn create(rest: &str) -> Result<Create, Wrong> {
        Create::read(&format!("{COMMON}{rest}"), &"https://pay.example.com".parse().unwrap())
    }

    fn update(rest: &str) -> Result<Update, Wrong> {
        Update::read(&format!("{COMMON}{rest}"), &"https://pay.example.com".parse().unwrap())
    }

    #[test]
    fn a_session_that_charges_is_read() {
        let session = create("&ChargeAmount=25.00&Currency=USD&SecurityCode=true&PostalCode=false").unwrap();
        assert_eq!(session.charge.as_deref(), Some("25.00"));
        assert_eq!(session.needs, [Field::CardNumber, Field::ExpirationDate, Field::SecurityCode]);
    }

    #[test]
    fn a_description_ends_in_the_id_that_the_key_begins_with() {
        let about = |text| about(Some(text), "9a8f1282-create");
        assert_eq!(about("Invoice 7 order-7 9a8f1282"), Ok(Some("Invoice 7 order-7".to_owned())));
        assert_eq!(about("9a8f1282"), Ok(None));
        assert!(about("Invoice 7").is_err() && about("Invoice-9a8f1282").is_err());
        assert!(super::about(None, "9a8f1282-create").is_err());
    }

    #[test]
    fn postal_and_security_code_are_needed_unless_they_are_declined() {
        assert_eq!(create("").unwrap().needs.len(), 4);
        assert_eq!(create("&SecurityCode=false&PostalCode=false").unwrap().needs.len(), 2);
    }

    #[test]
    fn what_twilio_would_ignore_or_misread_is_refused() {
        for rest in [
            "&security_code=true",
            "&Currency=USD&Currency=USD",
            "&ChargeAmount=25.00&TokenType=one-time",
            "&ChargeAmount=%2425",
            "&ChargeAmount=25.001",
            "&ChargeAmount=1e3",
            "&PaymentConnector=",
            "&PaymentConnector=PC00000000000000000000000000000001",
            "&PostalCode=no",
            "&Timeout=0",
            "&Capture=payment-card-number",
        ] {
            assert!(create(rest).is_err(), "{rest}");
        }
    }

    #[test]
    fn a_bank_account_needs_a_holder_and_nothing_of_a_card() {
        let holder = "&PaymentMethod=ach-debit&Parameter={\"AVSName\":\"Ann\"}";
        let session = create(&format!("{holder}&BankAccountType=consumer-savings&SecurityCode=false")).unwrap();
        assert_eq!(session.needs, [Field::BankRoutingNumber, Field::BankAccountNumber]);
        assert_eq!(session.account_type.as_deref(), Some("consumer-savings"));
        assert_eq!(create("&BankAccountType=consumer-savings").unwrap_err().code, 64017);
        for rest in ["", "&Parameter={}", "&Parameter={\"AVSName\":\"\"}", "&Parameter={\"avsname\":\"Ann\"}"] {
            assert_eq!(create(&format!("&PaymentMethod=ach-debit{rest}")).unwrap_err().code, 64014, "{rest}");
        }
        for rest in ["&ValidCardTypes=visa", "&RequireMatchingInputs=security-code", "&PostalCode=true"] {
            assert!(create(&format!("{holder}{rest}")).is_err(), "{rest}");
        }
    }

    #[test]
    fn what_is_to_match_is_needed_twice_and_has_to_be_asked_for() {
        let twice = create("&PostalCode=false&RequireMatchingInputs=payment-card-number,security-code").unwrap();
        assert!(twice.needs.contains(&Field::CardNumberMatcher) && twice.needs.contains(&Field::SecurityCodeMatcher));
        for rest in ["postal-code", "bank-account-number", "payment-card-number+security-code", ""] {
            assert!(create(&format!("&PostalCode=false&RequireMatchingInputs={rest}")).is_err(), "{rest}");
        }
        assert_eq!(
            update("&Capture=payment-card-number-matcher").unwrap().change,
            Request::Capture(Field::CardNumberMatcher)
        );
    }

    #[test]
    fn an_update_is_exactly_one_of_capture_and_status() {
        assert_eq!(update("&Capture=security-code").unwrap().change, Request::Capture(Field::SecurityCode));
        assert_eq!(update("&Status=complete").unwrap().change, Request::Complete);
        assert_eq!(update("").unwrap_err().code, 64018);
        assert_eq!(update("&Capture=security-code&Status=cancel").unwrap_err().code, 64018);
        assert!(update("&Capture=SecurityCode").is_err());
    }

    #[test]
    fn the_key_and_the_callback_are_demanded_on_every_request() {
        let public = "https://pay.example.com".parse().unwrap();
        for body in [
            "Status=cancel",
            "Status=cancel&IdempotencyKey=k",
            "Status=cancel&StatusCallback=https://pay.example.com/a",
            "Status=cancel&IdempotencyKey=&StatusCallback=https://pay.example.com/a",
            "Status=cancel&IdempotencyKey=k&StatusCallback=/a",
            "Status=cancel&IdempotencyKey=k&StatusCallback=https://evil.example/a",
        ] {
            assert!(Update::read(body, &public).is_err(), "{body}");
        }
    }
}
