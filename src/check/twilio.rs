//! Checks of the account, the number and the connector, as far as Twilio's REST API shows them.

use serde::Deserialize;
use url::Url;

use super::http::{Credentials, ProbeClient, ProbeError, ProbeResponse, build_url};
use super::report::Finding;
use super::webhook_rules;
use crate::config::{self, Config};
use crate::endpoints::CONNECT_CONVERSATION_RELAY;

/// Checks the account, the number and the rules of webhooks concurrently.
///
/// The account is read with the auth token even if there is an API key: with a wrong token every webhook would be
/// rejected, and only main API keys may read accounts.
pub(super) async fn check(http: &ProbeClient, config: &Config) -> Vec<Finding> {
    let twilio = &config.twilio;
    let webhook = config.base_url.http_url(CONNECT_CONVERSATION_RELAY);
    let (account, number, rules) = tokio::join!(
        get(http, account_url(twilio), Credentials::Basic(&twilio.account_sid, &twilio.auth_token)),
        get(http, number_url(twilio), rest_credentials(twilio)),
        webhook_rules::check(http, config, rest_credentials(twilio)),
    );
    let mut findings = self::check_account(account);
    findings.extend(check_api_key(twilio, &number));
    findings.extend(self::check_number(twilio, number, &webhook));
    findings.extend(rules);
    findings.push(check_connector(&config.payment.connector));
    findings
}

/// The credentials that the server uses for the REST API.
fn rest_credentials(twilio: &config::TwilioConfig) -> Credentials<'_> {
    match &twilio.api_key {
        Some(key) => Credentials::Basic(&key.sid, &key.secret),
        None => Credentials::Basic(&twilio.account_sid, &twilio.auth_token),
    }
}

fn account_url(twilio: &config::TwilioConfig) -> Option<Url> {
    build_url(&twilio.api_base, &["2010-04-01", "Accounts", &format!("{}.json", twilio.account_sid)])
}

fn number_url(twilio: &config::TwilioConfig) -> Option<Url> {
    let path = ["2010-04-01", "Accounts", &twilio.account_sid, "IncomingPhoneNumbers.json"];
    let mut url = build_url(&twilio.api_base, &path)?;
    url.query_pairs_mut().append_pair("PhoneNumber", twilio.from_number.as_str());
    Some(url)
}

async fn get(http: &ProbeClient, url: Option<Url>, who: Credentials<'_>) -> Result<ProbeResponse, ProbeError> {
    http.get(url.ok_or(ProbeError::Unreachable)?, who).await
}

#[derive(Deserialize)]
struct AccountBody {
    status: String,
    #[serde(rename = "type", default)]
    kind: String,
}

fn check_account(response: Result<ProbeResponse, ProbeError>) -> Vec<Finding> {
    const SUBJECT: &str = "account";
    let response = match response {
        Ok(response) => response,
        Err(failure) => {
            return vec![Finding::failure(
                SUBJECT,
                format!("Twilio {failure}: check TWILIO_EDGE, TWILIO_REGION and the network"),
            )];
        }
    };
    let bad = |message: &str| vec![Finding::failure(SUBJECT, message)];
    match response.status {
        200 => {}
        401 => {
            return bad(
                "Twilio refuses AUTH_TOKEN for ACCOUNT_SID: copy both from the same account, in the region of TWILIO_REGION",
            );
        }
        403 => return bad("Twilio denies access: use live credentials of an account that is not suspended"),
        404 => return bad("Twilio does not know this account: copy ACCOUNT_SID (AC…) from the console"),
        status => return bad(&format!("Twilio answers HTTP {status}: try again later")),
    }
    let Ok(account) = serde_json::from_slice::<AccountBody>(&response.body) else {
        return bad("the response is not from Twilio: check TWILIO_API_BASE_URL, TWILIO_EDGE and TWILIO_REGION");
    };
    let mut findings = match account.status.as_str() {
        "active" => vec![Finding::pass(
            SUBJECT,
            "is active, and AUTH_TOKEN belongs to it; make sure that it is the primary token, which signs the webhooks",
        )],
        "suspended" => bad("is suspended: contact Twilio"),
        "closed" => bad("is closed: use another account"),
        _ => bad("is not active: check it in Twilio's console"),
    };
    if account.kind.eq_ignore_ascii_case("trial") {
        let message = "is a trial account: callers hear a notice first, and only verified numbers can be called";
        findings.push(Finding::warning(SUBJECT, message));
    }
    findings
}

/// Checks the API key, if there is one. The number was requested with it.
fn check_api_key(twilio: &config::TwilioConfig, number: &Result<ProbeResponse, ProbeError>) -> Option<Finding> {
    const SUBJECT: &str = "API key";
    twilio.api_key.as_ref()?;
    let response = number.as_ref().ok()?;
    match response.status {
        200 => {
            Some(Finding::pass(SUBJECT, "Twilio accepts API_KEY and API_SECRET; AUTH_TOKEN only verifies signatures"))
        }
        401 | 403 if is_restricted(response) => Some(Finding::warning(
            SUBJECT,
            "it is restricted and may not read numbers: make sure that it may create and update payments and calls",
        )),
        401 | 403 => Some(Finding::failure(
            SUBJECT,
            "Twilio refuses API_KEY with API_SECRET: use an existing key of this account and region",
        )),
        _ => None,
    }
}

/// Whether the key is valid and only lacks a permission (70051).
fn is_restricted(response: &ProbeResponse) -> bool {
    #[derive(Deserialize)]
    struct ErrorCode {
        code: u32,
    }
    serde_json::from_slice::<ErrorCode>(&response.body).is_ok_and(|error| error.code == 70051)
}

#[derive(Deserialize)]
struct PhoneNumberPage {
    incoming_phone_numbers: Vec<IncomingPhoneNumber>,
}

#[derive(Deserialize)]
struct IncomingPhoneNumber {
    phone_number: String,
    #[serde(default)]
    capabilities: Capabilities,
    voice_url: Option<String>,
    voice_method: Option<String>,
    voice_application_sid: Option<String>,
    trunk_sid: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Capabilities {
    voice: bool,
    sms: Option<bool>,
}

fn check_number(
    twilio: &config::TwilioConfig,
    response: Result<ProbeResponse, ProbeError>,
    webhook: &str,
) -> Vec<Finding> {
    const SUBJECT: &str = "number";
    let wanted = twilio.from_number.as_str();
    let response = match response {
        Ok(response) => response,
        Err(failure) => return vec![Finding::failure(SUBJECT, format!("could not be checked: Twilio {failure}"))],
    };
    match response.status {
        200 => {}
        // Reported for the account or the API key.
        401 | 403 => return vec![Finding::warning(SUBJECT, "was not checked: Twilio refuses the credentials")],
        404 => return vec![Finding::warning(SUBJECT, "was not checked: Twilio does not know this account")],
        status => {
            return vec![Finding::failure(SUBJECT, format!("could not be checked: Twilio answers HTTP {status}"))];
        }
    }
    let Ok(numbers) = serde_json::from_slice::<PhoneNumberPage>(&response.body) else {
        return vec![Finding::failure(SUBJECT, "could not be checked: the response is not from Twilio")];
    };
    // The filter also matches numbers that contain the wanted one.
    let Some(number) = numbers.incoming_phone_numbers.iter().find(|number| number.phone_number == wanted) else {
        let message = "FROM_NUMBER does not belong to the account: correct it, or buy or transfer the number";
        return vec![Finding::failure(SUBJECT, message)];
    };
    if !number.capabilities.voice {
        return vec![Finding::failure(SUBJECT, "FROM_NUMBER cannot take calls: use a number with voice")];
    }
    let belongs = Finding::pass(SUBJECT, "FROM_NUMBER belongs to the account and can take calls");
    let no_messages = "FROM_NUMBER cannot send text messages: send-sms fails, and no receipt is sent";
    let no_messages = (number.capabilities.sms == Some(false)).then(|| Finding::warning(SUBJECT, no_messages));
    [belongs, check_voice_webhook(number, webhook)].into_iter().chain(no_messages).collect()
}

/// Checks the voice webhook of the number. Its current value is not shown, since it may contain a password.
fn check_voice_webhook(number: &IncomingPhoneNumber, webhook: &str) -> Finding {
    const SUBJECT: &str = "webhook";
    let is_set = |field: &Option<String>| field.as_deref().is_some_and(|text| !text.is_empty());
    let set = format!("set \"A call comes in\" to Webhook, {webhook}, HTTP POST");
    if is_set(&number.trunk_sid) {
        return Finding::warning(SUBJECT, format!("a SIP trunk takes the calls of the number: {set}"));
    }
    if is_set(&number.voice_application_sid) {
        return Finding::warning(
            SUBJECT,
            format!("a TwiML app takes the calls of the number: set this URL there, or {set}"),
        );
    }
    if !number.voice_url.as_deref().is_some_and(|url| is_same_endpoint(url, webhook)) {
        return Finding::warning(SUBJECT, format!("calls of the number go elsewhere: {set}"));
    }
    if !number.voice_method.as_deref().is_some_and(|method| method.eq_ignore_ascii_case("POST")) {
        return Finding::warning(SUBJECT, format!("calls of the number do not come by POST: {set}"));
    }
    Finding::pass(SUBJECT, format!("calls of the number come to POST {webhook}"))
}

/// Whether two URLs are equal except for the query, which does not matter here.
fn is_same_endpoint(url: &str, webhook: &str) -> bool {
    let bare = |url: &str| {
        let mut url = Url::parse(url).ok()?;
        url.set_query(None);
        Some(url)
    };
    bare(url).is_some_and(|url| Some(url) == bare(webhook))
}

/// Checks the name of the connector only, since the REST API shows nothing of Pay.
fn check_connector(name: &str) -> Finding {
    const SUBJECT: &str = "connector";
    if config::is_connector_sid(name) {
        let message = "PAYMENT_CONNECTOR looks like a PC… SID: set the unique name of the connector from the console";
        return Finding::warning(SUBJECT, message);
    }
    let message = format!(
        "Twilio's API does not show whether {name:?} exists, nor whether PCI mode is on: check both in the console"
    );
    Finding::warning(SUBJECT, message)
}
