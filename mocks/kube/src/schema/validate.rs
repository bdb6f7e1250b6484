//! Values against a schema, with the messages of `k8s.io/kube-openapi/pkg/validation` as the API server turns them into causes.

use serde_json::{Map, Value, json};

use super::node::{Additional, Node, NodeId, Type};
use super::{FieldError, FieldReason, Schema, combine, formats, lists, rules, text};
use crate::builtin::metadata;

/// A whole custom resource, in the order of the real server: values, lists, rules.
pub(super) fn object(schema: &Schema, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if schema.resource {
        errors.append(&mut metadata::check_any_scope(object, old));
    }
    errors.append(&mut value(schema, schema.root, object, old, "").errors);
    // Repetitions that were there before pass.
    if old.is_none_or(|old| lists::duplicates(schema, old).is_empty()) {
        errors.append(&mut lists::duplicates(schema, object));
    }
    let blocking = errors.iter().any(|e| {
        matches!(
            e.reason,
            FieldReason::NotSupported
                | FieldReason::Required
                | FieldReason::TooLong
                | FieldReason::TooMany
                | FieldReason::TypeInvalid
        )
    });
    let mut found = Vec::new();
    if blocking {
        if rules::any(schema) {
            let problem = "some validation rules were not checked because the object was invalid; \
                           correct the existing errors to complete validation";
            errors.push(FieldError::invalid("", &Value::Null, problem));
        }
    } else {
        rules::run(schema, object, old, &mut found);
    }
    errors.append(&mut found);
    errors
}

/// The errors of one place and how many of its checks passed, by which the real server picks the alternative to report when
/// none of `anyOf` fits.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) errors: Vec<FieldError>,
    pub(super) matches: usize,
}

impl Outcome {
    pub(super) fn merge(&mut self, mut other: Self) {
        self.errors.append(&mut other.errors);
        self.matches += other.matches;
    }

    /// Adds the result of one check of the place itself.
    fn check(&mut self, errors: Vec<FieldError>) {
        if errors.is_empty() {
            self.matches += 1;
        }
        self.errors.extend(errors);
    }
}

/// Checks the value at `path`. With an equal `old`, everything passes.
pub(super) fn value(
    schema: &Schema,
    id: NodeId,
    value: &Value,
    old: Option<&Value>,
    path: &str,
) -> Outcome {
    let mut outcome = Outcome {
        errors: Vec::new(),
        matches: 1,
    };
    if old == Some(value) {
        return outcome;
    }
    let node = schema.at(id);
    outcome.check(types(node, value, path));
    if value.is_null() {
        outcome.check(enumeration(node, value, path));
        return outcome;
    }
    outcome.merge(combine::check(schema, node, value, path));
    match value {
        Value::String(s) => {
            outcome.check(string(node, s, path));
            outcome.check(format(node, s, path));
        }
        Value::Number(_) => outcome.check(number(node, value, path)),
        Value::Array(items) => outcome.merge(array(schema, node, items, old, path)),
        _ => {}
    }
    outcome.check(enumeration(node, value, path));
    if let Value::Object(map) = value {
        if node.embedded {
            outcome.check(head(map, path));
        }
        outcome.merge(object_fields(schema, node, map, old, path));
    }
    outcome
}

/// An object within an object says what it is.
fn head(map: &Map<String, Value>, path: &str) -> Vec<FieldError> {
    ["apiVersion", "kind"]
        .into_iter()
        .filter(|field| {
            map.get(*field)
                .and_then(Value::as_str)
                .is_none_or(str::is_empty)
        })
        .map(|field| FieldError::required(&text::child(path, field), ""))
        .collect()
}

fn type_names(node: &Node) -> Vec<Type> {
    if node.int_or_string {
        vec![Type::Integer, Type::String]
    } else {
        node.ty.into_iter().collect()
    }
}

fn types(node: &Node, value: &Value, path: &str) -> Vec<FieldError> {
    let types = type_names(node);
    if types.is_empty() {
        return Vec::new();
    }
    let fail = |expected: &str, actual: &str| {
        let problem = format!(
            "{path} in body must be of type {expected}: {}",
            text::quote(actual)
        );
        vec![FieldError::type_invalid(path, &json!(actual), &problem)]
    };
    let names: Vec<&str> = types.iter().map(|t| t.as_str()).collect();
    if value.is_null() {
        return if node.nullable {
            Vec::new()
        } else {
            fail(&names.join(","), "null")
        };
    }
    if types.iter().any(|t| t.accepts(value)) {
        return Vec::new();
    }
    if let Some(format) = node.format.as_deref() {
        match value {
            // A format of strings is looked at in place of the type; lists pass too, by the real server's oversight.
            Value::String(_) | Value::Array(_) if node.ty == Some(Type::String) => {
                return Vec::new();
            }
            Value::Number(n) => {
                return fail(format, if n.is_f64() { "float64" } else { "int64" });
            }
            Value::Bool(_) | Value::Object(_) => return fail(format, ""),
            _ => {}
        }
    }
    fail(&names.join(","), text::type_name(value))
}

fn enumeration(node: &Node, value: &Value, path: &str) -> Vec<FieldError> {
    let allowed = &node.limits.allowed;
    let equal = |a: &Value| {
        a == value
            || matches!((a.as_f64(), value.as_f64()), (Some(a), Some(b)) if a.total_cmp(&b).is_eq())
    };
    if allowed.is_empty() || (!value.is_null() && allowed.iter().any(equal)) {
        return Vec::new();
    }
    let names: Vec<String> = allowed
        .iter()
        .map(|a| a.as_str().map_or_else(|| text::json(a), str::to_owned))
        .collect();
    vec![FieldError::not_supported(path, value, &names)]
}

fn string(node: &Node, value: &str, path: &str) -> Vec<FieldError> {
    let limits = &node.limits;
    let length = value.chars().count() as u64;
    if let Some(max) = limits.max_length.filter(|max| length > *max) {
        return vec![FieldError::too_long(path, max)];
    }
    if let Some(min) = limits.min_length.filter(|min| length < *min) {
        let problem = format!("{path} in body should be at least {min} chars long");
        return vec![FieldError::invalid_str(path, value, &problem)];
    }
    if let Some((pattern, regex)) = &limits.pattern
        && !regex.is_match(value)
    {
        let problem = format!("{path} in body should match '{pattern}'");
        return vec![FieldError::invalid_str(path, value, &problem)];
    }
    Vec::new()
}

fn format(node: &Node, value: &str, path: &str) -> Vec<FieldError> {
    let string = matches!(node.ty, None | Some(Type::String));
    let Some(format) = node.format.as_deref().filter(|_| string) else {
        return Vec::new();
    };
    if formats::matches(format, value) {
        return Vec::new();
    }
    let problem = format!(
        "{path} in body must be of type {format}: {}",
        text::quote(value)
    );
    vec![FieldError::type_invalid(path, &json!(value), &problem)]
}

fn number(node: &Node, value: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let limits = &node.limits;
    let Some(float) = value.as_f64() else {
        return errors;
    };
    if let Some(problem) = out_of_range(node, value, path) {
        errors.push(FieldError::invalid_str("", "", &problem));
    }
    let whole = value.as_f64().is_some_and(|_| value.as_i64().is_some());
    // Bounds of integers print as integers.
    let bound = |limit: f64| {
        if whole {
            format!("{limit:.0}")
        } else {
            text::float(limit)
        }
    };
    if let Some(factor) = limits.multiple_of {
        let times = if factor < 1.0 {
            1.0 / factor * float
        } else {
            float / factor
        };
        if factor > 0.0 && times.fract() != 0.0 {
            let problem = format!("{path} in body should be a multiple of {}", bound(factor));
            errors.push(FieldError::invalid(path, value, &problem));
        }
    }
    if let Some(min) = limits.minimum {
        let strict = limits.exclusive_minimum;
        if float < min || (strict && float <= min) {
            let word = if strict {
                "greater than"
            } else {
                "greater than or equal to"
            };
            let problem = format!("{path} in body should be {word} {}", bound(min));
            errors.push(FieldError::invalid(path, value, &problem));
        }
    }
    if let Some(max) = limits.maximum {
        let strict = limits.exclusive_maximum;
        if float > max || (strict && float >= max) {
            let word = if strict {
                "less than"
            } else {
                "less than or equal to"
            };
            let problem = format!("{path} in body should be {word} {}", bound(max));
            errors.push(FieldError::invalid(path, value, &problem));
        }
    }
    errors
}

fn out_of_range(node: &Node, value: &Value, path: &str) -> Option<String> {
    if node.int_or_string {
        return None;
    }
    let format = node.format.as_deref();
    let fits = match (node.ty, format) {
        (Some(Type::Integer), Some("int32")) => value
            .as_f64()
            .is_some_and(|f| (-2_147_483_648.0..=2_147_483_647.0).contains(&f)),
        (Some(Type::Integer), _) => {
            value.as_i64().is_some()
                || value
                    .as_f64()
                    .is_some_and(|f| f.abs() < 9_223_372_036_854_775_808.0 && value.is_f64())
        }
        (Some(Type::Number), Some("float")) => value
            .as_f64()
            .is_some_and(|f| f.abs() <= f64::from(f32::MAX)),
        _ => true,
    };
    if fits {
        return None;
    }
    let ty = node.ty.map_or("", Type::as_str);
    Some(match format {
        Some(format) => {
            format!("Checked value must be of type {ty} with format {format} in {path}")
        }
        None => format!("Checked value must be of type {ty} (default format) in {path}"),
    })
}

fn array(
    schema: &Schema,
    node: &Node,
    items: &[Value],
    old: Option<&Value>,
    path: &str,
) -> Outcome {
    let mut outcome = Outcome::default();
    if let Some(next) = node.items {
        for (i, item) in items.iter().enumerate() {
            let before = correlated(node, item, old);
            outcome.merge(value(schema, next, item, before, &text::index(path, i)));
        }
    }
    let limits = &node.limits;
    let size = items.len();
    let mut errors = Vec::new();
    if let Some(min) = limits.min_items.filter(|min| (size as u64) < *min) {
        let problem = format!("{path} in body should have at least {min} items");
        errors.push(FieldError::invalid(path, &json!(size), &problem));
    }
    if let Some(max) = limits.max_items.filter(|max| size as u64 > *max) {
        errors.push(FieldError::too_many(path, size, max));
    }
    let repeated = (1..size).any(|i| items[..i].contains(&items[i]));
    if limits.unique_items && repeated {
        let problem = format!("{path} in body shouldn't contain duplicates");
        errors.push(FieldError::invalid_str(path, "", &problem));
    }
    outcome.check(errors);
    outcome
}

/// The item of the old list that is the same one: only list maps can tell.
pub(super) fn correlated<'a>(
    node: &Node,
    item: &Value,
    old: Option<&'a Value>,
) -> Option<&'a Value> {
    let Some(super::ListKind::Map(keys)) = &node.list else {
        return None;
    };
    let id = lists::identity(keys, item);
    old?.as_array()?
        .iter()
        .find(|candidate| lists::identity(keys, candidate) == id)
}

fn object_fields(
    schema: &Schema,
    node: &Node,
    map: &serde_json::Map<String, Value>,
    old: Option<&Value>,
    path: &str,
) -> Outcome {
    let mut outcome = Outcome::default();
    let limits = &node.limits;
    if let Some(min) = limits
        .min_properties
        .filter(|min| (map.len() as u64) < *min)
    {
        let problem = format!("{path} in body should have at least {min} properties");
        outcome
            .errors
            .push(FieldError::invalid(path, &json!(map.len()), &problem));
    }
    if let Some(max) = limits.max_properties.filter(|max| map.len() as u64 > *max) {
        outcome
            .errors
            .push(FieldError::too_many(path, map.len(), max));
    }
    for (name, inner) in map {
        if node.properties.contains_key(name) {
            continue;
        }
        match node.additional {
            Some(Additional::Nothing) => {
                let problem = format!("{path}.{name} in body is a forbidden property");
                outcome
                    .errors
                    .push(FieldError::invalid_str(path, name, &problem));
            }
            Some(Additional::Schema(next)) => {
                let before = old.and_then(|old| old.get(name));
                let path = format!("{path}.{name}");
                outcome.merge(value(
                    schema,
                    next,
                    inner,
                    before,
                    path.trim_start_matches('.'),
                ));
            }
            _ => {}
        }
    }
    for (name, next) in &node.properties {
        let Some(inner) = map.get(name) else { continue };
        // The real server converts old and new to one version, so these never count as unchanged.
        let type_meta = path.is_empty() && (name == "apiVersion" || name == "kind");
        let before = old.and_then(|old| old.get(name)).filter(|_| !type_meta);
        outcome.merge(value(
            schema,
            *next,
            inner,
            before,
            &text::child(path, name),
        ));
    }
    for name in &limits.required {
        if !map.contains_key(name) {
            outcome
                .errors
                .push(FieldError::required(&text::child(path, name), ""));
        }
    }
    outcome
}
