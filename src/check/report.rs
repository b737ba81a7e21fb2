//! What was found, and how it is shown.

use std::fmt;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// As it should be: `✓`.
    Good,
    /// To be looked at or confirmed by a person; calls may work: `!`.
    Doubt,
    /// Calls would go wrong: `✗`.
    Bad,
}

/// One thing that was looked at. No secret is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How it is.
    pub level: Level,
    /// What was looked at, in a word or two.
    pub subject: &'static str,
    /// What was found, and what to do about it: one line.
    pub words: String,
}

impl Finding {
    pub(super) fn good(subject: &'static str, words: impl Into<String>) -> Self {
        Self { level: Level::Good, subject, words: words.into() }
    }

    pub(super) fn doubt(subject: &'static str, words: impl Into<String>) -> Self {
        Self { level: Level::Doubt, subject, words: words.into() }
    }

    pub(super) fn bad(subject: &'static str, words: impl Into<String>) -> Self {
        Self { level: Level::Bad, subject, words: words.into() }
    }
}

/// Everything that was found. `Display` shows a line for each finding, and one that counts them.
#[derive(Debug, Clone)]
pub struct Report(pub(super) Vec<Finding>);

impl Report {
    /// What was found, in the order in which it is shown.
    pub fn findings(&self) -> &[Finding] {
        &self.0
    }

    /// Whether nothing was found that would make calls go wrong.
    pub fn is_good(&self) -> bool {
        self.count(Level::Bad) == 0
    }

    fn count(&self, level: Level) -> usize {
        self.0.iter().filter(|finding| finding.level == level).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|finding| finding.subject.chars().count()).max().unwrap_or(0);
        for Finding { level, subject, words } in &self.0 {
            let mark = match level {
                Level::Good => '✓',
                Level::Doubt => '!',
                Level::Bad => '✗',
            };
            writeln!(f, "{mark} {subject:width$}  {words}")?;
        }
        write!(f, "\n{} to mend (✗), {} to confirm (!)", self.count(Level::Bad), self.count(Level::Doubt))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_one_aligned_line_for_each_finding_and_a_count() {
        let report = Report(vec![
            Finding::good("model", "answers"),
            Finding::doubt("connector", "compare it"),
            Finding::bad("number", "buy one"),
        ]);
        let lines =
            "✓ model      answers\n! connector  compare it\n✗ number     buy one\n\n1 to mend (✗), 1 to confirm (!)";
        assert_eq!(report.to_string(), lines);
        assert!(!report.is_good());
    }
}
