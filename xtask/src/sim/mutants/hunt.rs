//! Runs the program that has the mutants in it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::mutant::{Found, VARIABLE};

/// The program.
pub(super) struct Hunt {
    pub(super) program: PathBuf,
}

impl Hunt {
    /// The command that runs the program with the mutant of this name active, or with none.
    pub(super) fn command(&self, name: Option<&str>) -> Command {
        let mut command = Command::new(&self.program);
        command.env_remove(VARIABLE);
        if let Some(name) = name {
            command.env(VARIABLE, name);
        }
        command
    }

    /// Runs `count` seeds from `from` on, up to the first that does not hold, with the mutant of
    /// this name.
    pub(super) fn run(&self, name: Option<&str>, from: u64, count: u64) -> Result<Option<Found>> {
        let mut command = self.command(name);
        command.args(["--jobs", "1", "--no-shrink"]);
        command.args(["--from", &from.to_string(), "--seeds", &count.to_string()]);
        let output = command
            .output()
            .with_context(|| format!("starting {}", self.program.display()))?;
        let said = String::from_utf8_lossy(&output.stdout);
        match (output.status.success(), first_violation(&said)) {
            (true, None) => Ok(None),
            (false, Some(found)) => Ok(Some(found)),
            _ => bail!(
                "the simulation ended with {} and said neither that all holds nor what does not: {}",
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            ),
        }
    }
}

fn first_violation(said: &str) -> Option<Found> {
    said.lines().find_map(|line| {
        let (seed, violation) = line.strip_prefix("seed ")?.split_once(" does not hold: ")?;
        Some(Found::new(seed.parse().ok()?, violation))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_violation_is_read_from_what_the_simulation_prints() {
        let said = "\n9 histories\n\nseed 8 does not hold: no rest within 3h:\n  missing x\n";
        assert_eq!(
            first_violation(said),
            Some(Found::new(8, "no rest within 3h:"))
        );
        assert_eq!(first_violation("all of them hold\n"), None);
    }
}
