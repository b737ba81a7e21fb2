//! What is wrong with a configuration, told so that it can be mended at once.

use std::fmt;

/// One mistake. No value of a variable is ever in it: a secret may stand in the wrong place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The variable, or the file and line, that it is about.
    pub place: String,
    /// What is wrong: the sentence that `place` begins.
    pub what: String,
    /// What belongs there: how the sentence "give …" ends.
    pub mend: String,
}

/// All mistakes of a configuration.
///
/// `Display` lists them in lines for a terminal, and says what can be done without any configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// `None` if there is none.
    pub(super) fn new(problems: Vec<Problem>) -> Option<Self> {
        (!problems.is_empty()).then_some(Self(problems))
    }

    /// The mistakes, in the order in which the variables are documented.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        writeln!(f, "The server cannot start: {count} {} to mend.\n", if count == 1 { "setting" } else { "settings" })?;
        let width = self.iter().map(|problem| problem.place.chars().count()).max().unwrap_or(0);
        for Problem { place, what, mend } in self.iter() {
            writeln!(f, "  {place:width$}  {what}: give {mend}")?;
        }
        writeln!(f, "\nSet them in the environment or in a file .env; .env.example describes them all.")?;
        write!(f, "To watch a payment call without any of this: crelay-payments simulate")
    }
}
