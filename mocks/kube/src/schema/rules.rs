//! `x-kubernetes-validations` (`apiextensions-apiserver/pkg/apiserver/schema/cel/validation.go`).

use cel::objects::OptionalValue;
use cel::{ExecutionError, Program, Value as Cel};
use serde_json::{Value, json};

use super::cel_library::{ENV, ROOT};
use super::cel_types::{typed, wrap};
use super::node::{Additional, Node, NodeId, Type};
use super::validate::correlated;
use super::{FieldError, FieldReason, Schema, text};

/// One compiled rule.
#[derive(Debug)]
pub(super) struct Rule {
    source: String,
    message: String,
    reason: Option<String>,
    /// Where the error is shown, below the place of the rule; without the leading dot.
    field_path: String,
    optional_old_self: bool,
    uses_old_self: bool,
    program: Program,
    message_program: Option<Program>,
}

impl Rule {
    /// Compiles a rule; the errors are those of the definition.
    pub(super) fn compile(rule: &Value, path: &str) -> Result<Self, Vec<FieldError>> {
        let word = |name: &str| rule.get(name).and_then(Value::as_str).unwrap_or_default();
        let source = word("rule").to_owned();
        let mut errors = Vec::new();
        if source.trim().is_empty() {
            errors.push(FieldError::required(
                &text::child(path, "rule"),
                "rule is not specified",
            ));
            return Err(errors);
        }
        let message = word("message").to_owned();
        if rule.get("message").is_some() && message.trim().is_empty() {
            errors.push(FieldError::invalid_str(
                &text::child(path, "message"),
                &message,
                "message must be non-empty if specified",
            ));
        }
        if message.contains('\n') {
            errors.push(FieldError::invalid_str(
                &text::child(path, "message"),
                &message,
                "message must not contain line breaks",
            ));
        }
        if source.contains('\n') && message.is_empty() {
            errors.push(FieldError::required(
                &text::child(path, "message"),
                "message must be specified if rule contains line breaks",
            ));
        }
        let reason = rule
            .get("reason")
            .and_then(Value::as_str)
            .map(str::to_owned);
        let reasons = [
            "FieldValueRequired",
            "FieldValueForbidden",
            "FieldValueInvalid",
            "FieldValueDuplicate",
        ];
        if let Some(reason) = reason.as_deref().filter(|r| !reasons.contains(r)) {
            let at = text::child(path, "reason");
            errors.push(FieldError::not_supported(&at, &json!(reason), &reasons));
        }
        let shown = || {
            json!({
                "Rule": source, "Message": message, "MessageExpression": word("messageExpression"),
                "Reason": reason, "FieldPath": word("fieldPath"), "OptionalOldSelf": rule.get("optionalOldSelf"),
            })
        };
        let program = ENV.compile(&source).map_err(|e| {
            let problem = format!("compilation failed: {e}");
            errors.push(FieldError::invalid(
                &text::child(path, "rule"),
                &shown(),
                &problem,
            ));
        });
        let message_expression = word("messageExpression");
        let mut message_program = None;
        if !message_expression.is_empty() {
            match ENV.compile(message_expression) {
                Ok(program) => message_program = Some(program),
                Err(e) => errors.push(FieldError::invalid(
                    &text::child(path, "messageExpression"),
                    &shown(),
                    &format!("messageExpression compilation failed: {e}"),
                )),
            }
        }
        let Ok(program) = program else {
            return Err(errors);
        };
        if !errors.is_empty() {
            return Err(errors);
        }
        let uses_old_self = program.references().has_variable("oldSelf");
        Ok(Self {
            field_path: normalized(word("fieldPath")),
            optional_old_self: rule
                .get("optionalOldSelf")
                .and_then(Value::as_bool)
                .unwrap_or_default(),
            source,
            message,
            reason,
            uses_old_self,
            program,
            message_program,
        })
    }

    /// The rule in an error message: its message, or its source.
    fn name(&self) -> &str {
        if self.message.is_empty() {
            self.source.trim()
        } else {
            self.message.trim()
        }
    }
}

/// `.spec['a-b']` as `spec.a-b`.
fn normalized(path: &str) -> String {
    let mut out = String::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(tail) = rest.strip_prefix("['") {
            let (name, tail) = tail.split_once("']").unwrap_or((tail, ""));
            out = text::child(&out, &name.replace("\\'", "'"));
            rest = tail;
        } else {
            let tail = rest.strip_prefix('.').unwrap_or(rest);
            let end = tail.find(['.', '[']).unwrap_or(tail.len());
            let (name, tail) = tail.split_at(end);
            if name.is_empty() {
                break;
            }
            out = text::child(&out, name);
            rest = tail;
        }
    }
    out
}

/// Whether the schema has rules at all.
pub(super) fn any(schema: &Schema) -> bool {
    schema.nodes.iter().any(|node| !node.rules.is_empty())
}

/// Runs all rules on `object`.
pub(super) fn run(
    schema: &Schema,
    object: &Value,
    old: Option<&Value>,
    errors: &mut Vec<FieldError>,
) {
    if any(schema) {
        let unchanged = old == Some(object);
        let place = Place {
            path: String::new(),
            old,
            unchanged,
        };
        visit(schema, schema.root, object, &place, errors);
    }
}

struct Place<'a> {
    path: String,
    /// The same place in the old object, where it can be told.
    old: Option<&'a Value>,
    /// The place, or the nearest one around it that can be told apart, did not change: its errors are let through.
    unchanged: bool,
}

impl<'a> Place<'a> {
    fn inner(&self, path: String, value: &Value, old: Option<&'a Value>) -> Self {
        let unchanged = match old {
            Some(old) => old == value,
            None => self.unchanged,
        };
        Self {
            path,
            old,
            unchanged,
        }
    }
}

fn visit(
    schema: &Schema,
    id: NodeId,
    value: &Value,
    place: &Place<'_>,
    errors: &mut Vec<FieldError>,
) {
    if value.is_null() {
        return;
    }
    let node = schema.at(id);
    if !node.rules.is_empty() {
        let this = typed(schema, id, value);
        let before = place
            .old
            .filter(|old| !old.is_null())
            .map(|old| typed(schema, id, old));
        for rule in &node.rules {
            check(rule, node, value, &this, before.as_ref(), place, errors);
        }
    }
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                let old = place.old.and_then(|old| old.get(name));
                let (next, path) = match (node.properties.get(name), node.additional) {
                    (Some(next), _) => (*next, text::child(&place.path, name)),
                    (None, Some(Additional::Schema(next))) => (next, text::key(&place.path, name)),
                    _ => continue,
                };
                visit(schema, next, inner, &place.inner(path, inner, old), errors);
            }
        }
        Value::Array(items) => {
            let Some(next) = node.items else { return };
            for (i, item) in items.iter().enumerate() {
                let old = correlated(node, item, place.old);
                let path = text::index(&place.path, i);
                visit(schema, next, item, &place.inner(path, item, old), errors);
            }
        }
        _ => {}
    }
}

fn check(
    rule: &Rule,
    node: &Node,
    value: &Value,
    this: &Cel,
    before: Option<&Cel>,
    place: &Place<'_>,
    errors: &mut Vec<FieldError>,
) {
    if rule.uses_old_self && before.is_none() && !rule.optional_old_self {
        return;
    }
    let mut context = ROOT.new_inner_scope();
    context.add_variable_from_value("self", this.clone());
    if rule.optional_old_self {
        let old = before.map_or_else(OptionalValue::none, |old| OptionalValue::of(old.clone()));
        context.add_variable_from_value("oldSelf", wrap(old));
    } else if let Some(old) = before {
        context.add_variable_from_value("oldSelf", old.clone());
    }
    let ty = node.ty.map_or("", Type::as_str);
    match rule.program.execute(&context) {
        Ok(Cel::Bool(true)) => return,
        Ok(_) => {}
        Err(error) => {
            errors.push(FieldError::invalid_str(
                &place.path,
                ty,
                &failure(&error, rule.name()),
            ));
            return;
        }
    }
    let path = if rule.field_path.is_empty() {
        place.path.clone()
    } else {
        text::child(&place.path, &rule.field_path)
    };
    let message = rule
        .message_program
        .as_ref()
        .and_then(|program| program.execute(&context).ok())
        .and_then(|result| match result {
            Cel::String(s) => Some(s.trim().to_owned()),
            _ => None,
        })
        // Empty and multi-line messages fall back to the written one.
        .filter(|s| !s.is_empty() && !s.contains('\n') && s.len() <= 5 * 1024);
    let detail = message.unwrap_or_else(|| {
        if rule.message.is_empty() {
            format!("failed rule: {}", rule.source.trim())
        } else {
            rule.message.trim().to_owned()
        }
    });
    let omit = matches!(node.ty, Some(Type::Object | Type::Array));
    // What did not change was accepted before; a rule on the change itself cannot be let through.
    let let_through = !rule.uses_old_self && place.unchanged;
    let error = match rule.reason.as_deref() {
        Some("FieldValueForbidden") => FieldError::forbidden(&path, &detail),
        Some("FieldValueRequired") => FieldError::required(&path, &detail),
        Some("FieldValueDuplicate") if omit => {
            FieldError::new(&path, FieldReason::Duplicate, "Duplicate value".to_owned())
        }
        Some("FieldValueDuplicate") => FieldError::duplicate(&path, value),
        _ if omit => FieldError::invalid_omitted(&path, &detail),
        _ => FieldError::invalid(&path, value, &detail),
    };
    errors.push(if let_through {
        FieldError::new(&path, FieldReason::Ratcheted, error.detail)
    } else {
        error
    });
}

/// An evaluation that failed, in the words of cel-go.
fn failure(error: &ExecutionError, rule: &str) -> String {
    let problem = match error {
        ExecutionError::NoSuchKey(key) => format!("no such key: {key}"),
        ExecutionError::IndexOutOfBounds(Cel::Int(i)) => format!("index out of bounds: {i}"),
        ExecutionError::DivisionByZero(_) => "division by zero".to_owned(),
        ExecutionError::RemainderByZero(_) => "modulus by zero".to_owned(),
        ExecutionError::Overflow(..) => "integer overflow".to_owned(),
        ExecutionError::UndeclaredReference(name) => {
            return format!(
                "rule compile error: compilation failed: undeclared reference to '{name}' (in container '')"
            );
        }
        ExecutionError::FunctionError { message, .. } => message.clone(),
        ExecutionError::NoSuchOverload(_)
        | ExecutionError::UnexpectedType { .. }
        | ExecutionError::UnsupportedBinaryOperator(..)
        | ExecutionError::ValuesNotComparable(..) => {
            return format!(
                "'no such overload': call arguments did not match a supported operator, function or \
                 macro signature for rule: {rule}"
            );
        }
        other => other.to_string(),
    };
    format!("{problem} evaluating rule: {rule}")
}
