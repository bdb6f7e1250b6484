//! Listener settings in this product's words.

use std::collections::BTreeSet;

use gatewright_core::{
    CertificateId, Drain, HealthCheck, ListenerSettings, ListenerStatus, ObservedListener, Port,
    Probe, ProbeMethod, Protocol, Scheduler, Seconds, Setting,
};

use super::answers::{ListenerAnswer, ListenerConfig};
use super::on_off;
use crate::client::call::Call;

/// What listeners of a protocol cannot have: no parameter of their Create and Set calls.
pub(super) fn unsupported(protocol: Protocol) -> BTreeSet<Setting> {
    use Setting as S;
    let settings: &[Setting] = match protocol {
        Protocol::Tcp => &[
            S::IdleTimeout,
            S::RequestTimeout,
            S::Certificate,
            S::HealthCheckMethod,
        ],
        Protocol::Udp => &[
            S::Drain,
            S::IdleTimeout,
            S::RequestTimeout,
            S::EstablishedTimeout,
            S::PersistenceTimeout,
            S::Certificate,
            S::HealthCheckProbe,
            S::HealthCheckPath,
            S::HealthCheckHost,
            S::HealthCheckMethod,
            S::HealthCheckCodes,
        ],
        Protocol::Http => &[
            S::Drain,
            S::EstablishedTimeout,
            S::PersistenceTimeout,
            S::ProxyProtocol,
            S::Certificate,
            S::HealthCheckProbe,
        ],
        Protocol::Https => &[
            S::Drain,
            S::EstablishedTimeout,
            S::PersistenceTimeout,
            S::ProxyProtocol,
            S::HealthCheckProbe,
        ],
    };
    settings.iter().copied().collect()
}

/// What a new listener has of `wanted`: without what it cannot have, and with the values that a
/// creation must name.
pub(super) fn at_creation(protocol: Protocol, wanted: &ListenerSettings) -> ListenerSettings {
    let mut settings = supported(protocol, wanted);
    // Only weighted schedulers keep new connections away from backends that drain.
    settings
        .scheduler
        .get_or_insert(Scheduler::WeightedRoundRobin);
    settings.bandwidth.get_or_insert(-1);
    // HTTP listeners must say, and their check asks for `/` and a 2xx, which few gateways give.
    let check_by_default = matches!(protocol, Protocol::Tcp | Protocol::Udp);
    settings
        .health_check
        .enabled
        .get_or_insert(check_by_default);
    settings
}

pub(super) fn supported(protocol: Protocol, wanted: &ListenerSettings) -> ListenerSettings {
    let mut settings = wanted.clone();
    for setting in unsupported(protocol) {
        settings.clear(setting);
    }
    settings
}

/// Names of the actions for a protocol.
pub(super) fn create_action(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "CreateLoadBalancerTCPListener",
        Protocol::Udp => "CreateLoadBalancerUDPListener",
        Protocol::Http => "CreateLoadBalancerHTTPListener",
        Protocol::Https => "CreateLoadBalancerHTTPSListener",
    }
}

pub(super) fn set_action(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "SetLoadBalancerTCPListenerAttribute",
        Protocol::Udp => "SetLoadBalancerUDPListenerAttribute",
        Protocol::Http => "SetLoadBalancerHTTPListenerAttribute",
        Protocol::Https => "SetLoadBalancerHTTPSListenerAttribute",
    }
}

/// Adds the set settings as parameters of a Create (`creating`) or Set call.
pub(super) fn with_settings(
    mut call: Call,
    protocol: Protocol,
    settings: &ListenerSettings,
    creating: bool,
) -> Call {
    let layer4 = matches!(protocol, Protocol::Tcp | Protocol::Udp);
    let check = &settings.health_check;
    if let Some(drain) = settings.drain {
        call = match drain {
            Drain::Off => call.with("ConnectionDrain", "off"),
            Drain::For(time) => call
                .with("ConnectionDrain", "on")
                .with("ConnectionDrainTimeout", time.0),
        };
    }
    // This one name is spelled differently in the Create calls of TCP and UDP.
    let interval = if layer4 && creating {
        "healthCheckInterval"
    } else {
        "HealthCheckInterval"
    };
    call.with_some("Scheduler", settings.scheduler.map(scheduler_word))
        .with_some("IdleTimeout", settings.idle_timeout.map(|time| time.0))
        .with_some(
            "RequestTimeout",
            settings.request_timeout.map(|time| time.0),
        )
        .with_some(
            "EstablishedTimeout",
            settings.established_timeout.map(|time| time.0),
        )
        .with_some(
            "PersistenceTimeout",
            settings.persistence_timeout.map(|time| time.0),
        )
        .with_some("Bandwidth", settings.bandwidth)
        .with_some("ProxyProtocolV2Enabled", settings.proxy_protocol)
        .with_some("ServerCertificateId", settings.certificate.as_ref())
        .with_some(
            if layer4 {
                "HealthCheckSwitch"
            } else {
                "HealthCheck"
            },
            check.enabled.map(on_off),
        )
        .with_some("HealthCheckType", check.probe.map(probe_word))
        .with_some("HealthCheckConnectPort", check.port)
        .with_some("HealthCheckURI", check.path.as_ref())
        .with_some("HealthCheckDomain", check.host.as_ref())
        .with_some("HealthCheckMethod", check.method.map(method_word))
        .with_some(
            "HealthCheckHttpCode",
            check.healthy_codes.as_deref().map(codes_word),
        )
        .with_some(interval, check.interval.map(|time| time.0))
        .with_some(
            if layer4 {
                "HealthCheckConnectTimeout"
            } else {
                "HealthCheckTimeout"
            },
            check.timeout.map(|time| time.0),
        )
        .with_some("HealthyThreshold", check.healthy_threshold)
        .with_some("UnhealthyThreshold", check.unhealthy_threshold)
}

fn scheduler_word(scheduler: Scheduler) -> &'static str {
    match scheduler {
        Scheduler::WeightedRoundRobin => "wrr",
        Scheduler::RoundRobin => "rr",
        Scheduler::WeightedLeastConnections => "wlc",
        Scheduler::SourceHash => "sch",
        Scheduler::TupleHash => "tch",
        Scheduler::QuicId => "qch",
    }
}

fn scheduler_of(word: &str) -> Option<Scheduler> {
    Some(match word {
        "wrr" => Scheduler::WeightedRoundRobin,
        "rr" => Scheduler::RoundRobin,
        "wlc" => Scheduler::WeightedLeastConnections,
        "sch" => Scheduler::SourceHash,
        "tch" => Scheduler::TupleHash,
        "qch" => Scheduler::QuicId,
        _ => return None,
    })
}

fn probe_word(probe: Probe) -> &'static str {
    match probe {
        Probe::Tcp => "tcp",
        Probe::Http => "http",
    }
}

fn method_word(method: ProbeMethod) -> &'static str {
    match method {
        ProbeMethod::Head => "head",
        ProbeMethod::Get => "get",
    }
}

fn codes_word(codes: &[u8]) -> String {
    codes
        .iter()
        .map(|code| format!("http_{code}xx"))
        .collect::<Vec<_>>()
        .join(",")
}

fn codes_of(words: &str) -> Option<Vec<u8>> {
    words
        .split(',')
        .map(|word| {
            word.trim()
                .strip_prefix("http_")?
                .strip_suffix("xx")?
                .parse()
                .ok()
        })
        .collect()
}

fn seconds(number: Option<i64>) -> Option<Seconds> {
    number
        .and_then(|number| u32::try_from(number).ok())
        .map(Seconds)
}

fn small(number: Option<i64>) -> Option<u8> {
    number.and_then(|number| u8::try_from(number).ok())
}

fn text(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.is_empty())
}

/// The listener that an answer tells of; nothing for a port or protocol that cannot be.
pub(super) fn observed(answer: &ListenerAnswer) -> Option<ObservedListener> {
    let (protocol, config) = match answer.listener_protocol.to_ascii_lowercase().as_str() {
        "tcp" => (Protocol::Tcp, &answer.tcp),
        "udp" => (Protocol::Udp, &answer.udp),
        "http" => (Protocol::Http, &answer.http),
        "https" => (Protocol::Https, &answer.https),
        _ => return None,
    };
    let nothing = ListenerConfig::default();
    let config = config.as_ref().unwrap_or(&nothing);
    let mut settings = settings_of(protocol, config);
    settings.scheduler = scheduler_of(&answer.scheduler);
    settings.bandwidth = answer
        .bandwidth
        .and_then(|number| i32::try_from(number).ok());
    Some(ObservedListener {
        port: Port::new(answer.listener_port)?,
        protocol,
        description: answer.description.clone(),
        group: text(answer.v_server_group_id.as_ref()).map(Into::into),
        status: match answer.status.as_str() {
            "stopped" => ListenerStatus::Stopped,
            "starting" => ListenerStatus::Starting,
            "running" => ListenerStatus::Running,
            "configuring" => ListenerStatus::Configuring,
            "stopping" => ListenerStatus::Stopping,
            _ => ListenerStatus::Unknown,
        },
        settings: supported(protocol, &settings),
        unsupported: unsupported(protocol),
    })
}

fn settings_of(protocol: Protocol, config: &ListenerConfig) -> ListenerSettings {
    let layer4 = matches!(protocol, Protocol::Tcp | Protocol::Udp);
    let drain = match (
        config.connection_drain.as_deref(),
        config.connection_drain_timeout,
    ) {
        (Some("on"), time) => seconds(time).map(Drain::For),
        _ => Some(Drain::Off),
    };
    ListenerSettings {
        scheduler: None,
        drain,
        idle_timeout: seconds(config.idle_timeout),
        request_timeout: seconds(config.request_timeout),
        established_timeout: seconds(config.established_timeout),
        persistence_timeout: seconds(config.persistence_timeout),
        bandwidth: None,
        proxy_protocol: Some(config.proxy_protocol_v2_enabled.unwrap_or(false)),
        certificate: text(config.server_certificate_id.as_ref()).map(CertificateId::from),
        health_check: HealthCheck {
            enabled: config.health_check,
            probe: match config.health_check_type.as_deref() {
                Some("http") => Some(Probe::Http),
                Some(_) => Some(Probe::Tcp),
                None => None,
            },
            // −520 stands for the backend's own port.
            port: config
                .health_check_connect_port
                .and_then(|port| u16::try_from(port).ok())
                .and_then(Port::new),
            path: text(config.health_check_uri.as_ref()).map(str::to_owned),
            host: text(config.health_check_domain.as_ref()).map(str::to_owned),
            method: match config.health_check_method.as_deref() {
                Some("get") => Some(ProbeMethod::Get),
                Some("head") => Some(ProbeMethod::Head),
                _ => None,
            },
            healthy_codes: config.health_check_http_code.as_deref().and_then(codes_of),
            interval: seconds(config.health_check_interval),
            timeout: seconds(if layer4 {
                config.health_check_connect_timeout
            } else {
                config.health_check_timeout
            }),
            healthy_threshold: small(config.healthy_threshold),
            unhealthy_threshold: small(config.unhealthy_threshold),
        },
    }
}
