//! Parses the forms of Payments requests strictly. A field that Twilio would silently ignore or guess is a violation.

use url::Url;

use super::card::AcceptedInput;
use super::{CaptureField, PaymentsRequest};

/// A request to create a payment session.
#[derive(Debug, Clone)]
pub(crate) struct CreateForm {
    /// The parameters that both kinds of request have.
    pub common: CommonParameters,
    /// `ChargeAmount`; without it the card is tokenized.
    pub charge_amount: Option<String>,
    /// `TokenType`, or Twilio's default.
    pub token_type: String,
    /// `PaymentConnector`.
    pub connector: String,
    /// `PaymentMethod`.
    pub payment_method: String,
    /// `BankAccountType`, for a payment from a bank account.
    pub bank_account_type: Option<String>,
    /// `Description` without the payment id at its end.
    pub description: Option<String>,
    /// The input that the session accepts.
    pub accepted_input: AcceptedInput,
    /// The fields that are required before the session can be completed.
    pub required_fields: Vec<CaptureField>,
    /// `Timeout`: seconds between two digits, after the first.
    pub timeout: u64,
}

/// A request to update a payment session.
#[derive(Debug, Clone)]
pub(crate) struct UpdateForm {
    /// The parameters that both kinds of request have.
    pub common: CommonParameters,
    /// `Capture` or `Status`.
    pub change: PaymentsRequest,
}

/// The parameters that every request must have.
#[derive(Debug, Clone)]
pub(crate) struct CommonParameters {
    /// `IdempotencyKey`.
    pub idempotency_key: String,
    /// `StatusCallback`.
    pub status_callback: Url,
}

/// The reason why a form is refused, with Twilio's error code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FormError {
    /// The error code of the 400 response.
    pub code: u32,
    /// The text of the violation.
    pub message: String,
}

const CREATE_FIELDS: &[&str] = &[
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
const UPDATE_FIELDS: &[&str] = &["IdempotencyKey", "StatusCallback", "Capture", "Status"];
const BANK_ACCOUNT_TYPES: &[&str] = &["consumer-checking", "consumer-savings", "commercial-checking"];
const CARD_TYPES: &[&str] =
    &["visa", "mastercard", "amex", "maestro", "discover", "optima", "jcb", "diners-club", "enroute"];

impl CreateForm {
    /// Parses the body of `POST …/Payments.json`. `public` is the public URL of the server.
    pub(crate) fn parse(body: &str, public: &Url) -> Result<Self, FormError> {
        let form = FormFields::parse(body, CREATE_FIELDS)?;
        let charge = form.get("ChargeAmount").map(parse_amount).transpose()?.flatten();
        if charge.is_some() && form.get("TokenType").is_some() {
            return Err(invalid_parameter(
                "TokenType was sent together with ChargeAmount: the card is either charged or tokenized",
            ));
        }
        let token_type =
            form.get_one_of("TokenType", &["one-time", "reusable", "payment-method"])?.unwrap_or("reusable");
        let method = form.get_one_of("PaymentMethod", &["credit-card", "ach-debit"])?.unwrap_or("credit-card");
        form.get_one_of("Input", &["dtmf"])?;
        form.get_one_of("Confirmation", &["true", "false"])?;
        form.check_shape("Currency", "three letters", |it| {
            it.len() == 3 && it.bytes().all(|c| c.is_ascii_alphabetic())
        })?;
        form.check_shape("PaymentConnector", "the connector's unique name", |it| {
            !it.is_empty() && !is_connector_sid(it)
        })?;
        form.check_shape("MinPostalCodeLength", "a positive integer", |it| it.parse::<u32>().is_ok_and(|n| n > 0))?;
        form.check_shape("Timeout", "1 to 600 seconds", |it| it.parse::<u32>().is_ok_and(|n| (1..=600).contains(&n)))?;
        form.check_shape("Parameter", "a single-level JSON object", is_flat_object)?;
        form.check_shape("ValidCardTypes", "card types separated by spaces", |it| {
            it.split(' ').all(|c| CARD_TYPES.contains(&c))
        })?;
        let needs = if method == "ach-debit" { bank_account_fields(&form)? } else { card_fields(&form)? };
        let account_type = form.get_one_of("BankAccountType", BANK_ACCOUNT_TYPES)?.unwrap_or("consumer-checking");
        let mut taken = AcceptedInput::default();
        if let Some(types) = form.get("ValidCardTypes") {
            taken.card_types = types.split(' ').map(str::to_owned).collect();
        }
        if let Some(length) = form.get("MinPostalCodeLength").and_then(|it| it.parse().ok()) {
            taken.postal_code_length = length;
        }
        let common = CommonParameters::parse(&form, public)?;
        let description = description_without_id(form.get("Description"), &common.idempotency_key)?;
        Ok(Self {
            common,
            charge_amount: charge,
            token_type: token_type.to_owned(),
            connector: form.get("PaymentConnector").unwrap_or("Default").to_owned(),
            payment_method: method.to_owned(),
            bank_account_type: (method == "ach-debit").then(|| account_type.to_owned()),
            description,
            accepted_input: taken,
            required_fields: needs,
            timeout: form.get("Timeout").and_then(|it| it.parse().ok()).unwrap_or(5),
        })
    }
}

impl CreateForm {
    /// Formats method, account type and description for the transcript.
    pub(crate) fn describe_method(&self) -> String {
        let parts = [Some(self.payment_method.clone()), self.bank_account_type.clone(), self.description.clone()];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// Returns the description without the payment id, with which the idempotency key begins. Without the id, a payment at
/// the processor cannot be matched with the ledger.
fn description_without_id(description: Option<&str>, key: &str) -> Result<Option<String>, FormError> {
    let Some(id) = key.strip_suffix("-create") else { return Ok(description.map(str::to_owned)) };
    let about = description.and_then(|text| text.strip_suffix(id));
    let about = about.filter(|about| about.is_empty() || about.ends_with(' '));
    let about = about.ok_or_else(|| invalid_parameter("Description does not end in the id of the payment"))?.trim();
    Ok((!about.is_empty()).then(|| about.to_owned()))
}

/// Returns the required fields of a card payment.
fn card_fields(form: &FormFields) -> Result<Vec<CaptureField>, FormError> {
    if form.get("BankAccountType").is_some() {
        return Err(FormError { code: 64017, message: "BankAccountType was sent for a payment by card".to_owned() });
    }
    let mut needs = vec![CaptureField::CardNumber, CaptureField::ExpirationDate];
    for (name, field) in [("SecurityCode", CaptureField::SecurityCode), ("PostalCode", CaptureField::PostalCode)] {
        if form.get_one_of(name, &["true", "false"])? != Some("false") {
            needs.push(field);
        }
    }
    let twice = form.get("RequireMatchingInputs").map_or_else(Vec::new, |list| list.split(',').collect());
    for word in twice {
        let field = CaptureField::ALL.into_iter().find(|field| field.capture_name() == word && needs.contains(field));
        let matcher = field.and_then(CaptureField::matcher);
        needs.push(matcher.ok_or_else(|| {
            invalid_parameter(format!("RequireMatchingInputs names {word:?}, which the session does not capture"))
        })?);
    }
    Ok(needs)
}

/// Returns the required fields of a payment from a bank account.
fn bank_account_fields(form: &FormFields) -> Result<Vec<CaptureField>, FormError> {
    for name in ["ValidCardTypes", "MinPostalCodeLength", "RequireMatchingInputs"] {
        if form.get(name).is_some() {
            return Err(invalid_parameter(format!("{name} was sent for a payment from a bank account")));
        }
    }
    for name in ["SecurityCode", "PostalCode"] {
        if form.get_one_of(name, &["true", "false"])? == Some("true") {
            return Err(invalid_parameter(format!("{name} was requested for a bank account")));
        }
    }
    let parameters: Option<serde_json::Value> = form.get("Parameter").and_then(|json| serde_json::from_str(json).ok());
    let holder = parameters.as_ref().and_then(|all| all["AVSName"].as_str());
    if holder.is_none_or(str::is_empty) {
        return Err(FormError {
            code: 64014,
            message: "a payment from a bank account has no AVSName in Parameter".to_owned(),
        });
    }
    Ok(vec![CaptureField::BankRoutingNumber, CaptureField::BankAccountNumber])
}

impl UpdateForm {
    /// Parses the body of `POST …/Payments/{PK}.json`.
    pub(crate) fn parse(body: &str, public: &Url) -> Result<Self, FormError> {
        let form = FormFields::parse(body, UPDATE_FIELDS)?;
        let change = match (form.get("Capture"), form.get("Status")) {
            (Some(capture), None) => CaptureField::ALL
                .into_iter()
                .find(|field| field.capture_name() == capture)
                .map(PaymentsRequest::Capture)
                .ok_or_else(|| invalid_parameter(format!("Capture={capture} is not a known field")))?,
            (None, Some("complete")) => PaymentsRequest::Complete,
            (None, Some("cancel")) => PaymentsRequest::Cancel,
            (None, Some(other)) => {
                return Err(invalid_parameter(format!("Status={other} is neither complete nor cancel")));
            }
            (both, _) => {
                let what = if both.is_some() { "both Capture and Status" } else { "neither Capture nor Status" };
                return Err(FormError { code: 64018, message: format!("an update has {what}") });
            }
        };
        Ok(Self { common: CommonParameters::parse(&form, public)?, change })
    }
}

impl CommonParameters {
    fn parse(form: &FormFields, public: &Url) -> Result<Self, FormError> {
        let filled = |name| {
            form.get(name)
                .filter(|it| !it.is_empty())
                .ok_or_else(|| invalid_parameter(format!("{name} is missing or empty")))
        };
        let callback: Url = filled("StatusCallback")?
            .parse()
            .map_err(|_| invalid_parameter("StatusCallback is not an absolute URL"))?;
        if callback.origin() != public.origin() {
            return Err(invalid_parameter(format!("StatusCallback {callback} is not on {public}")));
        }
        Ok(Self { idempotency_key: filled("IdempotencyKey")?.to_owned(), status_callback: callback })
    }
}

/// The pairs of a form. Every name is known and appears once.
struct FormFields(Vec<(String, String)>);

impl FormFields {
    fn parse(body: &str, known: &[&str]) -> Result<Self, FormError> {
        let pairs: Vec<(String, String)> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
        for (at, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                return Err(invalid_parameter(format!("unknown form field {name}")));
            }
            if pairs[..at].iter().any(|(earlier, _)| earlier == name) {
                return Err(invalid_parameter(format!("form field {name} appears twice")));
            }
        }
        Ok(Self(pairs))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn get_one_of(&self, name: &str, words: &[&str]) -> Result<Option<&str>, FormError> {
        self.check_shape(name, &words.join(" or "), |it| words.contains(&it))?;
        Ok(self.get(name))
    }

    fn check_shape(&self, name: &str, wanted: &str, fits: impl Fn(&str) -> bool) -> Result<(), FormError> {
        match self.get(name) {
            Some(value) if !fits(value) => Err(invalid_parameter(format!("{name}={value:?} is not {wanted}"))),
            _ => Ok(()),
        }
    }
}

fn invalid_parameter(what: impl Into<String>) -> FormError {
    FormError { code: 64020, message: what.into() }
}

/// Parses a plain decimal amount below a million with at most two decimals. Zero means no charge.
fn parse_amount(text: &str) -> Result<Option<String>, FormError> {
    let (whole, cents) = text.split_once('.').unwrap_or((text, "0"));
    let digits =
        |part: &str, most: usize| (1..=most).contains(&part.len()) && part.bytes().all(|digit| digit.is_ascii_digit());
    if !digits(whole, 6) || !digits(cents, 2) {
        return Err(FormError { code: 64003, message: format!("ChargeAmount={text:?} is not a plain decimal amount") });
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

    fn create(rest: &str) -> Result<CreateForm, FormError> {
        CreateForm::parse(&format!("{COMMON}{rest}"), &"https://pay.example.com".parse().unwrap())
    }

    fn update(rest: &str) -> Result<UpdateForm, FormError> {
        UpdateForm::parse(&format!("{COMMON}{rest}"), &"https://pay.example.com".parse().unwrap())
    }

    #[test]
    fn a_session_that_charges_is_read() {
        let session = create("&ChargeAmount=25.00&Currency=USD&SecurityCode=true&PostalCode=false").unwrap();
        assert_eq!(session.charge_amount.as_deref(), Some("25.00"));
        assert_eq!(
            session.required_fields,
            [CaptureField::CardNumber, CaptureField::ExpirationDate, CaptureField::SecurityCode]
        );
    }

    #[test]
    fn a_description_ends_in_the_id_that_the_key_begins_with() {
        let about = |text| description_without_id(Some(text), "9a8f1282-create");
        assert_eq!(about("Invoice 7 order-7 9a8f1282"), Ok(Some("Invoice 7 order-7".to_owned())));
        assert_eq!(about("9a8f1282"), Ok(None));
        assert!(about("Invoice 7").is_err() && about("Invoice-9a8f1282").is_err());
        assert!(super::description_without_id(None, "9a8f1282-create").is_err());
    }

    #[test]
    fn postal_and_security_code_are_needed_unless_they_are_declined() {
        assert_eq!(create("").unwrap().required_fields.len(), 4);
        assert_eq!(create("&SecurityCode=false&PostalCode=false").unwrap().required_fields.len(), 2);
    }

    #[test]
    fn fields_that_twilio_ignores_or_misreads_are_refused() {
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
        assert_eq!(session.required_fields, [CaptureField::BankRoutingNumber, CaptureField::BankAccountNumber]);
        assert_eq!(session.bank_account_type.as_deref(), Some("consumer-savings"));
        assert_eq!(create("&BankAccountType=consumer-savings").unwrap_err().code, 64017);
        for rest in ["", "&Parameter={}", "&Parameter={\"AVSName\":\"\"}", "&Parameter={\"avsname\":\"Ann\"}"] {
            assert_eq!(create(&format!("&PaymentMethod=ach-debit{rest}")).unwrap_err().code, 64014, "{rest}");
        }
        for rest in ["&ValidCardTypes=visa", "&RequireMatchingInputs=security-code", "&PostalCode=true"] {
            assert!(create(&format!("{holder}{rest}")).is_err(), "{rest}");
        }
    }

    #[test]
    fn matching_fields_are_required_twice() {
        let twice = create("&PostalCode=false&RequireMatchingInputs=payment-card-number,security-code").unwrap();
        assert!(
            twice.required_fields.contains(&CaptureField::CardNumberMatcher)
                && twice.required_fields.contains(&CaptureField::SecurityCodeMatcher)
        );
        for rest in ["postal-code", "bank-account-number", "payment-card-number+security-code", ""] {
            assert!(create(&format!("&PostalCode=false&RequireMatchingInputs={rest}")).is_err(), "{rest}");
        }
        assert_eq!(
            update("&Capture=payment-card-number-matcher").unwrap().change,
            PaymentsRequest::Capture(CaptureField::CardNumberMatcher)
        );
    }

    #[test]
    fn an_update_is_exactly_one_of_capture_and_status() {
        assert_eq!(
            update("&Capture=security-code").unwrap().change,
            PaymentsRequest::Capture(CaptureField::SecurityCode)
        );
        assert_eq!(update("&Status=complete").unwrap().change, PaymentsRequest::Complete);
        assert_eq!(update("").unwrap_err().code, 64018);
        assert_eq!(update("&Capture=security-code&Status=cancel").unwrap_err().code, 64018);
        assert!(update("&Capture=SecurityCode").is_err());
    }

    #[test]
    fn every_request_needs_an_idempotency_key_and_a_callback() {
        let public = "https://pay.example.com".parse().unwrap();
        for body in [
            "Status=cancel",
            "Status=cancel&IdempotencyKey=k",
            "Status=cancel&StatusCallback=https://pay.example.com/a",
            "Status=cancel&IdempotencyKey=&StatusCallback=https://pay.example.com/a",
            "Status=cancel&IdempotencyKey=k&StatusCallback=/a",
            "Status=cancel&IdempotencyKey=k&StatusCallback=https://evil.example/a",
        ] {
            assert!(UpdateForm::parse(body, &public).is_err(), "{body}");
        }
    }
}
