//! `cargo xtask tools`: the real programs, at the pinned versions, under `target/tools`.
//!
//! ```text
//! target/tools/bin/NAME            link to the program; its folder is what GATEWRIGHT_TOOLS/bin means
//! target/tools/packages/NAME/      the unpacked wheel, or the built program; `.pin` in it says what it
//!                                  was made from
//! target/tools/venv/               a virtual environment that is only there for its pip
//! target/tools/go/                 the module and build caches of the Go wheel, if that is used
//! target/tools/lock                held while something is installed
//! ```
//!
//! A tool comes as a wheel, pinned in `xtask/tools.txt`, or is built from a Go module, pinned by the
//! `go.mod` and `go.sum` of a folder in `xtask/tools`. It is present when the `.pin` of its folder is
//! the text of its block, or of its recipe.
//! The folder is made under another name and renamed when whole, so an install that was killed
//! leaves nothing that counts as present.

mod build;
mod install;
mod pins;
mod recipes;

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use self::build::Builder;
use self::install::Installer;
use self::pins::Pin;
use self::recipes::Recipe;
use crate::workspace::Workspace;

/// A real program that tests or commands start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tool {
    /// The proxy; `dev` and the end-to-end tests run it
    Envoy,
    /// The Kubernetes command line, which tests run against the embedded API server
    Kubectl,
    /// The check of licences, duplicates, sources and advisories
    CargoDeny,
    /// The Go toolchain; only needed where none is on the PATH
    Go,
    /// The store of a Kubernetes control plane
    Etcd,
    /// The real Kubernetes API server
    KubeApiserver,
    /// Kubernetes' own controllers
    KubeControllerManager,
    /// What chooses nodes for Pods
    KubeScheduler,
    /// Let's Encrypt's small ACME server
    Pebble,
    /// The DNS server that Pebble asks
    PebbleChalltestsrv,
}

/// What is installed when nothing is named: what every contributor needs. The others take minutes
/// to build.
const USUAL: [Tool; 3] = [Tool::Envoy, Tool::Kubectl, Tool::CargoDeny];

impl Tool {
    /// The name of the program, in `bin` and in the file that pins it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Envoy => "envoy",
            Self::Kubectl => "kubectl",
            Self::CargoDeny => "cargo-deny",
            Self::Go => "go",
            Self::Etcd => "etcd",
            Self::KubeApiserver => "kube-apiserver",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::KubeScheduler => "kube-scheduler",
            Self::Pebble => "pebble",
            Self::PebbleChalltestsrv => "pebble-challtestsrv",
        }
    }

    fn source(self) -> Result<Source> {
        Ok(match recipes::find(self)? {
            Some(recipe) => Source::Module(recipe),
            None => Source::Wheel(pins::find(self)?),
        })
    }
}

/// Where a tool comes from.
enum Source {
    Wheel(Pin),
    Module(Recipe),
}

impl Source {
    fn version(&self) -> &str {
        match self {
            Self::Wheel(pin) => &pin.version,
            Self::Module(recipe) => &recipe.version,
        }
    }

    /// What an installed tool was made from: it is replaced when this differs.
    fn stamp(&self) -> &str {
        match self {
            Self::Wheel(pin) => &pin.text,
            Self::Module(recipe) => &recipe.text,
        }
    }
}

/// Installs what is missing of `only`, or of the usual tools when it is empty, and says where each
/// one is.
pub(crate) fn run(workspace: &Workspace, only: &[Tool]) -> Result<ExitCode> {
    let wanted = if only.is_empty() { &USUAL } else { only };
    let failures = ensure_each(workspace, wanted)?;
    let place = Place::new(workspace);
    for &tool in wanted {
        if let Some((_, error)) = failures.iter().find(|(failed, _)| *failed == tool) {
            eprintln!("error: {error:#}");
        } else {
            eprintln!(
                "{} {} is at {}",
                tool.name(),
                tool.source()?.version(),
                place.program(tool).display()
            );
        }
    }
    Ok(if failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Installs what is missing of `wanted`; the first tool that cannot be installed is the error.
pub(crate) fn ensure(workspace: &Workspace, wanted: &[Tool]) -> Result<()> {
    ensure_each(workspace, wanted)?
        .into_iter()
        .next()
        .map_or(Ok(()), |(_, error)| Err(error))
}

/// Installs what is missing of `wanted`. Gives the tools that could not be installed, each with the
/// reason.
pub(crate) fn ensure_each(
    workspace: &Workspace,
    wanted: &[Tool],
) -> Result<Vec<(Tool, anyhow::Error)>> {
    let place = Place::new(workspace);
    let sources: Vec<(Tool, Source)> = wanted
        .iter()
        .map(|&tool| Ok((tool, tool.source()?)))
        .collect::<Result<_>>()?;
    if sources
        .iter()
        .all(|(tool, source)| place.has(*tool, source))
    {
        return Ok(Vec::new());
    }
    let _lock = place.lock()?;
    let installer = Installer::new(&place);
    let mut builder = Builder::new(workspace, &place);
    let mut failures = Vec::new();
    // Looked at again: whoever held the lock may have installed it.
    for (tool, source) in sources
        .iter()
        .filter(|(tool, source)| !place.has(*tool, source))
        .collect::<Vec<_>>()
    {
        let installed = match source {
            Source::Wheel(pin) => installer.install(*tool, pin),
            Source::Module(recipe) => builder.build(*tool, recipe),
        };
        if let Err(error) = installed {
            failures.push((*tool, error));
        }
    }
    Ok(failures)
}

/// Those of `wanted` that are not there, or not at their version.
pub(crate) fn absent(workspace: &Workspace, wanted: &[Tool]) -> Result<Vec<Tool>> {
    let place = Place::new(workspace);
    let mut absent = Vec::new();
    for &tool in wanted {
        if !place.has(tool, &tool.source()?) {
            absent.push(tool);
        }
    }
    Ok(absent)
}

/// The folder that holds the tools.
struct Place {
    folder: PathBuf,
}

impl Place {
    fn new(workspace: &Workspace) -> Self {
        Self {
            folder: workspace.tools(),
        }
    }

    /// The link by which the tool is called.
    fn program(&self, tool: Tool) -> PathBuf {
        self.folder.join("bin").join(tool.name())
    }

    /// The folder of an installed tool.
    fn package(&self, tool: Tool) -> PathBuf {
        self.folder.join("packages").join(tool.name())
    }

    fn has(&self, tool: Tool, source: &Source) -> bool {
        let stamp = fs::read_to_string(self.package(tool).join(STAMP));
        stamp.is_ok_and(|stamp| stamp == source.stamp()) && self.program(tool).is_file()
    }

    /// Takes the lock of the folder, waiting for a caller that has it. It is released when the file
    /// is dropped, also when the process dies.
    fn lock(&self) -> Result<File> {
        let path = self.folder.join("lock");
        fs::create_dir_all(&self.folder)
            .with_context(|| format!("creating {}", self.folder.display()))?;
        let file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {
                eprintln!("tools: waiting for another install to end");
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("locking {}", path.display()));
            }
        }
        file.lock()
            .with_context(|| format!("locking {}", path.display()))?;
        Ok(file)
    }
}

/// The file in a package's folder that holds the text of the pin it was made from.
const STAMP: &str = ".pin";

/// Checks that the file can be run, and makes it so: unpackers differ in what they keep of the
/// mode.
fn make_executable(program: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    if !program.is_file() {
        bail!("the package has no program at {}", program.display());
    }
    fs::set_permissions(program, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("making {} executable", program.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_counts_as_present_only_with_the_stamp_of_its_pin_and_its_program() {
        let folder = std::env::temp_dir().join(format!("xtask-tools-{}", std::process::id()));
        let place = Place {
            folder: folder.clone(),
        };
        let source = Tool::Envoy.source().unwrap();
        assert!(!place.has(Tool::Envoy, &source));
        fs::create_dir_all(place.package(Tool::Envoy)).unwrap();
        fs::create_dir_all(folder.join("bin")).unwrap();
        fs::write(place.package(Tool::Envoy).join(STAMP), source.stamp()).unwrap();
        assert!(!place.has(Tool::Envoy, &source), "the program is missing");
        fs::write(place.program(Tool::Envoy), "").unwrap();
        assert!(place.has(Tool::Envoy, &source));
        let pin = pins::find(Tool::Envoy).unwrap();
        let newer = Source::Wheel(Pin {
            text: format!("{}\n", pin.text),
            ..pin
        });
        assert!(
            !place.has(Tool::Envoy, &newer),
            "another pin asks for another install"
        );
        fs::remove_dir_all(folder).unwrap();
    }
}
