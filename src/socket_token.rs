//! The token that ties a ConversationRelay socket to one call.
//!
//! The signature of a WebSocket upgrade is the same for every call, since the URL has no call in it. So the TwiML of each
//! session has a `<Parameter>` with a token, which Twilio returns in the `setup` frame. The token of a call has the number
//! of the session and an HMAC-SHA256 of that number and the call's SID. An order is placed before Twilio has named its
//! call, so the token of an order is an HMAC-SHA256 of its `callReference` and a random number. The keys are derived
//! from the auth tokens: a restart, or a second server, accepts the same tokens.

use std::fmt;

use hmac::{Hmac, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;
use uuid::Uuid;

use crate::call_token::{from_letters, to_letters};
use crate::ids::CallSid;
use crate::server_id::ServerId;

/// The `<Parameter>` with the token. Operators choose parameter names freely, so this name is one that they are unlikely
/// to use.
pub(crate) const SOCKET_TOKEN: &str = "crelaySocketToken";

/// What the keys are derived for. Another purpose, or another version of the tokens, has another label.
const KEY_LABEL: &[u8] = b"crelay-payments socket token v2";

/// What separates the random number of an order's token from its HMAC.
const SEPARATOR: char = '.';

/// Makes and verifies tokens.
#[derive(Clone)]
pub(crate) struct SocketTokens {
    /// The key that makes tokens.
    key: Hmac<Sha256>,
    /// Keys whose tokens are accepted as well.
    previous: Vec<Hmac<Sha256>>,
}

/// Which session of its call a TwiML document begins: 0 for the first, and one more after each that failed.
pub(crate) type SessionNumber = u8;

/// The letters of a session number in a token.
const NUMBER_LETTERS: usize = 2;

/// What a valid token was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenSubject {
    /// This session of the call with this SID.
    Call(SessionNumber),
    /// The first session of an order whose call was not known yet; the random number of the token names it.
    Order(Uuid),
}

impl SocketTokens {
    /// Derives the keys from the auth tokens. The first makes tokens, and each is accepted.
    pub(crate) fn new<'a>(auth_token: &SecretString, others: impl IntoIterator<Item = &'a SecretString>) -> Self {
        Self { key: derive_key(auth_token), previous: others.into_iter().map(derive_key).collect() }
    }

    /// Returns the token of a session of a call: 66 letters. It has no digits, so that no part of it looks like a card
    /// number.
    pub(crate) fn for_call(&self, call: &CallSid, session: SessionNumber) -> String {
        to_letters(&[session]) + &to_letters(&call_mac(&self.key, call, session).finalize().into_bytes())
    }

    /// Returns a new token of the order with this `callReference`: 97 letters, and nothing but letters and a dot.
    pub(crate) fn for_order(&self, reference: &str) -> String {
        let id = Uuid::new_v4();
        let mac = order_mac(&self.key, reference, id).finalize().into_bytes();
        format!("{}{SEPARATOR}{}", to_letters(id.as_bytes()), to_letters(&mac))
    }

    /// Returns what names a server in a token that clients of its calls send: 80 letters.
    pub(crate) fn server_tag(&self, server: ServerId) -> String {
        server.to_string() + &to_letters(&server_mac(&self.key, server).finalize().into_bytes())
    }

    /// The server of a tag that one of the servers has made.
    pub(crate) fn server_of_tag(&self, tag: &str) -> Option<ServerId> {
        let (server, mac) = tag.split_at_checked(ServerId::LETTERS)?;
        let (server, mac) = (server.parse().ok()?, from_letters::<32>(mac)?);
        let mut keys = std::iter::once(&self.key).chain(&self.previous);
        keys.any(|key| server_mac(key, server).verify_slice(&mac).is_ok()).then_some(server)
    }

    /// Verifies a token that came with this call and `callReference`. The time it takes does not depend on where the
    /// HMACs differ.
    pub(crate) fn verify(&self, token: &str, call: &CallSid, reference: Option<&str>) -> Option<TokenSubject> {
        let mut keys = std::iter::once(&self.key).chain(&self.previous);
        if let Some((id, mac)) = token.split_once(SEPARATOR) {
            let (id, mac, reference) = (Uuid::from_bytes(from_letters(id)?), from_letters::<32>(mac)?, reference?);
            let genuine = keys.any(|key| order_mac(key, reference, id).verify_slice(&mac).is_ok());
            return genuine.then_some(TokenSubject::Order(id));
        }
        let (session, mac) = token.split_at_checked(NUMBER_LETTERS)?;
        let ([session], mac) = (from_letters(session)?, from_letters::<32>(mac)?);
        keys.any(|key| call_mac(key, call, session).verify_slice(&mac).is_ok()).then_some(TokenSubject::Call(session))
    }
}

fn derive_key(auth_token: &SecretString) -> Hmac<Sha256> {
    let derived = new_mac(auth_token.expose_secret().as_bytes()).chain_update(KEY_LABEL).finalize().into_bytes();
    new_mac(&derived)
}

fn call_mac(key: &Hmac<Sha256>, call: &CallSid, session: SessionNumber) -> Hmac<Sha256> {
    key.clone().chain_update(b"call\0").chain_update([session]).chain_update(call.as_str())
}

fn order_mac(key: &Hmac<Sha256>, reference: &str, id: Uuid) -> Hmac<Sha256> {
    key.clone().chain_update(b"order\0").chain_update(id.as_bytes()).chain_update(reference)
}

fn server_mac(key: &Hmac<Sha256>, server: ServerId) -> Hmac<Sha256> {
    key.clone().chain_update(b"server\0").chain_update(server.to_string())
}

fn new_mac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// Shows nothing of the keys.
impl fmt::Debug for SocketTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SocketTokens({} keys)", 1 + self.previous.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_makes_the_tag_of_a_server() {
        let (tokens, server, other) = (tokens(&["12345"]), ServerId::generate(), ServerId::generate());
        let tag = tokens.server_tag(server);
        assert_eq!(tokens.server_of_tag(&tag), Some(server));
        let forged = tag.replace(&server.to_string(), &other.to_string());
        assert_eq!((tokens.server_of_tag(&forged), tokens.server_of_tag(&server.to_string())), (None, None));
        assert_eq!(self::tokens(&["54321"]).server_of_tag(&tag), None);
        assert_eq!(self::tokens(&["54321", "12345"]).server_of_tag(&tag), Some(server), "while tokens are exchanged");
    }

    fn tokens(keys: &[&str]) -> SocketTokens {
        let keys: Vec<SecretString> = keys.iter().map(|key| SecretString::from(*key)).collect();
        SocketTokens::new(&keys[0], &keys[1..])
    }

    fn sid(text: &str) -> CallSid {
        text.parse().unwrap()
    }

    #[test]
    fn the_token_of_a_call_opens_that_call_only_and_outlives_a_restart() {
        let token = tokens(&["12345"]).for_call(&sid("CA1"), 2);
        assert!(token.len() == 66 && token.bytes().all(|letter| letter.is_ascii_lowercase()), "{token}");
        let restarted = tokens(&["12345"]);
        assert_eq!(restarted.verify(&token, &sid("CA1"), None), Some(TokenSubject::Call(2)));
        assert_eq!(restarted.verify(&token, &sid("CA1"), Some("order-7")), Some(TokenSubject::Call(2)));
        assert_eq!(restarted.verify(&token, &sid("CA2"), None), None);
        assert_eq!(tokens(&["other"]).verify(&token, &sid("CA1"), None), None);
        for forged in [
            "",
            ".",
            "a",
            &token[1..],
            &format!("{token}a"),
            &token.to_uppercase(),
            &format!("ad{}", &token[2..]),
            "é",
            "aé",
        ] {
            assert_eq!(restarted.verify(forged, &sid("CA1"), Some("order-7")), None, "{forged}");
        }
    }

    #[test]
    fn the_token_of_an_order_opens_a_call_with_its_reference() {
        let made = tokens(&["12345"]);
        let token = made.for_order("order-7");
        assert_ne!(token, made.for_order("order-7"), "a reference may be used again");
        assert!(token.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'.'), "{token}");
        assert!(matches!(made.verify(&token, &sid("CA1"), Some("order-7")), Some(TokenSubject::Order(_))));
        assert_eq!(made.verify(&token, &sid("CA1"), Some("order-8")), None);
        assert_eq!(made.verify(&token, &sid("CA1"), None), None);
        let forged = format!("{}.{}", &token[..32], &made.for_call(&sid("CA1"), 0)[NUMBER_LETTERS..]);
        assert_eq!(made.verify(&forged, &sid("CA1"), Some("order-7")), None);
    }

    #[test]
    fn a_token_of_the_previous_auth_token_is_accepted_and_not_made() {
        let (old, rotated) = (tokens(&["old"]), tokens(&["new", "old"]));
        let token = old.for_call(&sid("CA1"), 0);
        assert_eq!(rotated.verify(&token, &sid("CA1"), None), Some(TokenSubject::Call(0)));
        assert_eq!(old.verify(&rotated.for_call(&sid("CA1"), 0), &sid("CA1"), None), None);
        let order = old.for_order("order-7");
        assert!(rotated.verify(&order, &sid("CA1"), Some("order-7")).is_some());
    }

    #[test]
    fn nothing_of_a_key_is_shown() {
        assert_eq!(format!("{:?}", tokens(&["new", "old"])), "SocketTokens(2 keys)");
    }
}
