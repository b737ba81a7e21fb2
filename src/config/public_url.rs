//! The public address of this server. Every URL given to Twilio is built here.

use std::fmt;
use std::str::FromStr;

use url::Url;

use crate::fleet::AT_SERVER;
use crate::server_id::ServerId;

use super::exposure::{self, Exposure};

/// `SERVER_BASE_URL`: a host with an optional port and an optional path prefix.
///
/// Twilio signs each URL exactly as it was given. Signatures are therefore verified with this URL, not with one built
/// from the headers of a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    plain_http: bool,
    local: bool,
    on_this_machine: bool,
    exposure: Exposure,
    /// Host, port and path, without a trailing slash.
    host_and_path: String,
}

/// The reason why a text is not a public URL. Each message is a predicate whose subject is the variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParsePublicUrlError {
    /// It is neither a host nor a URL.
    #[error("is not a host or a URL")]
    NotUrl,
    /// Its scheme is not http, https, ws or wss.
    #[error("has a scheme other than https")]
    Scheme,
    /// It contains `user:password@`.
    #[error("has a user name in it")]
    UserInfo,
    /// It contains `?…` or `#…`.
    #[error("has a query or a fragment")]
    Query,
}

impl PublicUrl {
    /// The absolute URL of a path, which starts with a slash and may have a query.
    pub fn http_url(&self, path_and_query: &str) -> String {
        let scheme = if self.plain_http { "http" } else { "https" };
        format!("{scheme}://{}{path_and_query}", self.host_and_path)
    }

    /// The URL of a WebSocket. Always `wss`: Twilio accepts no other scheme, even if the server's URL is http.
    pub fn wss_url(&self, path: &str) -> String {
        format!("wss://{}{path}", self.host_and_path)
    }

    /// The URLs that Twilio gets from one of several servers: their paths begin with the name of the server.
    pub(crate) fn at_server(&self, server: ServerId) -> Self {
        Self { host_and_path: format!("{}{AT_SERVER}{server}", self.host_and_path), ..self.clone() }
    }

    /// The origin of the URL, as a browser writes it into the header `Origin`.
    pub fn origin(&self) -> String {
        let url = self.http_url("");
        Url::parse(&url).map_or(url, |url| url.origin().ascii_serialization())
    }

    /// Whether the URL is plain http.
    pub fn is_plain_http(&self) -> bool {
        self.plain_http
    }

    /// Whether the host is this machine.
    pub fn is_on_this_machine(&self) -> bool {
        self.on_this_machine
    }

    /// Who can read requests to it.
    pub(super) fn exposure(&self) -> Exposure {
        self.exposure
    }

    /// Whether the host is this machine or in a private network, which Twilio cannot reach.
    pub fn is_local(&self) -> bool {
        self.local
    }
}

impl FromStr for PublicUrl {
    type Err = ParsePublicUrlError;

    fn from_str(text: &str) -> Result<Self, ParsePublicUrlError> {
        let text = text.trim();
        // The URL parser would silently drop or escape these characters.
        if text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\') {
            return Err(ParsePublicUrlError::NotUrl);
        }
        let (scheme, rest) = text.split_once("://").unwrap_or(("https", text));
        let plain_http = match scheme.to_ascii_lowercase().as_str() {
            "https" | "wss" => false,
            "http" | "ws" => true,
            _ => return Err(ParsePublicUrlError::Scheme),
        };
        if rest.starts_with('/') {
            return Err(ParsePublicUrlError::NotUrl);
        }
        let scheme = if plain_http { "http" } else { "https" };
        let url = Url::parse(&format!("{scheme}://{rest}")).map_err(|_| ParsePublicUrlError::NotUrl)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(ParsePublicUrlError::UserInfo);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(ParsePublicUrlError::Query);
        }
        let path = url.path().trim_end_matches('/');
        if path.contains("//") {
            return Err(ParsePublicUrlError::NotUrl);
        }
        let host = url.host().ok_or(ParsePublicUrlError::NotUrl)?;
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        Ok(Self {
            plain_http,
            local: exposure::is_local(&host),
            on_this_machine: exposure::is_this_machine(&host),
            exposure: Exposure::of(plain_http, &host),
            host_and_path: format!("{host}{port}{path}"),
        })
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.http_url(""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn url(text: &str) -> PublicUrl {
        text.parse().unwrap_or_else(|err| panic!("{text} {err}"))
    }

    #[test]
    fn a_host_without_a_scheme_means_https() {
        for text in ["pay.example.com", "https://pay.example.com/", "wss://Pay.Example.com", "pay.example.com:443"] {
            assert_eq!(url(text).http_url("/connectAction?a=1"), "https://pay.example.com/connectAction?a=1", "{text}");
            assert_eq!(url(text).wss_url("/conversation-relay"), "wss://pay.example.com/conversation-relay", "{text}");
            assert!(!url(text).is_plain_http());
        }
    }

    #[test]
    fn ports_and_paths_are_kept() {
        let proxied = url("example.com:8443/voice/pay/");
        assert_eq!(proxied.to_string(), "https://example.com:8443/voice/pay");
        assert_eq!(proxied.http_url("/health"), "https://example.com:8443/voice/pay/health");
        assert_eq!(proxied.wss_url("/conversation-relay"), "wss://example.com:8443/voice/pay/conversation-relay");
        assert_eq!(url("[2001:db8::1]:3001").to_string(), "https://[2001:db8::1]:3001");
    }

    #[test]
    fn plain_http_is_kept_and_its_socket_is_still_wss() {
        for text in ["http://127.0.0.1:3001", "ws://127.0.0.1:3001/"] {
            assert!(url(text).is_plain_http());
            assert_eq!(url(text).http_url("/"), "http://127.0.0.1:3001/");
            assert_eq!(url(text).wss_url("/a"), "wss://127.0.0.1:3001/a");
        }
    }

    #[test]
    fn local_addresses_are_recognized() {
        for text in ["localhost:3001", "app.localhost", "127.0.0.1", "http://[::1]:3001", "0.0.0.0", "192.168.1.7"] {
            assert!(url(text).is_local(), "{text}");
        }
        for text in ["example.com", "localhost.example.com", "8.8.8.8"] {
            assert!(!url(text).is_local(), "{text}");
        }
    }

    #[test]
    fn an_ambiguous_url_is_rejected() {
        for (text, why) in [
            ("", ParsePublicUrlError::NotUrl),
            ("https://", ParsePublicUrlError::NotUrl),
            ("//example.com", ParsePublicUrlError::NotUrl),
            ("/connect", ParsePublicUrlError::NotUrl),
            ("exa mple.com", ParsePublicUrlError::NotUrl),
            ("exam\nple.com", ParsePublicUrlError::NotUrl),
            ("https:example.com", ParsePublicUrlError::NotUrl),
            ("https://https://example.com", ParsePublicUrlError::NotUrl),
            ("example.com:port", ParsePublicUrlError::NotUrl),
            ("ftp://example.com", ParsePublicUrlError::Scheme),
            ("user:secret@example.com", ParsePublicUrlError::UserInfo),
            ("example.com/?a=1", ParsePublicUrlError::Query),
            ("example.com/#a", ParsePublicUrlError::Query),
        ] {
            assert_eq!(text.parse::<PublicUrl>(), Err(why), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_an_accepted_url_round_trips(text in "(https?://)?[\\PC]{0,24}") {
            if let Ok(url) = text.parse::<PublicUrl>() {
                prop_assert_eq!(url.to_string().parse(), Ok(url));
            }
        }
    }
}
