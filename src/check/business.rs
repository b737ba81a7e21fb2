//! Checks of the endpoint of the business, and of the amounts that can be charged.

use super::http::{Credentials, ProbeClient};
use super::report::Finding;
use crate::config::BusinessEndpoint;
use crate::payment::PaymentSettings;

const SUBJECT: &str = "business";

/// Checks that the URL responds. The endpoint is not queried about a call, since there is none.
pub(super) async fn check(http: &ProbeClient, config: &BusinessEndpoint) -> Finding {
    let host = config.url.host_str().unwrap_or_default();
    match http.get(config.url.clone(), Credentials::Anonymous).await.map(|response| response.status) {
        Ok(300..=399) => Finding::failure(
            SUBJECT,
            format!("{host} redirects, which is not followed: set CALL_PARAMETERS_URL to the final address"),
        ),
        Ok(404 | 500..) => Finding::warning(
            SUBJECT,
            format!("{host} responds with an error: make sure that it accepts POST at CALL_PARAMETERS_URL"),
        ),
        Ok(_) => Finding::pass(SUBJECT, format!("{host} responds; it is queried about incoming calls")),
        Err(failure) => {
            let message = format!("{host} {failure}: check CALL_PARAMETERS_URL; calls continue without its parameters");
            Finding::failure(SUBJECT, message)
        }
    }
}

/// Reports the maximum amount due, and what can be charged on a call without an amount due.
pub(super) fn check_amounts(settings: &PaymentSettings, asked: bool) -> Vec<Finding> {
    let PaymentSettings { charge_limits: limits, max_due, currency, .. } = settings;
    let most = Finding::pass(
        "amounts",
        format!("are in {currency}; an amount due (amountDue) may be up to {max_due} (MAX_DUE), in any currency"),
    );
    let open = format!("what agent and caller agree on, from {} to {} {currency}", limits.min(), limits.max());
    let without = match (settings.due_required, asked) {
        (true, _) => Finding::pass(
            SUBJECT,
            "CALL_PARAMETERS=required: a call takes no payment if neither the business nor an order gives an amount due (amountDue)",
        ),
        (false, true) => Finding::warning(
            SUBJECT,
            format!(
                "CALL_PARAMETERS=optional: if it does not give an amount due (amountDue), or fails, a call is charged {open}; set \
                 CALL_PARAMETERS=required if such a call should take no payment"
            ),
        ),
        (false, false) => Finding::pass("amounts", format!("a call without amountDue is charged {open}")),
    };
    vec![most, without]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Severity;

    #[test]
    fn the_charges_of_a_call_without_an_amount_due_are_reported() {
        let report = |settings: &PaymentSettings, asked| {
            let Finding { severity: level, message: words, .. } = check_amounts(settings, asked).pop().unwrap();
            (level, words)
        };
        let optional = PaymentSettings::sample();
        let (level, words) = report(&optional, true);
        assert!(level == Severity::Warning && words.contains("from 0.50 to 1000.00 USD"), "{words}");
        assert!(words.contains("CALL_PARAMETERS=required"), "{words}");
        let (level, words) = report(&PaymentSettings { due_required: true, ..PaymentSettings::sample() }, true);
        assert!(level == Severity::Pass && words.contains("takes no payment"), "{words}");
        assert_eq!(report(&optional, false).0, Severity::Pass);
        assert!(check_amounts(&optional, false)[0].message.contains("up to 10000 (MAX_DUE)"));
    }
}
