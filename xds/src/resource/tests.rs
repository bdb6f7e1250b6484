use super::*;
use crate::config_source::sds_secret_config;
use crate::proto;
use crate::proto::envoy::config::core::v3::{TransportSocket, transport_socket};
use crate::proto::envoy::config::listener::v3::{Filter, FilterChain, filter};
use crate::proto::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use crate::proto::envoy::extensions::transport_sockets::tls::v3::{
    CommonTlsContext, DownstreamTlsContext, TlsCertificate, secret::Type,
};
use crate::proto::envoy::service::discovery::v3 as discovery;
use crate::proto::google::protobuf::{Struct, Value, value};

fn secret(name: &str, key: &str) -> Secret {
    let certificate = TlsCertificate {
        private_key: Some(proto::inline_string(key)),
        ..TlsCertificate::default()
    };
    Secret {
        name: name.into(),
        r#type: Some(Type::TlsCertificate(certificate)),
    }
}

#[test]
fn frame_is_the_encoded_discovery_resource() {
    let message = secret("shop", "key");
    let resource = Resource::secret(&message);
    let frame = discovery::Resource::decode(resource.frame().clone()).unwrap();
    assert_eq!(frame.name, "shop");
    assert_eq!(frame.version, resource.version().to_string());
    let content = proto::from_any::<Secret>(&frame.resource.unwrap()).unwrap();
    assert_eq!(content.as_ref(), Some(&message));
    assert_eq!(resource.decode::<Secret>().unwrap(), message);
    assert!(resource.decode::<Cluster>().is_err());
}

#[test]
fn version_is_of_the_content_and_reads_back() {
    let version = Resource::secret(&secret("shop", "key")).version();
    assert_eq!(version, Resource::secret(&secret("shop", "key")).version());
    assert_ne!(
        version,
        Resource::secret(&secret("shop", "other")).version()
    );
    assert_eq!(Version::parse(&version.to_string()), Some(version));
    assert_eq!(Version::parse("7"), None);
}

/// Maps are where equal messages could get different bytes and a proxy a needless update.
#[test]
fn equal_messages_have_equal_bytes() {
    let cluster = |order: &mut dyn Iterator<Item = u32>| {
        let mut fields = Struct::default();
        for key in order {
            let kind = Some(value::Kind::NumberValue(f64::from(key)));
            fields.fields.insert(key.to_string(), Value { kind });
        }
        let mut metadata = proto::envoy::config::core::v3::Metadata::default();
        metadata.filter_metadata.insert("a".into(), fields);
        Resource::cluster(&Cluster {
            metadata: Some(metadata),
            ..Cluster::default()
        })
    };
    let (one, two) = (cluster(&mut (0..64)), cluster(&mut (0..64).rev()));
    assert_eq!(one.version(), two.version());
}

#[test]
fn debug_shows_no_content() {
    let text = format!("{:?}", Resource::secret(&secret("shop", "very-private")));
    assert!(text.starts_with("secret shop @ "), "{text}");
    assert!(!text.contains("very-private"), "{text}");
}

#[test]
fn listener_knows_its_secrets_and_routes() {
    let context = DownstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_certificate_sds_secret_configs: vec![sds_secret_config("shop")],
            ..CommonTlsContext::default()
        }),
        ..DownstreamTlsContext::default()
    };
    let manager = hcm::HttpConnectionManager {
        route_specifier: Some(hcm::http_connection_manager::RouteSpecifier::Rds(
            hcm::Rds {
                route_config_name: "routes".into(),
                config_source: None,
            },
        )),
        ..hcm::HttpConnectionManager::default()
    };
    let chain = FilterChain {
        transport_socket: Some(TransportSocket {
            name: "tls".into(),
            config_type: Some(transport_socket::ConfigType::TypedConfig(proto::any(
                &context,
            ))),
        }),
        filters: vec![Filter {
            name: "hcm".into(),
            config_type: Some(filter::ConfigType::TypedConfig(proto::any(&manager))),
        }],
        ..FilterChain::default()
    };
    let listener = Listener {
        name: "https".into(),
        filter_chains: vec![chain],
        ..Listener::default()
    };
    let resource = Resource::listener(&listener);
    let expected: [ResourceKey; 2] = [
        (ResourceType::Secret, "shop".into()),
        (ResourceType::Route, "routes".into()),
    ];
    assert_eq!(resource.deps(), expected);
}

#[test]
fn eds_cluster_knows_its_endpoints() {
    use crate::proto::envoy::config::cluster::v3::cluster::{
        ClusterDiscoveryType, DiscoveryType, EdsClusterConfig,
    };
    let mut cluster = Cluster {
        name: "web".into(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
        ..Cluster::default()
    };
    let deps = Resource::cluster(&cluster).deps().to_vec();
    assert_eq!(deps, [(ResourceType::Endpoints, "web".into())]);
    cluster.eds_cluster_config = Some(EdsClusterConfig {
        service_name: "pods".into(),
        ..EdsClusterConfig::default()
    });
    let deps = Resource::cluster(&cluster).deps().to_vec();
    assert_eq!(deps, [(ResourceType::Endpoints, "pods".into())]);
}
