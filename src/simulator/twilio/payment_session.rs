//! The state machine of a payment session at Twilio: takes requests and keys, returns callbacks.
//!
//! Does no I/O. The dates of the callbacks come from a simulated clock.

use super::card::CardBrand;
use super::form::CreateForm;
use super::quirks::{PaymentResult, ResultReport};
use super::{CaptureField, Quirks};

/// The fields of a callback, in the order in which they are sent.
pub(crate) type CallbackForm = Vec<(String, String)>;

/// A payment session.
#[derive(Debug)]
pub(crate) struct PaymentSession {
    /// `PK…`.
    pub sid: String,
    /// `StatusCallback` of the latest request.
    pub callback_url: url::Url,
    /// The request that created the session.
    pub request: CreateForm,
    /// The state.
    pub state: PaymentSessionState,
    /// Counts keys and requests, so that a timer can tell whether it is outdated.
    pub activity_count: u64,
    /// Results to report after all calls have ended.
    pub late_reports: Vec<ResultReport>,
    /// Whether a result of its submission was reported.
    has_reported: bool,
    entered: Vec<(CaptureField, String)>,
    account_sid: String,
    call_sid: String,
    millis: u64,
}

/// The state of a payment session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PaymentSessionState {
    /// No field is being captured.
    Open,
    /// A field is being captured.
    Capturing {
        /// The field.
        field: CaptureField,
        /// The digits so far.
        entry: String,
    },
    /// `complete` was accepted.
    Completing,
    /// The session has ended.
    Ended,
}

/// A completed entry.
#[derive(Debug)]
pub(crate) struct CompletedEntry {
    /// The field.
    pub field: CaptureField,
    /// The number of digits.
    pub keys: usize,
    /// `ErrorType`.
    pub error: Option<&'static str>,
}

impl PaymentSession {
    /// Creates a session.
    pub(crate) fn new(sid: String, account: &str, call: &str, asked: CreateForm) -> Self {
        Self {
            sid,
            callback_url: asked.common.status_callback.clone(),
            request: asked,
            state: PaymentSessionState::Open,
            activity_count: 0,
            late_reports: Vec::new(),
            has_reported: false,
            entered: Vec::new(),
            account_sid: account.to_owned(),
            call_sid: call.to_owned(),
            millis: 0,
        }
    }

    /// The required fields that were not accepted yet.
    pub(crate) fn required_fields(&self) -> Vec<CaptureField> {
        self.request
            .required_fields
            .iter()
            .copied()
            .filter(|field| !self.entered.iter().any(|(known, _)| known == field))
            .collect()
    }

    /// Starts to capture a field, and discards its previous value.
    pub(crate) fn start_capture(&mut self, field: CaptureField, quirks: &Quirks) -> CallbackForm {
        self.activity_count += 1;
        self.entered.retain(|(known, _)| *known != field && Some(*known) != field.matcher());
        if field == CaptureField::SecurityCode && self.card_brand().is_none() {
            self.state = PaymentSessionState::Open;
            let error = "invalid-card-number-security-code-capture-sequence";
            return self.field_callback(field, "", Some(error), false, quirks);
        }
        self.state = PaymentSessionState::Capturing { field, entry: String::new() };
        self.field_callback(field, "", None, true, quirks)
    }

    /// Handles a key. `None` if no field is being captured.
    pub(crate) fn press_key(&mut self, key: char, quirks: &Quirks) -> Option<(CallbackForm, Option<CompletedEntry>)> {
        let PaymentSessionState::Capturing { field, entry } = &mut self.state else { return None };
        let field = *field;
        self.activity_count += 1;
        if key == '#' {
            let entry = std::mem::take(entry);
            return Some(self.finish_entry(field, &entry, None, quirks));
        }
        entry.push(key);
        let entry = entry.clone();
        if quirks.ends_at_full_length && Some(entry.len()) == self.full_length(field, &entry) {
            return Some(self.finish_entry(field, &entry, None, quirks));
        }
        Some((self.field_callback(field, &entry, None, true, quirks), None))
    }

    /// Ends an incomplete entry with `input-timeout`.
    pub(crate) fn time_out(&mut self, quirks: &Quirks) -> Option<(CallbackForm, CompletedEntry)> {
        let PaymentSessionState::Capturing { field, entry } = &self.state else { return None };
        let (field, entry) = (*field, entry.clone());
        let (callback, entered) = self.finish_entry(field, &entry, Some("input-timeout"), quirks);
        entered.map(|entered| (callback, entered))
    }

    /// The SID of its call.
    pub(crate) fn call_sid(&self) -> &str {
        &self.call_sid
    }

    /// Whether a field is being captured.
    pub(crate) fn is_capturing(&self) -> bool {
        matches!(self.state, PaymentSessionState::Capturing { .. })
    }

    /// Whether the session has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.state == PaymentSessionState::Ended
    }

    /// Ends the session. `None` if it has ended.
    pub(crate) fn end(&mut self, ending: PaymentResult, quirks: &Quirks) -> Option<CallbackForm> {
        (self.state != PaymentSessionState::Ended).then(|| self.finish(ending, &[], quirks))
    }

    /// Reports a result of its submission, also after an earlier one. `None` if the session ended for another reason.
    pub(crate) fn report(&mut self, report: &ResultReport, quirks: &Quirks) -> Option<CallbackForm> {
        if self.state == PaymentSessionState::Ended && !self.has_reported {
            return None;
        }
        self.has_reported = true;
        Some(self.finish(report.result, report.fields, quirks))
    }

    fn finish(&mut self, ending: PaymentResult, fields: &[(&str, &str)], quirks: &Quirks) -> CallbackForm {
        self.activity_count += 1;
        self.state = PaymentSessionState::Ended;
        let mut form = self.common_fields(quirks.minimal_callbacks);
        self.append_entered_values(&mut form, quirks);
        let mut put = |name: &str, value: &str| form.push((name.to_owned(), value.to_owned()));
        let charged = self.request.charge_amount.is_some();
        match ending {
            PaymentResult::Success => {
                put("Result", "success");
                put("PaymentConfirmationCode", if charged { super::CONFIRMATION_CODE } else { "" });
                put("PaymentToken", if charged { "" } else { super::PAYMENT_TOKEN });
                put("ProfileId", if charged { "" } else { "7e6a1fc3-1f0b-4c55-8a51-0d2f6d1c9a10" });
            }
            PaymentResult::Declined(code) => {
                put("Result", "payment-connector-error");
                put("PayErrorCode", &code.to_string());
                put("PaymentError", "card is declined");
                put("ConnectorError", "do_not_honor");
                put("PaymentConfirmationCode", "");
                put("PaymentToken", "");
            }
            PaymentResult::Other(word) => put("Result", word),
        }
        for (name, value) in fields {
            form.retain(|(known, _)| known != name);
            form.push(((*name).to_owned(), (*value).to_owned()));
        }
        form
    }

    /// Builds the callback about the creation of the session.
    pub(crate) fn creation_callback(&mut self, quirks: &Quirks) -> CallbackForm {
        self.common_fields(quirks.minimal_callbacks).into_iter().filter(|(name, _)| name != "DateUpdated").collect()
    }

    fn finish_entry(
        &mut self,
        field: CaptureField,
        entry: &str,
        error: Option<&'static str>,
        quirks: &Quirks,
    ) -> (CallbackForm, Option<CompletedEntry>) {
        let error = error.or_else(|| self.validate(field, entry).err());
        self.state = PaymentSessionState::Open;
        if error.is_none() {
            self.entered.push((field, entry.to_owned()));
        }
        let callback = self.field_callback(field, entry, error, false, quirks);
        (callback, Some(CompletedEntry { field, keys: entry.len(), error }))
    }

    fn validate(&self, field: CaptureField, entry: &str) -> Result<(), &'static str> {
        match field.matched_field() {
            Some(first) if self.entered_value(first) != Some(entry) => Err("input-matching-failed"),
            Some(_) => Ok(()),
            None => self.request.accepted_input.validate(field, entry, self.card_brand()),
        }
    }

    /// The accepted value of a field.
    pub(crate) fn entered_value(&self, field: CaptureField) -> Option<&str> {
        self.entered.iter().find(|(known, _)| *known == field).map(|(_, entry)| entry.as_str())
    }

    fn card_brand(&self) -> Option<CardBrand> {
        self.entered_value(CaptureField::CardNumber).and_then(CardBrand::from_number)
    }

    fn full_length(&self, field: CaptureField, entry: &str) -> Option<usize> {
        match field {
            CaptureField::CardNumber | CaptureField::CardNumberMatcher => {
                CardBrand::from_number(entry).map(CardBrand::number_length)
            }
            CaptureField::SecurityCode | CaptureField::SecurityCodeMatcher => {
                Some(self.card_brand().map_or(3, CardBrand::code_length))
            }
            CaptureField::ExpirationDate | CaptureField::ExpirationDateMatcher => Some(4),
            CaptureField::BankRoutingNumber => Some(9),
            CaptureField::PostalCode | CaptureField::PostalCodeMatcher | CaptureField::BankAccountNumber => None,
        }
    }

    /// Builds a callback about the capture of a field.
    fn field_callback(
        &mut self,
        field: CaptureField,
        entry: &str,
        error: Option<&str>,
        partial: bool,
        quirks: &Quirks,
    ) -> CallbackForm {
        let mut form = self.common_fields(quirks.minimal_callbacks);
        self.append_entered_values(&mut form, quirks);
        let mut put = |name: &str, value: String| form.push((name.to_owned(), value));
        put("Capture", field.capture_name().to_owned());
        put("PartialResult", partial.to_string());
        if !entry.is_empty() && (partial || error.is_some()) {
            put(
                field.form_name(),
                if matches!(field, CaptureField::ExpirationDate | CaptureField::BankRoutingNumber) {
                    entry.to_owned()
                } else {
                    quirks.card_mask.mask_partial(entry.len())
                },
            );
        }
        let word = |field: CaptureField| match field {
            CaptureField::PostalCode if quirks.pascal_case_required => "PostalCode",
            field if quirks.pascal_case_required => field.form_name(),
            field => field.capture_name(),
        };
        put("Required", self.required_fields().into_iter().map(word).collect::<Vec<_>>().join(","));
        match error {
            Some(error) => put("ErrorType", error.to_owned()),
            None if quirks.empty_error_type => put("ErrorType", String::new()),
            None => {}
        }
        form
    }

    fn append_entered_values(&self, form: &mut CallbackForm, quirks: &Quirks) {
        for (field, entry) in self.entered.iter().filter(|(field, _)| field.matched_field().is_none()) {
            let shown = match field {
                CaptureField::CardNumber => quirks.card_mask.mask_number(entry),
                CaptureField::SecurityCode => "x".repeat(entry.len()),
                CaptureField::BankAccountNumber => {
                    let (hidden, last) = entry.split_at(entry.len().saturating_sub(2));
                    format!("{}{last}", "*".repeat(hidden.len()))
                }
                _ => entry.clone(),
            };
            form.push((field.form_name().to_owned(), shown));
            if let (CaptureField::CardNumber, Some(brand)) = (field, CardBrand::from_number(entry)) {
                form.push(("PaymentCardType".to_owned(), brand.as_str().to_owned()));
            }
        }
    }

    /// Builds the fields that the documentation calls common, with the date of this callback.
    fn common_fields(&mut self, bare: bool) -> CallbackForm {
        self.millis += 7;
        let date = |millis: u64| {
            format!("2026-08-30T10:{:02}:{:02}.{:03}Z", millis / 60_000 % 60, millis / 1000 % 60, millis % 1000)
        };
        let mut form = CallbackForm::new();
        let mut put = |name: &str, value: &str| form.push((name.to_owned(), value.to_owned()));
        put("CallSid", &self.call_sid);
        put("Sid", &self.sid);
        put("DateUpdated", &date(self.millis));
        if bare {
            return form;
        }
        put("AccountSid", &self.account_sid);
        put("DateCreated", &date(0));
        put("PaymentConnector", &self.request.connector);
        put("PaymentMethod", &self.request.payment_method);
        if let Some(account) = &self.request.bank_account_type {
            put("BankAccountType", account);
        }
        match &self.request.charge_amount {
            Some(amount) => put("ChargeAmount", amount),
            None => put("TokenType", &self.request.token_type),
        }
        form
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::twilio::quirks::CardMask;

    fn session(rest: &str) -> PaymentSession {
        let body = format!("IdempotencyKey=k&StatusCallback=https://pay.example.com/a&PostalCode=false{rest}");
        let asked = CreateForm::parse(&body, &"https://pay.example.com".parse().unwrap()).unwrap();
        PaymentSession::new("PK1".to_owned(), "AC1", "CA1", asked)
    }

    fn get<'a>(callback: &'a CallbackForm, name: &str) -> Option<&'a str> {
        callback.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn enter(session: &mut PaymentSession, field: CaptureField, keys: &str, quirks: &Quirks) -> CallbackForm {
        session.start_capture(field, quirks);
        keys.chars().filter_map(|key| session.press_key(key, quirks)).last().expect("keys were pressed").0
    }

    #[test]
    fn an_entry_is_reported_key_by_key_and_then_as_complete() {
        let (mut session, quirks) = (session(""), Quirks::default());
        session.start_capture(CaptureField::CardNumber, &quirks);
        let (first, over) = session.press_key('4', &quirks).unwrap();
        assert!(over.is_none());
        assert_eq!((get(&first, "PartialResult"), get(&first, "PaymentCardNumber")), (Some("true"), Some("x")));
        "242424242424242".chars().for_each(|key| drop(session.press_key(key, &quirks)));
        let (last, over) = session.press_key('#', &quirks).unwrap();
        assert!(over.unwrap().error.is_none());
        assert_eq!(get(&last, "PartialResult"), Some("false"));
        assert_eq!(get(&last, "PaymentCardNumber"), Some("xxxxxxxxxxxx4242"));
        assert_eq!(get(&last, "PaymentCardType"), Some("visa"));
        assert_eq!(get(&last, "Required"), Some("expiration-date,security-code"));
        assert_eq!(get(&last, "ErrorType"), None);
    }

    #[test]
    fn a_wrong_entry_stays_required() {
        let (mut session, quirks) = (session(""), Quirks { empty_error_type: true, ..Quirks::default() });
        let over = enter(&mut session, CaptureField::CardNumber, "4242424242424241#", &quirks);
        assert_eq!(get(&over, "ErrorType"), Some("invalid-card-number"));
        assert_eq!(session.required_fields()[0], CaptureField::CardNumber);
        let over = enter(&mut session, CaptureField::CardNumber, "4242424242424242#", &quirks);
        assert_eq!(get(&over, "ErrorType"), Some(""));
    }

    #[test]
    fn the_security_code_comes_after_the_card_number() {
        let (mut session, quirks) = (session(""), Quirks::default());
        let refused = session.start_capture(CaptureField::SecurityCode, &quirks);
        assert_eq!(get(&refused, "ErrorType"), Some("invalid-card-number-security-code-capture-sequence"));
        assert_eq!(session.state, PaymentSessionState::Open);
    }

    #[test]
    fn capturing_a_field_again_puts_it_back_into_required() {
        let (mut session, quirks) = (session(""), Quirks::default());
        enter(&mut session, CaptureField::ExpirationDate, "1229#", &quirks);
        assert!(!session.required_fields().contains(&CaptureField::ExpirationDate));
        session.start_capture(CaptureField::ExpirationDate, &quirks);
        assert!(session.required_fields().contains(&CaptureField::ExpirationDate));
    }

    #[test]
    fn the_result_leaves_unused_fields_empty_and_comes_once() {
        let (mut tokenized, mut charged) = (session(""), session("&ChargeAmount=9.99"));
        let quirks = Quirks {
            minimal_callbacks: true,
            pascal_case_required: true,
            card_mask: CardMask::Stars,
            ..Quirks::default()
        };
        let done = tokenized.end(PaymentResult::Success, &quirks).unwrap();
        assert_eq!((get(&done, "PaymentConfirmationCode"), get(&done, "AccountSid")), (Some(""), None));
        let done = charged.end(PaymentResult::Success, &quirks).unwrap();
        assert_eq!(get(&done, "PaymentToken"), Some(""));
        assert!(charged.end(PaymentResult::Other("caller-hung-up"), &quirks).is_none());
    }

    #[test]
    fn a_result_may_contradict_itself_and_be_followed_by_another() {
        let (mut session, quirks) = (session("&ChargeAmount=9.99"), Quirks::default());
        let other = ResultReport::new(PaymentResult::Success).with_fields(&[("ChargeAmount", "999.00")]);
        let done = session.report(&other, &quirks).unwrap();
        assert_eq!((get(&done, "Result"), get(&done, "ChargeAmount")), (Some("success"), Some("999.00")));
        assert!(session.report(&ResultReport::new(PaymentResult::Declined(64012)), &quirks).is_some());
        assert!(session.end(PaymentResult::Other("caller-hung-up"), &quirks).is_none());
    }

    #[test]
    fn an_entry_of_full_length_ends_without_hash() {
        let (mut session, quirks) = (session(""), Quirks { ends_at_full_length: true, ..Quirks::default() });
        let over = enter(&mut session, CaptureField::CardNumber, "378282246310005", &quirks);
        assert_eq!(get(&over, "PartialResult"), Some("false"));
        assert!(session.press_key('#', &quirks).is_none());
    }

    #[test]
    fn a_repeated_entry_must_match_and_is_reset_with_its_field() {
        let quirks = Quirks::default();
        let mut session = session("&RequireMatchingInputs=payment-card-number");
        enter(&mut session, CaptureField::CardNumber, "4242424242424242#", &quirks);
        let over = enter(&mut session, CaptureField::CardNumberMatcher, "5555555555554444#", &quirks);
        assert_eq!(get(&over, "ErrorType"), Some("input-matching-failed"));
        let over = enter(&mut session, CaptureField::CardNumberMatcher, "4242424242424242#", &quirks);
        assert_eq!(get(&over, "Required"), Some("expiration-date,security-code"));
        session.start_capture(CaptureField::CardNumber, &quirks);
        assert!(session.required_fields().contains(&CaptureField::CardNumberMatcher));
    }

    #[test]
    fn a_routing_number_is_reported_in_full_and_an_account_by_its_last_two_digits() {
        let quirks = Quirks::default();
        let mut session = session("&PaymentMethod=ach-debit&Parameter={\"AVSName\":\"Ann\"}");
        enter(&mut session, CaptureField::BankRoutingNumber, "110000000#", &quirks);
        let over = enter(&mut session, CaptureField::BankAccountNumber, "000123456789#", &quirks);
        assert_eq!(get(&over, "BankRoutingNumber"), Some("110000000"));
        assert_eq!(get(&over, "BankAccountNumber"), Some("**********89"));
        assert_eq!((get(&over, "BankAccountType"), get(&over, "Required")), (Some("consumer-checking"), Some("")));
    }
}
