//! What is the same on each delivery of one callback: a digest of what Twilio signed.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use hmac::{Hmac, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

/// What the key is derived for.
const KEY_LABEL: &[u8] = b"crelay-payments callback digest v1";

/// Makes digests. They are keyed, since a callback has an expiry date, which could be found by trying all of them.
#[derive(Clone)]
pub struct CallbackDigester(Hmac<Sha256>);

/// The digest of the signed content of a callback.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallbackDigest([u8; 32]);

impl CallbackDigester {
    /// Derives the key from the auth token, so that a restart makes the same digests.
    pub fn new(auth_token: &SecretString) -> Self {
        let new_mac = |key: &[u8]| Hmac::new_from_slice(key).expect("HMAC takes keys of any length");
        let token: Hmac<Sha256> = new_mac(auth_token.expose_secret().as_bytes());
        Self(new_mac(&token.chain_update(KEY_LABEL).finalize().into_bytes()))
    }

    /// Returns the digest of a form.
    ///
    /// Like the signature it covers each distinct pair once, name and value without a separator: a replay that moves
    /// letters from a name into its value has the same valid signature, and the same digest.
    pub fn digest(&self, form: &[(String, String)]) -> CallbackDigest {
        let mut mac = self.0.clone();
        for (name, value) in form.iter().collect::<BTreeSet<_>>() {
            mac.update(name.as_bytes());
            mac.update(value.as_bytes());
        }
        CallbackDigest(mac.finalize().into_bytes().into())
    }
}

impl FromStr for CallbackDigest {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, hex::FromHexError> {
        let mut digest = [0; 32];
        hex::decode_to_slice(text, &mut digest)?;
        Ok(Self(digest))
    }
}

impl fmt::Display for CallbackDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for CallbackDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallbackDigest")
    }
}

/// Shows nothing of the key.
impl fmt::Debug for CallbackDigester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallbackDigester")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn form(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_digest_covers_what_the_signature_covers() {
        let digester = CallbackDigester::new(&SecretString::from("12345"));
        let of = |pairs: &[(&str, &str)]| digester.digest(&form(pairs));
        let genuine = of(&[("Sid", "PK1"), ("DateUpdated", "2026-08-30")]);
        assert_eq!(of(&[("DateUpdated", "2026-08-30"), ("Sid", "PK1"), ("Sid", "PK1")]), genuine, "any order, once");
        assert_eq!(of(&[("DateUpdate", "d2026-08-30"), ("Sid", "PK1")]), genuine, "the same signature");
        assert_ne!(of(&[("DateUpdated", "2026-08-31"), ("Sid", "PK1")]), genuine);
        assert_ne!(CallbackDigester::new(&SecretString::from("x")).digest(&form(&[])), digester.digest(&form(&[])));
    }

    proptest! {
        #[test]
        fn the_order_of_the_fields_does_not_matter(pairs in prop::collection::vec(("[a-c]{0,2}", "[a-c]{0,2}"), 0..6).prop_shuffle()) {
            let digester = CallbackDigester::new(&SecretString::from("12345"));
            let mut sorted = pairs.clone();
            sorted.sort();
            prop_assert_eq!(digester.digest(&pairs), digester.digest(&sorted));
        }
    }
}
