//! Describes the events of a payment in plain words. The match over the kinds is exhaustive: a new kind needs its words.

use serde_json::Value;

use super::clean::clean_text;
use crate::ledger::{EventKind, PaymentState};
use crate::payment::{CallerAttestation, Field};

/// The kind of the statements on a call.
pub(super) const STATEMENT: &str = "statement";

/// The kind of the steps of the recording of a call.
const RECORDING: &str = "recording";

/// Describes an event of a payment, or a statement on its call. `currency` is that of the payment, if it is known.
pub(super) fn describe_event(kind: &str, data: &Value, currency: Option<&str>) -> String {
    let data = EventData { data, currency };
    match EventKind::from_stored(kind) {
        Some(kind) => data.describe(kind),
        None if kind == STATEMENT => data.describe_statement(),
        None if kind == RECORDING => data.describe_recording(),
        None if kind == "consent" => format!(
            "The call was placed on a consent of the kind {}, given at {}, reference {}.",
            data.or_unknown("kind"),
            data.or_unknown("at"),
            data.or_unknown("reference")
        ),
        None if kind == "do-not-call" => "The person on the line asked not to be called again.".to_owned(),
        None => format!("An event of the kind {kind:?}, which this version of the program does not know."),
    }
}

/// Describes a state of a payment.
pub(super) fn describe_state(state: PaymentState) -> &'static str {
    match state {
        PaymentState::Opened => "a session is requested or open",
        PaymentState::Capturing => "the capture of a field was requested",
        PaymentState::Submitted => "it was submitted; its result has not come yet",
        PaymentState::Pending => "a bank debit is accepted and not settled yet",
        PaymentState::Charged => "the amount was charged",
        PaymentState::Tokenized => "the card or account was stored, and nothing was charged",
        PaymentState::Declined => "the bank declined it; nothing was charged",
        PaymentState::Failed => "nothing was charged, for a technical reason",
        PaymentState::Cancelled => "it was cancelled before it was submitted; nothing was charged",
        PaymentState::Abandoned => "it was given up before it was submitted; nothing was charged",
        PaymentState::Unknown => "it was submitted, and its result is unknown: it may have been charged",
        PaymentState::Returned => "the bank returned the debit",
        PaymentState::Refunded => "the whole charge was refunded",
        PaymentState::Disputed => "the payer disputes the charge",
    }
}

/// Describes the attestation of a caller's number, by its name in the ledger.
pub(super) fn describe_attestation(name: &str) -> String {
    let meaning = match CallerAttestation::from_stored(name) {
        Some(CallerAttestation::Full) => "the network knows the caller, and that the number is the caller's",
        Some(CallerAttestation::Partial) => "the network knows the caller, but not whether the number is the caller's",
        Some(CallerAttestation::Gateway) => "the network knows only where the call came from",
        Some(CallerAttestation::Failed) => "the signature of the number is wrong",
        Some(CallerAttestation::Unsigned) => "the number is not signed",
        None => "not known to this version of the program",
    };
    format!("{} ({meaning})", clean_text(name))
}

/// The data of an event.
struct EventData<'a> {
    data: &'a Value,
    currency: Option<&'a str>,
}

impl EventData<'_> {
    fn describe(&self, kind: EventKind) -> String {
        match kind {
            EventKind::CallerAttested => format!(
                "The caller's network attests the caller's number: {}.",
                describe_attestation(&self.text("attestation").unwrap_or_default())
            ),
            EventKind::CreateRequested => "The server asked Twilio to open a payment session.".to_owned(),
            EventKind::SessionCreated => {
                format!("Twilio opened the payment session {}.", self.or_unknown("paymentSid"))
            }
            EventKind::SessionFound => format!(
                "A payment session came to light that this ledger had not asked for: {}{}.",
                self.or_unknown("paymentSid"),
                self.after(", amount ", "chargeAmount")
            ),
            EventKind::UpdateRequested => format!("The server asked Twilio {}.", self.request("change")),
            EventKind::ResponseReceived => self.describe_response(),
            EventKind::FieldEntered => format!(
                "The caller entered the {} on the keypad{}.",
                self.field(),
                self.after("; the last digits are ", "last4")
            ),
            EventKind::EntryRejected => {
                format!("Twilio rejected the entry of the {}: {}.", self.field(), self.or_unknown("error"))
            }
            EventKind::StatementAgreed => {
                format!("The payment begins on the caller's agreement to this statement. {}", self.statement())
            }
            EventKind::Authorized => {
                format!("The payment is submitted on the caller's authorisation. {}", self.statement())
            }
            EventKind::SessionEnded => self.describe_result(),
            EventKind::CardFailed => format!(
                "The card counts as failed{}{}{}.",
                self.after(", with the error ", "code"),
                self.after(", last digits ", "last4"),
                if self.is_true("atOnce") { "; Twilio refused the submission at once" } else { "" }
            ),
            EventKind::CardRecovered => "The card that counted as failed succeeded after all.".to_owned(),
            EventKind::CardTesting => format!(
                "The failed cards look like card testing ({}{}).",
                self.or_unknown("seen"),
                self.after(", last digits ", "last4")
            ),
            EventKind::LimitExceeded => format!(
                "The server did not ask Twilio {}: the velocity limit {} was reached.",
                self.request("change"),
                self.or_unknown("by")
            ),
            EventKind::Abandoned => format!("The server gave the payment up: {}.", self.or_unknown("why")),
            EventKind::Settled => format!(
                "{} recorded the outcome {}{}{}{}.",
                self.operator(),
                self.or_unknown("outcome"),
                self.after(", in place of ", "corrects"),
                self.after(", confirmation code ", "confirmationCode"),
                self.quoted(", with the note ", "note")
            ),
            EventKind::Refunded => self.describe_refund("a refund"),
            EventKind::Disputed => self.describe_refund("a dispute"),
            EventKind::ReceiptRequested => format!(
                "The server asked Twilio to send the receipt to the caller's number{}, attempt {}.",
                self.after(" in ", "language"),
                self.or_unknown("attempt")
            ),
            EventKind::Receipt => self.describe_receipt(),
            EventKind::PersonalDataErased => {
                "The caller's number, the references and the description were erased from the ledger.".to_owned()
            }
            EventKind::Delivered => match self.text("attempts").as_deref() {
                Some("1") | None => "The business accepted an event about the payment.".to_owned(),
                Some(attempts) => format!("The business accepted an event about the payment, at attempt {attempts}."),
            },
            EventKind::TokenExpiring => {
                format!("The payment token is not delivered yet; it will be erased at {}.", self.or_unknown("at"))
            }
            EventKind::TokenErased if self.is_true("undelivered") => {
                "The payment token was erased without being delivered.".to_owned()
            }
            EventKind::TokenErased => "The payment token was erased from the ledger.".to_owned(),
        }
    }

    fn describe_response(&self) -> String {
        let code = self.after(", with the error ", "code");
        let request = self.request("to");
        match self.text("answer").as_deref() {
            Some("created" | "accepted") => format!("Twilio accepted the request {request}."),
            Some("refused") => format!("Twilio refused the request {request}{code}."),
            Some("gone") => format!("Twilio answered the request {request}: the session or the call is over."),
            _ => format!("Twilio's answer to the request {request} did not arrive."),
        }
    }

    fn describe_result(&self) -> String {
        let doubt = if self.is_true("doubtful") { " It contradicts what else is known." } else { "" };
        let outcome = self.text("outcome").map(|outcome| format!(" The outcome: {outcome}.")).unwrap_or_default();
        format!(
            "Twilio reported the result {}{}{}{}{}{}.{outcome}{doubt}",
            self.or_unknown("result"),
            self.after(", amount ", "chargeAmount"),
            self.after(", confirmation code ", "confirmationCode"),
            self.after(", status of the connector ", "connectorStatus"),
            self.after(", with the error ", "code"),
            self.quoted(", ", "text"),
        )
    }

    fn describe_receipt(&self) -> String {
        let code = self.after(", with the error ", "code");
        match self.text("state").as_deref() {
            Some("sent") => format!(
                "Twilio took the receipt as the text message {}{}.",
                self.or_unknown("messageSid"),
                self.after(", version of the text ", "version")
            ),
            Some("impossible") => format!("No receipt can be sent: the caller's number takes no text messages{code}."),
            Some("unknown") => "It is not known whether the receipt was sent. It is not sent again.".to_owned(),
            Some("due") => format!("The receipt was not sent{code}. It is tried again."),
            _ => format!("The receipt is not sent{}{code}.", self.after(": ", "why")),
        }
    }

    fn describe_refund(&self, what: &str) -> String {
        let currency = self.currency.map(|currency| format!(" {currency}")).unwrap_or_default();
        format!(
            "{} recorded {what} of {}{currency}, reference {}{}.",
            self.operator(),
            self.or_unknown("amount"),
            self.or_unknown("reference"),
            self.after(", which took place at ", "at")
        )
    }

    /// A statement on a call: a question with its answer, or what the caller was only told.
    fn describe_statement(&self) -> String {
        let told = match self.text("purpose").as_deref() {
            Some("disclosure") => "that the agent is a machine",
            Some("recording") => "that the call is recorded",
            _ => return format!("The server asked the caller. {}", self.statement()),
        };
        format!("The caller heard {told}. {}", self.said())
    }

    /// A step of the recording of a call.
    fn describe_recording(&self) -> String {
        let what = match self.text("step").as_deref() {
            Some("start") => "to record the call",
            Some("pause") => "to pause the recording",
            Some("resume") => "to go on with the recording",
            Some("stop") => "to end the recording",
            _ => "for a step of the recording",
        };
        let recording = self.after(" ", "recordingSid");
        match self.text("answer").as_deref() {
            Some("asked") => format!("The server asked Twilio {what}."),
            Some("done") => format!("Twilio has confirmed the request {what}{recording}."),
            Some("refused") => format!("Twilio refused the request {what}{}.", self.after(", with the error ", "code")),
            Some("gone") => {
                format!("Twilio answered the request {what}: there is no such recording, or the call is over.")
            }
            _ => format!("Twilio did not confirm the request {what}."),
        }
    }

    /// What was said, in which language and version of the text, and the answer.
    fn statement(&self) -> String {
        let asks_for = match self.text("purpose").as_deref() {
            Some("charge") => "consent to a charge",
            Some("charge-again") => "consent to a charge although the same amount was paid shortly before",
            Some("go-on") => "consent to go on with the payment",
            Some("bank-debit") => "the authorisation of one debit of a bank account",
            Some("stored-card") => "the agreement to store the card",
            _ => "consent",
        };
        let amount = match (self.text("amount"), self.text("currency")) {
            (Some(amount), Some(currency)) => format!(" of {amount} {currency}"),
            _ => String::new(),
        };
        let answer = match self.text("answer").as_deref() {
            Some("yes") => "yes",
            Some("no") => "no",
            _ => "neither yes nor no",
        };
        format!("{} It asks for {asks_for}{amount}. The caller's answer: {answer}.", self.said())
    }

    /// What was said, in which language and version of the text.
    fn said(&self) -> String {
        format!(
            "Said{}{}: “{}”",
            self.after(" in ", "language"),
            self.after(", version of the text ", "version"),
            self.text("text").unwrap_or_default(),
        )
    }

    /// The request to Twilio that a member names, as in "asked Twilio …".
    fn request(&self, member: &str) -> String {
        match self.text(member).as_deref() {
            Some("create") => "to open a payment session".to_owned(),
            Some("complete") => "to submit the payment".to_owned(),
            Some("cancel") => "to cancel the payment session".to_owned(),
            Some(other) => match Field::from_wire(other) {
                Some(field) => format!("to capture the {field}"),
                None => format!("for {other}"),
            },
            None => "for an update".to_owned(),
        }
    }

    fn field(&self) -> String {
        let name = self.text("field").unwrap_or_default();
        Field::from_wire(&name).map_or_else(|| "field".to_owned(), |field| field.to_string())
    }

    fn operator(&self) -> String {
        self.text("operator").map_or_else(|| "The command line".to_owned(), |name| format!("The operator {name}"))
    }

    /// A text or a number. `None` if it is missing, null or empty.
    fn text(&self, member: &str) -> Option<String> {
        match self.data.get(member)? {
            Value::String(text) => Some(clean_text(text)).filter(|text| !text.is_empty()),
            Value::Number(number) => Some(clean_text(&number.to_string())),
            _ => None,
        }
    }

    fn or_unknown(&self, member: &str) -> String {
        self.text(member).unwrap_or_else(|| "unknown".to_owned())
    }

    /// The member with words before it; empty if it is missing.
    fn after(&self, words: &str, member: &str) -> String {
        self.text(member).map(|text| format!("{words}{text}")).unwrap_or_default()
    }

    /// The member in quotation marks with words before it; empty if it is missing.
    fn quoted(&self, words: &str, member: &str) -> String {
        self.text(member).map(|text| format!("{words}“{text}”")).unwrap_or_default()
    }

    fn is_true(&self, member: &str) -> bool {
        self.data.get(member) == Some(&Value::Bool(true))
    }
}
