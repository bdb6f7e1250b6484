//! A real program beside the test: started with its output in a file, ended with the test.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use gatewright_seams::Clock;
use tokio::process::{Child, Command};

/// How much of a log is shown.
const LAST_LINES: usize = 60;

/// A started program. It is killed when this is dropped.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` in a process group of its own, with its output in the file `log`.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn start(mut command: Command, log: PathBuf) -> Self {
        let file = std::fs::File::create(&log).expect("a log file");
        let both = file.try_clone().expect("a log file");
        command.stdin(Stdio::null()).stdout(file).stderr(both);
        command.process_group(0).kill_on_drop(true);
        let program = command.as_std().get_program().to_owned();
        let child = command.spawn();
        let child = child.unwrap_or_else(|error| panic!("starting {}: {error}", program.display()));
        Self { child, log }
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// The end of its log.
    pub fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }

    /// All that it said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends it a signal, by the name that `kill` knows.
    ///
    /// # Panics
    /// It has ended, or there is no such signal.
    pub async fn signal(&self, name: &str) {
        let id = self.child.id().expect("a running program").to_string();
        let mut command = Command::new("kill");
        let sent = command.arg(format!("-{name}")).arg(&id).status().await;
        let sent = sent.is_ok_and(|status| status.success());
        assert!(sent, "{name} was not sent to process {id}");
    }

    /// Kills it, as a crash does, and waits until it is gone.
    pub async fn kill(&mut self) {
        // It may have ended meanwhile, which is as good.
        drop(self.child.kill().await);
    }

    /// Asks it to end and waits; kills it after ten seconds.
    pub async fn end(&mut self, clock: Clock) -> Option<ExitStatus> {
        let id = self.child.id()?;
        // `kill` is everywhere, and the crate that calls the system would be here for this alone.
        let asked = Command::new("kill").arg(id.to_string()).status().await;
        let ended = clock
            .timeout(Duration::from_secs(10), self.child.wait())
            .await;
        if let (Ok(_), Ok(Ok(status))) = (asked, ended) {
            return Some(status);
        }
        // It may have ended meanwhile, which is as good.
        drop(self.child.kill().await);
        None
    }
}

/// A program that `cargo xtask tools` put in place.
///
/// # Panics
/// It is not there.
pub fn tool(name: &str) -> PathBuf {
    let tools = std::env::var_os("GATEWRIGHT_TOOLS").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools")),
        PathBuf::from,
    );
    let path = tools.join("bin").join(name);
    assert!(
        path.exists(),
        "no {name} at {}: run `cargo xtask tools --only {name}`",
        path.display()
    );
    path
}

/// The `gatewright` program, built from the sources as they are; or the one that
/// `GATEWRIGHT_PROGRAM` names.
///
/// # Panics
/// It cannot be built.
pub fn gatewright() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    match std::env::var_os("GATEWRIGHT_PROGRAM") {
        Some(program) => program.into(),
        None => BUILT.get_or_init(build).clone(),
    }
}

/// The program belongs to another package than the tests, so cargo does not build it for them.
fn build() -> PathBuf {
    let test = std::env::current_exe().expect("this program's path");
    // TARGET/PROFILE/deps/TEST
    let folder = test.ancestors().nth(2).expect("the folder of a profile");
    let target = folder.parent().expect("the target folder");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = std::process::Command::new(cargo);
    command
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .args([
            "build",
            "--quiet",
            "--package",
            "gatewright",
            "--bin",
            "gatewright",
        ])
        .arg("--target-dir")
        .arg(target);
    if folder.file_name().is_some_and(|name| name == "release") {
        command.arg("--release");
    }
    // Build scripts ask to be run again when one of these changes, which are those of the test.
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        let of_test = name_text.starts_with("CARGO_PKG_")
            || name_text.starts_with("CARGO_MANIFEST_")
            || [
                "CARGO_PRIMARY_PACKAGE",
                "CARGO_CRATE_NAME",
                "CARGO_BIN_NAME",
            ]
            .contains(&&*name_text);
        if of_test {
            command.env_remove(&name);
        }
    }
    let built = command.status();
    assert!(
        built.is_ok_and(|status| status.success()),
        "gatewright could not be built"
    );
    folder.join("gatewright")
}

/// A directory of a test's own, removed when this is dropped.
pub(super) struct Directory(PathBuf);

impl Directory {
    /// Makes `NAME-PROCESS-NUMBER` among the temporary files, empty.
    pub(super) fn make(name: &str, number: u8) -> Self {
        let name = format!("gatewright-{name}-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        drop(std::fs::remove_dir_all(&path));
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}
