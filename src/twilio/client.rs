//! A client for Twilio's REST API 2010-04-01: calls, payments and messages of one account.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use url::Url;

use super::error::TwilioError;
use super::rest::{BuildTwilioClientError, RequestLimits, RestClient, RestRequest, RetryPolicy};
use crate::config;
use crate::ids::CallSid;
use crate::phone_number::PhoneNumber;
use crate::telemetry::{Telemetry, TwilioOperation, TwilioWork};

/// Short limits, since a caller is waiting in silence. A response to a payment request is below 1 KiB.
const LIMITS: RequestLimits = RequestLimits {
    attempt_timeout: Duration::from_secs(5),
    request_timeout: Duration::from_secs(10),
    retries: 2,
    max_response_bytes: 64 * 1024,
};

/// Twilio's REST API with the credentials of one account.
///
/// A retry has the same idempotency key as the first attempt, so that Twilio processes the request once. A request
/// without a key is retried only if Twilio has certainly not processed it.
#[derive(Clone)]
pub struct TwilioClient {
    pub(super) status_callback: String,
    pub(super) rest: Arc<RestClient>,
    /// The server's number.
    pub(super) from: PhoneNumber,
    account_sid: String,
}

impl TwilioClient {
    /// Creates a client for the account of `config`. `status_callback` is the absolute URL for payment status
    /// callbacks.
    pub fn new(config: &config::TwilioConfig, status_callback: String) -> Result<Self, BuildTwilioClientError> {
        let rest = Arc::new(RestClient::new(config, &config.api_base, LIMITS)?);
        let (from, account_sid) = (config.from_number.clone(), config.account_sid.clone());
        Ok(Self { status_callback, rest, from, account_sid })
    }

    /// The same client, whose payments Twilio reports to this URL.
    pub(crate) fn with_status_callback(&self, status_callback: String) -> Self {
        Self { status_callback, ..self.clone() }
    }

    /// Reports requests to this hub from now on.
    pub(crate) fn set_telemetry(&self, telemetry: &Arc<Telemetry>) {
        self.rest.telemetry.set(telemetry);
    }

    /// Reports what was asked of Twilio for a call outside of its tools.
    pub(crate) fn record_call_work(&self, call: &CallSid, work: TwilioWork) {
        self.rest.telemetry.record(|telemetry| telemetry.record_twilio_work(call, work));
    }

    /// Posts a form to a resource of the account and returns the body of the response. Retries as `retry` allows.
    pub(super) async fn post(
        &self,
        operation: TwilioOperation,
        path: &[&str],
        form: &[(&str, &str)],
        retry: RetryPolicy,
    ) -> Result<Vec<u8>, TwilioError> {
        let url = self.url(path);
        self.rest.send(RestRequest { method: &Method::POST, url: &url, form, retry, operation }).await
    }

    fn url(&self, path: &[&str]) -> Url {
        let account = ["2010-04-01", "Accounts", &self.account_sid];
        self.rest.url(account.into_iter().chain(path.iter().copied()))
    }
}

/// Shows the account, and no secret.
impl fmt::Debug for TwilioClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("rest", &self.rest).finish_non_exhaustive()
    }
}
