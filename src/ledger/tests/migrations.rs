//! Tests that a ledger of an older version is migrated.

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Executor as _, SqlStr};

use super::*;

/// The migrations before orders.
const OLDER: [(i64, &str, &str); 2] = [
    (1, "payments", include_str!("../migrations/sqlite/0001_payments.sql")),
    (2, "guards", include_str!("../migrations/sqlite/0002_guards.sql")),
];

const ROWS: &str = "
    INSERT INTO payments (id, state, call_sid, payment_sid, caller, call_reference, minor, currency, exponent, method, last4,
                          result, result_code, opened_at, submitted_at, ended_at)
    VALUES ('9a8f1282-65e4-5cf2-8b69-1b4cefccc055', 'declined', 'CA1', 'PK1', '+15550100001', 'order-7', 2500, 'USD', 2,
            'credit-card', '4242', 'payment-connector-error', 64008, 1, 2, 3);
    INSERT INTO events (payment_id, at, kind, data) VALUES
        ('9a8f1282-65e4-5cf2-8b69-1b4cefccc055', 1, 'opening', '{\"key\":\"k\"}'),
        ('9a8f1282-65e4-5cf2-8b69-1b4cefccc055', 3, 'declined', '{\"code\":64008,\"last4\":\"4242\"}');
    INSERT INTO outbox (payment_id, outcome, written_at, due_at) VALUES
        ('9a8f1282-65e4-5cf2-8b69-1b4cefccc055',
         '{\"id\":\"9a8f1282-65e4-5cf2-8b69-1b4cefccc055\",\"state\":\"declined\",\"at\":\"2026-11-01T00:00:00Z\",\"callSid\":\"CA1\"}',
         3, 3);";

#[tokio::test]
async fn ledger_of_an_older_version_is_migrated_and_stays_append_only() {
    let directory = TempDirectory::new();
    std::fs::create_dir_all(&directory.0).unwrap();
    let options = SqliteConnectOptions::new().filename(directory.file()).create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    let migrations = OLDER.map(|(version, description, sql)| {
        Migration::new(version, description.into(), MigrationType::Simple, SqlStr::from_static(sql), false)
    });
    let older = Migrator { migrations: migrations.to_vec().into(), ..Migrator::DEFAULT };
    older.run_direct(None, &mut connection, false).await.unwrap();
    connection.execute(ROWS).await.unwrap();
    drop(connection);

    let ledger = Ledger::open(&directory.file()).await.unwrap();
    let id = "9a8f1282-65e4-5cf2-8b69-1b4cefccc055".parse().unwrap();
    let payment = ledger.payment(id).await.unwrap().unwrap();
    assert_eq!((payment.state, payment.result_code, payment.live), (PaymentState::Declined, Some(64008), true));
    let kinds: Vec<_> = ledger.events(id).await.unwrap().into_iter().map(|event| event.kind).collect();
    assert_eq!(kinds, ["opening", "card-failed"]);
    assert_eq!(ledger.due_deliveries(Timestamp::now(), 9).await.unwrap().len(), 1);
    let mut writing = ledger.begin_write().await.unwrap();
    for forbidden in ["UPDATE events SET kind = 'x'", "DELETE FROM events", "DELETE FROM payments"] {
        let error = sqlx::query(forbidden).execute(&mut writing.transaction).await.unwrap_err();
        assert!(error.to_string().contains("never"), "{error}");
    }
}
