use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::bell::{Bell, Listener};
use crate::store::Store;

/// What happens to a request instead of, or besides, its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// 409, as when somebody else wrote in between. Nothing is done.
    Conflict,
    /// 410 Expired. Nothing is done.
    Gone,
    /// 500. Nothing is done.
    InternalError,
    /// 429 with this many seconds in `Retry-After`. Nothing is done.
    TooManyRequests { retry_after: u64 },
    /// The request is carried out after this time.
    Delay(Duration),
    /// The connection breaks before the request is carried out.
    CutBefore,
    /// The connection breaks after the request was carried out: the caller cannot know.
    CutAfter,
}

/// Which requests a fault is for. An absent field matches every request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matching {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `apply`, `delete`, `deletecollection`.
    pub verb: Option<String>,
    /// `plural[.group][/subresource]`, such as `deployments.apps` or `services/status`.
    pub resource: Option<String>,
    pub namespace: Option<String>,
    pub name: Option<String>,
}

impl Matching {
    /// Every request.
    pub fn any() -> Self {
        Self::default()
    }

    /// Requests of one verb on one resource.
    pub fn new(verb: &str, resource: &str) -> Self {
        let (verb, resource) = (Some(verb.to_owned()), Some(resource.to_owned()));
        Self {
            verb,
            resource,
            ..Self::default()
        }
    }

    /// Only requests for the object of this name.
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    fn matches(&self, request: &Asked<'_>) -> bool {
        let holds = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|w| w == is);
        holds(&self.verb, request.verb)
            && holds(&self.resource, request.resource)
            && holds(&self.namespace, request.namespace)
            && holds(&self.name, request.name)
    }
}

/// What a fault is matched against.
pub(crate) struct Asked<'a> {
    pub(crate) verb: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

/// Scripted faults. Each one is used up by the requests it was for, in the order of the script.
pub struct Faults {
    script: Mutex<VecDeque<(Matching, Fault, u32)>>,
    cuts: Bell,
    store: Arc<Store>,
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Faults")
            .field("script", &self.script)
            .finish_non_exhaustive()
    }
}

impl Faults {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self {
            script: Mutex::default(),
            cuts: Bell::default(),
            store,
        }
    }

    /// The next `times` requests that match get `fault`.
    pub fn next(&self, matching: Matching, fault: Fault, times: u32) {
        if times > 0 {
            let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
            script.push_back((matching, fault, times));
        }
    }

    /// Forgets the faults that were not used.
    pub fn clear(&self) {
        self.script
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// How many faults wait to be used.
    pub fn pending(&self) -> u64 {
        let script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        script.iter().map(|(_, _, times)| u64::from(*times)).sum()
    }

    /// Ends every running watch, as a broken connection does.
    pub fn cut_watches(&self) {
        self.cuts.ring_on();
    }

    /// Forgets the watch history: who resumes from before now gets 410, and has to list again.
    pub fn expire_history(&self) {
        self.store.expire_history();
    }

    pub(crate) fn cuts(&self) -> Listener {
        self.cuts.listen()
    }

    pub(crate) fn take(&self, request: &Asked<'_>) -> Option<Fault> {
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        let index = script
            .iter()
            .position(|(matching, _, _)| matching.matches(request))?;
        let (_, fault, times) = &mut script[index];
        let fault = *fault;
        *times -= 1;
        if *times == 0 {
            script.remove(index);
        }
        Some(fault)
    }
}
