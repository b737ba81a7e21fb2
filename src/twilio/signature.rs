//! `X-Twilio-Signature`: signs and verifies Twilio's requests.
//!
//! The algorithm is that of Twilio's helper libraries; their published test vectors are the tests.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use url::form_urlencoded;

/// The query parameter with the SHA-256 of a body that is not a form, in lower-case hex.
const BODY_HASH: &str = "bodySHA256";

/// Signs requests as Twilio does, and verifies Twilio's signatures.
///
/// The URL is always the one that was given to Twilio, with its scheme, host and query as sent. Behind a proxy it is
/// built from the configured base URL, since the server does not see the scheme and not always the host.
#[derive(Clone)]
pub struct Signer(KeyedMac);

/// A MAC that has its key, and maybe a part of its input.
#[derive(Clone)]
enum KeyedMac {
    Sha1(Hmac<Sha1>),
    Sha256(Hmac<Sha256>),
}

impl Signer {
    /// Creates a signer with an auth token of an account, which signs with HMAC-SHA1. API key secrets do not sign.
    pub fn new(auth_token: &SecretString) -> Self {
        let mac = Hmac::new_from_slice(auth_token.expose_secret().as_bytes());
        Self(KeyedMac::Sha1(mac.expect("HMAC takes keys of any length")))
    }

    /// Creates a signer with the secret of a shared key, which signs with HMAC-SHA256.
    pub fn with_shared_key(secret: &SecretString) -> Self {
        let mac = Hmac::new_from_slice(secret.expose_secret().as_bytes());
        Self(KeyedMac::Sha256(mac.expect("HMAC takes keys of any length")))
    }

    /// The signature of a form POST to `url`, in base64. `form` holds every parameter of the body, decoded and
    /// untrimmed, in any order; it is empty for all other requests.
    pub fn sign(&self, url: &str, form: &[(String, String)]) -> String {
        BASE64.encode(self.digest(url, &sort_parameters(form)).finalize())
    }

    /// Verifies a form POST. All parameters of the body count, including unknown and empty ones.
    ///
    /// Twilio is inconsistent about ports: a URL with a port may be signed without it, and one without a port with the
    /// default one. It also signs a query before another encoder, of its own or of a proxy, has escaped it: `O'Brien` or
    /// `O%27Brien`. All of these are accepted; a query with another meaning is not. The comparison takes constant time.
    pub fn verify(&self, url: &str, form: &[(String, String)], signature: &str) -> bool {
        let Ok(signature) = BASE64.decode(signature) else {
            return false;
        };
        let parameters = sort_parameters(form);
        std::iter::once(Cow::Borrowed(url))
            .chain(reencode_query(url))
            .flat_map(|url| [toggle_port(&url).into_owned(), url.into_owned()])
            .any(|url| self.digest(&url, &parameters).verify(&signature))
    }

    /// Verifies a request whose body is not a form, such as JSON: the URL contains the hash of the body.
    pub fn verify_body(&self, url: &str, body: &[u8], signature: &str) -> bool {
        let hash = query_parameter(url, BODY_HASH);
        hash.is_some_and(|hash| hash == hex::encode(Sha256::digest(body))) && self.verify(url, &[], signature)
    }

    /// Verifies a WebSocket upgrade. `url` is exactly the `url` of the TwiML: its scheme is `wss`, and a trailing slash
    /// counts. It should have no query, since the signing of a query is not documented for upgrades.
    pub fn verify_upgrade(&self, url: &str, signature: &str) -> bool {
        self.verify(url, &[], signature)
    }

    /// The MAC of the URL and of the sorted parameters.
    fn digest(&self, url: &str, parameters: &[&(String, String)]) -> KeyedMac {
        let mut mac = self.0.clone();
        mac.update(url);
        for (name, value) in parameters {
            mac.update(name);
            mac.update(value);
        }
        mac
    }
}

impl KeyedMac {
    fn update(&mut self, text: &str) {
        match self {
            Self::Sha1(mac) => mac.update(text.as_bytes()),
            Self::Sha256(mac) => mac.update(text.as_bytes()),
        }
    }

    /// Compares the MAC in constant time. A signature of another length, as of another hash, does not match.
    fn verify(self, signature: &[u8]) -> bool {
        match self {
            Self::Sha1(mac) => mac.verify_slice(signature).is_ok(),
            Self::Sha256(mac) => mac.verify_slice(signature).is_ok(),
        }
    }

    fn finalize(self) -> Vec<u8> {
        match self {
            Self::Sha1(mac) => mac.finalize().into_bytes().to_vec(),
            Self::Sha256(mac) => mac.finalize().into_bytes().to_vec(),
        }
    }
}

/// Returns each distinct pair of name and value once, sorted by name in byte order, then by value.
fn sort_parameters(form: &[(String, String)]) -> Vec<&(String, String)> {
    let mut parameters: Vec<_> = form.iter().collect();
    parameters.sort_unstable();
    parameters.dedup();
    parameters
}

/// Shows nothing of the key.
impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer([secret])")
    }
}

/// Returns the URL without its port or, if it has none, with the default port of its scheme.
///
/// The text is edited directly, since a URL that is parsed and serialized again may differ from the signed one.
fn toggle_port(url: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Cow::Borrowed(url);
    };
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let host = authority.rfind('@').map_or(0, |at| at + 1);
    // The colons inside the brackets of an IPv6 address separate no port.
    let port = authority[host..].rfind([':', ']']).map(|at| host + at).filter(|at| authority[*at..].starts_with(':'));
    if let Some(at) = port {
        return Cow::Owned(format!("{scheme}://{}{tail}", &authority[..at]));
    }
    let default = if matches!(scheme, "https" | "wss") { 443 } else { 80 };
    Cow::Owned(format!("{scheme}://{authority}:{default}{tail}"))
}

/// Returns the URL with its query in the two other common encodings of the same names and values: that of JavaScript's
/// `encodeURIComponent`, which leaves `!'()*~` and writes a space as `%20`, and that of HTML forms, which escapes them
/// except `*` and writes a space as `+`.
fn reencode_query(url: &str) -> Vec<Cow<'_, str>> {
    let Some((path, query)) = url.split_once('?') else { return Vec::new() };
    let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
    // A value that is not UTF-8 has no other encoding.
    if pairs.iter().any(|(name, value)| name.contains('\u{fffd}') || value.contains('\u{fffd}')) {
        return Vec::new();
    }
    let component: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{}={}", encode_component(name), encode_component(value))).collect();
    let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(&pairs).finish();
    [component.join("&"), form].map(|query| Cow::Owned(format!("{path}?{query}"))).into()
}

/// Escapes a text as JavaScript's `encodeURIComponent` does.
fn encode_component(text: &str) -> String {
    text.bytes().map(encode_byte).collect()
}

fn encode_byte(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}

fn query_parameter<'url>(url: &'url str, name: &str) -> Option<&'url str> {
    let query = url.split_once('?')?.1;
    let query = query.split_once('#').map_or(query, |(query, _)| query);
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests;
