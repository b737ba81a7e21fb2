//! Tests that one server uses a ledger, whatever names and copies its file has.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

/// Copies the files of a ledger into another directory.
fn copy_ledger(of: &TempDirectory) -> TempDirectory {
    let copy = TempDirectory::new();
    std::fs::create_dir(&copy.0).unwrap();
    for file in ["ledger.db", "ledger.db-wal"] {
        if of.0.join(file).exists() {
            std::fs::copy(of.0.join(file), copy.0.join(file)).unwrap();
        }
    }
    copy
}

#[tokio::test]
async fn second_server_is_refused_under_any_name_of_the_file() {
    let mut test = TestLedger::new().await;
    test.create_session("25", "PK1").await;
    let (symbolic, hard) = (test.directory.0.join("symbolic.db"), test.directory.0.join("hard.db"));
    symlink(test.directory.file(), &symbolic).unwrap();
    std::fs::hard_link(test.directory.file(), &hard).unwrap();
    let _ = std::fs::remove_file(test.directory.0.join("ledger.db.lock"));
    for path in [symbolic, hard, test.directory.file()] {
        for open in [Ledger::open(&path).await, Ledger::take_over(&path).await] {
            assert!(matches!(open, Err(OpenLedgerError::InUse(_))), "{}: {open:?}", path.display());
        }
    }
}

#[tokio::test]
async fn lock_file_of_an_older_server_is_respected() {
    let directory = TempDirectory::new();
    std::fs::create_dir(&directory.0).unwrap();
    let beside = directory.0.join("ledger.db.lock");
    let older = std::fs::File::create(&beside).unwrap();
    older.lock().unwrap();
    assert!(matches!(Ledger::open(&directory.file()).await, Err(OpenLedgerError::InUse(_))));
    drop(older);
    let ledger = Ledger::open(&directory.file()).await.unwrap();
    assert!(!beside.exists());
    ledger.close().await;
}

#[tokio::test]
async fn copy_of_a_ledger_in_use_needs_take_over() {
    let mut test = TestLedger::new().await;
    test.create_session("25", "PK1").await;
    let copy = copy_ledger(&test.directory);
    let refused = Ledger::open(&copy.file()).await.unwrap_err();
    assert!(matches!(refused, OpenLedgerError::Copied(_)) && refused.to_string().contains("--take-over"), "{refused}");
    let taken = Ledger::take_over(&copy.file()).await.unwrap();
    taken.close().await;
    Ledger::open(&copy.file()).await.unwrap().close().await;
    test.deliver_callback("PK1", &[("Result", "caller-hung-up")]).await;
    assert_eq!(test.ledger.fault(), None, "the original is another file");
}

#[tokio::test]
async fn killed_server_does_not_block_the_next() {
    let mut test = TestLedger::new().await;
    let id = test.create_session("25", "PK1").await;
    let TestLedger { ledger, directory, .. } = test;
    // As after a kill: the lease is not released.
    drop(ledger);
    let ledger = Ledger::open(&directory.file()).await.unwrap();
    assert_eq!(ledger.payment(id).await.unwrap().unwrap().state, PaymentState::Opened);
}

#[tokio::test]
async fn copy_of_a_closed_ledger_needs_take_over() {
    let mut test = TestLedger::new().await;
    test.create_session("25", "PK1").await;
    test.ledger.close().await;
    let copy = copy_ledger(&test.directory);
    let original = Ledger::open(&test.directory.file()).await.unwrap();
    assert!(
        matches!(Ledger::open(&copy.file()).await, Err(OpenLedgerError::Copied(_))),
        "two servers would use one ledger"
    );
    original.close().await;
    Ledger::take_over(&copy.file()).await.unwrap().close().await;
    Ledger::open(&copy.file()).await.unwrap();
}

#[tokio::test]
async fn missing_lease_row_is_created() {
    let test = TestLedger::new().await;
    let mut other = test.connect_other().await;
    sqlx::query("DELETE FROM lease").execute(&mut other).await.unwrap();
    drop(other);
    test.ledger.close().await;
    Ledger::open(&test.directory.file()).await.unwrap();
}

#[tokio::test]
async fn server_without_its_lease_starts_no_payments_and_records_callbacks() {
    let ((log, _logging), mut test) = (capture_log(), TestLedger::new().await);
    let submitted = test.submit_payment("25", "PK1").await;
    test.call = call("CA2");
    let open = test.create_session("30", "PK2").await;
    test.update_session(&update(open, "PK2", UpdateAction::Capture(Field::CardNumber), 1), &TwilioResponse::Accepted)
        .await
        .unwrap();
    let mut other = test.connect_other().await;
    sqlx::query("UPDATE lease SET owner = 'other', epoch = epoch + 1").execute(&mut other).await.unwrap();

    let complete = test
        .update_session(&update(open, "PK2", UpdateAction::Complete, 1), &TwilioResponse::Accepted)
        .await
        .unwrap_err();
    assert!(matches!(complete, RecordRequestError::LedgerUnavailable(LedgerFault::LeaseLost)));
    test.call = call("CA3");
    let opening = test.request_create("35").await.unwrap_err();
    assert!(
        matches!(opening, RecordRequestError::LedgerUnavailable(LedgerFault::LeaseLost))
            && opening.model_message().contains("live-agent-handoff")
    );
    test.call = call("CA2");
    test.update_session(&update(open, "PK2", UpdateAction::Cancel, 1), &TwilioResponse::Accepted).await.unwrap();
    assert_eq!(test.deliver_callback("PK1", &CHARGED).await, RecordOutcome::Written);
    assert_eq!((test.state(submitted).await, test.state(open).await), (PaymentState::Charged, PaymentState::Capturing));
    assert_eq!(test.ledger.fault(), Some(LedgerFault::LeaseLost));
    assert_eq!(log.text().matches("ledger.lease_lost").count(), 1);
    test.ledger.close().await;
    let owner: String = sqlx::query_scalar("SELECT owner FROM lease").fetch_one(&mut other).await.unwrap();
    assert_eq!(owner, "other", "another server's lease is not released");
}

#[tokio::test]
async fn restored_backup_with_a_wide_mode_is_restricted_and_logged() {
    let (log, _logging) = capture_log();
    let mut test = TestLedger::new().await;
    test.create_session("25", "PK1").await;
    let copy = copy_ledger(&test.directory);
    for file in std::fs::read_dir(&copy.0).unwrap() {
        std::fs::set_permissions(file.unwrap().path(), std::fs::Permissions::from_mode(0o644)).unwrap();
    }
    assert!(!log.text().contains("ledger.mode_tightened"));
    let _ledger = Ledger::take_over(&copy.file()).await.unwrap();
    for file in std::fs::read_dir(&copy.0).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.file_name());
    }
    assert!(log.text().matches("ledger.mode_tightened").count() == 2, "{}", log.text());
}

#[tokio::test]
async fn a_file_that_is_not_a_ledger_is_refused_and_not_changed() {
    let directory = TempDirectory::new();
    std::fs::create_dir(directory.file().parent().unwrap()).unwrap();
    std::fs::write(directory.file(), "Dear diary, today I was no database.").unwrap();
    std::fs::set_permissions(directory.file(), std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = Ledger::open(&directory.file()).await.unwrap_err();
    assert!(matches!(error, OpenLedgerError::NotALedger(_)), "{error}");
    assert_eq!(std::fs::metadata(directory.file()).unwrap().permissions().mode() & 0o777, 0o644);
}
