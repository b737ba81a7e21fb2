//! Twilio's REST API of 2010-04-01, as one account: calls and what happens on them.

use std::fmt;
use std::time::Duration;

use reqwest::Method;
use url::Url;

use super::error::Error;
use super::rest::{Ask, BadConfig, Limits, Repeat, Rest};
use crate::config;
use crate::phone_number::PhoneNumber;

/// A caller is listening to silence. A payment's answer is below 1 KiB.
const LIMITS: Limits =
    Limits { attempt: Duration::from_secs(5), request: Duration::from_secs(10), retries: 2, answer: 64 * 1024 };

/// Twilio's REST API, as one account.
///
/// A request that is repeated repeats its idempotency key, so that Twilio does once what was asked for twice; one that
/// has none is repeated only if Twilio certainly did nothing.
pub struct Client {
    pub(super) status_callback: String,
    pub(super) rest: Rest,
    /// This server's number.
    pub(super) from: PhoneNumber,
    account_sid: String,
}

impl Client {
    /// A client for `config`'s account. Twilio reports payments to `status_callback`, an absolute URL.
    pub fn new(config: &config::Twilio, status_callback: String) -> Result<Self, BadConfig> {
        let rest = Rest::new(config, &config.api_base, LIMITS)?;
        let (from, account_sid) = (config.from_number.clone(), config.account_sid.clone());
        Ok(Self { status_callback, rest, from, account_sid })
    }

    /// Posts a form to a resource of the account and returns the body of the answer. It may be sent more than once, as
    /// `repeat` says.
    pub(super) async fn post(&self, path: &[&str], form: &[(&str, &str)], repeat: Repeat) -> Result<Vec<u8>, Error> {
        let url = self.url(path);
        self.rest.ask(Ask { method: &Method::POST, url: &url, form, repeat }).await
    }

    fn url(&self, path: &[&str]) -> Url {
        let account = ["2010-04-01", "Accounts", &self.account_sid];
        self.rest.url(account.into_iter().chain(path.iter().copied()))
    }
}

/// Which account, and nothing of its secrets.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("rest", &self.rest).finish_non_exhaustive()
    }
}
