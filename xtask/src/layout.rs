//! The rules on files that no compiler knows: no `mod.rs`, no module without a subject, and how
//! long files are.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Above this a file is named in the report.
const LONG: usize = 400;
/// Above this a file should be cut.
const TOO_LONG: usize = 600;
/// Names that say nothing of what is inside.
const EMPTY_NAMES: [&str; 3] = ["utils", "helpers", "common"];

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// Broken rules, each a sentence that names the file.
    pub(crate) broken: Vec<String>,
    /// Files over the wanted length with their lines, the longest first.
    pub(crate) long: Vec<(usize, PathBuf)>,
}

impl Report {
    /// One line for a summary.
    pub(crate) fn in_words(&self) -> String {
        let over = self
            .long
            .iter()
            .filter(|(lines, _)| *lines > TOO_LONG)
            .count();
        match self.long.len() {
            0 => format!("no file over {LONG} lines"),
            many => format!("{many} files over {LONG} lines, {over} of them over {TOO_LONG}"),
        }
    }
}

/// Looks at every Rust file under `root`, but not at what is built or hidden.
pub(crate) fn survey(root: &Path) -> Result<Report> {
    let mut report = Report::default();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries =
            fs::read_dir(&folder).with_context(|| format!("listing {}", folder.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("listing {}", folder.display()))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = entry.path();
            if entry
                .file_type()
                .with_context(|| format!("reading {}", path.display()))?
                .is_dir()
            {
                let built = folder == root && name == "target";
                if !built && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if let Some(stem) = name.strip_suffix(".rs") {
                let text = fs::read_to_string(&path)
                    .with_context(|| format!("reading {}", path.display()))?;
                let relative = path.strip_prefix(root).unwrap_or(&path);
                file(relative, stem, &text, &mut report);
            }
        }
    }
    report.broken.sort();
    report
        .long
        .sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    Ok(report)
}

fn file(path: &Path, stem: &str, text: &str, report: &mut Report) {
    // What tests stand on is code like any other: `tests/src`, `tests/simulation/src`.
    let mut kinds = path.iter().rev();
    let kind = kinds.find(|part| ["src", "tests", "benches"].iter().any(|kind| part == kind));
    let in_tests = stem == "tests" || kind.is_some_and(|kind| kind != "src");
    if stem == "mod" {
        report.broken.push(format!(
            "{}: name it after its folder instead",
            path.display()
        ));
    }
    if EMPTY_NAMES.contains(&stem) && !in_tests {
        report.broken.push(format!(
            "{}: the name does not say what it holds",
            path.display()
        ));
    }
    let generated = text.lines().take(3).any(|line| line.contains("@generated"));
    let lines = text.lines().count();
    if lines > LONG && !in_tests && !generated {
        report.long.push((lines, path.to_path_buf()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looked_at(path: &str, text: &str) -> Report {
        let path = Path::new(path);
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let mut report = Report::default();
        file(path, stem, text, &mut report);
        report
    }

    #[test]
    fn names_without_a_subject_are_refused_outside_tests() {
        assert_eq!(looked_at("src/utils.rs", "").broken.len(), 1);
        assert_eq!(looked_at("src/plan/mod.rs", "").broken.len(), 1);
        assert!(looked_at("tests/common.rs", "").broken.is_empty());
        assert!(looked_at("src/plan.rs", "").broken.is_empty());
    }

    #[test]
    fn long_files_are_reported_unless_generated_or_tests() {
        let long = "//\n".repeat(LONG + 1);
        assert_eq!(
            looked_at("src/plan.rs", &long).long,
            [(LONG + 1, "src/plan.rs".into())]
        );
        assert!(
            looked_at("src/plan.rs", &"//\n".repeat(LONG))
                .long
                .is_empty()
        );
        assert!(looked_at("src/plan/tests.rs", &long).long.is_empty());
        assert!(
            looked_at("src/proto.rs", &format!("// @generated\n{long}"))
                .long
                .is_empty()
        );
    }
}
