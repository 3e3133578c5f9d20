//! The figures of a row: as a table, as JSON, and as a chart.

use comfy_table::{Cell, CellAlignment, Table, presets};
use serde::Serialize;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::build::results;
use crate::chart;
use crate::machine::Machine;

/// The figures of one row.
pub struct Report {
    row: String,
    figures: Vec<Figure>,
}

/// One measured figure.
#[derive(Serialize)]
pub struct Figure {
    /// What was measured.
    pub what: String,
    /// The result.
    pub measured: f64,
    /// The unit of the result and of its floor.
    pub unit: &'static str,
    /// The least that anything of the kind costs, in the same run and unit.
    pub floor: Option<f64>,
    /// The result divided by the floor.
    pub ratio: Option<f64>,
    /// What should be reached.
    pub wanted: Option<Wanted>,
    /// Whether it was.
    pub reached: Option<bool>,
}

/// What a figure should be.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// The result, at most.
    AtMost(f64),
    /// The result divided by the floor, at most.
    RatioAtMost(f64),
    /// The result divided by the floor, at least.
    RatioAtLeast(f64),
    /// The result above the floor, at most.
    AboveFloorAtMost(f64),
}

impl Report {
    /// A report without figures.
    pub fn new(row: &str) -> Self {
        Self {
            row: row.to_owned(),
            figures: Vec::new(),
        }
    }

    /// Adds a figure.
    pub fn add(
        &mut self,
        what: impl Into<String>,
        measured: f64,
        unit: &'static str,
        floor: Option<f64>,
        wanted: Option<Wanted>,
    ) {
        let ratio = floor.map(|floor| measured / floor);
        let reached = wanted.map(|wanted| match wanted {
            Wanted::AtMost(most) => measured <= most,
            Wanted::RatioAtMost(most) => ratio.unwrap_or(f64::NAN) <= most,
            Wanted::RatioAtLeast(least) => ratio.unwrap_or(f64::NAN) >= least,
            Wanted::AboveFloorAtMost(most) => measured - floor.unwrap_or(f64::NAN) <= most,
        });
        self.figures.push(Figure {
            what: what.into(),
            measured,
            unit,
            floor,
            ratio,
            wanted,
            reached,
        });
    }

    /// The figures, to print.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header([
            self.row.as_str(),
            "measured",
            "floor",
            "ratio",
            "wanted",
            "reached",
        ]);
        for figure in &self.figures {
            let number = |number: Option<f64>| number.map(digits).unwrap_or_default();
            let measured = format!("{} {}", digits(figure.measured), figure.unit);
            let reached = match figure.reached {
                None => "",
                Some(true) => "yes",
                Some(false) => "NO",
            };
            table.add_row([
                Cell::new(&figure.what),
                Cell::new(measured).set_alignment(CellAlignment::Right),
                Cell::new(number(figure.floor)).set_alignment(CellAlignment::Right),
                Cell::new(number(figure.ratio)).set_alignment(CellAlignment::Right),
                Cell::new(figure.wanted.map(Wanted::text).unwrap_or_default()),
                Cell::new(reached),
            ]);
        }
        table.to_string()
    }

    /// Writes `target/bench/<row>.json` and the chart `target/bench/<row>.svg`.
    pub fn write(&self, machine: &Machine) {
        let measured_at = OffsetDateTime::now_utc().format(&Rfc3339).unwrap();
        let content = json!({
            "row": self.row,
            "measured_at": measured_at,
            "machine": machine,
            "figures": self.figures,
        });
        let path = results().join(&self.row);
        let json = serde_json::to_string_pretty(&content).unwrap();
        std::fs::write(path.with_extension("json"), json).unwrap();
        chart::draw(&path.with_extension("svg"), &self.row, &self.figures);
    }
}

impl Wanted {
    fn text(self) -> String {
        match self {
            Self::AtMost(most) => format!("at most {}", digits(most)),
            Self::RatioAtMost(most) => format!("ratio at most {}", digits(most)),
            Self::RatioAtLeast(least) => format!("ratio at least {}", digits(least)),
            Self::AboveFloorAtMost(most) => format!("at most {} above the floor", digits(most)),
        }
    }
}

/// A number with about three digits that say something.
pub fn digits(number: f64) -> String {
    match number.abs() {
        large if large >= 100.0 => format!("{number:.0}"),
        medium if medium >= 10.0 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}
