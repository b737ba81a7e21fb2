//! One payment session as Twilio keeps it: a state machine that is fed requests and keys and answers with callbacks.
//!
//! Pure but for the clock of the callbacks, which is its own.

use super::card::Brand;
use super::form::Create;
use super::quirks::{Ending, Report};
use super::{Field, Quirks};

/// The fields of one callback, in the order in which they are sent.
pub type Callback = Vec<(String, String)>;

/// A payment session.
#[derive(Debug)]
pub struct Session {
    /// `PK…`.
    pub sid: String,
    /// Where callbacks go: the URL of the latest request.
    pub callback: url::Url,
    /// How the session was asked for.
    pub asked: Create,
    /// What it is doing.
    pub state: State,
    /// Counts the keys and requests, so that a timer knows whether it is still meant.
    pub moves: u64,
    /// Results that come once all calls are over.
    pub late: Vec<Report>,
    /// It ended with a result of its submission.
    reported: bool,
    entered: Vec<(Field, String)>,
    account: String,
    call: String,
    millis: u64,
}

/// What a session is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Nothing is being entered.
    Open,
    /// Keys go to this field.
    Capturing {
        /// The field.
        field: Field,
        /// What was entered so far.
        entry: String,
    },
    /// `complete` was accepted.
    Completing,
    /// Over; nothing changes any more.
    Ended,
}

/// What became of an entry.
#[derive(Debug)]
pub struct Entered {
    /// The field.
    pub field: Field,
    /// How many keys.
    pub keys: usize,
    /// `ErrorType`.
    pub error: Option<&'static str>,
}

impl Session {
    /// A session that was just created.
    pub fn new(sid: String, account: &str, call: &str, asked: Create) -> Self {
        Self {
            sid,
            callback: asked.common.callback.clone(),
            asked,
            state: State::Open,
            moves: 0,
            late: Vec::new(),
            reported: false,
            entered: Vec::new(),
            account: account.to_owned(),
            call: call.to_owned(),
            millis: 0,
        }
    }

    /// The fields that are still missing.
    pub fn required(&self) -> Vec<Field> {
        self.asked.needs.iter().copied().filter(|field| !self.entered.iter().any(|(known, _)| known == field)).collect()
    }

    /// Starts the entry of a field; what stood there is gone.
    pub fn capture(&mut self, field: Field, quirks: &Quirks) -> Callback {
        self.moves += 1;
        self.entered.retain(|(known, _)| *known != field && Some(*known) != field.matcher());
        if field == Field::SecurityCode && self.brand().is_none() {
            self.state = State::Open;
            let error = "invalid-card-number-security-code-capture-sequence";
            return self.about(field, "", Some(error), false, quirks);
        }
        self.state = State::Capturing { field, entry: String::new() };
        self.about(field, "", None, true, quirks)
    }

    /// Takes one key. `None` if nothing is being entered.
    pub fn press(&mut self, key: char, quirks: &Quirks) -> Option<(Callback, Option<Entered>)> {
        let State::Capturing { field, entry } = &mut self.state else { return None };
        let field = *field;
        self.moves += 1;
        if key == '#' {
            let entry = std::mem::take(entry);
            return Some(self.over(field, &entry, None, quirks));
        }
        entry.push(key);
        let entry = entry.clone();
        if quirks.ends_at_full_length && Some(entry.len()) == self.full_length(field, &entry) {
            return Some(self.over(field, &entry, None, quirks));
        }
        Some((self.about(field, &entry, None, true, quirks), None))
    }

    /// The caller stopped in the middle of an entry.
    pub fn time_out(&mut self, quirks: &Quirks) -> Option<(Callback, Entered)> {
        let State::Capturing { field, entry } = &self.state else { return None };
        let (field, entry) = (*field, entry.clone());
        let (callback, entered) = self.over(field, &entry, Some("input-timeout"), quirks);
        entered.map(|entered| (callback, entered))
    }

    /// The call that it is on.
    pub fn call(&self) -> &str {
        &self.call
    }

    /// Ends the session. `None` if it is over already.
    pub fn end(&mut self, ending: Ending, quirks: &Quirks) -> Option<Callback> {
        (self.state != State::Ended).then(|| self.result(ending, &[], quirks))
    }

    /// Reports a result of its submission, and perhaps not the first. `None` if it ended otherwise.
    pub fn report(&mut self, report: &Report, quirks: &Quirks) -> Option<Callback> {
        if self.state == State::Ended && !self.reported {
            return None;
        }
        self.reported = true;
        Some(self.result(report.ending, report.fields, quirks))
    }

    fn result(&mut self, ending: Ending, fields: &[(&str, &str)], quirks: &Quirks) -> Callback {
        self.moves += 1;
        self.state = State::Ended;
        let mut form = self.head(quirks.bare);
        self.put_values(&mut form, quirks);
        let mut put = |name: &str, value: &str| form.push((name.to_owned(), value.to_owned()));
        let charged = self.asked.charge.is_some();
        match ending {
            Ending::Success => {
                put("Result", "success");
                put("PaymentConfirmationCode", if charged { super::CONFIRMATION } else { "" });
                put("PaymentToken", if charged { "" } else { super::TOKEN });
                put("ProfileId", if charged { "" } else { "7e6a1fc3-1f0b-4c55-8a51-0d2f6d1c9a10" });
            }
            Ending::Declined(code) => {
                put("Result", "payment-connector-error");
                put("PayErrorCode", &code.to_string());
                put("PaymentError", "card is declined");
                put("ConnectorError", "do_not_honor");
                put("PaymentConfirmationCode", "");
                put("PaymentToken", "");
            }
            Ending::Word(word) => put("Result", word),
        }
        for (name, value) in fields {
            form.retain(|(known, _)| known != name);
            form.push(((*name).to_owned(), (*value).to_owned()));
        }
        form
    }

    /// The callback that tells of the session's creation.
    pub fn created(&mut self, quirks: &Quirks) -> Callback {
        self.head(quirks.bare).into_iter().filter(|(name, _)| name != "DateUpdated").collect()
    }

    fn over(
        &mut self,
        field: Field,
        entry: &str,
        error: Option<&'static str>,
        quirks: &Quirks,
    ) -> (Callback, Option<Entered>) {
        let error = error.or_else(|| self.verdict(field, entry).err());
        self.state = State::Open;
        if error.is_none() {
            self.entered.push((field, entry.to_owned()));
        }
        let callback = self.about(field, entry, error, false, quirks);
        (callback, Some(Entered { field, keys: entry.len(), error }))
    }

    fn verdict(&self, field: Field, entry: &str) -> Result<(), &'static str> {
        match field.matches() {
            Some(first) if self.value(first) != Some(entry) => Err("input-matching-failed"),
            Some(_) => Ok(()),
            None => self.asked.taken.verdict(field, entry, self.brand()),
        }
    }

    /// What was entered for a field and taken.
    pub fn value(&self, field: Field) -> Option<&str> {
        self.entered.iter().find(|(known, _)| *known == field).map(|(_, entry)| entry.as_str())
    }

    fn brand(&self) -> Option<Brand> {
        self.value(Field::CardNumber).and_then(Brand::of)
    }

    fn full_length(&self, field: Field, entry: &str) -> Option<usize> {
        match field {
            Field::CardNumber | Field::CardNumberMatcher => Brand::of(entry).map(Brand::number_length),
            Field::SecurityCode | Field::SecurityCodeMatcher => Some(self.brand().map_or(3, Brand::code_length)),
            Field::ExpirationDate | Field::ExpirationDateMatcher => Some(4),
            Field::BankRoutingNumber => Some(9),
            Field::PostalCode | Field::PostalCodeMatcher | Field::BankAccountNumber => None,
        }
    }

    /// A callback about the entry of a field.
    fn about(&mut self, field: Field, entry: &str, error: Option<&str>, partial: bool, quirks: &Quirks) -> Callback {
        let mut form = self.head(quirks.bare);
        self.put_values(&mut form, quirks);
        let mut put = |name: &str, value: String| form.push((name.to_owned(), value));
        put("Capture", field.kebab().to_owned());
        put("PartialResult", partial.to_string());
        if !entry.is_empty() && (partial || error.is_some()) {
            put(
                field.pascal(),
                if matches!(field, Field::ExpirationDate | Field::BankRoutingNumber) {
                    entry.to_owned()
                } else {
                    quirks.mask.partial(entry.len())
                },
            );
        }
        let word = |field: Field| match field {
            Field::PostalCode if quirks.pascal => "PostalCode",
            field if quirks.pascal => field.pascal(),
            field => field.kebab(),
        };
        put("Required", self.required().into_iter().map(word).collect::<Vec<_>>().join(","));
        match error {
            Some(error) => put("ErrorType", error.to_owned()),
            None if quirks.empty_error => put("ErrorType", String::new()),
            None => {}
        }
        form
    }

    fn put_values(&self, form: &mut Callback, quirks: &Quirks) {
        for (field, entry) in self.entered.iter().filter(|(field, _)| field.matches().is_none()) {
            let shown = match field {
                Field::CardNumber => quirks.mask.whole(entry),
                Field::SecurityCode => "x".repeat(entry.len()),
                Field::BankAccountNumber => {
                    let (hidden, last) = entry.split_at(entry.len().saturating_sub(2));
                    format!("{}{last}", "*".repeat(hidden.len()))
                }
                _ => entry.clone(),
            };
            form.push((field.pascal().to_owned(), shown));
            if let (Field::CardNumber, Some(brand)) = (field, Brand::of(entry)) {
                form.push(("PaymentCardType".to_owned(), brand.word().to_owned()));
            }
        }
    }

    /// The fields that the documentation calls common, and the date of this callback.
    fn head(&mut self, bare: bool) -> Callback {
        self.millis += 7;
        let date = |millis: u64| {
            format!("2026-08-30T10:{:02}:{:02}.{:03}Z", millis / 60_000 % 60, millis / 1000 % 60, millis % 1000)
        };
        let mut form = Callback::new();
        let mut put = |name: &str, value: &str| form.push((name.to_owned(), value.to_owned()));
        put("CallSid", &self.call);
        put("Sid", &self.sid);
        put("DateUpdated", &date(self.millis));
        if bare {
            return form;
        }
        put("AccountSid", &self.account);
        put("DateCreated", &date(0));
        put("PaymentConnector", &self.asked.connector);
        put("PaymentMethod", &self.asked.method);
        if let Some(account) = &self.asked.account_type {
            put("BankAccountType", account);
        }
        match &self.asked.charge {
            Some(amount) => put("ChargeAmount", amount),
            None => put("TokenType", &self.asked.token_type),
        }
        form
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::twilio::quirks::Mask;

    fn session(rest: &str) -> Session {
        let body = format!("IdempotencyKey=k&StatusCallback=https://pay.example.com/a&PostalCode=false{rest}");
        let asked = Create::read(&body, &"https://pay.example.com".parse().unwrap()).unwrap();
        Session::new("PK1".to_owned(), "AC1", "CA1", asked)
    }

    fn get<'a>(callback: &'a Callback, name: &str) -> Option<&'a str> {
        callback.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn enter(session: &mut Session, field: Field, keys: &str, quirks: &Quirks) -> Callback {
        session.capture(field, quirks);
        keys.chars().filter_map(|key| session.press(key, quirks)).last().expect("keys were pressed").0
    }

    #[test]
    fn an_entry_is_reported_key_by_key_and_then_as_over() {
        let (mut session, quirks) = (session(""), Quirks::default());
        session.capture(Field::CardNumber, &quirks);
        let (first, over) = session.press('4', &quirks).unwrap();
        assert!(over.is_none());
        assert_eq!((get(&first, "PartialResult"), get(&first, "PaymentCardNumber")), (Some("true"), Some("x")));
        "242424242424242".chars().for_each(|key| drop(session.press(key, &quirks)));
        let (last, over) = session.press('#', &quirks).unwrap();
        assert!(over.unwrap().error.is_none());
        assert_eq!(get(&last, "PartialResult"), Some("false"));
        assert_eq!(get(&last, "PaymentCardNumber"), Some("xxxxxxxxxxxx4242"));
        assert_eq!(get(&last, "PaymentCardType"), Some("visa"));
        assert_eq!(get(&last, "Required"), Some("expiration-date,security-code"));
        assert_eq!(get(&last, "ErrorType"), None);
    }

    #[test]
    fn a_wrong_entry_stays_required() {
        let (mut session, quirks) = (session(""), Quirks { empty_error: true, ..Quirks::default() });
        let over = enter(&mut session, Field::CardNumber, "4242424242424241#", &quirks);
        assert_eq!(get(&over, "ErrorType"), Some("invalid-card-number"));
        assert_eq!(session.required()[0], Field::CardNumber);
        let over = enter(&mut session, Field::CardNumber, "4242424242424242#", &quirks);
        assert_eq!(get(&over, "ErrorType"), Some(""));
    }

    #[test]
    fn the_security_code_comes_after_the_card_number() {
        let (mut session, quirks) = (session(""), Quirks::default());
        let refused = session.capture(Field::SecurityCode, &quirks);
        assert_eq!(get(&refused, "ErrorType"), Some("invalid-card-number-security-code-capture-sequence"));
        assert_eq!(session.state, State::Open);
    }

    #[test]
    fn capturing_a_field_again_puts_it_back_into_required() {
        let (mut session, quirks) = (session(""), Quirks::default());
        enter(&mut session, Field::ExpirationDate, "1229#", &quirks);
        assert!(!session.required().contains(&Field::ExpirationDate));
        session.capture(Field::ExpirationDate, &quirks);
        assert!(session.required().contains(&Field::ExpirationDate));
    }

    #[test]
    fn the_result_leaves_unused_fields_empty_and_comes_once() {
        let (mut tokenized, mut charged) = (session(""), session("&ChargeAmount=9.99"));
        let quirks = Quirks { bare: true, pascal: true, mask: Mask::Stars, ..Quirks::default() };
        let done = tokenized.end(Ending::Success, &quirks).unwrap();
        assert_eq!((get(&done, "PaymentConfirmationCode"), get(&done, "AccountSid")), (Some(""), None));
        let done = charged.end(Ending::Success, &quirks).unwrap();
        assert_eq!(get(&done, "PaymentToken"), Some(""));
        assert!(charged.end(Ending::Word("caller-hung-up"), &quirks).is_none());
    }

    #[test]
    fn a_result_may_contradict_itself_and_be_followed_by_another() {
        let (mut session, quirks) = (session("&ChargeAmount=9.99"), Quirks::default());
        let other = Report::of(Ending::Success).with(&[("ChargeAmount", "999.00")]);
        let done = session.report(&other, &quirks).unwrap();
        assert_eq!((get(&done, "Result"), get(&done, "ChargeAmount")), (Some("success"), Some("999.00")));
        assert!(session.report(&Report::of(Ending::Declined(64012)), &quirks).is_some());
        assert!(session.end(Ending::Word("caller-hung-up"), &quirks).is_none());
    }

    #[test]
    fn a_full_entry_ends_by_itself_where_it_is_told_to() {
        let (mut session, quirks) = (session(""), Quirks { ends_at_full_length: true, ..Quirks::default() });
        let over = enter(&mut session, Field::CardNumber, "378282246310005", &quirks);
        assert_eq!(get(&over, "PartialResult"), Some("false"));
        assert!(session.press('#', &quirks).is_none());
    }

    #[test]
    fn what_is_entered_again_has_to_match_and_goes_with_its_field() {
        let quirks = Quirks::default();
        let mut session = session("&RequireMatchingInputs=payment-card-number");
        enter(&mut session, Field::CardNumber, "4242424242424242#", &quirks);
        let over = enter(&mut session, Field::CardNumberMatcher, "5555555555554444#", &quirks);
        assert_eq!(get(&over, "ErrorType"), Some("input-matching-failed"));
        let over = enter(&mut session, Field::CardNumberMatcher, "4242424242424242#", &quirks);
        assert_eq!(get(&over, "Required"), Some("expiration-date,security-code"));
        session.capture(Field::CardNumber, &quirks);
        assert!(session.required().contains(&Field::CardNumberMatcher));
    }

    #[test]
    fn a_routing_number_is_told_in_full_and_an_account_by_its_last_two_digits() {
        let quirks = Quirks::default();
        let mut session = session("&PaymentMethod=ach-debit&Parameter={\"AVSName\":\"Ann\"}");
        enter(&mut session, Field::BankRoutingNumber, "110000000#", &quirks);
        let over = enter(&mut session, Field::BankAccountNumber, "000123456789#", &quirks);
        assert_eq!(get(&over, "BankRoutingNumber"), Some("110000000"));
        assert_eq!(get(&over, "BankAccountNumber"), Some("**********89"));
        assert_eq!((get(&over, "BankAccountType"), get(&over, "Required")), (Some("consumer-checking"), Some("")));
    }
}
