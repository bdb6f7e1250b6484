//! Events do not stay: the real server forgets each an hour after it was last written (`--event-ttl`).

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::meta;
use crate::shared::Shared;
use crate::store::{Location, ObjectKey};

const TIME_TO_LIVE: SignedDuration = SignedDuration::from_hours(1);

/// How often to look for events that are too old.
const EVERY: Duration = Duration::from_mins(5);

/// Starts the task that removes old events.
pub(crate) fn start(shared: &Arc<Shared>) {
    let own = shared.clone();
    shared.tasks.spawn("local kube event expiry", async move {
        loop {
            own.clock.sleep(EVERY).await;
            expire(&own);
        }
    });
}

fn expire(shared: &Shared) {
    let collection = Arc::from("/events");
    let now = shared.clock.now();
    for event in shared.store.all(&collection, None) {
        if last_seen(&event).is_some_and(|at| now.duration_since(at) > TIME_TO_LIVE) {
            let location = Location {
                collection: collection.clone(),
                key: ObjectKey::of(&event),
            };
            // An event that was written in between is not old.
            let result = shared.store.remove(&location, meta::revision(&event));
            if let Err(refused) = result {
                tracing::debug!(?refused, "an old event changed while it was removed");
            }
        }
    }
}

/// When the event was last written, as far as it says.
fn last_seen(event: &Value) -> Option<Timestamp> {
    const TIMES: &[&str] = &[
        "/metadata/creationTimestamp",
        "/eventTime",
        "/lastTimestamp",
        "/series/lastObservedTime",
    ];
    TIMES
        .iter()
        .filter_map(|pointer| meta::text(event, pointer).parse().ok())
        .max()
}
