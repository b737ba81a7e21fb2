//! The token of a live call: it lets an external client call the tools of that call, and nothing else.

use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// The token of one session of a call: 244 random bits.
#[derive(Debug, Clone)]
pub(super) struct CallToken(SecretString);

/// The SHA-256 of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TokenDigest([u8; 32]);

impl CallToken {
    /// Generates a token of 64 letters. It has no digits, so that no part of it looks like a card number.
    pub(super) fn generate() -> Self {
        let letter = |hex: char| hex.to_digit(10).map_or(hex, |digit| char::from(b"ghijklmnop"[digit as usize]));
        let hex = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        Self(hex.chars().map(letter).collect::<String>().into())
    }

    /// The digest by which the registry finds the call.
    pub(super) fn digest(&self) -> TokenDigest {
        TokenDigest::of(self.0.expose_secret().as_bytes())
    }

    /// The token in clear, for the client of the call.
    pub(super) fn secret(&self) -> SecretString {
        self.0.clone()
    }
}

impl TokenDigest {
    /// The digest of a token as a client sent it.
    pub(super) fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_letters_and_differ() {
        let (one, other) = (CallToken::generate(), CallToken::generate());
        let text = one.secret().expose_secret().to_owned();
        assert!(text.len() == 64 && text.bytes().all(|letter| letter.is_ascii_lowercase()), "{text}");
        assert_ne!(one.digest(), other.digest());
        assert!(!format!("{one:?}").contains(&text));
    }
}
