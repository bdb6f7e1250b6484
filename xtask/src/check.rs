//! `cargo xtask check`: everything but the tests.

mod dependencies;

use std::io::{self, Write as _};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use crate::summary::{Outcome, Summary};
use crate::workspace::Workspace;
use crate::{generate, layout};

/// A part of the check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// cargo fmt
    Format,
    /// File names and lengths
    Layout,
    /// cargo deny: duplicates, licences and sources of the dependencies
    Dependencies,
    /// cargo deny: known faults of the dependencies; needs a database from the internet
    Advisories,
    /// cargo clippy over everything, warnings refused
    Clippy,
    /// cargo check of each crate that others can use, alone, which finds what only builds because
    /// another crate turns on a feature
    Alone,
    /// cargo doc, warnings refused
    Docs,
    /// Generated files are what `cargo xtask gen` would write
    Generated,
}

/// Runs the parts in `only`, or all when it is empty, prints the table, and gives success when none
/// failed.
pub(crate) fn run(workspace: &Workspace, only: &[Part]) -> Result<ExitCode> {
    let mut summary = Summary::default();
    for &part in Part::value_variants() {
        if only.is_empty() || only.contains(&part) {
            summary.part(name(part), || run_part(workspace, part));
        }
    }
    write!(io::stdout(), "\nSummary\n{}", summary.table())?;
    Ok(if summary.passed() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn name(part: Part) -> &'static str {
    match part {
        Part::Format => "format",
        Part::Layout => "layout",
        Part::Dependencies => "dependencies",
        Part::Advisories => "advisories",
        Part::Clippy => "clippy",
        Part::Alone => "each crate alone",
        Part::Docs => "docs",
        Part::Generated => "generated files",
    }
}

fn run_part(workspace: &Workspace, part: Part) -> Result<Outcome> {
    match part {
        Part::Format => {
            let todo = "run cargo fmt --all, and cargo fmt in xds/gen";
            succeed(workspace.cargo("fmt").args(["--all", "--check"]), todo)?;
            // A workspace of its own, built only by `cargo xtask gen`.
            let manifest = workspace.root().join("xds/gen/Cargo.toml");
            let mut command = workspace.cargo("fmt");
            succeed(
                command.arg("--check").arg("--manifest-path").arg(manifest),
                todo,
            )?;
        }
        Part::Layout => return layout(workspace),
        Part::Dependencies => return dependencies::check(workspace),
        Part::Advisories => return dependencies::advisories(workspace),
        Part::Clippy => {
            let mut command = workspace.cargo_build("clippy");
            command.args([
                "--workspace",
                "--all-targets",
                "--all-features",
                "--",
                "-D",
                "warnings",
            ]);
            succeed(&mut command, "see above")?;
        }
        Part::Alone => return each_alone(workspace),
        Part::Docs => {
            let mut command = workspace.cargo_build("doc");
            command
                .args(["--workspace", "--no-deps"])
                .env("RUSTDOCFLAGS", "-D warnings");
            succeed(&mut command, "see above")?;
        }
        Part::Generated => generate::check(workspace)?,
    }
    Ok(Outcome::Passed(String::new()))
}

/// Runs a command whose output the user sees.
fn succeed(command: &mut Command, what_to_do: &str) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command
        .status()
        .with_context(|| format!("starting {program}"))?;
    if !status.success() {
        bail!("{what_to_do}");
    }
    Ok(())
}

fn each_alone(workspace: &Workspace) -> Result<Outcome> {
    let mut packages = workspace.packages()?;
    // Programs for this repository alone, and built alone whenever they run.
    packages.retain(|package| !package.is_tool);
    let mut failed = Vec::new();
    for package in &packages {
        let mut command = workspace.cargo_build("check");
        command.args(["--package", &package.name]);
        if !command.status().context("starting cargo check")?.success() {
            failed.push(package.name.as_str());
        }
    }
    if !failed.is_empty() {
        bail!("does not build alone: {}", failed.join(", "));
    }
    Ok(Outcome::Passed(format!("{} crates", packages.len())))
}

fn layout(workspace: &Workspace) -> Result<Outcome> {
    let report = layout::survey(workspace.root())?;
    for (lines, path) in &report.long {
        eprintln!("{lines:6} lines  {}", path.display());
    }
    if !report.broken.is_empty() {
        bail!("{}", report.broken.join("; "));
    }
    Ok(Outcome::Passed(report.in_words()))
}
