//! Reads the steps of a payment session, so that the server that takes up its call restores the session.

use jiff::Timestamp;
use serde::Deserialize;

use super::{LedgerError, LedgerTransaction, Payment};
use crate::ids::PaymentSid;
use crate::payment::{
    Amount, CallbackDigest, ConsentAnswer, ConsentPurpose, ConsentRecord, EntryReport, Field, Fields, Last4,
    RecordedStep, TwilioResponse, UpdateAction, text_sha256,
};

/// The events of a payment that are steps of its session, in order.
pub(super) const FIND_STEPS: &str = "SELECT kind, data, delivery FROM events WHERE payment_id = $1 AND kind IN \
     ('opening', 'opened', 'asking', 'answered', 'entered', 'wrong', 'ended') ORDER BY id";

/// The statement that the caller agreed to before the payment began.
pub(super) const FIND_CONSENT: &str =
    "SELECT data FROM events WHERE payment_id = $1 AND kind = 'agreed' ORDER BY id LIMIT 1";

const UNREADABLE: LedgerError = LedgerError::Unreadable("the data of an event");

/// The data of an event that is a step. Which members it has depends on its kind.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StepData {
    payment_sid: Option<String>,
    key: Option<String>,
    change: Option<String>,
    to: Option<String>,
    answer: Option<String>,
    code: Option<u32>,
    field: Option<String>,
    error: Option<String>,
    required: Option<Vec<String>>,
    date_updated: Option<Timestamp>,
    last4: Option<String>,
}

/// The data of a statement.
#[derive(Debug, Deserialize)]
struct StatementData {
    purpose: String,
    currency: Option<String>,
    minor: Option<u64>,
    text: String,
    /// Earlier versions did not record it: their texts are as spoken.
    sha256: Option<String>,
    language: String,
    version: String,
    answer: String,
}

impl LedgerTransaction {
    /// Reads the steps of the session of a payment, in the order in which they were recorded.
    pub(super) async fn read_recorded_steps(&mut self, payment: &Payment) -> Result<Vec<RecordedStep>, LedgerError> {
        let rows = sqlx::query_as(FIND_STEPS).bind(payment.id.to_string());
        let rows: Vec<(String, String, Option<String>)> = rows.fetch_all(&mut self.transaction).await?;
        let read = |(kind, data, delivery): &(String, String, Option<String>)| {
            read_step(kind, data, delivery.as_deref(), payment.payment_sid.as_ref())
        };
        rows.iter().filter_map(|row| read(row).transpose()).collect()
    }

    /// Reads the caller's consent to a payment, if it was asked for.
    pub(super) async fn read_consent(&mut self, payment: &Payment) -> Result<Option<ConsentRecord>, LedgerError> {
        let data = sqlx::query_scalar(FIND_CONSENT).bind(payment.id.to_string());
        let data: Option<String> = data.fetch_optional(&mut self.transaction).await?;
        data.map(|data| read_statement(&data).ok_or(LedgerError::Unreadable("a statement"))).transpose()
    }
}

/// Reads an event. `None` if it is not a step.
fn read_step(
    kind: &str,
    data: &str,
    delivery: Option<&str>,
    sid: Option<&PaymentSid>,
) -> Result<Option<RecordedStep>, LedgerError> {
    let data: StepData = serde_json::from_str(data).map_err(|_| UNREADABLE)?;
    let step = match kind {
        "opening" => Some(RecordedStep::CreateRequested),
        "opened" => data.payment_sid.map(PaymentSid::from_stored).map(RecordedStep::SessionCreated),
        "asking" => data.action().zip(data.key).map(|(action, key)| RecordedStep::UpdateRequested { action, key }),
        "answered" if data.to.as_deref() == Some("create") => data.response(sid).map(RecordedStep::CreateAnswered),
        "answered" => {
            let answered = data.answered_action().zip(data.response(sid));
            answered.map(|(action, response)| RecordedStep::UpdateAnswered { action, key: data.key, response })
        }
        "entered" => {
            let entered = data.field().zip(data.report(delivery));
            entered.map(|(field, report)| RecordedStep::FieldEntered { field, report })
        }
        "wrong" => data.rejected_entry(delivery),
        "ended" => Some(RecordedStep::SessionEnded),
        _ => return Ok(None),
    };
    step.ok_or(UNREADABLE).map(Some)
}

impl StepData {
    fn action(&self) -> Option<UpdateAction> {
        UpdateAction::from_wire(self.change.as_deref()?)
    }

    fn answered_action(&self) -> Option<UpdateAction> {
        UpdateAction::from_wire(self.to.as_deref()?)
    }

    fn field(&self) -> Option<Field> {
        Field::from_wire(self.field.as_deref()?)
    }

    /// Twilio's response. The SID that it contains is recorded with the payment.
    fn response(&self, sid: Option<&PaymentSid>) -> Option<TwilioResponse> {
        match self.answer.as_deref()? {
            // The SID belongs to another payment: to ask again gives it again.
            "created" => Some(sid.map_or(TwilioResponse::Unknown, |sid| TwilioResponse::Created(sid.clone()))),
            "accepted" => Some(TwilioResponse::Accepted),
            "refused" => Some(TwilioResponse::Refused { code: self.code, reason: "Twilio refused the request." }),
            "gone" => Some(TwilioResponse::Gone),
            "none" => Some(TwilioResponse::Unknown),
            _ => None,
        }
    }

    fn rejected_entry(&self, delivery: Option<&str>) -> Option<RecordedStep> {
        let field = match &self.field {
            Some(name) => Some(Field::from_wire(name)?),
            None => None,
        };
        let error = self.error.as_deref()?.parse().ok()?;
        Some(RecordedStep::EntryRejected { field, error, report: self.report(delivery)? })
    }

    /// What is recorded of the callback. Its delivery key is the digest, followed by the number of capture requests if it
    /// has no date.
    fn report(&self, delivery: Option<&str>) -> Option<EntryReport> {
        let delivery = delivery?;
        let (digest, is_dated) = delivery.split_once(' ').map_or((delivery, true), |(digest, _)| (digest, false));
        let digest: CallbackDigest = digest.parse().ok()?;
        let required: Option<Fields> = match &self.required {
            Some(names) => Some(names.iter().map(|name| Field::from_wire(name)).collect::<Option<_>>()?),
            None => None,
        };
        let last4 = self.last4.as_deref().and_then(Last4::from_account_mask);
        Some(EntryReport { digest, is_dated, date_updated: self.date_updated, required, last4 })
    }
}

/// Reads the data of a statement that was answered.
pub(super) fn read_statement(data: &str) -> Option<ConsentRecord> {
    let data: StatementData = serde_json::from_str(data).ok()?;
    let amount = || Amount::from_minor(data.minor?, data.currency.as_deref()?.parse().ok()?);
    let purpose = match data.purpose.as_str() {
        "charge" => ConsentPurpose::Charge(amount()?),
        "charge-again" => ConsentPurpose::ChargeAgain(amount()?),
        "go-on" => ConsentPurpose::SubmitOpenPayment,
        "bank-debit" => ConsentPurpose::BankDebit(amount()?),
        "stored-card" => ConsentPurpose::StoredCard,
        _ => return None,
    };
    let answers = [ConsentAnswer::Yes, ConsentAnswer::No, ConsentAnswer::Unclear];
    let answer = answers.into_iter().find(|answer| answer.as_str() == data.answer)?;
    let StatementData { text, sha256, language, version, .. } = data;
    let sha256 = sha256.unwrap_or_else(|| text_sha256(&text));
    Some(ConsentRecord { purpose, text, sha256, language, text_version: version, answer })
}
