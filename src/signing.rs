//! How this server signs what it sends to the business, and how the business verifies it.
//!
//! `X-Crelay-Timestamp` is the time in seconds since 1970. `X-Crelay-Signature` is a list with commas of one signature
//! for each secret in use: `v1=` and the HMAC-SHA256, in lower-case hex, of the timestamp, a full stop and the body. A
//! receiver accepts a request if one of them is right, and refuses an old timestamp, so that a request cannot be
//! replayed.

use hmac::{Hmac, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

/// The header with the time of signing.
pub const TIMESTAMP_HEADER: &str = "X-Crelay-Timestamp";

/// The header with the signatures.
pub const SIGNATURE_HEADER: &str = "X-Crelay-Signature";

/// The version of a signature.
const SIGNATURE_PREFIX: &str = "v1=";

/// The maximum number of signatures of a header that are checked.
const MAX_SIGNATURES: usize = 8;

/// The secrets that are valid at a time: the current one, and the previous one while it is being replaced.
#[derive(Debug, Clone)]
pub struct SigningSecrets {
    current: SecretString,
    previous: Option<SecretString>,
}

impl SigningSecrets {
    /// The current secret, and the one that it replaces.
    pub fn new(current: SecretString, previous: Option<SecretString>) -> Self {
        Self { current, previous }
    }

    /// The value of the signature header for a body that is sent at `timestamp`: one signature for each secret, the
    /// current one's first.
    pub fn sign(&self, timestamp: u64, body: &[u8]) -> String {
        let signatures: Vec<String> = self.iter().map(|secret| compute_signature(secret, timestamp, body)).collect();
        signatures.join(",")
    }

    /// Whether one signature of the header is that of the body and the timestamp under one of the secrets. The time it
    /// takes does not depend on where a signature differs. Whether the timestamp is recent is for the caller to check.
    pub fn verify(&self, timestamp: u64, body: &[u8], header: &str) -> bool {
        let signatures = header.split(',').take(MAX_SIGNATURES);
        signatures
            .map(str::trim)
            .any(|signature| self.iter().any(|secret| is_signed(secret, timestamp, body, signature)))
    }

    fn iter(&self) -> impl Iterator<Item = &SecretString> {
        std::iter::once(&self.current).chain(&self.previous)
    }
}

impl From<&str> for SigningSecrets {
    fn from(current: &str) -> Self {
        Self::new(current.into(), None)
    }
}

fn compute_signature(secret: &SecretString, timestamp: u64, body: &[u8]) -> String {
    format!("{SIGNATURE_PREFIX}{}", hex::encode(compute_mac(secret, timestamp, body).finalize().into_bytes()))
}

fn is_signed(secret: &SecretString, timestamp: u64, body: &[u8], signature: &str) -> bool {
    let digest = signature.strip_prefix(SIGNATURE_PREFIX).and_then(|digits| hex::decode(digits).ok());
    digest.is_some_and(|digest| compute_mac(secret, timestamp, body).verify_slice(&digest).is_ok())
}

fn compute_mac(secret: &SecretString, timestamp: u64, body: &[u8]) -> Hmac<Sha256> {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).expect("HMAC takes keys of any length");
    mac.update(timestamp.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECRET: &str = "a-secret-for-examples-only";

    /// The example of the manual, as computed by `openssl dgst -sha256 -hmac`.
    const BODY: &str = r#"{"id":"9a8f1282-65e4-5cf2-8b69-1b4cefccc055","state":"charged"}"#;
    const TIMESTAMP: u64 = 1_790_000_000;
    const VECTOR: &str = "v1=d44efb5345e59b965c40f5d1c169eb22a9d207f038dbf9c56c730e8e0ef881ff";

    fn verify(secret: &str, timestamp: u64, body: &[u8], header: &str) -> bool {
        SigningSecrets::from(secret).verify(timestamp, body, header)
    }

    #[test]
    fn the_signature_is_that_of_other_programs() {
        assert_eq!(SigningSecrets::from(SECRET).sign(TIMESTAMP, BODY.as_bytes()), VECTOR);
        assert!(verify(SECRET, TIMESTAMP, BODY.as_bytes(), VECTOR));
        assert!(verify(SECRET, TIMESTAMP, BODY.as_bytes(), &VECTOR.to_uppercase().replace("V1", "v1")));
        let manual = include_str!("endpoints/README.md");
        for part in [SECRET, "1790000000", BODY, VECTOR] {
            assert!(manual.contains(part), "{part}");
        }
    }

    #[test]
    fn a_changed_body_timestamp_secret_or_signature_is_rejected() {
        let body = BODY.as_bytes();
        assert!(!verify(SECRET, TIMESTAMP + 1, body, VECTOR));
        assert!(!verify(SECRET, TIMESTAMP, &BODY.as_bytes()[1..], VECTOR));
        assert!(!verify("another", TIMESTAMP, body, VECTOR));
        for signature in ["", ",", "v1=", "v2=00", &VECTOR[3..], &VECTOR[..VECTOR.len() - 2], "v1=zz", "v1=0"] {
            assert!(!verify(SECRET, TIMESTAMP, body, signature), "{signature}");
        }
    }

    #[test]
    fn while_a_secret_is_replaced_receivers_with_either_accept_the_request() {
        let (new, old) = ("the-new-secret-of-the-tests", SECRET);
        let header = SigningSecrets::new(new.into(), Some(old.into())).sign(TIMESTAMP, BODY.as_bytes());
        let (first, second) = header.split_once(',').unwrap();
        assert_eq!((first, second), (&*SigningSecrets::from(new).sign(TIMESTAMP, BODY.as_bytes()), VECTOR));
        for secret in [new, old] {
            assert!(verify(secret, TIMESTAMP, BODY.as_bytes(), &header));
            assert!(verify(secret, TIMESTAMP, BODY.as_bytes(), &header.replace(',', ", ")));
        }
        assert!(!verify("another", TIMESTAMP, BODY.as_bytes(), &header));
        let both = SigningSecrets::new(new.into(), Some(old.into()));
        assert!(both.verify(TIMESTAMP, BODY.as_bytes(), VECTOR), "a receiver may have both as well");
        let many = "v1=00,".repeat(MAX_SIGNATURES) + VECTOR;
        assert!(!verify(SECRET, TIMESTAMP, BODY.as_bytes(), &many), "no more than a few are computed");
    }

    proptest! {
        #[test]
        fn what_was_signed_is_verified_and_no_signature_panics(
            timestamp: u64,
            body in prop::collection::vec(any::<u8>(), 0..64),
            signature in "v1=[0-9a-f]{0,66}|\\PC{0,70}",
            previous in prop::option::of("[a-z]{1,20}"),
        ) {
            let secrets = SigningSecrets::new(SECRET.into(), previous.map(Into::into));
            prop_assert!(secrets.verify(timestamp, &body, &secrets.sign(timestamp, &body)));
            let _ = secrets.verify(timestamp, &body, &signature);
        }
    }
}
