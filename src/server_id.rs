//! The identity of a server among those that share a ledger.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::call_token::{from_letters, to_letters};

/// One process of a server, from its start to its end: one that comes back is another. 64 random bits as 16 letters from `a`
/// to `p`, so that no part of it looks like a card number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerId([u8; 8]);

/// The text is not the identity of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a server is named by 16 letters from a to p")]
pub struct ParseServerIdError;

impl ServerId {
    /// The number of its letters.
    pub(crate) const LETTERS: usize = 16;

    /// Draws the identity of this process.
    pub fn generate() -> Self {
        Self(Uuid::new_v4().as_u64_pair().1.to_be_bytes())
    }
}

impl FromStr for ServerId {
    type Err = ParseServerIdError;

    fn from_str(text: &str) -> Result<Self, ParseServerIdError> {
        from_letters(text).map(Self).ok_or(ParseServerIdError)
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_letters(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_sixteen_letters() {
        let id = ServerId::generate();
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in ["", "abc", "abcdefghijklmnoq", "ABCDEFGHIJKLMNOP", "../../../../../..", "abcdefghijklmnopa"] {
            assert_eq!(text.parse::<ServerId>(), Err(ParseServerIdError), "{text}");
        }
    }
}
