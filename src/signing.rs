//! How this server signs what it sends to the business, and how the business verifies it.
//!
//! `X-Crelay-Timestamp` is the time in seconds since 1970; `X-Crelay-Signature` is `v1=` and the HMAC-SHA256, in lower-case
//! hex, of the timestamp, a full stop and the body, under `PAYMENT_WEBHOOK_SECRET`. A receiver that refuses an old timestamp
//! cannot be played a request a second time.

use std::fmt::Write as _;

use hmac::{Hmac, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

/// The header with the time of signing.
pub const TIMESTAMP_HEADER: &str = "X-Crelay-Timestamp";

/// The header with the signature.
pub const SIGNATURE_HEADER: &str = "X-Crelay-Signature";

/// The one version of signatures there is.
const VERSION: &str = "v1=";

/// The signature of a body that is sent at `timestamp`: `v1=` and 64 hexadecimal digits.
pub fn sign(secret: &SecretString, timestamp: u64, body: &[u8]) -> String {
    let digest = keyed(secret, timestamp, body).finalize().into_bytes();
    digest.iter().fold(VERSION.to_owned(), |mut signature, byte| {
        let _ = write!(signature, "{byte:02x}");
        signature
    })
}

/// Whether `signature` is that of the body and the timestamp. How long it takes does not tell where they differ. Whether
/// the timestamp is recent is for the caller to say.
pub fn verify(secret: &SecretString, timestamp: u64, body: &[u8], signature: &str) -> bool {
    let digest = signature.strip_prefix(VERSION).and_then(bytes);
    digest.is_some_and(|digest| keyed(secret, timestamp, body).verify_slice(&digest).is_ok())
}

fn keyed(secret: &SecretString, timestamp: u64, body: &[u8]) -> Hmac<Sha256> {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).expect("HMAC takes keys of any length");
    mac.update(timestamp.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    mac
}

/// The bytes that hexadecimal digits stand for.
fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digit = |digit: &u8| char::from(*digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let digits: Vec<u8> = hex.bytes().map(|byte| digit(&byte)).collect::<Option<_>>()?;
    digits.len().is_multiple_of(2).then(|| digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn secret() -> SecretString {
        "a-secret-for-examples-only".into()
    }

    /// As the README has it, and `openssl dgst -sha256 -hmac` makes it.
    const BODY: &str = r#"{"id":"9a8f1282-65e4-5cf2-8b69-1b4cefccc055","state":"charged"}"#;
    const TIMESTAMP: u64 = 1_790_000_000;
    const VECTOR: &str = "v1=d44efb5345e59b965c40f5d1c169eb22a9d207f038dbf9c56c730e8e0ef881ff";

    #[test]
    fn the_signature_is_what_other_programs_make_of_it() {
        assert_eq!(sign(&secret(), TIMESTAMP, BODY.as_bytes()), VECTOR);
        assert!(verify(&secret(), TIMESTAMP, BODY.as_bytes(), VECTOR));
        assert!(verify(&secret(), TIMESTAMP, BODY.as_bytes(), &VECTOR.to_uppercase().replace("V1", "v1")));
        let readme = include_str!("../README.md");
        for part in [secret().expose_secret(), "1790000000", BODY, VECTOR] {
            assert!(readme.contains(part), "{part}");
        }
    }

    #[test]
    fn whatever_was_changed_is_noticed() {
        let body = BODY.as_bytes();
        assert!(!verify(&secret(), TIMESTAMP + 1, body, VECTOR));
        assert!(!verify(&secret(), TIMESTAMP, &BODY.as_bytes()[1..], VECTOR));
        assert!(!verify(&"another".into(), TIMESTAMP, body, VECTOR));
        for signature in ["", "v1=", "v2=00", &VECTOR[3..], &VECTOR[..VECTOR.len() - 2], "v1=zz", "v1=0"] {
            assert!(!verify(&secret(), TIMESTAMP, body, signature), "{signature}");
        }
    }

    proptest! {
        #[test]
        fn what_was_signed_is_verified_and_no_signature_panics(
            timestamp: u64,
            body in prop::collection::vec(any::<u8>(), 0..64),
            signature in "v1=[0-9a-f]{0,66}|\\PC{0,70}",
        ) {
            prop_assert!(verify(&secret(), timestamp, &body, &sign(&secret(), timestamp, &body)));
            let _ = verify(&secret(), timestamp, &body, &signature);
        }
    }
}
