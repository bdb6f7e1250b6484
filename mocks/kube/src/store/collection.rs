use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::watch;

use super::{Expired, ObjectKey};

/// How many changes a collection remembers. A watch that falls further behind has to list again.
const HISTORY: usize = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Added,
    Modified,
    Deleted,
}

/// One change in the history.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) revision: u64,
    pub(crate) change: Change,
    pub(crate) key: ObjectKey,
    /// The object after the change; for a deletion its last state.
    pub(crate) object: Arc<Value>,
    pub(crate) previous: Option<Arc<Value>>,
}

/// Part of a list.
pub(crate) struct Page {
    /// The revision the whole list is of.
    pub(crate) revision: u64,
    /// In order of namespace and name.
    pub(crate) objects: Vec<(ObjectKey, Arc<Value>)>,
}

pub(super) struct Collection {
    objects: BTreeMap<ObjectKey, Arc<Value>>,
    history: VecDeque<Event>,
    /// Changes up to this revision are not remembered.
    forgotten: u64,
    changed: watch::Sender<u64>,
}

impl Collection {
    pub(super) fn new(forgotten: u64) -> Self {
        Self {
            objects: BTreeMap::new(),
            history: VecDeque::new(),
            forgotten,
            changed: watch::Sender::new(0),
        }
    }

    pub(super) fn get(&self, key: &ObjectKey) -> Option<Arc<Value>> {
        self.objects.get(key).cloned()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&ObjectKey, &Arc<Value>)> {
        self.objects.iter()
    }

    /// Puts in an object that was read from the file.
    pub(super) fn restore(&mut self, key: ObjectKey, object: Arc<Value>) {
        self.objects.insert(key, object);
    }

    pub(super) fn record(
        &mut self,
        key: ObjectKey,
        revision: u64,
        removed: bool,
        object: Arc<Value>,
        previous: Option<Arc<Value>>,
    ) {
        let change = match (&previous, removed) {
            (_, true) => Change::Deleted,
            (None, false) => Change::Added,
            (Some(_), false) => Change::Modified,
        };
        if removed {
            self.objects.remove(&key);
        } else {
            self.objects.insert(key.clone(), object.clone());
        }
        self.history.push_back(Event {
            revision,
            change,
            key,
            object,
            previous,
        });
        if self.history.len() > HISTORY
            && let Some(oldest) = self.history.pop_front()
        {
            self.forgotten = oldest.revision;
        }
    }

    pub(super) fn publish(&mut self, visible: u64) {
        self.changed.send_replace(visible);
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(super) fn expire(&mut self, revision: u64) {
        self.history.clear();
        self.forgotten = revision;
    }

    pub(super) fn events(
        &self,
        after: u64,
        visible: u64,
        limit: usize,
    ) -> Result<Vec<Event>, Expired> {
        if after < self.forgotten {
            return Err(Expired {
                oldest: self.forgotten,
            });
        }
        let start = self
            .history
            .partition_point(|event| event.revision <= after);
        let events = self
            .history
            .range(start..)
            .take_while(|event| event.revision <= visible);
        Ok(events.take(limit).cloned().collect())
    }

    /// The objects of a namespace (or of all), in order. `from` continues a list: only keys after that
    /// one, as they were at that revision, which the history gives back.
    pub(super) fn page(
        &self,
        namespace: Option<&str>,
        from: Option<(&ObjectKey, u64)>,
        revision: u64,
    ) -> Result<Page, Expired> {
        let first = ObjectKey {
            namespace: namespace.unwrap_or_default().to_owned(),
            name: String::new(),
        };
        let start = match from {
            Some((key, _)) => Bound::Excluded(key.clone()),
            None => Bound::Included(first),
        };
        let within = |key: &ObjectKey| namespace.is_none_or(|n| key.namespace == n);
        let current = self
            .objects
            .range((start.clone(), Bound::Unbounded))
            .take_while(|(key, _)| within(key))
            .map(|(key, object)| (key.clone(), object.clone()));
        let at = from.map_or(revision, |(_, at)| at);
        let newer = self.history.partition_point(|event| event.revision <= at);
        if from.is_none() || (newer == self.history.len() && at >= self.forgotten) {
            return Ok(Page {
                revision: at,
                objects: current.collect(),
            });
        }
        if at < self.forgotten {
            return Err(Expired {
                oldest: self.forgotten,
            });
        }
        let mut objects: BTreeMap<ObjectKey, Arc<Value>> = current.collect();
        for event in self
            .history
            .range(newer..)
            .rev()
            .filter(|event| within(&event.key))
        {
            match &event.previous {
                Some(previous) => objects.insert(event.key.clone(), previous.clone()),
                None => objects.remove(&event.key),
            };
        }
        let objects = objects.split_off(&match start {
            Bound::Excluded(key) | Bound::Included(key) => key,
            Bound::Unbounded => ObjectKey {
                namespace: String::new(),
                name: String::new(),
            },
        });
        let objects = objects
            .into_iter()
            .filter(|(key, _)| from.is_none_or(|(f, _)| key > f));
        Ok(Page {
            revision: at,
            objects: objects.collect(),
        })
    }
}
