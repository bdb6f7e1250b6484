//! `cargo xtask sim`: histories made from seeds.

mod mutants;

use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::workspace::{Workspace, exit_code};

pub(crate) use mutants::Selection;

/// Builds the simulation and runs it with `args`, or with `selection` checks that it finds the
/// deliberate bugs.
pub(crate) fn run(
    workspace: &Workspace,
    selection: Option<&Selection>,
    args: &[String],
) -> Result<ExitCode> {
    if let Some(selection) = selection {
        return mutants::run(workspace, selection);
    }
    let status = workspace
        .cargo("run")
        .args(["--quiet", "--profile", "sim"])
        .args(["--package", "gatewright-simulation", "--"])
        .args(args)
        .status()
        .context("starting the simulation")?;
    Ok(exit_code(status))
}
