//! Errors of a configuration, each with the expected value.

use std::fmt;

/// One error. It never contains the value of a variable, which may be a misplaced secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    /// The variable, or the file and line.
    pub location: String,
    /// What is wrong: a predicate whose subject is `location`.
    pub what: String,
    /// A description of a valid value.
    pub expected: String,
}

/// All errors of a configuration.
///
/// `Display` writes a list for a terminal. It mentions the simulator, which needs no configuration, if the binary has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(Vec<ConfigProblem>);

impl ConfigError {
    /// Creates the error, or `None` if there are no problems.
    pub(super) fn new(problems: Vec<ConfigProblem>) -> Option<Self> {
        (!problems.is_empty()).then_some(Self(problems))
    }

    /// The errors, in the order in which the variables are documented.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigProblem> {
        self.0.iter()
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        writeln!(f, "The server cannot start: {count} {} to fix.\n", if count == 1 { "setting" } else { "settings" })?;
        let width = self.iter().map(|problem| problem.location.chars().count()).max().unwrap_or(0);
        for ConfigProblem { location, what, expected } in self.iter() {
            writeln!(f, "  {location:width$}  {what}: expected {expected}")?;
        }
        write!(f, "\nSet them in the environment or in a file .env; .env.example describes them all.")?;
        if cfg!(feature = "simulator") {
            write!(f, "\nTo watch a payment call without any of this: crelay-payments simulate")?;
        }
        Ok(())
    }
}
