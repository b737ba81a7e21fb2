//! Tests of what only PostgreSQL can do: writes at the same time, and a server that is out of reach.

use super::*;

/// A ledger in PostgreSQL. `None` where that is not installed.
async fn in_postgres() -> Option<StoredLedger<true>> {
    LocalPostgres::get()?;
    Some(StoredLedger::new().await)
}

#[tokio::test]
async fn another_server_is_refused_while_one_runs() {
    let Some(test) = in_postgres().await else { return };
    let other = Ledger::open(&test.url).await;
    assert!(matches!(other, Err(OpenLedgerError::PostgresInUse(_))), "{other:?}");
    let command = Ledger::open_for_cli(&test.url).await.unwrap();
    assert_eq!(command.backlog().await.unwrap().waiting, 0);
    test.ledger.close().await;
    assert!(Ledger::open(&test.url).await.is_ok());
}
