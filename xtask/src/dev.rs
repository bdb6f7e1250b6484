//! `cargo xtask dev`: the daemon with everything around it on one machine.

use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::tools::{self, Tool};
use crate::workspace::Workspace;

/// Installs Envoy if it is missing, then becomes `gatewright dev`.
///
/// Cargo replaces itself by the program it runs, and this process replaces itself by cargo, so that
/// Ctrl-C and the exit code belong to the daemon and no process stands in between.
pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<ExitCode> {
    tools::ensure(workspace, &[Tool::Envoy])?;
    let error = workspace
        .cargo("run")
        .args([
            "--package",
            "gatewright",
            "--bin",
            "gatewright",
            "--",
            "dev",
            "--envoy",
        ])
        .arg(workspace.tools().join("bin/envoy"))
        .arg("--state-dir")
        .arg(workspace.root().join("target/dev"))
        .args(args)
        .exec();
    Err(error).context("starting cargo run")
}
