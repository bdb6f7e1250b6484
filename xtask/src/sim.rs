//! `cargo xtask sim`: histories made from seeds.

mod mutants;

use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use crate::workspace::{Workspace, exit_code};

pub(crate) use mutants::Selection;

/// The arguments of CI's runs after the deliberate bugs.
const CI: [&[&str]; 2] = [&["--seeds", "1000"], &["--crashes"]];

/// What is run.
pub(crate) enum Work {
    /// What the program is told by these arguments.
    Histories(Vec<String>),
    /// The deliberate bugs: whether they are found.
    Mutants(Selection),
    /// All that CI runs.
    Ci,
}

/// Builds the simulation and runs it.
pub(crate) fn run(workspace: &Workspace, work: &Work) -> Result<ExitCode> {
    match work {
        Work::Histories(args) => {
            let mut command = workspace.cargo("run");
            command
                .args(["--quiet", "--profile", "sim"])
                .args(["--package", "gatewright-simulation", "--"])
                .args(args);
            succeed(&mut command)
        }
        Work::Mutants(selection) => mutants::run(&mutants::build(workspace, selection)?, selection),
        Work::Ci => {
            // One program for all: with no mutant chosen it is the simulation as it is, and a
            // second one would take minutes to build.
            let all = Selection::default();
            let built = mutants::build(workspace, &all)?;
            if mutants::run(&built, &all)? != ExitCode::SUCCESS {
                return Ok(ExitCode::FAILURE);
            }
            for args in CI {
                if succeed(built.command(None).args(args))? != ExitCode::SUCCESS {
                    return Ok(ExitCode::FAILURE);
                }
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn succeed(command: &mut Command) -> Result<ExitCode> {
    let status = command.status().context("starting the simulation")?;
    Ok(exit_code(status))
}
