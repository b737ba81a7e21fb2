//! Tests that erased data is gone from the file.

use jiff::SignedDuration;

use super::*;

/// Whether any file of the ledger contains the text.
pub(super) fn is_in_files(directory: &Path, text: &str) -> bool {
    std::fs::read_dir(directory).unwrap().any(|file| {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

#[tokio::test]
async fn delivered_token_is_in_no_byte_of_the_files() {
    let mut test = TestLedger::new().await;
    // Enough rows for pages to split and rows to move.
    for n in 0..150 {
        let (sid, token) = (format!("PK{n}"), format!("tok_hush-{n:04}"));
        test.call = call(&format!("CA{n}"));
        test.call.call_reference = Some(crate::redact::Private::new("order ".repeat(n % 40)));
        test.submit_payment("0", &sid).await;
        test.deliver_callback(&sid, &[("Result", "success"), ("PaymentToken", &token)]).await;
    }
    assert!(is_in_files(&test.directory.0, "tok_hush-0149"), "it is there before the delivery");
    loop {
        let due = test.ledger.due_deliveries(Timestamp::now(), 16).await.unwrap();
        if due.is_empty() {
            break;
        }
        for due in due {
            assert!(due.body.as_ref().unwrap().expose_secret().contains(r#""paymentToken":"tok_hush-"#));
            test.ledger.record_delivered(&due).await.unwrap();
        }
    }
    test.ledger.wipe_erased().await.unwrap();
    assert!(!is_in_files(&test.directory.0, "tok_hush"));
}

#[tokio::test]
async fn without_a_webhook_a_token_is_erased_after_its_retention() {
    let mut test = TestLedger::new().await;
    let id = test.submit_payment("0", "PK1").await;
    test.deliver_callback("PK1", &TOKENIZED).await;
    let expire = async |before| {
        test.ledger.delete_outcomes(before).await.unwrap();
        test.ledger.erase_tokens(before).await.unwrap();
        test.ledger.wipe_erased().await.unwrap();
    };
    let now = Timestamp::now();
    expire(now - SignedDuration::from_hours(72)).await;
    assert!(test.ledger.payment(id).await.unwrap().unwrap().holds_token);
    expire(now + SignedDuration::from_secs(1)).await;
    assert!(!test.ledger.payment(id).await.unwrap().unwrap().holds_token);
    assert!(!is_in_files(&test.directory.0, "tok_hush"));
    assert_eq!(test.event_kinds(id).await.last().unwrap(), "token-erased");
}

#[tokio::test]
async fn erased_data_of_a_killed_server_is_gone_once_the_next_one_maintains_the_ledger() {
    let mut test = TestLedger::new().await;
    test.submit_payment("0", "PK1").await;
    test.deliver_callback("PK1", &TOKENIZED).await;
    let due = test.ledger.due_deliveries(Timestamp::now(), 1).await.unwrap().remove(0);
    test.ledger.record_delivered(&due).await.unwrap();
    // As after a kill: the log was not emptied, neither before nor on closing the file.
    let left = TempDirectory::new();
    std::fs::create_dir(&left.0).unwrap();
    for file in ["ledger.db", "ledger.db-wal"] {
        std::fs::copy(test.directory.0.join(file), left.0.join(file)).unwrap();
    }
    assert!(is_in_files(&left.0, "tok_hush"));
    let ledger = Ledger::take_over(&left.file()).await.unwrap();
    // Maintenance does this at once.
    ledger.wipe_erased().await.unwrap();
    assert!(!is_in_files(&left.0, "tok_hush"));
}
