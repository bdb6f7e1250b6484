//! Answers that refuse: the `Status` object, with the reasons and the wording of the real server.

use serde_json::{Map, Value, json};

use crate::schema::FieldError;

/// A refusal, as it becomes a `Status` object (`meta/v1`, `Status`).
#[derive(Debug)]
pub(crate) struct ApiError {
    pub(crate) code: u16,
    reason: &'static str,
    message: String,
    details: Option<Box<Value>>,
    /// With what a list that cannot go on as it began may go on all the same.
    continue_token: Option<String>,
}

pub(crate) type Answer<T> = Result<T, ApiError>;

/// The name of a resource or kind with its group, as messages print it: `deployments.apps`.
pub(crate) fn qualified(name: &str, group: &str) -> String {
    if group.is_empty() {
        name.to_owned()
    } else {
        format!("{name}.{group}")
    }
}

impl ApiError {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: None,
            continue_token: None,
        }
    }

    /// The same, with the token of a list that goes on with what is there now.
    pub(crate) fn with_continue(mut self, token: String) -> Self {
        self.continue_token = Some(token);
        self
    }

    fn about(mut self, name: &str, group: &str, kind: &str) -> Self {
        let mut details = Map::new();
        for (key, value) in [("name", name), ("group", group), ("kind", kind)] {
            if !value.is_empty() {
                details.insert(key.into(), value.into());
            }
        }
        self.details = Some(Box::new(Value::Object(details)));
        self
    }

    /// The same, with something said before its message.
    pub(crate) fn with_prefix(mut self, prefix: &str) -> Self {
        self.message = format!("{prefix}: {}", self.message);
        self
    }

    fn with_detail(mut self, key: &str, value: Value) -> Self {
        let details = self.details.get_or_insert_with(|| Box::new(json!({})));
        details[key] = value;
        self
    }

    /// With another kind in the details.
    pub(crate) fn of_kind(self, kind: &str) -> Self {
        self.with_detail("kind", kind.into())
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn is_conflict(&self) -> bool {
        self.code == 409 && self.reason == "Conflict"
    }

    pub(crate) fn is_not_found(&self) -> bool {
        self.code == 404
    }

    pub(crate) fn not_found(plural: &str, group: &str, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", qualified(plural, group));
        Self::new(404, "NotFound", message).about(name, group, plural)
    }

    pub(crate) fn no_route() -> Self {
        Self::new(
            404,
            "NotFound",
            "the server could not find the requested resource",
        )
        .with_detail("causes", json!([]))
    }

    /// Nothing at all is served at the path, not even its group: the answer is plain text.
    pub(crate) fn no_page() -> Self {
        Self::new(404, "", "404 page not found\n")
    }

    pub(crate) fn is_no_page(&self) -> bool {
        self.code == 404 && self.reason.is_empty()
    }

    pub(crate) fn already_exists(plural: &str, group: &str, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", qualified(plural, group));
        Self::new(409, "AlreadyExists", message).about(name, group, plural)
    }

    pub(crate) fn conflict(plural: &str, group: &str, name: &str, why: &str) -> Self {
        let resource = qualified(plural, group);
        let message = format!("Operation cannot be fulfilled on {resource} \"{name}\": {why}");
        Self::new(409, "Conflict", message).about(name, group, plural)
    }

    pub(crate) fn modified(plural: &str, group: &str, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version \
                   and try again";
        Self::conflict(plural, group, name, why)
    }

    /// Conflicts of server-side apply: one cause a field.
    pub(crate) fn apply_conflict(message: String, causes: Vec<(String, String)>) -> Self {
        let causes = causes
            .into_iter()
            .map(|(message, field)| {
                json!({"reason": "FieldManagerConflict", "message": message, "field": field})
            })
            .collect();
        Self::new(409, "Conflict", message).with_detail("causes", Value::Array(causes))
    }

    pub(crate) fn invalid(kind: &str, group: &str, name: &str, errors: &[FieldError]) -> Self {
        let mut lines: Vec<String> = Vec::new();
        let mut causes = Vec::new();
        for error in errors {
            let line = if error.field.is_empty() {
                error.detail.clone()
            } else {
                format!("{}: {}", error.field, error.detail)
            };
            if !lines.contains(&line) {
                lines.push(line);
            }
            causes.push(json!({
                "reason": error.reason.as_str(),
                "message": error.detail,
                "field": error.field,
            }));
        }
        let body = match lines.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let message = format!("{} \"{name}\" is invalid: {body}", qualified(kind, group));
        Self::new(422, "Invalid", message)
            .about(name, group, kind)
            .with_detail("causes", Value::Array(causes))
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    pub(crate) fn forbidden(plural: &str, group: &str, name: &str, why: &str) -> Self {
        let resource = qualified(plural, group);
        let message = format!("{resource} \"{name}\" is forbidden: {why}");
        Self::new(403, "Forbidden", message).about(name, group, plural)
    }

    /// Nothing new may be made in a namespace that is going away.
    pub(crate) fn terminating(plural: &str, group: &str, name: &str, namespace: &str) -> Self {
        let why = format!(
            "unable to create new content in namespace {namespace} because it is being terminated"
        );
        let cause = json!([{
            "reason": "NamespaceTerminating",
            "message": format!("namespace {namespace} is being terminated"),
            "field": "metadata.namespace",
        }]);
        Self::forbidden(plural, group, name, &why).with_detail("causes", cause)
    }

    pub(crate) fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(405, "MethodNotAllowed", message).with_detail("causes", json!([]))
    }

    pub(crate) fn not_acceptable(accepted: &str) -> Self {
        let message = format!("406: Not Acceptable\n\nAvailable representations: {accepted}");
        Self::new(406, "NotAcceptable", message).with_detail("causes", json!([]))
    }

    /// The media type is known, and not in the form or version that is asked for.
    pub(crate) fn not_convertible(accepted: &str) -> Self {
        let message = format!("only the following media types are accepted: {accepted}");
        Self::new(406, "NotAcceptable", message)
    }

    pub(crate) fn too_large() -> Self {
        let message = format!(
            "Request entity too large: limit is {}",
            crate::service::BODY_LIMIT
        );
        Self::new(413, "RequestEntityTooLarge", message)
    }

    pub(crate) fn unsupported_media(accepted: &str) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: \
             {accepted}"
        );
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// A patch of a media type that no patch has.
    pub(crate) fn unsupported_patch() -> Self {
        let message = "415: Unsupported Media Type";
        Self::new(415, "UnsupportedMediaType", message).with_detail("causes", json!([]))
    }

    /// The history a watch or a continued list needs is gone.
    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    pub(crate) fn too_large_version(wanted: u64, current: u64) -> Self {
        let message = format!("Too large resource version: {wanted}, current: {current}");
        Self::new(504, "Timeout", message).with_detail("retryAfterSeconds", json!(1)).with_detail(
            "causes",
            json!([{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]),
        )
    }

    pub(crate) fn too_many_requests(retry_after_seconds: u64) -> Self {
        let message = "the server has received too many requests and has asked us to try again \
                       later";
        Self::new(429, "TooManyRequests", message)
            .with_detail("retryAfterSeconds", json!(retry_after_seconds))
    }

    pub(crate) fn internal(message: &str) -> Self {
        Self::new(
            500,
            "InternalError",
            format!("Internal error occurred: {message}"),
        )
        .with_detail("causes", json!([{"message": message}]))
    }

    /// `counts` says what the budget needs and has.
    pub(crate) fn disruption_budget(counts: &str) -> Self {
        let message = "Cannot evict pod as it would violate the pod's disruption budget.";
        Self::new(429, "TooManyRequests", message).with_detail(
            "causes",
            json!([{"reason": "DisruptionBudget", "message": counts}]),
        )
    }

    pub(crate) fn unprocessable(message: &str) -> Self {
        Self::new(422, "Invalid", message).with_detail("causes", json!([]))
    }

    /// A failure that the real server passes on as it is, without a reason.
    pub(crate) fn plain(message: impl Into<String>) -> Self {
        Self::new(500, "", message)
    }

    /// Seconds for the `Retry-After` header.
    pub(crate) fn retry_after(&self) -> Option<u64> {
        self.details.as_ref()?.get("retryAfterSeconds")?.as_u64()
    }

    /// The `Status` object.
    pub(crate) fn to_value(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        });
        if let Some(token) = &self.continue_token {
            status["metadata"]["continue"] = token.clone().into();
        }
        if !self.reason.is_empty() {
            status["reason"] = self.reason.into();
        }
        if let Some(details) = &self.details {
            let mut details = (**details).clone();
            if details["causes"].as_array().is_some_and(Vec::is_empty)
                && let Some(map) = details.as_object_mut()
            {
                map.shift_remove("causes");
            }
            status["details"] = details;
        }
        status["code"] = self.code.into();
        status
    }
}

/// The `Status` of a success that has no object to show.
pub(crate) fn success(plural: &str, group: &str, name: &str, uid: &str) -> Value {
    let mut details = json!({"name": name, "kind": plural});
    if !group.is_empty() {
        details["group"] = group.into();
    }
    if !uid.is_empty() {
        details["uid"] = uid.into();
    }
    json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details,
    })
}
