//! The program itself: `gatewright dev` on this machine.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed step is a failed test"
)]

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use gatewright_seams::Clock;
use gatewright_tests::{envoy, processes_of};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

const START_LIMIT: Duration = Duration::from_mins(2);
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// The program, beside the directory of this test.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().with_file_name("gatewright");
    assert!(
        program.exists(),
        "no program at {}: run `cargo build`",
        program.display()
    );
    program
}

/// A place of its own for what `dev` keeps, and homes that must stay empty.
struct Place {
    clock: Clock,
    directory: PathBuf,
}

impl Place {
    fn new(name: &str) -> Self {
        let directory =
            std::env::temp_dir().join(format!("gatewright-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&directory));
        std::fs::create_dir_all(directory.join("elsewhere")).unwrap();
        Self {
            clock: Clock::system(),
            directory,
        }
    }

    fn state(&self) -> PathBuf {
        self.directory.join("state")
    }

    fn dev(&self, envoy: &Path, more: &[&str]) -> Command {
        let elsewhere = self.directory.join("elsewhere");
        let mut command = Command::new(program());
        command
            .args(["--log", "info", "dev", "--state-dir"])
            .arg(self.state())
            .arg("--envoy")
            .arg(envoy)
            .args(more)
            .current_dir(&elsewhere)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &elsewhere)
            .env("TMPDIR", &elsewhere)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs `dev` to its end.
    async fn run(&self, envoy: &Path, more: &[&str]) -> (bool, String, String) {
        let output = self.dev(envoy, more).output();
        let output = self.clock.timeout(START_LIMIT, output).await;
        let Output {
            status,
            stdout,
            stderr,
        } = output.expect("dev did not end").unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.success(), text(stdout), text(stderr))
    }

    fn assert_nothing_left(&self) {
        // The test itself has the directory's name on no command line.
        let left = processes_of(&self.state());
        assert!(left.is_empty(), "processes are left: {left:?}");
        let files: Vec<_> = std::fs::read_dir(self.directory.join("elsewhere"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert!(
            files.is_empty(),
            "files outside the state directory: {files:?}"
        );
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A test that failed has killed its `dev`, which then could not end its Envoys.
        for id in processes_of(&self.state()) {
            drop(
                std::process::Command::new("kill")
                    .arg(id.to_string())
                    .status(),
            );
        }
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

fn curl_line(output: &str) -> &str {
    output
        .lines()
        .find(|line| line.starts_with("curl "))
        .unwrap_or_else(|| panic!("no curl line in {output}"))
}

fn assert_table(output: &str) {
    for part in [
        "GATEWAY",
        "istio-system/ingressgateway",
        "LOAD BALANCER",
        "istio-system/istio-ingressgateway-internal",
        "CERTIFICATE",
        "istio-system/shop",
        "EXPIRES",
        "PROXY",
        "SERVES",
    ] {
        assert!(output.contains(part), "no {part:?} in {output}");
    }
}

/// A `dev` that runs until it is told to stop.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// What it printed until it was ready.
    printed: String,
}

async fn start(place: &Place, envoy: &Path) -> Running {
    let mut child = place.dev(envoy, &[]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut printed = String::new();
    let ready = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            printed.push_str(&line);
            printed.push('\n');
            if line.starts_with("Ctrl-C") {
                return;
            }
        }
        panic!("dev ended: {printed}");
    };
    place
        .clock
        .timeout(START_LIMIT, ready)
        .await
        .expect("dev was not ready in time");
    Running {
        child,
        lines,
        printed,
    }
}

/// Ctrl-C; returns what it logged.
async fn interrupt(place: &Place, mut running: Running) -> String {
    let id = running.child.id().unwrap().to_string();
    let mut stderr = running.child.stderr.take().unwrap();
    let mut log = String::new();
    let ended = async {
        let sent = Command::new("kill").args(["-INT", &id]).status();
        assert!(sent.await.unwrap().success());
        while running.lines.next_line().await.unwrap().is_some() {}
        stderr.read_to_string(&mut log).await.unwrap();
        running.child.wait().await.unwrap()
    };
    let status = place.clock.timeout(STOP_LIMIT, ended).await;
    let status = status.expect("dev did not stop in time");
    assert!(status.success(), "{status}: {log}");
    log
}

async fn shell(place: &Place, line: &str) -> (bool, String) {
    let output = Command::new("sh").args(["-c", line]).output();
    let output = place.clock.timeout(START_LIMIT, output).await;
    let output = output.expect("the shell did not end").unwrap();
    let mut text = String::from_utf8(output.stdout).unwrap();
    text.push_str(&String::from_utf8(output.stderr).unwrap());
    (output.status.success(), text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dev_starts_serves_stops_resumes_and_starts_clean() {
    let place = Place::new("dev");
    let envoy = envoy();
    let (good, output, log) = place.run(&envoy, &["--once"]).await;
    assert!(good, "{output}\n{log}");
    assert_table(&output);
    let line = curl_line(&output).to_owned();
    // These say that something is made: they must not come a second time.
    assert!(log.contains("applying") && log.contains("issuing"), "{log}");
    place.assert_nothing_left();
    let root = std::fs::read(place.state().join("acme-root.pem")).unwrap();

    let running = start(&place, &envoy).await;
    assert_table(&running.printed);
    assert_eq!(curl_line(&running.printed), line, "another address");
    let lines = running.printed.lines();
    for line in lines.filter(|line| line.starts_with("curl ")) {
        let (good, text) = shell(&place, line).await;
        assert!(good && text.contains("hello from hello-"), "{line}: {text}");
    }
    let kubectl = envoy.with_file_name("kubectl");
    let kubeconfig = place.state().join("kubeconfig");
    let home = place.state().join("kubectl-cache");
    let get = format!(
        "{} --kubeconfig {} --cache-dir {} get certificate shop -n istio-system \
         -o jsonpath={{.status.revision}}",
        kubectl.display(),
        kubeconfig.display(),
        home.display()
    );
    let (good, revision) = shell(&place, &get).await;
    assert!(good && revision == "1", "issued anew: {revision}");
    let (good, output, complaint) = place.run(&envoy, &["--once"]).await;
    assert!(
        !good && complaint.contains("another gatewright dev uses"),
        "{output}\n{complaint}"
    );
    let log = interrupt(&place, running).await;
    assert!(
        !log.contains("applying") && !log.contains("issuing"),
        "something was made a second time: {log}"
    );
    place.assert_nothing_left();
    let (good, text) = shell(&place, &format!("{line} --max-time 5")).await;
    assert!(!good, "a socket is left: {text}");
    assert_eq!(
        std::fs::read(place.state().join("acme-root.pem")).unwrap(),
        root
    );

    let (good, output, log) = place.run(&envoy, &["--once", "--fresh"]).await;
    assert!(good, "{output}\n{log}");
    assert!(log.contains("applying") && log.contains("issuing"), "{log}");
    assert_ne!(
        std::fs::read(place.state().join("acme-root.pem")).unwrap(),
        root,
        "the old authority is still there"
    );
    place.assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_path_to_envoy_is_said_before_anything_is_started() {
    let place = Place::new("dev-no-envoy");
    let (good, output, complaint) = place.run(Path::new("/no/such/envoy"), &["--once"]).await;
    assert!(!good, "{output}");
    assert!(
        complaint.contains("no Envoy at /no/such/envoy") && complaint.contains("--envoy"),
        "{complaint}"
    );
    assert!(!place.state().exists(), "a state directory was made");
    place.assert_nothing_left();
}
