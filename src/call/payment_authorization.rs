//! The caller's authorisation that a payment needs besides a yes to its amount: to debit a bank account
//! (`Compliance.achAuthorization`), and to store a card or an account (`Compliance.storedCard`).
//!
//! It names the last digits, so that the server says it when all fields are entered, and nothing is submitted without a yes
//! to it.

use std::time::Instant;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::compliance_text::{BUSINESS, ComplianceText, NAME};
use super::consent_question::ConsentQuestion;
use super::{Call, prompts, spoken_amount, spoken_details};
use crate::payment::{
    Amount, Capture, CaptureStage, ConsentAnswer, ConsentPurpose, ConsentRecord, PaymentMethod, PaymentTerms,
    SpokenStatement, TokenType,
};
use crate::phone_number::PhoneNumber;

/// The placeholders of `Compliance.achAuthorization`, besides that of the business.
pub(crate) const BANK_DEBIT_PLACEHOLDERS: &[&str] = &[BUSINESS, AMOUNT, NAME, ACCOUNT, DATE, PHONE];

/// What the rules of Nacha require an authorisation of a debit by telephone to state, as far as it differs from call to call.
pub(crate) const BANK_DEBIT_CONTENTS: &[&str] = &[AMOUNT, NAME, ACCOUNT, DATE, PHONE];

/// What the rules of card networks require an agreement to store a card to name.
pub(crate) const STORED_CARD_CONTENTS: &[&str] = &[ACCOUNT];

/// The placeholders of `Compliance.storedCard`.
pub(crate) const STORED_CARD_PLACEHOLDERS: &[&str] = &[BUSINESS, ACCOUNT, DATE, PHONE];

/// The parameter of an order that says that the called person is a customer already. Bank debits by telephone need that where the
/// business calls (Nacha, TEL entries).
const RELATIONSHIP: &str = "relationship";

const AMOUNT: &str = "amount";
const ACCOUNT: &str = "account";
const DATE: &str = "date";
const PHONE: &str = "phone";

/// What callers authorise, and what its texts name.
#[derive(Debug, Clone)]
pub struct AuthorizationSettings {
    /// `Compliance.achAuthorization`. `None` if it is `false`.
    pub bank_debit: Option<ComplianceText>,
    /// `Compliance.storedCard`. `None` if it is `false`.
    pub stored_card: Option<ComplianceText>,
    /// `BUSINESS_NAME`.
    pub business_name: Option<String>,
    /// The number for questions and for revoking: `BUSINESS_PHONE`, or else the server's own.
    pub phone: PhoneNumber,
    /// Where it is today: `Compliance.timeZone`.
    pub time_zone: TimeZone,
}

/// The wall clock, for a call whose time is otherwise that of the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WallClock {
    /// A time of the monotonic clock.
    pub(crate) now: Instant,
    /// The same time of the wall clock.
    pub(crate) at: Timestamp,
}

impl WallClock {
    /// The time of the wall clock at a time of the monotonic clock that is not earlier.
    fn at(&self, now: Instant) -> Timestamp {
        let elapsed = now.saturating_duration_since(self.now);
        self.at.checked_add(elapsed).unwrap_or(self.at)
    }
}

impl Call {
    /// The authorisation without which the open payment is not submitted, unless the caller has given it.
    fn missing_authorization(&self) -> Option<ConsentPurpose> {
        let capture = self.payments.open().filter(|capture| capture.stage() == CaptureStage::Open)?;
        let is_due = capture.missing().is_empty() && !capture.is_authorized();
        self.required_authorization(capture).filter(|_| is_due)
    }

    fn required_authorization(&self, capture: &Capture) -> Option<ConsentPurpose> {
        let settings = &self.settings.authorizations;
        match (capture.charge(), &capture.terms().method, capture.terms().token_type) {
            (Some(amount), PaymentMethod::AchDebit { .. }, _) => {
                settings.bank_debit.as_ref().map(|_| ConsentPurpose::BankDebit(amount))
            }
            (Some(_), PaymentMethod::Card(_), _) | (None, _, TokenType::OneTime) => None,
            (None, _, TokenType::Reusable | TokenType::PaymentMethod) => {
                settings.stored_card.as_ref().map(|_| ConsentPurpose::StoredCard)
            }
        }
    }

    /// Asks for the authorisation if the open payment may not be submitted without it. Returns whether it does. The error is
    /// a tool output.
    pub(super) fn ask_for_authorization(&mut self) -> Result<bool, String> {
        let Some(purpose) = self.missing_authorization() else { return Ok(false) };
        self.check_can_ask()?;
        if self.authorization_text(purpose).is_none() {
            return Err(prompts::refusal(prompts::NO_AUTHORIZATION_TEXT));
        }
        self.ask_question(ConsentQuestion::authorize(purpose));
        Ok(true)
    }

    /// What the server says to have the open payment authorised. `None` if the text cannot be filled in, or there is no payment.
    pub(super) fn authorization_text(&self, purpose: ConsentPurpose) -> Option<SpokenStatement> {
        let settings = &self.settings.authorizations;
        let capture = self.payments.open()?;
        let text = match purpose {
            ConsentPurpose::BankDebit(_) => settings.bank_debit.as_ref(),
            _ => settings.stored_card.as_ref(),
        }?;
        // The details are in the language of the text, which need not be that of the call.
        let language = text.nearest_language(self.language()).to_owned();
        let language = language.as_str();
        let amount = purpose.amount().map(|amount| spoken_amount::format_spoken(amount, language));
        let account = spoken_details::describe_account(&capture.terms().method, capture.last4(), language);
        let today = settings.time_zone.to_datetime(self.clock.at(self.now)).date();
        let date = spoken_details::format_date(today, language);
        let phone = spoken_details::format_number(&settings.phone);
        let name = match &capture.terms().method {
            PaymentMethod::AchDebit { avs_name, .. } => Some(avs_name.reveal()),
            PaymentMethod::Card(_) => None,
        };
        let values = [
            (BUSINESS, settings.business_name.as_deref()),
            (AMOUNT, amount.as_deref()),
            (NAME, name),
            (ACCOUNT, Some(account.as_str())),
            (DATE, Some(date.as_str())),
            (PHONE, Some(phone.as_str())),
        ];
        let known: Vec<(&str, &str)> = values.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        text.fill(&known).find(language).cloned()
    }

    /// Applies the caller's answer to the authorisation. The server submits the payment itself where it leads.
    pub(super) fn apply_authorization_answer(
        &mut self,
        purpose: ConsentPurpose,
        answer: ConsentAnswer,
        agreed: Option<ConsentRecord>,
    ) {
        if let (ConsentAnswer::Yes, Some(agreed), Some(capture)) = (answer, agreed, self.payments.open_mut()) {
            capture.authorize(agreed);
        }
        if self.is_server_leading() {
            return self.apply_submission_answer(answer);
        }
        self.note(prompts::authorization_answer(purpose, answer));
        self.turn.owe_response();
    }

    /// Whether the question is void: what it is about has closed, is entered anew, or was submitted.
    pub(super) fn is_authorization_void(&self) -> bool {
        self.missing_authorization().is_none()
    }

    /// Checks that the rules of bank debits allow a payment on this call: nobody is called to debit an account without knowing
    /// the business, and an account is not stored, since later debits need more than a yes on the telephone. The error is a
    /// tool output.
    pub(super) fn check_bank_account(&self, terms: &PaymentTerms, charge: Option<Amount>) -> Result<(), String> {
        if matches!(terms.method, PaymentMethod::Card(_)) {
            return Ok(());
        }
        let knows_business = || self.authorization.parameters().get(RELATIONSHIP).is_some_and(|value| value == "true");
        match terms.token_type {
            TokenType::Reusable | TokenType::PaymentMethod if charge.is_none() => {
                Err(prompts::refusal(prompts::NO_STORED_ACCOUNT))
            }
            _ if self.is_outbound && !knows_business() => Err(prompts::refusal(prompts::NO_RELATIONSHIP)),
            _ => Ok(()),
        }
    }
}
