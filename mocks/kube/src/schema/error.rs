//! What is wrong with one field, in the words of the real API.

use std::fmt;

use serde_json::Value;

use super::text;

/// One problem with one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The path, such as `spec.ports[0].port`; `<nil>` for the object itself.
    pub field: String,
    /// The kind of problem, which is the `reason` of the cause in a Status.
    pub reason: FieldReason,
    /// The message as the real server prints it after `field: `.
    pub detail: String,
}

/// The kinds of problems (`k8s.io/apimachinery/pkg/util/validation/field`, `ErrorType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum FieldReason {
    Required,
    Invalid,
    NotSupported,
    Duplicate,
    TooLong,
    TooMany,
    TypeInvalid,
    Forbidden,
    NotFound,
    Internal,
    /// A rule that was broken before and still is: no error, but a warning.
    Ratcheted,
}

impl FieldReason {
    /// The `reason` of a cause in `Status.details.causes`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Duplicate => "FieldValueDuplicate",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::Forbidden => "FieldValueForbidden",
            Self::NotFound => "FieldValueNotFound",
            Self::Internal => "InternalError",
            Self::Ratcheted => "",
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.detail)
    }
}

fn with(head: String, detail: &str) -> String {
    if detail.is_empty() {
        head
    } else {
        format!("{head}: {detail}")
    }
}

impl FieldError {
    /// An error with a finished message. An empty path is the object itself.
    pub(crate) fn new(field: &str, reason: FieldReason, detail: String) -> Self {
        let field = if field.is_empty() { "<nil>" } else { field };
        Self {
            field: field.to_owned(),
            reason,
            detail,
        }
    }

    pub(crate) fn required(field: &str, detail: &str) -> Self {
        Self::new(
            field,
            FieldReason::Required,
            with("Required value".to_owned(), detail),
        )
    }

    pub(crate) fn forbidden(field: &str, detail: &str) -> Self {
        Self::new(
            field,
            FieldReason::Forbidden,
            with("Forbidden".to_owned(), detail),
        )
    }

    pub(crate) fn invalid(field: &str, value: &Value, detail: &str) -> Self {
        let head = format!("Invalid value: {}", text::bad_value(value));
        Self::new(field, FieldReason::Invalid, with(head, detail))
    }

    /// Like [`invalid`](Self::invalid) for a string.
    pub(crate) fn invalid_str(field: &str, value: &str, detail: &str) -> Self {
        let head = format!("Invalid value: {}", text::quote(value));
        Self::new(field, FieldReason::Invalid, with(head, detail))
    }

    /// An invalid value that is too large to print (objects and lists under CEL rules).
    pub(crate) fn invalid_omitted(field: &str, detail: &str) -> Self {
        Self::new(
            field,
            FieldReason::Invalid,
            with("Invalid value".to_owned(), detail),
        )
    }

    pub(crate) fn type_invalid(field: &str, value: &Value, detail: &str) -> Self {
        let head = format!("Invalid value: {}", text::bad_value(value));
        Self::new(field, FieldReason::TypeInvalid, with(head, detail))
    }

    pub(crate) fn duplicate(field: &str, value: &Value) -> Self {
        let head = format!("Duplicate value: {}", text::bad_value(value));
        Self::new(field, FieldReason::Duplicate, head)
    }

    pub(crate) fn not_found(field: &str, value: &Value) -> Self {
        let head = format!("Not found: {}", text::bad_value(value));
        Self::new(field, FieldReason::NotFound, head)
    }

    pub(crate) fn not_supported<S: AsRef<str>>(field: &str, value: &Value, allowed: &[S]) -> Self {
        let head = format!("Unsupported value: {}", text::bad_value(value));
        let list: Vec<String> = allowed.iter().map(|a| text::quote(a.as_ref())).collect();
        let detail = if list.is_empty() {
            String::new()
        } else {
            format!("supported values: {}", list.join(", "))
        };
        Self::new(field, FieldReason::NotSupported, with(head, &detail))
    }

    pub(crate) fn too_long(field: &str, max: u64) -> Self {
        let unit = if max == 1 { "byte" } else { "bytes" };
        let detail = format!("Too long: may not be more than {max} {unit}");
        Self::new(field, FieldReason::TooLong, detail)
    }

    pub(crate) fn too_many(field: &str, actual: usize, max: u64) -> Self {
        let unit = if max == 1 { "item" } else { "items" };
        let detail = format!("Too many: {actual}: must have at most {max} {unit}");
        Self::new(field, FieldReason::TooMany, detail)
    }

    /// The same error below `prefix`.
    #[must_use]
    pub fn under(mut self, prefix: &str) -> Self {
        self.field = if self.field == "<nil>" {
            prefix.to_owned()
        } else if self.field.starts_with('[') {
            format!("{prefix}{}", self.field)
        } else {
            format!("{prefix}.{}", self.field)
        };
        self
    }
}
