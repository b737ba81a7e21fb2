//! Tests of the file, its lock, and of payments that a killed server left open.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

#[tokio::test]
async fn ledger_is_private_and_used_by_one_server() {
    let mut test = TestLedger::new().await;
    test.create_session("25", "PK1").await;
    let second = Ledger::open(&test.directory.file()).await.unwrap_err();
    assert!(matches!(second, OpenLedgerError::InUse(_)) && second.to_string().contains("DATABASE_URL"), "{second}");
    for file in std::fs::read_dir(&test.directory.0).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.file_name());
    }
    let visitor = Ledger::open_for_cli(&test.directory.file()).await.unwrap();
    let all = PaymentFilter { since: None, state: None, after: None, limit: 9 };
    assert_eq!(visitor.payments(&all).await.unwrap().len(), 1);
    visitor.close().await;
    test.restart().await;
}

#[tokio::test]
async fn opening_for_a_command_creates_no_ledger() {
    let directory = TempDirectory::new();
    assert!(matches!(Ledger::open_for_cli(&directory.file()).await, Err(OpenLedgerError::Missing(_))));
    assert!(!directory.0.exists());
}

#[tokio::test]
async fn open_payments_of_a_killed_server_are_recovered() {
    let mut test = TestLedger::new().await;
    let submitted = test.submit_payment("25", "PK1").await;
    test.call = call("CA2");
    let nameless = test.request_create("26").await.unwrap();
    test.call = call("CA3");
    let open = test.create_session("27", "PK3").await;
    let cancel = update(open, "PK3", UpdateAction::Cancel, 1);
    test.ledger.record_update_request(&test.call, &cancel).await.unwrap();

    let mut test = test.restart().await;
    let left = test.ledger.orphan_all_payments().await;
    assert_eq!(test.state(submitted).await, PaymentState::Unknown);
    assert_eq!(test.ledger.count_payments(PaymentState::Unknown).await.unwrap(), 1);
    let [one, other] = &left[..] else { panic!("{left:?}") };
    let (one, other) = if one.payment_sid.is_none() { (one, other) } else { (other, one) };
    assert_eq!(
        one.create_request(&crate::payment::PaymentSettings::sample()).unwrap(),
        nameless,
        "the same request, with the same key"
    );
    assert_eq!(other.cancel_request("PK3".parse().unwrap()), cancel);

    assert!(
        matches!(test.request_create("1").await, Err(RecordRequestError::Recovering)),
        "a new payment on its call has to wait"
    );
    test.ledger.finish_recovery(other).await.unwrap();
    test.ledger.wait_until_recovered(&test.call.call_sid).await;
    assert_eq!(
        (test.state(open).await, test.state(nameless.id).await),
        (PaymentState::Abandoned, PaymentState::Opened)
    );
    assert!(test.request_create("1").await.is_ok());
}

#[tokio::test]
async fn payments_are_paged_by_the_last_id() {
    let mut test = TestLedger::new().await;
    let mut made = Vec::new();
    for n in 0..5 {
        test.call = call(&format!("CA{n}"));
        made.push(test.request_create("25").await.unwrap().id);
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = test.ledger.payments(&PaymentFilter { since: None, state: None, after, limit: 2 }).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        seen.extend(page.iter().map(|payment| payment.id));
    }
    assert_eq!(seen, made);
    let later = Some(Timestamp::now() + jiff::SignedDuration::from_secs(1));
    let none = PaymentFilter { since: later, state: None, after: None, limit: 9 };
    assert!(test.ledger.payments(&none).await.unwrap().is_empty());
    let charged = PaymentFilter { since: None, state: Some(PaymentState::Charged), after: None, limit: 9 };
    assert!(test.ledger.payments(&charged).await.unwrap().is_empty());
}

#[tokio::test]
async fn repeated_create_request_equals_the_first_after_a_change_of_settings() {
    let of_call = |said: &[(&str, &str)]| -> std::collections::BTreeMap<String, String> {
        said.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let mut later = PaymentSettings::sample();
    later.options.description = "Our new shop".parse().ok();
    for said in [
        &[][..],
        &[("description", "Invoice 7"), ("callReference", "call-7"), ("orderReference", "order-7")],
        &[("callReference", "call-7")],
        &[("orderReference", "4242 4242 4242 4242 and so on")],
    ] {
        let mut test = TestLedger::new().await;
        test.terms = Arc::new(PaymentSettings::sample().parse_terms(&of_call(said)).unwrap());
        let setup = serde_json::json!({"type": "setup", "callSid": "CA1", "customParameters": of_call(said)});
        let Ok(crate::relay::IncomingFrame::Setup(setup)) = crate::relay::IncomingFrame::parse(&setup.to_string())
        else {
            panic!()
        };
        test.call = CallData::from_setup(&setup);
        let first = test.request_create("25").await.unwrap();
        let test = test.restart().await;
        let left = test.ledger.orphan_all_payments().await;
        let again = left[0].create_request(&later).unwrap();
        let sent = |create: &CreatePayment| (create.idempotency_key.clone(), create.terms.wire_description(create.id));
        assert_eq!(sent(&again), sent(&first), "{said:?}");
        assert!(sent(&again).1.ends_with(&first.id.to_string()));
    }
}

#[tokio::test]
async fn sqlite_is_one_that_two_connections_can_use_at_once() {
    let ledger = TestLedger::new().await;
    let version: String =
        sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&ledger.ledger.0.readers).await.unwrap();
    let version: Vec<u32> = version.split('.').map(|part| part.parse().unwrap()).collect();
    // Before this version, a reset of the write-ahead log could corrupt the database.
    assert!(version >= vec![3, 51, 3], "{version:?}");
}

#[tokio::test]
async fn the_path_of_a_ledger_may_have_any_characters() {
    let directory = TempDirectory::new();
    for name in ["x A.db", "x%41.db", "50%.db", "ü#?&=.db"] {
        let path = directory.0.join("a b%20").join(name);
        let ledger = Ledger::open(&path).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        ledger.begin_write().await.unwrap().commit().await.unwrap();
        assert!(path.exists(), "{name}");
        assert!(path.with_file_name(format!("{name}-wal")).exists(), "SQLite uses the file of this name: {name}");
    }
}
