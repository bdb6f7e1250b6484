use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// More verb and resource pairs than this are counted under `other`; paths that clients make up
/// must not make the log grow.
const LIMIT: usize = 1_000;

/// Counts of requests by verb and resource, for tests.
///
/// Verbs are those of Kubernetes (`get`, `list`, `watch`, `create`, `update`, `patch`, `apply`,
/// `delete`, `deletecollection`); requests that are not about a resource count under the method in
/// lower case. Resources are `plural[.group][/subresource]`, or the path.
#[derive(Clone, Debug, Default)]
pub struct RequestLog(Arc<Mutex<BTreeMap<(String, String), u64>>>);

impl RequestLog {
    pub(crate) fn record(&self, verb: &str, resource: &str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (verb.to_owned(), resource.to_owned());
        if counts.len() >= LIMIT && !counts.contains_key(&key) {
            *counts
                .entry((verb.to_owned(), "other".to_owned()))
                .or_default() += 1;
        } else {
            *counts.entry(key).or_default() += 1;
        }
    }

    /// How often `verb` was asked of `resource`.
    pub fn count(&self, verb: &str, resource: &str) -> u64 {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts
            .get(&(verb.to_owned(), resource.to_owned()))
            .copied()
            .unwrap_or(0)
    }

    /// All counts, by verb and resource.
    pub fn counts(&self) -> BTreeMap<(String, String), u64> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// All requests counted.
    pub fn total(&self) -> u64 {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .sum()
    }

    /// Starts again at zero.
    pub fn clear(&self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}
