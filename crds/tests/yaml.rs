//! The files in `crds/yaml` are what the types say.

use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("yaml")
}

#[test]
fn files_are_what_the_types_say() {
    let files = gatewright_crds::yaml().unwrap();
    if std::env::var_os("GATEWRIGHT_UPDATE").is_some() {
        std::fs::create_dir_all(folder()).unwrap();
        for (name, text) in &files {
            std::fs::write(folder().join(name), text).unwrap();
        }
    }
    for (name, text) in &files {
        let stored = std::fs::read_to_string(folder().join(name)).unwrap_or_default();
        assert!(
            stored == *text,
            "crds/yaml/{name} is out of date: run `cargo xtask gen`"
        );
    }
    let mut stored: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut named: Vec<String> = files.into_iter().map(|(name, _)| name).collect();
    stored.sort();
    named.sort();
    assert_eq!(
        stored, named,
        "crds/yaml holds a file of no kind, or lacks one"
    );
}

#[test]
fn files_read_back_as_the_same_definitions() {
    let definitions = gatewright_crds::all().unwrap();
    for ((name, text), definition) in gatewright_crds::yaml().unwrap().iter().zip(&definitions) {
        let read: serde_json::Value = serde_saphyr::from_str(text).unwrap();
        assert_eq!(read, serde_json::to_value(definition).unwrap(), "{name}");
    }
}
