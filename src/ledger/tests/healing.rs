//! Faults of the disk and of the file: nothing is lost, and all works again once they are over.

use std::time::Duration;

use futures_util::future::join_all;
use sqlx::Executor as _;
use tokio::time::{sleep, timeout};

use super::*;
use crate::ledger::held::MOST;

/// How long anything may take that is to happen soon. A machine that is busy takes its time.
const SOON: Duration = Duration::from_secs(10);

/// Waits until it is so.
pub(super) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waits = async {
        while !is_so().await {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, waits).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

#[tokio::test]
async fn a_commit_that_fails_leaves_nothing_behind() {
    let mut desk = Desk::new().await;
    let id = desk.submitted("25", "PK1").await;
    let mut writing = desk.ledger.write().await.unwrap();
    for change in [
        "PRAGMA defer_foreign_keys = ON",
        "INSERT INTO events (payment_id, at, kind, data) VALUES ('nobody''s', 0, 'x', '{}')",
    ] {
        writing.transaction.execute(change).await.unwrap();
    }
    writing.commit().await.expect_err("there is no such payment");
    assert_eq!(desk.told("PK1", &CHARGED).await, Reported::Written);
    assert_eq!(desk.state(id).await, State::Charged);
    desk.call = call("CA2");
    desk.opened("30", "PK2").await;
}

#[tokio::test]
async fn a_write_that_is_abandoned_holds_up_no_other() {
    let mut desk = Desk::new().await;
    let writing = desk.ledger.write().await.unwrap();
    drop(writing);
    desk.opened("25", "PK1").await;
    // One that is waited for no longer than this.
    let mut other = desk.beside().await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    assert!(timeout(Duration::from_millis(20), desk.ledger.write()).await.is_err());
    other.execute("ROLLBACK").await.unwrap();
    assert_eq!(desk.told("PK1", &CHARGED).await, Reported::Written);
}

#[tokio::test]
async fn a_full_disk_stops_payments_for_as_long_as_it_is_full_and_loses_nothing() {
    let Some(directory) = Directory::with_room_for(1024) else { return };
    let (log, _logging) = logs();
    let mut desk = Desk::at(directory).await;
    let id = desk.submitted("25", "PK1").await;
    desk.directory.fill();
    for n in 0..3 {
        desk.call = call(&format!("CA{n}0"));
        assert!(matches!(desk.opening("30").await, Err(Refused::Unwritten(_))), "payment {n}");
    }
    assert_eq!(desk.ledger.fault(), Some(Fault::Unwritable("the disk is full")));
    assert_eq!(desk.told("PK1", &TOKENIZED_AND_CHARGED).await, Reported::Held);
    assert_eq!(desk.told("PK1", &[("Result", "caller-hung-up")]).await, Reported::Held);
    assert_eq!(desk.state(id).await, State::Submitted, "it can be read all the same");

    desk.directory.make_room();
    desk.opened("30", "PK2").await;
    assert_eq!(desk.state(id).await, State::Charged, "what was held is written before");
    let payment = desk.ledger.payment(id).await.unwrap().unwrap();
    assert!(payment.holds_token && payment.confirmation.as_deref() == Some("ch_1"));
    let _maintained = desk.maintained();
    until("well again", async || desk.ledger.fault().is_none()).await;
    let log = log.text();
    for event in ["ledger.write_failed", "ledger.writable_again"] {
        assert_eq!(log.matches(event).count(), 1, "{event} once for the fault: {log}");
    }
    assert!(!log.contains("tok_"), "{log}");
}

const TOKENIZED_AND_CHARGED: [(&str, &str); 3] =
    [("Result", "success"), ("PaymentConfirmationCode", "ch_1"), ("PaymentToken", "tok_hush-hush")];

#[tokio::test]
async fn a_success_that_comes_while_another_process_has_the_file_locked_is_held_and_written() {
    let mut desk = Desk::new().await;
    let id = desk.submitted("25", "PK1").await;
    let _maintained = desk.maintained();
    let mut other = desk.beside().await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    assert_eq!(timeout(PATIENCE, desk.told("PK1", &CHARGED)).await, Ok(Reported::Held), "Twilio waits for the answer");
    until("noticed", async || desk.ledger.fault().is_some()).await;
    let words = desk.ledger.fault().unwrap().to_string();
    assert!(words.contains("another"), "{words}");
    let call = desk.call.clone();
    desk.call = super::call("CA2");
    assert!(matches!(desk.opening("30").await, Err(Refused::Unwritten(_))));
    assert_eq!(desk.state(id).await, State::Submitted);

    other.execute("ROLLBACK").await.unwrap();
    until("charged", async || desk.state(id).await == State::Charged).await;
    until("well again", async || desk.ledger.fault().is_none()).await;
    assert_eq!(desk.ledger.due(Timestamp::now(), 9).await.unwrap().len(), 1, "and the business is told");
    desk.call = call;
}

#[tokio::test]
async fn a_decision_sees_all_that_was_held_before_it() {
    let mut desk = Desk::new().await;
    let due = [("amountDue".to_owned(), "25".to_owned())].into_iter().collect();
    desk.terms = Settings::sample().terms(&due).unwrap().into();
    let id = desk.submitted("25", "PK1").await;
    let mut other = desk.beside().await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    desk.told("PK1", &CHARGED).await;
    other.execute("ROLLBACK").await.unwrap();
    assert!(matches!(desk.opening("25").await, Err(Refused::Paid)));
    assert_eq!(desk.state(id).await, State::Charged);
}

#[tokio::test]
async fn what_twilio_answers_and_the_end_of_a_call_are_held_in_their_order() {
    let mut desk = Desk::new().await;
    let create = desk.opening("25").await.unwrap();
    let mut other = desk.beside().await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    desk.ledger.created(&create, &Answer::Created("PK1".parse().unwrap())).await.unwrap();
    desk.ledger.asking(&desk.call, &update(create.id, "PK1", Change::Cancel, 1)).await.unwrap();
    desk.ledger.answered(&update(create.id, "PK1", Change::Cancel, 1), &Answer::Accepted).await.unwrap();
    desk.ledger.call_over(&desk.call.sid).await.unwrap();
    assert_eq!(desk.kinds(create.id).await, ["opening"]);
    other.execute("ROLLBACK").await.unwrap();
    desk.ledger.close().await;
    let mut desk = desk.restarted().await;
    assert_eq!(desk.kinds(create.id).await, ["opening", "answered", "opened", "asking", "answered", "given-up"]);
    desk.opening("25").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_is_held_than_there_is_room_for() {
    let mut desk = Desk::new().await;
    let id = desk.submitted("25", "PK1").await;
    let mut other = desk.beside().await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let wrong = |n: usize| {
        let delivery = n.to_string();
        status("PK1", &[("Capture", "security-code"), ("ErrorType", "input-timeout"), ("delivery", &delivery)])
    };
    let reports: Vec<_> = (0..MOST + 3).map(wrong).collect();
    let reported = join_all(reports.iter().map(|status| desk.ledger.reported(status))).await;
    let held = reported.iter().filter(|reported| matches!(reported, Ok(Reported::Held))).count();
    assert_eq!((held, reported.iter().filter(|reported| reported.is_err()).count()), (MOST, 3));
    other.execute("ROLLBACK").await.unwrap();
    let began = Instant::now();
    drop(desk.ledger.write().await.unwrap());
    eprintln!("{MOST} records written in {:?}", began.elapsed());
    desk.told("PK1", &CHARGED).await;
    assert_eq!(desk.kinds(id).await.iter().filter(|kind| *kind == "wrong").count(), MOST);
    assert_eq!(desk.state(id).await, State::Charged);
}

#[tokio::test]
async fn a_record_that_can_never_be_written_holds_up_no_other() {
    let mut desk = Desk::new().await;
    let id = desk.submitted("25", "PK1").await;
    let (log, _logging) = logs();
    let mut other = desk.beside().await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    desk.told("PK1", &[("Capture", "security-code"), ("ErrorType", "input-timeout"), ("delivery", "a")]).await;
    desk.told("PK1", &CHARGED).await;
    // As a row that this version cannot read.
    other
        .execute(
            "CREATE TRIGGER no BEFORE INSERT ON events WHEN NEW.kind = 'wrong' BEGIN SELECT RAISE(ABORT, 'no'); END",
        )
        .await
        .unwrap();
    other.execute("COMMIT").await.unwrap();
    until("charged", async || {
        drop(desk.ledger.write().await);
        desk.state(id).await == State::Charged
    })
    .await;
    let log = log.text();
    assert!(log.contains("ledger.record_lost") && log.contains("PK1"), "{log}");
}

#[tokio::test]
async fn a_file_that_is_deleted_or_replaced_is_noticed_and_nothing_is_begun_until_it_is_back() {
    for replaced in [false, true] {
        let mut desk = Desk::new().await;
        let id = desk.submitted("25", "PK1").await;
        desk.call = call("CA2");
        let open = desk.opened("30", "PK2").await;
        let _maintained = desk.maintained();
        let (file, aside) = (desk.directory.file(), desk.directory.0.join("aside"));
        std::fs::rename(&file, &aside).unwrap();
        if replaced {
            std::fs::write(&file, "").unwrap();
        }
        until("noticed", async || desk.ledger.fault() == Some(Fault::FileGone)).await;
        desk.call = call("CA3");
        assert!(matches!(desk.opening("30").await, Err(Refused::Closed(Fault::FileGone))));
        let capture = update(open, "PK2", Change::Capture(Field::CardNumber), 1);
        desk.call = call("CA2");
        assert!(matches!(desk.does(&capture, &Answer::Accepted).await, Err(Refused::Closed(_))));
        desk.does(&update(open, "PK2", Change::Cancel, 1), &Answer::Accepted).await.unwrap();
        desk.told("PK1", &CHARGED).await;
        // A connection that is thrown away opens no other file.
        drop(desk.ledger.write().await);
        assert_eq!(desk.told("PK2", &[("Result", "transaction-cancelled")]).await, Reported::Held);
        if replaced {
            assert_eq!(std::fs::metadata(&file).unwrap().len(), 0);
        }

        std::fs::rename(&aside, &file).unwrap();
        until("back", async || desk.ledger.fault().is_none()).await;
        desk.call = call("CA3");
        desk.opened("30", "PK3").await;
        assert_eq!((desk.state(id).await, desk.state(open).await), (State::Charged, State::Cancelled));
    }
}

#[tokio::test]
async fn a_write_ahead_log_that_is_deleted_is_noticed_and_loses_nothing() {
    let mut desk = Desk::new().await;
    let id = desk.submitted("25", "PK1").await;
    let _maintained = desk.maintained();
    let beats = async || {
        let beats = sqlx::query_scalar::<_, i64>("SELECT beat FROM lease").fetch_one(&desk.ledger.0.readers);
        beats.await.unwrap() > 0
    };
    until("a beat, before which the log is looked at", beats).await;
    let log = desk.directory.0.join("ledger.db-wal");
    std::fs::remove_file(&log).unwrap();
    until("noticed", async || desk.ledger.fault() == Some(Fault::FileGone)).await;
    assert!(desk.told("PK1", &CHARGED).await != Reported::Held, "it is written, and copied into the file");
    let saved = async || {
        let bytes = std::fs::read(desk.directory.file()).unwrap();
        bytes.windows(7).any(|bytes| bytes == b"charged")
    };
    let anew = desk.ledger.0.database.connect(Duration::ZERO).await;
    assert!(anew.is_err(), "SQLite would make another log");
    until("saved", saved).await;
    desk.call = call("CA3");
    assert!(matches!(desk.opening("30").await, Err(Refused::Closed(Fault::FileGone))));
    assert_eq!(desk.state(id).await, State::Charged);
}

#[tokio::test]
async fn a_reader_that_stays_for_long_holds_up_no_write() {
    let mut desk = Desk::new().await;
    let mut reader = desk.beside().await;
    desk.submitted("0", "PK0").await;
    reader.execute("BEGIN").await.unwrap();
    let count = "SELECT count(*) FROM payments";
    assert_eq!(sqlx::query_scalar::<_, i64>(count).fetch_one(&mut reader).await.unwrap(), 1);
    let _maintained = desk.maintained();
    let mut took = Vec::new();
    let writes = async {
        for n in 1..80 {
            desk.call = call(&format!("CB{n}"));
            let sid = format!("PK{n}");
            desk.submitted("0", &sid).await;
            let began = Instant::now();
            desk.told(&sid, &[("Result", "success"), ("PaymentToken", "tok_hush")]).await;
            took.push(began.elapsed());
            for due in desk.ledger.due(Timestamp::now(), 9).await.unwrap() {
                desk.ledger.delivered(&due).await.unwrap();
            }
            desk.ledger.wipe_erased().await.unwrap();
        }
    };
    timeout(Duration::from_secs(60), writes).await.expect("none of them waits for the reader");
    assert_eq!(
        sqlx::query_scalar::<_, i64>(count).fetch_one(&mut reader).await.unwrap(),
        1,
        "it reads what it began with"
    );
    assert!(desk.ledger.is_to_be_wiped(), "its pages are still needed");
    reader.execute("COMMIT").await.unwrap();
    until("wiped", async || !desk.ledger.is_to_be_wiped()).await;
    took.sort();
    eprintln!("writes beside a reader: median {:?}, slowest {:?}", took[took.len() / 2], took[took.len() - 1]);
}
