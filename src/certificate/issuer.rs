//! Issuers and ClusterIssuers: accounts at ACME servers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use gatewright_core::ErrorClass;
use gatewright_crds::cert_manager::{
    AcmeIssuer, AcmeIssuerStatus, ClusterIssuer, Issuer, IssuerRef, IssuerSpec, IssuerStatus,
};
use gatewright_crds::conditions::{self, Condition, Finding, READY};
use instant_acme::{Account, Key};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::runtime::controller::{Action, Controller as Runtime};
use kube::runtime::watcher;
use kube::{Resource, ResourceExt};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;

use super::acme::{AcmeError, AcmeHttp};
use crate::kubernetes::{FIELD_MANAGER, apply_status, optional};
use crate::outside::Outside;
use crate::retry::{Failures, delay, kube_class};

const ACCOUNT_KEY: &str = "tls.key";
const LIMIT: Duration = Duration::from_mins(1);

/// Why an issuer cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum IssuerError {
    #[error("issuer {0} does not exist")]
    Missing(String),
    #[error("{0}")]
    NotSupported(String),
    #[error("secret {secret}: {problem}")]
    AccountKey {
        secret: String,
        problem: &'static str,
    },
    #[error("{0}")]
    Acme(#[from] AcmeError),
    #[error("{0}")]
    Kubernetes(#[from] kube::Error),
}

impl IssuerError {
    pub(super) fn class(&self) -> ErrorClass {
        match self {
            Self::Missing(_) | Self::NotSupported(_) | Self::AccountKey { .. } => {
                ErrorClass::Invalid
            }
            Self::Acme(error) => error.class(),
            Self::Kubernetes(error) => kube_class(error),
        }
    }

    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Missing(_) => "IssuerNotFound",
            Self::NotSupported(_) => "NotSupported",
            Self::AccountKey { .. } => "InvalidAccountKey",
            Self::Acme(error) => error.reason(),
            Self::Kubernetes(_) => "KubernetesError",
        }
    }
}

/// An account, ready to order.
#[derive(Clone)]
pub(super) struct Ready {
    pub(super) account: Account,
    pub(super) profile: Option<String>,
}

/// The accounts that are open, by issuer. Clones share them.
#[derive(Clone)]
pub struct Accounts {
    outside: Outside,
    /// Where the Secrets of ClusterIssuers are.
    cluster_namespace: String,
    open: Arc<Mutex<BTreeMap<String, Ready>>>,
}

impl Accounts {
    pub fn new(outside: Outside, cluster_namespace: String) -> Self {
        Self {
            outside,
            cluster_namespace,
            open: Arc::default(),
        }
    }

    /// The account of the issuer that `reference`, in an object of `namespace`, names.
    ///
    /// # Errors
    /// It does not exist, is of a kind that is not supported, or its server does not answer.
    pub(super) async fn of(
        &self,
        namespace: &str,
        reference: &IssuerRef,
    ) -> Result<Ready, IssuerError> {
        let kube = self.outside.kube.clone();
        let missing = || IssuerError::Missing(format!("{}/{}", reference.kind(), reference.name));
        match reference.kind() {
            "Issuer" => {
                let api: Api<Issuer> = Api::namespaced(kube, namespace);
                let issuer = optional(api.get(&reference.name).await)?.ok_or_else(missing)?;
                let key = key_of(&issuer);
                self.open(&key, namespace, &issuer.spec).await
            }
            "ClusterIssuer" => {
                let api: Api<ClusterIssuer> = Api::all(kube);
                let issuer = optional(api.get(&reference.name).await)?.ok_or_else(missing)?;
                let key = key_of(&issuer);
                self.open(&key, &self.cluster_namespace, &issuer.spec.0)
                    .await
            }
            other => Err(IssuerError::NotSupported(format!(
                "issuers of kind {other}"
            ))),
        }
    }

    async fn open(
        &self,
        key: &str,
        namespace: &str,
        spec: &IssuerSpec,
    ) -> Result<Ready, IssuerError> {
        if let Some(ready) = self
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(key)
        {
            return Ok(ready.clone());
        }
        let Some(acme) = &spec.acme else {
            return Err(IssuerError::NotSupported(
                "only ACME issuers are acted on".into(),
            ));
        };
        if acme.external_account_binding.is_some() {
            let what = "spec.acme.externalAccountBinding is not acted on";
            return Err(IssuerError::NotSupported(what.into()));
        }
        if acme.ca_bundle.is_some() || acme.skip_tls_verify == Some(true) {
            let what = "spec.acme.caBundle and skipTLSVerify are not acted on; \
                        give the root to the daemon with --acme-root";
            return Err(IssuerError::NotSupported(what.into()));
        }
        let account = self.register(namespace, acme).await?;
        let ready = Ready {
            account,
            profile: acme.profile.clone(),
        };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.insert(key.to_owned(), ready.clone());
        Ok(ready)
    }

    /// Finds or makes the account key, then the account: the key is stored before the server hears
    /// of it, so a crash in between leads back to the same account.
    async fn register(&self, namespace: &str, acme: &AcmeIssuer) -> Result<Account, IssuerError> {
        let key = self.account_key(namespace, acme).await?;
        let http = AcmeHttp::new(self.outside.acme.clone(), self.outside.clock);
        let doing = "opening the account";
        let opened = self.outside.clock.timeout(LIMIT, async {
            let (account, _credentials) = Account::builder_with_http(Box::new(http))
                .create_from_key(key, acme.server.clone())
                .await
                .map_err(|error| AcmeError::from_client(doing, error))?;
            if let Some(email) = &acme.email {
                let contact = format!("mailto:{email}");
                account
                    .update_contacts(&[&contact])
                    .await
                    .map_err(|error| AcmeError::from_client("setting the contact", error))?;
            }
            Ok(account)
        });
        opened.await.unwrap_or_else(|_| {
            Err(AcmeError::Unreachable {
                doing,
                cause: format!("no account in {LIMIT:?}"),
            }
            .into())
        })
    }

    async fn account_key(
        &self,
        namespace: &str,
        acme: &AcmeIssuer,
    ) -> Result<(Key, PrivateKeyDer<'static>), IssuerError> {
        let api: Api<Secret> = Api::namespaced(self.outside.kube.clone(), namespace);
        let name = acme.private_key_secret_ref.name.clone();
        let field = acme
            .private_key_secret_ref
            .key
            .as_deref()
            .unwrap_or(ACCOUNT_KEY);
        let wrong = |problem| IssuerError::AccountKey {
            secret: name.clone(),
            problem,
        };
        for _ in 0..2 {
            if let Some(secret) = optional(api.get(&name).await)? {
                let held = secret.data.as_ref().and_then(|data| data.get(field));
                let pem = held.ok_or_else(|| wrong("has no such key"))?;
                let der = PrivateKeyDer::from_pem_slice(&pem.0)
                    .map_err(|_| wrong("holds no private key in PEM"))?;
                let PrivateKeyDer::Pkcs8(pkcs8) = &der else {
                    return Err(wrong(
                        "holds a key that is not PKCS#8; ECDSA P-256 is needed",
                    ));
                };
                let key = Key::from_pkcs8_der(pkcs8.clone_key())
                    .map_err(|_| wrong("holds a key that is not ECDSA P-256"))?;
                return Ok((key, der));
            }
            let pair = rcgen::KeyPair::generate().map_err(|_| wrong("no key could be made"))?;
            let secret = Secret {
                metadata: ObjectMeta {
                    name: Some(name.clone()),
                    ..ObjectMeta::default()
                },
                data: Some(
                    [(
                        field.to_owned(),
                        ByteString(pair.serialize_pem().into_bytes()),
                    )]
                    .into(),
                ),
                ..Secret::default()
            };
            let params = PostParams {
                field_manager: Some(FIELD_MANAGER.into()),
                ..Default::default()
            };
            match api.create(&params, &secret).await {
                // Another replica was first: its key is the account's.
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                result => drop(result?),
            }
        }
        Err(wrong("comes and goes"))
    }
}

/// Changes with the issuer's spec, so that an edited issuer is opened anew.
fn key_of<K: Resource>(issuer: &K) -> String {
    let meta = issuer.meta();
    let uid = meta.uid.as_deref().unwrap_or_default();
    format!("{uid}/{}", meta.generation.unwrap_or_default())
}

/// Opens the accounts of Issuers and says whether that worked.
#[derive(Clone)]
pub struct IssuerController {
    outside: Outside,
    accounts: Accounts,
    failures: Arc<Failures>,
}

impl IssuerController {
    pub fn new(outside: Outside, accounts: Accounts) -> Self {
        Self {
            outside,
            accounts,
            failures: Arc::default(),
        }
    }

    /// Reconciles until dropped.
    pub async fn run(self) {
        let issuers: Api<Issuer> = Api::all(self.outside.kube.clone());
        Runtime::new(issuers, watcher::Config::default())
            .trigger_backoff(self.outside.watch_backoff(1))
            .run(
                |issuer, this: Arc<Self>| async move { Ok(this.reconcile(&issuer).await) },
                |_, error: &std::convert::Infallible, _| match *error {},
                Arc::new(self),
            )
            .for_each(|result| async move {
                if let Err(error) = result {
                    tracing::debug!(%error, "issuer controller");
                }
            })
            .await;
    }

    async fn reconcile(&self, issuer: &Issuer) -> Action {
        let namespace = issuer.namespace().unwrap_or_default();
        let key = issuer.uid().unwrap_or_default();
        let opened = self
            .accounts
            .open(&key_of(issuer), &namespace, &issuer.spec)
            .await;
        let (finding, uri, wait) = match &opened {
            Ok(ready) => {
                self.failures.succeeded(&key);
                let message = "the account is registered";
                (
                    Finding::new(READY, true, "ACMEAccountRegistered", message),
                    Some(ready.account.id().to_owned()),
                    None,
                )
            }
            Err(error) => {
                let wait = self
                    .failures
                    .failed(&key, error.class(), &self.outside.random);
                (
                    Finding::new(READY, false, error.reason(), error.to_string()),
                    None,
                    Some(wait),
                )
            }
        };
        if let Err(error) = self.report(issuer, finding, uri).await {
            tracing::warn!(issuer = issuer.name_any(), %error, "status not written");
            return Action::requeue(delay(kube_class(&error), 1, &self.outside.random));
        }
        wait.map_or_else(Action::await_change, Action::requeue)
    }

    async fn report(
        &self,
        issuer: &Issuer,
        finding: Finding,
        uri: Option<String>,
    ) -> kube::Result<()> {
        let held = issuer.status.clone().unwrap_or_default();
        let mut list: Vec<Condition> = held.conditions.clone();
        let (reason, message) = (finding.reason, finding.message.clone());
        let bad = finding.status != conditions::ConditionStatus::True;
        let generation = issuer.metadata.generation;
        conditions::set(&mut list, finding, generation, self.outside.clock.now());
        let email = issuer
            .spec
            .acme
            .as_ref()
            .and_then(|acme| acme.email.clone());
        let acme = uri.map(|uri| AcmeIssuerStatus {
            uri: Some(uri),
            last_registered_email: email,
            ..AcmeIssuerStatus::default()
        });
        let status = IssuerStatus {
            conditions: list,
            acme: acme.or_else(|| held.acme.clone()),
        };
        if status == held {
            return Ok(());
        }
        apply_status(&self.outside.kube, FIELD_MANAGER, issuer, &status).await?;
        let about = issuer.object_ref(&());
        if bad {
            self.outside
                .events
                .warning(&about, reason, "Register", &message)
                .await;
        } else {
            self.outside
                .events
                .normal(&about, reason, "Register", &message)
                .await;
        }
        Ok(())
    }
}
