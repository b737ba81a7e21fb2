//! Whether the business can be asked what a call is about, and what a call can be charged of which it says nothing.

use super::http::{As, Http};
use super::report::Finding;
use crate::config::Business;
use crate::payment::Settings;

const SUBJECT: &str = "business";

/// Looks whether anything answers at the URL. It is not asked about a call, since there is none.
pub(super) async fn finding(http: &Http, config: &Business) -> Finding {
    let host = config.url.host_str().unwrap_or_default();
    match http.get(config.url.clone(), As::Anyone).await.map(|answer| answer.status) {
        Ok(300..=399) => Finding::bad(
            SUBJECT,
            format!(
                "{host} redirects, which is not followed: set CALL_PARAMETERS_URL to the address that answers by itself"
            ),
        ),
        Ok(404 | 500..) => Finding::doubt(
            SUBJECT,
            format!("{host} does not answer as it should: make sure that it takes POST at CALL_PARAMETERS_URL"),
        ),
        Ok(_) => Finding::good(SUBJECT, format!("{host} answers, and is asked what a call is about")),
        Err(failure) => {
            let words = format!("{host} {failure}: look at CALL_PARAMETERS_URL; calls go on without what it knows");
            Finding::bad(SUBJECT, words)
        }
    }
}

/// What may be due, and what a call that does not say what is due can be charged.
pub(super) fn amounts(settings: &Settings, asked: bool) -> Vec<Finding> {
    let Settings { limits, max_due, currency, .. } = settings;
    let most = Finding::good(
        "amounts",
        format!(
            "are in {currency}; what is due (amountDue) is up to {max_due} (MAX_DUE), of whatever currency it is in"
        ),
    );
    let open = format!("what agent and caller agree on, from {} to {} {currency}", limits.least(), limits.most());
    let without = match (settings.due_required, asked) {
        (true, _) => Finding::good(
            SUBJECT,
            "CALL_PARAMETERS=required: a call takes no payment if neither the business nor an order says what is due (amountDue)",
        ),
        (false, true) => Finding::doubt(
            SUBJECT,
            format!(
                "CALL_PARAMETERS=optional: where it does not say what is due (amountDue), or fails, a call is charged {open}; set \
                 CALL_PARAMETERS=required if such a call is to take no payment"
            ),
        ),
        (false, false) => Finding::good("amounts", format!("a call without amountDue is charged {open}")),
    };
    vec![most, without]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;

    #[test]
    fn what_a_call_can_be_charged_of_which_nothing_is_said_is_told() {
        let told = |settings: &Settings, asked| {
            let Finding { level, words, .. } = amounts(settings, asked).pop().unwrap();
            (level, words)
        };
        let optional = Settings::sample();
        let (level, words) = told(&optional, true);
        assert!(level == Level::Doubt && words.contains("from 0.50 to 1000.00 USD"), "{words}");
        assert!(words.contains("CALL_PARAMETERS=required"), "{words}");
        let (level, words) = told(&Settings { due_required: true, ..Settings::sample() }, true);
        assert!(level == Level::Good && words.contains("takes no payment"), "{words}");
        assert_eq!(told(&optional, false).0, Level::Good);
        assert!(amounts(&optional, false)[0].words.contains("up to 10000 (MAX_DUE)"));
    }
}
