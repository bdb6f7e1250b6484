//! The objects that an IstioGateway becomes.

use std::collections::BTreeMap;

use gatewright_crds::istio_gateway::{GatewayPort, IstioGateway, ServiceType};
use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment,
};
use k8s_openapi::api::core::v1::{
    ConfigMap, ConfigMapVolumeSource, Container, ContainerPort, EnvVar, EnvVarSource,
    HTTPGetAction, ObjectFieldSelector, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
    SecretVolumeSource, SecurityContext, Service, ServiceAccount, ServiceSpec, Sysctl, Volume,
    VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ObjectMeta;
use kube::{Resource, ResourceExt};

use super::bootstrap::{self, BOOTSTRAP_PATH, CONFIG_FILE, IDENTITY_PATH, READINESS_PORT};
use super::controller::Settings;
use crate::kubernetes::FIELD_MANAGER;
use crate::load_balancer::LOAD_BALANCER_CLASS;

/// How long open connections get when a proxy leaves, unless the gateway says otherwise.
const DEFAULT_DRAIN_SECONDS: u32 = 30;
/// On the Secrets that hold proxies' identities.
pub(super) const IDENTITY_LABEL: &str = "gatewright.dev/proxy-identity";
/// What a Pod needs to end beyond its drain.
const END_SECONDS: u32 = 15;

/// What `gateway` becomes, without its identity Secret.
pub(super) struct Children {
    pub(super) account: ServiceAccount,
    pub(super) bootstrap: ConfigMap,
    pub(super) deployment: Deployment,
    pub(super) service: Service,
}

/// The name of the Secret with the proxies' client certificate.
pub(super) fn identity_name(gateway: &IstioGateway) -> String {
    format!("{}-identity", gateway.workload_name())
}

/// Metadata of a child called `name`.
pub(super) fn metadata(gateway: &IstioGateway, name: String) -> ObjectMeta {
    let mut labels = gateway.selector();
    labels.insert("app.kubernetes.io/managed-by".into(), FIELD_MANAGER.into());
    ObjectMeta {
        name: Some(name),
        namespace: gateway.namespace(),
        labels: Some(labels),
        owner_references: gateway.controller_owner_ref(&()).map(|owner| vec![owner]),
        ..ObjectMeta::default()
    }
}

/// The ports of the gateway's Service. Without any, HTTP and HTTPS on ports that need no privilege.
pub(crate) fn ports(gateway: &IstioGateway) -> Vec<GatewayPort> {
    if !gateway.spec.settings.ports.is_empty() {
        return gateway.spec.settings.ports.clone();
    }
    let port = |name: &str, port, target| GatewayPort {
        name: Some(name.into()),
        port,
        target_port: Some(IntOrString::Int(target)),
        ..GatewayPort::default()
    };
    vec![port("http2", 80, 8080), port("https", 443, 8443)]
}

impl Children {
    pub(super) fn of(gateway: &IstioGateway, settings: &Settings) -> Self {
        let name = gateway.workload_name();
        Self {
            account: ServiceAccount {
                metadata: metadata(gateway, name.clone()),
                ..ServiceAccount::default()
            },
            bootstrap: ConfigMap {
                metadata: metadata(gateway, format!("{name}-bootstrap")),
                data: Some(
                    bootstrap::files(&settings.xds_host, settings.xds_port)
                        .into_iter()
                        .map(|(name, content)| (name.to_owned(), format!("{content:#}")))
                        .collect(),
                ),
                ..ConfigMap::default()
            },
            deployment: deployment(gateway, settings),
            service: service_of(gateway),
        }
    }
}

/// The Service that `gateway` becomes.
pub fn service_of(gateway: &IstioGateway) -> Service {
    let spec = &gateway.spec.settings;
    let mut meta = metadata(gateway, gateway.workload_name());
    meta.labels
        .get_or_insert_default()
        .extend(spec.service_labels.clone());
    meta.annotations = Some(spec.service_annotations.clone());
    let balanced = spec.service_type() == ServiceType::LoadBalancer;
    let ours = spec.load_balancer_class.as_deref() == Some(LOAD_BALANCER_CLASS);
    Service {
        metadata: meta,
        spec: Some(ServiceSpec {
            type_: Some(spec.service_type().as_str().into()),
            load_balancer_class: spec.load_balancer_class.clone().filter(|_| balanced),
            load_balancer_ip: spec.load_balancer_ip.clone(),
            // Backends are Pod addresses; node ports would only be used up.
            allocate_load_balancer_node_ports: (balanced && ours).then_some(false),
            external_traffic_policy: (spec.service_type() != ServiceType::ClusterIP)
                .then(|| spec.external_traffic_policy().as_str().into()),
            ports: Some(
                ports(gateway)
                    .iter()
                    .map(GatewayPort::to_service_port)
                    .collect(),
            ),
            selector: Some(gateway.selector()),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

fn deployment(gateway: &IstioGateway, settings: &Settings) -> Deployment {
    let spec = &gateway.spec.settings;
    let share = |text: &Option<String>| {
        text.as_ref().map(|text| {
            text.parse()
                .map_or_else(|_| IntOrString::String(text.clone()), IntOrString::Int)
        })
    };
    let rolling = RollingUpdateDeployment {
        max_surge: share(&spec.rolling_max_surge).or(Some(IntOrString::String("100%".into()))),
        max_unavailable: share(&spec.rolling_max_unavailable).or(Some(IntOrString::Int(0))),
    };
    let mut labels = gateway.selector();
    labels.insert("app.kubernetes.io/component".into(), "gateway-proxy".into());
    labels.extend(spec.pod_labels.clone());
    Deployment {
        metadata: metadata(gateway, gateway.workload_name()),
        spec: DeploymentSpec {
            // Not ours to say while an autoscaler or a person scales the Deployment.
            replicas: gateway.replicas_managed().then(|| spec.replicas()),
            selector: LabelSelector {
                match_labels: Some(gateway.selector()),
                ..LabelSelector::default()
            },
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".into()),
                rolling_update: Some(rolling),
            }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels),
                    annotations: Some(spec.pod_annotations.clone()),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod(gateway, settings)),
            },
            ..DeploymentSpec::default()
        },
        status: None,
    }
}

fn pod(gateway: &IstioGateway, settings: &Settings) -> PodSpec {
    let spec = &gateway.spec.settings;
    let drain = gateway
        .drain_timeout_seconds()
        .unwrap_or(DEFAULT_DRAIN_SECONDS);
    let volume = |name: &str| Volume {
        name: name.into(),
        ..Volume::default()
    };
    let some_map = |map: &BTreeMap<String, String>| Some(map.clone()).filter(|map| !map.is_empty());
    PodSpec {
        service_account_name: Some(gateway.workload_name()),
        termination_grace_period_seconds: Some((drain + END_SECONDS).into()),
        node_selector: some_map(&spec.node_selector),
        affinity: spec.affinity.clone(),
        tolerations: Some(spec.tolerations.clone()).filter(|list| !list.is_empty()),
        dns_policy: spec.dns_policy.clone(),
        security_context: Some(PodSecurityContext {
            run_as_user: Some(1337),
            run_as_group: Some(1337),
            run_as_non_root: Some(true),
            fs_group: Some(1337),
            // Lets listeners have ports below 1024 without privilege.
            sysctls: Some(vec![Sysctl {
                name: "net.ipv4.ip_unprivileged_port_start".into(),
                value: "0".into(),
            }]),
            ..PodSecurityContext::default()
        }),
        volumes: Some(vec![
            Volume {
                config_map: Some(ConfigMapVolumeSource {
                    name: format!("{}-bootstrap", gateway.workload_name()),
                    ..ConfigMapVolumeSource::default()
                }),
                ..volume("bootstrap")
            },
            Volume {
                secret: Some(SecretVolumeSource {
                    secret_name: Some(identity_name(gateway)),
                    ..SecretVolumeSource::default()
                }),
                ..volume("identity")
            },
        ]),
        containers: vec![container(gateway, settings, drain)],
        ..PodSpec::default()
    }
}

fn container(gateway: &IstioGateway, settings: &Settings, drain: u32) -> Container {
    let spec = &gateway.spec.settings;
    let mount = |name: &str, path: &str| VolumeMount {
        name: name.into(),
        mount_path: path.into(),
        read_only: Some(true),
        ..VolumeMount::default()
    };
    let field = |name: &str, path: &str| EnvVar {
        name: name.into(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: path.into(),
                ..ObjectFieldSelector::default()
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    };
    let mut env = vec![
        field("POD_NAME", "metadata.name"),
        field("POD_NAMESPACE", "metadata.namespace"),
    ];
    env.extend(spec.env.clone());
    let mut container_ports: Vec<ContainerPort> = ports(gateway)
        .iter()
        .filter_map(|port| {
            Some(ContainerPort {
                name: None,
                container_port: port.target_number()?,
                protocol: Some(port.transport().into()),
                ..ContainerPort::default()
            })
        })
        .collect();
    container_ports.push(ContainerPort {
        name: Some("readiness".into()),
        container_port: READINESS_PORT.into(),
        protocol: Some("TCP".into()),
        ..ContainerPort::default()
    });
    container_ports.sort_by_key(|port| port.container_port);
    container_ports.dedup_by_key(|port| (port.container_port, port.protocol.clone()));
    let probe = spec.readiness_probe.clone().unwrap_or_default();
    Container {
        name: "istio-proxy".into(),
        image: Some(settings.proxy_image.clone()),
        args: Some(vec![
            "proxy".into(),
            "--config".into(),
            format!("{BOOTSTRAP_PATH}/{CONFIG_FILE}"),
            "--node".into(),
            // The kubelet expands the variable.
            format!(
                "{}/{}/$(POD_NAME)",
                gateway.namespace().unwrap_or_default(),
                gateway.name_any()
            ),
            "--cluster".into(),
            gateway.workload_name(),
            "--drain-seconds".into(),
            drain.to_string(),
        ]),
        env: Some(env),
        ports: Some(container_ports),
        resources: spec.resources.clone(),
        lifecycle: spec.lifecycle.clone(),
        readiness_probe: Some(Probe {
            http_get: Some(HTTPGetAction {
                path: Some("/healthz/ready".into()),
                port: IntOrString::Int(READINESS_PORT.into()),
                ..HTTPGetAction::default()
            }),
            failure_threshold: probe.failure_threshold,
            period_seconds: probe.period_seconds.or(Some(2)),
            success_threshold: probe.success_threshold,
            ..Probe::default()
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(vec![
            mount("bootstrap", BOOTSTRAP_PATH),
            mount("identity", IDENTITY_PATH),
        ]),
        ..Container::default()
    }
}

#[cfg(test)]
mod tests;
