use std::sync::Arc;

use serde_json::{Value, json};

use super::{At, strategy};
use crate::request::{Query, dry_run, options_error};
use crate::schema::FieldReason;
use crate::shared::Shared;
use crate::status::Answer;
use crate::store::{Object, Refused};
use crate::{events, meta};

pub(crate) const FOREGROUND: &str = "foregroundDeletion";
pub(crate) const ORPHAN: &str = "orphan";

/// What happens to the objects that name a deleted one as their owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Propagation {
    Background,
    Foreground,
    Orphan,
}

/// `meta/v1` `DeleteOptions`.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeleteOptions {
    grace: Option<i64>,
    propagation: Option<Propagation>,
    uid: Option<String>,
    revision: Option<String>,
    pub(crate) dry_run: bool,
}

impl DeleteOptions {
    /// Reads the body, where there is one, else the query.
    pub(crate) fn read(body: Option<&Value>, query: &Query) -> Answer<Self> {
        let text = |pointer: &str| {
            let found = body
                .map(|body| meta::text(body, pointer))
                .filter(|text| !text.is_empty());
            found.map(str::to_owned)
        };
        let body_grace = body.and_then(|body| body["gracePeriodSeconds"].as_i64());
        let query_grace = query
            .get("gracePeriodSeconds")
            .and_then(|value| value.parse().ok());
        let named =
            text("/propagationPolicy").or(query.get("propagationPolicy").map(str::to_owned));
        let propagation = match named.as_deref() {
            None if body.is_some_and(|body| body["orphanDependents"] == Value::Bool(true))
                || query.flag("orphanDependents") =>
            {
                Some(Propagation::Orphan)
            }
            None => None,
            Some("Background") => Some(Propagation::Background),
            Some("Foreground") => Some(Propagation::Foreground),
            Some("Orphan") => Some(Propagation::Orphan),
            Some(other) => {
                let detail = format!(
                    "Unsupported value: {other:?}: supported values: \"Foreground\", \
                     \"Background\", \"Orphan\", \"nil\""
                );
                let reason = FieldReason::NotSupported;
                return Err(options_error(
                    "DeleteOptions",
                    "propagationPolicy",
                    reason,
                    detail,
                ));
            }
        };
        let orphan = body.is_some_and(|body| body["orphanDependents"].is_boolean())
            || query.get("orphanDependents").is_some();
        if let Some(named) = named.as_deref().filter(|_| orphan) {
            let detail = format!(
                "Invalid value: {named:?}: orphanDependents and deletionPropagation cannot be both set"
            );
            let reason = FieldReason::Invalid;
            return Err(options_error(
                "DeleteOptions",
                "propagationPolicy",
                reason,
                detail,
            ));
        }
        let dry = body.map_or_else(Vec::new, |body| meta::strings(body, "/dryRun"));
        let dry = dry_run(&dry, "DeleteOptions")?;
        Ok(Self {
            grace: body_grace.or(query_grace),
            propagation,
            uid: text("/preconditions/uid"),
            revision: text("/preconditions/resourceVersion"),
            dry_run: dry || query.dry_run("DeleteOptions")?,
        })
    }

    /// As the garbage collector deletes: in the background, only this very object.
    pub(crate) fn background(uid: &str) -> Self {
        Self {
            propagation: Some(Propagation::Background),
            uid: Some(uid.to_owned()),
            ..Self::default()
        }
    }

    pub(crate) fn foreground(uid: &str) -> Self {
        Self {
            propagation: Some(Propagation::Foreground),
            uid: Some(uid.to_owned()),
            ..Self::default()
        }
    }
}

/// What a deletion did.
pub(crate) struct Deleted {
    pub(crate) object: Arc<Object>,
    /// The object is gone. Otherwise finalizers or its grace period hold it.
    pub(crate) gone: bool,
}

/// Deletes an object, or marks it for deletion when something has to happen before.
pub(crate) fn delete(shared: &Shared, at: &At, options: &DeleteOptions) -> Answer<Deleted> {
    loop {
        match attempt(shared, at, options) {
            // Somebody else wrote in between: look again.
            Ok(None) => {}
            Ok(Some(deleted)) => return Ok(deleted),
            Err(error) => return Err(error),
        }
    }
}

fn attempt(shared: &Shared, at: &At, options: &DeleteOptions) -> Answer<Option<Deleted>> {
    let resource = &*at.resource;
    let location = at.location();
    let live = shared
        .store
        .get(&location.collection, &location.key)
        .ok_or_else(|| at.not_found())?;
    check_preconditions(at, &live, options)?;
    strategy::check_delete(at)?;
    let mut new = Value::clone(&live);
    mark_propagation(&mut new, options.propagation);
    let grace = strategy::grace_seconds(resource, &live, options.grace);
    let already = meta::deleting(&live);
    let shorter = live
        .pointer("/metadata/deletionGracePeriodSeconds")
        .and_then(Value::as_i64)
        .is_none_or(|before| grace < before);
    // What holds its content has no grace: the content holds it.
    let holds = resource.is("", "Namespace")
        || resource.is("apiextensions.k8s.io", "CustomResourceDefinition");
    let timed = !holds;
    if !already || (shorter && timed) {
        let at = shared.clock.now();
        let due = at
            .saturating_add(jiff::SignedDuration::from_secs(grace))
            .unwrap_or(at);
        meta::set_metadata(&mut new, "deletionTimestamp", Some(meta::time(due).into()));
        let grace = timed.then(|| json!(grace));
        meta::set_metadata(&mut new, "deletionGracePeriodSeconds", grace);
        if !already
            && timed
            && let Some(generation) = live.pointer("/metadata/generation").and_then(Value::as_i64)
        {
            meta::set_metadata(&mut new, "generation", Some(json!(generation + 1)));
        }
    }
    strategy::mark_terminating(shared, resource, &mut new);
    let gone = strategy::may_go(resource, &new);
    if options.dry_run {
        let object = if gone { live } else { Object::new(new) };
        return Ok(Some(Deleted {
            object: events::shown(resource, &object),
            gone,
        }));
    }
    let revision = meta::revision(&live);
    // A Pod is shown as it was marked before it went.
    let marked = (gone && resource.is("", "Pod")).then(|| Object::new(new.clone()));
    let result = if gone {
        shared.store.remove(&location, revision)
    } else if new == **live {
        Ok(live)
    } else {
        shared.store.replace(&location, revision, new)
    };
    match result {
        Ok(object) => {
            if gone {
                strategy::after_removal(shared, resource, &object);
            } else {
                strategy::after_write(shared, resource, &object);
            }
            Ok(Some(Deleted {
                object: events::shown(resource, &marked.unwrap_or(object)),
                gone,
            }))
        }
        Err(Refused::Modified) => Ok(None),
        Err(refused) => Err(at.refused(refused)),
    }
}

fn check_preconditions(at: &At, live: &Value, options: &DeleteOptions) -> Answer<()> {
    if let Some(uid) = options.uid.as_deref().filter(|uid| *uid != meta::uid(live)) {
        return Err(at.conflict_of_kind(&format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({}). The object \
             might have been deleted and then recreated",
            meta::uid(live)
        )));
    }
    let is = meta::text(live, "/metadata/resourceVersion");
    if let Some(wanted) = options.revision.as_deref().filter(|wanted| *wanted != is) {
        return Err(at.conflict_of_kind(&format!(
            "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion \
             in record ({is}). The object might have been modified"
        )));
    }
    Ok(())
}

/// How dependents are to be treated stands in the finalizers, where the collector finds it.
fn mark_propagation(object: &mut Value, propagation: Option<Propagation>) {
    let Some(propagation) = propagation else {
        return;
    };
    let mut finalizers: Vec<String> = meta::finalizers(object)
        .into_iter()
        .map(str::to_owned)
        .collect();
    finalizers.retain(|finalizer| finalizer != FOREGROUND && finalizer != ORPHAN);
    match propagation {
        Propagation::Background => {}
        Propagation::Foreground => finalizers.push(FOREGROUND.to_owned()),
        Propagation::Orphan => finalizers.push(ORPHAN.to_owned()),
    }
    let finalizers = (!finalizers.is_empty()).then(|| json!(finalizers));
    meta::set_metadata(object, "finalizers", finalizers);
}
