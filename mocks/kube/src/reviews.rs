//! Reviews of access. There is one user, who may do everything: the holder of the token is a member of
//! `system:masters`, as the administrator of a fresh cluster is.

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::bodies;
use crate::request::{Request, ResourcePath};
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
    Some(bodies::object(request, body).map(|review| complete(review, kind)))
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
