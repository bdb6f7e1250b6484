//! The pages in `docs/reference` are what the program's definitions give. A test program of its
//! own, so that `cargo xtask gen` can run it alone; `GATEWRIGHT_UPDATE=1` writes the pages anew.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::path::Path;

use gatewright::cli::reference::{command_line, configuration};

fn compare(page: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs/reference")
        .join(page);
    if std::env::var_os("GATEWRIGHT_UPDATE").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
    }
    let stored = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        stored == text,
        "{} is stale: run cargo xtask gen",
        file.display()
    );
}

#[test]
fn configuration_reference_is_current() {
    compare("configuration.md", &configuration());
}

#[test]
fn command_line_reference_is_current() {
    compare("command-line.md", &command_line());
}
