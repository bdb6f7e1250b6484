//! A real Envoy with the gateway's own bootstrap, and what it says about resources.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gatewright::gateway::XDS_SERVER_NAME;
use gatewright::routing::Key;
use gatewright_seams::{Clock, Tasks};
use gatewright_xds::identity::Authority;
use gatewright_xds::proto::envoy::config::route::v3::RouteConfiguration;
use gatewright_xds::proto::envoy::config::route::v3::route_match::PathSpecifier;
use gatewright_xds::proto::envoy::extensions::transport_sockets::tls::v3::{
    Secret, TlsCertificate, secret,
};
use gatewright_xds::proto::inline_string;
use gatewright_xds::{GatewayId, Resource, ResourceType, Server, Store, TlsSource, server_tls};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::case::root;

const DAY: Duration = Duration::from_hours(24);
/// For one case; a machine that runs other builds meanwhile may need long.
const LIMIT: Duration = Duration::from_mins(1);
const BOOTSTRAP: &str = "/etc/gatewright/bootstrap";
const IDENTITY: &str = "/etc/gatewright/identity";

/// A discovery service and one Envoy that asks it.
pub(crate) struct World {
    /// The address of the Envoy's listeners: nobody else's, because their ports are fixed.
    pub(crate) bind: Ipv4Addr,
    clock: Clock,
    authority: Authority,
    store: Store,
    tasks: Tasks,
    gateway: GatewayId,
    envoy: Child,
    folder: PathBuf,
}

impl World {
    pub(crate) async fn start(name: &str) -> Self {
        let clock = Clock::system();
        let authority = Authority::generate(&clock, DAY).unwrap();
        let server = authority
            .issue_server(&clock, &[XDS_SERVER_NAME.into()], DAY)
            .unwrap();
        let tls = TlsSource::new(server_tls(&server, authority.certificate_pem(), clock).unwrap());
        let (store, tasks) = (Store::new(clock), Tasks::new());
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server::new(store.clone(), tls, tasks.clone(), clock);
        let port = server.serve(socket).unwrap().port();
        let gateway = GatewayId::new("istio-system", "edge").unwrap();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("routing-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        identify(&folder, &authority, &clock, &gateway);
        lay_out(&folder, |config| point_at(config, port));
        let envoy = Command::new(gatewright_tests::envoy())
            .args(["--use-dynamic-base-id", "--concurrency", "1"])
            .args(["--service-cluster", "edge", "--service-node"])
            .arg(gateway.node_id(name))
            .arg("--config-path")
            .arg(folder.join("envoy.json"))
            .arg("--log-path")
            .arg(folder.join("log"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let [_, _, high, low] = std::process::id().to_be_bytes();
        // The tests of one process run beside each other.
        let third = name
            .bytes()
            .fold(64, |sum: u8, byte| sum.wrapping_add(byte))
            | 64;
        Self {
            bind: Ipv4Addr::new(127, third, high, low),
            clock,
            authority,
            store,
            tasks,
            gateway,
            envoy,
            folder,
        }
    }

    /// Gives Envoy `resources`, in place of what it had, and returns what it refuses and why.
    pub(crate) async fn verdicts(
        &self,
        mut resources: Vec<Resource>,
        secrets: &[Key],
    ) -> Vec<String> {
        resources.extend(secrets.iter().map(|key| self.secret(key)));
        let wanted: Vec<_> = resources.iter().map(|r| (r.key(), r.version())).collect();
        self.store.set(&self.gateway, resources);
        self.store.mark_synced(&self.gateway);
        let settled = self.clock.timeout(LIMIT, async {
            loop {
                let proxies = self.store.proxies(&self.gateway);
                if let Some(proxy) = proxies.first() {
                    let refused: Vec<String> = proxy
                        .resources
                        .iter()
                        .filter(|each| each.wanted.is_some())
                        .filter_map(|each| {
                            let refused = each.nacked.as_ref()?;
                            (Some(refused.version) == each.wanted).then(|| {
                                format!("{} {}: {}", each.kind, each.name, refused.message)
                            })
                        })
                        .collect();
                    let taken = wanted.iter().all(|((kind, name), version)| {
                        proxy.resources.iter().any(|each| {
                            each.kind == *kind && each.name == *name && each.acked == Some(*version)
                        })
                    });
                    if taken || !refused.is_empty() {
                        return refused;
                    }
                }
                self.clock.sleep(Duration::from_millis(5)).await;
            }
        });
        match settled.await {
            Ok(refused) => refused,
            Err(late) => panic!(
                "{late}: no verdict on {wanted:?}: {:?}\n{}",
                self.store.proxies(&self.gateway),
                std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
            ),
        }
    }

    fn secret(&self, (namespace, name): &Key) -> Resource {
        let host = [format!("{name}.example.com")];
        let made = self
            .authority
            .issue_server(&self.clock, &host, DAY)
            .unwrap();
        Resource::secret(&Secret {
            name: format!("kubernetes://{namespace}/{name}"),
            r#type: Some(secret::Type::TlsCertificate(TlsCertificate {
                certificate_chain: Some(inline_string(made.certificate_pem.clone())),
                private_key: Some(inline_string(made.key_pem.expose().clone())),
                ..TlsCertificate::default()
            })),
        })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.tasks.cancel();
        // Both fail only when the process is gone already.
        drop(self.envoy.kill());
        drop(self.envoy.wait());
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// The stored bootstrap of the quickstart's gateway, as the volumes of a Pod would show it, in
/// `folder`; `change` is applied to the configuration.
pub(crate) fn lay_out(folder: &Path, change: impl FnOnce(&mut Value)) {
    let stored = root().join("tests/golden/gateway/quickstart.yaml");
    let stored = std::fs::read_to_string(stored).unwrap();
    let objects: Vec<Value> = serde_saphyr::from_multiple(&stored).unwrap();
    let bootstrap = objects.iter().find(|each| each["kind"] == "ConfigMap");
    let files = bootstrap.unwrap()["data"].as_object().unwrap();
    let here = folder.to_str().unwrap();
    let mut change = Some(change);
    for (name, text) in files {
        let text = text.as_str().unwrap();
        let text = text.replace(BOOTSTRAP, here).replace(IDENTITY, here);
        let mut file: Value = serde_json::from_str(&text).unwrap();
        if name == "envoy.json" {
            (change.take().unwrap())(&mut file);
        }
        std::fs::write(folder.join(name), file.to_string()).unwrap();
    }
}

/// What the identity Secret of a Pod would show.
fn identify(folder: &Path, authority: &Authority, clock: &Clock, gateway: &GatewayId) {
    let identity = authority.issue_client(clock, gateway, DAY).unwrap();
    for (file, text) in [
        ("tls.crt", identity.certificate_pem.as_str()),
        ("tls.key", identity.key_pem.expose()),
        ("ca.crt", authority.certificate_pem()),
    ] {
        std::fs::write(folder.join(file), text).unwrap();
    }
}

/// Envoy's verdict on the stored bootstrap as it is.
pub(crate) fn validate_bootstrap() -> std::process::Output {
    let clock = Clock::system();
    let authority = Authority::generate(&clock, DAY).unwrap();
    let gateway = GatewayId::new("istio-system", "ingressgateway").unwrap();
    let folder =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bootstrap-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    identify(&folder, &authority, &clock, &gateway);
    lay_out(&folder, |_| {});
    let output = Command::new(gatewright_tests::envoy())
        .args(["--mode", "validate", "--use-dynamic-base-id"])
        .args(["--service-cluster", "edge", "--service-node", "node"])
        .arg("--config-path")
        .arg(folder.join("envoy.json"))
        .output()
        .unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    output
}

/// Leads the bootstrap to a discovery service on loopback, and its own listeners to free ports.
fn point_at(config: &mut Value, port: u16) {
    let free = |ip: Ipv4Addr, port: u16| json!({ "socket_address": { "address": IpAddr::from(ip), "port_value": port } });
    config["admin"]["address"] = free(Ipv4Addr::LOCALHOST, 0);
    let parts = &mut config["static_resources"];
    parts["listeners"][0]["address"] = free(Ipv4Addr::LOCALHOST, 0);
    let endpoint = &mut parts["clusters"][0]["load_assignment"]["endpoints"][0]["lb_endpoints"][0];
    endpoint["endpoint"]["address"] = free(Ipv4Addr::LOCALHOST, port);
}

/// The resource with `old` replaced by `new` in the regexes and header values of its routes.
pub(crate) fn replace(resource: Resource, old: &str, new: &str) -> Resource {
    if resource.kind() != ResourceType::Route {
        return resource;
    }
    let mut routes: RouteConfiguration = resource.decode().unwrap();
    let all = routes.virtual_hosts.iter_mut();
    for route in all.flat_map(|host| host.routes.iter_mut()) {
        let path = route
            .r#match
            .as_mut()
            .and_then(|m| m.path_specifier.as_mut());
        if let Some(PathSpecifier::SafeRegex(held)) = path
            && held.regex == old
        {
            new.clone_into(&mut held.regex);
        }
        for option in &mut route.request_headers_to_add {
            let header = option.header.as_mut().unwrap();
            if header.value == old {
                new.clone_into(&mut header.value);
            }
        }
    }
    Resource::route(&routes)
}
