//! Reading of variables. Errors are collected, so that all are reported at once.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::PathBuf;

use super::exposure::Exposure;
use super::insecure::{self, ALLOW_INSECURE};
use super::{ConfigError, ConfigProblem, ConfigWarning, InsecureSetup, Vars};

/// Reads one configuration and collects errors and warnings.
pub(super) struct ConfigReader<'a> {
    vars: &'a Vars,
    problems: Vec<ConfigProblem>,
    warnings: Vec<ConfigWarning>,
    allowed: BTreeSet<InsecureSetup>,
}

impl<'a> ConfigReader<'a> {
    pub(super) fn new(vars: &'a Vars) -> Self {
        let allowed = vars.get(ALLOW_INSECURE).map(insecure::known_names).unwrap_or_default();
        Self { vars, problems: vars.problems().to_vec(), warnings: Vec::new(), allowed }
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
        if !self.is_set(variable) {
            self.add_problem(variable, "is not set", expected);
        }
        self.read_optional(variable, parse, expected)
    }

    /// Whether a variable is set, even to a malformed value or by a file that cannot be read.
    pub(super) fn is_set(&self, variable: &str) -> bool {
        let is_of_file = |problem: &ConfigProblem| problem.location.strip_suffix("_FILE") == Some(variable);
        self.vars.get(variable).is_some() || self.vars.problems().iter().any(is_of_file)
    }

    /// The files that secrets were read from, each with the variable or the name that an error shows.
    pub(super) fn secret_files(&self) -> &[(String, PathBuf)] {
        self.vars.secret_files()
    }

    /// Records an error or, if `ALLOW_INSECURE` names the set-up, a warning. `place` and `what` are as in
    /// [`ConfigProblem`].
    pub(super) fn refuse_insecure(&mut self, setup: InsecureSetup, place: &str, what: &str, expected: &str) {
        if self.allowed.contains(&setup) {
            let (place, what) = (place.to_owned(), what.to_owned());
            self.warnings.push(ConfigWarning::InsecureAllowed { place, what, setup: setup.name() });
        } else {
            let expected = format!("{expected}; or {ALLOW_INSECURE}={} if this is meant", setup.name());
            self.add_problem(place, what, &expected);
        }
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

    /// Refuses a URL to which credentials travel through public networks as plain http, and warns of one in a private
    /// network. `None` is no URL.
    pub(super) fn check_exposure(&mut self, variable: &'static str, exposure: Option<Exposure>) {
        match exposure {
            None | Some(Exposure::None) => {}
            Some(Exposure::PrivateNetwork) => self.warnings.push(ConfigWarning::PlainHttp(variable)),
            Some(Exposure::PublicNetworks) => {
                let what = "is plain http: data sent there, including credentials, can be read in transit";
                self.refuse_insecure(InsecureSetup::PlainHttp, variable, what, "https");
            }
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
