//! What an object asks for and cannot have.

use std::fmt;

use kube::{Resource, ResourceExt};

/// Something an object asks for that cannot be done.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// `Gateway` or `VirtualService`.
    pub kind: &'static str,
    pub namespace: String,
    pub name: String,
    /// One CamelCase word.
    pub reason: &'static str,
    pub message: String,
}

/// The reason and the message of a problem whose object the caller knows.
pub(super) type Refusal = (&'static str, String);

impl Problem {
    pub(super) fn of<K: Resource>(
        object: &K,
        kind: &'static str,
        (reason, message): Refusal,
    ) -> Self {
        Self {
            kind,
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            reason,
            message,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}/{}: {}",
            self.kind, self.namespace, self.name, self.message
        )
    }
}
