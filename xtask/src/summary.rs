//! The parts of a run: what each gave, how long it took, and the table at the end.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// What became of one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It holds. The text, if any, adds what is worth knowing.
    Passed(String),
    /// It does not hold, or could not be found out.
    Failed(String),
    /// It could not be looked at here, and that is no failure. The text says why.
    NotRun(String),
}

/// The parts so far, in the order they ran.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    rows: Vec<(String, Outcome, Duration)>,
}

impl Summary {
    /// Runs a part, prints one line with its outcome and its time, and keeps it for the table.
    pub(crate) fn part(&mut self, name: &str, work: impl FnOnce() -> anyhow::Result<Outcome>) {
        eprintln!("==> {name}");
        let watch = Stopwatch::start();
        let outcome = work().unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")));
        let took = watch.elapsed();
        eprintln!("{}", row(name, &outcome, took, name.len()));
        self.rows.push((name.to_owned(), outcome, took));
    }

    /// True when no part failed.
    pub(crate) fn passed(&self) -> bool {
        !self
            .rows
            .iter()
            .any(|(_, outcome, _)| matches!(outcome, Outcome::Failed(_)))
    }

    /// The table: one line a part.
    pub(crate) fn table(&self) -> String {
        let width = self
            .rows
            .iter()
            .map(|(name, _, _)| name.len())
            .max()
            .unwrap_or(0);
        let mut table = String::new();
        for (name, outcome, took) in &self.rows {
            let _infallible = writeln!(table, "{}", row(name, outcome, *took, width));
        }
        table
    }
}

fn row(name: &str, outcome: &Outcome, took: Duration, width: usize) -> String {
    let (word, note) = match outcome {
        Outcome::Passed(note) => ("ok", note),
        Outcome::Failed(note) => ("FAILED", note),
        Outcome::NotRun(note) => ("not run", note),
    };
    let line = format!(
        "  {name:width$}  {word:7}  {:6.1} s  {note}",
        took.as_secs_f64()
    );
    line.trim_end().to_owned()
}

/// Measures how long a task takes on the machine it runs on.
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(
        clippy::disallowed_methods,
        reason = "these times are shown to a person; nothing of the daemon runs here, so no clock to control"
    )]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_part_fails_the_run_and_is_named_in_the_table() {
        let mut summary = Summary::default();
        summary.part("format", || Ok(Outcome::Passed(String::new())));
        assert!(summary.passed());
        summary.part("advisories", || Ok(Outcome::NotRun("no database".into())));
        assert!(
            summary.passed(),
            "what could not be looked at is no failure"
        );
        summary.part("clippy", || anyhow::bail!("3 warnings"));
        assert!(!summary.passed());
        let table = summary.table();
        let clippy = table.lines().find(|line| line.contains("clippy")).unwrap();
        assert!(
            clippy.contains("FAILED") && clippy.ends_with("3 warnings"),
            "{clippy}"
        );
        let advisories = table
            .lines()
            .find(|line| line.contains("advisories"))
            .unwrap();
        assert!(advisories.contains("not run") && advisories.ends_with("no database"));
    }
}
