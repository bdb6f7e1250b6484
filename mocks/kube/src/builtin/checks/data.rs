//! Secrets and ConfigMaps.

use base64::Engine as _;
use serde_json::{Map, Value, json};

use super::{invalid, word};
use crate::builtin::{metadata, names};
use crate::schema::FieldError;

/// The largest sum of all values, in bytes.
const SIZE_MAX: usize = 1024 * 1024;

const REDACTED: &str = "<secret contents redacted>";

fn map<'a>(object: &'a Value, name: &str) -> Option<&'a Map<String, Value>> {
    object.get(name).and_then(Value::as_object)
}

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap_or_default();
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .unwrap_or_default()
}

pub(super) fn secret(object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    if let Some(old) = old {
        metadata::immutable(object.get("type"), old.get("type"), "type", errors);
        sealed(object, old, &["data"], errors);
    }
    let empty = Map::new();
    let data = map(object, "data").unwrap_or(&empty);
    let mut size = 0;
    for (key, value) in data {
        invalid(
            &format!("data[{key}]"),
            key,
            names::config_map_key(key),
            errors,
        );
        size += bytes(value).len();
    }
    if size > SIZE_MAX {
        errors.push(FieldError::too_long("data", SIZE_MAX as u64));
    }
    let mut need = |keys: &[&str]| {
        for key in keys.iter().filter(|key| !data.contains_key(**key)) {
            errors.push(FieldError::required(&format!("data[{key}]"), ""));
        }
    };
    match word(object, "type") {
        "kubernetes.io/tls" => need(&["tls.crt", "tls.key"]),
        "kubernetes.io/ssh-auth" => need(&["ssh-privatekey"]),
        "kubernetes.io/basic-auth"
            if !data.contains_key("username") && !data.contains_key("password") =>
        {
            need(&["username", "password"]);
        }
        "kubernetes.io/dockerconfigjson" => {
            need(&[".dockerconfigjson"]);
            json_value(data, ".dockerconfigjson", errors);
        }
        "kubernetes.io/dockercfg" => {
            need(&[".dockercfg"]);
            json_value(data, ".dockercfg", errors);
        }
        "kubernetes.io/service-account-token" => {
            let name = "kubernetes.io/service-account.name";
            let annotations = object.pointer("/metadata/annotations");
            if annotations.is_none_or(|a| word(a, name).is_empty()) {
                errors.push(FieldError::required(
                    &format!("metadata.annotations[{name}]"),
                    "",
                ));
            }
        }
        _ => {}
    }
}

fn json_value(data: &Map<String, Value>, key: &str, errors: &mut Vec<FieldError>) {
    let Some(value) = data.get(key) else { return };
    let parsed: Result<Map<String, Value>, _> = serde_json::from_slice(&bytes(value));
    if parsed.is_err() {
        // The parser's own words could quote the secret.
        let path = format!("data[{key}]");
        errors.push(FieldError::invalid_str(&path, REDACTED, "invalid JSON"));
    }
}

pub(super) fn config_map(object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    if let Some(old) = old {
        sealed(object, old, &["data", "binaryData"], errors);
    }
    let binary = map(object, "binaryData");
    let mut size = 0;
    for (key, value) in map(object, "data").into_iter().flatten() {
        let path = format!("data[{key}]");
        invalid(&path, key, names::config_map_key(key), errors);
        if binary.is_some_and(|b| b.contains_key(key)) {
            let problem = "duplicate of key present in binaryData";
            errors.push(FieldError::invalid_str(&path, key, problem));
        }
        size += value.as_str().map_or(0, str::len);
    }
    for (key, value) in binary.into_iter().flatten() {
        invalid(
            &format!("binaryData[{key}]"),
            key,
            names::config_map_key(key),
            errors,
        );
        size += bytes(value).len();
    }
    if size > SIZE_MAX {
        let mut error = FieldError::too_long("data", SIZE_MAX as u64);
        // The whole object is too large; the real server names no field.
        error.field = String::new();
        errors.push(error);
    }
}

/// What an object with `immutable: true` may not change.
fn sealed(object: &Value, old: &Value, fields: &[&str], errors: &mut Vec<FieldError>) {
    if old.get("immutable") != Some(&json!(true)) {
        return;
    }
    let problem = "field is immutable when `immutable` is set";
    if object.get("immutable") != Some(&json!(true)) {
        errors.push(FieldError::forbidden("immutable", problem));
    }
    for field in fields {
        if object.get(*field) != old.get(*field) {
            errors.push(FieldError::forbidden(field, problem));
        }
    }
}
