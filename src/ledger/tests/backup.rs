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
    let visitor = Ledger::visit(&desk.directory.file()).await.unwrap();
    desk.call = call("CA99");
    let file = copy.file();
    let (made, opened) = tokio::join!(visitor.backup(&file), desk.opened("25", "PK99"));
    made.unwrap();
    assert_eq!(std::fs::metadata(copy.file()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(&copy.0).unwrap().count(), 1, "nothing is left beside it");
    assert!(stands(&desk.directory.0, "tok_hush") && !stands(&copy.0, "tok_hush"));
    assert_eq!(desk.state(opened).await, State::Opened);

    let refused = Ledger::open(&copy.file()).await.unwrap_err();
    assert!(matches!(refused, NotOpen::Copied(_)), "the server of the ledger may still run: {refused}");
    let restored = Ledger::take_over(&copy.file()).await.unwrap();
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

/// What the schema of a ledger is, and how many numbers are given.
async fn anatomy(file: &Path) -> (Vec<(String, String)>, Vec<(String, i64)>, i64) {
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
async fn a_backup_has_all_of_the_ledger_but_the_tokens_and_the_lease() {
    let mut desk = Desk::new().await;
    let id = desk.submitted("25", "PK1").await;
    desk.told("PK1", &CHARGED).await;
    // The last number stays given, although its row is gone.
    desk.executes("DELETE FROM outbox").await.unwrap();
    let copy = Directory::new();
    std::fs::create_dir(&copy.0).unwrap();
    desk.ledger.backup(&copy.file()).await.unwrap();
    assert_eq!(anatomy(&copy.file()).await, anatomy(&desk.directory.file()).await);
    let history = desk.kinds(id).await;
    let visitor = Ledger::visit(&copy.file()).await.unwrap();
    let copied: Vec<_> = visitor.history(id).await.unwrap().into_iter().map(|event| event.kind).collect();
    assert_eq!(copied, history);
}

#[tokio::test]
async fn at_no_moment_of_a_backup_a_token_stands_in_the_copy() {
    let mut desk = Desk::new().await;
    desk.submitted("0", "PK1").await;
    desk.told("PK1", &TOKENIZED).await;
    // More than SQLite keeps in memory before it writes.
    desk.multiplies(20_000).await;
    let copy = Directory::new();
    std::fs::create_dir(&copy.0).unwrap();
    let (part, is_over) = (copy.0.join("ledger.db.part"), Arc::new(AtomicBool::new(false)));
    let watch = {
        let (directory, is_over) = (copy.0.clone(), is_over.clone());
        std::thread::spawn(move || {
            let mut has_token = false;
            while !is_over.load(Ordering::Relaxed) {
                // A file may be renamed before it is read.
                for file in std::fs::read_dir(&directory).unwrap() {
                    let bytes = std::fs::read(file.unwrap().path()).unwrap_or_default();
                    has_token |= contains(&bytes, b"tok_hush");
                }
            }
            has_token
        })
    };
    let whole = desk.ledger.backup(&copy.file()).await;
    is_over.store(true, Ordering::Relaxed);
    assert!(!watch.join().unwrap() && !stands(&copy.0, "tok_hush"));
    whole.unwrap();
    assert!(!part.exists());
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

#[tokio::test]
async fn nothing_is_left_of_a_backup_that_fails_or_is_interrupted() {
    let mut desk = Desk::new().await;
    desk.submitted("0", "PK1").await;
    desk.told("PK1", &TOKENIZED).await;
    desk.multiplies(20_000).await;
    let copy = Directory::new();
    std::fs::create_dir(&copy.0).unwrap();
    let is_empty = || std::fs::read_dir(&copy.0).unwrap().next().is_none();
    let interrupted = tokio::time::timeout(std::time::Duration::from_millis(5), desk.ledger.backup(&copy.file())).await;
    assert!(interrupted.is_err() && is_empty());
    // A row that the copy does not take.
    let mut beside = desk.beside().await;
    sqlx::query("PRAGMA ignore_check_constraints = ON").execute(&mut beside).await.unwrap();
    sqlx::query("UPDATE payments SET state = 'none' WHERE seq = 20000").execute(&mut beside).await.unwrap();
    assert!(matches!(desk.ledger.backup(&copy.file()).await, Err(BackupError::Database(_))));
    assert!(is_empty());
}

#[tokio::test]
async fn a_copy_that_another_backup_makes_is_not_overwritten() {
    let desk = Desk::new().await;
    let copy = Directory::new();
    std::fs::create_dir(&copy.0).unwrap();
    let part = copy.0.join("ledger.db.part");
    std::fs::write(&part, "of another").unwrap();
    let refused = desk.ledger.backup(&copy.file()).await.unwrap_err();
    assert!(matches!(refused, BackupError::Unfinished(_)) && refused.to_string().contains("delete it"), "{refused}");
    assert_eq!(std::fs::read(&part).unwrap(), b"of another");
}
