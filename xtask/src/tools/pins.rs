//! `xtask/tools.txt`: which version of each tool, and the digests it must have.

use anyhow::{Context as _, Result, bail};

use super::Tool;

const FILE: &str = include_str!("../../tools.txt");

/// One block of the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pin {
    /// The package in the Python index.
    pub(super) package: String,
    /// Its version.
    pub(super) version: String,
    /// Where the program lies in the installed package, relative.
    pub(super) program: String,
    /// The block as it is in the file: a requirement with digests that pip reads.
    pub(super) text: String,
}

/// The pin of a tool.
pub(super) fn find(tool: Tool) -> Result<Pin> {
    read(FILE, tool.name())
        .with_context(|| format!("reading the pin of {} in xtask/tools.txt", tool.name()))
}

fn read(file: &str, name: &str) -> Result<Pin> {
    let mut lines = file.lines().skip_while(|line| !is_header(line, name));
    let header = lines.next().context("there is no such block")?;
    let program = header
        .split_whitespace()
        .nth(3)
        .context("the block does not name its program")?;
    let body: Vec<&str> = lines.take_while(|line| !line.trim().is_empty()).collect();
    let requirement = body
        .iter()
        .find(|line| !line.starts_with('#'))
        .context("the block has no requirement")?;
    let (package, version) = requirement
        .trim_end_matches('\\')
        .trim()
        .split_once("==")
        .context("the requirement does not pin one version")?;
    if !body.iter().any(|line| line.contains("--hash=sha256:")) {
        bail!("the requirement has no digest");
    }
    Ok(Pin {
        package: package.to_owned(),
        version: version.to_owned(),
        program: program.to_owned(),
        text: format!("{header}\n{}\n", body.join("\n")),
    })
}

fn is_header(line: &str, name: &str) -> bool {
    let mut words = line.split_whitespace();
    words.next() == Some("#") && words.next() == Some("tool") && words.next() == Some(name)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::super::recipes;
    use super::*;

    #[test]
    fn every_tool_that_is_not_built_is_pinned_to_one_version_with_digests() {
        for &tool in Tool::value_variants() {
            if recipes::find(tool).unwrap().is_some() {
                continue;
            }
            let pin = find(tool).unwrap();
            assert!(
                pin.version.starts_with(|c: char| c.is_ascii_digit()),
                "{pin:?}"
            );
            assert!(!pin.program.is_empty() && !pin.package.is_empty());
            assert_eq!(
                pin.text.matches("==").count(),
                1,
                "one requirement a block: {}",
                pin.text
            );
        }
    }

    #[test]
    fn a_requirement_without_digest_or_version_is_refused() {
        let unpinned = "# tool envoy bin/envoy\nenvoy-server>=1 \\\n    --hash=sha256:00\n";
        assert!(
            read(unpinned, "envoy")
                .unwrap_err()
                .to_string()
                .contains("one version")
        );
        let unsafe_block = "# tool envoy bin/envoy\nenvoy-server==1\n";
        assert!(
            read(unsafe_block, "envoy")
                .unwrap_err()
                .to_string()
                .contains("no digest")
        );
        assert!(read(unsafe_block, "kubectl").is_err());
    }
}
