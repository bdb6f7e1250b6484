//! Naming fields of an object, and finding which of a list of fields an object sets.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

/// A field of an object as a user would write it: `spec.http[0].fault`.
///
/// Keys that hold a dot stand in brackets: `spec.overrides[c1].kernel`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldPath(String);

impl FieldPath {
    /// A path from its spelling.
    pub fn new(path: impl Into<String>) -> Self {
        Self(path.into())
    }

    /// The spelling.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn field(&self, name: &str) -> Self {
        Self(format!("{}.{name}", self.0))
    }

    fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The fields named by `patterns` that `object` sets, in the order of the patterns.
///
/// `root` is the path of `object` itself (`spec`). A pattern is a path below it where `[]` stands
/// for each entry of a list: `http[].fault`. False, 0-length and empty values, also nested, count
/// as not set: files from the field are full of `compression: {}`.
pub(crate) fn set_fields(
    root: &str,
    object: &impl Serialize,
    patterns: &[&'static str],
) -> Vec<FieldPath> {
    // The types of this crate hold nothing that JSON cannot say, so there is no error to report.
    let Ok(object) = serde_json::to_value(object) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for pattern in patterns {
        collect(&object, pattern, &FieldPath::new(root), &mut found);
    }
    found
}

fn collect(value: &Value, pattern: &str, path: &FieldPath, found: &mut Vec<FieldPath>) {
    let (step, rest) = match pattern.split_once('.') {
        Some((step, rest)) => (step, Some(rest)),
        None => (pattern, None),
    };
    let (name, each) = match step.strip_suffix("[]") {
        Some(name) => (name, true),
        None => (step, false),
    };
    let Some(value) = value.get(name) else { return };
    let path = path.field(name);
    let targets: Vec<(FieldPath, &Value)> = match value {
        Value::Array(entries) if each => entries
            .iter()
            .enumerate()
            .map(|(i, entry)| (path.index(i), entry))
            .collect(),
        value => vec![(path, value)],
    };
    for (path, value) in targets {
        match rest {
            Some(rest) => collect(value, rest, &path, found),
            None if is_set(value) => found.push(path),
            None => {}
        }
    }
}

fn is_set(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Bool(true) | Value::Number(_) => true,
        Value::String(text) => !text.is_empty(),
        Value::Array(entries) => !entries.is_empty(),
        Value::Object(fields) => fields.values().any(is_set),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_entry_of_a_list_is_named() {
        let object = json!({"http": [{"fault": {"abort": {"httpStatus": 500}}}, {}, {"fault": {"delay": {"fixedDelay": "1s"}}}]});
        let found = set_fields("spec", &object, &["http[].fault"]);
        assert_eq!(
            found,
            [
                FieldPath::new("spec.http[0].fault"),
                FieldPath::new("spec.http[2].fault")
            ]
        );
    }

    #[test]
    fn empty_blocks_count_as_absent() {
        let object = json!({"compression": {}, "kernel": {"parameters": {}}, "sds": {"enabled": false}, "ports": []});
        assert_eq!(
            set_fields("spec", &object, &["compression", "kernel", "sds", "ports"]),
            []
        );
    }
}
