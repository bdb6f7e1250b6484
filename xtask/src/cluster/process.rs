//! A program that outlives the command that started it, and how it is found again.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use control_plane::{Program, ROLES};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::summary::Stopwatch;

/// How long a program gets to end by itself. kube-apiserver lets requests finish first.
const END_LIMIT: Duration = Duration::from_secs(15);
const END_POLL: Duration = Duration::from_millis(50);
/// How long a process may have no command line before it counts as none of ours.
const STARTED_POLLS: u32 = 100;
const STARTED_POLL: Duration = Duration::from_millis(10);
/// How much of a log is shown when its program failed.
const LAST_LINES: usize = 5;

/// A program of a cluster, with the number it had when it started.
pub(super) struct Process {
    name: &'static str,
    id: i32,
    /// Every one of a cluster's programs is started with options that name its directory, so a
    /// process with this in its command line is ours and not one that has the number by chance.
    directory: PathBuf,
    log: PathBuf,
}

impl Process {
    /// Starts a program apart from this one, so that Ctrl-C in the terminal does not reach it.
    pub(super) fn start(directory: &Path, program: &Program) -> Result<Self> {
        let name = program.role.name();
        let log = File::create(&program.log)
            .with_context(|| format!("creating {}", program.log.display()))?;
        let both = log
            .try_clone()
            .with_context(|| format!("opening {}", program.log.display()))?;
        let child = Command::new(&program.path)
            .args(&program.arguments)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(both)
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {}", program.path.display()))?;
        let id = i32::try_from(child.id()).context("the process has a number out of range")?;
        let file = id_file(directory, name);
        fs::write(&file, format!("{id}\n"))
            .with_context(|| format!("writing {}", file.display()))?;
        Ok(Self {
            name,
            id,
            directory: directory.to_owned(),
            log: program.log.clone(),
        })
    }

    /// What was started in the directory, in the order in which it was, whether it runs or not.
    pub(super) fn held(directory: &Path) -> Result<Vec<Self>> {
        let mut held = Vec::new();
        for role in ROLES {
            let file = id_file(directory, role.name());
            let text = match fs::read_to_string(&file) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other.with_context(|| format!("reading {}", file.display()))?,
            };
            let id = text
                .trim()
                .parse()
                .with_context(|| format!("{} holds no process number", file.display()))?;
            let log = directory.join(format!("{}.log", role.name()));
            held.push(Self {
                name: role.name(),
                id,
                directory: directory.to_owned(),
                log,
            });
        }
        Ok(held)
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Whether the process with the held number is there and is this program of this cluster.
    pub(super) fn runs(&self) -> bool {
        let line = self.command_line();
        let mut arguments = line.split('\0');
        let program = arguments.next().unwrap_or_default();
        let directory = self.directory.to_string_lossy();
        Path::new(program)
            .file_name()
            .is_some_and(|name| name == self.name)
            && arguments.any(|argument| argument.contains(&*directory))
    }

    /// The command line of the process with the held number; empty when there is none, or when it
    /// ended and was not waited for. For a moment after its start, a process has none either.
    fn command_line(&self) -> String {
        for _ in 0..STARTED_POLLS {
            let line = fs::read(format!("/proc/{}/cmdline", self.id)).unwrap_or_default();
            if !line.is_empty() || !self.is_alive() {
                return String::from_utf8_lossy(&line).into_owned();
            }
            pause(STARTED_POLL);
        }
        String::new()
    }

    fn is_alive(&self) -> bool {
        // proc_pid_stat(5): the state stands after the name, which is in brackets.
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id)).unwrap_or_default();
        let state = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.chars().next());
        state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
    }

    /// Asks the program to end and waits; kills it when it does not.
    pub(super) fn end(&self) -> Result<()> {
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            match kill(Pid::from_raw(self.id), signal) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("ending {}", self.name));
                }
            }
            let watch = Stopwatch::start();
            while watch.elapsed() < END_LIMIT {
                if !self.runs() {
                    return Ok(());
                }
                pause(END_POLL);
            }
        }
        bail!("{} (process {}) does not end", self.name, self.id)
    }

    /// The end of the program's log.
    pub(super) fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
        format!(
            "the last lines of {}:\n{}",
            self.log.display(),
            last.join("\n")
        )
    }
}

fn id_file(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.pid"))
}

/// Waits.
#[expect(
    clippy::disallowed_methods,
    reason = "this waits for another program; nothing of the daemon runs here, so no clock to control"
)]
pub(super) fn pause(time: Duration) {
    std::thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use control_plane::Role;

    use super::*;

    /// A directory with a program of etcd's name in it that waits for ever.
    fn waiting(name: &str) -> (PathBuf, Program) {
        let directory =
            std::env::temp_dir().join(format!("xtask-cluster-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("etcd");
        std::os::unix::fs::symlink("/bin/sh", &path).unwrap();
        let pipe = directory.join("pipe");
        assert!(
            Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        // Nobody writes into the pipe, and the shell itself keeps it open.
        let script = "exec 3<> \"$1\"; read forever <&3";
        let pipe = pipe.display().to_string();
        let arguments = ["-c", script, "etcd", &pipe].map(str::to_owned).to_vec();
        let log = directory.join("etcd.log");
        (
            directory,
            Program {
                role: Role::Etcd,
                path,
                arguments,
                log,
            },
        )
    }

    #[test]
    fn a_program_is_found_again_and_ended() {
        let (directory, program) = waiting("found");
        Process::start(&directory, &program).unwrap();
        let held = Process::held(&directory).unwrap();
        assert_eq!(held.len(), 1);
        assert!(held[0].runs());
        held[0].end().unwrap();
        assert!(!held[0].runs());
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn another_process_with_the_held_number_is_not_ours() {
        let directory =
            std::env::temp_dir().join(format!("xtask-cluster-other-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        // This very process: it runs, but is no etcd.
        fs::write(id_file(&directory, "etcd"), std::process::id().to_string()).unwrap();
        let held = Process::held(&directory).unwrap();
        assert!(!held[0].runs());
        fs::remove_dir_all(directory).unwrap();
    }
}
