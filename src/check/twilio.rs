//! The account, the number and the connector, as far as Twilio's REST API tells.

use serde::Deserialize;
use url::Url;

use super::http::{Answer, As, Failure, Http, url};
use super::report::Finding;
use crate::config::{self, Config};
use crate::endpoints::CONNECT_CONVERSATION_RELAY;

/// Asks for the account and the number at once.
///
/// The account is read with the auth token, also where there is an API key: a wrong token would have every webhook
/// refused, and of the keys only the main one may read accounts.
pub(super) async fn findings(http: &Http, config: &Config) -> Vec<Finding> {
    let twilio = &config.twilio;
    let webhook = config.base_url.http(CONNECT_CONVERSATION_RELAY);
    let (account, number) = tokio::join!(
        get(http, account_url(twilio), As::User(&twilio.account_sid, &twilio.auth_token)),
        get(http, number_url(twilio), rest(twilio)),
    );
    let mut findings = self::account(account);
    findings.extend(api_key(twilio, &number));
    findings.extend(self::number(twilio, number, &webhook));
    findings.push(connector(&config.payment.connector));
    findings
}

/// Whom the server asks as.
fn rest(twilio: &config::Twilio) -> As<'_> {
    match &twilio.api_key {
        Some(key) => As::User(&key.sid, &key.secret),
        None => As::User(&twilio.account_sid, &twilio.auth_token),
    }
}

fn account_url(twilio: &config::Twilio) -> Option<Url> {
    url(&twilio.api_base, &["2010-04-01", "Accounts", &format!("{}.json", twilio.account_sid)])
}

fn number_url(twilio: &config::Twilio) -> Option<Url> {
    let path = ["2010-04-01", "Accounts", &twilio.account_sid, "IncomingPhoneNumbers.json"];
    let mut url = url(&twilio.api_base, &path)?;
    url.query_pairs_mut().append_pair("PhoneNumber", twilio.from_number.as_str());
    Some(url)
}

async fn get(http: &Http, url: Option<Url>, who: As<'_>) -> Result<Answer, Failure> {
    http.get(url.ok_or(Failure::Unreached)?, who).await
}

#[derive(Deserialize)]
struct Account {
    status: String,
    #[serde(rename = "type", default)]
    kind: String,
}

fn account(answer: Result<Answer, Failure>) -> Vec<Finding> {
    const SUBJECT: &str = "account";
    let answer = match answer {
        Ok(answer) => answer,
        Err(failure) => {
            return vec![Finding::bad(
                SUBJECT,
                format!("Twilio {failure}: look at TWILIO_EDGE, TWILIO_REGION and at the network"),
            )];
        }
    };
    let bad = |words: &str| vec![Finding::bad(SUBJECT, words)];
    match answer.status {
        200 => {}
        401 => {
            return bad(
                "Twilio refuses AUTH_TOKEN for ACCOUNT_SID: copy both from the same account, and from the one in TWILIO_REGION",
            );
        }
        403 => return bad("Twilio denies access: test credentials do not do, and a suspended account does not either"),
        404 => return bad("Twilio knows no such account: copy ACCOUNT_SID (AC…) from the console"),
        status => return bad(&format!("Twilio answers HTTP {status}: try again later")),
    }
    let Ok(account) = serde_json::from_slice::<Account>(&answer.body) else {
        return bad("what answers is not Twilio: look at TWILIO_API_BASE_URL, TWILIO_EDGE and TWILIO_REGION");
    };
    let mut findings = match account.status.as_str() {
        "active" => vec![Finding::good(
            SUBJECT,
            "is active, and AUTH_TOKEN belongs to it; make sure that it is the primary token, which signs the webhooks",
        )],
        "suspended" => bad("is suspended: settle with Twilio what is open"),
        "closed" => bad("is closed: use another"),
        _ => bad("is not active: look at it in Twilio's console"),
    };
    if account.kind.eq_ignore_ascii_case("trial") {
        let words = "is a trial account: callers hear a notice first, and only verified numbers can be called";
        findings.push(Finding::doubt(SUBJECT, words));
    }
    findings
}

/// The key, if there is one. The number was asked for with it.
fn api_key(twilio: &config::Twilio, number: &Result<Answer, Failure>) -> Option<Finding> {
    const SUBJECT: &str = "API key";
    twilio.api_key.as_ref()?;
    let answer = number.as_ref().ok()?;
    match answer.status {
        200 => Some(Finding::good(SUBJECT, "Twilio takes API_KEY and API_SECRET; AUTH_TOKEN only verifies signatures")),
        401 | 403 if is_restricted(answer) => Some(Finding::doubt(
            SUBJECT,
            "it is restricted and may not read numbers: make sure that it may create and update payments and calls",
        )),
        401 | 403 => Some(Finding::bad(
            SUBJECT,
            "Twilio refuses API_KEY with API_SECRET: give a key of this account and region that was not deleted",
        )),
        _ => None,
    }
}

/// Whether the key is in force and only lacks a permission (70051).
fn is_restricted(answer: &Answer) -> bool {
    #[derive(Deserialize)]
    struct Refusal {
        code: u32,
    }
    serde_json::from_slice::<Refusal>(&answer.body).is_ok_and(|refusal| refusal.code == 70051)
}

#[derive(Deserialize)]
struct Numbers {
    incoming_phone_numbers: Vec<Number>,
}

#[derive(Deserialize)]
struct Number {
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
}

fn number(twilio: &config::Twilio, answer: Result<Answer, Failure>, webhook: &str) -> Vec<Finding> {
    const SUBJECT: &str = "number";
    let wanted = twilio.from_number.as_str();
    let answer = match answer {
        Ok(answer) => answer,
        Err(failure) => return vec![Finding::bad(SUBJECT, format!("was not found out about: Twilio {failure}"))],
    };
    match answer.status {
        200 => {}
        // Told of the account or of the key.
        401 | 403 => return vec![Finding::doubt(SUBJECT, "was not looked at: Twilio refuses the credentials")],
        404 => return vec![Finding::doubt(SUBJECT, "was not looked at: Twilio knows no such account")],
        status => return vec![Finding::bad(SUBJECT, format!("was not found out about: Twilio answers HTTP {status}"))],
    }
    let Ok(numbers) = serde_json::from_slice::<Numbers>(&answer.body) else {
        return vec![Finding::bad(SUBJECT, "was not found out about: what answers is not Twilio")];
    };
    // The filter also finds numbers that only contain it.
    let Some(number) = numbers.incoming_phone_numbers.iter().find(|number| number.phone_number == wanted) else {
        let words = "FROM_NUMBER does not belong to the account: mend it, or buy or move the number";
        return vec![Finding::bad(SUBJECT, words)];
    };
    if !number.capabilities.voice {
        return vec![Finding::bad(SUBJECT, "FROM_NUMBER cannot take calls: use a number with voice")];
    }
    let belongs = Finding::good(SUBJECT, "FROM_NUMBER belongs to the account and can take calls");
    vec![belongs, voice_webhook(number, webhook)]
}

/// Where Twilio turns to when the number is called. What stands there now is not shown: it may have a password in it.
fn voice_webhook(number: &Number, webhook: &str) -> Finding {
    const SUBJECT: &str = "webhook";
    let is_set = |field: &Option<String>| field.as_deref().is_some_and(|text| !text.is_empty());
    let set = format!("set \"A call comes in\" to Webhook, {webhook}, HTTP POST");
    if is_set(&number.trunk_sid) {
        return Finding::doubt(SUBJECT, format!("a SIP trunk takes the calls of the number: {set}"));
    }
    if is_set(&number.voice_application_sid) {
        return Finding::doubt(
            SUBJECT,
            format!("a TwiML app takes the calls of the number: give it this URL, or {set}"),
        );
    }
    if !number.voice_url.as_deref().is_some_and(|url| leads_to(url, webhook)) {
        return Finding::doubt(SUBJECT, format!("calls of the number go elsewhere: {set}"));
    }
    if !number.voice_method.as_deref().is_some_and(|method| method.eq_ignore_ascii_case("POST")) {
        return Finding::doubt(SUBJECT, format!("calls of the number do not come by POST: {set}"));
    }
    Finding::good(SUBJECT, format!("calls of the number come to POST {webhook}"))
}

/// Whether two URLs are the same but for a query, which changes nothing here.
fn leads_to(url: &str, webhook: &str) -> bool {
    let bare = |url: &str| {
        let mut url = Url::parse(url).ok()?;
        url.set_query(None);
        Some(url)
    };
    bare(url).is_some_and(|url| Some(url) == bare(webhook))
}

/// Nothing of Pay can be read over REST.
fn connector(name: &str) -> Finding {
    const SUBJECT: &str = "connector";
    if config::is_connector_sid(name) {
        let words =
            "PAYMENT_CONNECTOR looks like a PC… SID: give the unique name that the connector has in the console";
        return Finding::doubt(SUBJECT, words);
    }
    let words = format!(
        "Twilio tells no program whether {name:?} exists, nor whether PCI mode is on: compare both with the console"
    );
    Finding::doubt(SUBJECT, words)
}
