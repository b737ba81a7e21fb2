//! Checks whether Twilio's webhooks configuration API has a rule for this server: its requests may then be signed with a
//! shared key.

use serde::Deserialize;
use serde_json::Value;

use super::http::{Credentials, ProbeClient, ProbeError, ProbeResponse, build_url};
use super::report::Finding;
use crate::config::{Config, PublicUrl};

const SUBJECT: &str = "signatures";

/// A rule, as far as it matters here. The wire format is that of the API's public beta.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    match_type: String,
    value: Option<String>,
    prefix: Option<String>,
}

/// Reads the rules of the account. Without access to them there is nothing to report: most accounts do not use the API.
pub(super) async fn check(http: &ProbeClient, config: &Config, who: Credentials<'_>) -> Vec<Finding> {
    let url = build_url(&config.twilio.webhooks_base, &["v1", "Webhooks", "Rules"]);
    let response = match url {
        Some(url) => http.get(url, who).await,
        None => Err(ProbeError::Unreachable),
    };
    check_rules(response, &config.base_url, !config.twilio.webhook_shared_keys.is_empty())
}

fn check_rules(response: Result<ProbeResponse, ProbeError>, base: &PublicUrl, has_keys: bool) -> Vec<Finding> {
    let body = match response {
        Ok(response) if response.status == 200 => response.body,
        Ok(_) | Err(_) => return Vec::new(),
    };
    if !parse_rules(&body).iter().any(|rule| rule.matches(base)) {
        return Vec::new();
    }
    let mut findings = vec![Finding::warning(
        SUBJECT,
        "a rule of Twilio's webhooks configuration API matches SERVER_BASE_URL: Twilio says that this API is not for \
         workflows that are subject to PCI",
    )];
    if !has_keys {
        let message = "if the setting of that rule signs with a shared key, every request of Twilio is refused: set \
                       TWILIO_WEBHOOK_SHARED_KEYS";
        findings.push(Finding::warning(SUBJECT, message));
    }
    findings
}

/// Finds the rules in a page, whatever its list is called; what is no rule is left out.
fn parse_rules(body: &[u8]) -> Vec<Rule> {
    let Ok(Value::Object(page)) = serde_json::from_slice(body) else { return Vec::new() };
    let lists =
        page.into_iter().filter_map(|(_, member)| if let Value::Array(list) = member { Some(list) } else { None });
    lists.flatten().filter_map(|rule| serde_json::from_value(rule).ok()).collect()
}

impl Rule {
    /// Whether the rule applies to a URL of this server: it names one, or begins as they all do.
    fn matches(&self, base: &PublicUrl) -> bool {
        let (http, wss) = (base.http_url(""), base.wss_url(""));
        let has = |url: &Option<String>, is_match: &dyn Fn(&str, &str) -> bool| {
            let url = url.as_deref().unwrap_or_default();
            !url.is_empty() && [&http, &wss].into_iter().any(|base| is_match(url, base))
        };
        match self.match_type.to_ascii_uppercase().as_str() {
            "EXACT_MATCH" => has(&self.value, &|url, base| url.starts_with(base)),
            "PREFIX_MATCH" => has(&self.prefix, &|url, base| url.starts_with(base) || base.starts_with(url)),
            "DEFAULT" => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(status: u16, rules: &str, has_keys: bool) -> usize {
        let body = format!(r#"{{"meta": {{"key": "rules"}}, "rules": {rules}}}"#).into_bytes();
        let response = Ok(ProbeResponse { status, body, redirect: None });
        check_rules(response, &"https://pay.example.com".parse().unwrap(), has_keys).len()
    }

    #[test]
    fn a_rule_for_this_server_is_reported_and_a_missing_key() {
        for rule in [
            r#"{"matchType": "EXACT_MATCH", "value": "https://pay.example.com/connectAction", "settings": [{"id": "s"}]}"#,
            r#"{"matchType": "PREFIX_MATCH", "prefix": "https://pay.example.com"}"#,
            r#"{"matchType": "PREFIX_MATCH", "prefix": "https://pay.example.com/payment-"}"#,
            r#"{"matchType": "PREFIX_MATCH", "prefix": "https://pay."}"#,
            r#"{"matchType": "PREFIX_MATCH", "prefix": "wss://pay.example.com/"}"#,
            r#"{"matchType": "DEFAULT"}"#,
        ] {
            assert_eq!(findings(200, &format!("[{rule}]"), false), 2, "{rule}");
            assert_eq!(findings(200, &format!("[{rule}]"), true), 1, "{rule}");
        }
        for other in [
            r#"{"matchType": "EXACT_MATCH", "value": "https://shop.example.com/connectAction"}"#,
            r#"{"matchType": "PREFIX_MATCH", "prefix": "https://shop.example.com"}"#,
            r#"{"matchType": "PREFIX_MATCH"}"#,
            r#"{"matchType": "REGEX", "value": "https://pay.example.com"}"#,
            "7",
        ] {
            assert_eq!(findings(200, &format!("[{other}]"), false), 0, "{other}");
        }
    }

    #[test]
    fn an_account_without_the_api_is_no_finding() {
        for status in [401, 403, 404, 500] {
            assert_eq!(findings(status, r#"[{"matchType": "DEFAULT"}]"#, false), 0, "{status}");
        }
        assert_eq!(findings(200, "null", false), 0);
        assert_eq!(check_rules(Err(ProbeError::TimedOut), &"a.example".parse().unwrap(), false).len(), 0);
    }
}
