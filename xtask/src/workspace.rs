//! Where the repository is, which packages it has, and how cargo is called.

use std::env;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// Variables that `cargo run` sets for the program it starts. Some build scripts ask to be run
/// again when one of them changes (ring's does), so a cargo started from here must not see them:
/// without this, each switch between `cargo xtask test` and `cargo test` would build the TLS stack
/// anew.
const SET_BY_CARGO_RUN: [&str; 5] = [
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_PATH",
    "CARGO_PRIMARY_PACKAGE",
    "CARGO_CRATE_NAME",
    "CARGO_BIN_NAME",
];

/// The repository on disk.
pub(crate) struct Workspace {
    root: PathBuf,
}

/// A package of the workspace with the names of its integration test programs.
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) tests: Vec<String>,
    /// Whether it serves this repository alone: a program for it, or its tests.
    pub(crate) is_tool: bool,
}

impl Workspace {
    /// Finds the repository from the place of this package.
    pub(crate) fn locate() -> Result<Self> {
        // Set by `cargo run`; the compiled-in value serves a program that is started directly.
        let manifest = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest
            .parent()
            .context("finding the root of the repository")?
            .to_path_buf();
        if !root.join("xtask/tools.txt").is_file() {
            bail!(
                "{} is not the repository: xtask/tools.txt is missing",
                root.display()
            );
        }
        Ok(Self { root })
    }

    /// The root folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where the real programs are, absolute.
    pub(crate) fn tools(&self) -> PathBuf {
        self.root.join("target/tools")
    }

    /// A cargo command that runs in the root, as if it had been typed there.
    pub(crate) fn cargo(&self, subcommand: &str) -> Command {
        let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(program);
        command.current_dir(&self.root).arg(subcommand);
        for name in SET_BY_CARGO_RUN {
            command.env_remove(name);
        }
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("CARGO_PKG_") {
                command.env_remove(name);
            }
        }
        command
    }

    /// Like [`Self::cargo`] for a command that builds: without a terminal, only warnings and errors
    /// are shown.
    pub(crate) fn cargo_build(&self, subcommand: &str) -> Command {
        let mut command = self.cargo(subcommand);
        if !io::stderr().is_terminal() {
            command.arg("--quiet");
        }
        command
    }

    /// The packages of the workspace, by name.
    pub(crate) fn packages(&self) -> Result<Vec<Package>> {
        let manifest = self.root.join("Cargo.toml");
        let metadata = self.metadata(&["--no-deps", "--manifest-path"], &manifest)?;
        let mut packages: Vec<Package> = metadata["packages"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|value| package(&self.root, value))
            .collect();
        packages.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(packages)
    }

    /// What `cargo metadata ARGS MANIFEST` says.
    pub(crate) fn metadata(&self, args: &[&str], manifest: &Path) -> Result<Value> {
        let output = self
            .cargo("metadata")
            .args(["--format-version", "1"])
            .args(args)
            .arg(manifest)
            .output()
            .context("starting cargo metadata")?;
        if !output.status.success() {
            bail!(
                "cargo metadata failed: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        serde_json::from_slice(&output.stdout).context("reading what cargo metadata printed")
    }
}

fn package(root: &Path, value: &Value) -> Option<Package> {
    let manifest = Path::new(value["manifest_path"].as_str()?);
    let place = manifest.strip_prefix(root).unwrap_or(manifest);
    let tests = value["targets"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|target| {
            target["kind"]
                .as_array()
                .is_some_and(|kinds| kinds.contains(&"test".into()))
        })
        .filter_map(|target| Some(target["name"].as_str()?.to_owned()))
        .collect();
    Some(Package {
        name: value["name"].as_str()?.to_owned(),
        tests,
        is_tool: place.starts_with("xtask") || place.starts_with("tests"),
    })
}

/// How this program ends when one that it started ended with `status`.
pub(crate) fn exit_code(status: ExitStatus) -> ExitCode {
    if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// True when the environment says that this is a continuous integration run, where nothing may be
/// left out.
pub(crate) fn in_ci() -> bool {
    env::var("CI").is_ok_and(|value| value == "true" || value == "1")
}
