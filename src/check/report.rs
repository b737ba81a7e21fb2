//! Findings and their presentation.

use std::fmt;

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Correct: `✓`.
    Pass,
    /// To be confirmed by a person; calls may work: `!`.
    Warning,
    /// Calls would fail: `✗`.
    Failure,
}

/// The result of one check. It contains no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The severity.
    pub severity: Severity,
    /// The subject of the check, in one or two words.
    pub subject: &'static str,
    /// The result, and what to do about it, in one line.
    pub message: String,
}

impl Finding {
    pub(super) fn pass(subject: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Pass, subject, message: message.into() }
    }

    pub(super) fn warning(subject: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, subject, message: message.into() }
    }

    pub(super) fn failure(subject: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Failure, subject, message: message.into() }
    }
}

/// All findings. `Display` writes a line for each, and a line with their numbers.
#[derive(Debug, Clone)]
pub struct CheckReport(pub(super) Vec<Finding>);

impl CheckReport {
    /// Whether no finding would make calls fail.
    pub fn is_ok(&self) -> bool {
        self.count(Severity::Failure) == 0
    }

    fn count(&self, severity: Severity) -> usize {
        self.0.iter().filter(|finding| finding.severity == severity).count()
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|finding| finding.subject.chars().count()).max().unwrap_or(0);
        for Finding { severity, subject, message } in &self.0 {
            let mark = match severity {
                Severity::Pass => '✓',
                Severity::Warning => '!',
                Severity::Failure => '✗',
            };
            writeln!(f, "{mark} {subject:width$}  {message}")?;
        }
        write!(f, "\n{} to fix (✗), {} to confirm (!)", self.count(Severity::Failure), self.count(Severity::Warning))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_an_aligned_line_per_finding_and_a_count() {
        let report = CheckReport(vec![
            Finding::pass("model", "answers"),
            Finding::warning("connector", "compare it"),
            Finding::failure("number", "buy one"),
        ]);
        let lines =
            "✓ model      answers\n! connector  compare it\n✗ number     buy one\n\n1 to fix (✗), 1 to confirm (!)";
        assert_eq!(report.to_string(), lines);
        assert!(!report.is_ok());
    }
}
