//! Seals what the database keeps for a while and must not be able to read: payment tokens, and what was said.
//!
//! XChaCha20-Poly1305 with a random nonce. The place where a text is kept is authenticated with it, so that a sealed text
//! opens nowhere else. Texts from before there was a key are read as they are.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use secrecy::SecretString;
use uuid::Uuid;
use zeroize::Zeroizing;

/// What a sealed text begins with: the version of its form.
const PREFIX: &str = "sealed:1:";

/// Length of a key and of a nonce, in bytes.
const KEY_LENGTH: usize = 32;
const NONCE_LENGTH: usize = 24;

/// The keys of `SEALING_KEY`: the first seals, all open.
#[derive(Clone)]
pub struct SealingKeys(Vec<XChaCha20Poly1305>);

/// A text that is no list of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a list of random keys of {KEY_LENGTH} bytes in base64")]
pub struct ParseSealingKeysError;

/// A sealed text that none of the keys opens, or that was moved here from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no key of SEALING_KEY opens what is sealed")]
pub struct UnsealError;

/// Where a sealed text is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SealedPlace<'a> {
    /// Table and column.
    pub(crate) column: &'static str,
    /// What tells the row from others of the table.
    pub(crate) row: &'a str,
}

impl SealingKeys {
    pub(crate) fn seal(&self, place: SealedPlace<'_>, text: &str) -> String {
        // Of two random UUIDs, so that 182 of its 192 bits are random.
        let mut nonce = [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat();
        nonce.truncate(NONCE_LENGTH);
        let nonce = XNonce::clone_from_slice(&nonce);
        let aad = place.authenticated();
        let payload = Payload { msg: text.as_bytes(), aad: aad.as_bytes() };
        let sealed = self.0[0].encrypt(&nonce, payload).expect("a token is shorter than 256 GiB");
        format!("{PREFIX}{}", STANDARD_NO_PAD.encode([&nonce[..], &sealed].concat()))
    }
}

impl SealedPlace<'_> {
    fn authenticated(self) -> String {
        format!("{}\n{}", self.column, self.row)
    }
}

/// Opens a text that was kept at this place. One that is not sealed is returned as it is.
pub(crate) fn unseal(
    keys: Option<&SealingKeys>,
    place: SealedPlace<'_>,
    text: String,
) -> Result<SecretString, UnsealError> {
    let Some(sealed) = text.strip_prefix(PREFIX) else { return Ok(text.into()) };
    let sealed = STANDARD_NO_PAD.decode(sealed).map_err(|_| UnsealError)?;
    let (nonce, sealed) = sealed.split_at_checked(NONCE_LENGTH).ok_or(UnsealError)?;
    let aad = place.authenticated();
    let open = |key: &XChaCha20Poly1305| {
        let payload = Payload { msg: sealed, aad: aad.as_bytes() };
        key.decrypt(XNonce::from_slice(nonce), payload).ok().map(Zeroizing::new)
    };
    let opened = keys.into_iter().flat_map(|keys| &keys.0).find_map(open).ok_or(UnsealError)?;
    Ok(std::str::from_utf8(&opened).map_err(|_| UnsealError)?.into())
}

impl FromStr for SealingKeys {
    type Err = ParseSealingKeysError;

    /// Parses keys in base64, with commas between them.
    fn from_str(text: &str) -> Result<Self, ParseSealingKeysError> {
        let key = |text: &str| {
            let bytes = Zeroizing::new(STANDARD.decode(text.trim()).map_err(|_| ParseSealingKeysError)?);
            // Nobody draws a key of equal bytes: it is a placeholder.
            if bytes.len() != KEY_LENGTH || bytes.iter().all(|byte| *byte == bytes[0]) {
                return Err(ParseSealingKeysError);
            }
            XChaCha20Poly1305::new_from_slice(&bytes).map_err(|_| ParseSealingKeysError)
        };
        text.split(',').map(key).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Debug for SealingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKeys({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::ExposeSecret as _;

    use super::*;

    const OLD: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const NEW: &str = "HwECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const PLACE: SealedPlace<'static> = SealedPlace { column: "payments.token", row: "1" };

    fn keys(text: &str) -> SealingKeys {
        text.parse().unwrap()
    }

    proptest! {
        #[test]
        fn only_its_key_and_its_place_open_a_text(text in ".{0,200}") {
            let sealed = keys(OLD).seal(PLACE, &text);
            prop_assert!(text.len() < 8 || !sealed.contains(&text));
            let open = |with: &str, place| {
                let keys = with.parse().ok();
                unseal(keys.as_ref(), place, sealed.clone()).map(|text| text.expose_secret().to_owned())
            };
            prop_assert_eq!(open(OLD, PLACE), Ok(text.clone()));
            prop_assert_eq!(open(&format!("{NEW}, {OLD}"), PLACE), Ok(text));
            prop_assert_eq!(open(NEW, PLACE), Err(UnsealError));
            prop_assert_eq!(open("none", PLACE), Err(UnsealError));
            prop_assert_eq!(open(OLD, SealedPlace { row: "2", ..PLACE }), Err(UnsealError));
        }
    }

    #[test]
    fn a_text_is_sealed_differently_each_time() {
        assert_ne!(keys(OLD).seal(PLACE, "tok_1"), keys(OLD).seal(PLACE, "tok_1"));
    }

    #[test]
    fn a_text_from_before_there_was_a_key_is_read() {
        assert_eq!(unseal(None, PLACE, "tok_1".to_owned()).unwrap().expose_secret(), "tok_1");
    }

    #[test]
    fn what_is_no_list_of_keys_is_refused() {
        for text in ["", "secret", "AAECAwQ=", &format!("{OLD},"), "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="] {
            assert_eq!(text.parse::<SealingKeys>().err(), Some(ParseSealingKeysError), "{text}");
        }
    }
}
