//! The server against a real Envoy.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a step that fails is a test that fails"
)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use gatewright_seams::{Clock, Tasks};
use gatewright_xds::config_source::{ads_config_source, sds_secret_config};
use gatewright_xds::identity::{Authority, Identity};
use gatewright_xds::proto;
use gatewright_xds::proto::envoy::config::core::v3::{
    Address, SocketAddress, TransportSocket, address, socket_address, transport_socket,
};
use gatewright_xds::proto::envoy::config::listener::v3::{
    Filter, FilterChain, FilterChainMatch, Listener, ListenerFilter, filter, listener_filter,
};
use gatewright_xds::proto::envoy::config::route::v3 as route;
use gatewright_xds::proto::envoy::extensions::filters::http::router::v3::Router;
use gatewright_xds::proto::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use gatewright_xds::proto::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use gatewright_xds::proto::envoy::extensions::transport_sockets::tls::v3::{
    CommonTlsContext, DownstreamTlsContext, Secret, TlsCertificate, secret,
};
use gatewright_xds::{
    GatewayId, Resource, ResourceType, Server, Store, TlsSource, Update, server_tls,
};
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

const DAY: Duration = Duration::from_hours(24);
const HOST: &str = "shop.example";
const BODY: &str = "hello";
/// Envoy is up in 0.2 s; a machine that runs other builds meanwhile may need much longer.
const LIMIT: Duration = Duration::from_mins(1);

fn gateway() -> GatewayId {
    GatewayId::new("shop", "edge").unwrap()
}

fn envoy_binary() -> PathBuf {
    let tools = std::env::var_os("GATEWRIGHT_TOOLS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools"),
        PathBuf::from,
    );
    let path = tools.join("bin/envoy");
    assert!(
        path.exists(),
        "no Envoy at {}: run `cargo xtask tools`",
        path.display()
    );
    path
}

/// An Envoy process; killed, and its files deleted, when the test ends.
struct Envoy {
    child: Child,
    dir: PathBuf,
}

impl Envoy {
    fn start(name: &str, xds_port: u16, authority: &Authority, identity: &Identity) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("envoy-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let config = bootstrap(xds_port, authority, identity);
        std::fs::write(dir.join("envoy.json"), config.to_string()).unwrap();
        let child = Command::new(envoy_binary())
            .args([
                "--use-dynamic-base-id",
                "--concurrency",
                "1",
                "--log-level",
                "warning",
            ])
            .args([
                "--service-cluster",
                "edge",
                "--service-node",
                &gateway().node_id(name),
            ])
            .arg("--config-path")
            .arg(dir.join("envoy.json"))
            .arg("--admin-address-path")
            .arg(dir.join("admin"))
            .arg("--log-path")
            .arg(dir.join("log"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, dir }
    }

    /// One GET of the admin interface; `None` while it is not up.
    async fn admin(&self, path: &str) -> Option<String> {
        let address = std::fs::read_to_string(self.dir.join("admin")).ok()?;
        let mut socket = TcpStream::connect(address.trim()).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.ok()?;
        Some(answer)
    }

    async fn stat(&self, name: &str) -> Option<u64> {
        let answer = self
            .admin(&format!("/stats?usedonly=&filter=^{name}$"))
            .await?;
        answer
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok())
    }

    /// The port that Envoy chose for the listener.
    async fn port(&self, listener: &str) -> Option<u16> {
        let answer = self.admin("/listeners").await?;
        let line = answer
            .lines()
            .find_map(|line| line.strip_prefix(listener)?.strip_prefix("::"))?;
        line.rsplit(':').next()?.trim().parse().ok()
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        // Both fail only when the process is gone already.
        drop(self.child.kill());
        drop(self.child.wait());
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

fn bootstrap(xds_port: u16, authority: &Authority, identity: &Identity) -> Value {
    let inline = |text: &str| json!({ "inline_string": text });
    json!({
        "admin": { "address": { "socket_address": { "address": "127.0.0.1", "port_value": 0 } } },
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": true,
                "grpc_services": [{ "envoy_grpc": { "cluster_name": "xds" } }],
            },
            "lds_config": { "ads": {}, "resource_api_version": "V3" },
            "cds_config": { "ads": {}, "resource_api_version": "V3" },
        },
        "static_resources": { "clusters": [{
            "name": "xds",
            "type": "STATIC",
            "load_assignment": { "cluster_name": "xds", "endpoints": [{ "lb_endpoints": [{
                "endpoint": { "address": { "socket_address": {
                    "address": "127.0.0.1", "port_value": xds_port,
                }}},
            }]}]},
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": { "http2_protocol_options": {} },
                },
            },
            "transport_socket": {
                "name": "envoy.transport_sockets.tls",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                    "sni": "xds.test",
                    "common_tls_context": {
                        "alpn_protocols": ["h2"],
                        "tls_certificates": [{
                            "certificate_chain": inline(&identity.certificate_pem),
                            "private_key": inline(identity.key_pem.expose()),
                        }],
                        "validation_context": {
                            "trusted_ca": inline(authority.certificate_pem()),
                            "match_typed_subject_alt_names": [
                                { "san_type": "DNS", "matcher": { "exact": "xds.test" } },
                            ],
                        },
                    },
                },
            },
        }]},
    })
}

/// A listener on a port of Envoy's choice, with one secret and its routes by RDS.
fn listener(secrets: &[&str], stat_prefix: &str) -> Resource {
    let manager = hcm::HttpConnectionManager {
        stat_prefix: stat_prefix.into(),
        route_specifier: Some(hcm::http_connection_manager::RouteSpecifier::Rds(
            hcm::Rds {
                route_config_name: "routes".into(),
                config_source: Some(ads_config_source()),
            },
        )),
        http_filters: vec![hcm::HttpFilter {
            name: "envoy.filters.http.router".into(),
            config_type: Some(hcm::http_filter::ConfigType::TypedConfig(proto::any(
                &Router::default(),
            ))),
            ..<_>::default()
        }],
        ..<_>::default()
    };
    let chain = |secret: &&str| {
        let context = DownstreamTlsContext {
            common_tls_context: Some(CommonTlsContext {
                tls_certificate_sds_secret_configs: vec![sds_secret_config(secret)],
                ..<_>::default()
            }),
            ..<_>::default()
        };
        FilterChain {
            filter_chain_match: Some(FilterChainMatch {
                server_names: vec![(*secret).to_owned()],
                ..<_>::default()
            }),
            filters: vec![Filter {
                name: "envoy.filters.network.http_connection_manager".into(),
                config_type: Some(filter::ConfigType::TypedConfig(proto::any(&manager))),
            }],
            transport_socket: Some(TransportSocket {
                name: "envoy.transport_sockets.tls".into(),
                config_type: Some(transport_socket::ConfigType::TypedConfig(proto::any(
                    &context,
                ))),
            }),
            ..<_>::default()
        }
    };
    let inspector = ListenerFilter {
        name: "envoy.filters.listener.tls_inspector".into(),
        config_type: Some(listener_filter::ConfigType::TypedConfig(proto::any(
            &TlsInspector::default(),
        ))),
        ..<_>::default()
    };
    Resource::listener(&Listener {
        name: "https".into(),
        address: Some(Address {
            address: Some(address::Address::SocketAddress(SocketAddress {
                address: "127.0.0.1".into(),
                port_specifier: Some(socket_address::PortSpecifier::PortValue(0)),
                ..<_>::default()
            })),
        }),
        listener_filters: vec![inspector],
        filter_chains: secrets.iter().map(chain).collect(),
        ..<_>::default()
    })
}

/// Answers everything with 200 and [`BODY`].
fn routes() -> Resource {
    let answer = route::route::Action::DirectResponse(route::DirectResponseAction {
        status: 200,
        body: Some(proto::inline_string(BODY)),
        ..<_>::default()
    });
    let all = route::RouteMatch {
        path_specifier: Some(route::route_match::PathSpecifier::Prefix("/".into())),
        ..<_>::default()
    };
    let host = route::VirtualHost {
        name: "all".into(),
        domains: vec!["*".into()],
        routes: vec![route::Route {
            r#match: Some(all),
            action: Some(answer),
            ..<_>::default()
        }],
        ..<_>::default()
    };
    Resource::route(&route::RouteConfiguration {
        name: "routes".into(),
        virtual_hosts: vec![host],
        ..<_>::default()
    })
}

fn tls_secret(name: &str, chain: &str, key: &str) -> Resource {
    let certificate = TlsCertificate {
        certificate_chain: Some(proto::inline_string(chain)),
        private_key: Some(proto::inline_string(key)),
        ..<_>::default()
    };
    Resource::secret(&Secret {
        name: name.into(),
        r#type: Some(secret::Type::TlsCertificate(certificate)),
    })
}

struct World {
    clock: Clock,
    authority: Authority,
    store: Store,
    tasks: Tasks,
    port: u16,
}

impl World {
    async fn new() -> Self {
        let clock = Clock::system();
        let authority = Authority::generate(&clock, DAY).unwrap();
        let server = authority
            .issue_server(&clock, &["xds.test".into()], DAY)
            .unwrap();
        let tls = TlsSource::new(server_tls(&server, authority.certificate_pem(), clock).unwrap());
        let (store, tasks) = (Store::new(clock), Tasks::new());
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server::new(store.clone(), tls, tasks.clone(), clock);
        let port = server.serve(socket).unwrap().port();
        Self {
            clock,
            authority,
            store,
            tasks,
            port,
        }
    }

    /// A certificate for `host` as a secret, and the leaf that will be seen.
    fn certificate(&self, host: &str) -> (Resource, CertificateDer<'static>) {
        let made = self
            .authority
            .issue_server(&self.clock, &[host.into()], DAY)
            .unwrap();
        let leaf = made.chain().unwrap().remove(0);
        (
            tls_secret(host, &made.certificate_pem, made.key_pem.expose()),
            leaf,
        )
    }

    fn envoy(&self, name: &str) -> Envoy {
        let identity = self
            .authority
            .issue_client(&self.clock, &gateway(), DAY)
            .unwrap();
        Envoy::start(name, self.port, &self.authority, &identity)
    }

    /// Looks again and again until there is an answer.
    async fn wait<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        let found = self.clock.timeout(LIMIT, async {
            loop {
                if let Some(found) = look().await {
                    return found;
                }
                self.clock.sleep(Duration::from_millis(20)).await;
            }
        });
        found
            .await
            .unwrap_or_else(|_| panic!("{what} did not happen"))
    }

    /// The leaf that a new connection for `host` shows, and the answer to a GET on it.
    async fn get(&self, port: u16, host: &str) -> Option<(CertificateDer<'static>, String)> {
        let mut roots = RootCertStore::empty();
        let root = self.authority.certificate_pem().as_bytes();
        roots
            .add(CertificateDer::from_pem_slice(root).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let socket = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let mut stream = TlsConnector::from(Arc::new(config))
            .connect(name, socket)
            .await
            .ok()?;
        let leaf = stream.get_ref().1.peer_certificates()?[0]
            .clone()
            .into_owned();
        let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        // Envoy keeps the connection for another second, so the end is not waited for.
        while !answer.ends_with(BODY.as_bytes()) {
            if stream.read_buf(&mut answer).await.ok()? == 0 {
                break;
            }
        }
        Some((leaf, String::from_utf8(answer).ok()?))
    }

    async fn serves(&self, port: u16, host: &str, leaf: &CertificateDer<'static>) {
        self.wait("the new certificate being served", async || {
            self.get(port, host).await.filter(|(seen, _)| seen == leaf)
        })
        .await;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

#[tokio::test]
async fn listener_comes_up_and_rotates_without_being_modified() {
    let world = World::new().await;
    let (secret, leaf) = world.certificate(HOST);
    world
        .store
        .set(&gateway(), vec![listener(&[HOST], "one"), routes(), secret]);
    world.store.mark_synced(&gateway());
    let envoy = world.envoy("up");
    let port = world
        .wait("the listener", async || envoy.port("https").await)
        .await;
    world.serves(port, HOST, &leaf).await;
    let (_, answer) = world.get(port, HOST).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with(BODY),
        "{answer}"
    );

    for _ in 0..5 {
        let (secret, leaf) = world.certificate(HOST);
        let version = secret.version();
        world.store.put_secret(&gateway(), secret);
        world
            .wait("the ACK", async || {
                let delivery = world.store.delivery(&gateway(), ResourceType::Secret, HOST);
                (delivery[0].1.acked == Some(version)).then_some(())
            })
            .await;
        world.serves(port, HOST, &leaf).await;
    }
    assert_eq!(envoy.stat("listener_manager.listener_added").await, Some(1));
    assert_eq!(
        envoy
            .stat("listener_manager.listener_modified")
            .await
            .unwrap_or(0),
        0
    );
    let status = &world.store.proxies(&gateway())[0];
    assert!(status.agent.starts_with("envoy 1."), "{status:?}");
    assert_eq!(&*status.node_id, gateway().node_id("up"));
    assert!(status.is_in_sync(), "{status:?}");
}

#[tokio::test]
async fn one_unusable_secret_harms_no_other_and_is_named() {
    let world = World::new().await;
    let hosts: Vec<String> = (0..8).map(|index| format!("h{index}.example")).collect();
    let names: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let mut resources = vec![listener(&names, "one"), routes()];
    let mut leaves = Vec::new();
    for host in &hosts {
        let (secret, leaf) = world.certificate(host);
        resources.push(secret);
        leaves.push(leaf);
    }
    world.store.set(&gateway(), resources);
    world.store.mark_synced(&gateway());
    let envoy = world.envoy("bad");
    let port = world
        .wait("the listener", async || envoy.port("https").await)
        .await;
    world.serves(port, &hosts[7], &leaves[7]).await;

    let mut put = Vec::new();
    for (index, host) in hosts.iter().enumerate() {
        let (secret, leaf) = world.certificate(host);
        if index == 3 {
            let chain = world
                .authority
                .issue_server(&world.clock, std::slice::from_ref(host), DAY)
                .unwrap();
            let other = world
                .authority
                .issue_server(&world.clock, std::slice::from_ref(host), DAY)
                .unwrap();
            put.push(tls_secret(
                host,
                &chain.certificate_pem,
                other.key_pem.expose(),
            ));
        } else {
            put.push(secret);
            leaves[index] = leaf;
        }
    }
    world.store.apply(
        &gateway(),
        Update {
            put,
            remove: vec![],
        },
    );
    for (host, leaf) in hosts.iter().zip(&leaves) {
        world.serves(port, host, leaf).await;
    }
    world
        .wait("the refusal", async || {
            let delivery = world
                .store
                .delivery(&gateway(), ResourceType::Secret, &hosts[3]);
            delivery[0].1.nacked.clone()
        })
        .await;
    let status = &world.store.proxies(&gateway())[0];
    let refused: Vec<_> = status
        .resources
        .iter()
        .filter(|each| each.nacked.is_some())
        .collect();
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(*refused[0].name, *hosts[3]);

    // What the refusal left in Envoy must not surface with the next listener update.
    world.store.apply(
        &gateway(),
        Update {
            put: vec![listener(&names, "two")],
            remove: vec![],
        },
    );
    world
        .wait("the update of the listener", async || {
            envoy
                .stat("listener_manager.listener_modified")
                .await
                .filter(|count| *count > 0)
        })
        .await;
    let port = world
        .wait("the listener", async || envoy.port("https").await)
        .await;
    for (host, leaf) in hosts.iter().zip(&leaves) {
        world.serves(port, host, leaf).await;
    }
}

#[tokio::test]
async fn absent_secret_does_not_keep_the_port_closed() {
    let world = World::new().await;
    let (secret, leaf) = world.certificate(HOST);
    world.store.set(
        &gateway(),
        vec![listener(&[HOST, "absent.example"], "one"), routes(), secret],
    );
    world.store.mark_synced(&gateway());
    let envoy = world.envoy("absent");
    let port = world
        .wait("the listener", async || envoy.port("https").await)
        .await;
    world.serves(port, HOST, &leaf).await;
    assert_eq!(
        envoy
            .stat("sds.absent.example.init_fetch_timeout")
            .await
            .unwrap_or(0),
        0
    );
    let (late, leaf) = world.certificate("absent.example");
    world.store.put_secret(&gateway(), late);
    world.serves(port, "absent.example", &leaf).await;
}

#[tokio::test]
async fn client_certificate_of_another_authority_gets_nothing() {
    let world = World::new().await;
    world
        .store
        .set(&gateway(), vec![listener(&[HOST], "one"), routes()]);
    world.store.mark_synced(&gateway());
    let other = Authority::generate(&world.clock, DAY).unwrap();
    let identity = other.issue_client(&world.clock, &gateway(), DAY).unwrap();
    let envoy = Envoy::start("foreign", world.port, &world.authority, &identity);
    world
        .wait("a refused connection", async || {
            envoy
                .stat("cluster.xds.upstream_cx_total")
                .await
                .filter(|count| *count > 1)
        })
        .await;
    assert_eq!(
        envoy
            .stat("listener_manager.listener_added")
            .await
            .unwrap_or(0),
        0
    );
    assert!(world.store.proxies(&gateway()).is_empty());
}
