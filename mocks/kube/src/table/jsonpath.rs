//! The JSONPath that printer columns may use: fields, indexes, wildcards, filters by equality.
//! <https://kubernetes.io/docs/reference/kubectl/jsonpath/>

use serde_json::Value;

enum Step {
    Field(String),
    Index(i64),
    All,
    /// `?(@.field=="value")`
    Filter {
        path: String,
        wanted: String,
        equal: bool,
    },
}

/// What a path finds.
pub(super) fn find<'a>(object: &'a Value, path: &str) -> Vec<&'a Value> {
    let mut found = vec![object];
    for step in parse(path) {
        found = found
            .into_iter()
            .flat_map(|value| take(value, &step))
            .collect();
    }
    found.retain(|value| !value.is_null());
    found
}

fn take<'a>(value: &'a Value, step: &Step) -> Vec<&'a Value> {
    match step {
        Step::Field(name) => value.get(name).into_iter().collect(),
        Step::Index(index) => {
            let Some(list) = value.as_array() else {
                return Vec::new();
            };
            let length = i64::try_from(list.len()).unwrap_or(i64::MAX);
            let index = if *index < 0 { length + index } else { *index };
            usize::try_from(index)
                .ok()
                .and_then(|index| list.get(index))
                .into_iter()
                .collect()
        }
        Step::All => match value {
            Value::Array(list) => list.iter().collect(),
            Value::Object(map) => map.values().collect(),
            _ => Vec::new(),
        },
        Step::Filter {
            path,
            wanted,
            equal,
        } => {
            let Some(list) = value.as_array() else {
                return Vec::new();
            };
            let holds = |item: &&Value| {
                let is = find(item, path).first().map(|found| match found {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                });
                (is.as_deref() == Some(wanted.as_str())) == *equal
            };
            list.iter().filter(holds).collect()
        }
    }
}

fn parse(path: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = path.trim().trim_start_matches('{').trim_end_matches('}');
    loop {
        rest = rest.trim_start_matches('.');
        if rest.is_empty() {
            return steps;
        }
        if let Some(inner) = rest.strip_prefix('[') {
            let end = bracket_end(inner);
            let (content, after) = (&inner[..end], inner.get(end + 1..).unwrap_or_default());
            rest = after;
            steps.push(bracket(content));
            continue;
        }
        let mut name = String::new();
        let mut end = rest.len();
        let mut escaped = false;
        for (at, c) in rest.char_indices() {
            match c {
                '\\' if !escaped => escaped = true,
                '.' | '[' if !escaped => {
                    end = at;
                    break;
                }
                c => {
                    name.push(c);
                    escaped = false;
                }
            }
        }
        rest = &rest[end..];
        steps.push(if name == "*" {
            Step::All
        } else {
            Step::Field(name)
        });
    }
}

/// Where the bracket closes; brackets in quotes and in filters do not count.
fn bracket_end(text: &str) -> usize {
    let mut quote = None;
    let mut depth = 0_u32;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return at,
            (None, ']') => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

fn bracket(content: &str) -> Step {
    let content = content.trim();
    if content == "*" {
        return Step::All;
    }
    if let Some(filter) = content
        .strip_prefix("?(")
        .and_then(|text| text.strip_suffix(')'))
    {
        let (path, wanted, equal) = match (filter.split_once("=="), filter.split_once("!=")) {
            (Some((path, wanted)), _) => (path, wanted, true),
            (None, Some((path, wanted))) => (path, wanted, false),
            (None, None) => (filter, "", false),
        };
        return Step::Filter {
            path: path.trim().trim_start_matches('@').to_owned(),
            wanted: wanted.trim().trim_matches(['"', '\'']).to_owned(),
            equal,
        };
    }
    match content.parse() {
        Ok(index) => Step::Index(index),
        Err(_) => Step::Field(content.trim_matches(['"', '\'']).to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_of_printer_columns_are_found() {
        let object = json!({
            "spec": {"hosts": ["a", "b"], "tls.key": 1},
            "status": {"conditions": [
                {"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"},
            ]},
        });
        let cases = [
            (".spec.hosts", json!([["a", "b"]])),
            (".spec.hosts[0]", json!(["a"])),
            (".spec.hosts[-1]", json!(["b"])),
            (".spec.hosts[*]", json!(["a", "b"])),
            (".spec['tls.key']", json!([1])),
            (".spec.tls\\.key", json!([1])),
            (
                ".status.conditions[?(@.type==\"Ready\")].status",
                json!(["True"]),
            ),
            (".status.conditions[?(@.type=='None')].status", json!([])),
        ];
        for (path, expected) in cases {
            let found: Vec<Value> = find(&object, path).into_iter().cloned().collect();
            assert_eq!(Value::Array(found), expected, "{path}");
        }
    }
}
