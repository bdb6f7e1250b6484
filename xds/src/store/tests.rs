use std::time::Duration;

use super::*;
use crate::proto;
use crate::proto::envoy::config::cluster::v3::Cluster;
use crate::proto::envoy::config::core::v3::Node;
use crate::proto::envoy::config::listener::v3::Listener;
use crate::proto::envoy::config::route::v3::RouteConfiguration;
use crate::proto::envoy::extensions::transport_sockets::tls::v3::{
    Secret, TlsCertificate, secret::Type,
};
use crate::proto::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use crate::proto::google::rpc;
use crate::{Response, StreamError};
use ResourceType as T;

mod model;

pub(super) fn gateway() -> GatewayId {
    GatewayId::new("shop", "edge").unwrap()
}

fn store() -> Store {
    let store = Store::new(Clock::system());
    store.mark_synced(&gateway());
    store
}

/// A secret whose content differs by `content`.
pub(super) fn secret(name: &str, content: &str) -> Resource {
    let certificate = TlsCertificate {
        certificate_chain: Some(proto::inline_string(content)),
        ..TlsCertificate::default()
    };
    Resource::secret(&Secret {
        name: name.into(),
        r#type: Some(Type::TlsCertificate(certificate)),
    })
}

/// A listener that names secrets; its content differs by `content`.
pub(super) fn listener(name: &str, content: &str, secrets: &[&str]) -> Resource {
    let listener = Listener {
        name: name.into(),
        stat_prefix: content.into(),
        ..Listener::default()
    };
    let deps = secrets.iter().map(|name| (T::Secret, Arc::from(*name)));
    Resource::listener(&listener).with_deps(deps)
}

/// A cluster; its content differs by `content`.
pub(super) fn cluster(name: &str, content: &str) -> Resource {
    let message = Cluster {
        name: name.into(),
        alt_stat_name: content.into(),
        ..Cluster::default()
    };
    Resource::cluster(&message)
}

fn route(name: &str) -> Resource {
    Resource::route(&RouteConfiguration {
        name: name.into(),
        ..RouteConfiguration::default()
    })
}

/// A proxy's side of a stream, without transport.
pub(super) struct Proxy(pub(super) ProxyStream);

impl Proxy {
    pub(super) fn connect(store: &Store) -> Self {
        Self(store.connect(&gateway()))
    }

    pub(super) fn send(&self, kind: ResourceType, request: DeltaDiscoveryRequest) {
        let node = Node {
            id: gateway().node_id("pod"),
            user_agent_name: "envoy".into(),
            ..Node::default()
        };
        let request = DeltaDiscoveryRequest {
            node: Some(node),
            type_url: kind.type_url().into(),
            ..request
        };
        self.0.request(request).unwrap();
    }

    pub(super) fn subscribe(&self, kind: ResourceType, names: &[&str]) {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        self.send(
            kind,
            DeltaDiscoveryRequest {
                resource_names_subscribe: names,
                ..<_>::default()
            },
        );
    }

    pub(super) fn unsubscribe(&self, kind: ResourceType, names: &[&str]) {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        self.send(
            kind,
            DeltaDiscoveryRequest {
                resource_names_unsubscribe: names,
                ..<_>::default()
            },
        );
    }

    pub(super) fn ack(&self, response: &Response) {
        let response_nonce = response.nonce().into();
        self.send(
            response.kind(),
            DeltaDiscoveryRequest {
                response_nonce,
                ..<_>::default()
            },
        );
    }

    pub(super) fn nack(&self, response: &Response, message: &str) {
        let response_nonce = response.nonce().into();
        let error_detail = Some(rpc::Status {
            message: message.into(),
            ..<_>::default()
        });
        let request = DeltaDiscoveryRequest {
            response_nonce,
            error_detail,
            ..<_>::default()
        };
        self.send(response.kind(), request);
    }

    pub(super) fn take(&self) -> Option<Response> {
        self.0.poll().0
    }

    /// Takes a response of the type with exactly these resources and removals, and acknowledges it.
    #[track_caller]
    fn gets(&self, kind: ResourceType, names: &[&str], removed: &[&str]) -> Response {
        let response = self.expect(kind, names, removed);
        self.ack(&response);
        response
    }

    #[track_caller]
    fn expect(&self, kind: ResourceType, names: &[&str], removed: &[&str]) -> Response {
        let response = self.take().expect("a response");
        let got: Vec<_> = response
            .resources()
            .iter()
            .map(|each| &**each.name())
            .collect();
        let gone: Vec<_> = response.removed().iter().map(|each| &**each).collect();
        assert_eq!(
            (response.kind(), got, gone),
            (kind, names.to_vec(), removed.to_vec())
        );
        response
    }

    #[track_caller]
    fn gets_nothing(&self) {
        assert!(
            self.take()
                .is_none_or(|response| panic!("unexpected {response:?}"))
        );
    }
}

fn put(store: &Store, resource: Resource) {
    store.apply(
        &gateway(),
        Update {
            put: vec![resource],
            remove: vec![],
        },
    );
}

fn status(store: &Store, name: &str) -> ResourceStatus {
    store.delivery(&gateway(), T::Secret, name).remove(0).1
}

#[tokio::test(start_paused = true)]
async fn subscribed_secret_is_sent_and_unchanged_content_does_not_move() {
    let store = store();
    assert!(store.set(&gateway(), vec![secret("a", "1"), secret("b", "1")]));
    let proxy = Proxy::connect(&store);
    proxy.subscribe(T::Secret, &["a"]);
    proxy.gets(T::Secret, &["a"], &[]);
    assert!(!store.set(&gateway(), vec![secret("a", "1"), secret("b", "1")]));
    assert!(!store.put_secret(&gateway(), secret("a", "1")));
    store.put_secret(&gateway(), secret("b", "2"));
    proxy.gets_nothing();
    assert!(store.put_secret(&gateway(), secret("a", "2")));
    let response = proxy.gets(T::Secret, &["a"], &[]);
    assert_eq!(
        status(&store, "a").acked,
        Some(response.resources()[0].version())
    );
    assert!(store.proxies(&gateway())[0].is_in_sync());
}

#[tokio::test(start_paused = true)]
async fn absent_secret_is_answered_at_once_and_sent_when_it_comes() {
    let store = store();
    let proxy = Proxy::connect(&store);
    proxy.subscribe(T::Secret, &["late"]);
    proxy.gets(T::Secret, &[], &["late"]);
    proxy.gets_nothing();
    store.put_secret(&gateway(), secret("late", "1"));
    proxy.gets(T::Secret, &["late"], &[]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_before_the_store_is_synced() {
    let store = Store::new(Clock::system());
    let proxy = Proxy::connect(&store);
    proxy.subscribe(T::Secret, &["a", "gone"]);
    proxy.subscribe(T::Listener, &[]);
    store.put_secret(&gateway(), secret("a", "1"));
    proxy.gets_nothing();
    store.mark_synced(&gateway());
    proxy.gets(T::Secret, &["a"], &[]);
    proxy.gets(T::Secret, &[], &["gone"]);
    proxy.gets(T::Listener, &[], &[]);
}

#[tokio::test(start_paused = true)]
async fn reconnect_with_current_versions_gets_nothing() {
    let store = store();
    store.set(
        &gateway(),
        vec![secret("a", "1"), secret("b", "1"), listener("l", "1", &[])],
    );
    let proxy = Proxy::connect(&store);
    let version = |kind, name| {
        store
            .get(&gateway(), kind, name)
            .unwrap()
            .version()
            .to_string()
    };
    let request = DeltaDiscoveryRequest {
        resource_names_subscribe: vec!["a".into(), "b".into()],
        initial_resource_versions: [
            ("a".to_owned(), version(T::Secret, "a")),
            ("b".to_owned(), "another server's".to_owned()),
        ]
        .into(),
        ..<_>::default()
    };
    proxy.send(T::Secret, request);
    proxy.gets(T::Secret, &["b"], &[]);
    let request = DeltaDiscoveryRequest {
        initial_resource_versions: [
            ("l".to_owned(), version(T::Listener, "l")),
            ("old".to_owned(), version(T::Listener, "l")),
        ]
        .into(),
        ..<_>::default()
    };
    proxy.send(T::Listener, request);
    proxy.gets(T::Listener, &[], &["old"]);
    proxy.gets_nothing();
    assert!(store.proxies(&gateway())[0].is_in_sync());
}

#[tokio::test(start_paused = true)]
async fn name_subscribed_again_is_sent_again() {
    let store = store();
    store.put_secret(&gateway(), secret("a", "1"));
    let proxy = Proxy::connect(&store);
    proxy.subscribe(T::Secret, &["a"]);
    proxy.gets(T::Secret, &["a"], &[]);
    proxy.subscribe(T::Secret, &["a"]);
    proxy.gets(T::Secret, &["a"], &[]);
    proxy.subscribe(T::Secret, &["gone"]);
    proxy.gets(T::Secret, &[], &["gone"]);
    proxy.subscribe(T::Secret, &["gone"]);
    proxy.gets(T::Secret, &[], &["gone"]);
}

#[tokio::test(start_paused = true)]
async fn unsubscribed_name_is_no_longer_sent() {
    let store = store();
    store.put_secret(&gateway(), secret("a", "1"));
    let proxy = Proxy::connect(&store);
    proxy.subscribe(T::Secret, &["a"]);
    proxy.gets(T::Secret, &["a"], &[]);
    proxy.unsubscribe(T::Secret, &["a"]);
    store.put_secret(&gateway(), secret("a", "2"));
    proxy.gets_nothing();
    proxy.subscribe(T::Secret, &["a"]);
    proxy.gets(T::Secret, &["a"], &[]);
}

#[tokio::test(start_paused = true)]
async fn secrets_have_no_wildcard() {
    let store = store();
    store.put_secret(&gateway(), secret("a", "1"));
    let proxy = Proxy::connect(&store);
    proxy.subscribe(T::Secret, &[]);
    proxy.subscribe(T::Secret, &["*"]);
    proxy.gets_nothing();
}

#[tokio::test(start_paused = true)]
async fn one_bad_secret_among_32_harms_no_other() {
    let store = store();
    let names: Vec<_> = (0..32).map(|index| format!("s{index:02}")).collect();
    let all = |content: &str| {
        names
            .iter()
            .map(|name| secret(name, content))
            .collect::<Vec<_>>()
    };
    store.set(&gateway(), all("1"));
    let proxy = Proxy::connect(&store);
    proxy.subscribe(
        T::Secret,
        &names.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    while let Some(response) = proxy.take() {
        proxy.ack(&response);
    }
    store.set(&gateway(), all("2"));
    let bad = store.get(&gateway(), T::Secret, "s07").unwrap();
    while let Some(response) = proxy.take() {
        assert_eq!(response.resources().len(), 1);
        if response.resources()[0].version() == bad.version() {
            proxy.nack(&response, "KEY_VALUES_MISMATCH");
        } else {
            proxy.ack(&response);
        }
    }
    let proxies = store.proxies(&gateway());
    for resource in &proxies[0].resources {
        assert_eq!(
            resource.is_in_sync(),
            &*resource.name != "s07",
            "{resource:?}"
        );
    }
    let refused = status(&store, "s07");
    assert_eq!(refused.nacked.map(|each| each.version), Some(bad.version()));
    assert_eq!(refused.acked, Some(secret("s07", "1").version()));
}

#[tokio::test(start_paused = true)]
async fn refused_content_is_rolled_back_and_never_sent_again() {
    let store = store();
    store.put_secret(&gateway(), secret("a", "good"));
    let proxy = Proxy::connect(&store);
    proxy.subscribe(T::Secret, &["a"]);
    proxy.gets(T::Secret, &["a"], &[]);
    store.put_secret(&gateway(), secret("a", "bad"));
    let response = proxy.expect(T::Secret, &["a"], &[]);
    proxy.nack(&response, "no");
    // Envoy holds the bad bytes beside the certificate it serves; they must go.
    let response = proxy.gets(T::Secret, &["a"], &[]);
    assert_eq!(
        response.resources()[0].version(),
        secret("a", "good").version()
    );
    proxy.subscribe(T::Secret, &["a"]);
    let response = proxy.gets(T::Secret, &["a"], &[]);
    assert_eq!(
        response.resources()[0].version(),
        secret("a", "good").version()
    );
    let now = status(&store, "a");
    assert_eq!(now.acked, Some(secret("a", "good").version()));
    assert!(now.nacked.is_some() && !now.is_in_sync());

    let restarted = Proxy::connect(&store);
    restarted.subscribe(T::Secret, &["a"]);
    let response = restarted.gets(T::Secret, &["a"], &[]);
    assert_eq!(
        response.resources()[0].version(),
        secret("a", "good").version()
    );

    store.put_secret(&gateway(), secret("a", "repaired"));
    proxy.gets(T::Secret, &["a"], &[]);
    assert!(status(&store, "a").nacked.is_none());
}

#[tokio::test(start_paused = true)]
async fn ack_of_content_that_was_refused_before_does_not_count() {
    let store = store();
    store.put_secret(&gateway(), secret("a", "bad"));
    let proxy = Proxy::connect(&store);
    proxy.subscribe(T::Secret, &["a"]);
    let first = proxy.expect(T::Secret, &["a"], &[]);
    proxy.subscribe(T::Secret, &["a"]);
    let again = proxy.expect(T::Secret, &["a"], &[]);
    proxy.nack(&first, "no");
    proxy.ack(&again);
    let now = status(&store, "a");
    assert_eq!(now.acked, None);
    assert!(now.nacked.is_some());
    // A proxy that starts now is told at once that there is nothing, since a first handshake hangs
    // on a certificate that is refused.
    let other = Proxy::connect(&store);
    other.subscribe(T::Secret, &["a"]);
    other.gets(T::Secret, &[], &["a"]);
}

#[tokio::test(start_paused = true)]
async fn content_in_doubt_after_a_disconnect_is_tried_afresh() {
    let store = store();
    store.put_secret(&gateway(), secret("a", "good"));
    let proxy = Proxy::connect(&store);
    proxy.subscribe(T::Secret, &["a"]);
    proxy.gets(T::Secret, &["a"], &[]);
    store.put_secret(&gateway(), secret("a", "bad"));
    proxy.expect(T::Secret, &["a"], &[]);
    // The refusal is lost with the stream; Envoy would acknowledge the same bytes now.
    drop(proxy);
    let proxy = Proxy::connect(&store);
    proxy.subscribe(T::Secret, &["a"]);
    let response = proxy.gets(T::Secret, &["a"], &[]);
    assert_eq!(
        response.resources()[0].version(),
        secret("a", "good").version()
    );
    let response = proxy.gets(T::Secret, &["a"], &[]);
    assert_eq!(
        response.resources()[0].version(),
        secret("a", "bad").version()
    );
    proxy.gets_nothing();
}

#[tokio::test(start_paused = true)]
async fn refused_batch_is_sent_one_by_one() {
    let store = store();
    store.set(
        &gateway(),
        vec![cluster("a", "1"), cluster("b", "bad"), cluster("c", "1")],
    );
    let proxy = Proxy::connect(&store);
    proxy.subscribe(T::Cluster, &[]);
    let batch = proxy.expect(T::Cluster, &["a", "b", "c"], &[]);
    proxy.gets_nothing();
    proxy.nack(&batch, "one of them");
    proxy.gets(T::Cluster, &["a"], &[]);
    let culprit = proxy.expect(T::Cluster, &["b"], &[]);
    proxy.nack(&culprit, "this one");
    proxy.gets(T::Cluster, &["c"], &[]);
    proxy.gets_nothing();
    let proxies = store.proxies(&gateway());
    let refused: Vec<_> = proxies[0]
        .resources
        .iter()
        .filter(|each| each.nacked.is_some())
        .collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(&*refused[0].name, "b");
}

#[tokio::test(start_paused = true)]
async fn slow_proxy_gets_only_the_newest_content() {
    let store = store();
    store.set(&gateway(), vec![cluster("a", "0")]);
    let proxy = Proxy::connect(&store);
    proxy.subscribe(T::Cluster, &[]);
    let first = proxy.expect(T::Cluster, &["a"], &[]);
    for content in ["1", "2", "3"] {
        put(&store, cluster("a", content));
        proxy.gets_nothing();
    }
    proxy.ack(&first);
    let response = proxy.gets(T::Cluster, &["a"], &[]);
    assert_eq!(
        response.resources()[0].version(),
        cluster("a", "3").version()
    );
    proxy.gets_nothing();
}

#[tokio::test(start_paused = true)]
async fn secrets_come_again_behind_the_listener_that_names_them() {
    let store = store();
    store.set(
        &gateway(),
        vec![
            secret("a", "1"),
            secret("b", "1"),
            listener("l", "1", &["a"]),
        ],
    );
    let proxy = Proxy::connect(&store);
    proxy.subscribe(T::Listener, &[]);
    proxy.gets(T::Listener, &["l"], &[]);
    proxy.subscribe(T::Secret, &["a", "b"]);
    proxy.gets(T::Secret, &["a"], &[]);
    proxy.gets(T::Secret, &["b"], &[]);
    put(&store, listener("l", "2", &["a"]));
    let listener = proxy.expect(T::Listener, &["l"], &[]);
    proxy.gets(T::Secret, &["a"], &[]);
    proxy.ack(&listener);
    proxy.gets_nothing();
}

#[tokio::test(start_paused = true)]
async fn additions_go_in_order_and_removals_wait_for_their_referrers() {
    let store = store();
    store.set(
        &gateway(),
        vec![cluster("old", "1"), listener("l", "1", &[]), route("r")],
    );
    let proxy = Proxy::connect(&store);
    proxy.subscribe(T::Cluster, &[]);
    proxy.gets(T::Cluster, &["old"], &[]);
    proxy.subscribe(T::Listener, &[]);
    proxy.gets(T::Listener, &["l"], &[]);
    proxy.subscribe(T::Route, &["r"]);
    proxy.gets(T::Route, &["r"], &[]);

    store.set(
        &gateway(),
        vec![cluster("new", "1"), listener("l", "2", &[]), route("r")],
    );
    let added = proxy.expect(T::Cluster, &["new"], &[]);
    proxy.gets_nothing();
    proxy.ack(&added);
    let listener = proxy.expect(T::Listener, &["l"], &[]);
    proxy.gets_nothing();
    proxy.ack(&listener);
    proxy.gets(T::Cluster, &[], &["old"]);
    proxy.gets_nothing();
}

#[tokio::test(start_paused = true)]
async fn routes_wait_for_the_endpoints_of_a_new_cluster_but_not_for_ever() {
    let endpoints = |name: &str| {
        use crate::proto::envoy::config::endpoint::v3::ClusterLoadAssignment;
        let message = ClusterLoadAssignment {
            cluster_name: name.into(),
            ..<_>::default()
        };
        Resource::endpoints(&message)
    };
    let with_deps = |name: &str| cluster(name, "1").with_deps([(T::Endpoints, Arc::from(name))]);
    let store = store();
    store.set(&gateway(), vec![route("r"), endpoints("a"), endpoints("b")]);
    let proxy = Proxy::connect(&store);
    proxy.subscribe(T::Cluster, &[]);
    proxy.gets(T::Cluster, &[], &[]);
    proxy.subscribe(T::Listener, &[]);
    proxy.gets(T::Listener, &[], &[]);

    put(&store, with_deps("a"));
    put(&store, listener("l", "1", &[]));
    proxy.gets(T::Cluster, &["a"], &[]);
    proxy.gets_nothing();
    proxy.subscribe(T::Endpoints, &["a"]);
    proxy.gets(T::Endpoints, &["a"], &[]);
    proxy.gets(T::Listener, &["l"], &[]);

    put(&store, with_deps("b"));
    put(&store, listener("l", "2", &[]));
    proxy.gets(T::Cluster, &["b"], &[]);
    proxy.gets_nothing();
    let response = store
        .shared
        .clock
        .timeout(Duration::from_secs(6), proxy.0.next())
        .await;
    assert_eq!(response.unwrap().kind(), T::Listener);
}

#[tokio::test(start_paused = true)]
async fn stuck_proxy_is_reported_and_other_types_go_on() {
    let store = store();
    store.set(&gateway(), vec![cluster("a", "1"), listener("l", "1", &[])]);
    let proxy = Proxy::connect(&store);
    proxy.subscribe(T::Cluster, &[]);
    proxy.expect(T::Cluster, &["a"], &[]);
    proxy.subscribe(T::Listener, &[]);
    proxy.gets_nothing();
    assert!(!store.proxies(&gateway())[0].stuck);
    let response = store
        .shared
        .clock
        .timeout(Duration::from_secs(11), proxy.0.next())
        .await;
    assert_eq!(response.unwrap().kind(), T::Listener);
    assert!(store.proxies(&gateway())[0].stuck);
}

#[tokio::test(start_paused = true)]
async fn content_that_another_proxy_runs_is_tried_in_spite_of_a_refusal() {
    let store = store();
    store.set(&gateway(), vec![secret("a", "1")]);
    let (one, two) = (Proxy::connect(&store), Proxy::connect(&store));
    for proxy in [&one, &two] {
        proxy.subscribe(T::Secret, &["a"]);
    }
    let (first, second) = (
        one.expect(T::Secret, &["a"], &[]),
        two.expect(T::Secret, &["a"], &[]),
    );
    one.nack(&first, "its own trouble");
    let three = Proxy::connect(&store);
    three.subscribe(T::Secret, &["a"]);
    three.gets(T::Secret, &[], &["a"]);
    two.ack(&second);
    three.gets(T::Secret, &["a"], &[]);
    one.gets_nothing();
}

#[tokio::test(start_paused = true)]
async fn node_of_another_gateway_is_refused() {
    let store = store();
    let stream = store.connect(&gateway());
    let request = DeltaDiscoveryRequest {
        node: Some(Node {
            id: "shop/other/pod".into(),
            ..Node::default()
        }),
        type_url: T::Secret.type_url().into(),
        ..<_>::default()
    };
    let error = stream.request(request).unwrap_err();
    assert!(matches!(error, StreamError::WrongNode { .. }), "{error}");
    let error = stream
        .request(DeltaDiscoveryRequest::default())
        .unwrap_err();
    assert!(matches!(error, StreamError::WrongNode { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn gateways_do_not_see_each_other() {
    let store = store();
    let other = GatewayId::new("shop", "other").unwrap();
    store.put_secret(&other, secret("a", "1"));
    let proxy = Proxy::connect(&store);
    proxy.subscribe(T::Secret, &["a"]);
    proxy.gets(T::Secret, &[], &["a"]);
}

#[tokio::test(start_paused = true)]
async fn removed_gateway_tells_its_proxies_nothing_and_is_forgotten() {
    let store = store();
    store.set(&gateway(), vec![secret("a", "1")]);
    let proxy = Proxy::connect(&store);
    proxy.subscribe(T::Secret, &["a"]);
    proxy.gets(T::Secret, &["a"], &[]);
    store.remove_gateway(&gateway());
    proxy.gets_nothing();
    assert!(store.gateways().is_empty());
    drop(proxy);
    assert!(lock(&store.shared.gateways).is_empty());
}

#[tokio::test(start_paused = true)]
async fn changes_are_told_and_coalesced() {
    let store = store();
    let mut all = store.watch_changes();
    let mut other = store.subscribe(&GatewayId::new("shop", "other").unwrap());
    store.put_secret(&gateway(), secret("a", "1"));
    store.put_secret(&gateway(), secret("a", "2"));
    let proxy = Proxy::connect(&store);
    proxy.subscribe(T::Secret, &["a"]);
    let clock = store.shared.clock;
    let limit = Duration::from_secs(1);
    let (first, second) = (all.next().await, all.next().await);
    assert_eq!(
        (first.kind, second.kind),
        (ChangeKind::Resources, ChangeKind::Proxies)
    );
    assert!(clock.timeout(limit, all.next()).await.is_err());
    assert!(clock.timeout(limit, other.next()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn set_kinds_leaves_other_types_alone() {
    let store = store();
    store.set(&gateway(), vec![secret("a", "1"), cluster("c", "1")]);
    store.set_kinds(
        &gateway(),
        &[T::Cluster, T::Listener],
        vec![cluster("d", "1")],
    );
    assert!(store.get(&gateway(), T::Secret, "a").is_some());
    assert!(store.get(&gateway(), T::Cluster, "c").is_none());
    assert!(store.get(&gateway(), T::Cluster, "d").is_some());
}
