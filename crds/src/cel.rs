//! Spelling of CEL rules and list types inside a schema.

use serde_json::{Value, json};

/// `x-kubernetes-validations` from pairs of (rule, message).
pub(crate) fn rules(rules: &[(&str, &str)]) -> Value {
    rules
        .iter()
        .map(|(rule, message)| json!({ "rule": rule, "message": message }))
        .collect()
}

/// A rule for a list of ports: no number twice for the same transport, and no name twice.
///
/// TCP and UDP may share a number (HTTP/3 beside HTTPS), as in a Service.
pub(crate) fn unique_ports() -> Value {
    rules(&[
        (
            "self.all(p, self.exists_one(q, q.port == p.port && (has(q.protocol) && q.protocol == \
             'UDP') == (has(p.protocol) && p.protocol == 'UDP')))",
            "port numbers must be unique for a transport protocol",
        ),
        (
            "self.all(p, !has(p.name) || self.exists_one(q, has(q.name) && q.name == p.name))",
            "port names must be unique",
        ),
        (
            "size(self) < 2 || self.all(p, has(p.name))",
            "each port needs a name when there is more than one",
        ),
    ])
}
