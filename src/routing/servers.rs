//! The servers that one gateway opens: which of those that are asked for, and for which hosts.

use std::collections::BTreeSet;

use gatewright_crds::istio::{Gateway, Protocol, Server, TlsMode, TlsSettings, TlsVersion};
use kube::ResourceExt;

use super::listeners::knows_cipher;
use super::problem::{Problem, Refusal};
use super::translate::Input;
use crate::fronts::{listen_port, pod_labels, selects};
use crate::gateway::RESERVED_PORTS;

/// One server of one Gateway, with the port that the proxies open for it.
pub(super) struct Opened<'a> {
    pub(super) of: &'a Gateway,
    pub(super) server: &'a Server,
    pub(super) port: u16,
    pub(super) protocol: Protocol,
    /// Never empty.
    pub(super) hosts: Vec<Host<'a>>,
    /// The Secret with the certificate, as namespace and name.
    pub(super) secret: Option<(String, String)>,
}

/// A host pattern of a server.
pub(super) struct Host<'a> {
    /// Whose VirtualServices may use it; `None` for everybody's.
    namespace: Option<&'a str>,
    /// `*`, `*.example.com` or a name; lower case.
    pub(super) pattern: String,
}

impl Host<'_> {
    /// Whether a VirtualService in `namespace` may use this host of a Gateway in `own`.
    pub(super) fn is_open_to(&self, namespace: &str, own: &str) -> bool {
        match self.namespace {
            None | Some("*") => true,
            Some(".") => namespace == own,
            Some(only) => namespace == only,
        }
    }
}

/// The host patterns of `server`.
pub(super) fn hosts(server: &Server) -> impl Iterator<Item = Host<'_>> {
    server.hosts.iter().map(|host| {
        let (namespace, pattern) = match host.rsplit_once('/') {
            Some((namespace, pattern)) => (Some(namespace), pattern),
            None => (None, host.as_str()),
        };
        let pattern = pattern.to_ascii_lowercase();
        Host { namespace, pattern }
    })
}

impl Opened<'_> {
    /// The host patterns, each once.
    pub(super) fn patterns(&self) -> BTreeSet<&str> {
        self.hosts
            .iter()
            .map(|host| host.pattern.as_str())
            .collect()
    }

    /// The name of the route configuration: by port for HTTP, by server for HTTPS, because each
    /// filter chain has its own. A host belongs to one HTTPS server of a port, so names differ.
    pub(super) fn route_name(&self) -> String {
        match self.protocol {
            Protocol::Https => {
                let first = self.hosts.first().map_or("*", |host| host.pattern.as_str());
                format!("https.{}.{}.{first}", self.port, self.of.name_any())
            }
            _ => format!("http.{}", self.port),
        }
    }
}

/// The servers that this gateway opens. A port is either plain or TLS: the first server says which.
pub(super) fn opened<'a>(input: &Input<'a>, problems: &mut Vec<Problem>) -> Vec<Opened<'a>> {
    let labels = pod_labels(input.gateway);
    let mut gateways: Vec<&Gateway> = input.servers.to_vec();
    gateways.retain(|gateway| selects(gateway, &labels));
    gateways.sort_by_key(|gateway| (gateway.namespace(), gateway.name_any()));
    let mut opened: Vec<Opened<'a>> = Vec::new();
    for gateway in gateways {
        let mut refuse = |refusal| problems.push(Problem::of(gateway, "Gateway", refusal));
        let unsupported = gateway.spec.unsupported();
        if !unsupported.is_empty() {
            let list: Vec<_> = unsupported.iter().map(ToString::to_string).collect();
            let message = format!("accepted but not acted on: {}", list.join(", "));
            refuse(("FieldsNotActedOn", message));
        }
        for server in &gateway.spec.servers {
            match open(input, gateway, server, &opened, &mut refuse) {
                Ok(server) => opened.extend(server),
                Err((reason, message)) => {
                    refuse((reason, format!("port {}: {message}", server.port.number)));
                }
            }
        }
    }
    opened
}

/// `None`: all of its hosts are taken, which was reported for each.
fn open<'a>(
    input: &Input<'a>,
    gateway: &'a Gateway,
    server: &'a Server,
    others: &[Opened<'a>],
    refuse: &mut impl FnMut(Refusal),
) -> Result<Option<Opened<'a>>, Refusal> {
    let number = server.port.number;
    let protocol = protocol(server)?;
    let port = u16::try_from(listen_port(input.gateway, number))
        .map_err(|_| ("InvalidPort", "the port of the pods is not a port".into()))?;
    if RESERVED_PORTS.contains(&port) {
        let message = format!("the proxies need port {port} for themselves");
        return Err(("PortReserved", message));
    }
    let others: Vec<_> = others.iter().filter(|other| other.port == port).collect();
    if others.iter().any(|other| other.protocol != protocol) {
        return Err(("PortConflict", "is opened with another protocol".into()));
    }
    let mut hosts: Vec<Host<'a>> = hosts(server).collect();
    let mut secret = None;
    if protocol == Protocol::Https {
        let settings = server.tls.as_ref();
        let name = settings.and_then(|tls| tls.credential_name.clone());
        let name = name.ok_or_else(|| ("CredentialNeeded", "no credentialName".to_owned()))?;
        secret = Some((input.gateway.namespace().unwrap_or_default(), name));
        if let Some(settings) = settings {
            check_parameters(settings, number, refuse)?;
        }
        // Envoy refuses a listener in which two filter chains match the same server name.
        let taken: BTreeSet<&str> = others.iter().flat_map(|other| other.patterns()).collect();
        let lost: BTreeSet<_> = hosts.iter().map(|host| host.pattern.clone()).collect();
        let lost = lost.iter().filter(|name| taken.contains(name.as_str()));
        for name in lost {
            let message = format!("port {number}: {name} is served by another server already");
            refuse(("HostConflict", message));
        }
        hosts.retain(|host| !taken.contains(host.pattern.as_str()));
    }
    Ok((!hosts.is_empty()).then_some(Opened {
        of: gateway,
        server,
        port,
        protocol,
        hosts,
        secret,
    }))
}

fn protocol(server: &Server) -> Result<Protocol, Refusal> {
    match (
        server.port.protocol(),
        server.tls.as_ref().and_then(|t| t.mode),
    ) {
        (Some(Protocol::Http), _) => Ok(Protocol::Http),
        (Some(Protocol::Https), Some(TlsMode::Simple)) => Ok(Protocol::Https),
        (Some(Protocol::Https), mode) => {
            let mode = mode.unwrap_or_default();
            Err(("ModeNotActedOn", format!("TLS mode {mode:?}")))
        }
        _ => {
            let protocol = &server.port.protocol;
            Err(("ProtocolNotActedOn", format!("protocol {protocol}")))
        }
    }
}

fn check_parameters(
    settings: &TlsSettings,
    number: i32,
    refuse: &mut impl FnMut(Refusal),
) -> Result<(), Refusal> {
    let rank = |version: Option<TlsVersion>, default: u8| match version {
        None | Some(TlsVersion::Auto) => default,
        Some(TlsVersion::V1_0) => 0,
        Some(TlsVersion::V1_1) => 1,
        Some(TlsVersion::V1_2) => 2,
        Some(TlsVersion::V1_3) => 3,
    };
    let (lowest, highest) = (
        rank(settings.min_protocol_version, 2),
        rank(settings.max_protocol_version, 3),
    );
    // Envoy takes it and then fails every handshake.
    if lowest > highest {
        let message = "minProtocolVersion is above maxProtocolVersion".to_owned();
        return Err(("InvalidTlsVersion", message));
    }
    let suites = settings.cipher_suites.iter();
    let unknown: Vec<_> = suites
        .filter(|suite| !knows_cipher(suite))
        .cloned()
        .collect();
    if !unknown.is_empty() {
        let message = format!("port {number}: cipher suites {}", unknown.join(", "));
        refuse(("CipherNotActedOn", message));
    }
    Ok(())
}
