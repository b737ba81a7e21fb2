//! The tokens with which an external client calls the tools of a live call, and nothing else.
//!
//! A call has one token. A response service that works within the answer to a request gets a token of that request
//! instead: it is derived from the token of the call, so that nobody has to keep it.

use hmac::{Hmac, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::call::ModelRequestId;

/// What separates the parts of the token of a request: the digest of the token of the call, the request, an HMAC-SHA256 of the
/// request under the token of the call, and where several servers share a ledger the tag of the server.
const SEPARATOR: char = '.';

/// The token of one session of a call: 244 random bits.
#[derive(Debug, Clone)]
pub(crate) struct CallToken {
    secret: SecretString,
    /// What names the server that has the session, where several share a ledger.
    server_tag: Option<String>,
}

/// The SHA-256 of the token of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TokenDigest([u8; 32]);

/// A token as a client sent it: that of a call, or that of a request.
pub(crate) struct PresentedToken {
    /// The digest of the token of the call.
    pub(crate) digest: TokenDigest,
    /// The request and its HMAC, in the token of a request.
    request: Option<(ModelRequestId, [u8; 32])>,
    /// What names the server in the token of a request.
    pub(crate) server_tag: Option<String>,
}

impl CallToken {
    /// Generates a token of 64 letters. It has no digits, so that no part of it looks like a card number.
    pub(crate) fn generate() -> Self {
        let secret = [Uuid::new_v4(), Uuid::new_v4()].map(|random| to_letters(random.as_bytes())).concat();
        Self { secret: secret.into(), server_tag: None }
    }

    /// Names the server that has the session in the tokens of requests, with a tag of letters.
    pub(crate) fn at_server(self, tag: String) -> Self {
        Self { server_tag: Some(tag), ..self }
    }

    /// The digest by which the registry finds the call.
    pub(crate) fn digest(&self) -> TokenDigest {
        TokenDigest::of(self.secret.expose_secret().as_bytes())
    }

    /// The token in clear, for a client of the whole call.
    #[cfg(any(feature = "simulator", test))]
    pub(crate) fn secret(&self) -> SecretString {
        self.secret.clone()
    }

    /// The token of a request in clear, for the response service that answers the request. It has no digits either.
    pub(crate) fn for_request(&self, request: ModelRequestId) -> SecretString {
        let mut parts = vec![
            to_letters(&self.digest().0),
            to_letters(&request.0.to_be_bytes()),
            to_letters(&self.mac(request).finalize().into_bytes()),
        ];
        parts.extend(self.server_tag.clone());
        parts.join(&SEPARATOR.to_string()).into()
    }

    /// Whether a token with the digest of this one was made from it. The time it takes does not depend on where an HMAC
    /// differs.
    pub(crate) fn has_issued(&self, token: &PresentedToken) -> bool {
        token.request.is_none_or(|(request, mac)| self.mac(request).verify_slice(&mac).is_ok())
    }

    fn mac(&self, request: ModelRequestId) -> Hmac<Sha256> {
        let mac = Hmac::<Sha256>::new_from_slice(self.secret.expose_secret().as_bytes()).expect("any length is a key");
        mac.chain_update(request.0.to_be_bytes())
    }
}

impl TokenDigest {
    fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }
}

impl PresentedToken {
    /// Reads a token. Any text is one; what has not the form of a request's is taken for that of a call.
    pub(crate) fn parse(token: &[u8]) -> Self {
        Self::parse_request_token(token).unwrap_or_else(|| Self {
            digest: TokenDigest::of(token),
            request: None,
            server_tag: None,
        })
    }

    fn parse_request_token(token: &[u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(token).ok()?.split(SEPARATOR);
        let (digest, request, mac) = (parts.next()?, parts.next()?, parts.next()?);
        let server_tag = parts.next().map(str::to_owned);
        if parts.next().is_some() {
            return None;
        }
        let request = ModelRequestId(u64::from_be_bytes(from_letters(request)?));
        let request = Some((request, from_letters(mac)?));
        Some(Self { digest: TokenDigest(from_letters(digest)?), request, server_tag })
    }

    /// The request whose token this is; `None` for that of a call.
    pub(crate) fn request(&self) -> Option<ModelRequestId> {
        self.request.map(|(request, _)| request)
    }
}

/// Writes each half of a byte as a letter from `a` to `p`.
pub(crate) fn to_letters(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|half| char::from(b'a' + half)).collect()
}

/// Reads what [`to_letters`] wrote.
pub(crate) fn from_letters<const N: usize>(letters: &str) -> Option<[u8; N]> {
    if letters.len() != 2 * N {
        return None;
    }
    let half = |letter: u8| letter.checked_sub(b'a').filter(|half| *half < 16);
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(letters.as_bytes().chunks_exact(2)) {
        *byte = half(pair[0])? << 4 | half(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(token: &SecretString) -> PresentedToken {
        PresentedToken::parse(token.expose_secret().as_bytes())
    }

    #[test]
    fn tokens_are_letters_and_differ() {
        let (one, other) = (CallToken::generate(), CallToken::generate());
        let text = one.secret().expose_secret().to_owned();
        assert!(text.len() == 64 && text.bytes().all(|letter| letter.is_ascii_lowercase()), "{text}");
        assert_ne!(one.digest(), other.digest());
        assert!(!format!("{one:?}").contains(&text));
        let of_request = one.for_request(ModelRequestId(4_242_424_242_424_242)).expose_secret().to_owned();
        assert!(of_request.chars().all(|c| c.is_ascii_lowercase() || c == SEPARATOR), "{of_request}");
        assert!(!of_request.contains(&text), "the token of a call cannot be read from that of a request");
    }

    #[test]
    fn the_token_of_a_request_belongs_to_that_request_of_that_call() {
        let (call, other) = (CallToken::generate(), CallToken::generate());
        let first = parse(&call.for_request(ModelRequestId(1)));
        assert!(first.digest == call.digest() && first.request() == Some(ModelRequestId(1)) && call.has_issued(&first));
        assert!(!other.has_issued(&first));
        let named = parse(&call.clone().at_server("abc".to_owned()).for_request(ModelRequestId(1)));
        assert!(named.server_tag.as_deref() == Some("abc") && named.digest == call.digest() && call.has_issued(&named));
        let (_, mac) = first.request.unwrap();
        let forged = PresentedToken { request: Some((ModelRequestId(2), mac)), ..first };
        assert!(!call.has_issued(&forged));
        let whole = parse(&call.secret());
        assert!(whole.digest == call.digest() && whole.request().is_none() && call.has_issued(&whole));
    }

    proptest! {
        #[test]
        fn any_text_is_a_token(text in "\\PC*", bytes in prop::array::uniform8(any::<u8>())) {
            prop_assert!(PresentedToken::parse(text.as_bytes()).request().is_none());
            prop_assert_eq!(from_letters(&to_letters(&bytes)), Some(bytes));
        }
    }
}
