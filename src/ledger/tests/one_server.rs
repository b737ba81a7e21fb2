//! One server works on a ledger, however many names and copies its file has.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

/// Copies the files of a ledger into a directory of their own.
fn copy(of: &Directory) -> Directory {
    let copy = Directory::new();
    std::fs::create_dir(&copy.0).unwrap();
    for file in ["ledger.db", "ledger.db-wal"] {
        if of.0.join(file).exists() {
            std::fs::copy(of.0.join(file), copy.0.join(file)).unwrap();
        }
    }
    copy
}

#[tokio::test]
async fn no_other_name_of_the_file_leads_a_second_server_to_it() {
    let mut desk = Desk::new().await;
    desk.opened("25", "PK1").await;
    let (symbolic, hard) = (desk.directory.0.join("symbolic.db"), desk.directory.0.join("hard.db"));
    symlink(desk.directory.file(), &symbolic).unwrap();
    std::fs::hard_link(desk.directory.file(), &hard).unwrap();
    let _ = std::fs::remove_file(desk.directory.0.join("ledger.db.lock"));
    for path in [symbolic, hard, desk.directory.file()] {
        for open in [Ledger::open(&path).await, Ledger::take_over(&path).await] {
            assert!(matches!(open, Err(NotOpen::InUse(_))), "{}: {open:?}", path.display());
        }
    }
}

#[tokio::test]
async fn a_server_of_an_older_version_that_has_locked_its_file_keeps_a_new_one_out() {
    let directory = Directory::new();
    std::fs::create_dir(&directory.0).unwrap();
    let beside = directory.0.join("ledger.db.lock");
    let older = std::fs::File::create(&beside).unwrap();
    older.lock().unwrap();
    assert!(matches!(Ledger::open(&directory.file()).await, Err(NotOpen::InUse(_))));
    drop(older);
    let ledger = Ledger::open(&directory.file()).await.unwrap();
    assert!(!beside.exists());
    ledger.close().await;
}

#[tokio::test]
async fn a_copy_of_a_ledger_that_is_in_use_is_opened_only_to_take_it_over() {
    let mut desk = Desk::new().await;
    desk.opened("25", "PK1").await;
    let copy = copy(&desk.directory);
    let refused = Ledger::open(&copy.file()).await.unwrap_err();
    assert!(matches!(refused, NotOpen::Copied(_)) && refused.to_string().contains("--take-over"), "{refused}");
    let taken = Ledger::take_over(&copy.file()).await.unwrap();
    taken.close().await;
    Ledger::open(&copy.file()).await.unwrap().close().await;
    desk.told("PK1", &[("Result", "caller-hung-up")]).await;
    assert_eq!(desk.ledger.fault(), None, "the original is another file");
}

#[tokio::test]
async fn a_server_that_died_stands_in_nobodys_way() {
    let mut desk = Desk::new().await;
    let id = desk.opened("25", "PK1").await;
    let Desk { ledger, directory, .. } = desk;
    // As a kill leaves it: the lease is not given back.
    drop(ledger);
    let ledger = Ledger::open(&directory.file()).await.unwrap();
    assert_eq!(ledger.payment(id).await.unwrap().unwrap().state, State::Opened);
}

#[tokio::test]
async fn a_copy_of_a_ledger_whose_server_stopped_is_opened_only_to_take_it_over() {
    let mut desk = Desk::new().await;
    desk.opened("25", "PK1").await;
    desk.ledger.close().await;
    let copy = copy(&desk.directory);
    let original = Ledger::open(&desk.directory.file()).await.unwrap();
    assert!(
        matches!(Ledger::open(&copy.file()).await, Err(NotOpen::Copied(_))),
        "two servers would work on one ledger"
    );
    original.close().await;
    Ledger::take_over(&copy.file()).await.unwrap().close().await;
    Ledger::open(&copy.file()).await.unwrap();
}

#[tokio::test]
async fn a_ledger_that_has_lost_its_lease_is_given_one() {
    let desk = Desk::new().await;
    let mut other = desk.beside().await;
    sqlx::query("DELETE FROM lease").execute(&mut other).await.unwrap();
    drop(other);
    desk.ledger.close().await;
    Ledger::open(&desk.directory.file()).await.unwrap();
}

#[tokio::test]
async fn a_server_whose_lease_was_taken_takes_no_payments_and_records_what_comes() {
    let ((log, _logging), mut desk) = (logs(), Desk::new().await);
    let submitted = desk.submitted("25", "PK1").await;
    desk.call = call("CA2");
    let open = desk.opened("30", "PK2").await;
    desk.does(&update(open, "PK2", Change::Capture(Field::CardNumber), 1), &Answer::Accepted).await.unwrap();
    let mut other = desk.beside().await;
    sqlx::query("UPDATE lease SET owner = 'other', epoch = epoch + 1").execute(&mut other).await.unwrap();

    let complete = desk.does(&update(open, "PK2", Change::Complete, 1), &Answer::Accepted).await.unwrap_err();
    assert!(matches!(complete, Refused::Closed(Fault::LeaseLost)));
    desk.call = call("CA3");
    let opening = desk.opening("35").await.unwrap_err();
    assert!(matches!(opening, Refused::Closed(Fault::LeaseLost)) && opening.reason().contains("live-agent-handoff"));
    desk.call = call("CA2");
    desk.does(&update(open, "PK2", Change::Cancel, 1), &Answer::Accepted).await.unwrap();
    assert_eq!(desk.told("PK1", &CHARGED).await, Reported::Written);
    assert_eq!((desk.state(submitted).await, desk.state(open).await), (State::Charged, State::Capturing));
    assert_eq!(desk.ledger.fault(), Some(Fault::LeaseLost));
    assert_eq!(log.text().matches("ledger.lease_lost").count(), 1);
    desk.ledger.close().await;
    let owner: String = sqlx::query_scalar("SELECT owner FROM lease").fetch_one(&mut other).await.unwrap();
    assert_eq!(owner, "other", "what is not its own it does not give back");
}

#[tokio::test]
async fn a_backup_that_came_back_readable_by_all_is_tightened_and_that_is_said() {
    let (log, _logging) = logs();
    let mut desk = Desk::new().await;
    desk.opened("25", "PK1").await;
    let copy = copy(&desk.directory);
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
