//! A server, and kubectl in front of it.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use gatewright_seams::{Clock, Random, Tasks};
use local_kube::{Access, LocalKube, Options, Storage};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

pub(super) const LIMIT: Duration = Duration::from_mins(1);

fn binary() -> PathBuf {
    let tools = std::env::var_os("GATEWRIGHT_TOOLS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/tools"),
        PathBuf::from,
    );
    let binary = tools.join("bin/kubectl");
    assert!(
        binary.exists(),
        "{} is missing: run `cargo xtask tools`",
        binary.display()
    );
    binary
}

/// A server, its kubeconfig, and a home folder for kubectl's cache.
pub(super) struct Server {
    pub(super) home: PathBuf,
    tasks: Tasks,
}

/// What a run of kubectl gave.
pub(super) struct Run {
    pub(super) ok: bool,
    pub(super) out: String,
    pub(super) err: String,
}

impl Server {
    pub(super) async fn start(name: &str) -> Self {
        let home = std::env::temp_dir().join(format!("kubectl-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&home).unwrap();
        let tasks = Tasks::new();
        let local = LocalKube::start(Options {
            storage: Storage::Memory,
            clock: Clock::system(),
            random: Random::seeded(1),
            tasks: tasks.clone(),
        })
        .await
        .unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let access = Access::generate().unwrap();
        let config = local.kubeconfig(listener.local_addr().unwrap(), &access);
        std::fs::write(home.join("config"), config).unwrap();
        tasks.spawn_graceful("server", async move {
            local.serve(listener, access).await.unwrap();
        });
        Self { home, tasks }
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .args(arguments)
            .env_clear()
            .env("HOME", &self.home)
            .env("KUBECONFIG", self.home.join("config"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    pub(super) async fn feed(&self, arguments: &[&str], input: &str) -> Run {
        self.finish(self.command(arguments), input).await
    }

    /// Runs a command to its end.
    pub(super) async fn finish(&self, mut command: Command, input: &str) -> Run {
        let run = async {
            let mut child = command.spawn().unwrap();
            let mut stdin = child.stdin.take().unwrap();
            stdin.write_all(input.as_bytes()).await.unwrap();
            drop(stdin);
            child.wait_with_output().await.unwrap()
        };
        let output = Clock::system()
            .timeout(LIMIT, run)
            .await
            .expect("kubectl did not end");
        Run {
            ok: output.status.success(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs a command line that must succeed; gives what it printed.
    pub(super) async fn run(&self, line: &str) -> String {
        self.run_with(line, "").await
    }

    pub(super) async fn run_with(&self, line: &str, input: &str) -> String {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        let run = self.feed(&arguments, input).await;
        assert!(run.ok, "kubectl {line} failed: {}{}", run.out, run.err);
        run.out
    }

    /// Runs a command line that must fail; gives what it complained.
    pub(super) async fn fail_with(&self, line: &str, input: &str) -> String {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        let run = self.feed(&arguments, input).await;
        assert!(!run.ok, "kubectl {line} did not fail: {}", run.out);
        run.err
    }

    pub(super) async fn stop(self) {
        assert!(self.tasks.stop(LIMIT).await, "the server did not stop");
        std::fs::remove_dir_all(&self.home).unwrap();
    }
}
