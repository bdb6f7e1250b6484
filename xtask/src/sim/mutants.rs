//! Deliberate bugs that the simulation must find: `tests/simulation/mutants`.
//!
//! All of them are built into one program, from a copy of the sources, so that the code itself has
//! no hooks. An environment variable chooses the one that is active.

mod copy;
mod hunt;
mod mutant;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context as _, Result, bail};

use crate::workspace::Workspace;
use hunt::Hunt;
use mutant::{Found, Mutant};

/// How many seeds may be needed to find a mutant.
const SEEDS: u64 = 1_000;
/// How often a seed must find a mutant in the same way to be stored.
const TIMES: usize = 2;
/// How many histories run at once.
const JOBS: usize = 2;

/// What is run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    /// Only the mutants of these names; all when there are none.
    pub(crate) names: Vec<String>,
    /// Look for seeds that find them and write these into the files.
    pub(crate) find: bool,
}

/// All mutants, and the simulation built with them in it.
pub(crate) struct Built {
    mutants: Vec<Mutant>,
    /// Where they are stored.
    folder: PathBuf,
    hunt: Hunt,
}

impl Built {
    /// The command that runs the simulation with the mutant of this name active, or with none.
    pub(crate) fn command(&self, name: Option<&str>) -> Command {
        self.hunt.command(name)
    }
}

/// Builds the simulation with all mutants in it, for a run of `selection`.
pub(crate) fn build(workspace: &Workspace, selection: &Selection) -> Result<Built> {
    let folder = workspace.root().join(mutant::FOLDER);
    let mutants = mutant::load(&folder)?;
    for name in &selection.names {
        if !mutants.iter().any(|held| held.name == *name) {
            bail!("there is no mutant {name} in {}", mutant::FOLDER);
        }
    }
    eprintln!("building {} mutants", mutants.len());
    let program = copy::build(workspace, &mutants)?;
    let hunt = Hunt { program };
    Ok(Built {
        mutants,
        folder,
        hunt,
    })
}

/// Sees that each mutant is found by its seed, or with `find` looks for one.
pub(crate) fn run(built: &Built, selection: &Selection) -> Result<ExitCode> {
    let (all, hunt) = (&built.mutants, &built.hunt);
    let chosen =
        |held: &&Mutant| selection.names.is_empty() || selection.names.contains(&held.name);
    let chosen: Vec<&Mutant> = all.iter().filter(chosen).collect();
    let outcomes = side_by_side(&chosen, |held| {
        let outcome = if selection.find {
            find(&built.folder, hunt, held)
        } else {
            check(hunt, held)
        };
        match &outcome {
            Ok(found) => eprintln!("{:<40} seed {:>4}: {}", held.name, found.seed, found.says),
            Err(why) => eprintln!("{:<40} NOT FOUND: {why:#}", held.name),
        }
        outcome
    });
    let found: Vec<&Found> = outcomes.iter().flatten().collect();
    let seeds: BTreeSet<u64> = found.iter().map(|found| found.seed).collect();
    let seeds: Vec<u64> = seeds.into_iter().collect();
    let without = side_by_side(&seeds, |seed| hunt.run(None, *seed, 1));
    let mut sound = true;
    for (seed, outcome) in seeds.iter().zip(without) {
        if let Some(found) = outcome? {
            eprintln!("seed {seed} does not hold without a mutant: {}", found.says);
            sound = false;
        }
    }
    eprintln!(
        "{} of {} mutants found; {} seeds hold without them: {sound}",
        found.len(),
        chosen.len(),
        seeds.len()
    );
    Ok(if sound && found.len() == chosen.len() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Whether the stored seed finds the mutant.
fn check(hunt: &Hunt, held: &Mutant) -> Result<Found> {
    const AGAIN: &str = "look for another with `cargo xtask sim --mutants --find`";
    let Some(known) = &held.found else {
        bail!("no seed is stored: {AGAIN}");
    };
    let Some(found) = hunt.run(Some(&held.name), known.seed, 1)? else {
        bail!("seed {} holds: {AGAIN}", known.seed);
    };
    if !found.is_like(known) {
        bail!(
            "seed {} says \"{}\" and not \"{}\": {AGAIN}",
            known.seed,
            found.says,
            known.says
        );
    }
    Ok(found)
}

/// The first seed that finds the mutant and does so each time, written into its file.
fn find(folder: &Path, hunt: &Hunt, held: &Mutant) -> Result<Found> {
    let mut from = 0;
    while from < SEEDS {
        let Some(found) = hunt.run(Some(&held.name), from, SEEDS - from)? else {
            break;
        };
        from = found.seed + 1;
        // Without the mutant the seed has to hold, and with it to fail in the same way each time.
        let mut same = hunt.run(None, found.seed, 1)?.is_none();
        for _ in 1..TIMES {
            same = same
                && hunt
                    .run(Some(&held.name), found.seed, 1)?
                    .is_some_and(|again| again.is_like(&found));
        }
        if same {
            let path = folder.join(held.file_name());
            let text = Mutant {
                found: Some(found.clone()),
                ..held.clone()
            };
            fs::write(&path, text.to_string())
                .with_context(|| format!("writing {}", path.display()))?;
            return Ok(found);
        }
    }
    bail!("{SEEDS} seeds hold with it");
}

/// Does `work` for each of `all`, [`JOBS`] at a time; the results are in their order.
fn side_by_side<T: Sync, R: Send>(all: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..JOBS {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::SeqCst);
                    let Some(item) = all.get(index) else {
                        return;
                    };
                    let result = work(item);
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    results.push((index, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutant_fits_the_sources_and_names_its_seed() {
        let workspace = Workspace::locate().unwrap();
        let all = mutant::load(&workspace.root().join(mutant::FOLDER)).unwrap();
        assert!(all.len() >= 10);
        copy::mutated(workspace.root(), &all).unwrap();
        for held in &all {
            assert!(held.found.is_some(), "{} has no seed", held.name);
        }
    }

    #[test]
    fn results_are_in_the_order_of_the_work() {
        let all: Vec<u64> = (0..50).collect();
        assert_eq!(side_by_side(&all, |number| *number), all);
    }
}
