//! Which programs are built from Go modules, and how.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use super::Tool;

/// How one program is built.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Recipe {
    /// The folder of `xtask/tools` with the `go.mod`.
    pub(super) folder: &'static str,
    /// The package to build, as `go build` takes it.
    pub(super) package: &'static str,
    /// The version of its module.
    pub(super) version: String,
    /// For `-ldflags`.
    pub(super) linking: String,
    /// What the program is made from: versions, sums and flags.
    pub(super) text: String,
}

impl Recipe {
    /// What to tell somebody who waits, to be put after a sentence.
    pub(super) fn remark(&self) -> &'static str {
        if self.folder == KUBERNETES.name {
            "; the first program of Kubernetes takes about five minutes on two cores, the others less"
        } else {
            ""
        }
    }
}

/// The files of a folder of `xtask/tools`, as they were when this was compiled.
struct Folder {
    name: &'static str,
    module: &'static str,
    go_mod: &'static str,
    go_sum: &'static str,
}

macro_rules! folder {
    ($name:literal, $module:literal) => {
        Folder {
            name: $name,
            module: $module,
            go_mod: include_str!(concat!("../../tools/", $name, "/go.mod")),
            go_sum: include_str!(concat!("../../tools/", $name, "/go.sum")),
        }
    };
}

macro_rules! program {
    ($path:literal) => {
        include_str!(concat!("../../tools/", $path, "/main.go"))
    };
}

const KUBERNETES: Folder = folder!("kubernetes", "k8s.io/kubernetes");
const ETCD: Folder = folder!("etcd", "go.etcd.io/etcd/server/v3");
const PEBBLE: Folder = folder!("pebble", "github.com/letsencrypt/pebble/v2");

/// What all are built with: no path of this machine and no C compiler in the result, and nothing
/// but what `go.sum` lists.
pub(super) const FLAGS: [&str; 4] = [
    "-trimpath",
    "-buildvcs=false",
    "-mod=readonly",
    "-modcacherw",
];

/// The recipe of a tool; `None` for one that comes as a wheel.
pub(super) fn find(tool: Tool) -> Result<Option<Recipe>> {
    let (folder, package, main) = match tool {
        Tool::Envoy | Tool::Kubectl | Tool::CargoDeny | Tool::Go => return Ok(None),
        Tool::Etcd => (ETCD, ".", program!("etcd")),
        Tool::KubeApiserver => (
            KUBERNETES,
            "./kube-apiserver",
            program!("kubernetes/kube-apiserver"),
        ),
        Tool::KubeControllerManager => (
            KUBERNETES,
            "./kube-controller-manager",
            program!("kubernetes/kube-controller-manager"),
        ),
        Tool::KubeScheduler => (
            KUBERNETES,
            "./kube-scheduler",
            program!("kubernetes/kube-scheduler"),
        ),
        Tool::Pebble => (PEBBLE, "github.com/letsencrypt/pebble/v2/cmd/pebble", ""),
        Tool::PebbleChalltestsrv => (
            PEBBLE,
            "github.com/letsencrypt/pebble/v2/cmd/pebble-challtestsrv",
            "",
        ),
    };
    let version = version(folder.go_mod, folder.module).with_context(|| {
        format!(
            "reading the version of {} in xtask/tools/{}/go.mod",
            folder.module, folder.name
        )
    })?;
    let linking = linking(tool, version);
    let mut sum = Sha256::new();
    for part in [folder.go_mod, folder.go_sum, main] {
        sum.update(Sha256::digest(part));
    }
    let mut text = format!("{} {version}\n{} {package}\n", tool.name(), folder.module);
    let sum = sum.finalize();
    let _infallible = writeln!(text, "{} -ldflags {linking:?}\n{sum:x}", FLAGS.join(" "));
    Ok(Some(Recipe {
        folder: folder.name,
        package,
        version: version.to_owned(),
        linking,
        text,
    }))
}

/// Without debugging symbols. Kubernetes learns its version from the linker; without it calls itself
/// v0.0.0, which clients and feature gates take at its word.
fn linking(tool: Tool, version: &str) -> String {
    let mut flags = "-s -w".to_owned();
    let kubernetes = matches!(
        tool,
        Tool::KubeApiserver | Tool::KubeControllerManager | Tool::KubeScheduler
    );
    if kubernetes {
        let mut numbers = version.trim_start_matches('v').split('.');
        let (major, minor) = (
            numbers.next().unwrap_or_default(),
            numbers.next().unwrap_or_default(),
        );
        for (name, value) in [
            ("gitVersion", version),
            ("gitMajor", major),
            ("gitMinor", minor),
        ] {
            let _infallible = write!(flags, " -X k8s.io/component-base/version.{name}={value}");
        }
    }
    flags
}

/// The version that a `go.mod` requires of a module.
fn version<'a>(go_mod: &'a str, module: &str) -> Option<&'a str> {
    go_mod.lines().find_map(|line| {
        let mut words = line
            .split_whitespace()
            .skip_while(|word| *word == "require");
        (words.next() == Some(module))
            .then(|| words.next())
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn every_recipe_pins_a_version_and_has_a_text_of_its_own() {
        let recipes: Vec<Recipe> = Tool::value_variants()
            .iter()
            .filter_map(|tool| find(*tool).unwrap())
            .collect();
        assert_eq!(recipes.len(), 6);
        for recipe in &recipes {
            assert!(recipe.version.starts_with('v'), "{recipe:?}");
            assert_eq!(
                recipes
                    .iter()
                    .filter(|other| other.text == recipe.text)
                    .count(),
                1
            );
        }
    }

    #[test]
    fn the_programs_of_kubernetes_are_told_their_version() {
        let flags = linking(Tool::KubeScheduler, "v1.37.2");
        for flag in ["gitVersion=v1.37.2", "gitMajor=1", "gitMinor=37"] {
            assert!(
                flags.split('.').count() > 1 && flags.contains(flag),
                "{flags}"
            );
        }
        assert_eq!(linking(Tool::Etcd, "v3.7.3"), "-s -w");
    }

    #[test]
    fn a_version_is_found_in_a_list_and_alone() {
        let go_mod = "require (\n\ta.org/b v1.2.3\n)\nrequire c.org/d/v2 v2.0.1 // indirect\n";
        assert_eq!(version(go_mod, "a.org/b"), Some("v1.2.3"));
        assert_eq!(version(go_mod, "c.org/d/v2"), Some("v2.0.1"));
        assert_eq!(version(go_mod, "c.org/d"), None);
    }
}
