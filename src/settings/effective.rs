//! The configuration as it took effect, secrets masked.

use std::fmt;

use clap::ValueEnum;
use gatewright_aliyun::Credentials;

use super::{CREDENTIALS, Settings};

/// What stands for a credential that is there.
const MASK: &str = "[secret]";
const UNSET: &str = "(not set)";

/// Names and values, in the order of the reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective(Vec<(&'static str, String)>);

impl Effective {
    /// `credentials` are only looked at for whether they are there.
    pub fn of(settings: &Settings, credentials: Option<&Credentials>) -> Self {
        let unset = || UNSET.to_owned();
        let product = || "(the product's own)".to_owned();
        let present = |is: bool| if is { MASK } else { UNSET }.to_owned();
        let [id, secret, token] = CREDENTIALS;
        let held = credentials.is_some();
        let temporary = credentials.is_some_and(|held| held.security_token.is_some());
        let endpoint = settings.cloud_endpoint.as_ref();
        Self(vec![
            ("namespace", settings.namespace.clone()),
            ("cluster-name", settings.cluster_name.clone()),
            (
                "replica",
                settings
                    .replica
                    .clone()
                    .unwrap_or_else(|| "(the only one)".to_owned()),
            ),
            ("region", settings.region.clone()),
            (
                "cloud-endpoint",
                endpoint.map_or_else(product, ToString::to_string),
            ),
            ("audit-interval", settings.audit_interval.to_string()),
            ("proxy-image", settings.proxy_image.clone()),
            ("xds-listen", settings.xds_listen.to_string()),
            ("xds-address", settings.xds_address().to_string()),
            ("certificates", choice(&settings.certificates)),
            (
                "acme-root",
                settings
                    .acme_root
                    .as_ref()
                    .map_or_else(unset, |file| file.display().to_string()),
            ),
            ("challenge-listen", settings.challenge_listen.to_string()),
            (
                "challenge-address",
                settings.challenge_address().to_string(),
            ),
            ("admin-listen", settings.admin_listen.to_string()),
            ("pod-addresses", choice(&settings.pod_addresses)),
            (
                "load-balancer-port-shift",
                settings.load_balancer_port_shift.to_string(),
            ),
            (id.name, present(held)),
            (secret.name, present(held)),
            (token.name, present(temporary)),
        ])
    }

    /// Name and value of each setting.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }
}

/// One `name=value` a line.
impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter()
            .try_for_each(|(name, value)| writeln!(f, "{name}={value}"))
    }
}

/// A choice as it is written on the command line.
fn choice(choice: &impl ValueEnum) -> String {
    choice
        .to_possible_value()
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default()
}
