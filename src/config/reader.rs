//! Reading of variables. Errors are collected, so that all are reported at once.

use std::fmt::Display;

use super::{ConfigError, ConfigProblem, ConfigWarning, Vars};

/// Reads one configuration and collects errors and warnings.
pub(super) struct ConfigReader<'a> {
    vars: &'a Vars,
    problems: Vec<ConfigProblem>,
    warnings: Vec<ConfigWarning>,
}

impl<'a> ConfigReader<'a> {
    pub(super) fn new(vars: &'a Vars) -> Self {
        Self { vars, problems: vars.problems().to_vec(), warnings: Vec::new() }
    }

    /// Reads an optional variable. A malformed one is recorded as an error and returned as `None`. `expected` describes
    /// a valid value.
    pub(super) fn read_optional<T, E: Display>(
        &mut self,
        variable: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
        expected: &str,
    ) -> Option<T> {
        match parse(self.vars.get(variable)?) {
            Ok(value) => Some(value),
            Err(err) => {
                self.add_problem(variable, &err.to_string(), expected);
                None
            }
        }
    }

    /// Reads a required variable; `None` only if an error was recorded.
    pub(super) fn read_required<T, E: Display>(
        &mut self,
        variable: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
        expected: &str,
    ) -> Option<T> {
        if self.vars.get(variable).is_none() {
            self.add_problem(variable, "is not set", expected);
        }
        self.read_optional(variable, parse, expected)
    }

    /// Whether a variable is set, even to a malformed value.
    pub(super) fn is_set(&self, variable: &str) -> bool {
        self.vars.get(variable).is_some()
    }

    pub(super) fn add_problem(&mut self, variable: &str, what: &str, expected: &str) {
        self.problems.push(ConfigProblem {
            location: variable.to_owned(),
            what: what.to_owned(),
            expected: expected.to_owned(),
        });
    }

    pub(super) fn warn_if(&mut self, wrong: bool, warning: ConfigWarning) {
        if wrong {
            self.warnings.push(warning);
        }
    }

    /// Returns the configuration and the warnings, or all errors.
    pub(super) fn finish<T>(self, read: Option<T>) -> Result<(T, Vec<ConfigWarning>), ConfigError> {
        match ConfigError::new(self.problems) {
            Some(problems) => Err(problems),
            None => Ok((read.expect("a missing value was recorded as an error"), self.warnings)),
        }
    }
}
