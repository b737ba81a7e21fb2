//! `/payments`: listing, showing and settling payments over HTTP.

use super::*;

/// Starts a server and posts success callbacks for this number of payments that it did not create.
async fn start_with_payments(count: usize) -> Server {
    let (server, ..) = start_server(&[]).await;
    for n in 0..count {
        let (call, payment) = (format!("CA{n}"), format!("PK{n}"));
        let form = [
            ("CallSid", call.as_str()),
            ("Sid", &payment),
            ("Result", "success"),
            ("PaymentToken", "tok_hush"),
            ("PaymentCardNumber", "xxxxxxxxxxxx4242"),
        ];
        assert_eq!(server.post_as_twilio("/payment-status-callback", &form).await.status(), StatusCode::NO_CONTENT);
    }
    server
}

async fn get_page(server: &Server, query: &str) -> Value {
    let answer = server.get_as_operator(&format!("/payments{query}")).await;
    assert_eq!(answer.status(), StatusCode::OK);
    answer.json().await.unwrap()
}

#[tokio::test]
async fn payments_are_listed_in_pages_and_without_tokens() {
    let server = start_with_payments(3).await;
    let first = get_page(&server, "?limit=2").await;
    let next = first["next"].as_str().unwrap();
    let last = get_page(&server, &format!("?limit=2&after={next}")).await;
    assert_eq!(last["next"], Value::Null);
    let rows: Vec<&Value> =
        first["payments"].as_array().unwrap().iter().chain(last["payments"].as_array().unwrap()).collect();
    let calls: Vec<&str> = rows.iter().map(|row| row["callSid"].as_str().unwrap()).collect();
    assert_eq!(calls, ["CA0", "CA1", "CA2"]);
    assert!(rows.iter().all(|row| row["holdsToken"] == true && row["last4"] == "4242" && row["state"] == "unknown"));
    assert!(!first.to_string().contains("hush"));

    let count = async |query| get_page(&server, query).await["payments"].as_array().unwrap().len();
    assert_eq!(count("?since=24h&state=unknown").await, 3);
    assert_eq!(count("?state=charged").await, 0);
    assert_eq!(count("?since=2999-01-01").await, 0);
}

#[tokio::test]
async fn a_payment_is_shown_with_its_events() {
    let server = start_with_payments(1).await;
    let id = get_page(&server, "").await["payments"][0]["id"].as_str().unwrap().to_owned();
    let payment: Value = server.get_as_operator(&format!("/payments/{id}")).await.json().await.unwrap();
    let kinds: Vec<&str> =
        payment["events"].as_array().unwrap().iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!((kinds, payment["paymentSid"].as_str()), (vec!["found", "ended"], Some("PK0")));
    assert!(!payment.to_string().contains("hush"));
}

#[tokio::test]
async fn invalid_payment_requests_are_refused() {
    let server = start_with_payments(1).await;
    let id = get_page(&server, "").await["payments"][0]["id"].as_str().unwrap().to_owned();
    let unknown = "2f1b6c1e-8f0a-5d3c-9a51-0d2f6d1c9a10";
    for (path, status) in [
        (format!("/payments/{unknown}"), StatusCode::NOT_FOUND),
        ("/payments/no-id".to_owned(), StatusCode::NOT_FOUND),
        (format!("/payments?after={unknown}"), StatusCode::BAD_REQUEST),
        ("/payments?since=yesterday".to_owned(), StatusCode::BAD_REQUEST),
        ("/payments?state=paid".to_owned(), StatusCode::BAD_REQUEST),
        ("/payments?limit=0".to_owned(), StatusCode::BAD_REQUEST),
        ("/payments?limit=many".to_owned(), StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(error_response(server.get_as_operator(&path).await).await.0, status, "{path}");
    }
    // The ledger does not know whether the payment was a charge or a tokenization.
    let charged = server.post_as_operator(&format!("/payments/{id}/settle"), &json!({"outcome": "charged"})).await;
    assert_eq!(charged.status(), StatusCode::OK);
    for (id, word, status) in [
        (id.as_str(), json!({"outcome": "declined"}), StatusCode::CONFLICT),
        (unknown, json!({"outcome": "declined"}), StatusCode::NOT_FOUND),
        (&id, json!({"outcome": "unknown"}), StatusCode::BAD_REQUEST),
        (&id, json!({"outcome": "declined", "amount": "1"}), StatusCode::BAD_REQUEST),
    ] {
        let answer = server.post_as_operator(&format!("/payments/{id}/settle"), &word).await;
        assert_eq!(error_response(answer).await.0, status, "{word}");
    }
    for path in ["/payments", &format!("/payments/{id}")] {
        assert_eq!(error_response(server.get(path).await).await.0, StatusCode::UNAUTHORIZED);
    }
}
