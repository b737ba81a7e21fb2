//! `deliver`.

use std::process::ExitCode;

use crelay_payments::config::Vars;
use jiff::{SignedDuration, Timestamp};

/// Makes every undelivered event due now.
pub(super) async fn run(vars: &Vars) -> anyhow::Result<ExitCode> {
    super::with_ledger(vars, async |ledger| {
        let backlog = ledger.make_deliveries_due().await?;
        match backlog.age(Timestamp::now()) {
            Some(age) => super::print(format_args!(
                "waiting: {}, the oldest for {}; a running server delivers within five seconds\n",
                backlog.waiting,
                format_age(age)
            ))?,
            None => super::print("waiting: none\n")?,
        }
        Ok(ExitCode::SUCCESS)
    })
    .await
}

/// The duration in its two largest units.
fn format_age(age: SignedDuration) -> String {
    let minutes = age.as_mins();
    match (minutes / (24 * 60), minutes / 60 % 24, minutes % 60) {
        (0, 0, 0) => format!("{} s", age.as_secs()),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_has_two_units_at_most() {
        for (seconds, text) in
            [(59, "59 s"), (60, "1 min"), (3660, "1 h 1 min"), (90_000, "1 d 1 h"), (864_000, "10 d 0 h")]
        {
            assert_eq!(format_age(SignedDuration::from_secs(seconds)), text);
        }
    }
}
