//! The dependencies: `cargo deny` with the rules in `deny.toml`.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::summary::Outcome;
use crate::tools::{self, Tool};
use crate::workspace::Workspace;

/// Duplicates, licences and sources. Needs no network once cargo-deny is installed and every crate of
/// the lock file was fetched, those of other platforms too: cargo-deny reads them, and fetches nothing.
pub(super) fn check(workspace: &Workspace) -> Result<Outcome> {
    let mut fetch = workspace.cargo("fetch");
    let status = fetch.args(["--locked", "--quiet"]).status();
    if !status.context("starting cargo fetch")?.success() {
        bail!("the dependencies could not be fetched");
    }
    let mut command = cargo_deny(workspace)?;
    command.args([
        "--offline",
        "check",
        "--hide-inclusion-graph",
        "bans",
        "licenses",
        "sources",
    ]);
    let status = command.status().context("starting cargo-deny")?;
    if !status.success() {
        bail!("see above; deny.toml has the rules");
    }
    Ok(Outcome::Passed(String::new()))
}

/// Known faults. Without a database, which only the internet has, this is said and is no failure.
pub(super) fn advisories(workspace: &Workspace) -> Result<Outcome> {
    let mut fetch = cargo_deny(workspace)?;
    // Git gives up a transfer that stands still, and asks nobody for a password.
    fetch
        .args(["fetch", "db"])
        .env("GIT_HTTP_LOW_SPEED_LIMIT", "1000")
        .env("GIT_HTTP_LOW_SPEED_TIME", "30")
        .env("GIT_TERMINAL_PROMPT", "0");
    let fetched = fetch
        .output()
        .context("starting cargo-deny")?
        .status
        .success();
    if !fetched && !has_database() {
        return Ok(Outcome::NotRun("not checked, no database".to_owned()));
    }
    let mut command = cargo_deny(workspace)?;
    command.args(["--offline", "check", "--hide-inclusion-graph", "advisories"]);
    let status = command.status().context("starting cargo-deny")?;
    if !status.success() {
        bail!("see above; deny.toml has the rules");
    }
    Ok(Outcome::Passed(if fetched {
        String::new()
    } else {
        "the database could not be brought up to date".to_owned()
    }))
}

fn cargo_deny(workspace: &Workspace) -> Result<Command> {
    tools::ensure(workspace, &[Tool::CargoDeny])?;
    let mut command = Command::new(workspace.tools().join("bin").join(Tool::CargoDeny.name()));
    command
        .current_dir(workspace.root())
        .args(["--workspace", "--locked"]);
    Ok(command)
}

/// True when cargo-deny fetched a database at an earlier time, into the place where it keeps them.
fn has_database() -> bool {
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(env::home_dir()?.join(".cargo")));
    let Some(Ok(entries)) = home.map(|home| fs::read_dir(home.join("advisory-dbs"))) else {
        return false;
    };
    entries
        .flatten()
        .any(|entry| entry.path().join(".git").exists())
}
