use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use super::{Expired, Object, ObjectKey};
use crate::bell::{Bell, Listener};

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
    pub(crate) object: Arc<Object>,
    pub(crate) previous: Option<Arc<Object>>,
}

/// Says which objects a list is to hold.
pub(crate) type Filter<'a> = dyn Fn(&Arc<Object>) -> bool + 'a;

/// What a list is to hold. The default is all there is now.
#[derive(Clone, Copy, Default)]
pub(crate) struct Wanted<'a> {
    /// The namespace; none is all of them.
    pub(crate) namespace: Option<&'a str>,
    /// Where it goes on.
    pub(crate) from: Option<Bound<&'a ObjectKey>>,
    /// The objects as they were at this revision; none is now.
    pub(crate) at: Option<u64>,
    pub(crate) limit: Option<u64>,
    /// Which objects; none is all of them.
    pub(crate) filter: Option<&'a Filter<'a>>,
}

/// Part of a list.
pub(crate) struct Page {
    /// The revision the whole list is of.
    pub(crate) revision: u64,
    /// In order of namespace and name.
    pub(crate) objects: Vec<Arc<Object>>,
    /// How many objects follow; with a filter only whether any do (1).
    pub(crate) remaining: u64,
}

pub(super) struct Collection {
    objects: BTreeMap<ObjectKey, Arc<Object>>,
    history: VecDeque<Arc<Event>>,
    /// Changes up to this revision are not remembered.
    forgotten: u64,
    changed: Bell,
}

impl Collection {
    pub(super) fn new(forgotten: u64) -> Self {
        Self {
            objects: BTreeMap::new(),
            history: VecDeque::new(),
            forgotten,
            changed: Bell::default(),
        }
    }

    pub(super) fn get(&self, key: &ObjectKey) -> Option<Arc<Object>> {
        self.objects.get(key).cloned()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&ObjectKey, &Arc<Object>)> {
        self.objects.iter()
    }

    /// The objects, in the order of their places.
    pub(super) fn objects(&self) -> impl Iterator<Item = (&ObjectKey, &Arc<Object>)> {
        self.objects.iter()
    }

    /// Puts in an object of before.
    pub(super) fn restore(&mut self, key: ObjectKey, object: Arc<Object>) {
        self.objects.insert(key, object);
    }

    pub(super) fn record(
        &mut self,
        key: ObjectKey,
        revision: u64,
        removed: bool,
        object: Arc<Object>,
        previous: Option<Arc<Object>>,
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
        self.history.push_back(Arc::new(Event {
            revision,
            change,
            key,
            object,
            previous,
        }));
        if self.history.len() > HISTORY
            && let Some(oldest) = self.history.pop_front()
        {
            self.forgotten = oldest.revision;
        }
    }

    pub(super) fn publish(&mut self, visible: u64) {
        self.changed.ring(visible);
    }

    pub(super) fn subscribe(&self) -> Listener {
        self.changed.listen()
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
    ) -> Result<Vec<Arc<Event>>, Expired> {
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

    /// A page of a list. Its cost grows with what it shows and with what changed since its revision; the
    /// objects that follow are only counted.
    pub(super) fn page(&self, wanted: &Wanted<'_>, revision: u64) -> Result<Page, Expired> {
        let changed = match wanted.at {
            Some(at) => self.before(at)?,
            None => BTreeMap::new(),
        };
        let first = ObjectKey {
            namespace: wanted.namespace.unwrap_or_default().to_owned(),
            name: String::new(),
        };
        let range = (
            wanted.from.unwrap_or(Bound::Included(&first)),
            Bound::Unbounded,
        );
        let mut then = changed.range::<ObjectKey, _>(range).peekable();
        let mut now = self.objects.range::<ObjectKey, _>(range).peekable();
        let merged = std::iter::from_fn(|| {
            loop {
                let old = then.peek().map(|(key, _)| **key);
                let current = now.peek().map(|(key, _)| *key);
                if old.is_none_or(|old| current.is_some_and(|current| current < old)) {
                    return now.next();
                }
                if old == current {
                    now.next();
                }
                if let Some((key, Some(object))) = then.next() {
                    return Some((*key, *object));
                }
            }
        });
        let mut page = Page {
            revision: wanted.at.unwrap_or(revision),
            objects: Vec::new(),
            remaining: 0,
        };
        let within = |key: &ObjectKey| wanted.namespace.is_none_or(|n| key.namespace == n);
        for (_, object) in merged.take_while(|(key, _)| within(key)) {
            if wanted.filter.is_some_and(|filter| !filter(object)) {
                continue;
            }
            if wanted
                .limit
                .is_none_or(|limit| (page.objects.len() as u64) < limit)
            {
                page.objects.push(object.clone());
                continue;
            }
            page.remaining += 1;
            if wanted.filter.is_some() {
                break;
            }
        }
        Ok(page)
    }

    /// What was changed after a revision, as it was at it; none is what was not there.
    fn before(&self, at: u64) -> Result<BTreeMap<&ObjectKey, Option<&Arc<Object>>>, Expired> {
        if at < self.forgotten {
            return Err(Expired {
                oldest: self.forgotten,
            });
        }
        let newer = self.history.partition_point(|event| event.revision <= at);
        let newest_first = self.history.range(newer..).rev();
        Ok(newest_first
            .map(|event| (&event.key, event.previous.as_ref()))
            .collect())
    }
}
