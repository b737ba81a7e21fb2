//! The operators and their bearer tokens: `OPERATOR_TOKEN` and `OPERATOR_TOKENS`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use secrecy::{ExposeSecret as _, SecretString};

use super::insecure;
use super::reader::ConfigReader;
use super::values::{self, ParseVariableError};

/// The name of the operator whose token is `OPERATOR_TOKEN`.
const ONLY_OPERATOR: &str = "operator";

/// The maximum length of a name, in bytes.
const MAX_NAME_LENGTH: usize = 32;

const EXPECTED_TOKEN: &str = "a long random text without spaces: openssl rand -hex 32";
const EXPECTED_TOKENS: &str =
    "different names (a-z, 0-9, - and _, at most 32) with different tokens and commas between them, as ann:token";

/// The name of an operator: 1 to 32 of `a-z`, `0-9`, `-` and `_`. It stands in the log and in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OperatorName(String);

/// The text is not the name of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not 1 to {MAX_NAME_LENGTH} of a-z, 0-9, - and _")]
pub struct ParseOperatorNameError;

/// The bearer tokens of operator requests, by the names of the operators.
pub type OperatorTokens = BTreeMap<OperatorName, SecretString>;

/// Reads both variables. Each name and each token is there once.
pub(super) fn read_operator_tokens(vars: &mut ConfigReader<'_>) -> OperatorTokens {
    let single = vars.read_optional("OPERATOR_TOKEN", values::token, EXPECTED_TOKEN).map(SecretString::from);
    if let Some(single) = &single {
        insecure::refuse_short_secret(vars, "OPERATOR_TOKEN", single.expose_secret(), EXPECTED_TOKEN);
    }
    let mut tokens = vars.read_optional("OPERATOR_TOKENS", parse_tokens, EXPECTED_TOKENS).unwrap_or_default();
    if let Some(token) = super::shortest(tokens.values()) {
        insecure::refuse_short_secret(vars, "OPERATOR_TOKENS", token, EXPECTED_TOKENS);
    }
    if let Some(single) = single
        && add_token(&mut tokens, OperatorName(ONLY_OPERATOR.to_owned()), single).is_err()
    {
        vars.add_problem("OPERATOR_TOKENS", "repeats OPERATOR_TOKEN or its name, operator", EXPECTED_TOKENS);
    }
    tokens
}

/// Parses a comma-separated list of `NAME:TOKEN`.
fn parse_tokens(text: &str) -> Result<OperatorTokens, ParseVariableError> {
    let mut tokens = OperatorTokens::new();
    for entry in text.split(',') {
        let (name, token) = values::named_token(entry, ':')?;
        let name = name.parse().map_err(|_| ParseVariableError::OperatorName)?;
        add_token(&mut tokens, name, token)?;
    }
    Ok(tokens)
}

fn add_token(tokens: &mut OperatorTokens, name: OperatorName, token: SecretString) -> Result<(), ParseVariableError> {
    let is_known = tokens.values().any(|known| known.expose_secret() == token.expose_secret());
    if is_known || tokens.insert(name, token).is_some() { Err(ParseVariableError::RepeatedName) } else { Ok(()) }
}

impl OperatorName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for OperatorName {
    type Err = ParseOperatorNameError;

    fn from_str(text: &str) -> Result<Self, ParseOperatorNameError> {
        let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
        let fits = (1..=MAX_NAME_LENGTH).contains(&text.len()) && text.bytes().all(is_allowed);
        if fits { Ok(Self(text.to_owned())) } else { Err(ParseOperatorNameError) }
    }
}

impl fmt::Display for OperatorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Result<Vec<String>, ParseVariableError> {
        parse_tokens(text).map(|tokens| tokens.into_keys().map(|name| name.0).collect())
    }

    #[test]
    fn each_operator_has_a_name_and_a_token_of_its_own() {
        assert_eq!(names("bob: token-of-bob ,ann:token:with:colons").unwrap(), ["ann", "bob"]);
        assert_eq!(names("ann:one,ann:two"), Err(ParseVariableError::RepeatedName));
        assert_eq!(names("ann:one,bob:one"), Err(ParseVariableError::RepeatedName), "nobody could say who it was");
        for nameless in ["one", "ann:", ":one", "ann:one,", ""] {
            assert_eq!(names(nameless), Err(ParseVariableError::NamedTokens), "{nameless}");
        }
        for name in ["Ann", "a.b", &"a".repeat(33)] {
            assert!(names(&format!("{name}:one")).is_err(), "{name}");
        }
        assert_eq!(names("ann:o ne"), Err(ParseVariableError::Characters));
    }
}
