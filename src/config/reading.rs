//! Reading variable after variable, and collecting what is wrong on the way.

use std::fmt::Display;

use super::{Problem, Problems, Vars, Warning};

/// The reading of one configuration. What is wrong is noted, and the reading goes on.
pub(super) struct Reading<'a> {
    vars: &'a Vars,
    problems: Vec<Problem>,
    warnings: Vec<Warning>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(vars: &'a Vars) -> Self {
        Self { vars, problems: vars.problems().to_vec(), warnings: Vec::new() }
    }

    /// A variable that may be missing; `None` as well if it is malformed, which is then noted. `mend` says what belongs
    /// there.
    pub(super) fn optional<T, E: Display>(
        &mut self,
        variable: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
        mend: &str,
    ) -> Option<T> {
        match parse(self.vars.get(variable)?) {
            Ok(value) => Some(value),
            Err(err) => {
                self.problem(variable, &err.to_string(), mend);
                None
            }
        }
    }

    /// A variable that must be there: `None` only if a problem was noted.
    pub(super) fn required<T, E: Display>(
        &mut self,
        variable: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
        mend: &str,
    ) -> Option<T> {
        if self.vars.get(variable).is_none() {
            self.problem(variable, "is not set", mend);
        }
        self.optional(variable, parse, mend)
    }

    /// Whether a variable is set, well or badly.
    pub(super) fn is_set(&self, variable: &str) -> bool {
        self.vars.get(variable).is_some()
    }

    pub(super) fn problem(&mut self, variable: &str, what: &str, mend: &str) {
        self.problems.push(Problem { place: variable.to_owned(), what: what.to_owned(), mend: mend.to_owned() });
    }

    pub(super) fn warn_if(&mut self, wrong: bool, warning: Warning) {
        if wrong {
            self.warnings.push(warning);
        }
    }

    /// What was read, unless anything was wrong.
    pub(super) fn finish<T>(self, read: Option<T>) -> Result<(T, Vec<Warning>), Problems> {
        match Problems::new(self.problems) {
            Some(problems) => Err(problems),
            None => Ok((read.expect("what is missing was noted as a problem"), self.warnings)),
        }
    }
}
