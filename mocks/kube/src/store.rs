//! The objects, their history, and the file they survive in.
//!
//! Memory is what reads see: a sorted map a collection and a bounded history of changes. A file, when there
//! is one, is written through in groups: a write is answered, and shown to watches, only after its
//! group is on disk. So nothing that a client or a controller acted upon is lost when the process dies.

mod collection;
mod file;
mod object;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gatewright_seams::Tasks;
use serde_json::Value;
use tokio::sync::{Notify, watch};

use crate::bell::Listener;
use crate::error::Error;
use crate::meta;
use crate::options::Storage;
use collection::Collection;
pub(crate) use collection::{Change, Event, Filter, Page, Wanted};
pub(crate) use object::Object;

/// The place of an object in its collection. Cluster-scoped objects have the namespace "".
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ObjectKey {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl ObjectKey {
    /// The place of an object.
    pub(crate) fn of(object: &Value) -> Self {
        Self {
            namespace: meta::namespace(object).to_owned(),
            name: meta::name(object).to_owned(),
        }
    }
}

/// An object's collection and place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Location {
    pub(crate) collection: Arc<str>,
    pub(crate) key: ObjectKey,
}

/// Something the collector has to look at.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// An object is being deleted or has owners.
    Look(Location),
    /// An object is gone.
    Gone {
        location: Location,
        uid: String,
        owners: Vec<String>,
    },
}

/// Why a write was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// There is an object of that name.
    Exists,
    /// There is none.
    Absent,
    /// It has another revision.
    Modified,
}

/// The history asked for is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expired {
    /// The oldest revision that can be resumed from.
    pub(crate) oldest: u64,
}

#[derive(Default)]
struct State {
    revision: u64,
    visible: u64,
    collections: BTreeMap<Arc<str>, Collection>,
    uids: BTreeMap<String, Location>,
    dependents: BTreeMap<String, BTreeSet<Location>>,
    work: VecDeque<Work>,
    unwritten: Vec<(Location, Option<Arc<Object>>)>,
}

/// All objects at one moment.
#[derive(Clone)]
pub(crate) struct Copied {
    revision: u64,
    objects: Vec<(Location, Arc<Object>)>,
}

/// How far the file has come.
#[derive(Clone, Copy, Default)]
struct Written {
    revision: u64,
    failed: bool,
}

/// Objects by collection and key, with history.
pub(crate) struct Store {
    state: Mutex<State>,
    file: bool,
    written: watch::Sender<Written>,
    pub(crate) to_write: Notify,
    pub(crate) to_collect: Notify,
}

impl Store {
    /// Opens the storage. With a file, a task of `tasks` writes it.
    pub(crate) fn open(storage: &Storage, tasks: &Tasks) -> Result<Arc<Self>, Error> {
        let (state, database) = match storage {
            Storage::Memory => (
                State {
                    revision: 1,
                    visible: 1,
                    ..State::default()
                },
                None,
            ),
            Storage::File(path) => {
                let (database, revision, objects) = file::open(path)?;
                let objects = objects
                    .into_iter()
                    .map(|(location, object)| (location, Object::new(object)));
                (State::restored(revision, objects), Some(database))
            }
            Storage::Copy(snapshot) => {
                let Copied { revision, objects } = snapshot.store.clone();
                (State::restored(revision, objects), None)
            }
        };
        let revision = state.revision;
        let store = Arc::new(Self {
            state: Mutex::new(state),
            file: database.is_some(),
            written: watch::Sender::new(Written {
                revision,
                failed: false,
            }),
            to_write: Notify::new(),
            to_collect: Notify::new(),
        });
        if let Some(database) = database {
            file::start_writer(&store, database, tasks);
        }
        Ok(store)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All objects as they are now.
    pub(crate) fn copy(&self) -> Copied {
        let state = self.state();
        let collections = state.collections.iter();
        let objects = collections.flat_map(|(name, collection)| {
            collection.objects().map(|(key, object)| {
                let location = Location {
                    collection: name.clone(),
                    key: key.clone(),
                };
                (location, object.clone())
            })
        });
        Copied {
            revision: state.revision,
            objects: objects.collect(),
        }
    }

    /// The revision of the last write.
    pub(crate) fn revision(&self) -> u64 {
        self.state().revision
    }

    pub(crate) fn get(&self, collection: &str, key: &ObjectKey) -> Option<Arc<Object>> {
        self.state().collections.get(collection)?.get(key)
    }

    pub(crate) fn find_uid(&self, uid: &str) -> Option<Location> {
        self.state().uids.get(uid).cloned()
    }

    /// The objects that name `uid` as an owner.
    pub(crate) fn dependents(&self, uid: &str) -> Vec<Location> {
        self.state()
            .dependents
            .get(uid)
            .map(|set| set.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// Adds an object; its `resourceVersion` is written here.
    pub(crate) fn create(&self, at: &Location, object: Value) -> Result<Arc<Object>, Refused> {
        self.write(at, None, Some(object))
    }

    /// Puts `object` in the place of the one with the revision `expected`.
    pub(crate) fn replace(
        &self,
        at: &Location,
        expected: u64,
        object: Value,
    ) -> Result<Arc<Object>, Refused> {
        self.write(at, Some(expected), Some(object))
    }

    /// Takes away the object with the revision `expected`. Gives its last state, with the revision of the removal.
    pub(crate) fn remove(&self, at: &Location, expected: u64) -> Result<Arc<Object>, Refused> {
        self.write(at, Some(expected), None)
    }

    fn write(
        &self,
        at: &Location,
        expected: Option<u64>,
        object: Option<Value>,
    ) -> Result<Arc<Object>, Refused> {
        let mut state = self.state();
        let previous = state.collection(&at.collection).get(&at.key);
        match (&previous, expected) {
            (Some(_), None) => return Err(Refused::Exists),
            (None, Some(_)) => return Err(Refused::Absent),
            (Some(previous), Some(expected)) if meta::revision(previous) != expected => {
                return Err(Refused::Modified);
            }
            _ => {}
        }
        state.revision += 1;
        let revision = state.revision;
        let removed = object.is_none();
        let stamped = |mut object: Value| {
            let text = Value::String(revision.to_string());
            meta::set_metadata(&mut object, "resourceVersion", Some(text));
            Object::new(object)
        };
        let object = match (object, &previous) {
            (Some(object), _) => stamped(object),
            (None, Some(previous)) => stamped(Value::clone(previous)),
            (None, None) => return Err(Refused::Absent),
        };
        let now = (!removed).then_some(&**object);
        state.index(at, previous.as_deref().map(Deref::deref), now);
        if self.file {
            state
                .unwritten
                .push((at.clone(), (!removed).then(|| object.clone())));
        } else {
            state.visible = revision;
        }
        let visible = state.visible;
        let collection = state.collection(&at.collection);
        collection.record(at.key.clone(), revision, removed, object.clone(), previous);
        let work = !state.work.is_empty();
        if self.file {
            self.to_write.notify_one();
        } else {
            state.collection(&at.collection).publish(visible);
        }
        drop(state);
        if work {
            self.to_collect.notify_one();
        }
        Ok(object)
    }

    /// Waits until everything written so far is on disk. False when the disk refused.
    pub(crate) async fn durable(&self) -> bool {
        if !self.file {
            return true;
        }
        let revision = self.revision();
        let mut written = self.written.subscribe();
        let reached = written
            .wait_for(|w| w.failed || w.revision >= revision)
            .await;
        reached.is_ok_and(|written| !written.failed)
    }

    /// A page of a collection.
    pub(crate) fn page(&self, collection: &Arc<str>, wanted: &Wanted<'_>) -> Result<Page, Expired> {
        let mut state = self.state();
        let revision = state.revision;
        state.collection(collection).page(wanted, revision)
    }

    /// All objects of a collection, or of one namespace of it.
    pub(crate) fn all(&self, collection: &Arc<str>, namespace: Option<&str>) -> Vec<Arc<Object>> {
        let wanted = Wanted {
            namespace,
            ..Wanted::default()
        };
        // Only what was long ago can be expired.
        self.page(collection, &wanted)
            .map(|page| page.objects)
            .unwrap_or_default()
    }

    /// The changes after `after` that may be shown, at most `limit`.
    pub(crate) fn events(
        &self,
        collection: &Arc<str>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Arc<Event>>, Expired> {
        let mut state = self.state();
        let visible = state.visible;
        state.collection(collection).events(after, visible, limit)
    }

    /// The highest revision that may be shown. Watches that have seen all up to it may say so.
    pub(crate) fn visible(&self) -> u64 {
        self.state().visible
    }

    /// Wakes at each change of the collection that may be shown.
    pub(crate) fn subscribe(&self, collection: &Arc<str>) -> Listener {
        self.state().collection(collection).subscribe()
    }

    /// Forgets all history: watches that resume from before now get "expired".
    pub(crate) fn expire_history(&self) {
        let mut state = self.state();
        let revision = state.revision;
        for collection in state.collections.values_mut() {
            collection.expire(revision);
        }
    }

    pub(crate) fn take_work(&self) -> Option<Work> {
        self.state().work.pop_front()
    }

    /// Asks the collector to look at every object that it may have to do with: after a start.
    pub(crate) fn look_at_all(&self) {
        let mut state = self.state();
        let mut work = Vec::new();
        for (name, collection) in &state.collections {
            for (key, object) in collection.all() {
                if meta::deleting(object) || !meta::owners(object).is_empty() {
                    let location = Location {
                        collection: name.clone(),
                        key: key.clone(),
                    };
                    work.push(Work::Look(location));
                }
            }
        }
        state.work.extend(work);
        drop(state);
        self.to_collect.notify_one();
    }
}

impl State {
    /// What was at `revision`, without history.
    fn restored(revision: u64, objects: impl IntoIterator<Item = (Location, Arc<Object>)>) -> Self {
        let mut state = Self {
            revision,
            visible: revision,
            ..Self::default()
        };
        for (location, object) in objects {
            state.index(&location, None, Some(&object));
            let collection = state.collection(&location.collection);
            collection.restore(location.key, object);
        }
        for collection in state.collections.values_mut() {
            collection.expire(revision);
        }
        state
    }

    fn collection(&mut self, name: &Arc<str>) -> &mut Collection {
        // A collection that is new since the history began has no history before now.
        let revision = self.revision;
        self.collections
            .entry(name.clone())
            .or_insert_with(|| Collection::new(revision))
    }

    fn index(&mut self, at: &Location, previous: Option<&Value>, now: Option<&Value>) {
        if let Some(previous) = previous {
            for owner in meta::owners(previous) {
                if let Some(set) = self.dependents.get_mut(owner) {
                    set.remove(at);
                    if set.is_empty() {
                        self.dependents.remove(owner);
                    }
                }
            }
        }
        let Some(now) = now else {
            if let Some(previous) = previous {
                let uid = meta::uid(previous).to_owned();
                self.uids.remove(&uid);
                let owners = meta::owners(previous)
                    .into_iter()
                    .map(str::to_owned)
                    .collect();
                self.work.push_back(Work::Gone {
                    location: at.clone(),
                    uid,
                    owners,
                });
            }
            return;
        };
        if previous.is_none() {
            self.uids.insert(meta::uid(now).to_owned(), at.clone());
        }
        let owners = meta::owners(now);
        if meta::deleting(now) || !owners.is_empty() {
            self.work.push_back(Work::Look(at.clone()));
        }
        for owner in owners {
            self.dependents
                .entry(owner.to_owned())
                .or_default()
                .insert(at.clone());
        }
    }
}
