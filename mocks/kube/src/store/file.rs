use std::path::Path;
use std::sync::Arc;

use gatewright_seams::Tasks;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError};
use serde_json::Value;

use super::{Location, Object, ObjectKey, Store, Written};
use crate::error::Error;

/// `collection`, namespace and name, separated by a byte that none of them may hold.
const OBJECTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("objects");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const REVISION: &str = "revision";

type Stored = (Database, u64, Vec<(Location, Value)>);

/// Opens or makes the database and reads all of it.
pub(super) fn open(path: &Path) -> Result<Stored, Error> {
    let failed = |source: redb::Error| Error::Open {
        path: path.to_owned(),
        source: Box::new(source),
    };
    let database = Database::create(path).map_err(|e| failed(e.into()))?;
    let read = database.begin_read().map_err(|e| failed(e.into()))?;
    let revision = match read.open_table(META) {
        Ok(table) => table
            .get(REVISION)
            .map_err(|e| failed(e.into()))?
            .map_or(1, |value| value.value()),
        Err(TableError::TableDoesNotExist(_)) => 1,
        Err(error) => return Err(failed(error.into())),
    };
    let mut objects = Vec::new();
    match read.open_table(OBJECTS) {
        Ok(table) => {
            for entry in table.iter().map_err(|e| failed(e.into()))? {
                let (key, value) = entry.map_err(|e| failed(e.into()))?;
                let object =
                    serde_json::from_slice(value.value()).map_err(|source| Error::Decode {
                        key: key.value().replace('\0', " "),
                        source,
                    })?;
                let mut parts = key.value().split('\0').map(str::to_owned);
                let mut next = || parts.next().unwrap_or_default();
                let collection = Arc::from(next());
                let key = ObjectKey {
                    namespace: next(),
                    name: next(),
                };
                objects.push((Location { collection, key }, object));
            }
        }
        Err(TableError::TableDoesNotExist(_)) => {}
        Err(error) => return Err(failed(error.into())),
    }
    Ok((database, revision, objects))
}

/// One group of changes: all of them get to disk, or none.
struct Group {
    revision: u64,
    changes: Vec<(Location, Option<Arc<Object>>)>,
}

fn write(database: &Database, group: &Group) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut objects = transaction.open_table(OBJECTS)?;
        for (at, object) in &group.changes {
            let key = format!("{}\0{}\0{}", at.collection, at.key.namespace, at.key.name);
            match object {
                Some(object) => {
                    objects.insert(key.as_str(), &**object.text())?;
                }
                None => {
                    objects.remove(key.as_str())?;
                }
            }
        }
        transaction
            .open_table(META)?
            .insert(REVISION, group.revision)?;
    }
    transaction.commit()?;
    Ok(())
}

/// Starts the task that writes groups. It ends with `tasks`, after a last group.
pub(super) fn start_writer(store: &Arc<Store>, database: Database, tasks: &Tasks) {
    let (store, database, stop) = (store.clone(), Arc::new(database), tasks.clone());
    tasks.spawn_graceful("local kube storage", async move {
        loop {
            let stopping = stop
                .until_cancelled(store.to_write.notified())
                .await
                .is_err();
            while let Some(group) = store.next_group() {
                let revision = group.revision;
                let database = database.clone();
                // Waiting for the disk must not hold up the tasks of this thread.
                let result = tokio::task::spawn_blocking(move || write(&database, &group)).await;
                let failed = !matches!(result, Ok(Ok(())));
                if let Ok(Err(error)) = &result {
                    tracing::error!(%error, "writing objects to the database failed");
                }
                store.finish_group(revision, failed);
            }
            if stopping {
                store.refuse_more();
                return;
            }
        }
    });
}

impl Store {
    fn next_group(&self) -> Option<Group> {
        let mut state = self.state();
        if state.unwritten.is_empty() {
            return None;
        }
        let changes = std::mem::take(&mut state.unwritten);
        Some(Group {
            revision: state.revision,
            changes,
        })
    }

    /// Nothing writes any more: whoever still waits must not wait for ever.
    fn refuse_more(&self) {
        self.written.send_modify(|written| written.failed = true);
    }

    fn finish_group(&self, revision: u64, failed: bool) {
        if !failed {
            let mut state = self.state();
            state.visible = revision;
            for collection in state.collections.values_mut() {
                collection.publish(revision);
            }
        }
        self.written.send_modify(|written| {
            // A disk that failed once has a hole in its history; nothing after it may count as written.
            written.failed |= failed;
            if !written.failed {
                *written = Written {
                    revision,
                    failed: false,
                };
            }
        });
    }
}
