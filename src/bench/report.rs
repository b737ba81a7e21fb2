//! The results of a benchmark: rows of a table, their goals, and the comparison with saved ones.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

/// The results.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BenchReport {
    /// The version of the program that measured.
    pub version: String,
    /// The processor and its cores, and how they were divided.
    pub machine: String,
    /// The options that say how large the load was.
    pub load: String,
    /// The figures.
    pub rows: Vec<Row>,
    /// What the program must not have done, with the number of times.
    pub violations: Vec<String>,
}

/// A figure.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    /// Names it in saved results, such as `talk.token_to_frame.p99`.
    pub id: String,
    /// What was measured, for people.
    pub title: String,
    /// The unit.
    pub unit: String,
    /// The figure of the server. `None` if the load gave none.
    pub server: Option<f64>,
    /// That of the bare pipe, if it was measured too and has one.
    pub floor: Option<f64>,
    /// What the server has to reach.
    pub goal: Option<Goal>,
}

/// What a figure has to reach.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// At most this.
    AtMost(f64),
    /// At least this.
    AtLeast(f64),
    /// At most so many times the figure of the bare pipe.
    TimesFloor(f64),
    /// At most so much more than the bare pipe.
    FloorPlus(f64),
}

impl Row {
    /// Whether the goal is reached. `None` without a goal, or without what it compares with.
    pub fn is_reached(&self) -> Option<bool> {
        let server = self.server?;
        Some(match self.goal? {
            Goal::AtMost(limit) => server <= limit,
            Goal::AtLeast(limit) => server >= limit,
            Goal::TimesFloor(times) => server <= self.floor? * times,
            Goal::FloorPlus(more) => server <= self.floor? + more,
        })
    }
}

impl BenchReport {
    /// Whether the program broke no rule. A goal that is missed is no failure: machines differ.
    pub fn has_passed(&self) -> bool {
        self.violations.is_empty()
    }

    /// The figures beside saved ones: this one as a multiple of the saved one.
    pub fn compare(&self, before: &Self) -> String {
        let mut text = "| figure | before | now | now / before |\n|---|---|---|---|\n".to_owned();
        for row in &self.rows {
            let saved = before.rows.iter().find(|saved| saved.id == row.id).and_then(|saved| saved.server);
            let ratio = match (saved, row.server) {
                (Some(before), Some(now)) if before != 0.0 => format!("{:.2}", now / before),
                _ => "–".to_owned(),
            };
            let (title, unit) = (&row.title, &row.unit);
            let _ = writeln!(text, "| {title}, {unit} | {} | {} | {ratio} |", Figure(saved), Figure(row.server));
        }
        text
    }
}

/// A figure with three digits that matter.
struct Figure(Option<f64>);

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("–"),
            Some(value) if value.abs() >= 100.0 => write!(f, "{value:.0}"),
            Some(value) if value.abs() >= 10.0 => write!(f, "{value:.1}"),
            Some(value) => write!(f, "{value:.2}"),
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(limit) => write!(f, "≤ {limit}"),
            Self::AtLeast(limit) => write!(f, "≥ {limit}"),
            Self::TimesFloor(times) => write!(f, "≤ {times} × pipe"),
            Self::FloorPlus(more) => write!(f, "≤ pipe + {more}"),
        }
    }
}

/// A Markdown table.
impl fmt::Display for BenchReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "crelay-payments {}; {}; {}\n", self.version, self.machine, self.load)?;
        writeln!(f, "| figure | unit | server | bare pipe | goal | |\n|---|---|---|---|---|---|")?;
        for row in &self.rows {
            let goal = row.goal.map(|goal| goal.to_string()).unwrap_or_default();
            let mark = match row.is_reached() {
                Some(true) => "✓",
                Some(false) => "✗",
                None => "",
            };
            let (title, unit) = (&row.title, &row.unit);
            writeln!(f, "| {title} | {unit} | {} | {} | {goal} | {mark} |", Figure(row.server), Figure(row.floor))?;
        }
        if !self.violations.is_empty() {
            writeln!(f, "\nThe program broke rules:")?;
            self.violations.iter().try_for_each(|what| writeln!(f, "- {what}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(server: f64, floor: Option<f64>, goal: Goal) -> Row {
        let (id, title, unit) = ("a.b".to_owned(), "a".to_owned(), "ms".to_owned());
        Row { id, title, unit, server: Some(server), floor, goal: Some(goal) }
    }

    #[test]
    fn a_goal_that_compares_with_the_bare_pipe_needs_its_figure() {
        assert_eq!(row(1.4, Some(1.0), Goal::TimesFloor(1.5)).is_reached(), Some(true));
        assert_eq!(row(1.6, Some(1.0), Goal::TimesFloor(1.5)).is_reached(), Some(false));
        assert_eq!(row(1.6, None, Goal::TimesFloor(1.5)).is_reached(), None);
        assert_eq!(row(1.6, Some(1.2), Goal::FloorPlus(0.5)).is_reached(), Some(true));
        assert_eq!(row(3.0, None, Goal::AtLeast(3.5)).is_reached(), Some(false));
    }

    #[test]
    fn results_are_read_back_as_they_were_saved() {
        let rows = vec![row(1.25, Some(1.0), Goal::TimesFloor(1.5))];
        let (version, machine, load) = ("1".to_owned(), "m".to_owned(), "l".to_owned());
        let report = BenchReport { version, machine, load, rows, violations: Vec::new() };
        let saved: BenchReport = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
        assert_eq!(saved.to_string(), report.to_string());
        assert!(report.compare(&saved).contains("| a, ms | 1.25 | 1.25 | 1.00 |"));
    }
}
