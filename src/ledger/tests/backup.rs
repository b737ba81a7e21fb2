//! Tests of backups.

use std::os::unix::fs::PermissionsExt as _;

use super::erasure::is_in_files;
use super::*;

#[tokio::test]
async fn backup_beside_a_writer_is_private_and_contains_no_tokens() {
    let mut test = TestLedger::new().await;
    for n in 0..40 {
        test.call = call(&format!("CA{n}"));
        let sid = format!("PK{n}");
        test.submit_payment("0", &sid).await;
        test.deliver_callback(&sid, &[("Result", "success"), ("PaymentToken", &format!("tok_hush-{n:04}"))]).await;
    }
    let copy = TempDirectory::new();
    std::fs::create_dir(&copy.0).unwrap();
    let visitor = Ledger::open_for_cli(&test.directory.file()).await.unwrap();
    test.call = call("CA99");
    let file = copy.file();
    let (made, opened) = tokio::join!(visitor.backup(&file), test.create_session("25", "PK99"));
    made.unwrap();
    assert_eq!(std::fs::metadata(copy.file()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(&copy.0).unwrap().count(), 1, "no other file is left");
    assert!(is_in_files(&test.directory.0, "tok_hush") && !is_in_files(&copy.0, "tok_hush"));
    assert_eq!(test.state(opened).await, PaymentState::Opened);

    let refused = Ledger::open(&copy.file()).await.unwrap_err();
    assert!(matches!(refused, OpenLedgerError::Copied(_)), "the server of the ledger may still run: {refused}");
    let restored = Ledger::take_over(&copy.file()).await.unwrap();
    assert!(
        restored.count_payments(PaymentState::Tokenized).await.unwrap() == 40
            && restored.backlog().await.unwrap().waiting == 40
    );
    let filter = PaymentFilter { since: None, state: Some(PaymentState::Tokenized), after: None, limit: 99 };
    assert!(restored.payments(&filter).await.unwrap().iter().all(|payment| !payment.holds_token));
}

#[tokio::test]
async fn backup_overwrites_no_file() {
    let test = TestLedger::new().await;
    let copy = TempDirectory::new();
    std::fs::create_dir(&copy.0).unwrap();
    std::fs::write(copy.file(), "mine").unwrap();
    assert!(matches!(test.ledger.backup(&copy.file()).await, Err(BackupError::Exists(_))));
    assert_eq!(std::fs::read(copy.file()).unwrap(), b"mine");
    assert!(matches!(test.ledger.backup(&copy.0.join("no/such")).await, Err(BackupError::File(..))));
}

/// The schema, the row number sequences and the number of migrations.
async fn schema_and_sequences(file: &Path) -> (Vec<(String, String)>, Vec<(String, i64)>, i64) {
    use sqlx::ConnectOptions as _;
    let mut ledger = sqlx::sqlite::SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    let schema = "SELECT name, coalesce(sql, '') FROM sqlite_master ORDER BY name";
    let schema = sqlx::query_as(schema).fetch_all(&mut ledger).await.unwrap();
    let sequences = "SELECT name, seq FROM sqlite_sequence ORDER BY name";
    let sequences = sqlx::query_as(sequences).fetch_all(&mut ledger).await.unwrap();
    let migrations = "SELECT count(*) FROM _sqlx_migrations";
    (schema, sequences, sqlx::query_scalar(migrations).fetch_one(&mut ledger).await.unwrap())
}

#[tokio::test]
async fn backup_contains_everything_but_the_tokens_and_the_lease() {
    let mut test = TestLedger::new().await;
    let id = test.submit_payment("25", "PK1").await;
    test.deliver_callback("PK1", &CHARGED).await;
    // Its number stays assigned although the row is deleted.
    test.execute("DELETE FROM outbox").await.unwrap();
    let copy = TempDirectory::new();
    std::fs::create_dir(&copy.0).unwrap();
    test.ledger.backup(&copy.file()).await.unwrap();
    assert_eq!(schema_and_sequences(&copy.file()).await, schema_and_sequences(&test.directory.file()).await);
    let history = test.event_kinds(id).await;
    let visitor = Ledger::open_for_cli(&copy.file()).await.unwrap();
    let copied: Vec<_> = visitor.events(id).await.unwrap().into_iter().map(|event| event.kind).collect();
    assert_eq!(copied, history);
}

#[tokio::test]
async fn unfinished_backup_never_contains_a_token() {
    let mut test = TestLedger::new().await;
    test.submit_payment("0", "PK1").await;
    test.deliver_callback("PK1", &TOKENIZED).await;
    // More than SQLite keeps in memory before it writes.
    test.duplicate_payments(20_000).await;
    let copy = TempDirectory::new();
    std::fs::create_dir(&copy.0).unwrap();
    let (part, is_done) = (copy.0.join("ledger.db.part"), Arc::new(AtomicBool::new(false)));
    let watch = {
        let (directory, is_done) = (copy.0.clone(), is_done.clone());
        std::thread::spawn(move || {
            let mut has_token = false;
            while !is_done.load(Ordering::Relaxed) {
                // A file may be renamed before it is read.
                for file in std::fs::read_dir(&directory).unwrap() {
                    let bytes = std::fs::read(file.unwrap().path()).unwrap_or_default();
                    has_token |= contains(&bytes, b"tok_hush");
                }
            }
            has_token
        })
    };
    let backup = test.ledger.backup(&copy.file()).await;
    is_done.store(true, Ordering::Relaxed);
    assert!(!watch.join().unwrap() && !is_in_files(&copy.0, "tok_hush"));
    backup.unwrap();
    assert!(!part.exists());
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

#[tokio::test]
async fn failed_or_interrupted_backup_leaves_no_file() {
    let mut test = TestLedger::new().await;
    test.submit_payment("0", "PK1").await;
    test.deliver_callback("PK1", &TOKENIZED).await;
    test.duplicate_payments(20_000).await;
    let copy = TempDirectory::new();
    std::fs::create_dir(&copy.0).unwrap();
    let is_empty = || std::fs::read_dir(&copy.0).unwrap().next().is_none();
    let interrupted = tokio::time::timeout(std::time::Duration::from_millis(5), test.ledger.backup(&copy.file())).await;
    assert!(interrupted.is_err() && is_empty());
    // A row that violates a constraint of the copy.
    let mut beside = test.connect_other().await;
    sqlx::query("PRAGMA ignore_check_constraints = ON").execute(&mut beside).await.unwrap();
    sqlx::query("UPDATE payments SET state = 'none' WHERE seq = 20000").execute(&mut beside).await.unwrap();
    assert!(matches!(test.ledger.backup(&copy.file()).await, Err(BackupError::Database(_))));
    assert!(is_empty());
}

#[tokio::test]
async fn part_file_of_another_backup_is_not_overwritten() {
    let test = TestLedger::new().await;
    let copy = TempDirectory::new();
    std::fs::create_dir(&copy.0).unwrap();
    let part = copy.0.join("ledger.db.part");
    std::fs::write(&part, "of another").unwrap();
    let refused = test.ledger.backup(&copy.file()).await.unwrap_err();
    assert!(matches!(refused, BackupError::Unfinished(_)) && refused.to_string().contains("delete it"), "{refused}");
    assert_eq!(std::fs::read(&part).unwrap(), b"of another");
}
