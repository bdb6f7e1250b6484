//! The server over mTLS, in memory and on a paused clock, with a gRPC client that is not ours.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gatewright_seams::{Clock, Tasks};
use gatewright_xds::identity::{Authority, Identity};
use gatewright_xds::proto::envoy::config::core::v3::Node;
use gatewright_xds::proto::envoy::extensions::transport_sockets::tls::v3::Secret;
use gatewright_xds::proto::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse,
};
use gatewright_xds::{
    GatewayId, ProxyStatus, Resource, ResourceType, Server, Store, TlsSource, server_tls,
};
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

const DAY: Duration = Duration::from_hours(24);
const SERVICE: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/";
const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9);

struct World {
    clock: Clock,
    authority: Authority,
    store: Store,
    tls: TlsSource,
    server: Server,
    tasks: Tasks,
}

fn gateway() -> GatewayId {
    GatewayId::new("shop", "edge").unwrap()
}

fn secret(name: &str) -> Resource {
    Resource::secret(&Secret {
        name: name.into(),
        r#type: None,
    })
}

impl World {
    fn new() -> Self {
        let clock = Clock::starting_at("2030-01-01T00:00:00Z".parse().unwrap());
        let authority = Authority::generate(&clock, DAY).unwrap();
        let store = Store::new(clock);
        store.mark_synced(&gateway());
        let tls = TlsSource::new(server_tls_of(&authority, &clock));
        let tasks = Tasks::new();
        let server = Server::new(store.clone(), tls.clone(), tasks.clone(), clock);
        Self {
            clock,
            authority,
            store,
            tls,
            server,
            tasks,
        }
    }

    fn client(&self, gateway: &GatewayId) -> Identity {
        self.authority
            .issue_client(&self.clock, gateway, DAY)
            .unwrap()
    }

    async fn dial(&self, identity: Option<&Identity>) -> Result<Channel, tonic::transport::Error> {
        let config = Arc::new(self.client_tls(identity));
        let server = self.server.clone();
        Endpoint::from_static("http://xds")
            .connect_with_connector(tower::service_fn(move |_| {
                let (config, server) = (config.clone(), server.clone());
                async move {
                    let (near, far) = tokio::io::duplex(1 << 16);
                    server.serve_connection(far, PEER);
                    let name = ServerName::try_from("xds.test").unwrap();
                    TlsConnector::from(config)
                        .connect(name, near)
                        .await
                        .map(TokioIo::new)
                }
            }))
            .await
    }

    fn client_tls(&self, identity: Option<&Identity>) -> rustls::ClientConfig {
        let mut roots = RootCertStore::empty();
        let root = self.authority.certificate_pem().as_bytes();
        roots
            .add(CertificateDer::from_pem_slice(root).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_details(
            provider,
            Arc::new(Fixed(self.clock.now().as_second().try_into().unwrap())),
        )
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
        let mut config = match identity {
            Some(identity) => builder
                .with_client_auth_cert(identity.chain().unwrap(), identity.key().unwrap())
                .unwrap(),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

fn server_tls_of(authority: &Authority, clock: &Clock) -> Arc<rustls::ServerConfig> {
    let identity = authority
        .issue_server(clock, &["xds.test".into()], DAY)
        .unwrap();
    server_tls(&identity, authority.certificate_pem(), *clock).unwrap()
}

/// The test's time for the client's checks.
#[derive(Debug)]
struct Fixed(u64);

impl rustls::time_provider::TimeProvider for Fixed {
    fn current_time(&self) -> Option<rustls_pki_types::UnixTime> {
        Some(rustls_pki_types::UnixTime::since_unix_epoch(
            Duration::from_secs(self.0),
        ))
    }
}

/// One delta stream.
struct Stream {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
}

impl Stream {
    async fn open(channel: Channel, method: &str) -> Result<Self, Status> {
        let (requests, outgoing) = mpsc::channel(8);
        let mut grpc = tonic::client::Grpc::new(channel);
        grpc.ready()
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let path = format!("{SERVICE}{method}").parse().unwrap();
        let codec = tonic_prost::ProstCodec::default();
        let request = tonic::Request::new(ReceiverStream::new(outgoing));
        let responses = grpc.streaming(request, path, codec).await?.into_inner();
        Ok(Self {
            requests,
            responses,
        })
    }

    async fn subscribe(&self, node_id: &str, name: &str) {
        let request = DeltaDiscoveryRequest {
            node: Some(Node {
                id: node_id.into(),
                ..Node::default()
            }),
            type_url: ResourceType::Secret.type_url().into(),
            resource_names_subscribe: vec![name.into()],
            ..<_>::default()
        };
        self.requests.send(request).await.unwrap();
    }

    async fn ack(&self, response: &DeltaDiscoveryResponse) {
        let request = DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            ..<_>::default()
        };
        self.requests.send(request).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn secret_reaches_the_proxy_its_certificate_names() {
    let world = World::new();
    world.store.put_secret(&gateway(), secret("host"));
    let channel = world.dial(Some(&world.client(&gateway()))).await.unwrap();
    let mut stream = Stream::open(channel, "DeltaAggregatedResources")
        .await
        .unwrap();
    stream.subscribe(&gateway().node_id("pod"), "host").await;
    let response = stream.responses.message().await.unwrap().unwrap();
    assert_eq!(response.type_url, ResourceType::Secret.type_url());
    assert_eq!(response.resources.len(), 1);
    assert_eq!(response.resources[0].name, "host");
    assert_eq!(
        response.resources[0].version,
        secret("host").version().to_string()
    );
    stream.ack(&response).await;
    let mut changes = world.store.subscribe(&gateway());
    let synced = async {
        while !world
            .store
            .proxies(&gateway())
            .iter()
            .all(ProxyStatus::is_in_sync)
        {
            changes.next().await;
        }
    };
    world
        .clock
        .timeout(Duration::from_secs(5), synced)
        .await
        .unwrap();

    let apply = gatewright_xds::Update {
        put: vec![],
        remove: vec![(ResourceType::Secret, "host".into())],
    };
    world.store.apply(&gateway(), apply);
    let response = stream.responses.message().await.unwrap().unwrap();
    assert_eq!(response.removed_resources, ["host"]);

    drop(stream);
    let gone = async {
        while !world.store.proxies(&gateway()).is_empty() {
            changes.next().await;
        }
    };
    world
        .clock
        .timeout(Duration::from_secs(5), gone)
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_a_certificate_of_our_authority_there_is_no_stream() {
    let world = World::new();
    world.store.put_secret(&gateway(), secret("host"));
    let other = Authority::generate(&world.clock, DAY).unwrap();
    let foreign = other.issue_client(&world.clock, &gateway(), DAY).unwrap();
    let server = world
        .authority
        .issue_server(&world.clock, &["xds.test".into()], DAY)
        .unwrap();
    for identity in [None, Some(&foreign), Some(&server)] {
        let Ok(channel) = world.dial(identity).await else {
            continue;
        };
        // TLS 1.3: the client learns of the refusal with its first read.
        let stream = Stream::open(channel, "DeltaAggregatedResources").await;
        assert!(stream.is_err(), "a stream was opened");
    }
    assert!(world.store.proxies(&gateway()).is_empty());
}

#[tokio::test(start_paused = true)]
async fn expired_client_certificate_is_refused() {
    let world = World::new();
    let hour = Duration::from_hours(1);
    let identity = world
        .authority
        .issue_client(&world.clock, &gateway(), hour)
        .unwrap();
    assert!(
        Stream::open(
            world.dial(Some(&identity)).await.unwrap(),
            "DeltaAggregatedResources"
        )
        .await
        .is_ok()
    );
    world.clock.sleep(2 * hour).await;
    if let Ok(channel) = world.dial(Some(&identity)).await {
        assert!(
            Stream::open(channel, "DeltaAggregatedResources")
                .await
                .is_err()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn node_that_claims_another_gateway_is_refused() {
    let world = World::new();
    let victim = GatewayId::new("shop", "victim").unwrap();
    world.store.mark_synced(&victim);
    world.store.put_secret(&victim, secret("host"));
    let channel = world.dial(Some(&world.client(&gateway()))).await.unwrap();
    let mut stream = Stream::open(channel, "DeltaAggregatedResources")
        .await
        .unwrap();
    stream.subscribe(&victim.node_id("pod"), "host").await;
    let status = stream.responses.message().await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    assert!(status.message().contains("node.id"), "{status}");
}

#[tokio::test(start_paused = true)]
async fn other_methods_say_what_to_set() {
    let world = World::new();
    let channel = world.dial(Some(&world.client(&gateway()))).await.unwrap();
    let status = Stream::open(channel, "StreamAggregatedResources")
        .await
        .err()
        .unwrap();
    assert_eq!(status.code(), Code::Unimplemented);
    assert!(status.message().contains("DELTA_GRPC"), "{status}");
}

#[tokio::test(start_paused = true)]
async fn new_connections_see_the_replaced_server_certificate() {
    let world = World::new();
    let client = world.client(&gateway());
    let other = Authority::generate(&world.clock, DAY).unwrap();
    let open = world.dial(Some(&client)).await.unwrap();
    world.tls.replace(server_tls_of(&other, &world.clock));
    assert!(
        world.dial(Some(&client)).await.is_err(),
        "the old certificate is still shown"
    );
    assert!(
        Stream::open(open, "DeltaAggregatedResources").await.is_ok(),
        "open one was cut"
    );
    world
        .tls
        .replace(server_tls_of(&world.authority, &world.clock));
    assert!(world.dial(Some(&client)).await.is_ok());
}
