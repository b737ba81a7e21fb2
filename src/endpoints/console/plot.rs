//! The plots of the overview: as data for the browser, and as a table for everybody else.

use jiff::Timestamp;
use maud::{Markup, html};
use serde::Serialize;

/// A plot over time.
#[derive(Debug, Serialize)]
pub(super) struct Plot {
    /// The name, a part of the identifiers in the page.
    #[serde(skip)]
    pub(super) name: &'static str,
    /// How it is drawn.
    pub(super) kind: PlotKind,
    /// The unit of the values, such as `ms`; empty for counts.
    pub(super) unit: &'static str,
    /// The beginning of each period, in seconds since 1970.
    pub(super) x: Vec<i64>,
    /// The series, each with a value for each period.
    pub(super) series: Vec<Series>,
}

/// How a plot is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum PlotKind {
    /// Bars, one on the other.
    Bars,
    /// Lines, with gaps where there is no value.
    Lines,
}

/// A series of a plot.
#[derive(Debug, Serialize)]
pub(super) struct Series {
    /// What it shows.
    pub(super) label: &'static str,
    /// The name of its colour in the style sheet.
    pub(super) colour: &'static str,
    /// The values; `None` where nothing was measured.
    pub(super) values: Vec<Option<u64>>,
}

impl Plot {
    /// Renders the place of the plot, which the script fills, and its legend. The numbers are in a table that can be opened.
    pub(super) fn figure(&self, title: &str) -> Markup {
        let id = format!("plot-{}", self.name);
        html! {
            section .panel aria-labelledby={ (id) "-title" } {
                h2 id={ (id) "-title" } { (title) }
                ul .legend {
                    @for series in &self.series { li { span class={ "key " (series.colour) } {} (series.label) } }
                }
                div .plot id=(id) aria-hidden="true" {}
                details {
                    summary { "Numbers" span .visually-hidden { " of: " (title) } }
                    div id={ "numbers-" (self.name) } { (self.numbers()) }
                }
            }
        }
    }

    /// Renders the periods in which something happened, the newest first.
    pub(super) fn numbers(&self) -> Markup {
        let value = |series: &Series, at: usize| series.values.get(at).copied().flatten();
        let rows = (0..self.x.len()).rev();
        let rows: Vec<usize> =
            rows.filter(|at| self.series.iter().any(|series| value(series, *at).is_some_and(|it| it > 0))).collect();
        html! {
            @if rows.is_empty() {
                p .empty { "Nothing yet." }
            } @else {
                div .scroll tabindex="0" role="group" aria-label="Numbers" {
                    table {
                        thead {
                            tr {
                                th scope="col" { "From (UTC)" }
                                @for series in &self.series {
                                    th .num scope="col" { (series.label) @if !self.unit.is_empty() { " (" (self.unit) ")" } }
                                }
                            }
                        }
                        tbody {
                            @for at in rows {
                                tr {
                                    th scope="row" { (clock(self.x[at])) }
                                    @for series in &self.series { td .num { @if let Some(value) = value(series, at) { (value) } } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn clock(second: i64) -> String {
    Timestamp::from_second(second).map(|at| at.strftime("%m-%d %H:%M").to_string()).unwrap_or_default()
}
