//! Where Envoy is told to look for resources.

use crate::proto::envoy::config::core::v3::{
    AggregatedConfigSource, ApiVersion, ConfigSource, config_source::ConfigSourceSpecifier,
};
use crate::proto::envoy::extensions::transport_sockets::tls::v3::SdsSecretConfig;

/// The one `ConfigSource` of every secret in every listener and cluster: ADS, API v3, and no
/// `initial_fetch_timeout`.
///
/// # NEVER CHANGE WHAT THIS RETURNS
///
/// Envoy finds the provider of a secret by the secret's name **and the bytes of this message**. If
/// one field differs in a listener update, Envoy makes a second provider for the same name but
/// sends no request for it, because the name is already subscribed; when the fetch timeout fires
/// the listener goes live without a certificate and every TLS handshake is reset, while readiness
/// stays green. A release of another gateway took down its users' TLS this way
/// (<https://github.com/envoyproxy/envoy/issues/47309>). A test compares the bytes.
pub fn sds_config_source() -> ConfigSource {
    ads_config_source()
}

/// The reference to the secret `name`, to be put into TLS contexts.
pub fn sds_secret_config(name: &str) -> SdsSecretConfig {
    SdsSecretConfig {
        name: name.to_owned(),
        sds_config: Some(sds_config_source()),
    }
}

/// The `ConfigSource` for routes and endpoints that come over the same stream as everything else.
pub fn ads_config_source() -> ConfigSource {
    ConfigSource {
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        resource_api_version: ApiVersion::V3.into(),
        ..ConfigSource::default()
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    /// These bytes are on running proxies. If this test fails, the change under review makes every
    /// proxy lose its certificates at its next listener update: undo the change, not the test.
    #[test]
    fn bytes_of_the_sds_config_source_are_frozen() {
        assert_eq!(
            sds_config_source().encode_to_vec(),
            [0x1a, 0x00, 0x30, 0x02]
        );
        assert_eq!(
            sds_secret_config("a").encode_to_vec(),
            [0x0a, 0x01, b'a', 0x12, 0x04, 0x1a, 0x00, 0x30, 0x02]
        );
    }
}
