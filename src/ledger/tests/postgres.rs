//! Tests of what only PostgreSQL does: writes at the same time, and a database that cannot be reached.

use std::time::Duration;

use sqlx::Connection as _;

use super::*;
use crate::payment::{VelocityCaps, VelocityLimits};
use crate::simulator::{DatabaseWire, WireState};

pub(super) type PostgresLedger = StoredLedger<true>;

/// A ledger in PostgreSQL. `None` where that is not installed.
pub(super) async fn in_postgres() -> Option<PostgresLedger> {
    LocalPostgres::get()?;
    Some(PostgresLedger::new().await)
}

/// A ledger at the other end of a wire.
pub(super) async fn behind_a_wire() -> Option<(PostgresLedger, DatabaseWire)> {
    let server = LocalPostgres::get()?;
    let wire = DatabaseWire::to(server.address()).await.unwrap();
    let url = server.create_database().await.unwrap();
    let url = url.replace(&server.address().to_string(), &wire.address().to_string());
    let url = DatabaseUrl::Postgres(url.parse().unwrap());
    Some((PostgresLedger::open(url, TempDirectory::new()).await, wire))
}

/// The end of a call on which nothing was paid.
fn call_end(n: usize) -> CallEnd {
    CallEnd {
        call: CallData::from_sid(format!("CA{n}").parse().unwrap()),
        outbound: false,
        started_at: Timestamp::now(),
        reason: "caller",
        handoff: None,
        summary: Private::new(String::new()),
        arguments: Private::new(serde_json::Map::new()),
        is_recovered: false,
    }
}

impl PostgresLedger {
    /// Reports the ends of calls until one is written, each of a call of its own.
    async fn report_until_written(&self) {
        for n in 100.. {
            self.ledger.report_call_end(call_end(n)).await.unwrap();
            if self.ledger.buffered_records() == 0 {
                return;
            }
        }
    }
}

#[tokio::test]
async fn a_command_needs_the_tables_of_a_server() {
    let Some(server) = LocalPostgres::get() else { return };
    let url = DatabaseUrl::Postgres(server.create_database().await.unwrap().parse().unwrap());
    let opened = Ledger::open_for_cli(&url).await;
    assert!(matches!(opened, Err(OpenLedgerError::Empty(_))), "{opened:?}");
}

#[tokio::test]
async fn a_text_with_a_nul_character_is_stored_without_it() {
    let Some(mut test) = in_postgres().await else { return };
    test.call.call_reference = Some(Private::new("or\0der".to_owned()));
    let id = test.submit_payment("25", "PK1").await;
    let failed =
        [("Result", "payment-connector-error"), ("PaymentError", "no\0pe"), ("PaymentConfirmationCode", "c\0h")];
    assert_eq!(test.deliver_callback("PK1", &failed).await, RecordOutcome::Written);
    let payment = test.ledger.payment(id).await.unwrap().unwrap();
    assert_eq!(payment.call_reference.unwrap().reveal(), "order");
    assert_eq!(test.ledger.fault(), None);
}

/// However many calls begin to pay at once, no cap is passed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_cap_is_passed_by_calls_at_the_same_time() {
    let Some(test) = in_postgres().await else { return };
    let caps = VelocityCaps { payments: Some(3), ..VelocityCaps::default() };
    for (limits, one_caller) in [
        (VelocityLimits { per_caller: caps.clone(), ..VelocityLimits::NONE }, true),
        (
            VelocityLimits { per_hour: VelocityCaps { payments: Some(6), ..caps.clone() }, ..VelocityLimits::NONE },
            false,
        ),
    ] {
        let ledger = test.ledger.with_limits(limits, Currency::USD);
        let tasks: Vec<_> = (0..16)
            .map(|n: u32| {
                let (ledger, terms) = (ledger.clone(), test.terms.clone());
                let mut call = call(&format!("CA{n}{one_caller}"));
                call.caller = if one_caller { "+15550100009" } else { "+15550100008" }.parse().ok();
                let id = PaymentIdGenerator::new(Uuid::new_v4()).generate();
                let charge = Amount::parse("25", Currency::USD).unwrap();
                let create = CreatePayment { id, idempotency_key: id.create_key(), charge, terms, consent: None };
                tokio::spawn(async move { ledger.record_create_request(&call, &create).await })
            })
            .collect();
        let mut begun = 0;
        for task in tasks {
            match task.await.unwrap() {
                Ok(()) => begun += 1,
                Err(refused) => assert!(matches!(refused, RecordRequestError::LimitExceeded(_)), "{refused}"),
            }
        }
        assert_eq!(begun, 3, "the hour has three of the caller's already");
    }
}

#[tokio::test]
async fn a_write_whose_confirmation_is_lost_is_written_once() {
    let Some((test, wire)) = behind_a_wire().await else { return };
    let count = "SELECT count(*) FROM outbox WHERE call_sid = 'CA1'";
    // The wire is whole again before the ledger gives up, and PostgreSQL is asked how the commit ended.
    wire.set(WireState::CutAfterCommit);
    let heals = async {
        wire.wait_for(WireState::Cut).await;
        wire.set(WireState::Whole);
    };
    let (reported, ()) = tokio::join!(test.ledger.report_call_end(call_end(1)), heals);
    reported.unwrap();
    assert_eq!((test.ledger.buffered_records(), test.count(count).await), (0, 1));
}

#[tokio::test]
async fn a_record_that_may_have_been_written_is_written_once_after_an_outage() {
    let Some((test, wire)) = behind_a_wire().await else { return };
    wire.set(WireState::CutAfterCommit);
    test.ledger.report_call_end(call_end(1)).await.unwrap();
    assert_eq!(test.ledger.buffered_records(), 1, "it is not known to be written");
    test.ledger.report_call_end(call_end(2)).await.unwrap();
    assert_eq!(test.ledger.buffered_records(), 2);
    assert!(test.ledger.begin_write().await.is_err(), "as the maintenance tries each second");
    assert!(test.ledger.fault().is_some());
    wire.set(WireState::Whole);
    test.report_until_written().await;
    assert_eq!(test.count("SELECT count(*) FROM outbox WHERE call_sid = 'CA1'").await, 1);
    assert_eq!(test.count("SELECT count(*) FROM outbox WHERE call_sid = 'CA2'").await, 1);
}

#[tokio::test]
async fn a_database_that_does_not_answer_holds_nobody_up() {
    let Some((mut test, wire)) = behind_a_wire().await else { return };
    test.create_session("25", "PK1").await;
    wire.set(WireState::Frozen);
    let limit = Duration::from_secs(20);
    let refused = tokio::time::timeout(limit, test.request_create("25")).await.unwrap().unwrap_err();
    assert!(matches!(refused, RecordRequestError::Ledger(_)), "{refused}");
    let callback = test.deliver_callback("PK1", &[("Result", "caller-hung-up")]);
    assert_eq!(tokio::time::timeout(limit, callback).await.unwrap(), RecordOutcome::Buffered);
    assert!(tokio::time::timeout(limit, test.ledger.backlog()).await.unwrap().is_err());
    wire.set(WireState::Whole);
    test.report_until_written().await;
    assert_eq!(test.count("SELECT count(*) FROM events WHERE kind = 'ended'").await, 1);
}

#[tokio::test]
async fn a_database_that_crashes_forgets_nothing_and_is_used_again() {
    let Some(server) = LocalPostgres::start_own().unwrap() else { return };
    let url = DatabaseUrl::Postgres(server.create_database().await.unwrap().parse().unwrap());
    let mut test = PostgresLedger::open(url, TempDirectory::new()).await;
    let _maintenance = test.spawn_maintenance();
    let id = test.submit_payment("25", "PK1").await;
    server.crash().unwrap();
    test.deliver_callback("PK1", &CHARGED).await;
    test.report_until_written().await;
    assert_eq!(test.state(id).await, PaymentState::Charged);
}

/// A ledger at the other end of a wire to a primary, and its standby.
async fn behind_a_wire_to_a_pair() -> Option<(PostgresLedger, DatabaseWire, (LocalPostgres, LocalPostgres))> {
    let pair = LocalPostgres::start_pair().await.unwrap()?;
    let wire = DatabaseWire::to(pair.0.address()).await.unwrap();
    let url = pair.0.create_database().await.unwrap();
    let url = url.replace(&pair.0.address().to_string(), &wire.address().to_string());
    Some((PostgresLedger::open(DatabaseUrl::Postgres(url.parse().unwrap()), TempDirectory::new()).await, wire, pair))
}

/// Executes statements on a server itself.
async fn execute(server: &LocalPostgres, statements: &[&'static str]) {
    let url = server.url("postgres");
    let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
    for statement in statements {
        sqlx::raw_sql(*statement).execute(&mut connection).await.unwrap();
    }
}

#[tokio::test]
async fn a_write_that_a_standby_does_not_show_yet_is_written_once() {
    let Some((test, wire, (primary, standby))) = behind_a_wire_to_a_pair().await else { return };
    execute(&standby, &["SELECT pg_wal_replay_pause()"]).await;
    wire.set(WireState::CutAfterCommit);
    let fails_over = async {
        wire.wait_for(WireState::Cut).await;
        primary.kill().unwrap();
        wire.lead_to(standby.address());
        wire.set(WireState::Whole);
    };
    let (reported, ()) = tokio::join!(test.ledger.report_call_end(call_end(1)), fails_over);
    reported.unwrap();
    standby.promote().unwrap();
    test.report_until_written().await;
    assert_eq!(test.count("SELECT count(*) FROM outbox WHERE call_sid = 'CA1'").await, 1);
}

#[tokio::test]
async fn a_write_is_repeated_though_the_new_primary_gave_its_number_to_another() {
    let Some((mut test, wire, (primary, standby))) = behind_a_wire_to_a_pair().await else { return };
    // The standby sees nothing of a transaction before it is committed.
    execute(&primary, &["ALTER SYSTEM SET wal_writer_delay = '10s'", "SELECT pg_reload_conf()"]).await;
    let id = test.submit_payment("25", "PK1").await;
    wire.set(WireState::FrozenAtCommit);
    let fails_over = async {
        wire.wait_for(WireState::Frozen).await;
        primary.kill().unwrap();
        standby.promote().unwrap();
        // Other servers write.
        execute(&standby, &["SELECT pg_current_xact_id()"; 100]).await;
    };
    let (recorded, ()) = tokio::join!(test.deliver_callback("PK1", &CHARGED), fails_over);
    assert_eq!(recorded, RecordOutcome::Buffered);
    wire.lead_to(standby.address());
    wire.set(WireState::Whole);
    test.report_until_written().await;
    assert_eq!(test.state(id).await, PaymentState::Charged);
}

/// Whether any file below the directory contains the text.
pub(super) fn is_below(directory: &Path, text: &str) -> bool {
    std::fs::read_dir(directory).unwrap().flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return is_below(&path, text);
        }
        std::fs::read(path).unwrap_or_default().windows(text.len()).any(|window| window == text.as_bytes())
    })
}

#[tokio::test]
async fn a_payment_token_is_in_no_byte_of_the_cluster() {
    let Some(server) = LocalPostgres::start_own().unwrap() else { return };
    let url = DatabaseUrl::Postgres(server.create_database().await.unwrap().parse().unwrap());
    let mut test = PostgresLedger::open(url, TempDirectory::new()).await;
    test.ledger.set_sealing_keys(SEALING_KEY.parse().unwrap());
    test.call.set_call_reference("to-be-found");
    test.submit_payment("0", "PK1").await;
    test.deliver_callback("PK1", &TOKENIZED).await;
    let due = test.ledger.due_deliveries(Timestamp::now(), 9).await.unwrap();
    assert!(due[0].body.as_ref().unwrap().expose_secret().contains("tok_hush-hush"));
    assert!(is_below(server.directory(), "to-be-found"), "what was written is in the log of PostgreSQL");
    assert!(!is_below(server.directory(), "tok_hush"));
    test.ledger.record_delivered(&due[0]).await.unwrap();
    assert!(!is_below(server.directory(), "tok_hush"));
}

#[tokio::test]
async fn what_a_person_keeps_locked_waits_alone() {
    let Some(mut test) = in_postgres().await else { return };
    let locked = test.submit_payment("25", "PK1").await;
    test.call.call_sid = "CA2".parse().unwrap();
    test.call.caller = None;
    let DatabaseUrl::Postgres(url) = &test.url else { panic!("a database") };
    let mut person = sqlx::PgConnection::connect(url.reveal().as_str()).await.unwrap();
    let lock = format!("BEGIN; SELECT 1 FROM payments WHERE id = '{locked}' FOR UPDATE");
    sqlx::raw_sql(sqlx::AssertSqlSafe(lock)).execute(&mut person).await.unwrap();
    assert_eq!(test.deliver_callback("PK1", &CHARGED).await, RecordOutcome::Buffered);
    for n in 2..6 {
        let free = test.create_session("30", &format!("PK{n}")).await;
        test.ledger.record_call_ended(&test.call).await.unwrap();
        assert_eq!(test.state(free).await, PaymentState::Abandoned);
    }
    assert_eq!((test.ledger.buffered_records(), test.ledger.fault()), (1, None));
    person.close().await.unwrap();
    while test.ledger.buffered_records() > 0 {
        let _ = test.ledger.begin_write().await.unwrap();
    }
    assert_eq!(test.state(locked).await, PaymentState::Charged);
}
