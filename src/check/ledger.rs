//! Checks the database of the ledger. A file is created and checked by the server itself.

use crate::config::{DatabaseUrl, PostgresUrl};
use crate::ledger::DatabaseProbe;
use crate::sealing::SealingKeys;

use super::Finding;

const SUBJECT: &str = "ledger";

/// Checks whether the ledger can be kept in PostgreSQL. `None` if it is in a file.
pub(super) async fn check(database: &DatabaseUrl, keys: Option<&SealingKeys>) -> Option<Finding> {
    let DatabaseUrl::Postgres(url) = database else { return None };
    Some(match DatabaseProbe::of(url, keys).await {
        Ok(probe) => judge(url, &probe),
        Err(error) => Finding::failure(
            SUBJECT,
            format!("{url} cannot be used ({error}): start PostgreSQL, or correct DATABASE_URL"),
        ),
    })
}

fn judge(url: &PostgresUrl, probe: &DatabaseProbe) -> Finding {
    let DatabaseProbe { version, lacks, round_trip, is_ledger, may_create, unopened_tokens } = probe;
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
        ] {
            let finding = judge(&url, &probe);
            assert_eq!(finding.severity, severity);
            assert!(finding.message.contains(says) && !finding.message.contains("hunter2"), "{}", finding.message);
        }
    }
}
