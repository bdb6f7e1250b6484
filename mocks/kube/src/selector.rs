//! Label and field selectors.

use serde_json::Value;

use crate::kinds::Resource;
use crate::meta;
use crate::status::{Answer, ApiError};

/// Which objects of a collection a list or watch is about.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<Field>,
}

#[derive(Clone, Debug, PartialEq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
    Above(String, i64),
    Below(String, i64),
}

#[derive(Clone, Debug)]
struct Field {
    pointer: String,
    value: String,
    equal: bool,
}

impl Selector {
    /// Parses both selectors of a query.
    pub(crate) fn parse(labels: &str, fields: &str, resource: &Resource) -> Answer<Self> {
        Ok(Self {
            labels: parse_labels(labels)?,
            fields: parse_fields(fields, resource)?,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.labels
            .iter()
            .all(|requirement| requirement.holds(object))
            && self.fields.iter().all(|field| field.holds(object))
    }

    /// The name, when only one can match.
    pub(crate) fn name(&self) -> Option<&str> {
        let field = self
            .fields
            .iter()
            .find(|f| f.equal && f.pointer == "/metadata/name")?;
        Some(&field.value)
    }
}

impl Requirement {
    fn holds(&self, object: &Value) -> bool {
        let labels = meta::at(object, "/metadata/labels");
        let label = |key: &str| {
            labels
                .and_then(|labels| labels.get(key))
                .and_then(Value::as_str)
        };
        let number = |key: &str| label(key).and_then(|value| value.parse::<i64>().ok());
        match self {
            Self::In(key, values) => label(key).is_some_and(|v| values.iter().any(|w| w == v)),
            Self::NotIn(key, values) => label(key).is_none_or(|v| values.iter().all(|w| w != v)),
            Self::Exists(key) => label(key).is_some(),
            Self::Absent(key) => label(key).is_none(),
            Self::Above(key, bound) => number(key).is_some_and(|value| value > *bound),
            Self::Below(key, bound) => number(key).is_some_and(|value| value < *bound),
        }
    }
}

impl Field {
    fn holds(&self, object: &Value) -> bool {
        let value = match meta::at(object, &self.pointer) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        // Absent booleans are selected by their zero value.
        let value = match value.as_str() {
            "" if self.value == "false" || self.value == "true" => "false",
            value => value,
        };
        (value == self.value) == self.equal
    }
}

/// Splits at commas that are not inside parentheses.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0_u32, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn parse_labels(text: &str) -> Answer<Vec<Requirement>> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    split(text)
        .into_iter()
        .map(|part| parse_label(part.trim(), text))
        .collect()
}

fn parse_label(part: &str, whole: &str) -> Answer<Requirement> {
    let wrong = || {
        ApiError::bad_request(format!(
            "unable to parse requirement: {part:?} is not a label selector requirement (in {whole:?})"
        ))
    };
    let key = |text: &str| {
        let key = text.trim();
        let valid = !key.is_empty()
            && key
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
        if valid {
            Ok(key.to_owned())
        } else {
            Err(wrong())
        }
    };
    let value = |text: &str| {
        let value = text.trim();
        let valid = value.len() <= 63
            && value
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        if valid {
            Ok(value.to_owned())
        } else {
            Err(wrong())
        }
    };
    if let Some(open) = part.find('(') {
        let list = part[open + 1..].strip_suffix(')').ok_or_else(wrong)?;
        let values = list.split(',').map(value).collect::<Answer<Vec<_>>>()?;
        let mut words = part[..open].split_whitespace();
        return match (words.next(), words.next(), words.next()) {
            (Some(k), Some("in"), None) => Ok(Requirement::In(key(k)?, values)),
            (Some(k), Some("notin"), None) => Ok(Requirement::NotIn(key(k)?, values)),
            _ => Err(wrong()),
        };
    }
    if let Some((k, v)) = part.split_once("!=") {
        return Ok(Requirement::NotIn(key(k)?, vec![value(v)?]));
    }
    if let Some((k, v)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Ok(Requirement::In(key(k)?, vec![value(v)?]));
    }
    if let Some(k) = part.strip_prefix('!') {
        return Ok(Requirement::Absent(key(k)?));
    }
    if let Some((k, v)) = part.split_once('>') {
        return Ok(Requirement::Above(
            key(k)?,
            v.trim().parse().map_err(|_| wrong())?,
        ));
    }
    if let Some((k, v)) = part.split_once('<') {
        return Ok(Requirement::Below(
            key(k)?,
            v.trim().parse().map_err(|_| wrong())?,
        ));
    }
    Ok(Requirement::Exists(key(part)?))
}

fn parse_fields(text: &str, resource: &Resource) -> Answer<Vec<Field>> {
    let mut fields = Vec::new();
    for part in text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let (label, value, equal) = if let Some((label, value)) = part.split_once("!=") {
            (label, value, false)
        } else if let Some((label, value)) = part.split_once("==").or_else(|| part.split_once('='))
        {
            (label, value, true)
        } else {
            return Err(ApiError::bad_request(format!(
                "invalid selector: '{text}'; can't understand '{part}'"
            )));
        };
        let pointer = match label {
            "metadata.name" => "/metadata/name".to_owned(),
            "metadata.namespace" => "/metadata/namespace".to_owned(),
            label => match resource.selectable.iter().find(|(name, _)| name == label) {
                Some((_, pointer)) => pointer.clone(),
                None => {
                    return Err(ApiError::bad_request(format!(
                        "field label not supported: {label}"
                    )));
                }
            },
        };
        // `\,`, `\=` and `\\` stand for themselves in values.
        let value = value
            .replace("\\,", ",")
            .replace("\\=", "=")
            .replace("\\\\", "\\");
        fields.push(Field {
            pointer,
            value,
            equal,
        });
    }
    Ok(fields)
}

/// Parses a label selector alone; for columns and `scale`.
pub(crate) fn print_selector(selector: &Value) -> String {
    if let Some(text) = selector.as_str() {
        return text.to_owned();
    }
    let mut parts = Vec::new();
    if let Some(labels) = selector.get("matchLabels").and_then(Value::as_object) {
        let mut pairs: Vec<_> = labels
            .iter()
            .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
            .collect();
        pairs.sort();
        parts.append(&mut pairs);
    }
    for expression in meta::list(selector, "/matchExpressions") {
        let key = meta::text(expression, "/key");
        let mut values = meta::strings(expression, "/values");
        values.sort_unstable();
        let values = values.join(",");
        parts.push(match meta::text(expression, "/operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            _ => format!("!{key}"),
        });
    }
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn set_based_requirements_select_as_documented() {
        let object = json!({"metadata": {"labels": {"app": "web", "tier": "3"}}});
        let cases = [
            ("app=web", true),
            ("app==web,tier", true),
            ("app!=web", false),
            ("other!=web", true),
            ("app in (web, api)", true),
            ("app notin (web,api)", false),
            ("!app", false),
            ("!other", true),
            ("tier>2", true),
            ("tier<2", false),
        ];
        for (text, expected) in cases {
            let labels = parse_labels(text).unwrap();
            let selector = Selector {
                labels,
                fields: Vec::new(),
            };
            assert_eq!(selector.matches(&object), expected, "{text}");
        }
        assert!(parse_labels("app in web").is_err());
    }
}
