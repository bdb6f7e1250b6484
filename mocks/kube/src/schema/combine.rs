//! `allOf`, `anyOf`, `oneOf` and `not`.

use serde_json::Value;

use super::node::{Node, NodeId};
use super::validate::{Outcome, value};
use super::{FieldError, Schema, text};

/// The message of a whole combination carries no field.
fn whole(problem: &str) -> FieldError {
    FieldError::invalid_str("", "", problem)
}

pub(super) fn check(schema: &Schema, node: &Node, data: &Value, path: &str) -> Outcome {
    let mut outcome = Outcome {
        errors: Vec::new(),
        matches: 1,
    };
    let quoted = text::quote(path);
    let run = |id: &NodeId| value(schema, *id, data, None, path);
    if !node.any_of.is_empty() {
        let mut best: Option<Outcome> = None;
        let mut fits = false;
        for result in node.any_of.iter().map(run) {
            if result.errors.is_empty() {
                outcome.matches += result.matches;
                fits = true;
                break;
            }
            if best.as_ref().is_none_or(|b| result.matches > b.matches) {
                best = Some(result);
            }
        }
        if !fits {
            outcome.errors.push(whole(&format!(
                "{quoted} must validate at least one schema (anyOf)"
            )));
            outcome.merge(best.unwrap_or_default());
        }
    }
    if !node.one_of.is_empty() {
        let mut best: Option<Outcome> = None;
        let mut valid = Vec::new();
        for result in node.one_of.iter().map(run) {
            if result.errors.is_empty() {
                valid.push(result.matches);
            } else if valid.is_empty() && best.as_ref().is_none_or(|b| result.matches > b.matches) {
                best = Some(result);
            }
        }
        match valid.as_slice() {
            [matches] => outcome.matches += matches,
            [] => {
                outcome.errors.push(whole(&format!(
                    "{quoted} must validate one and only one schema (oneOf). Found none valid"
                )));
                outcome.merge(best.unwrap_or_default());
            }
            several => outcome.errors.push(whole(&format!(
                "{quoted} must validate one and only one schema (oneOf). Found {} valid alternatives",
                several.len()
            ))),
        }
    }
    if !node.all_of.is_empty() {
        let mut valid = 0;
        for result in node.all_of.iter().map(run) {
            valid += usize::from(result.errors.is_empty());
            outcome.merge(result);
        }
        if valid != node.all_of.len() {
            let none = if valid == 0 { ". None validated" } else { "" };
            outcome.errors.push(whole(&format!(
                "{quoted} must validate all the schemas (allOf){none}"
            )));
        }
    }
    if node
        .not
        .as_ref()
        .map(run)
        .is_some_and(|result| result.errors.is_empty())
    {
        outcome.errors.push(whole(&format!(
            "{quoted} must not validate the schema (not)"
        )));
    }
    outcome
}
