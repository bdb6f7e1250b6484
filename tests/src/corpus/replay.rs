//! Sending the requests to one server.

use std::collections::BTreeMap;
use std::time::Duration;

use gatewright_seams::Clock;
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::{Value, json};

use super::normal;
use super::step::Step;

/// How long one request may take, and how long one is repeated that waits for something.
const LIMIT: Duration = Duration::from_secs(20);

/// What a server answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub status: u16,
    /// The `Warning` headers, in the order in which they are.
    pub warnings: Vec<String>,
    /// Made plain; the events of a watch as a list, a text that is no JSON as a text.
    pub body: Value,
}

/// Sends the requests in order, each when the one before was answered.
///
/// # Panics
/// The server cannot be reached, or a request refers to an answer that was not kept.
pub async fn replay(clock: Clock, client: &kube::Client, steps: &[Step]) -> Vec<Answer> {
    let mut kept = BTreeMap::new();
    let mut answers = Vec::new();
    for step in steps {
        let end = clock.elapsed() + LIMIT;
        let mut answer = loop {
            let answer = clock.timeout(LIMIT, send(client, step, &kept)).await;
            let answer = answer.unwrap_or_else(|_| panic!("{}: no answer", step.name));
            // A status that never came is a difference for the caller to show.
            if step.until.is_none_or(|until| until == answer.status) || clock.elapsed() >= end {
                break answer;
            }
            clock.sleep(Duration::from_millis(50)).await;
        };
        if let Some(name) = &step.keep {
            kept.insert(name.clone(), answer.body.clone());
        }
        for path in &step.ignore {
            normal::remove(&mut answer.body, path);
        }
        normal::plain(&mut answer.body);
        answers.push(answer);
    }
    answers
}

async fn send(client: &kube::Client, step: &Step, kept: &BTreeMap<String, Value>) -> Answer {
    let (method, path) = step.call.split_once(' ').expect("METHOD PATH");
    let mut request = http::Request::builder()
        .method(method)
        .uri(fill(path, kept))
        .header(http::header::USER_AGENT, "corpus")
        .header(
            http::header::ACCEPT,
            step.accept.as_deref().unwrap_or("application/json"),
        );
    let body = match (&step.body, &step.text) {
        (None, None) => Body::empty(),
        (Some(body), _) => {
            request = request.header(http::header::CONTENT_TYPE, step.kind.media_type());
            let mut body = body.clone();
            fill_all(&mut body, kept);
            Body::from(serde_json::to_vec(&body).expect("JSON"))
        }
        (None, Some(text)) => {
            request = request.header(http::header::CONTENT_TYPE, step.kind.media_type());
            Body::from(fill(text, kept).into_bytes())
        }
    };
    let request = request
        .body(body)
        .unwrap_or_else(|error| panic!("{}: {error}", step.name));
    let response = client.send(request).await;
    let response = response.unwrap_or_else(|error| panic!("{}: {error}", step.name));
    let status = response.status().as_u16();
    let warnings = response
        .headers()
        .get_all(http::header::WARNING)
        .iter()
        .map(|text| String::from_utf8_lossy(text.as_bytes()).into_owned())
        .collect();
    let bytes = response.into_body().collect().await;
    let bytes = bytes
        .unwrap_or_else(|error| panic!("{}: {error}", step.name))
        .to_bytes();
    Answer {
        status,
        warnings,
        body: read(&bytes),
    }
}

/// A body as JSON; the events of a watch, and what else is no single document, as a list.
fn read(bytes: &[u8]) -> Value {
    let documents: Result<Vec<Value>, _> = serde_json::Deserializer::from_slice(bytes)
        .into_iter()
        .collect();
    match documents {
        Ok(mut documents) if documents.len() == 1 && !is_event(&documents[0]) => {
            documents.remove(0)
        }
        Ok(documents) => json!(documents),
        Err(_) => json!(String::from_utf8_lossy(bytes)),
    }
}

/// Whether a document is one event of a watch.
fn is_event(document: &Value) -> bool {
    document["type"].is_string() && document["object"].is_object()
}

fn fill_all(value: &mut Value, kept: &BTreeMap<String, Value>) {
    match value {
        Value::String(text) => *text = fill(text, kept),
        Value::Array(items) => items.iter_mut().for_each(|item| fill_all(item, kept)),
        Value::Object(fields) => fields.values_mut().for_each(|field| fill_all(field, kept)),
        _ => {}
    }
}

/// Puts the fields of kept answers in place of `{{NAME.path}}`.
fn fill(text: &str, kept: &BTreeMap<String, Value>) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (path, after) = after.split_once("}}").expect("}} after {{");
        let mut words = path.split('.');
        let name = words.next().unwrap_or_default();
        let mut value = kept
            .get(name)
            .unwrap_or_else(|| panic!("no answer {name:?} was kept"));
        for word in words {
            value = match word.parse::<usize>() {
                Ok(index) => &value[index],
                Err(_) => &value[word],
            };
        }
        filled += before;
        match value {
            Value::String(text) => filled += text,
            other => filled += &other.to_string(),
        }
        rest = after;
    }
    filled + rest
}
