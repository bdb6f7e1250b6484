//! Random histories against a model of Envoy with its quirks: it stops applying a response at the
//! first bad resource, and acknowledges bytes that it has seen last without trying them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use gatewright_seams::Random;

use super::*;
use crate::Version;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// One Envoy process; it outlives its streams.
#[derive(Default)]
struct Envoy {
    subscribed: BTreeSet<(ResourceType, &'static str)>,
    /// What is in use.
    applied: BTreeMap<ResourceKey, Resource>,
    /// What Envoy reports when it reconnects.
    reported: BTreeMap<ResourceKey, Version>,
    last_seen: BTreeMap<ResourceKey, Version>,
    wire: VecDeque<Response>,
}

fn is_bad(resource: &Resource) -> bool {
    match resource.kind() {
        T::Secret => match resource.decode::<Secret>().unwrap().r#type {
            Some(Type::TlsCertificate(certificate)) => {
                certificate.certificate_chain == Some(proto::inline_string("bad"))
            }
            _ => false,
        },
        T::Cluster => resource.decode::<Cluster>().unwrap().alt_stat_name == "bad",
        T::Listener => resource.decode::<Listener>().unwrap().stat_prefix == "bad",
        _ => false,
    }
}

impl Envoy {
    fn start(&self, store: &Store) -> Proxy {
        let proxy = Proxy::connect(store);
        for kind in [T::Cluster, T::Listener, T::Secret] {
            let names = self.subscribed.iter().filter(|each| each.0 == kind);
            let versions = self.reported.iter().filter(|(key, _)| key.0 == kind);
            let request = DeltaDiscoveryRequest {
                resource_names_subscribe: names.map(|each| each.1.to_owned()).collect(),
                initial_resource_versions: versions
                    .map(|((_, name), version)| (name.to_string(), version.to_string()))
                    .collect(),
                ..<_>::default()
            };
            proxy.send(kind, request);
        }
        proxy
    }

    fn asks_for(&self, secret: &str) -> bool {
        self.subscribed
            .iter()
            .any(|(kind, name)| *kind == T::Secret && *name == secret)
    }

    /// Applies one response as Envoy does; false for a refusal.
    fn apply(&mut self, response: &Response) -> bool {
        let kind = response.kind();
        let mut names: BTreeSet<&str> = BTreeSet::new();
        let (mut good, mut fine) = (Vec::new(), true);
        for resource in response.resources() {
            assert!(
                names.insert(resource.name()),
                "{response:?} has a name twice"
            );
            let key = resource.key();
            if kind == T::Secret && !self.asks_for(resource.name()) {
                continue;
            }
            let by_name = kind == T::Secret;
            let same =
                self.last_seen.insert(key.clone(), resource.version()) == Some(resource.version());
            if by_name && same {
                good.push((key, resource.version()));
            } else if is_bad(resource) {
                fine = false;
                if by_name {
                    break;
                }
            } else {
                self.applied.insert(key.clone(), resource.clone());
                good.push((key, resource.version()));
            }
        }
        for name in response.removed() {
            assert!(names.insert(name), "{response:?} has a name twice");
            let key = (kind, name.clone());
            self.reported.remove(&key);
            // Envoy ignores the removal of a secret in use.
            if kind != T::Secret {
                self.applied.remove(&key);
                self.last_seen.remove(&key);
            }
        }
        if fine {
            self.reported.extend(good);
        }
        fine
    }

    fn answer_one(&mut self, proxy: &Proxy) -> bool {
        let Some(response) = self.wire.pop_front() else {
            return false;
        };
        if self.apply(&response) {
            proxy.ack(&response);
        } else {
            proxy.nack(&response, "bad");
        }
        true
    }
}

fn any_resource(random: &Random, kind: ResourceType, name: &str) -> Resource {
    let content = ["1", "2", "3", "bad"][usize::try_from(random.below(4)).unwrap()];
    match kind {
        T::Secret => secret(name, content),
        T::Cluster => cluster(name, content),
        _ => listener(
            name,
            content,
            &NAMES[..usize::try_from(random.below(4)).unwrap()],
        ),
    }
}

fn history(seed: u64) {
    let random = Random::seeded(seed);
    let pick = |from: usize| usize::try_from(random.below(from as u64)).unwrap();
    let store = Store::new(Clock::system());
    let mut envoy = Envoy::default();
    let mut proxy = envoy.start(&store);
    for step in 0..200 {
        let (kind, name) = (
            [T::Secret, T::Cluster, T::Listener][pick(3)],
            NAMES[pick(4)],
        );
        match pick(10) {
            0..=2 => put(&store, any_resource(&random, kind, name)),
            3 => {
                let remove = vec![(kind, Arc::from(name))];
                store.apply(
                    &gateway(),
                    Update {
                        put: vec![],
                        remove,
                    },
                );
            }
            4 => {
                envoy.subscribed.insert((T::Secret, name));
                proxy.subscribe(T::Secret, &[name]);
            }
            5 if envoy.subscribed.remove(&(T::Secret, name)) => {
                let key = (T::Secret, Arc::from(name));
                envoy.applied.remove(&key);
                envoy.reported.remove(&key);
                envoy.last_seen.remove(&key);
                proxy.unsubscribe(T::Secret, &[name]);
            }
            6 => {
                if step > 20 {
                    store.mark_synced(&gateway());
                }
            }
            7 if pick(4) == 0 => {
                // Some answers are lost, and what is still on the wire. (A lost refusal has a test
                // of its own.)
                while pick(2) == 0
                    && envoy
                        .wire
                        .front()
                        .is_some_and(|each| !each.resources().iter().any(is_bad))
                {
                    let response = envoy.wire.pop_front().unwrap();
                    envoy.apply(&response);
                }
                envoy.wire.clear();
                drop(proxy);
                proxy = envoy.start(&store);
            }
            8 => {
                envoy.answer_one(&proxy);
            }
            _ => envoy.wire.extend(proxy.take()),
        }
    }
    store.mark_synced(&gateway());
    for round in 0.. {
        envoy.wire.extend(std::iter::from_fn(|| proxy.take()));
        if !envoy.answer_one(&proxy) {
            break;
        }
        assert!(round < 1000, "seed {seed}: does not come to rest");
    }
    check(seed, &store, &envoy);
}

fn check(seed: u64, store: &Store, envoy: &Envoy) {
    let status = store.proxies(&gateway()).remove(0);
    for kind in [T::Secret, T::Cluster, T::Listener] {
        for name in NAMES {
            let key = (kind, Arc::from(name));
            let wanted = store.get(&gateway(), kind, name);
            let applied = envoy.applied.get(&key).map(Resource::version);
            let asked = kind != T::Secret || envoy.subscribed.contains(&(kind, name));
            let said = status
                .resources
                .iter()
                .find(|each| each.kind == kind && *each.name == *name);
            let context = format!("seed {seed}: {kind} {name}: wanted {wanted:?}, {said:?}");
            assert!(
                applied.is_none() || asked,
                "{context}: applied without interest"
            );
            match wanted {
                Some(wanted) if asked && !is_bad(&wanted) => {
                    assert_eq!(applied, Some(wanted.version()), "{context}: not installed");
                    assert!(
                        said.unwrap().is_in_sync(),
                        "{context}: not known as installed"
                    );
                }
                Some(wanted) if asked => {
                    let acked = said.and_then(|said| said.acked);
                    assert_ne!(
                        acked,
                        Some(wanted.version()),
                        "{context}: false ACK believed"
                    );
                }
                None if kind != T::Secret => assert_eq!(applied, None, "{context}: not withdrawn"),
                _ => {}
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_history_ends_with_all_good_content_installed() {
    for seed in 0..600 {
        history(seed);
    }
}
