//! Benchmarks of the whole loop: a plain program that prints tables.
//!
//! `cargo xtask bench [NAME] [--json] [--quick]`. Each benchmark runs in a process of its own, one
//! after the other, so that none finds another's threads or memory.

mod api_server;
mod certificates;
mod figures;
mod planning;
mod quickstart;
mod reissue;
mod rotation;
mod traffic;
mod world;

use std::io::Write as _;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use figures::Report;

/// The benchmarks in the order in which they run.
const ALL: [&str; 6] = [
    "quickstart",
    "rotation",
    "reissue",
    "traffic",
    "api-server",
    "plan",
];
/// Says to a child process which benchmark it is.
const CHILD: &str = "--child";

/// How the program was called.
#[derive(Default)]
struct Call {
    names: Vec<String>,
    child: Option<String>,
    json: bool,
    quick: bool,
}

/// How much is measured.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    quick: bool,
}

impl Effort {
    /// `full` repetitions, or a tenth of them (at least two) when a quick look is enough.
    pub(crate) fn times(self, full: usize) -> usize {
        if self.quick { (full / 10).max(2) } else { full }
    }
}

fn main() -> ExitCode {
    let ran = read(std::env::args().skip(1)).and_then(|call| match &call.child {
        Some(name) => run(name, &call),
        None => run_each(&call),
    });
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn read(args: impl Iterator<Item = String>) -> Result<Call> {
    let mut call = Call::default();
    let mut args = args;
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--json" => call.json = true,
            "--quick" => call.quick = true,
            // Cargo says this to every benchmark program.
            "--bench" => {}
            CHILD => call.child = args.next(),
            option if option.starts_with('-') => {
                bail!("no such option: {option}; there are --json and --quick")
            }
            name => call.names.push(name.to_owned()),
        }
    }
    Ok(call)
}

/// Runs what was asked for, each in a process of its own.
fn run_each(call: &Call) -> Result<()> {
    let wanted = |bench: &str| {
        call.names.is_empty() || call.names.iter().any(|n| bench.contains(n.as_str()))
    };
    let benches: Vec<&str> = ALL.into_iter().filter(|bench| wanted(bench)).collect();
    if benches.is_empty() {
        bail!("no benchmark has such a name; there are {}", ALL.join(", "));
    }
    let program = std::env::current_exe().context("finding this program")?;
    for bench in benches {
        let mut child = Command::new(&program);
        child.args([CHILD, bench]);
        child.args(call.json.then_some("--json"));
        child.args(call.quick.then_some("--quick"));
        let status = child
            .status()
            .with_context(|| format!("starting benchmark {bench}"))?;
        if !status.success() {
            bail!("benchmark {bench} failed");
        }
    }
    Ok(())
}

fn run(name: &str, call: &Call) -> Result<()> {
    gatewright_tests::log();
    let effort = Effort { quick: call.quick };
    let mut report = Report::new(name);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("starting the runtime")?;
    runtime.block_on(async {
        match name {
            "quickstart" => quickstart::run(effort, &mut report).await,
            "rotation" => rotation::run(effort, &mut report).await,
            "reissue" => reissue::run(effort, &mut report).await,
            "traffic" => traffic::run(effort, &mut report).await,
            "api-server" => api_server::run(effort, &mut report).await,
            "plan" => planning::run(effort, &mut report),
            other => bail!("no benchmark is called {other}"),
        }
    })?;
    let text = if call.json {
        report.json()
    } else {
        report.table()
    };
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("printing")
}
