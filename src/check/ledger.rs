//! Checks the database of the ledger, and whether the servers that share it can be reached. A file is created and checked by
//! the server itself.

use futures_util::future::join_all;

use crate::config::{DatabaseUrl, PostgresUrl};
use crate::ledger::{self, DatabaseProbe};
use crate::sealing::SealingKeys;

use super::Finding;
use super::http::{Credentials, ProbeClient};

const SUBJECT: &str = "ledger";
const SERVERS: &str = "servers";

/// Checks whether the ledger can be kept in PostgreSQL, and whether the servers that share it are reached from here. There are
/// no findings if it is in a file.
pub(super) async fn check(http: &ProbeClient, database: &DatabaseUrl, keys: Option<&SealingKeys>) -> Vec<Finding> {
    let DatabaseUrl::Postgres(url) = database else { return Vec::new() };
    match DatabaseProbe::of(url, keys).await {
        Ok(probe) => {
            let servers = check_servers(http, &probe.servers).await;
            std::iter::once(judge(url, &probe)).chain(servers).collect()
        }
        Err(error) => {
            let fix = if ledger::is_tls_error(&error) {
                "correct sslrootcert in DATABASE_URL, or the certificate of the server"
            } else {
                "start PostgreSQL, or correct DATABASE_URL"
            };
            let message = format!("{url} cannot be used ({error}): {fix}");
            vec![Finding::failure(SUBJECT, message)]
        }
    }
}

/// Asks each server that shares the database whether it is there, as another server would.
async fn check_servers(http: &ProbeClient, addresses: &[String]) -> Option<Finding> {
    let ask = async |address: &String| {
        let answered = match address.parse() {
            Ok(url) => http.get(url, Credentials::Anonymous).await.map(|answer| answer.status),
            Err(_) => return Some(format!("{address} is no address")),
        };
        match answered {
            Ok(200) => None,
            Ok(status) => Some(format!("{address} answers {status}")),
            Err(error) => Some(format!("{address} {error}")),
        }
    };
    let silent: Vec<String> = join_all(addresses.iter().map(ask)).await.into_iter().flatten().collect();
    match (addresses.len(), silent.len()) {
        (0, _) => None,
        (count, 0) => Some(Finding::pass(SERVERS, format!("{count} that share the ledger are reached from here"))),
        _ => Some(Finding::warning(
            SERVERS,
            format!(
                "{}: if such a server runs, correct its INSTANCE_ADDRESS or the private network; if it has died, the others \
                 remove it",
                silent.join(", ")
            ),
        )),
    }
}

fn judge(url: &PostgresUrl, probe: &DatabaseProbe) -> Finding {
    let DatabaseProbe {
        version,
        lacks,
        round_trip,
        is_ledger,
        may_create,
        unopened_tokens,
        unopened_calls,
        servers: _,
    } = probe;
    if let Some(lacks) = lacks {
        return Finding::failure(SUBJECT, format!("{url} {lacks}"));
    }
    if !may_create {
        let message = format!("{url}: this user may not create tables: GRANT CREATE ON SCHEMA public to it");
        return Finding::failure(SUBJECT, message);
    }
    if *unopened_tokens > 0 {
        let message = format!(
            "{url}: {unopened_tokens} payment tokens that wait for delivery are sealed with a key that SEALING_KEY does not \
             have: add that key to it, after a comma"
        );
        return Finding::failure(SUBJECT, message);
    }
    if *unopened_calls > 0 {
        let message = format!(
            "{url}: what servers keep of {unopened_calls} live calls is sealed with a key that SEALING_KEY does not have, so that \
             this one cannot take them up: give all servers the same"
        );
        return Finding::failure(SUBJECT, message);
    }
    let tables = if *is_ledger { "has a ledger" } else { "gets its tables at the first start" };
    let milliseconds = round_trip.as_secs_f64() * 1000.0;
    Finding::pass(SUBJECT, format!("{url}, PostgreSQL {version}, answers in {milliseconds:.1} ms and {tables}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::check::Severity;

    #[test]
    fn what_a_database_lacks_is_a_failure_that_says_what_to_do() {
        let url: PostgresUrl = "postgres://u:hunter2@db/ledger".parse().unwrap();
        let good = || DatabaseProbe {
            version: "15.18".to_owned(),
            lacks: None,
            round_trip: Duration::from_micros(420),
            is_ledger: false,
            may_create: true,
            unopened_tokens: 0,
            unopened_calls: 0,
            servers: Vec::new(),
        };
        for (probe, severity, says) in [
            (good(), Severity::Pass, "PostgreSQL 15.18, answers in 0.4 ms and gets its tables at the first start"),
            (
                DatabaseProbe { lacks: Some("is read-only".to_owned()), ..good() },
                Severity::Failure,
                "db/ledger is read-only",
            ),
            (DatabaseProbe { may_create: false, ..good() }, Severity::Failure, "GRANT CREATE"),
            (DatabaseProbe { unopened_tokens: 2, ..good() }, Severity::Failure, "2 payment tokens"),
            (DatabaseProbe { unopened_calls: 2, ..good() }, Severity::Failure, "2 live calls is sealed with a key"),
        ] {
            let finding = judge(&url, &probe);
            assert_eq!(finding.severity, severity);
            assert!(finding.message.contains(says) && !finding.message.contains("hunter2"), "{}", finding.message);
        }
    }

    #[tokio::test]
    async fn a_server_that_is_not_reached_is_named() {
        let http = ProbeClient::new().unwrap();
        assert!(check_servers(&http, &[]).await.is_none());
        // Nobody listens on this port.
        let found = check_servers(&http, &["http://127.0.0.1:9".to_owned()]).await.unwrap();
        assert_eq!(found.severity, Severity::Warning);
        assert!(found.message.starts_with("http://127.0.0.1:9 refuses the connection: if such"), "{}", found.message);
    }
}
