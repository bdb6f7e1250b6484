//! One mutant: what the bug is, which text of which file it replaces, and the seed that finds it.
//!
//! ```text
//! what: one sentence
//! seed: 17
//! says: what the simulation says, with # for what differs from run to run
//! in: src/retry.rs
//! --- code
//! the text to replace, which is in the file once
//! --- mutant
//! the text in its place; MUTANT is true when this mutant is the active one
//! --- end
//! ```
//!
//! From `in` on it may be repeated.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

/// Where they are.
pub(super) const FOLDER: &str = "tests/simulation/mutants";
const EXTENSION: &str = "mutant";
/// The variable with the name of the active one.
pub(super) const VARIABLE: &str = "GATEWRIGHT_MUTANT";
/// What stands for "this mutant is active" in the text of one.
const ACTIVE: &str = "MUTANT";
/// By how many words two violations are compared. What follows can change with any change of the
/// daemon.
const WORDS: usize = 4;

/// A deliberate bug.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mutant {
    pub(super) name: String,
    pub(super) what: String,
    pub(super) found: Option<Found>,
    pub(super) edits: Vec<Edit>,
}

/// How a mutant was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) seed: u64,
    pub(super) says: String,
}

/// A change of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Edit {
    /// From the root.
    pub(super) file: String,
    pub(super) code: String,
    pub(super) mutant: String,
}

impl Found {
    /// With the first line of `violation`, without what differs from run to run.
    pub(super) fn new(seed: u64, violation: &str) -> Self {
        let first = violation.lines().next().unwrap_or_default();
        let words = first.split_whitespace().map(|word| {
            if word.contains(|letter: char| letter.is_ascii_digit()) {
                "#"
            } else {
                word
            }
        });
        let says = words.collect::<Vec<_>>().join(" ");
        Self { seed, says }
    }

    /// Whether the same thing was violated.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let begins = |found: &'_ Self| -> Vec<String> {
            let words = found.says.split_whitespace().take(WORDS);
            words.map(str::to_owned).collect()
        };
        begins(self) == begins(other)
    }
}

impl Edit {
    /// The text in the place of `code`, as it is compiled.
    pub(super) fn compiled(&self, name: &str) -> String {
        // Not a function of one crate: the mutants are in crates that depend on none in common.
        let active =
            format!("std::env::var_os(\"{VARIABLE}\").is_some_and(|name| name == \"{name}\")");
        self.mutant.replace(ACTIVE, &active)
    }
}

impl Mutant {
    pub(super) fn file_name(&self) -> String {
        format!("{}.{EXTENSION}", self.name)
    }

    fn parse(name: &str, text: &str) -> Result<Self> {
        let mut this = Self {
            name: name.to_owned(),
            what: String::new(),
            found: None,
            edits: Vec::new(),
        };
        let (mut seed, mut says) = (None, None);
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if line == "--- code" {
                let edit = this.edits.last_mut().context("text of no file")?;
                edit.code = block(&mut lines, "--- mutant")?;
                edit.mutant = block(&mut lines, "--- end")?;
                continue;
            }
            match line.split_once(": ") {
                Some(("what", words)) => words.clone_into(&mut this.what),
                Some(("seed", number)) => seed = Some(number.parse().context("seed")?),
                Some(("says", words)) => says = Some(words.to_owned()),
                Some(("in", file)) => this.edits.push(Edit {
                    file: file.to_owned(),
                    ..Edit::default()
                }),
                _ => bail!("the line {line:?} is not known"),
            }
        }
        if let (Some(seed), Some(says)) = (seed, says) {
            this.found = Some(Found { seed, says });
        }
        let empty = |edit: &Edit| edit.code.is_empty() || !edit.mutant.contains(ACTIVE);
        if this.what.is_empty() || this.edits.is_empty() || this.edits.iter().any(empty) {
            bail!("it needs what, in, code, and a mutant with the word {ACTIVE}");
        }
        Ok(this)
    }
}

/// The lines up to `end`, each with its line feed.
fn block<'a>(lines: &mut impl Iterator<Item = &'a str>, end: &str) -> Result<String> {
    let mut text = String::new();
    for line in lines {
        if line == end {
            return Ok(text);
        }
        text.push_str(line);
        text.push('\n');
    }
    bail!("{end:?} is missing");
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "what: {}", self.what)?;
        if let Some(Found { seed, says }) = &self.found {
            writeln!(f, "seed: {seed}\nsays: {says}")?;
        }
        for Edit { file, code, mutant } in &self.edits {
            write!(
                f,
                "in: {file}\n--- code\n{code}--- mutant\n{mutant}--- end\n"
            )?;
        }
        Ok(())
    }
}

/// All of `folder`, by name.
pub(super) fn load(folder: &Path) -> Result<Vec<Mutant>> {
    let mut all = Vec::new();
    let entries = fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))?;
    for entry in entries {
        let path = entry
            .with_context(|| format!("listing {}", folder.display()))?
            .path();
        if path.extension().is_none_or(|held| held != EXTENSION) {
            continue;
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let reading = || format!("reading {}", path.display());
        let text = fs::read_to_string(&path).with_context(reading)?;
        all.push(Mutant::parse(&name, &text).with_context(reading)?);
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "what: It never waits.\nseed: 3\nsays: no rest within #\nin: src/a.rs\n\
                        --- code\n    wait();\n--- mutant\n    if !MUTANT {\n        wait();\n    }\n\
                        --- end\n";

    #[test]
    fn a_mutant_is_written_as_it_was_read() {
        let read = Mutant::parse("hasty", TEXT).unwrap();
        assert_eq!(read.to_string(), TEXT);
        assert_eq!(read.edits[0].code, "    wait();\n");
        let compiled = read.edits[0].compiled("hasty");
        assert!(compiled.contains("name == \"hasty\""), "{compiled}");
    }

    #[test]
    fn a_mutant_that_says_too_little_is_refused() {
        for missing in ["what", "in"] {
            let line = TEXT.lines().find(|line| line.starts_with(missing)).unwrap();
            let text = TEXT.replace(&format!("{line}\n"), "");
            assert!(Mutant::parse("hasty", &text).is_err(), "{missing}");
        }
        assert!(Mutant::parse("hasty", &TEXT.replace("MUTANT", "x")).is_err());
        assert!(Mutant::parse("hasty", &TEXT.replace("--- end\n", "")).is_err());
    }

    #[test]
    fn violations_are_compared_without_what_differs_from_run_to_run() {
        let a = Found::new(
            1,
            "lb-7f3a took 443 its last backend, p-1 still serves\nmore",
        );
        assert_eq!(a.says, "# took # its last backend, # still serves");
        assert!(a.is_like(&Found::new(2, "lb-11 took 80 its last backend")));
        assert!(!a.is_like(&Found::new(1, "no rest within 3h")));
    }
}
