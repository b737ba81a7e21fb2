//! `StirVerstat`: what the caller's network attests about the caller's number (STIR/SHAKEN).

use std::fmt;
use std::str::FromStr;

/// The attestation of a caller's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallerAttestation {
    /// `A`: the network knows the caller and that the number is the caller's.
    Full,
    /// `B`: the network knows the caller.
    Partial,
    /// `C`: the network knows only where the call came from.
    Gateway,
    /// The signature of the number is wrong.
    Failed,
    /// The number is not signed.
    Unsigned,
}

/// The text is no value of `StirVerstat` that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a known value of StirVerstat")]
pub struct ParseCallerAttestationError;

impl CallerAttestation {
    const ALL: [Self; 5] = [Self::Full, Self::Partial, Self::Gateway, Self::Failed, Self::Unsigned];

    /// Whether the number may be another person's. With `B` the network has identified the caller, and answers for it.
    pub fn is_unverified(self) -> bool {
        matches!(self, Self::Gateway | Self::Failed | Self::Unsigned)
    }

    /// The value stored in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "A",
            Self::Partial => "B",
            Self::Gateway => "C",
            Self::Failed => "failed",
            Self::Unsigned => "unsigned",
        }
    }

    /// Parses a value of the ledger.
    pub fn from_stored(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == text)
    }
}

impl FromStr for CallerAttestation {
    type Err = ParseCallerAttestationError;

    /// Parses Twilio's values: `TN-Validation-Passed-A`, `TN-Validation-Failed-C`, `No-TN-Validation` and the like, also
    /// with the suffixes `-Diverted` and `-Passthrough`.
    fn from_str(text: &str) -> Result<Self, ParseCallerAttestationError> {
        let text = text.strip_suffix("-Passthrough").unwrap_or(text);
        let text = text.strip_suffix("-Diverted").unwrap_or(text);
        match text {
            "TN-Validation-Passed-A" => Ok(Self::Full),
            "TN-Validation-Passed-B" => Ok(Self::Partial),
            "TN-Validation-Passed-C" => Ok(Self::Gateway),
            "TN-Validation-Failed" | "TN-Validation-Failed-A" | "TN-Validation-Failed-B" | "TN-Validation-Failed-C" => {
                Ok(Self::Failed)
            }
            "No-TN-Validation" => Ok(Self::Unsigned),
            _ => Err(ParseCallerAttestationError),
        }
    }
}

impl fmt::Display for CallerAttestation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attestations_below_b_are_unverified_and_unknown_words_are_none() {
        for (word, attestation, is_unverified) in [
            ("TN-Validation-Passed-A", CallerAttestation::Full, false),
            ("TN-Validation-Passed-A-Diverted", CallerAttestation::Full, false),
            ("TN-Validation-Passed-B-Passthrough", CallerAttestation::Partial, false),
            ("TN-Validation-Passed-C-Diverted-Passthrough", CallerAttestation::Gateway, true),
            ("TN-Validation-Failed-A", CallerAttestation::Failed, true),
            ("No-TN-Validation", CallerAttestation::Unsigned, true),
        ] {
            assert_eq!(word.parse(), Ok(attestation), "{word}");
            assert_eq!(attestation.is_unverified(), is_unverified, "{word}");
            assert_eq!(CallerAttestation::from_stored(attestation.as_str()), Some(attestation));
        }
        for word in ["", "A", "TN-Validation-Passed-D", "tn-validation-passed-a", "4242424242424242"] {
            assert_eq!(word.parse::<CallerAttestation>(), Err(ParseCallerAttestationError), "{word}");
        }
    }
}
