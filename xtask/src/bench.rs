//! `cargo xtask bench`: the figures of docs/benchmarks.md.

use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::tools::{self, Tool};
use crate::workspace::{Workspace, exit_code};

/// Installs Envoy if it is missing, builds the benchmarks and runs those whose name contains one of
/// `args`; options are passed on.
pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<ExitCode> {
    tools::ensure(workspace, &[Tool::Envoy])?;
    let status = workspace
        .cargo("bench")
        .args(["--package", "gatewright-tests", "--bench", "loop", "--"])
        .args(args)
        .status()
        .context("starting cargo bench")?;
    Ok(exit_code(status))
}
