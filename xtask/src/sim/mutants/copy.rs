//! The copy of the sources with all mutants in it, and its build.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::mutant::Mutant;
use crate::workspace::Workspace;

/// The program's name in the copy; the real one's stays where it is in the target directory.
const PROGRAM: &str = "gatewright-mutants";
/// Added to the version of every package of the copy: cargo takes two packages of the same name and
/// version for one, and each would be built anew after the other.
const VERSION: &str = "-mutants";

/// Builds the simulation with `all` mutants in it; gives the program's path.
pub(super) fn build(workspace: &Workspace, all: &[Mutant]) -> Result<PathBuf> {
    let target = env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace.root().join("target"), PathBuf::from);
    let source = target.join("mutants/source");
    let mut files = BTreeMap::new();
    read_all(workspace.root(), Path::new(""), &mut files)?;
    files.extend(mutated(workspace.root(), all)?);
    rename(&mut files)?;
    write_all(&source, &files)?;
    let status = workspace
        .cargo_build("build")
        .args(["--profile", "sim", "--package", "gatewright-simulation"])
        .args(["--bin", PROGRAM, "--manifest-path"])
        .arg(source.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .status()
        .context("starting cargo build")?;
    if !status.success() {
        bail!("the sources with the mutants do not build");
    }
    Ok(target.join("sim").join(PROGRAM))
}

/// The files that mutants change, by their paths from the root.
pub(super) fn mutated(root: &Path, all: &[Mutant]) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut replaced: BTreeMap<&str, Vec<(usize, usize, String)>> = BTreeMap::new();
    let mut texts: BTreeMap<&str, String> = BTreeMap::new();
    for mutant in all {
        for edit in &mutant.edits {
            let name = &mutant.name;
            let path = root.join(&edit.file);
            if !texts.contains_key(&*edit.file) {
                let text = fs::read_to_string(&path)
                    .with_context(|| format!("mutant {name}: reading {}", edit.file))?;
                texts.insert(&edit.file, text);
            }
            let text = texts.get(&*edit.file).map_or("", String::as_str);
            let mut places = text.match_indices(&edit.code);
            let (Some((begin, _)), None) = (places.next(), places.next()) else {
                bail!(
                    "mutant {name}: its text is not exactly once in {}: write the mutant anew",
                    edit.file
                );
            };
            let held = replaced.entry(&edit.file).or_default();
            let end = begin + edit.code.len();
            if held.iter().any(|(from, to, _)| begin < *to && *from < end) {
                bail!(
                    "mutant {name}: another replaces a part of the same text in {}",
                    edit.file
                );
            }
            held.push((begin, end, edit.compiled(name)));
        }
    }
    let mut files = BTreeMap::new();
    for (file, mut edits) in replaced {
        let mut text = texts.remove(file).unwrap_or_default();
        // From the end, so that the places before stay where they are.
        edits.sort_by_key(|(begin, ..)| std::cmp::Reverse(*begin));
        for (begin, end, mutant) in edits {
            text.replace_range(begin..end, &mutant);
        }
        files.insert(PathBuf::from(file), text.into_bytes());
    }
    Ok(files)
}

/// Every file under `folder`, but what is built or hidden (cargo's settings are hidden and needed).
fn read_all(root: &Path, folder: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) -> Result<()> {
    let listing = || format!("listing {}", root.join(folder).display());
    for entry in fs::read_dir(root.join(folder)).with_context(listing)? {
        let entry = entry.with_context(listing)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let path = folder.join(&*name);
        let kind = entry.file_type().with_context(listing)?;
        if name == "target" || (name.starts_with('.') && name != ".cargo") {
            continue;
        }
        if kind.is_dir() {
            read_all(root, &path, files)?;
        } else if kind.is_file() {
            let bytes = fs::read(root.join(&path))
                .with_context(|| format!("reading {}", path.display()))?;
            files.insert(path, bytes);
        }
    }
    Ok(())
}

/// Gives the copy's packages another version, and its program another name.
fn rename(files: &mut BTreeMap<PathBuf, Vec<u8>>) -> Result<()> {
    edit(files, "Cargo.toml", |text| {
        let (before, after) = text.split_once("[workspace.package]")?;
        let (line, rest) = after.split_once("version = \"")?;
        let (version, rest) = rest.split_once('"')?;
        Some(format!(
            "{before}[workspace.package]{line}version = \"{version}{VERSION}\"{rest}"
        ))
    })?;
    edit(files, "Cargo.lock", |text| {
        let packages = text.split("\n\n").map(|package| {
            // What comes from a registry has a source.
            let ours = package.starts_with("[[package]]") && !package.contains("\nsource = ");
            let version = package.lines().find(|line| line.starts_with("version = "));
            match version.and_then(|line| Some((line, line.strip_suffix('"')?))) {
                Some((line, open)) if ours => package.replace(line, &format!("{open}{VERSION}\"")),
                _ => package.to_owned(),
            }
        });
        Some(packages.collect::<Vec<_>>().join("\n\n"))
    })?;
    edit(files, "tests/simulation/Cargo.toml", |text| {
        let (before, after) = text.split_once("[[bin]]\nname = \"")?;
        let (_, rest) = after.split_once('"')?;
        Some(format!("{before}[[bin]]\nname = \"{PROGRAM}\"{rest}"))
    })
}

fn edit(
    files: &mut BTreeMap<PathBuf, Vec<u8>>,
    path: &str,
    change: impl FnOnce(&str) -> Option<String>,
) -> Result<()> {
    let held = files
        .get_mut(Path::new(path))
        .with_context(|| format!("{path} is missing"))?;
    let text = std::str::from_utf8(held).with_context(|| format!("reading {path}"))?;
    let changed = change(text).with_context(|| format!("{path} is not of the known form"))?;
    *held = changed.into_bytes();
    Ok(())
}

/// Makes `folder` hold `files` and nothing else. What is as it should be is left alone, so that
/// cargo builds only what changed.
fn write_all(folder: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) -> Result<()> {
    let mut held = BTreeMap::new();
    if folder.is_dir() {
        read_all(folder, Path::new(""), &mut held)?;
    }
    for path in held.keys().filter(|path| !files.contains_key(*path)) {
        let path = folder.join(path);
        fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
    }
    let mut made = BTreeSet::new();
    for (path, bytes) in files {
        if held.get(path) == Some(bytes) {
            continue;
        }
        let path = folder.join(path);
        let writing = || format!("writing {}", path.display());
        if let Some(parent) = path
            .parent()
            .filter(|parent| made.insert(parent.to_path_buf()))
        {
            fs::create_dir_all(parent).with_context(writing)?;
        }
        fs::write(&path, bytes).with_context(writing)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::mutant::Edit;
    use super::*;

    fn mutant(code: &str) -> Mutant {
        Mutant {
            name: "one".into(),
            what: "It is wrong.".into(),
            found: None,
            edits: vec![Edit {
                file: "xtask/src/main.rs".into(),
                code: code.into(),
                mutant: "MUTANT\n".into(),
            }],
        }
    }

    #[test]
    fn a_text_that_is_not_there_once_is_refused() {
        let workspace = Workspace::locate().unwrap();
        let replaced = |code: &str| mutated(workspace.root(), &[mutant(code)]);
        assert!(replaced("fn main() -> ExitCode {\n").is_ok());
        assert!(replaced("no such line\n").is_err());
        assert!(replaced("}\n").is_err());
        let twice = [
            mutant("fn main() -> ExitCode {\n"),
            mutant("fn main() -> ExitCode {\n"),
        ];
        assert!(mutated(workspace.root(), &twice).is_err());
    }

    #[test]
    fn the_packages_of_the_copy_have_another_version_and_those_of_others_not() {
        let workspace = Workspace::locate().unwrap();
        let mut files = BTreeMap::new();
        for path in ["Cargo.toml", "Cargo.lock", "tests/simulation/Cargo.toml"] {
            files.insert(
                PathBuf::from(path),
                fs::read(workspace.root().join(path)).unwrap(),
            );
        }
        rename(&mut files).unwrap();
        let text = |path: &str| String::from_utf8(files[Path::new(path)].clone()).unwrap();
        let lock = text("Cargo.lock");
        let package = |name: &str| {
            let begin = format!("[[package]]\nname = \"{name}\"\n");
            lock.split("\n\n")
                .find(|held| held.starts_with(&begin))
                .unwrap()
        };
        assert!(package("gatewright-core").contains("-mutants\""));
        assert!(!package("anyhow").contains("-mutants\""));
        assert!(text("Cargo.toml").contains("-mutants\""));
        assert!(text("tests/simulation/Cargo.toml").contains("name = \"gatewright-mutants\""));
    }
}
