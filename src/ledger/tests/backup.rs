//! Copies of the ledger.

use std::os::unix::fs::PermissionsExt as _;

use super::erasing::stands;
use super::*;

#[tokio::test]
async fn a_backup_is_made_while_the_server_writes_for_its_user_alone_and_without_tokens() {
    let mut desk = Desk::new().await;
    for n in 0..40 {
        desk.call = call(&format!("CA{n}"));
        let sid = format!("PK{n}");
        desk.submitted("0", &sid).await;
        desk.told(&sid, &[("Result", "success"), ("PaymentToken", &format!("tok_hush-{n:04}"))]).await;
    }
    let copy = Directory::new();
    std::fs::create_dir(&copy.0).unwrap();
    std::fs::write(copy.0.join("ledger.db.part"), "left by a copy that was cut").unwrap();
    let visitor = Ledger::visit(&desk.directory.file()).await.unwrap();
    desk.call = call("CA99");
    let file = copy.file();
    let (made, opened) = tokio::join!(visitor.backup(&file), desk.opened("25", "PK99"));
    made.unwrap();
    assert_eq!(std::fs::metadata(copy.file()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(&copy.0).unwrap().count(), 1, "nothing is left beside it");
    assert!(stands(&desk.directory.0, "tok_hush") && !stands(&copy.0, "tok_hush"));
    assert_eq!(desk.state(opened).await, State::Opened);

    let restored = Ledger::open(&copy.file()).await.unwrap();
    assert!(restored.count(State::Tokenized).await.unwrap() == 40 && restored.backlog().await.unwrap().waiting == 40);
    let filter = Filter { since: None, state: Some(State::Tokenized), after: None, limit: 99 };
    assert!(restored.payments(&filter).await.unwrap().iter().all(|payment| !payment.holds_token));
}

#[tokio::test]
async fn a_backup_overwrites_nothing() {
    let desk = Desk::new().await;
    let copy = Directory::new();
    std::fs::create_dir(&copy.0).unwrap();
    std::fs::write(copy.file(), "mine").unwrap();
    assert!(matches!(desk.ledger.backup(&copy.file()).await, Err(BackupError::Exists(_))));
    assert_eq!(std::fs::read(copy.file()).unwrap(), b"mine");
    assert!(matches!(desk.ledger.backup(&copy.0.join("no/such")).await, Err(BackupError::File(..))));
}
