//! Tests of the contents of evidence, and of its signature.

use std::collections::BTreeSet;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};
use uuid::Uuid;

use super::describe::describe_event;
use super::*;
use crate::ledger::{DeliveryRecord, EventKind, EventRecord, Payment, PaymentHistory, PaymentState, ledger_with_token};
use crate::payment::{Amount, Currency, PaymentIdGenerator};
use crate::redact::{Private, has_card_number};
use crate::signing::SigningSecrets;

const SECRET: &str = "a-secret-of-the-tests";

const STATEMENT: &str = "That is 25 dollars, charged to your card now. Say yes or press 1; say no or press 2.";

/// A kind of event, the data of one, and its words.
type DescribedEvent = (&'static str, Value, &'static str);

/// An event of each kind, and its words.
fn described_events() -> Vec<DescribedEvent> {
    [events_of_a_capture(), events_after_a_capture(), events_of_submissions(), events_of_a_call()].concat()
}

fn events_of_a_capture() -> Vec<DescribedEvent> {
    let statement = json!({
        "purpose": "charge", "amount": "25.00", "currency": "USD", "minor": 2500, "text": STATEMENT,
        "language": "en-US", "version": "0a1b2c3d", "answer": "yes"
    });
    vec![
        (
            "caller-attested",
            json!({"attestation": "A"}),
            "The caller's network attests the caller's number: A (the network knows the caller, and that the number is the \
             caller's).",
        ),
        (
            "statement",
            statement.clone(),
            "The server asked the caller. Said in en-US, version of the text 0a1b2c3d: “That is 25 dollars, charged to your card now. Say yes or press 1; say no or press 2.” It asks for consent to a charge of 25.00 USD. The caller's answer: yes.",
        ),
        (
            "agreed",
            statement,
            "The payment begins on the caller's agreement to this statement. Said in en-US, version of the text 0a1b2c3d: “That is 25 dollars, charged to your card now. Say yes or press 1; say no or press 2.” It asks for consent to a charge of 25.00 USD. The caller's answer: yes.",
        ),
        ("opening", json!({"key": "k"}), "The server asked Twilio to open a payment session."),
        (
            "answered",
            json!({"to": "create", "key": "k", "answer": "created", "code": null}),
            "Twilio accepted the request to open a payment session.",
        ),
        ("opened", json!({"paymentSid": "PK1"}), "Twilio opened the payment session PK1."),
        (
            "found",
            json!({"paymentSid": "PK1", "chargeAmount": "25.00"}),
            "A payment session came to light that this ledger had not asked for: PK1, amount 25.00.",
        ),
        (
            "asking",
            json!({"change": "payment-card-number", "key": "k"}),
            "The server asked Twilio to capture the card number.",
        ),
        ("asking", json!({"change": "complete", "key": "k"}), "The server asked Twilio to submit the payment."),
        (
            "answered",
            json!({"to": "complete", "key": "k", "answer": "refused", "code": 64008}),
            "Twilio refused the request to submit the payment, with the error 64008.",
        ),
        (
            "answered",
            json!({"to": "cancel", "key": "k", "answer": "none", "code": null}),
            "Twilio's answer to the request to cancel the payment session did not arrive.",
        ),
        (
            "wrong",
            json!({"field": "security-code", "error": "the entry stopped before it was complete"}),
            "Twilio rejected the entry of the security code: the entry stopped before it was complete.",
        ),
        (
            "entered",
            json!({"field": "payment-card-number", "last4": "4242", "required": []}),
            "The caller entered the card number on the keypad; the last digits are 4242.",
        ),
        ("entered", json!({"field": "security-code"}), "The caller entered the security code on the keypad."),
    ]
}

/// Events of receipts.
fn events_of_submissions() -> Vec<DescribedEvent> {
    vec![
        (
            "receipt-asking",
            json!({"attempt": 1, "language": "es-US"}),
            "The server asked Twilio to send the receipt to the caller's number in es-US, attempt 1.",
        ),
        (
            "receipt",
            json!({"state": "sent", "messageSid": "SM1", "code": null, "why": null, "version": "1a2b"}),
            "Twilio took the receipt as the text message SM1, version of the text 1a2b.",
        ),
        (
            "receipt",
            json!({"state": "impossible", "code": 21614}),
            "No receipt can be sent: the caller's number takes no text messages, with the error 21614.",
        ),
        ("receipt", json!({"state": "unknown"}), "It is not known whether the receipt was sent. It is not sent again."),
        (
            "receipt",
            json!({"state": "due", "code": 20429}),
            "The receipt was not sent, with the error 20429. It is tried again.",
        ),
        ("receipt", json!({"state": "dropped", "why": "too late"}), "The receipt is not sent: too late."),
        (
            "authorized",
            json!({
                "purpose": "bank-debit", "amount": "25.00", "currency": "USD", "minor": 2500, "text": "{name} agrees.",
                "sha256": "cd", "language": "en-US", "version": "0a1b2c3d", "answer": "yes"
            }),
            "The payment is submitted on the caller's authorisation. Said in en-US, version of the text 0a1b2c3d: “{name} agrees.” It asks for the authorisation of one debit of a bank account of 25.00 USD. The caller's answer: yes.",
        ),
    ]
}

fn events_after_a_capture() -> Vec<DescribedEvent> {
    vec![
        (
            "ended",
            json!({"result": "payment-connector-error", "code": 64008, "text": "declined", "outcome": "declined", "doubtful": false}),
            "Twilio reported the result payment-connector-error, with the error 64008, “declined”. The outcome: declined.",
        ),
        (
            "ended",
            json!({"result": "success", "chargeAmount": "26.00", "confirmationCode": "ch_1", "outcome": "unknown: another amount", "doubtful": true}),
            "Twilio reported the result success, amount 26.00, confirmation code ch_1. The outcome: unknown: another amount. It \
             contradicts what else is known.",
        ),
        (
            "card-failed",
            json!({"code": 64008, "last4": "4242", "atOnce": true}),
            "The card counts as failed, with the error 64008, last digits 4242; Twilio refused the submission at once.",
        ),
        ("card-recovered", json!({}), "The card that counted as failed succeeded after all."),
        (
            "card-testing",
            json!({"seen": "one-last-four", "last4": "4242"}),
            "The failed cards look like card testing (one-last-four, last digits 4242).",
        ),
        (
            "barred",
            json!({"by": "perCall.declines", "change": "complete"}),
            "The server did not ask Twilio to submit the payment: the velocity limit perCall.declines was reached.",
        ),
        ("given-up", json!({"why": "the call ended"}), "The server gave the payment up: the call ended."),
        (
            "settled",
            json!({"outcome": "charged", "note": "seen in the dashboard", "confirmationCode": "ch_9", "corrects": "declined", "operator": "ann"}),
            "The operator ann recorded the outcome charged, in place of declined, confirmation code ch_9, with the note “seen in the \
             dashboard”.",
        ),
        (
            "refunded",
            json!({"amount": "10.00", "minor": 1000, "reference": "re_1", "at": "2026-11-20T00:00:00Z"}),
            "The command line recorded a refund of 10.00 USD, reference re_1, which took place at 2026-11-20T00:00:00Z.",
        ),
        (
            "disputed",
            json!({"amount": "15.00", "minor": 1500, "reference": "dp_1", "at": "2026-11-20T00:00:00Z", "operator": "bob"}),
            "The operator bob recorded a dispute of 15.00 USD, reference dp_1, which took place at 2026-11-20T00:00:00Z.",
        ),
        ("delivered", json!({"attempts": 1}), "The business accepted an event about the payment."),
        ("delivered", json!({"attempts": 3}), "The business accepted an event about the payment, at attempt 3."),
        (
            "token-expires",
            json!({"at": "2026-11-20T00:00:00Z"}),
            "The payment token is not delivered yet; it will be erased at 2026-11-20T00:00:00Z.",
        ),
        ("token-erased", json!({}), "The payment token was erased from the ledger."),
        ("token-erased", json!({"undelivered": true}), "The payment token was erased without being delivered."),
        (
            "personal-data-erased",
            json!({}),
            "The caller's number, the references and the description were erased from the ledger.",
        ),
        (
            "from-2030",
            json!({}),
            "An event of the kind \"from-2030\", which this version of the program does not know.",
        ),
    ]
}

fn record(second: i64, kind: &str, data: &Value) -> EventRecord {
    EventRecord {
        at: Timestamp::from_second(second).unwrap(),
        kind: kind.to_owned(),
        data: to_raw_value(data).unwrap(),
    }
}

/// What was said and done on the call, besides questions.
fn events_of_a_call() -> Vec<DescribedEvent> {
    vec![
        (
            "statement",
            json!({"purpose": "recording", "text": "This call is recorded.", "language": "en-US", "version": "00", "answer": null}),
            "The caller heard that the call is recorded. Said in en-US, version of the text 00: “This call is recorded.”",
        ),
        (
            "statement",
            json!({"purpose": "disclosure", "text": "I am a machine.", "language": "en-US", "version": "01", "answer": null}),
            "The caller heard that the agent is a machine. Said in en-US, version of the text 01: “I am a machine.”",
        ),
        (
            "consent",
            json!({"kind": "web-form", "at": "2026-11-01T09:30:00Z", "reference": "form-17"}),
            "The call was placed on a consent of the kind web-form, given at 2026-11-01T09:30:00Z, reference form-17.",
        ),
        ("do-not-call", json!({}), "The person on the line asked not to be called again."),
        (
            "recording",
            json!({"step": "pause", "answer": "done", "recordingSid": "RE1", "code": null}),
            "Twilio has confirmed the request to pause the recording RE1.",
        ),
        (
            "recording",
            json!({"step": "resume", "answer": "none", "recordingSid": null, "code": null}),
            "Twilio did not confirm the request to go on with the recording.",
        ),
    ]
}

/// A payment with an event of each kind, and one event that the business has accepted.
fn history() -> PaymentHistory {
    let id = PaymentIdGenerator::new(Uuid::from_u128(1)).generate();
    let mut payment = Payment::sample(id, PaymentState::Charged);
    payment.caller = "+15550100001".parse().ok();
    payment.description = Some(Private::new("Invoice | 7 <b>".to_owned()));
    payment.amount = Amount::parse("25", Currency::USD).unwrap();
    payment.last4 = Some("4242".to_owned());
    payment.confirmation_code = Some("ch_1".to_owned());
    let is_statement = |kind: &str| matches!(kind, "statement" | "recording" | "consent" | "do-not-call");
    let all = described_events();
    let events = all.iter().zip(0..).map(|((kind, data, _), at)| (record(at, kind, data), is_statement(kind)));
    let (statements, events): (Vec<_>, Vec<_>) = events.partition(|(_, is_statement)| *is_statement);
    let told = json!({"eventId": "e1", "type": "payment.charged", "state": "charged", "paymentToken": null});
    PaymentHistory {
        payment,
        events: events.into_iter().map(|(event, _)| event).collect(),
        statements: statements.into_iter().map(|(event, _)| event).collect(),
        deliveries: vec![DeliveryRecord {
            written_at: Timestamp::from_second(100).unwrap(),
            delivered_at: Timestamp::from_second(160).ok(),
            failed_attempts: 2,
            event: to_raw_value(&told).unwrap(),
        }],
        direction: Some("inbound".to_owned()),
    }
}

fn evidence(history: PaymentHistory) -> PaymentEvidence {
    let origin = EvidenceOrigin {
        written_at: Timestamp::from_second(1_790_000_000).unwrap(),
        command: "crelay-payments evidence CA1".to_owned(),
        ledger: "/data/crelay-payments.db".to_owned(),
    };
    PaymentEvidence::new(history, &origin)
}

/// The JSON that is signed.
fn body(evidence: &PaymentEvidence) -> Value {
    let signed: Value = serde_json::from_str(&evidence.to_signed_json(None)).unwrap();
    serde_json::from_str(signed["body"].as_str().unwrap()).unwrap()
}

#[test]
fn every_kind_of_event_has_its_words() {
    let events = described_events();
    for (kind, data, words) in &events {
        assert_eq!(describe_event(kind, data, Some("USD")), *words, "{kind}");
        assert_ne!(describe_event(kind, &json!({}), None), "", "{kind}");
    }
    let described: BTreeSet<&str> = events.iter().map(|(kind, ..)| *kind).collect();
    let kinds: BTreeSet<&str> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(kinds.difference(&described).copied().collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn the_json_has_the_payment_the_call_everything_that_happened_and_what_the_business_was_told() {
    let body = body(&evidence(history()));
    assert_eq!((&body["type"], &body["version"]), (&"payment.evidence".into(), &env!("CARGO_PKG_VERSION").into()));
    assert_eq!((&body["payment"]["minor"], &body["payment"]["state"]), (&2500.into(), &"charged".into()));
    let call = json!({"callSid": "CA1", "direction": "inbound", "caller": "+15550100001", "attestation": "A"});
    assert_eq!(body["call"], call);
    let chronology = body["chronology"].as_array().unwrap();
    assert_eq!(chronology.len(), described_events().len());
    assert!(chronology.is_sorted_by_key(|entry| entry["at"].as_str().unwrap().to_owned()));
    // As computed by `sha256sum`.
    let hash = "fbf945f6fc673895d7ae8ea00fc397f99caaa4a068a963680caa2006ec08f5e6";
    let hashes: BTreeSet<&str> = chronology.iter().filter_map(|entry| entry["sha256"].as_str()).collect();
    assert!(hashes.is_superset(&[hash, "cd"].into()), "a recorded hash is that of the whole statement: {hashes:?}");
    let told = &body["webhookEvents"][0];
    assert_eq!((&told["acceptedAt"], &told["failedAttempts"]), (&"1970-01-01T00:02:40Z".into(), &2.into()));
    assert_eq!(told["event"]["type"], "payment.charged");
}

#[test]
fn the_markdown_says_the_same_in_words_and_shows_every_text_as_it_is() {
    let text = evidence(history()).to_signed_markdown(None);
    for part in [
        "# Evidence of payment ",
        "by `crelay-payments evidence CA1`",
        "| ledger | /data/crelay-payments.db |",
        "| amount | 25.00 USD |",
        "| state | charged: the amount was charged |",
        "| mode | live: real money |",
        "| description | Invoice \\| 7 \\<b\\> |",
        "| confirmation code of the processor | ch\\_1 |",
        "| caller's number | +15550100001 |",
        "| direction | inbound |",
        "| 1970-01-01T00:00:12Z | The caller entered the card number on the keypad; the last digits are 4242. |",
        "| payment.charged | e1 | 1970-01-01T00:01:40Z | 1970-01-01T00:02:40Z | 2 |",
        "Not signed: PAYMENT_WEBHOOK_SECRET is not set.",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_signature_is_right_until_a_byte_is_changed() {
    let (evidence, secrets) = (evidence(history()), SigningSecrets::from(SECRET));
    let signed_at = Timestamp::from_second(1_790_000_000).unwrap();
    for text in [evidence.to_signed_json(Some(&secrets)), evidence.to_signed_markdown(Some(&secrets))] {
        let genuine = vec![VerifiedEvidence { id: evidence.id(), signed_at }];
        assert_eq!(verify_evidence(&text, &secrets), Ok(genuine.clone()));
        let twice = [genuine.clone(), genuine].concat();
        assert_eq!(verify_evidence(&text.repeat(2), &secrets), Ok(twice), "the payments of a call");
        assert_eq!(verify_evidence(&text, &"another-secret".into()), Err(VerifyEvidenceError::WrongSignature));
        // The last byte is a line break.
        for at in 0..text.len() - 1 {
            let mut changed = text.clone().into_bytes();
            changed[at] ^= 1;
            let Ok(changed) = String::from_utf8(changed) else { continue };
            assert!(verify_evidence(&changed, &secrets).is_err(), "{at}");
        }
        assert!(verify_evidence(&format!("{text}more"), &secrets).is_err());
    }
}

#[test]
fn a_signature_is_that_of_the_recipe_for_webhooks() {
    let (evidence, secrets) = (evidence(history()), SigningSecrets::from(SECRET));
    let signed: Value = serde_json::from_str(&evidence.to_signed_json(Some(&secrets))).unwrap();
    assert_eq!(signed["timestamp"], 1_790_000_000);
    let signature = secrets.sign(1_790_000_000, signed["body"].as_str().unwrap().as_bytes());
    assert_eq!(signed["signature"], signature);
    let text = evidence.to_signed_markdown(Some(&secrets));
    let (content, last) = text.trim_end().rsplit_once('\n').unwrap();
    let signature = secrets.sign(1_790_000_000, format!("{content}\n").as_bytes());
    assert_eq!(last, format!("X-Crelay-Timestamp: 1790000000 X-Crelay-Signature: {signature}"));
}

#[test]
fn what_is_not_signed_or_no_evidence_is_not_genuine() {
    let (evidence, secrets) = (evidence(history()), SigningSecrets::from(SECRET));
    for text in [evidence.to_signed_json(None), evidence.to_signed_markdown(None)] {
        assert_eq!(verify_evidence(&text, &secrets), Err(VerifyEvidenceError::Unsigned));
    }
    // A webhook event that was signed with the same secret.
    let event = r#"{"type":"payment.charged","payment":{"id":"9a8f1282-65e4-5cf2-8b69-1b4cefccc055"}}"#;
    let signature = secrets.sign(7, event.as_bytes());
    let forged = json!({"timestamp": 7, "signature": signature, "body": event}).to_string();
    let beside = evidence.to_signed_json(Some(&secrets)).replacen('{', r#"{"note":"settled","#, 1);
    for text in ["", "{}", "[]", &forged, &beside, "# Evidence of payment"] {
        assert_eq!(verify_evidence(text, &secrets), Err(VerifyEvidenceError::Malformed), "{text}");
    }
}

#[tokio::test]
async fn a_token_that_waits_for_its_delivery_is_not_in_evidence() {
    let (ledger, id, _directory) = ledger_with_token().await;
    let evidence = evidence(ledger.history_of_payment(id).await.unwrap().unwrap());
    let all = evidence.to_signed_json(None) + &evidence.to_signed_markdown(None);
    assert!(all.contains("tokenized") && !all.contains("hush"), "{all}");
}

/// Texts in which a card number may hide.
fn with_card_number() -> impl Strategy<Value = String> {
    const NUMBERS: &[&str] = &["4242424242424242", "4242 4242 4242 4242", "3782-822463-10005", "5555.5555.5555.4444"];
    ("[a-z ]{0,12}", prop::sample::select(NUMBERS), "[a-z ]{0,12}")
        .prop_map(|(before, number, after)| format!("{before} {number} {after}"))
}

proptest! {
    #[test]
    fn no_card_number_and_no_token_is_in_evidence(
        kind in prop::sample::select(EventKind::ALL),
        members in prop::collection::btree_map(
            prop::sample::select(&["note", "text", "reference", "confirmationCode", "error", "why", "answer", "result",
                "connectorStatus", "chargeAmount", "outcome", "operator", "change", "to", "by", "seen", "last4", "code",
                "attestation", "paymentSid", "language", "version", "amount", "currency", "at", "field", "key"][..]),
            with_card_number(),
            1..8,
        ),
        text in with_card_number(),
    ) {
        let mut history = history();
        history.payment.description = Some(Private::new(text.clone()));
        history.payment.call_reference = Some(Private::new(text.clone()));
        history.payment.result_text = Some(text.clone());
        history.payment.confirmation_code = Some(text.clone());
        let mut told = json!(members);
        told["paymentToken"] = "tok_hush-hush".into();
        history.events.push(record(99, kind.as_str(), &told));
        history.deliveries[0].event = to_raw_value(&told).unwrap();
        let evidence = evidence(history);
        let body = body(&evidence);
        prop_assert!(!has_card_number_in(&body), "{body}");
        let markdown = evidence.to_signed_markdown(None);
        for hidden in ["4242424242424242", "4242 4242", "822463", "5555.5555", "hush"] {
            prop_assert!(!markdown.contains(hidden) && !body.to_string().contains(hidden), "{hidden}: {markdown}");
        }
    }

    #[test]
    fn no_text_breaks_the_markdown(text in "\\PC{0,40}|[|\n\r`*<>#\\[\\]_]{0,20}") {
        let mut history = history();
        history.payment.description = Some(Private::new(text.clone()));
        history.events = vec![record(1, "settled", &json!({"outcome": "charged", "note": text}))];
        let markdown = evidence(history).to_signed_markdown(None);
        let rows = markdown.lines().filter(|line| line.starts_with("| description") || line.contains("recorded the outcome"));
        for row in rows {
            prop_assert_eq!(row.replace("\\\\", "").replace("\\|", "").matches('|').count(), 3, "{}", row);
        }
    }
}

/// Whether a text of the JSON has a card number, apart from the hashes and words, which are made of several.
fn has_card_number_in(value: &Value) -> bool {
    match value {
        Value::String(text) => has_card_number(text),
        Value::Array(items) => items.iter().any(has_card_number_in),
        Value::Object(members) => members
            .iter()
            .any(|(name, value)| !["sha256", "words", "id"].contains(&&**name) && has_card_number_in(value)),
        _ => false,
    }
}
