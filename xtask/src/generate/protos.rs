//! Envoy's messages: `xds/src/proto`, written by the program in `xds/gen`.
//!
//! That program compiles `.proto` files, and building it takes minutes. So a digest of what went in
//! and of what came out is kept in `xtask/protos.txt`: whether the messages are stale is seen by
//! reading files, and the program is built only to write them anew.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::workspace::Workspace;

/// The package of the program, a workspace of its own.
const PROGRAM: &str = "xds/gen";
/// What it is made from: a change of any of these can change what is written.
const INPUTS: [&str; 3] = ["xds/gen/Cargo.toml", "xds/gen/Cargo.lock", "xds/gen/src"];
/// What it writes.
const OUTPUT: &str = "xds/src/proto";
/// The digests of both.
const DIGESTS: &str = "xtask/protos.txt";
/// The package that holds the `.proto` files in its folder `proto`.
const SOURCE: &str = "envoy-types";

/// Fails when the messages are not what the program, as it is now, wrote.
pub(super) fn check(workspace: &Workspace) -> Result<()> {
    let stored = fs::read_to_string(workspace.root().join(DIGESTS))
        .with_context(|| format!("reading {DIGESTS}: run cargo xtask gen"))?;
    if stored == digests(workspace.root())? {
        return Ok(());
    }
    bail!("{OUTPUT} is stale, or was edited by hand: run cargo xtask gen")
}

/// Writes the messages anew, unless they are up to date.
pub(super) fn write(workspace: &Workspace) -> Result<()> {
    if check(workspace).is_ok() {
        return Ok(());
    }
    let protos = proto_folder(workspace)?;
    let fresh = workspace.root().join("target/xds-gen/out");
    eprintln!("building {PROGRAM}, which takes minutes the first time");
    let status = workspace
        .cargo_build("run")
        .args(["--locked", "--manifest-path"])
        .arg(manifest(workspace))
        .arg("--target-dir")
        .arg(workspace.root().join("target/xds-gen"))
        .arg("--")
        .args([&protos, &fresh])
        .status()
        .context("starting cargo run")?;
    if !status.success() {
        bail!("the program in {PROGRAM} failed");
    }
    replace(&fresh, &workspace.root().join(OUTPUT))?;
    let path = workspace.root().join(DIGESTS);
    fs::write(&path, digests(workspace.root())?)
        .with_context(|| format!("writing {}", path.display()))
}

fn manifest(workspace: &Workspace) -> PathBuf {
    workspace.root().join(PROGRAM).join("Cargo.toml")
}

/// Where cargo unpacked the `.proto` files of the pinned version.
fn proto_folder(workspace: &Workspace) -> Result<PathBuf> {
    let metadata = workspace.metadata(&["--locked", "--manifest-path"], &manifest(workspace))?;
    metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|package| package["name"] == SOURCE)
        .and_then(|package| package["manifest_path"].as_str().map(Path::new)?.parent())
        .map(|folder| folder.join("proto"))
        .with_context(|| format!("{PROGRAM} does not name the package {SOURCE}"))
}

/// Makes `to` hold the files of `from` and no others.
fn replace(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("creating {}", to.display()))?;
    for path in files(to)? {
        fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
    }
    for path in files(from)? {
        let name = path.strip_prefix(from).context("naming a generated file")?;
        fs::copy(&path, to.join(name)).with_context(|| format!("writing {}", name.display()))?;
    }
    Ok(())
}

fn digests(root: &Path) -> Result<String> {
    let inputs = INPUTS.map(|input| root.join(input));
    let outputs = [root.join(OUTPUT)];
    Ok(format!(
        "inputs {}\noutputs {}\n",
        digest(root, &inputs)?,
        digest(root, &outputs)?
    ))
}

/// The SHA-256 over the names and contents of these files and of all files in these folders.
fn digest(root: &Path, paths: &[PathBuf]) -> Result<String> {
    let mut hash = Sha256::new();
    for path in paths {
        for file in files(path)? {
            let content = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
            let name = file
                .strip_prefix(root)
                .unwrap_or(&file)
                .to_string_lossy()
                .into_owned();
            // Lengths first, so that no two sets of files give the same bytes.
            hash.update(format!("{} {} {name}\n", name.len(), content.len()));
            hash.update(content);
        }
    }
    Ok(format!("{:x}", hash.finalize()))
}

/// The file itself, or all files of the folder in order.
fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut found = Vec::new();
    let mut entries = fs::read_dir(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("listing {}", path.display()))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        found.extend(files(&entry.path())?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_changes_with_content_and_name() {
        let root = std::env::temp_dir().join(format!("xtask-digest-{}", std::process::id()));
        let folder = root.join("proto");
        fs::create_dir_all(&folder).unwrap();
        let of = || digest(&root, std::slice::from_ref(&folder)).unwrap();
        fs::write(folder.join("a.rs"), "one").unwrap();
        let first = of();
        assert_eq!(first, of());
        fs::write(folder.join("a.rs"), "two").unwrap();
        let edited = of();
        assert_ne!(first, edited);
        fs::rename(folder.join("a.rs"), folder.join("b.rs")).unwrap();
        assert_ne!(edited, of());
        fs::remove_dir_all(root).unwrap();
    }
}
