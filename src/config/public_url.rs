//! The address at which Twilio reaches this server: every URL that is given to Twilio is made here.

use std::fmt;
use std::str::FromStr;

use url::{Host, Url};

/// `SERVER_BASE_URL`: a host, with a port or without, and perhaps a path in front of everything.
///
/// Twilio signs each URL just as it was given. So the one that is verified must be the one that was given, and not
/// one that is pieced together from the headers of a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    plain_http: bool,
    local: bool,
    /// Host, port and path, without a slash at the end.
    rest: String,
}

/// Why a text is not the public address of a server. Each is a sentence that the variable's name begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPublicUrl {
    /// Neither a host nor a URL.
    #[error("is not a host or a URL")]
    NotUrl,
    /// Neither http nor https, or the same for sockets.
    #[error("has a scheme other than https")]
    Scheme,
    /// `user:password@`
    #[error("has a user name in it")]
    UserInfo,
    /// `?…` or `#…`
    #[error("has a query or a fragment")]
    Query,
}

impl PublicUrl {
    /// The absolute URL of a path, which begins with a slash and may end in a query.
    pub fn http(&self, path_and_query: &str) -> String {
        let scheme = if self.plain_http { "http" } else { "https" };
        format!("{scheme}://{}{path_and_query}", self.rest)
    }

    /// The URL of a socket. Always `wss`: Twilio takes no other scheme, even where the server is given as http.
    pub fn wss(&self, path: &str) -> String {
        format!("wss://{}{path}", self.rest)
    }

    /// Whether requests come over plain http.
    pub fn is_plain_http(&self) -> bool {
        self.plain_http
    }

    /// Whether it is an address of this machine or of a private network, which Twilio cannot reach.
    pub fn is_local(&self) -> bool {
        self.local
    }
}

impl FromStr for PublicUrl {
    type Err = BadPublicUrl;

    fn from_str(text: &str) -> Result<Self, BadPublicUrl> {
        let text = text.trim();
        // The parser would silently drop or escape what is a slip of the pen.
        if text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\') {
            return Err(BadPublicUrl::NotUrl);
        }
        let (scheme, rest) = text.split_once("://").unwrap_or(("https", text));
        let plain_http = match scheme.to_ascii_lowercase().as_str() {
            "https" | "wss" => false,
            "http" | "ws" => true,
            _ => return Err(BadPublicUrl::Scheme),
        };
        if rest.starts_with('/') {
            return Err(BadPublicUrl::NotUrl);
        }
        let scheme = if plain_http { "http" } else { "https" };
        let url = Url::parse(&format!("{scheme}://{rest}")).map_err(|_| BadPublicUrl::NotUrl)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BadPublicUrl::UserInfo);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(BadPublicUrl::Query);
        }
        let path = url.path().trim_end_matches('/');
        if path.contains("//") {
            return Err(BadPublicUrl::NotUrl);
        }
        let host = url.host().ok_or(BadPublicUrl::NotUrl)?;
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        Ok(Self { plain_http, local: is_local(&host), rest: format!("{host}{port}{path}") })
    }
}

/// Whether the host is this machine, or stands in a private network.
pub(super) fn is_local(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost" || name.ends_with(".localhost"),
        Host::Ipv4(ip) => ip.is_loopback() || ip.is_unspecified() || ip.is_private() || ip.is_link_local(),
        Host::Ipv6(ip) => ip.is_loopback() || ip.is_unspecified() || ip.is_unique_local(),
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.http(""))
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
    fn a_host_with_or_without_a_scheme_means_the_same() {
        for text in ["pay.example.com", "https://pay.example.com/", "wss://Pay.Example.com", "pay.example.com:443"] {
            assert_eq!(url(text).http("/connectAction?a=1"), "https://pay.example.com/connectAction?a=1", "{text}");
            assert_eq!(url(text).wss("/conversation-relay"), "wss://pay.example.com/conversation-relay", "{text}");
            assert!(!url(text).is_plain_http());
        }
    }

    #[test]
    fn ports_and_paths_are_kept() {
        let behind = url("example.com:8443/voice/pay/");
        assert_eq!(behind.to_string(), "https://example.com:8443/voice/pay");
        assert_eq!(behind.http("/health"), "https://example.com:8443/voice/pay/health");
        assert_eq!(behind.wss("/conversation-relay"), "wss://example.com:8443/voice/pay/conversation-relay");
        assert_eq!(url("[2001:db8::1]:3001").to_string(), "https://[2001:db8::1]:3001");
    }

    #[test]
    fn plain_http_is_kept_and_its_socket_is_still_wss() {
        for text in ["http://127.0.0.1:3001", "ws://127.0.0.1:3001/"] {
            assert!(url(text).is_plain_http());
            assert_eq!(url(text).http("/"), "http://127.0.0.1:3001/");
            assert_eq!(url(text).wss("/a"), "wss://127.0.0.1:3001/a");
        }
    }

    #[test]
    fn addresses_that_twilio_cannot_reach_are_known() {
        for text in ["localhost:3001", "app.localhost", "127.0.0.1", "http://[::1]:3001", "0.0.0.0", "192.168.1.7"] {
            assert!(url(text).is_local(), "{text}");
        }
        for text in ["example.com", "localhost.example.com", "8.8.8.8"] {
            assert!(!url(text).is_local(), "{text}");
        }
    }

    #[test]
    fn what_could_not_be_signed_alike_is_refused() {
        for (text, why) in [
            ("", BadPublicUrl::NotUrl),
            ("https://", BadPublicUrl::NotUrl),
            ("//example.com", BadPublicUrl::NotUrl),
            ("/connect", BadPublicUrl::NotUrl),
            ("exa mple.com", BadPublicUrl::NotUrl),
            ("exam\nple.com", BadPublicUrl::NotUrl),
            ("https:example.com", BadPublicUrl::NotUrl),
            ("https://https://example.com", BadPublicUrl::NotUrl),
            ("example.com:port", BadPublicUrl::NotUrl),
            ("ftp://example.com", BadPublicUrl::Scheme),
            ("user:secret@example.com", BadPublicUrl::UserInfo),
            ("example.com/?a=1", BadPublicUrl::Query),
            ("example.com/#a", BadPublicUrl::Query),
        ] {
            assert_eq!(text.parse::<PublicUrl>(), Err(why), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_accepted_reads_back_the_same(text in "(https?://)?[\\PC]{0,24}") {
            if let Ok(url) = text.parse::<PublicUrl>() {
                prop_assert_eq!(url.to_string().parse(), Ok(url));
            }
        }
    }
}
