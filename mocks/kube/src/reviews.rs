//! Reviews of access. There is one user, who may do everything: the holder of the token is a member of
//! `system:masters`, as the administrator of a fresh cluster is.

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::bodies;
use crate::request::{Request, ResourcePath};
use crate::schema::{FieldError, FieldReason};
use crate::status::{Answer, ApiError};

const USER: &str = "kubernetes-admin";

/// Kinds that are asked, not stored: plural, group, kind.
pub(crate) const REVIEWS: &[(&str, &str, &str, bool)] = &[
    (
        "authentication.k8s.io",
        "selfsubjectreviews",
        "SelfSubjectReview",
        false,
    ),
    (
        "authorization.k8s.io",
        "localsubjectaccessreviews",
        "LocalSubjectAccessReview",
        true,
    ),
    (
        "authorization.k8s.io",
        "selfsubjectaccessreviews",
        "SelfSubjectAccessReview",
        false,
    ),
    (
        "authorization.k8s.io",
        "selfsubjectrulesreviews",
        "SelfSubjectRulesReview",
        false,
    ),
    (
        "authorization.k8s.io",
        "subjectaccessreviews",
        "SubjectAccessReview",
        false,
    ),
];

/// The answer to a review, when the request is one.
pub(crate) fn answer(
    request: &Request,
    path: &ResourcePath,
    body: &Bytes,
) -> Option<Answer<Value>> {
    let (_, _, kind, _) = REVIEWS
        .iter()
        .find(|(group, plural, _, _)| *group == path.group && *plural == path.plural)?;
    if path.version != "v1" {
        return None;
    }
    if request.parts.method != Method::POST {
        return Some(Err(ApiError::method_not_allowed()));
    }
    let review = match bodies::object(request, body) {
        Ok(review) => review,
        Err(error) => return Some(Err(error)),
    };
    if kind.ends_with("AccessReview") {
        let asked = |name: &str| review.pointer(&format!("/spec/{name}")).is_some();
        if asked("resourceAttributes") == asked("nonResourceAttributes") {
            let errors = [FieldError {
                field: "spec".to_owned(),
                reason: FieldReason::Invalid,
                detail: "Invalid value: null: exactly one of nonResourceAttributes or \
                         resourceAttributes must be specified"
                    .to_owned(),
            }];
            return Some(Err(ApiError::invalid("", &path.group, "", &errors)));
        }
    }
    Some(Ok(complete(review, kind)))
}

fn complete(mut review: Value, kind: &str) -> Value {
    if !review.is_object() {
        review = json!({});
    }
    review["status"] = match kind {
        "SelfSubjectReview" => json!({
            "userInfo": {"username": USER, "groups": ["system:masters", "system:authenticated"]},
        }),
        "SelfSubjectRulesReview" => json!({
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": false,
        }),
        _ => json!({"allowed": true}),
    };
    review
}
