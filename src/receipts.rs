//! Sends receipts: one text message about each payment that succeeded, if `Compliance.receipt` is on.
//!
//! The ledger decides who may send one, and whether it may be sent at all. The session of the call asks first, so that the
//! agent can say that the receipt was sent. What no session has sent within [`HEAD_START`] each server looks for: the
//! caller has hung up, the server of the call has died, or the outcome came late.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::assets::CurrentAssets;
use crate::call::{BUSINESS, CallEnvironment, ComplianceText, ReceiptNews};
use crate::ids::{MessageSid, PaymentSid};
use crate::ledger::{ClaimedReceipt, Ledger, LedgerError, Payment, ReceiptClaim, ReceiptReport, ReceiptResult};
use crate::payment::{PaymentId, SpokenStatement};
use crate::phone_number::PhoneNumber;
use crate::redact::Private;
use crate::session::{CallRegistry, SessionContext, SessionMessage};
use crate::twilio::{TwilioClient, TwilioError};

/// How long a due receipt is left to the session of its call.
const HEAD_START: SignedDuration = SignedDuration::from_secs(2);

/// How often the ledger is asked for receipts that nobody has sent.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// The maximum number of receipts that are sent at the same time.
const MAX_CONCURRENT: usize = 4;

/// What stands in a receipt for the last digits that Twilio did not report.
const UNKNOWN_DIGITS: &str = "****";

/// Sends receipts.
#[derive(Clone)]
pub(crate) struct ReceiptSender {
    ledger: Ledger,
    twilio: Arc<TwilioClient>,
    assets: Arc<CurrentAssets>,
    environment: Arc<CallEnvironment>,
    calls: CallRegistry,
    /// What has begun is finished before the server ends.
    tasks: TaskTracker,
}

impl ReceiptSender {
    /// Creates a sender with the services of a server.
    pub(crate) fn new(session: &SessionContext) -> Self {
        Self {
            ledger: session.ledger.clone(),
            twilio: session.twilio.clone(),
            assets: session.assets.clone(),
            environment: session.environment.clone(),
            calls: session.calls.clone(),
            tasks: session.tasks.clone(),
        }
    }

    /// Sends the receipt of a payment session, if it is due and nobody else has it.
    pub(crate) async fn send(&self, sid: &PaymentSid) -> ReceiptNews {
        match self.ledger.claim_receipt_of(sid).await {
            Ok(ReceiptClaim::Claimed(claimed)) => self.send_claimed(&claimed).await,
            Ok(ReceiptClaim::Closed { payment, result }) => log_closed(payment, &result),
            Ok(ReceiptClaim::NotDue) => ReceiptNews::NotSent,
            Err(error) => {
                warn!(event = "receipt.not_claimed", payment_sid = %sid, %error, "A receipt is not sent yet.");
                ReceiptNews::NotSent
            }
        }
    }

    /// Sends the receipts that no session has sent. Never returns.
    pub(crate) async fn run(self) {
        let mut is_first = true;
        loop {
            if let Err(error) = self.send_left_over(Timestamp::now(), std::mem::take(&mut is_first)).await {
                warn!(event = "receipt.ledger_unread", %error, "Due receipts could not be read or claimed.");
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    async fn send_left_over(&self, now: Timestamp, is_start: bool) -> Result<(), LedgerError> {
        for payment in self.ledger.end_receipt_claims(now, is_start).await? {
            log_unknown(payment);
        }
        let before = now.saturating_sub(HEAD_START).unwrap_or(now);
        let due = self.ledger.due_receipts(before).await?;
        stream::iter(due).for_each_concurrent(MAX_CONCURRENT, |payment| self.send_one(payment)).await;
        Ok(())
    }

    async fn send_one(&self, payment: PaymentId) {
        let sender = self.clone();
        let sending = self.tasks.spawn(async move {
            match sender.ledger.claim_receipt(payment, Timestamp::now()).await {
                Ok(ReceiptClaim::Claimed(claimed)) => {
                    let news = sender.send_claimed(&claimed).await;
                    if matches!(news, ReceiptNews::Sent | ReceiptNews::NoTextMessages) {
                        // The call is over, on another server, or hears of it now.
                        sender.calls.deliver(&claimed.payment.call_sid, SessionMessage::ReceiptSent(news));
                    }
                }
                Ok(ReceiptClaim::Closed { payment, result }) => drop(log_closed(payment, &result)),
                Ok(ReceiptClaim::NotDue) => {}
                Err(error) => {
                    warn!(event = "receipt.not_claimed", payment_id = %payment, %error, "A receipt is not sent yet.");
                }
            }
        });
        let _ = sending.await;
    }

    async fn send_claimed(&self, claimed: &ClaimedReceipt) -> ReceiptNews {
        let (payment, attempt) = (claimed.payment.id, claimed.attempt);
        let text = self.text(claimed);
        let result = match &text {
            Some(text) => self.request(&claimed.payment, &text.text).await,
            None => ReceiptResult::Dropped("receipts are switched off"),
        };
        let text_version = text.map(|text| text.text_version);
        log_result(payment, attempt, &result);
        let news = news(&result);
        let report = ReceiptReport { payment, attempt, result, text_version };
        if let Err(error) = self.ledger.record_receipt(report).await {
            error!(
                event = "ledger.receipt_lost", payment_id = %payment, %error,
                "The result of a receipt could be neither written nor buffered; it is recorded as unknown."
            );
        }
        news
    }

    /// Sends the text to the caller of the payment.
    async fn request(&self, payment: &Payment, text: &str) -> ReceiptResult {
        let Some(to) = payment.caller.as_ref().filter(|to| self.environment.destinations.check(to).is_ok()) else {
            return ReceiptResult::Impossible(None);
        };
        read_answer(self.twilio.send_message(to, text).await)
    }

    /// The text of a receipt. `None` if receipts are switched off.
    fn text(&self, claimed: &ClaimedReceipt) -> Option<SpokenStatement> {
        let (name, phone) = (self.environment.business_name.as_ref()?, self.environment.business_phone.as_ref()?);
        fill_receipt(self.assets.library().server.receipt.as_ref()?, claimed, name, phone)
    }
}

/// Fills in the text of a receipt in the language of the caller.
fn fill_receipt(
    texts: &ComplianceText,
    claimed: &ClaimedReceipt,
    business: &str,
    phone: &PhoneNumber,
) -> Option<SpokenStatement> {
    let payment = &claimed.payment;
    let amount = payment.amount.map(|amount| format!("{amount} {}", amount.currency()));
    let paid_at = payment.submitted_at.or(payment.ended_at).unwrap_or(payment.opened_at);
    let reference = payment.order_reference.as_ref().or(payment.call_reference.as_ref()).map(Private::reveal);
    let id = payment.id.to_string();
    let (date, time) = (paid_at.strftime("%Y-%m-%d").to_string(), paid_at.strftime("%H:%M UTC").to_string());
    let values = [
        (BUSINESS, business),
        ("last4", payment.last4.as_deref().unwrap_or(UNKNOWN_DIGITS)),
        ("date", &date),
        ("time", &time),
        ("reference", reference.map_or(id.as_str(), String::as_str)),
        ("phone", phone.as_str()),
    ];
    let values: Vec<_> = values.into_iter().chain(amount.as_deref().map(|amount| ("amount", amount))).collect();
    texts.fill(&values).find(&claimed.language).cloned()
}

/// What Twilio's answer to the request means.
fn read_answer(answer: Result<MessageSid, TwilioError>) -> ReceiptResult {
    match answer {
        Ok(sid) => ReceiptResult::Sent(sid),
        Err(TwilioError::Unknown(_)) => ReceiptResult::Unknown,
        Err(error) if error.is_about_recipient() => ReceiptResult::Impossible(error.code()),
        Err(error) if error.may_succeed_later() => ReceiptResult::NotSent(error.code()),
        Err(_) => ReceiptResult::Dropped("Twilio refused the message"),
    }
}

/// What the caller may be told about a result.
fn news(result: &ReceiptResult) -> ReceiptNews {
    match result {
        ReceiptResult::Sent(_) => ReceiptNews::Sent,
        ReceiptResult::Impossible(_) => ReceiptNews::NoTextMessages,
        ReceiptResult::NotSent(_) | ReceiptResult::Dropped(_) => ReceiptNews::NotSent,
        ReceiptResult::Unknown => ReceiptNews::Unknown,
    }
}

/// Logs a receipt that was closed without a request, and returns what the caller may be told.
fn log_closed(payment: PaymentId, result: &ReceiptResult) -> ReceiptNews {
    log_result(payment, 0, result);
    news(result)
}

fn log_result(payment: PaymentId, attempt: u32, result: &ReceiptResult) {
    match result {
        ReceiptResult::Sent(sid) => info!(
            event = "receipt.sent", payment_id = %payment, attempt, message_sid = %sid,
            "Twilio took a receipt."
        ),
        ReceiptResult::Impossible(code) => info!(
            event = "receipt.impossible", payment_id = %payment, error_code = code,
            "The caller's number takes no text messages, so that no receipt is sent."
        ),
        ReceiptResult::Unknown => log_unknown(payment),
        ReceiptResult::NotSent(code) => warn!(
            event = "receipt.not_sent", payment_id = %payment, attempt, error_code = code,
            "A receipt was not sent."
        ),
        ReceiptResult::Dropped(reason) => warn!(
            event = "receipt.dropped", payment_id = %payment, attempt, reason,
            "A receipt is not sent."
        ),
    }
}

fn log_unknown(payment: PaymentId) {
    warn!(
        event = "receipt.unknown", payment_id = %payment,
        "It is not known whether a receipt was sent. It is not sent again."
    );
}

/// Shows nothing: it holds the name and the number of the business.
impl fmt::Debug for ReceiptSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiptSender").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::assets::Library;
    use crate::payment::{Amount, Currency, PaymentIdGenerator, PaymentState};
    use crate::twilio::stand_in::{ScriptedAnswer, start_twilio};

    fn claimed(language: &str, charge: Option<&str>) -> ClaimedReceipt {
        let id = PaymentIdGenerator::new(Uuid::nil()).generate();
        let mut payment = Payment::sample(id, PaymentState::Charged);
        payment.amount = charge.and_then(|amount| Amount::parse(amount, Currency::USD).unwrap());
        payment.last4 = Some("4242".to_owned());
        payment.order_reference = Some(Private::new("INV-7".to_owned()));
        payment.submitted_at = "2026-11-28T09:05:59Z".parse().ok();
        ClaimedReceipt { payment, language: language.to_owned(), attempt: 1 }
    }

    fn text(config: &str, claimed: &ClaimedReceipt) -> Option<String> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("serverConfig.json"), config).unwrap();
        let texts = Library::load(directory.path()).unwrap().library.server.receipt?;
        let phone = "+15550003333".parse().unwrap();
        fill_receipt(&texts, claimed, "Acme", &phone).map(|statement| statement.text)
    }

    #[test]
    fn a_receipt_says_what_was_paid_in_the_language_of_the_call() {
        let on = r#"{"Compliance":{"receipt":true}}"#;
        let said = |language: &str, charge| text(on, &claimed(language, charge)).unwrap();
        assert_eq!(
            said("en-AU", Some("25.00")),
            "Acme: we received your payment of 25.00 USD, card or account ending in 4242, on 2026-11-28 at 09:05 UTC. \
             Reference: INV-7. Questions? Call +15550003333."
        );
        for (language, word) in
            [("es-MX", "su pago"), ("de-DE", "Ihre Zahlung"), ("fr-FR", "votre paiement"), ("pl", "your")]
        {
            let paid = said(language, Some("25.00"));
            assert!(paid.contains(word) && paid.contains("25.00 USD") && paid.contains("4242"), "{paid}");
            let stored = said(language, None);
            assert!(stored.contains("4242") && !stored.contains("USD") && !stored.contains('{'), "{stored}");
        }
        assert_eq!(text("{}", &claimed("en-US", None)), None);
    }

    #[test]
    fn a_text_about_an_amount_is_not_used_where_none_is_charged() {
        let own = r#"{"Compliance":{"receipt":{"en-US":"Paid {amount}, {reference}."}}}"#;
        assert_eq!(text(own, &claimed("en-US", Some("3.00"))).unwrap(), "Paid 3.00 USD, INV-7.");
        assert!(text(own, &claimed("en-US", None)).unwrap().contains("Nothing was charged"));
        let mut unnamed = claimed("en-US", Some("3.00"));
        unnamed.payment.order_reference = None;
        assert_eq!(text(own, &unnamed).unwrap(), format!("Paid 3.00 USD, {}.", unnamed.payment.id));
    }

    #[tokio::test]
    async fn only_what_certainly_had_no_effect_is_tried_again() {
        const BUSY: ScriptedAnswer = (429, "", r#"{"code":20429}"#);
        let sent: ScriptedAnswer = (201, "", r#"{"sid":"SM1"}"#);
        for (answers, result) in [
            (&[sent][..], ReceiptResult::Sent("SM1".parse().unwrap())),
            (&[(400, "", r#"{"code":21614}"#)], ReceiptResult::Impossible(Some(21614))),
            (&[(400, "", r#"{"code":21610}"#)], ReceiptResult::Impossible(Some(21610))),
            (&[(500, "", "")], ReceiptResult::Unknown),
            (&[(201, "", "no JSON")], ReceiptResult::Unknown),
            // The connection breaks.
            (&[], ReceiptResult::Unknown),
            (&[BUSY, BUSY, BUSY], ReceiptResult::NotSent(Some(20429))),
            (&[BUSY, (500, "", "")], ReceiptResult::Unknown),
            (&[(401, "", r#"{"code":20003}"#)], ReceiptResult::NotSent(Some(20003))),
            (&[(400, "", r#"{"code":21617}"#)], ReceiptResult::Dropped("Twilio refused the message")),
        ] {
            let (_twilio, client) = start_twilio(answers).await;
            let answer = client.send_message(&"+15550100001".parse().unwrap(), "Paid").await;
            assert_eq!(read_answer(answer), result, "{answers:?}");
        }
    }
}
