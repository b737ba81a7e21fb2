//! The cookie of the console, which an operator gets for the token.
//!
//! It names the operator and the time at which it expires, with an HMAC-SHA256 of both. The key is derived from the auth
//! token and the token of that operator: a restart accepts the cookie, and it ends when either token is changed or removed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use hmac::{Hmac, Mac as _};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

use super::client_network::is_loopback;
use crate::call_token::{from_letters, to_letters};
use crate::config::{OperatorName, OperatorTokens};
use crate::connections;

/// How long a cookie is valid: a working day.
pub(in crate::endpoints) const SESSION_LIFETIME: Duration = Duration::from_hours(12);

/// The page on which an operator gets a cookie.
pub(in crate::endpoints) const LOGIN: &str = "/console/login";

/// The names of the cookie. With the prefix a browser takes it only over HTTPS and from this host, for all of its paths.
const SECURE_COOKIE: &str = "__Host-console";
const LOOPBACK_COOKIE: &str = "console";

/// What the keys are derived for. Another version of the cookie has another label.
const KEY_LABEL: &[u8] = b"crelay-payments console session v1";

/// Makes and verifies cookies.
pub(in crate::endpoints) struct ConsoleSessions(Vec<(OperatorName, Hmac<Sha256>)>);

/// A request of an operator who is logged in to the console.
#[derive(Debug)]
pub(in crate::endpoints) struct ConsoleOperator(pub(in crate::endpoints) OperatorName);

impl ConsoleSessions {
    /// Derives the key of each operator.
    pub(in crate::endpoints) fn new(tokens: &OperatorTokens, auth_token: &SecretString) -> Self {
        let derive = |token: &SecretString| {
            let mut key = hmac(auth_token.expose_secret().as_bytes());
            key.update(KEY_LABEL);
            key.update(&Sha256::digest(token.expose_secret()));
            hmac(&key.finalize().into_bytes())
        };
        Self(tokens.iter().map(|(name, token)| (name.clone(), derive(token))).collect())
    }

    /// Makes the value of a cookie: the name of the operator, the second at which it expires, and the HMAC of both.
    fn issue(&self, operator: &OperatorName, now: Timestamp) -> Option<String> {
        let (name, key) = self.0.iter().find(|(name, _)| name == operator)?;
        let lifetime = i64::try_from(SESSION_LIFETIME.as_secs()).unwrap_or(i64::MAX);
        let content = format!("{name}.{}", now.as_second().saturating_add(lifetime));
        let mac = key.clone().chain_update(&content).finalize().into_bytes();
        Some(format!("{content}.{}", to_letters(&mac)))
    }

    /// Verifies the value of a cookie. The time it takes does not depend on where the HMACs differ.
    fn verify(&self, value: &str, now: Timestamp) -> Option<&OperatorName> {
        let (content, mac) = value.rsplit_once('.')?;
        let (given, expires) = content.split_once('.')?;
        let (name, key) = self.0.iter().find(|(name, _)| name.as_str() == given)?;
        key.clone().chain_update(content).verify_slice(&from_letters::<32>(mac)?).ok()?;
        (now.as_second() < expires.parse().ok()?).then_some(name)
    }

    /// Finds the operator whose cookie a request has.
    pub(in crate::endpoints) fn find_operator(&self, parts: &Parts, now: Timestamp) -> Option<&OperatorName> {
        let name = cookie_name(parts);
        let cookies = parts.headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let values = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
        values.filter(|(own, _)| *own == name).find_map(|(_, value)| self.verify(value, now))
    }

    /// Returns the header `Set-Cookie` that logs an operator in.
    pub(in crate::endpoints) fn log_in(
        &self,
        operator: &OperatorName,
        parts: &Parts,
        now: Timestamp,
    ) -> Option<String> {
        Some(set_cookie(parts, &self.issue(operator, now)?, SESSION_LIFETIME.as_secs()))
    }
}

/// Returns the header `Set-Cookie` that logs out.
pub(in crate::endpoints) fn log_out(parts: &Parts) -> String {
    set_cookie(parts, "", 0)
}

fn set_cookie(parts: &Parts, value: &str, max_age: u64) -> String {
    let name = cookie_name(parts);
    let secure = if name == SECURE_COOKIE { "; Secure" } else { "" };
    format!("{name}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Strict{secure}")
}

/// A browser on this machine may use plain HTTP. A tunnel or proxy on this machine has the name of the server as `Host`.
fn cookie_name(parts: &Parts) -> &'static str {
    if is_loopback(parts) { LOOPBACK_COOKIE } else { SECURE_COOKIE }
}

/// Whether a page of this server sent the request. Without `Sec-Fetch-Site`, which browsers send over HTTPS and to this
/// machine, `Origin` has to be this host, or `own`, the public origin.
pub(in crate::endpoints) fn is_from_own_page(headers: &HeaderMap, own: &str) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin";
    }
    let Some(origin) = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok()) else { return false };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    origin == own || (host.is_some() && origin.split_once("://").map(|(_, host)| host) == host)
}

fn hmac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

/// Sends a browser that is not logged in to the log-in page.
impl<S> FromRequestParts<S> for ConsoleOperator
where
    S: Send + Sync,
    Arc<ConsoleSessions>: FromRef<S>,
{
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let sessions = Arc::<ConsoleSessions>::from_ref(state);
        match sessions.find_operator(parts, Timestamp::now()) {
            Some(operator) => {
                connections::mark_identified(&parts.extensions);
                Ok(Self(operator.clone()))
            }
            // A script would follow a redirect and take the page for its answer.
            None if accepts_only_events(&parts.headers) => Err(StatusCode::UNAUTHORIZED.into_response()),
            None => Err(Redirect::to(LOGIN).into_response()),
        }
    }
}

fn accepts_only_events(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).is_some_and(|accept| accept == "text/event-stream")
}

/// Shows the names of the operators.
impl fmt::Debug for ConsoleSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(name, _)| name.as_str())).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::extract::ConnectInfo;
    use axum::http::Request;

    use super::*;

    fn sessions(tokens: &[(&str, &str)], auth_token: &str) -> ConsoleSessions {
        let tokens = tokens.iter().map(|(name, token)| (name.parse().unwrap(), (*token).into())).collect();
        ConsoleSessions::new(&tokens, &auth_token.into())
    }

    fn request(peer: &str, headers: &[(&str, &str)]) -> Parts {
        let request = headers.iter().fold(Request::builder(), |request, (name, value)| request.header(*name, *value));
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        parts.extensions.insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 4711)));
        parts
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_cookie_is_valid_for_twelve_hours_and_for_its_operator() {
        let sessions = sessions(&[("ann", "correct horse"), ("bob", "battery staple")], "secret");
        let ann: OperatorName = "ann".parse().unwrap();
        let cookie = sessions.issue(&ann, at(1000)).unwrap();
        let last = 1000 + 12 * 3600 - 1;
        assert_eq!(sessions.verify(&cookie, at(last)), Some(&ann));
        assert_eq!(sessions.verify(&cookie, at(last + 1)), None);
        for changed in [
            cookie.replace("ann", "bob"),
            cookie.replace("44200", "44201"),
            cookie[..cookie.len() - 1].to_owned(),
            cookie.clone() + "a",
            cookie.rsplit_once('.').unwrap().0.to_owned(),
            String::new(),
            "..".to_owned(),
        ] {
            assert_eq!(sessions.verify(&changed, at(1000)), None, "{changed}");
        }
        assert_eq!(sessions.issue(&"eve".parse().unwrap(), at(1000)), None);
    }

    #[test]
    fn a_cookie_ends_with_the_token_or_the_auth_token() {
        let cookie = sessions(&[("ann", "correct horse")], "secret").issue(&"ann".parse().unwrap(), at(0)).unwrap();
        for (tokens, auth_token, is_valid) in [
            (&[("ann", "correct horse")][..], "secret", true),
            (&[("ann", "correct horse"), ("bob", "battery staple")], "secret", true),
            (&[("ann", "battery staple")], "secret", false),
            (&[("bob", "correct horse")], "secret", false),
            (&[("ann", "correct horse")], "other", false),
        ] {
            assert_eq!(sessions(tokens, auth_token).verify(&cookie, at(1)).is_some(), is_valid, "{tokens:?}");
        }
    }

    #[test]
    fn only_a_browser_on_this_machine_gets_a_cookie_without_secure() {
        let sessions = sessions(&[("ann", "correct horse")], "secret");
        let ann = "ann".parse().unwrap();
        for (peer, host, forwarded, is_secure) in [
            ("127.0.0.1", "localhost:3001", None, false),
            ("127.0.0.1", "127.0.0.1:3001", None, false),
            ("::1", "[::1]:3001", None, false),
            ("127.0.0.1", "pay.example.com", None, true),
            ("127.0.0.1", "localhost.example.com", None, true),
            ("127.0.0.1", "localhost:3001", Some("https"), true),
            ("192.0.2.7", "localhost:3001", None, true),
        ] {
            let mut headers = vec![("host", host)];
            headers.extend(forwarded.map(|protocol| ("x-forwarded-proto", protocol)));
            let cookie = sessions.log_in(&ann, &request(peer, &headers), at(0)).unwrap();
            assert!(cookie.contains("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict"), "{cookie}");
            assert_eq!((cookie.ends_with("; Secure"), cookie.starts_with("__Host-")), (is_secure, is_secure), "{host}");
            let pair = cookie.split(';').next().unwrap();
            headers.extend([("cookie", "theme=dark; __Host-console=; console=x"), ("cookie", pair)]);
            assert_eq!(sessions.find_operator(&request(peer, &headers), at(1)), Some(&ann), "{host}");
        }
        let cookie = format!("console={}", sessions.issue(&ann, at(0)).unwrap());
        let elsewhere = request("127.0.0.1", &[("host", "pay.example.com"), ("cookie", &cookie)]);
        assert_eq!(sessions.find_operator(&elsewhere, at(1)), None, "a cookie that came over plain HTTP");
        assert!(!format!("{sessions:?}").contains("horse"));
    }

    #[test]
    fn a_form_is_taken_from_a_page_of_this_server_only() {
        let own =
            |headers: &[(&str, &str)]| is_from_own_page(&request("::1", headers).headers, "https://pay.example.com");
        let host = ("host", "10.0.0.7:3001");
        assert!(own(&[host, ("sec-fetch-site", "same-origin"), ("origin", "null")]));
        assert!(own(&[host, ("origin", "http://10.0.0.7:3001")]));
        assert!(own(&[host, ("origin", "https://pay.example.com")]), "a proxy may name another host");
        for site in ["same-site", "cross-site", "none", ""] {
            assert!(!own(&[host, ("sec-fetch-site", site), ("origin", "https://pay.example.com")]), "{site}");
        }
        for origin in ["null", "http://10.0.0.7", "https://pay.example.com.evil.example", ""] {
            assert!(!own(&[host, ("origin", origin)]), "{origin}");
        }
        assert!(!own(&[host]));
        assert!(!own(&[]));
    }
}
