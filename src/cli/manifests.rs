//! Files of Kubernetes objects.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use gatewright_crds::istio_gateway::IstioGateway;
use k8s_openapi::api::core::v1::Service;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// An object that says something about load balancers.
#[derive(Clone, Debug)]
pub(super) enum Manifest {
    Service(Box<Service>),
    Gateway(Box<IstioGateway>),
}

/// A text that cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: document {document}, line {line}: {problem}")]
pub(super) struct Unreadable {
    file: String,
    /// Counted from 1, empty ones too.
    document: usize,
    /// Counted from 1, in the file.
    line: usize,
    problem: String,
}

/// The YAML and JSON files at `path`: itself, or those directly in the directory, by name.
///
/// # Errors
/// It cannot be read.
pub(super) fn files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let reading = || format!("reading {}", path.display());
    if !fs::metadata(path).with_context(reading)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).with_context(reading)? {
        let file = entry.with_context(reading)?.path();
        let kind = file.extension().and_then(|extension| extension.to_str());
        if matches!(kind, Some("yaml" | "yml" | "json")) && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// The objects of `text` that say something about load balancers, with those of Lists.
///
/// # Errors
/// The first document that cannot be read.
pub(super) fn manifests(file: &str, text: &str) -> Result<Vec<Manifest>, Unreadable> {
    let mut found = Vec::new();
    for (number, (first_line, document)) in (1..).zip(documents(text)) {
        let at = |line: usize, problem: String| Unreadable {
            file: file.to_owned(),
            document: number,
            line: first_line + line.max(1) - 1,
            problem,
        };
        let value: Value = parse(document).map_err(|(line, problem)| at(line, problem))?;
        if value.is_null() {
            continue;
        }
        let kind = kind_of(&value).map_err(|problem| at(1, problem))?;
        match kind {
            Kind::Service => {
                let object = parse(document).map_err(|(line, problem)| at(line, problem))?;
                found.push(Manifest::Service(object));
            }
            Kind::Gateway => {
                let object = parse(document).map_err(|(line, problem)| at(line, problem))?;
                found.push(Manifest::Gateway(object));
            }
            Kind::List => {
                let items = value.get("items").and_then(Value::as_array);
                for (index, item) in items.into_iter().flatten().enumerate() {
                    let item = item_of(item)
                        .map_err(|problem| at(1, format!("items[{index}]: {problem}")))?;
                    found.extend(item);
                }
            }
            Kind::Other => {}
        }
    }
    Ok(found)
}

/// What an object is to a plan.
enum Kind {
    Service,
    Gateway,
    List,
    Other,
}

fn kind_of(value: &Value) -> Result<Kind, String> {
    let text = |field: &str| {
        let text = value.get(field).and_then(Value::as_str);
        text.ok_or_else(|| format!("is no Kubernetes object: {field} is missing"))
    };
    let group = text("apiVersion")?
        .rsplit_once('/')
        .map_or("", |(group, _)| group);
    Ok(match (group, text("kind")?) {
        ("", "Service") => Kind::Service,
        ("istio.alibabacloud.com", "IstioGateway") => Kind::Gateway,
        (_, kind) if kind.ends_with("List") && value.get("items").is_some() => Kind::List,
        _ => Kind::Other,
    })
}

fn item_of(item: &Value) -> Result<Option<Manifest>, String> {
    fn object<T: DeserializeOwned>(item: &Value) -> Result<T, String> {
        serde_json::from_value(item.clone()).map_err(|error| error.to_string())
    }
    Ok(match kind_of(item)? {
        Kind::Service => Some(Manifest::Service(object(item)?)),
        Kind::Gateway => Some(Manifest::Gateway(object(item)?)),
        Kind::List | Kind::Other => None,
    })
}

/// The error is the line in `document`, from 1, and what is wrong there.
fn parse<T: DeserializeOwned>(document: &str) -> Result<T, (usize, String)> {
    serde_saphyr::from_str(document).map_err(|error| {
        let line = error.location().map_or(1, |location| location.line());
        // The first line of the text: the rest draws the place, which we name by its line.
        let text = error.without_snippet().to_string();
        let problem = text.lines().next().unwrap_or_default().to_owned();
        (usize::try_from(line).unwrap_or(1), problem)
    })
}

/// The documents of a YAML stream, each with the number of its first line. A JSON text is one.
fn documents(text: &str) -> Vec<(usize, &str)> {
    let mut documents = Vec::new();
    let (mut start, mut first_line) = (0, 1);
    let mut position = 0;
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        let marker = line.strip_prefix("---");
        if marker.is_some_and(|rest| rest.trim().is_empty() || rest.starts_with([' ', '\t'])) {
            documents.push((first_line, &text[start..position]));
            // A document may begin behind its marker; most often a comment is there.
            (start, first_line) = (position + 3, number);
        }
        position += line.len();
    }
    documents.push((first_line, &text[start..]));
    documents
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n";

    fn read(text: &str) -> Result<Vec<String>, String> {
        let name = |manifest: Manifest| match manifest {
            Manifest::Service(service) => service.metadata.name.unwrap(),
            Manifest::Gateway(gateway) => gateway.metadata.name.unwrap(),
        };
        let found = manifests("x.yaml", text).map_err(|error| error.to_string())?;
        Ok(found.into_iter().map(name).collect())
    }

    #[test]
    fn objects_of_all_documents_and_lists_are_found() {
        let gateway = "apiVersion: istio.alibabacloud.com/v1\nkind: IstioGateway\nmetadata: {name: g}\nspec: {}\n";
        let other = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n";
        let text = format!("# first\n---\n{SERVICE}---\n{other}--- # third\n{gateway}---\n");
        assert_eq!(read(&text).unwrap(), ["a", "g"]);
        let list = r#"{"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "b"}},
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}]}"#;
        assert_eq!(read(list).unwrap(), ["b"]);
        assert_eq!(read("").unwrap(), [""; 0]);
    }

    #[test]
    fn a_bad_text_is_told_with_document_and_line() {
        let broken = format!("{SERVICE}---\n{SERVICE}spec:\n  ports: [\n");
        let error = read(&broken).unwrap_err();
        assert!(error.starts_with("x.yaml: document 2, line "), "{error}");
        let wrong = format!("---\n{SERVICE}spec:\n  ports:\n    - port: many\n");
        let error = read(&wrong).unwrap_err();
        assert!(error.starts_with("x.yaml: document 2, line 7: "), "{error}");
        assert!(!error.contains('\n'), "{error}");
        let error = read("a: 1\n").unwrap_err();
        assert!(error.contains("apiVersion is missing"), "{error}");
        let list = r#"{"apiVersion": "v1", "kind": "List", "items": [{"kind": "Service"}]}"#;
        assert!(read(list).unwrap_err().contains("items[0]: "));
    }

    #[test]
    fn a_marker_inside_a_line_does_not_end_a_document() {
        assert_eq!(documents("a: ---\nb: 1\n").len(), 1);
        assert_eq!(documents("----\n").len(), 1);
        assert_eq!(documents("a\n---\nb\n"), [(1, "a\n"), (2, "\nb\n")]);
    }
}
