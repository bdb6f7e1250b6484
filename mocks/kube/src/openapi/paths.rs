//! The operations of a kind.

use serde_json::{Map, Value, json};

use super::Row;

/// Adds the paths of one kind.
pub(super) fn add(row: &Row, paths: &mut Map<String, Value>) {
    let base = format!("/{}", super::path(&row.group, &row.version));
    let scope = if row.namespaced {
        "/namespaces/{namespace}"
    } else {
        ""
    };
    let collection = format!("{base}{scope}/{}", row.plural);
    let mut parameters = Vec::new();
    if row.namespaced {
        parameters.push(path_parameter(
            "namespace",
            "object name and auth scope, such as for teams and projects",
        ));
        let all = format!("{base}/{}", row.plural);
        paths.insert(
            all,
            json!({"get": operation(row, "list", "ForAllNamespaces", &[])}),
        );
    }
    let write: &[&str] = &["dryRun", "fieldManager", "fieldValidation"];
    paths.insert(
        collection.clone(),
        json!({
            "get": operation(row, "list", "", &[]),
            "post": operation(row, "create", "", write),
            "delete": operation(row, "deletecollection", "", &["dryRun", "propagationPolicy"]),
            "parameters": parameters,
        }),
    );
    parameters.push(path_parameter("name", &format!("name of the {}", row.kind)));
    let patch: &[&str] = &["dryRun", "fieldManager", "fieldValidation", "force"];
    let item = |suffix: &str| {
        json!({
            "get": operation(row, "read", suffix, &[]),
            "put": operation(row, "replace", suffix, write),
            "patch": operation(row, "patch", suffix, patch),
            "parameters": parameters,
        })
    };
    let mut object = item("");
    let delete = ["dryRun", "gracePeriodSeconds", "propagationPolicy"];
    object["delete"] = operation(row, "delete", "", &delete);
    paths.insert(format!("{collection}/{{name}}"), object);
    for subresource in &row.subresources {
        let mut letters = subresource.chars();
        let suffix: String = letters
            .next()
            .map(|first| first.to_uppercase().chain(letters).collect())
            .unwrap_or_default();
        paths.insert(
            format!("{collection}/{{name}}/{subresource}"),
            item(&suffix),
        );
    }
}

fn path_parameter(name: &str, description: &str) -> Value {
    json!({
        "name": name, "in": "path", "required": true, "description": description,
        "schema": {"type": "string", "uniqueItems": true},
    })
}

fn query_parameter(name: &str) -> Value {
    let ty = match name {
        "force" => "boolean",
        "gracePeriodSeconds" => "integer",
        _ => "string",
    };
    json!({"name": name, "in": "query", "schema": {"type": ty, "uniqueItems": true}})
}

fn operation(row: &Row, action: &str, suffix: &str, parameters: &[&str]) -> Value {
    let verb = match action {
        "read" => "get",
        "create" => "post",
        "replace" => "put",
        other => other,
    };
    let group: String = row.group.split('.').map(capital).collect();
    let group = if group.is_empty() {
        "Core".to_owned()
    } else {
        group
    };
    let scope = if row.namespaced && suffix != "ForAllNamespaces" {
        "Namespaced"
    } else {
        ""
    };
    let suffix_name = if suffix == "ForAllNamespaces" {
        suffix
    } else {
        ""
    };
    let sub = if suffix == "ForAllNamespaces" {
        ""
    } else {
        suffix
    };
    let id = format!(
        "{action}{group}{}{scope}{}{sub}{suffix_name}",
        capital(&row.version),
        row.kind
    );
    let component = row.component();
    let shown = if action == "list" {
        format!("{component}List")
    } else {
        component
    };
    let body = json!({"$ref": format!("#/components/schemas/{shown}")});
    let mut out = json!({
        "description": format!("{action} {} of the kind {}", if action == "list" { "objects" } else { "an object" }, row.kind),
        "operationId": id,
        "parameters": parameters.iter().map(|name| query_parameter(name)).collect::<Vec<_>>(),
        "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": body}}}},
        "x-kubernetes-action": verb,
        "x-kubernetes-group-version-kind": row.gvk(&row.kind),
    });
    if matches!(action, "create" | "replace") {
        out["requestBody"] = json!({"required": true, "content": {"*/*": {"schema": body}}});
    }
    if action == "patch" {
        let mut content = Map::new();
        let mut kinds = vec![
            "application/apply-patch+yaml",
            "application/json-patch+json",
            "application/merge-patch+json",
        ];
        if row.custom.is_none() {
            kinds.push("application/strategic-merge-patch+json");
        }
        for kind in kinds {
            content.insert(kind.to_owned(), json!({"schema": {"type": "object"}}));
        }
        out["requestBody"] = json!({"required": true, "content": content});
    }
    out
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}
