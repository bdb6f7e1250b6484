//! `cargo xtask gen`: the files that programs write and the repository keeps.

mod protos;

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::summary::{Outcome, Summary};
use crate::workspace::Workspace;

/// What to do with the generated files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Write them anew.
    Write,
    /// Leave them and fail when one differs from what would be written.
    Check,
}

/// One set of generated files.
struct Generator {
    /// What it is called in the summary.
    name: &'static str,
    /// The folder or file it owns, from the root.
    writes: &'static str,
    how: How,
}

/// How a generator is run.
enum How {
    /// A test program of that name in that package compares the files with what the code gives, and
    /// rewrites them when `GATEWRIGHT_UPDATE=1`. Files that come from the code of a crate are made
    /// this way: no second program has to be built for them, and `cargo test` alone sees that they
    /// are stale.
    StoredFileTest {
        package: &'static str,
        test: &'static str,
    },
    /// The program in `xds/gen` writes them.
    Protos,
}

/// Every generator there is.
const GENERATORS: &[Generator] = &[
    Generator {
        name: "crds",
        writes: "crds/yaml",
        how: How::StoredFileTest {
            package: "gatewright-crds",
            test: "yaml",
        },
    },
    Generator {
        name: "reference",
        writes: "docs/reference",
        how: How::StoredFileTest {
            package: "gatewright",
            test: "reference",
        },
    },
    Generator {
        name: "protos",
        writes: "xds/src/proto",
        how: How::Protos,
    },
];

/// Runs all generators.
pub(crate) fn run(workspace: &Workspace, mode: Mode) -> ExitCode {
    let mut summary = Summary::default();
    for generator in GENERATORS {
        summary.part(
            &format!("{} ({})", generator.name, generator.writes),
            || {
                generate(workspace, generator, mode)?;
                Ok(Outcome::Passed(String::new()))
            },
        );
    }
    if summary.passed() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Compares all generated files. The error names what is stale.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let stale: Vec<String> = GENERATORS
        .iter()
        .filter_map(|generator| generate(workspace, generator, Mode::Check).err())
        .map(|error| format!("{error:#}"))
        .collect();
    if !stale.is_empty() {
        bail!("{}", stale.join("; "));
    }
    Ok(())
}

fn generate(workspace: &Workspace, generator: &Generator, mode: Mode) -> Result<()> {
    match (&generator.how, mode) {
        (How::StoredFileTest { package, test }, _) => {
            stored_file_test(workspace, generator.writes, package, test, mode)
        }
        (How::Protos, Mode::Write) => protos::write(workspace),
        (How::Protos, Mode::Check) => protos::check(workspace),
    }
}

fn stored_file_test(
    workspace: &Workspace,
    writes: &str,
    package: &str,
    test: &str,
    mode: Mode,
) -> Result<()> {
    // Selecting the workspace, and not the package, gives the dependencies the features that they
    // have in `cargo test --workspace`, so that nothing is built twice.
    let mut command = workspace.cargo_build("test");
    command.args(["--workspace", "--test", test]);
    match mode {
        Mode::Write => command.env("GATEWRIGHT_UPDATE", "1"),
        Mode::Check => command.env_remove("GATEWRIGHT_UPDATE"),
    };
    let status = command.status().context("starting cargo test")?;
    if !status.success() {
        match mode {
            Mode::Write => bail!("could not write {writes}: test {test} of {package} failed"),
            Mode::Check => {
                bail!("{writes} is stale, or could not be compared: run cargo xtask gen")
            }
        }
    }
    Ok(())
}
