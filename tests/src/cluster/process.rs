//! A real program beside the test: started with its output in a file, ended with the test.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
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
/// `GATEWRIGHT_PROGRAM` names, whatever its age.
///
/// # Panics
/// It is missing, or older than a source file.
pub fn gatewright() -> PathBuf {
    if let Some(program) = std::env::var_os("GATEWRIGHT_PROGRAM") {
        return program.into();
    }
    let test = std::env::current_exe().expect("this program's path");
    let folder = test
        .parent()
        .and_then(Path::parent)
        .expect("target/PROFILE/deps/TEST");
    let program = folder.join("gatewright");
    let how = "run `cargo build -p gatewright`; `cargo xtask test` does";
    // Beside the program cargo lists the files it was built from: PROGRAM: FILE FILE ...
    let sources = std::fs::read_to_string(folder.join("gatewright.d"));
    let sources = sources.unwrap_or_else(|_| panic!("no {}: {how}", program.display()));
    let changed = |file: &Path| {
        std::fs::metadata(file)
            .and_then(|meta| meta.modified())
            .ok()
    };
    let built = changed(&program);
    let newer = sources
        .split_whitespace()
        .skip(1)
        .find(|source| changed(Path::new(source)) > built);
    assert!(
        newer.is_none(),
        "{} is older than {newer:?}: {how}",
        program.display()
    );
    program
}
