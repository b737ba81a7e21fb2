//! Tests of the client against a local Twilio stand-in over real sockets.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::Instant;
use uuid::Uuid;

use super::*;
use crate::config;
use crate::payment::{
    Amount, Currency, Field, PaymentId, PaymentIdGenerator, PaymentOptions, PaymentSettings, PaymentTimeout,
};
use crate::twilio::BuildTwilioClientError;
use crate::twilio::stand_in::{client_for, start_twilio};

const CREATED: &str = r#"{"sid":"PK1","call_sid":"CA1","account_sid":"AC1","uri":"/x","date_created":null}"#;

fn call() -> CallSid {
    "CA1".parse().unwrap()
}

fn id() -> PaymentId {
    PaymentIdGenerator::new(Uuid::nil()).generate()
}

fn create(charge: &str) -> CreatePayment {
    create_by(charge, &[], PaymentOptions::default())
}

fn create_by(charge: &str, parameters: &[(&str, &str)], options: PaymentOptions) -> CreatePayment {
    let charge = Amount::parse(charge, Currency::USD).unwrap();
    let settings = PaymentSettings { connector: "My connector".to_owned(), options, ..PaymentSettings::sample() };
    let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let terms = Arc::new(settings.parse_terms(&parameters).unwrap());
    CreatePayment { id: id(), idempotency_key: id().create_key(), charge, terms, consent: None }
}

fn update(change: UpdateAction) -> UpdatePayment {
    UpdatePayment::new(id(), "PK1".parse().unwrap(), id().update_key(change, 1), change)
}

fn key_and_callback(step: &str) -> String {
    let id = id();
    format!("IdempotencyKey={id}-{step}&StatusCallback=https%3A%2F%2Fexample.com%2Fpayment-status-callback")
}

#[tokio::test]
async fn a_payment_without_an_amount_tokenizes() {
    let (twilio, client) = start_twilio(&[(201, "", CREATED)]).await;
    assert_eq!(client.create_payment(&call(), &create("0")).await.unwrap().as_str(), "PK1");
    assert_eq!(
        twilio.bodies(),
        [format!(
            "{}&PaymentConnector=My+connector&PaymentMethod=credit-card\
             &SecurityCode=true&PostalCode=false&Description={}&TokenType=one-time",
            key_and_callback("create"),
            id()
        )]
    );
    let request = &twilio.requests()[0];
    assert_eq!(request.path, "/2010-04-01/Accounts/AC1/Calls/CA1/Payments.json");
    assert_eq!(request.headers["content-type"], "application/x-www-form-urlencoded");
    assert_eq!(request.headers["authorization"], "Basic QUMxOnRva2Vu");
    assert_eq!(request.headers["accept"], "application/json");
}

#[tokio::test]
async fn a_payment_with_an_amount_charges() {
    let (twilio, client) = start_twilio(&[(201, "", CREATED)]).await;
    client.create_payment(&call(), &create("25")).await.unwrap();
    let charge = format!("&PostalCode=false&Description={}&ChargeAmount=25.00&Currency=USD", id());
    assert!(twilio.bodies()[0].ends_with(&charge), "{:?}", twilio.bodies());
}

#[tokio::test]
async fn the_terms_of_the_call_are_sent_for_a_card() {
    let (twilio, client) = start_twilio(&[(201, "", CREATED)]).await;
    let options = PaymentOptions { timeout: PaymentTimeout::from_seconds(30), ..PaymentOptions::default() };
    let parameters = [
        ("validCardTypes", "visa,diners-club"),
        ("requireMatchingInputs", "expiration-date payment-card-number"),
        ("description", "Tea & cake"),
        ("callReference", "order-7"),
    ];
    client.create_payment(&call(), &create_by("25", &parameters, options)).await.unwrap();
    let form = &twilio.bodies()[0];
    let terms = format!(
        "&PaymentMethod=credit-card&SecurityCode=true&PostalCode=false&ValidCardTypes=visa+diners-club\
         &RequireMatchingInputs=payment-card-number%2Cexpiration-date&Timeout=30&Description=Tea+%26+cake+order-7+{}&Charge",
        id()
    );
    assert!(form.contains(&terms), "{form}");
}

#[tokio::test]
async fn a_bank_account_is_sent_with_its_holder_and_without_card_fields() {
    let (twilio, client) = start_twilio(&[(201, "", CREATED)]).await;
    let parameters = [("paymentMethod", "ach-debit"), ("bankAccountType", "commercial-checking"), ("avsName", "Acme")];
    client.create_payment(&call(), &create_by("25", &parameters, PaymentOptions::default())).await.unwrap();
    let form = &twilio.bodies()[0];
    let terms = format!(
        "&PaymentMethod=ach-debit&BankAccountType=commercial-checking&SecurityCode=false&PostalCode=false&Description={}\
         &Parameter=%7B%22AVSName%22%3A%22Acme%22%7D&ChargeAmount=25.00&Currency=USD",
        id()
    );
    assert!(form.ends_with(&terms), "{form}");
}

#[tokio::test]
async fn the_payment_id_is_sent_as_the_configured_parameter() {
    let (twilio, client) = start_twilio(&[(201, "", CREATED)]).await;
    let options = PaymentOptions { id_parameter: "ledgerId".parse().ok(), ..PaymentOptions::default() };
    client.create_payment(&call(), &create_by("25", &[], options)).await.unwrap();
    let parameter = format!("&Parameter=%7B%22ledgerId%22%3A%22{}%22%7D&ChargeAmount", id());
    assert!(twilio.bodies()[0].contains(&parameter), "{:?}", twilio.bodies());
}

#[tokio::test]
async fn an_update_is_a_capture_or_a_status() {
    let (twilio, client) = start_twilio(&[(202, "", ""), (202, "", "not JSON"), (202, "", CREATED)]).await;
    for change in [UpdateAction::Capture(Field::CardNumber), UpdateAction::Complete, UpdateAction::Cancel] {
        client.update_payment(&call(), &update(change)).await.unwrap();
    }
    let changes = [
        ("payment-card-number-1", "Capture=payment-card-number"),
        ("complete-1", "Status=complete"),
        ("cancel-1", "Status=cancel"),
    ];
    assert_eq!(twilio.bodies(), changes.map(|(step, change)| format!("{}&{change}", key_and_callback(step))));
    assert_eq!(twilio.requests()[0].path, "/2010-04-01/Accounts/AC1/Calls/CA1/Payments/PK1.json");
}

#[tokio::test]
async fn sids_cannot_leave_their_place_in_the_path() {
    let (twilio, client) = start_twilio(&[(202, "", "")]).await;
    let update = UpdatePayment {
        payment_sid: crate::ids::PaymentSid::from_stored("a/../b?c".to_owned()),
        ..update(UpdateAction::Cancel)
    };
    client.update_payment(&crate::ids::CallSid::from_stored("C/%#?".to_owned()), &update).await.unwrap();
    let path = &twilio.requests()[0].path;
    assert_eq!(path, "/2010-04-01/Accounts/AC1/Calls/C%2F%25%23%3F/Payments/a%2F..%2Fb%3Fc.json");
}

#[tokio::test]
async fn an_api_key_takes_precedence_over_the_auth_token() {
    let (twilio, client) = start_twilio(&[(202, "", "")]).await;
    let key = config::TwilioApiKey { sid: "SK1".to_owned(), secret: "secret".into() };
    let client = self::client_for(client.rest.origin.as_str(), Some(key));
    client.update_payment(&call(), &update(UpdateAction::Cancel)).await.unwrap();
    let request = &twilio.requests()[0];
    assert_eq!(request.headers["authorization"], "Basic U0sxOnNlY3JldA==");
    assert!(request.path.starts_with("/2010-04-01/Accounts/AC1/"), "the path has the account SID");
}

#[tokio::test]
async fn a_rate_limited_request_is_retried_with_the_same_key() {
    let (twilio, client) = start_twilio(&[(429, "0", ""), (503, "", "<html>"), (202, "", "")]).await;
    client.update_payment(&call(), &update(UpdateAction::Complete)).await.unwrap();
    let forms = twilio.bodies();
    assert_eq!(forms.len(), 3);
    assert!(forms.iter().all(|form| *form == forms[0]));
}

#[tokio::test]
async fn there_are_at_most_three_attempts() {
    let (twilio, client) = start_twilio(&[(500, "", ""); 4]).await;
    let error = client.update_payment(&call(), &update(UpdateAction::Complete)).await.unwrap_err();
    assert!(matches!(error, TwilioError::Unknown(UnknownOutcomeCause::ServerError { status: 500, .. })), "{error:?}");
    assert!(matches!(error, TwilioError::Unknown(_)));
    assert_eq!(twilio.bodies().len(), 3);
}

#[tokio::test]
async fn a_refusal_is_final_and_its_message_is_not_shown() {
    let body = r#"{"code":64019,"message":"4242424242424242 is missing","status":400,"more_info":"…"}"#;
    let (twilio, client) = start_twilio(&[(400, "", body)]).await;
    let error = client.update_payment(&call(), &update(UpdateAction::Complete)).await.unwrap_err();
    assert_eq!(twilio.bodies().len(), 1);
    assert!(matches!(error, TwilioError::Refused { status: 400, code: Some(64019), .. }), "{error:?}");
    assert_eq!(error.request_id(), Some("RQ1"));
    assert!(!format!("{error:?} {error} {}", error.describe_payment_failure()).contains("4242"));
    assert!(error.describe_payment_failure().contains("Not all card details"));
    assert!(!matches!(error, TwilioError::Unknown(_)) && !error.is_gone());
}

#[tokio::test]
async fn a_refusal_of_a_retry_leaves_the_outcome_unknown() {
    let over = r#"{"code":20404,"message":"not found","status":404}"#;
    let (_twilio, client) = start_twilio(&[(502, "", ""), (404, "", over)]).await;
    let error = client.update_payment(&call(), &update(UpdateAction::Complete)).await.unwrap_err();
    let refused =
        UnknownOutcomeCause::RetryRefused { status: 404, code: Some(20404), request_id: Some("RQ1".to_owned()) };
    assert_eq!(format!("{error:?}"), format!("{:?}", TwilioError::Unknown(refused)));
}

#[tokio::test]
async fn a_closed_session_is_gone() {
    for (status, body, gone) in [
        (404, "", true),
        (400, r#"{"code":21220,"message":""}"#, true),
        (400, r#"{"code":64020,"message":""}"#, false),
        (401, r#"{"code":20003,"message":""}"#, false),
    ] {
        let (_twilio, client) = start_twilio(&[(status, "", body)]).await;
        let error = client.update_payment(&call(), &update(UpdateAction::Cancel)).await.unwrap_err();
        assert_eq!(error.is_gone(), gone, "{error:?}");
    }
}

#[tokio::test]
async fn a_broken_connection_leaves_the_outcome_unknown() {
    let (twilio, client) = start_twilio(&[]).await;
    let error = client.create_payment(&call(), &create("1")).await.unwrap_err();
    assert!(matches!(error, TwilioError::Unknown(UnknownOutcomeCause::NoResponse(_))), "{error:?}");
    assert_eq!(twilio.bodies().len(), 3);
}

#[tokio::test]
async fn a_timeout_leaves_the_outcome_unknown() {
    // The listener never accepts: the kernel completes the connection, and no data is read.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = client_for(&format!("http://{}", listener.local_addr().unwrap()), None);
    Arc::get_mut(&mut client.rest).unwrap().limits.attempt_timeout = Duration::from_millis(100);
    Arc::get_mut(&mut client.rest).unwrap().limits.request_timeout = Duration::from_millis(150);
    let started = Instant::now();
    let error = client.update_payment(&call(), &update(UpdateAction::Complete)).await.unwrap_err();
    assert!(matches!(error, TwilioError::Unknown(UnknownOutcomeCause::NoResponse(_))), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_long_retry_after_is_shortened() {
    let (_twilio, client) = start_twilio(&[(429, "60", ""), (202, "", "")]).await;
    let started = Instant::now();
    client.update_payment(&call(), &update(UpdateAction::Complete)).await.unwrap();
    let waited = started.elapsed();
    assert!((Duration::from_secs(1)..Duration::from_secs(5)).contains(&waited), "{waited:?}");
}

#[tokio::test]
async fn a_response_without_a_sid_leaves_the_outcome_unknown() {
    for body in ["", "{}", r#"{"sid":""}"#, r#"{"sid":null}"#, "<html>"] {
        let (twilio, client) = start_twilio(&[(201, "", body)]).await;
        let error = client.create_payment(&call(), &create("1")).await.unwrap_err();
        assert!(matches!(error, TwilioError::Unknown(UnknownOutcomeCause::UnreadableResponse)), "{error:?}");
        assert_eq!(twilio.bodies().len(), 1);
    }
}

#[tokio::test]
async fn a_refused_connection_means_that_nothing_was_done() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = client_for(&origin, None).create_payment(&call(), &create("1")).await.unwrap_err();
    assert!(matches!(error, TwilioError::Unreachable(_)), "{error:?}");
    assert!(!matches!(error, TwilioError::Unknown(_)));
    assert!(!format!("{error:?}").contains("AC1"), "the error contains no URL");
}

#[test]
fn a_malformed_origin_is_rejected_and_no_secret_is_printed() {
    let printed = format!("{:?}", client_for("http://127.0.0.1:1", None));
    assert!(!printed.contains("token"), "{printed}");
    let mut config = config::TwilioConfig {
        account_sid: "AC1".to_owned(),
        auth_token: "token".into(),
        secondary_auth_token: None,
        webhook_shared_keys: std::collections::BTreeMap::new(),
        api_key: None,
        from_number: "+15005550006".parse().unwrap(),
        api_base: String::new(),
        sync_base: String::new(),
        webhooks_base: String::new(),
    };
    for origin in ["", "api.twilio.com", "mailto:x", "wss://host", "https://"] {
        config.api_base = origin.to_owned();
        let refused = TwilioClient::new(&config, String::new());
        assert!(matches!(refused, Err(BuildTwilioClientError::Origin(_))), "{origin}");
    }
}
