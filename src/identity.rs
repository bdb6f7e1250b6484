//! The authority of the discovery service: proves the daemon to its proxies and proxies to it.

use std::sync::Arc;
use std::time::Duration;

use gatewright_core::Secret as SecretText;
use gatewright_seams::Clock;
use gatewright_xds::identity::{Authority, Identity as Issued};
use gatewright_xds::{GatewayId, TlsSource, server_tls};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{Api, ObjectMeta, PostParams};

use crate::certificate::Material;
use crate::gateway::XDS_SERVER_NAME;
use crate::kubernetes::{FIELD_MANAGER, optional};
use crate::outside::Outside;

const SECRET: &str = "gatewright-xds-authority";
const AUTHORITY_LIFETIME: Duration = Duration::from_hours(10 * 365 * 24);
const SERVER_LIFETIME: Duration = Duration::from_hours(30 * 24);
const CLIENT_LIFETIME: Duration = Duration::from_hours(90 * 24);

/// Why there is no authority.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    #[error("the authority of the discovery service (secret {0}/{SECRET}): {1}")]
    Kubernetes(String, #[source] kube::Error),
    #[error("the authority of the discovery service (secret {0}/{SECRET}): {1}")]
    Authority(String, #[source] gatewright_xds::Error),
    #[error("secret {0}/{SECRET} has no tls.crt or tls.key; delete it to have a new one made")]
    Incomplete(String),
}

/// Issues the identities of the discovery service. Clones share the authority.
#[derive(Clone, Debug)]
pub struct Identity {
    authority: Arc<Authority>,
    clock: Clock,
}

/// A proxy's identity as the files of its volume.
pub(crate) struct IdentityFiles {
    issued: Issued,
    root: String,
}

impl IdentityFiles {
    /// Name and content of each file.
    pub(crate) fn files(self) -> impl Iterator<Item = (&'static str, Vec<u8>)> {
        let key = self.issued.key_pem.expose().as_bytes().to_vec();
        [
            ("ca.crt", self.root.into_bytes()),
            ("tls.crt", self.issued.certificate_pem.into_bytes()),
            ("tls.key", key),
        ]
        .into_iter()
    }
}

impl Identity {
    /// Reads the authority from its Secret in `namespace`, or makes it.
    ///
    /// # Errors
    /// The API server refuses, or the Secret holds something else.
    pub async fn load_or_create(outside: &Outside, namespace: &str) -> Result<Self, IdentityError> {
        let failed = |error| IdentityError::Kubernetes(namespace.to_owned(), error);
        let broken = |error| IdentityError::Authority(namespace.to_owned(), error);
        let api: Api<Secret> = Api::namespaced(outside.kube.clone(), namespace);
        let mut held = optional(api.get(SECRET).await).map_err(failed)?;
        if held.is_none() {
            ensure_namespace(outside, namespace).await.map_err(failed)?;
            let authority =
                Authority::generate(&outside.clock, AUTHORITY_LIFETIME).map_err(broken)?;
            let data = [
                (
                    "tls.crt".to_owned(),
                    ByteString(authority.certificate_pem().as_bytes().to_vec()),
                ),
                (
                    "tls.key".to_owned(),
                    ByteString(authority.key_pem().expose().as_bytes().to_vec()),
                ),
            ];
            let secret = Secret {
                metadata: ObjectMeta {
                    name: Some(SECRET.into()),
                    ..ObjectMeta::default()
                },
                type_: Some("kubernetes.io/tls".into()),
                data: Some(data.into()),
                ..Secret::default()
            };
            let params = PostParams {
                field_manager: Some(FIELD_MANAGER.into()),
                ..Default::default()
            };
            held = match api.create(&params, &secret).await {
                Ok(made) => Some(made),
                // Another replica was first; its authority is the one.
                Err(kube::Error::Api(status)) if status.code == 409 => {
                    optional(api.get(SECRET).await).map_err(failed)?
                }
                Err(error) => return Err(failed(error)),
            };
        }
        let data = held.and_then(|secret| secret.data).unwrap_or_default();
        let text = |key: &str| {
            let value = data
                .get(key)
                .map(|value| String::from_utf8_lossy(&value.0).into_owned());
            value.ok_or_else(|| IdentityError::Incomplete(namespace.to_owned()))
        };
        let authority = Authority::from_pem(&text("tls.crt")?, &SecretText::new(text("tls.key")?))
            .map_err(broken)?;
        Ok(Self {
            authority: Arc::new(authority),
            clock: outside.clock,
        })
    }

    /// A new identity for the proxies of `gateway`.
    pub(crate) fn issue(
        &self,
        gateway: &GatewayId,
    ) -> Result<IdentityFiles, gatewright_xds::Error> {
        let issued = self
            .authority
            .issue_client(&self.clock, gateway, CLIENT_LIFETIME)?;
        Ok(IdentityFiles {
            issued,
            root: self.authority.certificate_pem().to_owned(),
        })
    }

    /// How long the identity in `secret` stays in use; nothing when it is to be replaced.
    pub(crate) fn valid_for(&self, secret: &Secret, now: Timestamp) -> Option<Duration> {
        let root = secret.data.as_ref()?.get("ca.crt")?;
        if root.0 != self.authority.certificate_pem().as_bytes() {
            return None;
        }
        let leaf = Material::from_secret(secret).ok()?.leaf().clone();
        let third = leaf.not_after.duration_since(leaf.not_before).as_secs() / 3;
        let renew_at = leaf
            .not_after
            .checked_sub(jiff::SignedDuration::from_secs(third))
            .ok()?;
        Duration::try_from(renew_at.duration_since(now))
            .ok()
            .filter(|left| !left.is_zero())
    }

    /// The TLS side of the discovery service; keeps its certificate fresh until the tasks end.
    ///
    /// # Errors
    /// The authority cannot issue.
    pub fn server_tls(&self, outside: &Outside) -> Result<TlsSource, gatewright_xds::Error> {
        let issue = {
            let this = self.clone();
            move || {
                let names = [XDS_SERVER_NAME.to_owned()];
                let server = this
                    .authority
                    .issue_server(&this.clock, &names, SERVER_LIFETIME)?;
                server_tls(&server, this.authority.certificate_pem(), this.clock)
            }
        };
        let source = TlsSource::new(issue()?);
        let (fresh, clock) = (source.clone(), self.clock);
        outside.tasks.spawn("xds-identity", async move {
            loop {
                clock.sleep(SERVER_LIFETIME / 3).await;
                match issue() {
                    Ok(config) => fresh.replace(config),
                    Err(error) => tracing::error!(%error, "discovery service's certificate"),
                }
            }
        });
        Ok(source)
    }
}

async fn ensure_namespace(outside: &Outside, name: &str) -> kube::Result<()> {
    let api: Api<Namespace> = Api::all(outside.kube.clone());
    let namespace = Namespace {
        metadata: ObjectMeta {
            name: Some(name.into()),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    };
    match api.create(&PostParams::default(), &namespace).await {
        // In a cluster the daemon need not be allowed this: its namespace is there, or the next call
        // says that it is not.
        Err(kube::Error::Api(status)) if matches!(status.code, 403 | 409) => Ok(()),
        result => result.map(drop),
    }
}
