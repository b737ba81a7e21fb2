//! The rules for calls that this server places: consent, calling hours, and the numbers that are not called any more.

use axum::http::StatusCode;
use jiff::Timestamp;
use tracing::error;

use super::order::OutboundOrder;
use crate::assets::OutboundRules;
use crate::calling_rules::CallingHoursError;
use crate::endpoints::json::ApiError;
use crate::ids::CallSid;
use crate::ledger::Ledger;

/// The answer to an order without the consent that is required.
const NO_CONSENT: &str = "properties.consent is missing, and Compliance.outbound.requireConsent is true: give {\"kind\": …, \"at\": …, \
                          \"reference\": …}, on which this person is called";

/// Checks that a number may be called now, on the consent that the order names: 409 if its owner does not want to be called any
/// more or it is not the time, 422 if the order lacks what is needed to know.
pub(super) async fn check(
    ledger: &Ledger,
    rules: Option<&OutboundRules>,
    order: &OutboundOrder,
    now: Timestamp,
) -> Result<(), ApiError> {
    if let Some(since) = ledger.find_do_not_call(&order.to).await? {
        let error = format!("this phoneNumber is on the do-not-call list since {since}: do not call it");
        return Err(ApiError::new(StatusCode::CONFLICT, error));
    }
    let Some(rules) = rules else { return Ok(()) };
    if rules.require_consent && order.consent.is_none() {
        return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, NO_CONSENT));
    }
    let Some(hours) = rules.calling_hours else { return Ok(()) };
    hours.check(&order.to, order.time_zone.as_deref(), now).map_err(|error| {
        let status = match error {
            CallingHoursError::Outside { .. } => StatusCode::CONFLICT,
            CallingHoursError::UnknownZone | CallingHoursError::NoZone => StatusCode::UNPROCESSABLE_ENTITY,
        };
        ApiError::new(status, error)
    })
}

/// Records on which consent a call was placed.
pub(super) async fn record_consent(ledger: &Ledger, call: &CallSid, order: &OutboundOrder) {
    let Some(consent) = &order.consent else { return };
    if let Err(error) = ledger.record_call_consent(call, consent).await {
        error!(
            event = "ledger.consent_lost",
            call_sid = %call,
            %error,
            "The consent on which a call was placed could be neither written nor buffered."
        );
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::ledger::{CallData, TempDirectory};
    use crate::payment::PaymentSettings;

    const NUMBER: &str = "+4930123456";

    fn order(properties: &Value) -> OutboundOrder {
        let now = "2026-11-28T12:00:00Z".parse().unwrap();
        OutboundOrder::parse(serde_json::from_value(properties.clone()).unwrap(), &PaymentSettings::sample(), now)
            .unwrap()
    }

    fn rules(json: &str) -> OutboundRules {
        serde_json::from_str(json).unwrap()
    }

    async fn answer(ledger: &Ledger, rules: &str, properties: &Value, now: &str) -> Option<(u16, String)> {
        let rules = self::rules(rules);
        let checked = check(ledger, Some(&rules), &order(properties), now.parse().unwrap()).await;
        checked.err().map(|error| (error.status().as_u16(), error.message().to_owned()))
    }

    #[tokio::test]
    async fn an_order_needs_consent_the_right_time_and_a_number_that_may_be_called() {
        let directory = TempDirectory::new();
        std::fs::create_dir_all(directory.file().parent().unwrap()).unwrap();
        let ledger = Ledger::open(&directory.file()).await.unwrap();
        let plain = json!({"phoneNumber": NUMBER});
        let consent = json!({"kind": "web-form", "at": "2026-11-01T09:30:00Z", "reference": "form-17"});
        let consented = json!({"phoneNumber": NUMBER, "consent": consent});
        let (noon, night) = ("2026-11-28T12:00:00Z", "2026-11-28T22:00:00Z");
        for (rules, properties, now, expected) in [
            ("{}", &plain, night, None),
            (r#"{"requireConsent": true}"#, &plain, noon, Some((422, "consent is missing"))),
            (r#"{"requireConsent": true}"#, &consented, night, None),
            (r#"{"callingHours": true}"#, &plain, noon, None),
            (r#"{"callingHours": true}"#, &plain, night, Some((409, "it is 23:00 in Europe/Berlin"))),
            (r#"{"callingHours": {"from": 13, "until": 14}}"#, &plain, noon, None),
            (r#"{"callingHours": {"from": 8, "until": 13}}"#, &plain, noon, Some((409, "it is 13:00"))),
            (r#"{"callingHours": false}"#, &plain, night, None),
        ] {
            let found = answer(&ledger, rules, properties, now).await;
            let fits = match (&found, expected) {
                (None, None) => true,
                (Some((status, why)), Some((wanted, text))) => *status == wanted && why.contains(text),
                _ => false,
            };
            assert!(fits, "{rules} {properties} {now}: {found:?}");
        }
        let thai = json!({"phoneNumber": "+6621234567"});
        let unknown = answer(&ledger, r#"{"callingHours": true}"#, &thai, noon).await.unwrap();
        assert!(unknown.0 == 422 && unknown.1.contains("timeZone"), "{unknown:?}");

        let call = CallData::from_sid("CA1".parse().unwrap());
        ledger.add_do_not_call(&call, &NUMBER.parse().unwrap()).await.unwrap();
        let listed = check(&ledger, None, &order(&consented), noon.parse().unwrap()).await.unwrap_err();
        assert!(listed.status() == StatusCode::CONFLICT && listed.message().contains("do-not-call list"));
        assert!(check(&ledger, None, &order(&thai), noon.parse().unwrap()).await.is_ok());
    }

    #[test]
    fn hours_that_are_none_are_refused() {
        for hours in [r#"{"from": 21, "until": 8}"#, r#"{"from": 8, "until": 25}"#, "8", r#"{"from": 8}"#] {
            assert!(
                serde_json::from_str::<OutboundRules>(&format!(r#"{{"callingHours": {hours}}}"#)).is_err(),
                "{hours}"
            );
        }
    }
}
