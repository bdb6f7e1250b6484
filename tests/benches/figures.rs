//! Figures: what was measured, in a table or as JSON.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::json;

/// One row: all values that were measured of one thing.
pub(crate) struct Figure {
    name: String,
    unit: &'static str,
    sorted: Vec<f64>,
}

impl Figure {
    pub(crate) fn new(name: impl Into<String>, unit: &'static str, mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self {
            name: name.into(),
            unit,
            sorted: values,
        }
    }

    /// The smallest value that `percent` of all do not exceed (nearest rank); 0 of nothing.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.sorted.len() * percent).div_ceil(100).max(1);
        self.sorted.get(rank - 1).copied().unwrap_or_default()
    }

    fn ends(&self) -> (f64, f64) {
        let ends = self.sorted.first().zip(self.sorted.last());
        ends.map(|(min, max)| (*min, *max)).unwrap_or_default()
    }
}

/// The figures of one benchmark.
pub(crate) struct Report {
    bench: String,
    figures: Vec<Figure>,
    notes: Vec<String>,
    load_before: String,
}

impl Report {
    pub(crate) fn new(bench: &str) -> Self {
        Self {
            bench: bench.to_owned(),
            figures: Vec::new(),
            notes: Vec::new(),
            load_before: load_average(),
        }
    }

    pub(crate) fn add(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    /// One value.
    pub(crate) fn one(&mut self, name: impl Into<String>, unit: &'static str, value: f64) {
        self.add(Figure::new(name, unit, vec![value]));
    }

    /// Says something about the figures that they do not say themselves.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// For people.
    pub(crate) fn table(&self) -> String {
        let width = self
            .figures
            .iter()
            .map(|figure| figure.name.chars().count())
            .max();
        let width = width.unwrap_or(0);
        let mut text = format!("\n{}\n", self.bench);
        // Writing to a String cannot fail.
        writeln!(
            text,
            "{:width$}  {:>6} {:>10} {:>10} {:>10} {:>10} {:>10}  unit",
            "", "n", "min", "p50", "p90", "p99", "max"
        )
        .ok();
        for figure in &self.figures {
            let (min, max) = figure.ends();
            let columns = [
                min,
                figure.percentile(50),
                figure.percentile(90),
                figure.percentile(99),
                max,
            ];
            write!(text, "{:width$}  {:>6}", figure.name, figure.sorted.len()).ok();
            for value in columns {
                write!(text, " {:>10}", rounded(value)).ok();
            }
            writeln!(text, "  {}", figure.unit).ok();
        }
        for note in &self.notes {
            writeln!(text, "- {note}").ok();
        }
        writeln!(
            text,
            "- load average before: {}, after: {}",
            self.load_before,
            load_average()
        )
        .ok();
        text
    }

    /// One object a line for each figure.
    pub(crate) fn json(&self) -> String {
        let load_after = load_average();
        let mut text = String::new();
        for figure in &self.figures {
            let (min, max) = figure.ends();
            let line = json!({
                "bench": self.bench, "figure": figure.name, "unit": figure.unit,
                "n": figure.sorted.len(), "min": min, "p50": figure.percentile(50),
                "p90": figure.percentile(90), "p99": figure.percentile(99), "max": max,
                "loadBefore": self.load_before, "loadAfter": load_after,
            });
            writeln!(text, "{line}").ok();
        }
        text
    }
}

/// Three digits that count, and no more than two behind the point.
fn rounded(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        medium if medium >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// From `earlier` to `later` in milliseconds; negative when they come the other way round.
pub(crate) fn between(earlier: Duration, later: Duration) -> f64 {
    (later.as_secs_f64() - earlier.as_secs_f64()) * 1e3
}

/// The time from `earlier` to `later` for each of `count`, in microseconds.
pub(crate) fn microseconds_each(earlier: Duration, later: Duration, count: usize) -> f64 {
    let count = u32::try_from(count).unwrap_or(u32::MAX).max(1);
    between(earlier, later) * 1e3 / f64::from(count)
}

/// The load of the last 1, 5 and 15 minutes, as the kernel tells it.
fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let words: Vec<&str> = text.split_whitespace().take(3).collect();
    words.join(" ")
}

/// Memory of this process that is in RAM now, in MB (1e6 bytes).
pub(crate) fn resident_megabytes() -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or_default() * 1024.0 / 1e6
}
