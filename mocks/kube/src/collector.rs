//! What happens after a deletion: dependents follow their owners, namespaces and definitions end when what
//! is in them is gone.
//!
//! The rules are those of Kubernetes' garbage collector:
//! <https://kubernetes.io/docs/concepts/architecture/garbage-collection/>

use std::sync::Arc;

use serde_json::{Value, json};

use crate::meta;
use crate::shared::Shared;
use crate::status::Answer;
use crate::store::{Location, Object, ObjectKey, Work};
use crate::write::{self, At, CLEANUP, DeleteOptions, FOREGROUND, ORPHAN, Proposed, WriteOptions};

/// Starts the collector.
pub(crate) fn start(shared: &Arc<Shared>) {
    shared.store.look_at_all();
    let own = shared.clone();
    shared.tasks.spawn("local kube collector", async move {
        loop {
            own.store.to_collect.notified().await;
            while let Some(work) = own.store.take_work() {
                let result = match &work {
                    Work::Look(location) => look(&own, location),
                    Work::Gone {
                        location,
                        uid,
                        owners,
                    } => gone(&own, location, uid, owners),
                };
                if let Err(error) = result {
                    tracing::warn!(error = error.message(), ?work, "collecting garbage failed");
                }
                // Long chains must not keep the other tasks of this thread waiting.
                tokio::task::yield_now().await;
            }
        }
    });
}

fn at(shared: &Shared, location: &Location) -> Option<At> {
    let resource = shared
        .registry
        .kinds()
        .by_collection(&location.collection)?;
    let (namespace, name) = (location.key.namespace.clone(), location.key.name.clone());
    Some(At {
        resource,
        namespace,
        name,
    })
}

fn get(shared: &Shared, location: &Location) -> Option<Arc<Object>> {
    shared.store.get(&location.collection, &location.key)
}

/// An object that is gone already is no failure of a step that wanted to change it.
fn unless_gone<T>(result: Answer<T>) -> Answer<()> {
    match result {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Looks at an object that was written and has owners or is being deleted.
fn look(shared: &Shared, location: &Location) -> Answer<()> {
    let Some(object) = get(shared, location) else {
        return Ok(());
    };
    let Some(at) = at(shared, location) else {
        return Ok(());
    };
    if meta::deleting(&object) {
        let finalizers = meta::finalizers(&object);
        if finalizers.contains(&ORPHAN) {
            return orphan(shared, &at, &object);
        }
        if finalizers.contains(&FOREGROUND) {
            return foreground(shared, &at, &object);
        }
        if at.resource.is("", "Namespace") {
            return end_namespace(shared, &at);
        }
        if finalizers.contains(&CLEANUP) {
            return end_definition(shared, &at, &object);
        }
        return Ok(());
    }
    follow_owners(shared, &at, &object)
}

/// Something is gone: its dependents, and whatever waited for it, are next.
fn gone(shared: &Shared, location: &Location, uid: &str, owners: &[String]) -> Answer<()> {
    for dependent in shared.store.dependents(uid) {
        look_at_dependent(shared, &dependent)?;
    }
    for owner in owners {
        if let Some(owner) = shared.store.find_uid(owner)
            && let Some(object) = get(shared, &owner)
            && meta::finalizers(&object).contains(&FOREGROUND)
            && let Some(at) = at(shared, &owner)
        {
            foreground(shared, &at, &object)?;
        }
    }
    let namespace = &location.key.namespace;
    if !namespace.is_empty() {
        let key = ObjectKey {
            namespace: String::new(),
            name: namespace.clone(),
        };
        let location = Location {
            collection: Arc::from("/namespaces"),
            key,
        };
        if get(shared, &location).is_some_and(|namespace| meta::deleting(&namespace)) {
            look(shared, &location)?;
        }
    }
    let mut parts = location.collection.splitn(2, '/');
    let (group, plural) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    let name = format!("{plural}.{group}");
    let key = ObjectKey {
        namespace: String::new(),
        name,
    };
    let collection = Arc::from("apiextensions.k8s.io/customresourcedefinitions");
    let definition = Location { collection, key };
    if get(shared, &definition).is_some_and(|definition| meta::deleting(&definition)) {
        look(shared, &definition)?;
    }
    Ok(())
}

fn look_at_dependent(shared: &Shared, location: &Location) -> Answer<()> {
    let (Some(object), Some(at)) = (get(shared, location), at(shared, location)) else {
        return Ok(());
    };
    if meta::deleting(&object) {
        Ok(())
    } else {
        follow_owners(shared, &at, &object)
    }
}

/// Deletes an object all of whose owners are gone; takes references to gone owners from one that has others.
fn follow_owners(shared: &Shared, at: &At, object: &Value) -> Answer<()> {
    let owners = meta::owners(object);
    let here = |uid: &&str| {
        shared.store.find_uid(uid).is_some_and(|owner| {
            owner.key.namespace.is_empty() || owner.key.namespace == at.namespace
        })
    };
    if owners.is_empty() || owners.iter().all(here) {
        return Ok(());
    }
    if owners.iter().any(here) {
        let gone: Vec<String> = owners
            .iter()
            .filter(|uid| !here(uid))
            .map(|uid| (*uid).to_owned())
            .collect();
        return drop_owners(shared, at, &gone);
    }
    let options = DeleteOptions::background(meta::uid(object));
    unless_gone(write::delete(shared, at, &options))
}

/// Removes owner references.
fn drop_owners(shared: &Shared, at: &At, uids: &[String]) -> Answer<()> {
    let options = WriteOptions::internal(shared, &at.resource, "");
    unless_gone(write::update(shared, at, &options, &mut |live| {
        let mut object = live.clone();
        let mut owners = meta::list(live, "/metadata/ownerReferences").to_vec();
        owners.retain(|owner| !uids.iter().any(|uid| uid == meta::text(owner, "/uid")));
        let owners = (!owners.is_empty()).then_some(Value::Array(owners));
        meta::set_metadata(&mut object, "ownerReferences", owners);
        Ok(Proposed {
            object,
            applied: false,
            patch: None,
            conditional: false,
        })
    }))
}

fn drop_finalizer(shared: &Shared, at: &At, finalizer: &str) -> Answer<()> {
    let options = WriteOptions::internal(shared, &at.resource, "");
    unless_gone(write::update(shared, at, &options, &mut |live| {
        let mut object = live.clone();
        let mut finalizers = meta::finalizers(live);
        finalizers.retain(|other| *other != finalizer);
        let finalizers = (!finalizers.is_empty()).then(|| json!(finalizers));
        meta::set_metadata(&mut object, "finalizers", finalizers);
        Ok(Proposed {
            object,
            applied: false,
            patch: None,
            conditional: false,
        })
    }))
}

/// Dependents lose their owner and stay.
fn orphan(shared: &Shared, owner: &At, object: &Value) -> Answer<()> {
    let uid = meta::uid(object).to_owned();
    for dependent in shared.store.dependents(&uid) {
        if let Some(at) = at(shared, &dependent) {
            drop_owners(shared, &at, std::slice::from_ref(&uid))?;
        }
    }
    drop_finalizer(shared, owner, ORPHAN)
}

/// Dependents go first; those that block their owner hold it.
fn foreground(shared: &Shared, owner: &At, object: &Value) -> Answer<()> {
    let uid = meta::uid(object);
    let mut blocked = false;
    for location in shared.store.dependents(uid) {
        let (Some(dependent), Some(at)) = (get(shared, &location), at(shared, &location)) else {
            continue;
        };
        if !meta::deleting(&dependent) {
            let options = DeleteOptions::foreground(meta::uid(&dependent));
            unless_gone(write::delete(shared, &at, &options))?;
        }
        blocked |= get(shared, &location).is_some_and(|dependent| blocks(&dependent, uid));
    }
    if blocked {
        Ok(())
    } else {
        drop_finalizer(shared, owner, FOREGROUND)
    }
}

fn blocks(dependent: &Value, owner: &str) -> bool {
    meta::list(dependent, "/metadata/ownerReferences")
        .iter()
        .any(|reference| {
            meta::text(reference, "/uid") == owner
                && reference["blockOwnerDeletion"] == Value::Bool(true)
        })
}

/// Deletes all that is in a collection, or in one namespace of it. True when nothing is left.
fn empty(
    shared: &Shared,
    resource: &Arc<crate::kinds::Resource>,
    namespace: Option<&str>,
) -> Answer<bool> {
    let mut left = false;
    for object in shared.store.all(&resource.collection, namespace) {
        let key = ObjectKey::of(&object);
        let at = At {
            resource: resource.clone(),
            namespace: key.namespace,
            name: key.name,
        };
        if !meta::deleting(&object) {
            let options = DeleteOptions::background(meta::uid(&object));
            unless_gone(write::delete(shared, &at, &options))?;
        }
        left |= get(shared, &at.location()).is_some();
    }
    Ok(!left)
}

fn end_namespace(shared: &Shared, at: &At) -> Answer<()> {
    let mut done = true;
    for resource in shared.registry.kinds().collections() {
        if resource.namespaced {
            done &= empty(shared, &resource, Some(&at.name))?;
        }
    }
    if !done {
        return Ok(());
    }
    let options = WriteOptions::internal(shared, &at.resource, "finalize");
    unless_gone(write::update(shared, at, &options, &mut |live| {
        let mut object = live.clone();
        let mut finalizers = meta::strings(live, "/spec/finalizers");
        finalizers.retain(|finalizer| *finalizer != "kubernetes");
        object["spec"]["finalizers"] = json!(finalizers);
        Ok(Proposed {
            object,
            applied: false,
            patch: None,
            conditional: false,
        })
    }))
}

fn end_definition(shared: &Shared, at: &At, object: &Value) -> Answer<()> {
    let group = meta::text(object, "/spec/group");
    let plural = meta::text(object, "/spec/names/plural");
    let collection = format!("{group}/{plural}");
    let done = match shared.registry.kinds().by_collection(&collection) {
        Some(resource) => empty(shared, &resource, None)?,
        None => true,
    };
    if done {
        drop_finalizer(shared, at, CLEANUP)
    } else {
        Ok(())
    }
}
