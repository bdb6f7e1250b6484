//! Events about objects (events.k8s.io/v1).
//!
//! kube's own recorder reads the machine's clock, repeats the first note for every later one of the
//! same reason, and loses what it is told while the event that it counts on is gone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gatewright_seams::Clock;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;

use super::{FIELD_MANAGER, optional};

/// How long the same is counted in the event that told it, from the last time (as `client-go` does).
const SERIES: Duration = Duration::from_mins(6);
/// The longest `Event.note`, in bytes.
const LONGEST_NOTE: usize = 1_000;

/// Writes events about objects; a failure to write one is logged and nothing else. Clones are the
/// same.
#[derive(Clone)]
pub struct Events {
    kube: kube::Client,
    clock: Clock,
    told: Arc<Mutex<BTreeMap<String, Told>>>,
}

/// An event that was written.
#[derive(Clone)]
struct Told {
    name: String,
    count: i32,
    last: Timestamp,
}

impl Events {
    pub fn new(kube: kube::Client, clock: Clock) -> Self {
        Self {
            kube,
            clock,
            told: Arc::default(),
        }
    }

    /// Something a user may like to know. `reason` and `action` are CamelCase words.
    pub async fn normal(&self, about: &ObjectReference, reason: &str, action: &str, note: &str) {
        self.tell("Normal", about, reason, action, note).await;
    }

    /// Something a user should act on.
    pub async fn warning(&self, about: &ObjectReference, reason: &str, action: &str, note: &str) {
        self.tell("Warning", about, reason, action, note).await;
    }

    async fn tell(
        &self,
        kind: &str,
        about: &ObjectReference,
        reason: &str,
        action: &str,
        note: &str,
    ) {
        let event = Event {
            action: Some(action.into()),
            event_time: Some(MicroTime(self.clock.now())),
            metadata: ObjectMeta {
                generate_name: Some(format!("{}-", about.name.as_deref().unwrap_or_default())),
                // Events about what has no namespace are in this one.
                namespace: about.namespace.clone().or_else(|| Some("default".into())),
                ..ObjectMeta::default()
            },
            note: Some(note[..note.floor_char_boundary(LONGEST_NOTE)].into()),
            reason: Some(reason.into()),
            regarding: Some(about.clone()),
            reporting_controller: Some(FIELD_MANAGER.into()),
            reporting_instance: Some(FIELD_MANAGER.into()),
            type_: Some(kind.into()),
            ..Event::default()
        };
        if let Err(error) = self.write(event).await {
            tracing::warn!(reason, %error, "event not written");
        }
    }

    /// Creates the event, or counts it where the same was told a short time ago.
    async fn write(&self, event: Event) -> kube::Result<()> {
        let namespace = event.metadata.namespace.as_deref().unwrap_or_default();
        let api: Api<Event> = Api::namespaced(self.kube.clone(), namespace);
        let now = self.clock.now();
        let what = json!([
            event.type_,
            event.regarding,
            event.reason,
            event.action,
            event.note
        ])
        .to_string();
        let told = self.recent(now).get(&what).cloned();
        if let Some(told) = told {
            let series = EventSeries {
                count: told.count.saturating_add(1),
                last_observed_time: MicroTime(now),
            };
            let patch = Patch::Merge(json!({ "series": &series }));
            let counted = api.patch(&told.name, &PatchParams::default(), &patch).await;
            if optional(counted)?.is_some() {
                let counted = Told {
                    count: series.count,
                    last: now,
                    ..told
                };
                self.recent(now).insert(what, counted);
                return Ok(());
            }
        }
        let created = api.create(&PostParams::default(), &event).await?;
        let told = Told {
            name: created.name_any(),
            count: 1,
            last: now,
        };
        self.recent(now).insert(what, told);
        Ok(())
    }

    /// What was told a short time ago, by all of its words.
    fn recent(&self, now: Timestamp) -> MutexGuard<'_, BTreeMap<String, Told>> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|_, told| now.duration_since(told.last).unsigned_abs() < SERIES);
        told
    }
}

#[cfg(test)]
mod tests {
    use kube::api::{DeleteParams, ListParams};

    use super::*;
    use crate::laptop::Laptop;

    struct World {
        laptop: Laptop,
        events: Events,
        api: Api<Event>,
        about: ObjectReference,
    }

    impl World {
        async fn new() -> Self {
            let laptop = Laptop::in_memory().await;
            let about = ObjectReference {
                kind: Some("Service".into()),
                namespace: Some("istio-system".into()),
                name: Some("edge".into()),
                ..ObjectReference::default()
            };
            Self {
                events: Events::new(laptop.client(), laptop.clock),
                api: Api::namespaced(laptop.client(), "istio-system"),
                laptop,
                about,
            }
        }

        async fn tell(&self, note: &str) {
            self.events
                .warning(&self.about, "Failed", "Sync", note)
                .await;
        }

        /// Notes and how often each was told.
        async fn told(&self) -> Vec<(String, i32)> {
            let all = self.api.list(&ListParams::default()).await.unwrap().items;
            let all = all.into_iter().map(|event| {
                let count = event.series.map_or(1, |series| series.count);
                (event.note.unwrap(), count)
            });
            let mut all: Vec<_> = all.collect();
            all.sort();
            all
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_is_counted_and_another_note_is_an_event_of_its_own() {
        let world = World::new().await;
        for note in ["quota", "quota", "throttled", "quota"] {
            world.tell(note).await;
        }
        let expected = [("quota".to_owned(), 3), ("throttled".to_owned(), 1)];
        assert_eq!(world.told().await, expected);
        world.laptop.clock.sleep(SERIES).await;
        world.tell("quota").await;
        assert_eq!(
            world.told().await[..2],
            [("quota".to_owned(), 1), ("quota".to_owned(), 3)]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn its_times_are_those_of_our_clock() {
        let world = World::new().await;
        let made = world.laptop.clock.now();
        world.tell("quota").await;
        world.laptop.clock.sleep(Duration::from_mins(1)).await;
        world.tell("quota").await;
        let all = world.api.list(&ListParams::default()).await.unwrap().items;
        let [event] = &all[..] else {
            panic!("{all:?}");
        };
        let last = event.series.as_ref().unwrap().last_observed_time.0;
        assert_eq!(event.event_time.as_ref().unwrap().0, made);
        assert_eq!(last, world.laptop.clock.now());
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_that_is_gone_is_written_anew() {
        let world = World::new().await;
        world.tell("quota").await;
        let (params, all) = (DeleteParams::default(), ListParams::default());
        world.api.delete_collection(&params, &all).await.unwrap();
        world.tell("quota").await;
        world.tell("quota").await;
        assert_eq!(world.told().await, [("quota".to_owned(), 2)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_note_is_cut_between_characters() {
        let world = World::new().await;
        world.tell(&"ü".repeat(LONGEST_NOTE)).await;
        assert_eq!(world.told().await, [("ü".repeat(LONGEST_NOTE / 2), 1)]);
    }
}
