//! What is erased is gone from the file.

use jiff::SignedDuration;

use super::*;

/// Whether the text stands anywhere in the files of the ledger.
pub(super) fn stands(directory: &Path, text: &str) -> bool {
    std::fs::read_dir(directory).unwrap().any(|file| {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

#[tokio::test]
async fn a_token_that_was_delivered_is_in_no_byte_of_the_files() {
    let mut desk = Desk::new().await;
    // Enough that pages split and rows move.
    for n in 0..150 {
        let (sid, token) = (format!("PK{n}"), format!("tok_hush-{n:04}"));
        desk.call = call(&format!("CA{n}"));
        desk.call.reference = Some(crate::redact::Private::new("order ".repeat(n % 40)));
        desk.submitted("0", &sid).await;
        desk.told(&sid, &[("Result", "success"), ("PaymentToken", &token)]).await;
    }
    assert!(stands(&desk.directory.0, "tok_hush-0149"), "it is there until then");
    loop {
        let due = desk.ledger.due(Timestamp::now(), 16).await.unwrap();
        if due.is_empty() {
            break;
        }
        for due in due {
            assert!(due.body.expose_secret().contains(r#""paymentToken":"tok_hush-"#));
            desk.ledger.delivered(&due).await.unwrap();
        }
    }
    desk.ledger.wipe_erased().await.unwrap();
    assert!(!stands(&desk.directory.0, "tok_hush"));
}

#[tokio::test]
async fn without_a_webhook_a_token_is_gone_when_its_time_is_over() {
    let mut desk = Desk::new().await;
    let id = desk.submitted("0", "PK1").await;
    desk.told("PK1", &TOKENIZED).await;
    let expire = async |before| {
        desk.ledger.drop_outcomes(before).await.unwrap();
        desk.ledger.erase_tokens(before).await.unwrap();
        desk.ledger.wipe_erased().await.unwrap();
    };
    let now = Timestamp::now();
    expire(now - SignedDuration::from_hours(72)).await;
    assert!(desk.ledger.payment(id).await.unwrap().unwrap().holds_token);
    expire(now + SignedDuration::from_secs(1)).await;
    assert!(!desk.ledger.payment(id).await.unwrap().unwrap().holds_token);
    assert!(!stands(&desk.directory.0, "tok_hush"));
    assert_eq!(desk.kinds(id).await.last().unwrap(), "token-erased");
}

#[tokio::test]
async fn what_was_erased_when_the_server_died_is_gone_after_the_next_start() {
    let mut desk = Desk::new().await;
    desk.submitted("0", "PK1").await;
    desk.told("PK1", &TOKENIZED).await;
    let due = desk.ledger.due(Timestamp::now(), 1).await.unwrap().remove(0);
    desk.ledger.delivered(&due).await.unwrap();
    // As a kill leaves it: the log was not emptied, and is not by closing the file.
    let left = Directory::new();
    std::fs::create_dir(&left.0).unwrap();
    for file in ["ledger.db", "ledger.db-wal"] {
        std::fs::copy(desk.directory.0.join(file), left.0.join(file)).unwrap();
    }
    assert!(stands(&left.0, "tok_hush"));
    let _ledger = Ledger::take_over(&left.file()).await.unwrap();
    assert!(!stands(&left.0, "tok_hush"));
}
