//! Parsers of the values of variables. An error is a predicate whose subject is the variable, and never shows the
//! value.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::PaymentMode;
use super::database_url::{DatabaseUrl, ParsePostgresUrlError};
use super::exposure::Exposure;
use crate::payment::{Amount, Currency, ParseAmountError, TokenType};
use crate::phone_number::{NumberPrefix, ParseNumberPrefixError, ParsePhoneNumberError, PhoneNumber};
use crate::relay::twiml::is_xml_char;

/// The reason why a value is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ParseVariableError {
    #[error("is neither true nor false")]
    Bool,
    #[error("is not a port number")]
    Port,
    #[error("is not a list of IP addresses")]
    Addresses,
    #[error("is not a number of connections")]
    Connections,
    #[error("is not a phone number in E.164 form")]
    PhoneNumber,
    #[error("contains invalid characters")]
    Characters,
    #[error("is too long")]
    TooLong,
    #[error("is not an absolute http or https URL")]
    Url,
    #[error("has more than a scheme, a host and a port")]
    NotOrigin,
    #[error("is not a directory")]
    NotDirectory,
    #[error("is not greater than zero")]
    ZeroAmount,
    #[error("is not an amount: {0}")]
    Amount(#[from] ParseAmountError),
    #[error("is plain http to another machine")]
    PlainHttp,
    #[error("is not the code of a currency in use")]
    Currency,
    #[error("is not a token type")]
    TokenType,
    #[error("is neither required nor optional")]
    Required,
    #[error("is not a time in seconds")]
    Seconds,
    #[error("contains something other than host names")]
    Host,
    #[error("is not a time in hours")]
    Hours,
    #[error("is not a time in days")]
    Days,
    #[error("is neither live nor test")]
    PaymentMode,
    #[error("is not a list of names and tokens")]
    NamedTokens,
    #[error("contains a name or a token twice")]
    RepeatedName,
    #[error("contains an invalid name")]
    OperatorName,
    #[error("is not the URL of an SQLite file")]
    SqliteFile,
    #[error(transparent)]
    Postgres(ParsePostgresUrlError),
    #[error("is not a number of tokens")]
    Tokens,
    #[error("is not a number of orders")]
    Orders,
    #[error("is neither openai nor flowise")]
    ResponseService,
    #[error("has control characters or is longer than {MAX_BUSINESS_NAME_LENGTH} characters")]
    BusinessName,
}

/// The maximum length of a value, in bytes. Known keys and names are shorter.
const MAX_LENGTH: usize = 1024;

/// The maximum length of `BUSINESS_NAME`, in characters.
const MAX_BUSINESS_NAME_LENGTH: usize = 80;

/// Parses a name that is spoken: without control characters, and without what XML cannot represent.
pub(super) fn business_name(text: &str) -> Result<String, ParseVariableError> {
    let is_spoken = |c: char| !c.is_control() && is_xml_char(c);
    let is_valid = text.chars().count() <= MAX_BUSINESS_NAME_LENGTH && text.chars().all(is_spoken);
    is_valid.then(|| text.to_owned()).ok_or(ParseVariableError::BusinessName)
}

pub(super) fn boolean(text: &str) -> Result<bool, ParseVariableError> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" => Ok(true),
        "false" | "0" | "no" => Ok(false),
        _ => Err(ParseVariableError::Bool),
    }
}

pub(super) fn required(text: &str) -> Result<bool, ParseVariableError> {
    match text.to_ascii_lowercase().as_str() {
        "required" => Ok(true),
        "optional" => Ok(false),
        _ => Err(ParseVariableError::Required),
    }
}

pub(super) fn port(text: &str) -> Result<u16, ParseVariableError> {
    text.parse().map_err(|_| ParseVariableError::Port)
}

/// Parses IP addresses with commas between them, at least one. IPv6 may be in brackets.
pub(super) fn addresses(text: &str) -> Result<Vec<IpAddr>, ParseVariableError> {
    let address = |text: &str| {
        let text = text.trim();
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        bare.parse().map_err(|_| ParseVariableError::Addresses)
    };
    text.split(',').map(address).collect()
}

/// Parses a number of connections, at most a million.
pub(super) fn connections(text: &str) -> Result<usize, ParseVariableError> {
    text.parse().ok().filter(|count| (1..=1_000_000).contains(count)).ok_or(ParseVariableError::Connections)
}

pub(super) fn phone_number(text: &str) -> Result<PhoneNumber, ParseVariableError> {
    text.parse().map_err(|_| ParseVariableError::PhoneNumber)
}

/// Parses whole seconds, at most an hour.
pub(super) fn seconds(text: &str) -> Result<Duration, ParseVariableError> {
    let seconds = text.parse().ok().filter(|seconds| (1..=3600).contains(seconds));
    seconds.map(Duration::from_secs).ok_or(ParseVariableError::Seconds)
}

/// Parses whole hours, at most a year.
pub(super) fn hours(text: &str) -> Result<Duration, ParseVariableError> {
    let hours = text.parse().ok().filter(|hours| (1..=8760).contains(hours));
    hours.map(|hours: u64| Duration::from_secs(hours * 3600)).ok_or(ParseVariableError::Hours)
}

/// Parses whole days, at most 100 years.
pub(super) fn days(text: &str) -> Result<Duration, ParseVariableError> {
    let days = text.parse().ok().filter(|days| (1..=36_500).contains(days));
    days.map(|days: u64| Duration::from_secs(days * 24 * 3600)).ok_or(ParseVariableError::Days)
}

/// Parses `live` or `test`.
pub(super) fn payment_mode(text: &str) -> Result<PaymentMode, ParseVariableError> {
    match text.to_ascii_lowercase().as_str() {
        "live" => Ok(PaymentMode::Live),
        "test" => Ok(PaymentMode::Test),
        _ => Err(ParseVariableError::PaymentMode),
    }
}

/// Parses `sqlite://` and a path, or the URL of a PostgreSQL database.
pub(super) fn database_url(text: &str) -> Result<DatabaseUrl, ParseVariableError> {
    if text.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("postgres")) {
        return text.parse().map(DatabaseUrl::Postgres).map_err(ParseVariableError::Postgres);
    }
    sqlite_file(text).map(DatabaseUrl::Sqlite)
}

/// Parses `sqlite://` and a path. An in-memory database is rejected, since it would be lost with the process.
fn sqlite_file(text: &str) -> Result<PathBuf, ParseVariableError> {
    let path = text
        .strip_prefix("sqlite://")
        .or_else(|| text.strip_prefix("sqlite:"))
        .ok_or(ParseVariableError::SqliteFile)?;
    let file =
        !path.is_empty() && !path.ends_with('/') && !path.contains(['?', '#', '\0']) && !path.contains(":memory:");
    file.then(|| PathBuf::from(path)).ok_or(ParseVariableError::SqliteFile)
}

/// Parses a comma-separated list of phone numbers.
pub(super) fn phone_numbers(text: &str) -> Result<Vec<PhoneNumber>, ParsePhoneNumberError> {
    text.split(',').map(str::trim).filter(|number| !number.is_empty()).map(str::parse).collect()
}

/// Parses a comma-separated list of the beginnings of phone numbers.
pub(super) fn number_prefixes(text: &str) -> Result<Vec<NumberPrefix>, ParseNumberPrefixError> {
    text.split(',').map(str::trim).filter(|prefix| !prefix.is_empty()).map(str::parse).collect()
}

/// Parses a number of orders a minute.
pub(super) fn orders_per_minute(text: &str) -> Result<u32, ParseVariableError> {
    text.parse().ok().filter(|orders| (1..=10_000).contains(orders)).ok_or(ParseVariableError::Orders)
}

/// Parses a comma-separated list of host names.
pub(super) fn hosts(text: &str) -> Result<Vec<String>, ParseVariableError> {
    text.split(',').map(str::trim).filter(|host| !host.is_empty()).map(host).collect()
}

fn host(text: &str) -> Result<String, ParseVariableError> {
    match url::Host::parse(text) {
        Ok(url::Host::Domain(host)) => Ok(host),
        _ => Err(ParseVariableError::Host),
    }
}

/// Parses a key or token, which must be a valid HTTP header value.
pub(super) fn token(text: &str) -> Result<String, ParseVariableError> {
    check_characters(text, |c| c.is_ascii_graphic())
}

/// Parses a comma-separated list of `NAME=TOKEN`.
pub(super) fn named_tokens(text: &str) -> Result<BTreeMap<String, SecretString>, ParseVariableError> {
    text.split(',').map(|entry| named_token(entry, '=')).collect()
}

/// Parses a comma-separated list of `ID:SECRET`, each id once.
pub(super) fn shared_keys(text: &str) -> Result<BTreeMap<String, SecretString>, ParseVariableError> {
    let mut keys = BTreeMap::new();
    for entry in text.split(',') {
        let (id, secret) = named_token(entry, ':')?;
        if keys.insert(id, secret).is_some() {
            return Err(ParseVariableError::RepeatedName);
        }
    }
    Ok(keys)
}

/// Parses a label and a token with a separator between them.
pub(super) fn named_token(entry: &str, separator: char) -> Result<(String, SecretString), ParseVariableError> {
    let (name, secret) = entry.split_once(separator).ok_or(ParseVariableError::NamedTokens)?;
    let (name, secret) = (name.trim(), secret.trim());
    if name.is_empty() || secret.is_empty() {
        return Err(ParseVariableError::NamedTokens);
    }
    Ok((label(name)?, token(secret)?.into()))
}

/// Parses a SID or a DNS label, which becomes part of URLs.
pub(super) fn label(text: &str) -> Result<String, ParseVariableError> {
    check_characters(text, |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

/// Parses a comma-separated list of labels.
pub(super) fn labels(text: &str) -> Result<Vec<String>, ParseVariableError> {
    text.split(',').map(str::trim).filter(|it| !it.is_empty()).map(label).collect()
}

/// Parses a name chosen by a person.
pub(super) fn name(text: &str) -> Result<String, ParseVariableError> {
    check_characters(text, |c| !c.is_control())
}

pub(super) fn currency(text: &str) -> Result<Currency, ParseVariableError> {
    text.parse().map_err(|_| ParseVariableError::Currency)
}

/// Parses an amount greater than zero.
pub(super) fn amount(text: &str, currency: Currency) -> Result<Amount, ParseVariableError> {
    Amount::parse(text, currency)?.ok_or(ParseVariableError::ZeroAmount)
}

pub(super) fn token_type(text: &str) -> Result<TokenType, ParseVariableError> {
    text.parse().map_err(|_| ParseVariableError::TokenType)
}

pub(super) fn directory(text: &str) -> Result<PathBuf, ParseVariableError> {
    let path = PathBuf::from(text);
    if path.is_dir() { Ok(path) } else { Err(ParseVariableError::NotDirectory) }
}

fn check_characters(text: &str, allowed: impl Fn(char) -> bool) -> Result<String, ParseVariableError> {
    if text.len() > MAX_LENGTH {
        return Err(ParseVariableError::TooLong);
    }
    text.chars().all(allowed).then(|| text.to_owned()).ok_or(ParseVariableError::Characters)
}

/// Parses an absolute URL with a scheme, a host and a port only, to which paths are appended.
pub(super) fn origin(text: &str) -> Result<Url, ParseVariableError> {
    let url = Url::parse(text).ok().filter(|_| !text.contains(char::is_whitespace)).ok_or(ParseVariableError::Url)?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(ParseVariableError::Url);
    }
    let plain =
        url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    (plain && url.path() == "/").then_some(url).ok_or(ParseVariableError::NotOrigin)
}

/// Parses an absolute URL to which paths are appended: without user name, query and fragment.
pub(super) fn base_url(text: &str) -> Result<Url, ParseVariableError> {
    let url = Url::parse(text).ok().filter(|_| !text.contains(char::is_whitespace)).ok_or(ParseVariableError::Url)?;
    let plain =
        url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    (plain && matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(url).ok_or(ParseVariableError::Url)
}

/// Parses a URL of the business, with an optional query. It must be encrypted, since the requests contain data about
/// callers and payments; plain http is allowed to this machine.
pub(super) fn business_url(text: &str) -> Result<Url, ParseVariableError> {
    let url = Url::parse(text).ok().filter(|_| !text.contains(char::is_whitespace)).ok_or(ParseVariableError::Url)?;
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    match (url.scheme(), url.host()) {
        ("https", Some(_)) if plain => Ok(url),
        ("http", Some(host)) if plain && is_loopback(&host) => Ok(url),
        ("http", Some(_)) if plain => Err(ParseVariableError::PlainHttp),
        _ => Err(ParseVariableError::Url),
    }
}

fn is_loopback(host: &url::Host<&str>) -> bool {
    match host {
        url::Host::Domain(name) => *name == "localhost",
        url::Host::Ipv4(address) => address.is_loopback(),
        url::Host::Ipv6(address) => address.is_loopback(),
    }
}

/// Who can read data that is sent to this URL.
pub(super) fn exposure(url: &Url) -> Exposure {
    url.host().map_or(Exposure::None, |host| Exposure::of(url.scheme() == "http", &host))
}

/// The URL as text without a trailing slash.
pub(super) fn without_trailing_slash(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

/// Finds the value that has this word, in upper or lower case.
pub(super) fn find_word<T: Copy>(all: &[T], word: impl Fn(T) -> &'static str, text: &str) -> Option<T> {
    all.iter().copied().find(|value| text.eq_ignore_ascii_case(word(*value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_true_false_1_0_yes_no() {
        for (text, value) in [("true", true), ("1", true), ("YES", true), ("False", false), ("0", false), ("no", false)]
        {
            assert_eq!(boolean(text), Ok(value));
        }
        for text in ["", "on", "2", "truee", "null"] {
            assert_eq!(boolean(text), Err(ParseVariableError::Bool));
        }
    }

    #[test]
    fn a_key_that_is_no_header_value_is_rejected() {
        for text in ["sk-a\nb", "sk a", "sk-ä", "sk\u{7f}"] {
            assert_eq!(token(text), Err(ParseVariableError::Characters));
        }
        assert_eq!(token(&"k".repeat(MAX_LENGTH + 1)), Err(ParseVariableError::TooLong));
    }

    #[test]
    fn a_business_url_is_https_or_local() {
        for url in
            ["https://shop.example.com/calls?x=1", "http://127.0.0.1:9000/", "http://localhost", "http://[::1]/a"]
        {
            assert!(business_url(url).is_ok(), "{url}");
        }
        for url in ["http://shop.example.com/", "http://10.0.0.1/", "http://localhost.example.com/"] {
            assert_eq!(business_url(url), Err(ParseVariableError::PlainHttp), "{url}");
        }
        for url in ["shop.example.com", "ftp://a.b", "https://u:p@a.b", "https://a.b/#c", "https://a .b", "mailto:a@b"]
        {
            assert_eq!(business_url(url), Err(ParseVariableError::Url), "{url}");
        }
    }

    #[test]
    fn a_database_url_is_a_file_or_a_database_of_postgresql() {
        let postgres = "postgres://user:secret@localhost/ledger";
        assert_eq!(database_url(postgres), Ok(DatabaseUrl::Postgres(postgres.parse().unwrap())));
        let public = database_url("postgres://user:secret@db.example.com/ledger");
        assert_eq!(public, Err(ParseVariableError::Postgres(ParsePostgresUrlError::Unverified)));
        assert_eq!(database_url("sqlite://data/a.db"), Ok(DatabaseUrl::Sqlite(PathBuf::from("data/a.db"))));
        assert_eq!(sqlite_file("sqlite://data/a.db"), Ok(PathBuf::from("data/a.db")));
        assert_eq!(sqlite_file("sqlite:///srv/data/a.db"), Ok(PathBuf::from("/srv/data/a.db")));
        for text in ["", "data/a.db", "sqlite://", "sqlite::memory:", "sqlite://data/", "sqlite://a.db?mode=ro"] {
            assert_eq!(sqlite_file(text), Err(ParseVariableError::SqliteFile), "{text}");
        }
    }

    #[test]
    fn an_origin_is_a_scheme_a_host_and_a_port() {
        let text = |url: Url| without_trailing_slash(&url);
        assert_eq!(origin("http://127.0.0.1:4010/").map(text).as_deref(), Ok("http://127.0.0.1:4010"));
        for url in ["http://127.0.0.1:4010/v1", "https://u:p@a.b", "https://a.b/?c", "https://a.b/#c"] {
            assert_eq!(origin(url), Err(ParseVariableError::NotOrigin), "{url}");
        }
        for url in ["a.b", "ftp://a.b", "https://a\nb", ""] {
            assert_eq!(origin(url), Err(ParseVariableError::Url), "{url}");
        }
    }
}
