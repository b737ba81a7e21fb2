//! The keys with which Twilio signs its requests, and which of them a request names.
//!
//! A request without the header `X-Twilio-Webhooks-Signature-Settings` is signed with an auth token by HMAC-SHA1. With it
//! the request is signed with a shared key by the algorithm that it names, as a rule of Twilio's webhooks configuration
//! API says: `key=<id>,algorithm=HMAC_SHA256`.

use std::collections::BTreeMap;

use super::Signer;
use crate::config::TwilioConfig;

/// The only algorithm of shared keys.
const SHARED_KEY_ALGORITHM: &str = "HMAC_SHA256";

/// The longest id of a key that is shown in an error, in bytes.
const MAX_SHOWN_ID: usize = 64;

/// The keys that verify Twilio's requests.
#[derive(Debug)]
pub struct SignatureKeys {
    /// One for each auth token.
    auth_tokens: Vec<Signer>,
    /// By the id of the shared key.
    shared: BTreeMap<String, Signer>,
}

/// Why no key verifies a request that names a shared key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectKeyError {
    /// The header is not `key=<id>,algorithm=<name>`.
    #[error("X-Twilio-Webhooks-Signature-Settings is not key=<id>,algorithm={SHARED_KEY_ALGORITHM}")]
    InvalidSettings,
    /// The algorithm is unknown.
    #[error(
        "the setting of Twilio's webhooks configuration has an algorithm other than {SHARED_KEY_ALGORITHM}: choose it there"
    )]
    UnknownAlgorithm,
    /// No shared key has this id.
    #[error("TWILIO_WEBHOOK_SHARED_KEYS has no key {0}: add it as id:secret")]
    UnknownKey(String),
}

impl SignatureKeys {
    /// Creates the keys of a configuration: both auth tokens, and the shared keys.
    pub fn new(config: &TwilioConfig) -> Self {
        let auth_tokens = [Some(&config.auth_token), config.secondary_auth_token.as_ref()];
        let shared = config.webhook_shared_keys.iter();
        Self {
            auth_tokens: auth_tokens.into_iter().flatten().map(Signer::new).collect(),
            shared: shared.map(|(id, secret)| (id.clone(), Signer::with_shared_key(secret))).collect(),
        }
    }

    /// Returns the keys one of which has signed a request with these settings. A request that names a shared key is never
    /// verified with another key.
    pub fn select(&self, settings: Option<&str>) -> Result<&[Signer], SelectKeyError> {
        let Some(settings) = settings else { return Ok(&self.auth_tokens) };
        let (id, algorithm) = parse_settings(settings).ok_or(SelectKeyError::InvalidSettings)?;
        if algorithm != SHARED_KEY_ALGORITHM {
            return Err(SelectKeyError::UnknownAlgorithm);
        }
        let signer = self.shared.get(id).ok_or_else(|| SelectKeyError::UnknownKey(shown_id(id)))?;
        Ok(std::slice::from_ref(signer))
    }
}

/// Parses `key=<id>,algorithm=<name>`; other members are ignored, and none of the two may be repeated.
fn parse_settings(settings: &str) -> Option<(&str, &str)> {
    let (mut key, mut algorithm) = (None, None);
    for member in settings.split(',') {
        let (name, value) = member.split_once('=')?;
        let member = match name.trim() {
            "key" => &mut key,
            "algorithm" => &mut algorithm,
            _ => continue,
        };
        if member.replace(value.trim()).is_some() {
            return None;
        }
    }
    Some((key?, algorithm?))
}

/// The id of a key for the log. The header comes from anyone, so that only what looks like an id is shown.
fn shown_id(id: &str) -> String {
    let is_id =
        id.len() <= MAX_SHOWN_ID && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if is_id { crate::redact::redact_card_numbers(id).into_owned() } else { "of that id".to_owned() }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    fn keys() -> SignatureKeys {
        let signer = |secret: &str| Signer::new(&SecretString::from(secret));
        let shared = |id: &str| (id.to_owned(), Signer::with_shared_key(&SecretString::from(id)));
        SignatureKeys { auth_tokens: vec![signer("one"), signer("two")], shared: ["WK1", "WK2"].map(shared).into() }
    }

    #[test]
    fn the_header_names_one_shared_key_and_its_algorithm() {
        let keys = keys();
        assert_eq!(keys.select(None).unwrap().len(), 2);
        let url = "https://pay.example.com/";
        let signature = Signer::with_shared_key(&SecretString::from("WK2")).sign(url, &[]);
        for settings in
            ["key=WK2,algorithm=HMAC_SHA256", " algorithm=HMAC_SHA256 , key=WK2", "v=2,key=WK2,algorithm=HMAC_SHA256"]
        {
            let [signer] = keys.select(Some(settings)).unwrap() else { panic!("{settings}") };
            assert!(signer.verify(url, &[], &signature), "{settings}");
        }
    }

    #[test]
    fn another_key_or_algorithm_is_refused_and_says_which_setting_is_missing() {
        for (settings, error) in [
            ("key=WK3,algorithm=HMAC_SHA256", SelectKeyError::UnknownKey("WK3".to_owned())),
            ("key=WK1,algorithm=HMAC_SHA1", SelectKeyError::UnknownAlgorithm),
            ("key=WK1,algorithm=hmac_sha256", SelectKeyError::UnknownAlgorithm),
            ("key=WK1,algorithm=", SelectKeyError::UnknownAlgorithm),
            ("key=WK1", SelectKeyError::InvalidSettings),
            ("algorithm=HMAC_SHA256", SelectKeyError::InvalidSettings),
            ("key=WK1,key=WK2,algorithm=HMAC_SHA256", SelectKeyError::InvalidSettings),
            ("key=WK1,algorithm=HMAC_SHA1,algorithm=HMAC_SHA256", SelectKeyError::InvalidSettings),
            ("", SelectKeyError::InvalidSettings),
        ] {
            assert_eq!(keys().select(Some(settings)).unwrap_err(), error, "{settings}");
        }
        let error = keys().select(Some("key=WK\u{1b}[31m,algorithm=HMAC_SHA256")).unwrap_err().to_string();
        assert_eq!(error, "TWILIO_WEBHOOK_SHARED_KEYS has no key of that id: add it as id:secret");
    }
}
