//! `cargo xtask test`: the tests of the workspace, and what of them could not run here.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::tools::{self, Tool};
use crate::workspace::{self, Workspace};

/// Test programs that start a real program, by the beginning of their name: `tests/envoy.rs`,
/// `tests/e2e_rotate.rs`.
const REAL: [(&str, &[Tool]); 4] = [
    ("envoy", &[Tool::Envoy]),
    ("kubectl", &[Tool::Kubectl]),
    ("e2e", &[Tool::Envoy, Tool::Kubectl]),
    ("cluster", &CLUSTER),
];

/// What is installed for the tests: seconds.
const INSTALLED: [Tool; 2] = [Tool::Envoy, Tool::Kubectl];

/// What is built for the tests in CI, and elsewhere only when somebody asks for it: minutes.
const BUILT: [Tool; 6] = [
    Tool::Etcd,
    Tool::KubeApiserver,
    Tool::KubeControllerManager,
    Tool::KubeScheduler,
    Tool::Pebble,
    Tool::PebbleChalltestsrv,
];

/// What the tests on a real control plane need: the rest of a gateway as well.
const CLUSTER: [Tool; 8] = [
    Tool::Envoy,
    Tool::Kubectl,
    Tool::Etcd,
    Tool::KubeApiserver,
    Tool::KubeControllerManager,
    Tool::KubeScheduler,
    Tool::Pebble,
    Tool::PebbleChalltestsrv,
];

/// Which tests to run, and how.
pub(crate) struct Selection {
    /// Leave out what needs a real program.
    pub(crate) fast: bool,
    /// Only tests whose name contains this.
    pub(crate) filter: Option<String>,
    /// For the test programs.
    pub(crate) args: Vec<String>,
}

/// Runs the tests, prints a summary and gives success when all that ran passed and nothing was left
/// out in CI.
pub(crate) fn run(workspace: &Workspace, selection: &Selection) -> Result<ExitCode> {
    let missing = if selection.fast {
        let why = "left out by --fast".to_owned();
        CLUSTER.iter().map(|&tool| (tool, why.clone())).collect()
    } else {
        missing_tools(workspace)?
    };
    let incomplete = workspace::in_ci() && !selection.fast && !missing.is_empty();
    let (run, left_out) = split(workspace, &missing)?;

    let mut count = Count::default();
    let mut ok = true;
    if left_out.is_empty() {
        ok &= cargo_test(workspace, selection, &[], &mut count)?;
    } else {
        // Naming targets leaves out the examples in the documentation, which cargo runs only alone
        // then.
        let mut targets = vec!["--lib".to_owned(), "--bins".to_owned()];
        targets.extend(run.into_iter().flat_map(|test| ["--test".to_owned(), test]));
        ok &= cargo_test(workspace, selection, &targets, &mut count)?;
        ok &= cargo_test(workspace, selection, &["--doc".to_owned()], &mut count)?;
    }

    let mut out = io::stdout().lock();
    writeln!(out, "\nSummary")?;
    for name in &count.failed_names {
        writeln!(out, "  failed   {name}")?;
    }
    for (name, why) in &left_out {
        writeln!(out, "  not run  test program {name}: {why}")?;
    }
    if let Some(filter) = selection
        .filter
        .as_ref()
        .filter(|_| ok && count.passed == 0)
    {
        writeln!(out, "  no test has a name that contains {filter:?}")?;
        ok = false;
    }
    if incomplete {
        writeln!(out, "  failed   CI is set: nothing may be left out")?;
        ok = false;
    }
    let Count {
        passed,
        failed,
        ignored,
        ..
    } = count;
    writeln!(
        out,
        "tests: {passed} passed, {failed} failed, {ignored} skipped"
    )?;
    Ok(if ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The tools that tests need and that are not in place, each with what the summary says of it.
fn missing_tools(workspace: &Workspace) -> Result<Vec<(Tool, String)>> {
    let mut wanted = INSTALLED.to_vec();
    let mut reasons = Vec::new();
    if workspace::in_ci() {
        wanted.extend(BUILT);
    } else {
        let absent = tools::absent(workspace, &BUILT)?;
        let names: Vec<&str> = absent.iter().map(|tool| tool.name()).collect();
        let why = format!("cargo xtask tools --only {}", names.join(","));
        reasons.extend(absent.iter().map(|&tool| (tool, why.clone())));
    }
    for (tool, error) in tools::ensure_each(workspace, &wanted)? {
        eprintln!("warning: {error:#}");
        reasons.push((tool, format!("{} could not be installed", tool.name())));
    }
    Ok(reasons)
}

/// The names of the integration test programs that can run, and those that cannot with the reason.
fn split(
    workspace: &Workspace,
    missing: &[(Tool, String)],
) -> Result<(Vec<String>, BTreeMap<String, String>)> {
    let mut run = Vec::new();
    let mut left_out = BTreeMap::new();
    if missing.is_empty() {
        return Ok((run, left_out));
    }
    for test in workspace
        .packages()?
        .into_iter()
        .flat_map(|package| package.tests)
    {
        match missing
            .iter()
            .find(|(tool, _)| needed_by(&test).contains(tool))
        {
            Some((_, why)) => {
                left_out.insert(test, why.clone());
            }
            None => run.push(test),
        }
    }
    run.sort();
    run.dedup();
    Ok((run, left_out))
}

fn needed_by(test: &str) -> &'static [Tool] {
    REAL.iter()
        .find(|(prefix, _)| test.starts_with(prefix))
        .map_or(&[], |(_, tools)| tools)
}

/// Runs `cargo test` over the workspace, shows what it prints and counts it. True when it
/// succeeded.
fn cargo_test(
    workspace: &Workspace,
    selection: &Selection,
    targets: &[String],
    count: &mut Count,
) -> Result<bool> {
    let mut command = workspace.cargo("test");
    command
        .args(["--workspace", "--no-fail-fast"])
        .args(targets)
        .args(&selection.filter)
        .arg("--")
        .args(&selection.args)
        .env("GATEWRIGHT_TOOLS", workspace.tools())
        .env_remove("GATEWRIGHT_UPDATE");
    count_while_showing(command, count)
}

fn count_while_showing(mut command: Command, count: &mut Count) -> Result<bool> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .context("starting cargo test")?;
    let Some(stdout) = child.stdout.take() else {
        bail!("cargo test was started without its output");
    };
    let mut out = io::stdout().lock();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.context("reading the output of cargo test")?;
        out.write_all(&line)?;
        out.write_all(b"\n")?;
        count.line(&String::from_utf8_lossy(&line));
    }
    Ok(child.wait().context("waiting for cargo test")?.success())
}

/// What the test programs said of themselves.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    passed: usize,
    failed: usize,
    ignored: usize,
    failed_names: Vec<String>,
}

impl Count {
    fn line(&mut self, line: &str) {
        if let Some(counts) = line.strip_prefix("test result: ") {
            self.passed += number_before(counts, " passed");
            self.failed += number_before(counts, " failed");
            self.ignored += number_before(counts, " ignored");
        } else if let Some(name) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            self.failed_names.push(name.to_owned());
        }
    }
}

fn number_before(text: &str, word: &str) -> usize {
    let before = text.split_once(word).map_or("", |(before, _)| before);
    let digits = before
        .rsplit(|c: char| !c.is_ascii_digit())
        .next()
        .unwrap_or("");
    digits.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_several_test_programs_add_up() {
        let mut count = Count::default();
        for line in [
            "running 13 tests",
            "test sign::vectors ... ok",
            "test plan::drains_first ... FAILED",
            "test result: FAILED. 11 passed; 1 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.10s",
            "test result: ok. 120 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s",
        ] {
            count.line(line);
        }
        let expected = Count {
            passed: 131,
            failed: 1,
            ignored: 1,
            failed_names: vec!["plan::drains_first".into()],
        };
        assert_eq!(count, expected);
    }

    #[test]
    fn what_tests_need_is_installed_or_built() {
        for (_, tools) in REAL {
            for tool in tools {
                assert!(INSTALLED.contains(tool) ^ BUILT.contains(tool), "{tool:?}");
            }
        }
    }

    #[test]
    fn test_programs_say_by_their_name_which_tools_they_need() {
        assert_eq!(needed_by("envoy"), [Tool::Envoy]);
        assert_eq!(needed_by("kubectl"), [Tool::Kubectl]);
        assert_eq!(needed_by("e2e_rotation"), [Tool::Envoy, Tool::Kubectl]);
        assert!(needed_by("cluster_quickstart").contains(&Tool::KubeApiserver));
        assert!(needed_by("scenario").is_empty());
    }
}
