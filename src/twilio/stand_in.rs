//! The client with a server that sends scripted responses, for its tests.

use super::TwilioClient;
use crate::config;
use crate::simulator::raw_server::{RawResponse, RawServer};

/// Status, `Retry-After` and body.
pub(crate) type ScriptedAnswer = (u16, &'static str, &'static str);

/// Starts a server that sends these responses, then closes each connection without one. Returns it and its client.
pub(crate) async fn start_twilio(answers: &[ScriptedAnswer]) -> (RawServer, TwilioClient) {
    let response = |(status, retry_after, body): &ScriptedAnswer| {
        RawResponse::Plain(*status, vec![("retry-after", *retry_after), ("twilio-request-id", "RQ1")], body)
    };
    let (twilio, _dropped) = RawServer::start(answers.iter().map(response).collect()).await;
    let client = client_for(twilio.origin(), None);
    (twilio, client)
}

pub(super) fn client_for(origin: &str, api_key: Option<config::TwilioApiKey>) -> TwilioClient {
    let config = config::TwilioConfig {
        account_sid: "AC1".to_owned(),
        auth_token: "token".into(),
        secondary_auth_token: None,
        webhook_shared_keys: std::collections::BTreeMap::new(),
        api_key,
        from_number: "+15005550006".parse().unwrap(),
        api_base: origin.to_owned(),
        sync_base: origin.to_owned(),
        webhooks_base: String::new(),
    };
    TwilioClient::new(&config, "https://example.com/payment-status-callback".to_owned()).unwrap()
}
