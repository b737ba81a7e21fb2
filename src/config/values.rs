//! What each kind of value may be. An error is a sentence that the variable's name begins, and never shows the value.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::PaymentMode;
use super::public_url::is_local;
use crate::payment::{Amount, BadAmount, Currency, TokenType};
use crate::phone_number::{BadPhoneNumber, PhoneNumber};

/// Why a text is not a value of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadValue {
    #[error("is neither true nor false")]
    Bool,
    #[error("is not a port number")]
    Port,
    #[error("is not a phone number in E.164 form")]
    PhoneNumber,
    #[error("has characters that cannot be in it")]
    Characters,
    #[error("is too long")]
    TooLong,
    #[error("is not an absolute http or https URL")]
    Url,
    #[error("has more than a scheme, a host and a port")]
    NotOrigin,
    #[error("is not a directory")]
    NotDirectory,
    #[error("is no more than zero")]
    NoAmount,
    #[error("is no amount: {0}")]
    Amount(#[from] BadAmount),
    #[error("is neither https nor on this machine")]
    Exposed,
    #[error("is not the code of a currency in use")]
    Currency,
    #[error("is not a kind of token")]
    TokenType,
    #[error("is neither required nor optional")]
    Required,
    #[error("is not a time in seconds")]
    Seconds,
    #[error("has something in it that is not a host name")]
    Host,
    #[error("is not a time in hours")]
    Hours,
    #[error("is not a time in days")]
    Days,
    #[error("is neither live nor test")]
    PaymentMode,
    #[error("is not the URL of an SQLite file")]
    SqliteFile,
}

/// Longer than any key or name that is known.
const MAX_LENGTH: usize = 1024;

pub(super) fn boolean(text: &str) -> Result<bool, BadValue> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" => Ok(true),
        "false" | "0" | "no" => Ok(false),
        _ => Err(BadValue::Bool),
    }
}

pub(super) fn required(text: &str) -> Result<bool, BadValue> {
    match text.to_ascii_lowercase().as_str() {
        "required" => Ok(true),
        "optional" => Ok(false),
        _ => Err(BadValue::Required),
    }
}

pub(super) fn port(text: &str) -> Result<u16, BadValue> {
    text.parse().map_err(|_| BadValue::Port)
}

pub(super) fn phone_number(text: &str) -> Result<PhoneNumber, BadValue> {
    text.parse().map_err(|_| BadValue::PhoneNumber)
}

/// Whole seconds, an hour at most.
pub(super) fn seconds(text: &str) -> Result<Duration, BadValue> {
    let seconds = text.parse().ok().filter(|seconds| (1..=3600).contains(seconds));
    seconds.map(Duration::from_secs).ok_or(BadValue::Seconds)
}

/// Whole hours, a year at most.
pub(super) fn hours(text: &str) -> Result<Duration, BadValue> {
    let hours = text.parse().ok().filter(|hours| (1..=8760).contains(hours));
    hours.map(|hours: u64| Duration::from_secs(hours * 3600)).ok_or(BadValue::Hours)
}

/// Whole days, a century at most.
pub(super) fn days(text: &str) -> Result<Duration, BadValue> {
    let days = text.parse().ok().filter(|days| (1..=36_500).contains(days));
    days.map(|days: u64| Duration::from_secs(days * 24 * 3600)).ok_or(BadValue::Days)
}

/// Whether the connector moves real money.
pub(super) fn payment_mode(text: &str) -> Result<PaymentMode, BadValue> {
    match text.to_ascii_lowercase().as_str() {
        "live" => Ok(PaymentMode::Live),
        "test" => Ok(PaymentMode::Test),
        _ => Err(BadValue::PaymentMode),
    }
}

/// `sqlite://` and a path. What is kept in memory only would be lost with the process.
pub(super) fn sqlite_file(text: &str) -> Result<PathBuf, BadValue> {
    let path = text.strip_prefix("sqlite://").or_else(|| text.strip_prefix("sqlite:")).ok_or(BadValue::SqliteFile)?;
    let file =
        !path.is_empty() && !path.ends_with('/') && !path.contains(['?', '#', '\0']) && !path.contains(":memory:");
    file.then(|| PathBuf::from(path)).ok_or(BadValue::SqliteFile)
}

/// Phone numbers with commas between them.
pub(super) fn phone_numbers(text: &str) -> Result<Vec<PhoneNumber>, BadPhoneNumber> {
    text.split(',').map(str::trim).filter(|number| !number.is_empty()).map(str::parse).collect()
}

/// Host names with commas between them.
pub(super) fn hosts(text: &str) -> Result<Vec<String>, BadValue> {
    text.split(',').map(str::trim).filter(|host| !host.is_empty()).map(host).collect()
}

fn host(text: &str) -> Result<String, BadValue> {
    match url::Host::parse(text) {
        Ok(url::Host::Domain(host)) => Ok(host),
        _ => Err(BadValue::Host),
    }
}

/// A key or a token: it goes into HTTP headers, where a line break would be a panic or worse.
pub(super) fn token(text: &str) -> Result<String, BadValue> {
    checked(text, |c| c.is_ascii_graphic())
}

/// A SID or the label of a host: it goes into URLs.
pub(super) fn label(text: &str) -> Result<String, BadValue> {
    checked(text, |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

/// A name that people gave.
pub(super) fn name(text: &str) -> Result<String, BadValue> {
    checked(text, |c| !c.is_control())
}

pub(super) fn currency(text: &str) -> Result<Currency, BadValue> {
    text.parse().map_err(|_| BadValue::Currency)
}

/// An amount that can be charged.
pub(super) fn amount(text: &str, currency: Currency) -> Result<Amount, BadValue> {
    Amount::parse(text, currency)?.ok_or(BadValue::NoAmount)
}

pub(super) fn token_type(text: &str) -> Result<TokenType, BadValue> {
    text.parse().map_err(|_| BadValue::TokenType)
}

pub(super) fn directory(text: &str) -> Result<PathBuf, BadValue> {
    let path = PathBuf::from(text);
    if path.is_dir() { Ok(path) } else { Err(BadValue::NotDirectory) }
}

fn checked(text: &str, allowed: impl Fn(char) -> bool) -> Result<String, BadValue> {
    if text.len() > MAX_LENGTH {
        return Err(BadValue::TooLong);
    }
    text.chars().all(allowed).then(|| text.to_owned()).ok_or(BadValue::Characters)
}

/// An absolute URL to which paths are added: no slash at its end, no user name, query or fragment.
pub(super) fn base_url(text: &str) -> Result<Url, BadValue> {
    let url = Url::parse(text).map_err(|_| BadValue::Url)?;
    let plain = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
        && !text.contains(char::is_whitespace);
    (plain && matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(url).ok_or(BadValue::Url)
}

/// A base URL without a path.
pub(super) fn origin(text: &str) -> Result<Url, BadValue> {
    let url = base_url(text)?;
    if url.path() == "/" { Ok(url) } else { Err(BadValue::NotOrigin) }
}

/// A URL of the business, perhaps with a query: what is sent there is about callers and money, so nobody may read it on the
/// way.
pub(super) fn business_url(text: &str) -> Result<Url, BadValue> {
    let url = Url::parse(text).ok().filter(|_| !text.contains(char::is_whitespace)).ok_or(BadValue::Url)?;
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    match (url.scheme(), url.host()) {
        ("https", Some(_)) if plain => Ok(url),
        ("http", Some(host)) if plain && is_loopback(&host) => Ok(url),
        ("http", Some(_)) if plain => Err(BadValue::Exposed),
        _ => Err(BadValue::Url),
    }
}

fn is_loopback(host: &url::Host<&str>) -> bool {
    match host {
        url::Host::Domain(name) => *name == "localhost",
        url::Host::Ipv4(address) => address.is_loopback(),
        url::Host::Ipv6(address) => address.is_loopback(),
    }
}

/// Whether what is sent there can be read on the way.
pub(super) fn is_exposed(url: &Url) -> bool {
    url.scheme() == "http" && !url.host().is_some_and(|host| is_local(&host))
}

/// The URL as text that a path can be added to.
pub(super) fn without_slash(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_a_few_words() {
        for (text, value) in [("true", true), ("1", true), ("YES", true), ("False", false), ("0", false), ("no", false)]
        {
            assert_eq!(boolean(text), Ok(value));
        }
        for text in ["", "on", "2", "truee", "null"] {
            assert_eq!(boolean(text), Err(BadValue::Bool));
        }
    }

    #[test]
    fn a_key_that_would_break_a_header_is_refused() {
        for text in ["sk-a\nb", "sk a", "sk-ä", "sk\u{7f}"] {
            assert_eq!(token(text), Err(BadValue::Characters));
        }
        assert_eq!(token(&"k".repeat(MAX_LENGTH + 1)), Err(BadValue::TooLong));
    }

    #[test]
    fn the_business_is_reached_over_https_or_on_this_machine() {
        for url in
            ["https://shop.example.com/calls?x=1", "http://127.0.0.1:9000/", "http://localhost", "http://[::1]/a"]
        {
            assert!(business_url(url).is_ok(), "{url}");
        }
        for url in ["http://shop.example.com/", "http://10.0.0.1/", "http://localhost.example.com/"] {
            assert_eq!(business_url(url), Err(BadValue::Exposed), "{url}");
        }
        for url in ["shop.example.com", "ftp://a.b", "https://u:p@a.b", "https://a.b/#c", "https://a .b", "mailto:a@b"]
        {
            assert_eq!(business_url(url), Err(BadValue::Url), "{url}");
        }
    }

    #[test]
    fn a_ledger_is_a_file() {
        assert_eq!(sqlite_file("sqlite://data/a.db"), Ok(PathBuf::from("data/a.db")));
        assert_eq!(sqlite_file("sqlite:///srv/data/a.db"), Ok(PathBuf::from("/srv/data/a.db")));
        for text in [
            "",
            "data/a.db",
            "postgres://h/d",
            "sqlite://",
            "sqlite::memory:",
            "sqlite://data/",
            "sqlite://a.db?mode=ro",
        ] {
            assert_eq!(sqlite_file(text), Err(BadValue::SqliteFile), "{text}");
        }
    }

    #[test]
    fn a_base_url_is_absolute_and_bare() {
        let text = |url: Url| without_slash(&url);
        assert_eq!(base_url("https://api.openai.com/v1/").map(text).as_deref(), Ok("https://api.openai.com/v1"));
        assert_eq!(origin("http://127.0.0.1:4010/").map(text).as_deref(), Ok("http://127.0.0.1:4010"));
        assert_eq!(origin("http://127.0.0.1:4010/v1"), Err(BadValue::NotOrigin));
        for url in
            ["api.openai.com/v1", "ftp://a.b", "https://u:p@a.b", "https://a.b/?c", "https://a.b/#c", "https://a\nb"]
        {
            assert_eq!(base_url(url), Err(BadValue::Url), "{url}");
        }
    }
}
