//! What the ledger says, over HTTP.

use super::*;

/// A server to which Twilio reports that cards were stored, in payments that it did not open.
async fn with_payments(count: usize) -> Server {
    let (server, ..) = house(&[]).await;
    for n in 0..count {
        let (call, payment) = (format!("CA{n}"), format!("PK{n}"));
        let form = [
            ("CallSid", call.as_str()),
            ("Sid", &payment),
            ("Result", "success"),
            ("PaymentToken", "tok_hush"),
            ("PaymentCardNumber", "xxxxxxxxxxxx4242"),
        ];
        assert_eq!(server.twilio_posts("/payment-status-callback", &form).await.status(), StatusCode::NO_CONTENT);
    }
    server
}

async fn page(server: &Server, query: &str) -> Value {
    let answer = server.operator_gets(&format!("/payments{query}")).await;
    assert_eq!(answer.status(), StatusCode::OK);
    answer.json().await.unwrap()
}

#[tokio::test]
async fn payments_are_listed_page_by_page_and_never_with_a_token() {
    let server = with_payments(3).await;
    let first = page(&server, "?limit=2").await;
    let next = first["next"].as_str().unwrap();
    let last = page(&server, &format!("?limit=2&after={next}")).await;
    assert_eq!(last["next"], Value::Null);
    let rows: Vec<&Value> =
        first["payments"].as_array().unwrap().iter().chain(last["payments"].as_array().unwrap()).collect();
    let calls: Vec<&str> = rows.iter().map(|row| row["callSid"].as_str().unwrap()).collect();
    assert_eq!(calls, ["CA0", "CA1", "CA2"]);
    assert!(rows.iter().all(|row| row["holdsToken"] == true && row["last4"] == "4242" && row["state"] == "unknown"));
    assert!(!first.to_string().contains("hush"));

    let count = async |query| page(&server, query).await["payments"].as_array().unwrap().len();
    assert_eq!(count("?since=24h&state=unknown").await, 3);
    assert_eq!(count("?state=charged").await, 0);
    assert_eq!(count("?since=2999-01-01").await, 0);
}

#[tokio::test]
async fn a_payment_is_shown_with_all_that_happened_to_it() {
    let server = with_payments(1).await;
    let id = page(&server, "").await["payments"][0]["id"].as_str().unwrap().to_owned();
    let payment: Value = server.operator_gets(&format!("/payments/{id}")).await.json().await.unwrap();
    let kinds: Vec<&str> =
        payment["events"].as_array().unwrap().iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!((kinds, payment["paymentSid"].as_str()), (vec!["found", "ended"], Some("PK0")));
    assert!(!payment.to_string().contains("hush"));
}

#[tokio::test]
async fn what_cannot_be_shown_or_settled_is_told() {
    let server = with_payments(1).await;
    let id = page(&server, "").await["payments"][0]["id"].as_str().unwrap().to_owned();
    let nobody = "2f1b6c1e-8f0a-5d3c-9a51-0d2f6d1c9a10";
    for (path, status) in [
        (format!("/payments/{nobody}"), StatusCode::NOT_FOUND),
        ("/payments/no-id".to_owned(), StatusCode::NOT_FOUND),
        (format!("/payments?after={nobody}"), StatusCode::BAD_REQUEST),
        ("/payments?since=yesterday".to_owned(), StatusCode::BAD_REQUEST),
        ("/payments?state=paid".to_owned(), StatusCode::BAD_REQUEST),
        ("/payments?limit=0".to_owned(), StatusCode::BAD_REQUEST),
        ("/payments?limit=many".to_owned(), StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(refusal(server.operator_gets(&path).await).await.0, status, "{path}");
    }
    // Nobody here knows whether it was to charge an amount or to store a card.
    let charged = server.operator_posts(&format!("/payments/{id}/settle"), &json!({"outcome": "charged"})).await;
    assert_eq!(charged.status(), StatusCode::OK);
    for (id, word, status) in [
        (id.as_str(), json!({"outcome": "declined"}), StatusCode::CONFLICT),
        (nobody, json!({"outcome": "declined"}), StatusCode::NOT_FOUND),
        (&id, json!({"outcome": "unknown"}), StatusCode::BAD_REQUEST),
        (&id, json!({"outcome": "declined", "amount": "1"}), StatusCode::BAD_REQUEST),
    ] {
        let answer = server.operator_posts(&format!("/payments/{id}/settle"), &word).await;
        assert_eq!(refusal(answer).await.0, status, "{word}");
    }
    for path in ["/payments", &format!("/payments/{id}")] {
        assert_eq!(refusal(server.get(path).await).await.0, StatusCode::UNAUTHORIZED);
    }
}
