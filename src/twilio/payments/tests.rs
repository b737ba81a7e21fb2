//! The client against a Twilio of our own, over real sockets.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::Instant;
use uuid::Uuid;

use super::*;
use crate::config;
use crate::payment::{Amount, Currency, Field, Ids, Options, PaymentId, Settings, Timeout};
use crate::twilio::BadConfig;
use crate::twilio::stand_in::{Twilio, client};

const CREATED: &str = r#"{"sid":"PK1","call_sid":"CA1","account_sid":"AC1","uri":"/x","date_created":null}"#;

fn call() -> CallSid {
    "CA1".parse().unwrap()
}

fn id() -> PaymentId {
    Ids::new(Uuid::nil()).make()
}

fn create(charge: &str) -> Create {
    create_by(charge, &[], Options::default())
}

fn create_by(charge: &str, said: &[(&str, &str)], options: Options) -> Create {
    let charge = Amount::parse(charge, Currency::USD).unwrap();
    let settings = Settings { connector: "My connector".to_owned(), options, ..Settings::sample() };
    let said = said.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let terms = Arc::new(settings.terms(&said).unwrap());
    Create { id: id(), key: id().create_key(), charge, terms, agreed: None }
}

fn update(change: Change) -> Update {
    Update { id: id(), sid: "PK1".parse().unwrap(), key: id().change_key(change, 1), change, given_up: None }
}

fn key_and_callback(step: &str) -> String {
    let id = id();
    format!("IdempotencyKey={id}-{step}&StatusCallback=https%3A%2F%2Fexample.com%2Fpayment-status-callback")
}

#[tokio::test]
async fn a_payment_without_an_amount_tokenizes() {
    let (twilio, client) = Twilio::start(&[(201, "", CREATED)]).await;
    assert_eq!(client.create_payment(&call(), &create("0")).await.unwrap().as_str(), "PK1");
    assert_eq!(
        twilio.forms(),
        [format!(
            "{}&PaymentConnector=My+connector&PaymentMethod=credit-card\
             &SecurityCode=true&PostalCode=false&Description={}&TokenType=one-time",
            key_and_callback("create"),
            id()
        )]
    );
    let asked = &twilio.asked.lock().unwrap()[0];
    assert_eq!(asked.path, "/2010-04-01/Accounts/AC1/Calls/CA1/Payments.json");
    assert_eq!(asked.headers["content-type"], "application/x-www-form-urlencoded");
    assert_eq!(asked.headers["authorization"], "Basic QUMxOnRva2Vu");
    assert_eq!(asked.headers["accept"], "application/json");
}

#[tokio::test]
async fn an_amount_is_charged_and_nothing_tokenized() {
    let (twilio, client) = Twilio::start(&[(201, "", CREATED)]).await;
    client.create_payment(&call(), &create("25")).await.unwrap();
    let charge = format!("&PostalCode=false&Description={}&ChargeAmount=25.00&Currency=USD", id());
    assert!(twilio.forms()[0].ends_with(&charge), "{:?}", twilio.forms());
}

#[tokio::test]
async fn a_card_is_taken_by_the_terms_of_the_call() {
    let (twilio, client) = Twilio::start(&[(201, "", CREATED)]).await;
    let options = Options { timeout: Timeout::from_seconds(30), ..Options::default() };
    let said = [
        ("validCardTypes", "visa,diners-club"),
        ("requireMatchingInputs", "expiration-date payment-card-number"),
        ("description", "Tea & cake"),
        ("callReference", "order-7"),
    ];
    client.create_payment(&call(), &create_by("25", &said, options)).await.unwrap();
    let form = &twilio.forms()[0];
    let terms = format!(
        "&PaymentMethod=credit-card&SecurityCode=true&PostalCode=false&ValidCardTypes=visa+diners-club\
         &RequireMatchingInputs=payment-card-number%2Cexpiration-date&Timeout=30&Description=Tea+%26+cake+order-7+{}&Charge",
        id()
    );
    assert!(form.contains(&terms), "{form}");
}

#[tokio::test]
async fn a_bank_account_is_taken_with_the_name_of_its_holder_and_nothing_of_a_card() {
    let (twilio, client) = Twilio::start(&[(201, "", CREATED)]).await;
    let said = [("paymentMethod", "ach-debit"), ("bankAccountType", "commercial-checking"), ("avsName", "Acme")];
    client.create_payment(&call(), &create_by("25", &said, Options::default())).await.unwrap();
    let form = &twilio.forms()[0];
    let terms = format!(
        "&PaymentMethod=ach-debit&BankAccountType=commercial-checking&SecurityCode=false&PostalCode=false&Description={}\
         &Parameter=%7B%22AVSName%22%3A%22Acme%22%7D&ChargeAmount=25.00&Currency=USD",
        id()
    );
    assert!(form.ends_with(&terms), "{form}");
}

#[tokio::test]
async fn the_id_of_the_payment_is_a_parameter_where_the_connector_takes_one() {
    let (twilio, client) = Twilio::start(&[(201, "", CREATED)]).await;
    let options = Options { id_parameter: "ledgerId".parse().ok(), ..Options::default() };
    client.create_payment(&call(), &create_by("25", &[], options)).await.unwrap();
    let parameter = format!("&Parameter=%7B%22ledgerId%22%3A%22{}%22%7D&ChargeAmount", id());
    assert!(twilio.forms()[0].contains(&parameter), "{:?}", twilio.forms());
}

#[tokio::test]
async fn an_update_is_a_capture_or_a_status() {
    let (twilio, client) = Twilio::start(&[(202, "", ""), (202, "", "not JSON"), (202, "", CREATED)]).await;
    for change in [Change::Capture(Field::CardNumber), Change::Complete, Change::Cancel] {
        client.update_payment(&call(), &update(change)).await.unwrap();
    }
    let changes = [
        ("payment-card-number-1", "Capture=payment-card-number"),
        ("complete-1", "Status=complete"),
        ("cancel-1", "Status=cancel"),
    ];
    assert_eq!(twilio.forms(), changes.map(|(step, change)| format!("{}&{change}", key_and_callback(step))));
    assert_eq!(twilio.asked.lock().unwrap()[0].path, "/2010-04-01/Accounts/AC1/Calls/CA1/Payments/PK1.json");
}

#[tokio::test]
async fn sids_cannot_leave_their_place_in_the_path() {
    let (twilio, client) = Twilio::start(&[(202, "", "")]).await;
    let update = Update { sid: "a/../b?c".parse().unwrap(), ..update(Change::Cancel) };
    client.update_payment(&"C/%#?".parse().unwrap(), &update).await.unwrap();
    let path = &twilio.asked.lock().unwrap()[0].path;
    assert_eq!(path, "/2010-04-01/Accounts/AC1/Calls/C%2F%25%23%3F/Payments/a%2F..%2Fb%3Fc.json");
}

#[tokio::test]
async fn an_api_key_pair_comes_before_the_token() {
    let (twilio, client) = Twilio::start(&[(202, "", "")]).await;
    let key = config::ApiKey { sid: "SK1".to_owned(), secret: "secret".into() };
    let client = self::client(client.rest.origin.as_str(), Some(key));
    client.update_payment(&call(), &update(Change::Cancel)).await.unwrap();
    let asked = &twilio.asked.lock().unwrap()[0];
    assert_eq!(asked.headers["authorization"], "Basic U0sxOnNlY3JldA==");
    assert!(asked.path.starts_with("/2010-04-01/Accounts/AC1/"), "the path names the account all the same");
}

#[tokio::test]
async fn a_busy_twilio_is_asked_again_with_the_same_key() {
    let (twilio, client) = Twilio::start(&[(429, "0", ""), (503, "", "<html>"), (202, "", "")]).await;
    client.update_payment(&call(), &update(Change::Complete)).await.unwrap();
    let forms = twilio.forms();
    assert_eq!(forms.len(), 3);
    assert!(forms.iter().all(|form| *form == forms[0]));
}

#[tokio::test]
async fn three_attempts_are_all() {
    let (twilio, client) = Twilio::start(&[(500, "", ""); 4]).await;
    let error = client.update_payment(&call(), &update(Change::Complete)).await.unwrap_err();
    assert!(matches!(error, Error::Unknown(Cause::Failed(500))), "{error:?}");
    assert!(matches!(error, Error::Unknown(_)));
    assert_eq!(twilio.forms().len(), 3);
}

#[tokio::test]
async fn a_refusal_is_final_and_its_text_stays_here() {
    let body = r#"{"code":64019,"message":"4242424242424242 is missing","status":400,"more_info":"…"}"#;
    let (twilio, client) = Twilio::start(&[(400, "", body)]).await;
    let error = client.update_payment(&call(), &update(Change::Complete)).await.unwrap_err();
    assert_eq!(twilio.forms().len(), 1);
    assert!(matches!(error, Error::Refused { status: 400, code: Some(64019), .. }), "{error:?}");
    assert!(!format!("{error:?} {error} {}", error.reason()).contains("4242"));
    assert!(error.reason().contains("Not all card details"));
    assert!(!matches!(error, Error::Unknown(_)) && !error.is_gone());
}

#[tokio::test]
async fn a_refusal_of_a_repeated_request_may_be_about_the_first() {
    let over = r#"{"code":20404,"message":"not found","status":404}"#;
    let (_, client) = Twilio::start(&[(502, "", ""), (404, "", over)]).await;
    let error = client.update_payment(&call(), &update(Change::Complete)).await.unwrap_err();
    let refused = Cause::RefusedLater { status: 404, code: Some(20404) };
    assert_eq!(format!("{error:?}"), format!("{:?}", Error::Unknown(refused)));
}

#[tokio::test]
async fn a_session_that_is_over_is_gone() {
    for (status, body, gone) in [
        (404, "", true),
        (400, r#"{"code":21220,"message":""}"#, true),
        (400, r#"{"code":64020,"message":""}"#, false),
        (401, r#"{"code":20003,"message":""}"#, false),
    ] {
        let (_, client) = Twilio::start(&[(status, "", body)]).await;
        let error = client.update_payment(&call(), &update(Change::Cancel)).await.unwrap_err();
        assert_eq!(error.is_gone(), gone, "{error:?}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_leaves_it_unknown() {
    let (twilio, client) = Twilio::start(&[]).await;
    let error = client.create_payment(&call(), &create("1")).await.unwrap_err();
    assert!(matches!(error, Error::Unknown(Cause::NoAnswer(_))), "{error:?}");
    assert_eq!(twilio.forms().len(), 3);
}

#[tokio::test]
async fn a_twilio_that_does_not_answer_leaves_it_unknown_in_good_time() {
    // A listener that never accepts: the kernel takes the connection, and nobody reads from it.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = client(&format!("http://{}", listener.local_addr().unwrap()), None);
    client.rest.limits.attempt = Duration::from_millis(100);
    client.rest.limits.request = Duration::from_millis(150);
    let asked = Instant::now();
    let error = client.update_payment(&call(), &update(Change::Complete)).await.unwrap_err();
    assert!(matches!(error, Error::Unknown(Cause::NoAnswer(_))), "{error:?}");
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn nobody_waits_as_long_as_twilio_may_ask() {
    let (_, client) = Twilio::start(&[(429, "60", ""), (202, "", "")]).await;
    let asked = Instant::now();
    client.update_payment(&call(), &update(Change::Complete)).await.unwrap();
    let waited = asked.elapsed();
    assert!((Duration::from_secs(1)..Duration::from_secs(5)).contains(&waited), "{waited:?}");
}

#[tokio::test]
async fn a_payment_that_was_created_without_a_name_is_unknown() {
    for body in ["", "{}", r#"{"sid":""}"#, r#"{"sid":null}"#, "<html>"] {
        let (twilio, client) = Twilio::start(&[(201, "", body)]).await;
        let error = client.create_payment(&call(), &create("1")).await.unwrap_err();
        assert!(matches!(error, Error::Unknown(Cause::Unreadable)), "{error:?}");
        assert_eq!(twilio.forms().len(), 1);
    }
}

#[tokio::test]
async fn a_twilio_that_is_not_there_did_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = client(&origin, None).create_payment(&call(), &create("1")).await.unwrap_err();
    assert!(matches!(error, Error::Unreached(_)), "{error:?}");
    assert!(!matches!(error, Error::Unknown(_)));
    assert!(!format!("{error:?}").contains("AC1"), "the error names no URL");
}

#[test]
fn an_origin_must_be_one_and_no_secret_is_printed() {
    let printed = format!("{:?}", client("http://127.0.0.1:1", None));
    assert!(!printed.contains("token"), "{printed}");
    let mut config = config::Twilio {
        account_sid: "AC1".to_owned(),
        auth_token: "token".into(),
        api_key: None,
        from_number: "+15005550006".parse().unwrap(),
        api_base: String::new(),
        sync_base: String::new(),
    };
    for origin in ["", "api.twilio.com", "mailto:x", "wss://host", "https://"] {
        config.api_base = origin.to_owned();
        let refused = Client::new(&config, String::new());
        assert!(matches!(refused, Err(BadConfig::Origin(_))), "{origin}");
    }
}
