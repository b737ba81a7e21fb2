//! Tests of disk and file faults: nothing is lost, and the ledger works again after them.

use std::time::Duration;

use futures_util::future::join_all;
use sqlx::Executor as _;
use tokio::time::{sleep, timeout};

use super::*;
use crate::ledger::write_buffer::MAX_BUFFERED;

/// How long a test waits for a condition. A busy machine needs time.
const SOON: Duration = Duration::from_secs(10);

/// Polls until the condition holds.
pub(super) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waits = async {
        while !is_so().await {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, waits).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

#[tokio::test]
async fn failed_commit_leaves_nothing_behind() {
    let mut test = TestLedger::new().await;
    let id = test.submit_payment("25", "PK1").await;
    let mut writing = test.ledger.begin_write().await.unwrap();
    for change in [
        "PRAGMA defer_foreign_keys = ON",
        "INSERT INTO events (payment_id, at, kind, data) VALUES ('none', 0, 'x', '{}')",
    ] {
        writing.transaction.execute(change).await.unwrap();
    }
    writing.commit().await.expect_err("there is no such payment");
    assert_eq!(test.deliver_callback("PK1", &CHARGED).await, RecordOutcome::Written);
    assert_eq!(test.state(id).await, PaymentState::Charged);
    test.call = call("CA2");
    test.create_session("30", "PK2").await;
}

#[tokio::test]
async fn dropped_write_blocks_no_other() {
    let mut test = TestLedger::new().await;
    let writing = test.ledger.begin_write().await.unwrap();
    drop(writing);
    test.create_session("25", "PK1").await;
    // A write whose caller stops waiting.
    let mut other = test.connect_other().await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    assert!(timeout(Duration::from_millis(20), test.ledger.begin_write()).await.is_err());
    other.execute("ROLLBACK").await.unwrap();
    assert_eq!(test.deliver_callback("PK1", &CHARGED).await, RecordOutcome::Written);
}

#[tokio::test]
async fn full_disk_blocks_payments_and_loses_nothing() {
    let Some(directory) = TempDirectory::with_capacity_kib(1024) else { return };
    let (log, _logging) = capture_log();
    let mut test = TestLedger::in_directory(directory).await;
    let id = test.submit_payment("25", "PK1").await;
    test.directory.fill();
    for n in 0..3 {
        test.call = call(&format!("CA{n}0"));
        assert!(matches!(test.request_create("30").await, Err(RecordRequestError::Ledger(_))), "payment {n}");
    }
    assert_eq!(test.ledger.fault(), Some(LedgerFault::Unwritable("the disk is full")));
    assert_eq!(test.deliver_callback("PK1", &TOKENIZED_AND_CHARGED).await, RecordOutcome::Buffered);
    assert_eq!(test.deliver_callback("PK1", &[("Result", "caller-hung-up")]).await, RecordOutcome::Buffered);
    assert_eq!(test.state(id).await, PaymentState::Submitted, "it can still be read");

    test.directory.make_room();
    test.create_session("30", "PK2").await;
    assert_eq!(test.state(id).await, PaymentState::Charged, "buffered records are written first");
    let payment = test.ledger.payment(id).await.unwrap().unwrap();
    assert!(payment.holds_token && payment.confirmation_code.as_deref() == Some("ch_1"));
    let _maintained = test.spawn_maintenance();
    until("fault ended", async || test.ledger.fault().is_none()).await;
    let log = log.text();
    for event in ["ledger.write_failed", "ledger.writable_again"] {
        assert_eq!(log.matches(event).count(), 1, "{event} once for the fault: {log}");
    }
    assert!(!log.contains("tok_"), "{log}");
}

const TOKENIZED_AND_CHARGED: [(&str, &str); 3] =
    [("Result", "success"), ("PaymentConfirmationCode", "ch_1"), ("PaymentToken", "tok_hush-hush")];

#[tokio::test]
async fn success_is_buffered_while_another_process_locks_the_file() {
    let mut test = TestLedger::new().await;
    let id = test.submit_payment("25", "PK1").await;
    let _maintained = test.spawn_maintenance();
    let mut other = test.connect_other().await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    assert_eq!(
        timeout(Duration::from_secs(10), test.deliver_callback("PK1", &CHARGED)).await,
        Ok(RecordOutcome::Buffered),
        "Twilio waits 15 s for the response"
    );
    until("fault detected", async || test.ledger.fault().is_some()).await;
    let words = test.ledger.fault().unwrap().to_string();
    assert!(words.contains("another"), "{words}");
    let call = test.call.clone();
    test.call = super::call("CA2");
    assert!(matches!(test.request_create("30").await, Err(RecordRequestError::Ledger(_))));
    assert_eq!(test.state(id).await, PaymentState::Submitted);

    other.execute("ROLLBACK").await.unwrap();
    until("charged", async || test.state(id).await == PaymentState::Charged).await;
    until("fault ended", async || test.ledger.fault().is_none()).await;
    assert_eq!(test.ledger.due_deliveries(Timestamp::now(), 9).await.unwrap().len(), 1, "the outcome is in the outbox");
    test.call = call;
}

#[tokio::test]
async fn buffered_records_are_written_before_a_decision() {
    let mut test = TestLedger::new().await;
    let due = [("amountDue".to_owned(), "25".to_owned())].into_iter().collect();
    test.terms = PaymentSettings::sample().parse_terms(&due).unwrap().into();
    let id = test.submit_payment("25", "PK1").await;
    let mut other = test.connect_other().await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    test.deliver_callback("PK1", &CHARGED).await;
    other.execute("ROLLBACK").await.unwrap();
    assert!(matches!(test.request_create("25").await, Err(RecordRequestError::AlreadyPaid)));
    assert_eq!(test.state(id).await, PaymentState::Charged);
}

#[tokio::test]
async fn responses_and_the_end_of_a_call_are_buffered_in_order() {
    let mut test = TestLedger::new().await;
    let create = test.request_create("25").await.unwrap();
    let mut other = test.connect_other().await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    test.ledger.record_create_response(&create, &TwilioResponse::Created("PK1".parse().unwrap())).await.unwrap();
    test.ledger.record_update_request(&test.call, &update(create.id, "PK1", UpdateAction::Cancel, 1)).await.unwrap();
    test.ledger
        .record_update_response(&update(create.id, "PK1", UpdateAction::Cancel, 1), &TwilioResponse::Accepted)
        .await
        .unwrap();
    test.ledger.record_call_ended(&test.call).await.unwrap();
    assert_eq!(test.event_kinds(create.id).await, ["opening"]);
    other.execute("ROLLBACK").await.unwrap();
    test.ledger.close().await;
    let mut test = test.restart().await;
    assert_eq!(test.event_kinds(create.id).await, ["opening", "answered", "opened", "asking", "answered", "given-up"]);
    test.request_create("25").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_buffer_rejects_records() {
    let mut test = TestLedger::new().await;
    let id = test.submit_payment("25", "PK1").await;
    let mut other = test.connect_other().await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let wrong = |n: usize| {
        let delivery = n.to_string();
        status("PK1", &[("Capture", "security-code"), ("ErrorType", "input-timeout"), ("delivery", &delivery)])
    };
    let reports: Vec<_> = (0..MAX_BUFFERED + 3).map(wrong).collect();
    let reported = join_all(reports.iter().map(|status| test.ledger.record_callback(status))).await;
    let held = reported.iter().filter(|reported| matches!(reported, Ok(RecordOutcome::Buffered))).count();
    assert_eq!((held, reported.iter().filter(|reported| reported.is_err()).count()), (MAX_BUFFERED, 3));
    other.execute("ROLLBACK").await.unwrap();
    let began = Instant::now();
    drop(test.ledger.begin_write().await.unwrap());
    eprintln!("{MAX_BUFFERED} records written in {:?}", began.elapsed());
    test.deliver_callback("PK1", &CHARGED).await;
    assert_eq!(test.event_kinds(id).await.iter().filter(|kind| *kind == "wrong").count(), MAX_BUFFERED);
    assert_eq!(test.state(id).await, PaymentState::Charged);
}

#[tokio::test]
async fn unwritable_record_blocks_no_other() {
    let mut test = TestLedger::new().await;
    let id = test.submit_payment("25", "PK1").await;
    let (log, _logging) = capture_log();
    let mut other = test.connect_other().await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    test.deliver_callback("PK1", &[("Capture", "security-code"), ("ErrorType", "input-timeout"), ("delivery", "a")])
        .await;
    test.deliver_callback("PK1", &CHARGED).await;
    // Stands for a row that this version cannot read.
    other
        .execute(
            "CREATE TRIGGER no BEFORE INSERT ON events WHEN NEW.kind = 'wrong' BEGIN SELECT RAISE(ABORT, 'no'); END",
        )
        .await
        .unwrap();
    other.execute("COMMIT").await.unwrap();
    until("charged", async || {
        drop(test.ledger.begin_write().await);
        test.state(id).await == PaymentState::Charged
    })
    .await;
    let log = log.text();
    assert!(log.contains("ledger.record_lost") && log.contains("PK1"), "{log}");
}

#[tokio::test]
async fn deleted_or_replaced_file_blocks_payments_until_it_is_back() {
    for replaced in [false, true] {
        let mut test = TestLedger::new().await;
        let id = test.submit_payment("25", "PK1").await;
        test.call = call("CA2");
        let open = test.create_session("30", "PK2").await;
        let _maintained = test.spawn_maintenance();
        let (file, aside) = (test.directory.file(), test.directory.0.join("aside"));
        std::fs::rename(&file, &aside).unwrap();
        if replaced {
            std::fs::write(&file, "").unwrap();
        }
        until("fault detected", async || test.ledger.fault() == Some(LedgerFault::FileGone)).await;
        test.call = call("CA3");
        assert!(matches!(
            test.request_create("30").await,
            Err(RecordRequestError::LedgerUnavailable(LedgerFault::FileGone))
        ));
        let capture = update(open, "PK2", UpdateAction::Capture(Field::CardNumber), 1);
        test.call = call("CA2");
        assert!(matches!(
            test.update_session(&capture, &TwilioResponse::Accepted).await,
            Err(RecordRequestError::LedgerUnavailable(_))
        ));
        test.update_session(&update(open, "PK2", UpdateAction::Cancel, 1), &TwilioResponse::Accepted).await.unwrap();
        test.deliver_callback("PK1", &CHARGED).await;
        // A discarded connection is not replaced by one to another file.
        drop(test.ledger.begin_write().await);
        assert_eq!(test.deliver_callback("PK2", &[("Result", "transaction-cancelled")]).await, RecordOutcome::Buffered);
        if replaced {
            assert_eq!(std::fs::metadata(&file).unwrap().len(), 0);
        }

        std::fs::rename(&aside, &file).unwrap();
        until("file is back", async || test.ledger.fault().is_none()).await;
        test.call = call("CA3");
        test.create_session("30", "PK3").await;
        assert_eq!((test.state(id).await, test.state(open).await), (PaymentState::Charged, PaymentState::Cancelled));
    }
}

#[tokio::test]
async fn deleted_write_ahead_log_is_detected_and_loses_nothing() {
    let mut test = TestLedger::new().await;
    let id = test.submit_payment("25", "PK1").await;
    let _maintained = test.spawn_maintenance();
    let beats = async || {
        let beats = sqlx::query_scalar::<_, i64>("SELECT beat FROM lease").fetch_one(&test.ledger.0.readers);
        beats.await.unwrap() > 0
    };
    until("a renewed lease, before which the log is checked", beats).await;
    let log = test.directory.0.join("ledger.db-wal");
    std::fs::remove_file(&log).unwrap();
    until("fault detected", async || test.ledger.fault() == Some(LedgerFault::FileGone)).await;
    assert!(
        test.deliver_callback("PK1", &CHARGED).await != RecordOutcome::Buffered,
        "it is written and copied into the file"
    );
    let saved = async || {
        let bytes = std::fs::read(test.directory.file()).unwrap();
        bytes.windows(7).any(|bytes| bytes == b"charged")
    };
    let anew = test.ledger.0.database.connect().await;
    assert!(anew.is_err(), "SQLite would make another log");
    until("saved", saved).await;
    test.call = call("CA3");
    assert!(matches!(
        test.request_create("30").await,
        Err(RecordRequestError::LedgerUnavailable(LedgerFault::FileGone))
    ));
    assert_eq!(test.state(id).await, PaymentState::Charged);
}

#[tokio::test]
async fn long_reader_blocks_no_write() {
    let mut test = TestLedger::new().await;
    let mut reader = test.connect_other().await;
    test.submit_payment("0", "PK0").await;
    reader.execute("BEGIN").await.unwrap();
    let count = "SELECT count(*) FROM payments";
    assert_eq!(sqlx::query_scalar::<_, i64>(count).fetch_one(&mut reader).await.unwrap(), 1);
    let _maintained = test.spawn_maintenance();
    let mut took = Vec::new();
    let writes = async {
        for n in 1..80 {
            test.call = call(&format!("CB{n}"));
            let sid = format!("PK{n}");
            test.submit_payment("0", &sid).await;
            let began = Instant::now();
            test.deliver_callback(&sid, &[("Result", "success"), ("PaymentToken", "tok_hush")]).await;
            took.push(began.elapsed());
            for due in test.ledger.due_deliveries(Timestamp::now(), 9).await.unwrap() {
                test.ledger.record_delivered(&due).await.unwrap();
            }
            test.ledger.wipe_erased().await.unwrap();
        }
    };
    timeout(Duration::from_secs(60), writes).await.expect("no write waits for the reader");
    assert_eq!(sqlx::query_scalar::<_, i64>(count).fetch_one(&mut reader).await.unwrap(), 1, "it reads its snapshot");
    assert!(test.ledger.is_wipe_pending(), "the reader still needs the old pages");
    reader.execute("COMMIT").await.unwrap();
    until("wiped", async || !test.ledger.is_wipe_pending()).await;
    took.sort();
    eprintln!("writes beside a reader: median {:?}, slowest {:?}", took[took.len() / 2], took[took.len() - 1]);
}
