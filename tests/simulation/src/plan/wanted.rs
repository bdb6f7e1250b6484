use std::time::Duration;

use fastrand::Rng;
use gatewright::laptop::apply_object;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::Change;
use crate::quickstart::{EXAMPLES, INTERNAL};
use crate::sim::GATEWAY_NAMESPACE;

const DRAIN: &str =
    "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-connection-drain-timeout";
const SCHEDULER: &str = "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-scheduler";

/// How the second load balancer is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Internal {
    /// Seconds.
    drain: u32,
    scheduler: &'static str,
    /// Whether it has a listener for plain HTTP.
    http: bool,
    /// Whether its Service is of type LoadBalancer.
    balanced: bool,
}

impl Internal {
    /// How long its backends drain.
    pub(crate) fn drain(self) -> Duration {
        Duration::from_secs(self.drain.into())
    }

    /// Whether it has a listener for plain HTTP.
    pub(crate) fn http(self) -> bool {
        self.http
    }

    /// Whether there is one: its Service can be of another type.
    pub(crate) fn balanced(self) -> bool {
        self.balanced
    }

    pub(super) fn random(rng: &mut Rng) -> Self {
        let (drain, scheduler) = [(10, "sch"), (30, "wrr")][rng.usize(0..2)];
        Self {
            drain,
            scheduler,
            http: rng.bool(),
            balanced: rng.u8(0..3) > 0,
        }
    }
}

/// The users' objects, as they want them at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub replicas: i32,
    pub update: u32,
    pub gateway: bool,
    pub internal: Option<Internal>,
    /// How many names the Certificate has; none when there is no Certificate.
    pub names: Option<usize>,
    /// How many more gateways there are, each with load balancers and a certificate of its own, that
    /// nobody changes.
    pub others: usize,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            replicas: 2,
            update: 0,
            gateway: true,
            internal: Some(FIRST),
            names: Some(2),
            others: 0,
        }
    }
}

/// As the quickstart has it.
const FIRST: Internal = Internal {
    drain: 30,
    scheduler: "wrr",
    http: true,
    balanced: true,
};

impl Wanted {
    pub fn change(&mut self, change: Change) {
        match change {
            Change::Scale(replicas) => self.replicas = replicas,
            Change::Update(update) => self.update = update,
            Change::Internal(internal) => self.internal = Some(internal),
            Change::DeleteInternal => self.internal = None,
            Change::DeleteGateway => self.gateway = false,
            Change::ApplyGateway => self.gateway = true,
            Change::Names(names) => self.names = Some(names),
            Change::DeleteCertificate => self.names = None,
            Change::DeletePod(_) | Change::DeleteSecret | Change::Rotate => {}
        }
    }

    /// What the users do at the end of a history: they want all of it, or with `leave` nothing.
    pub fn settle(&mut self, leave: bool) {
        if leave {
            let nothing = Self {
                gateway: false,
                internal: None,
                names: None,
                others: self.others,
                ..Self::default()
            };
            *self = nothing;
            return;
        }
        self.gateway = true;
        self.internal.get_or_insert(FIRST);
        self.names.get_or_insert(2);
    }

    /// Applies what is wanted.
    ///
    /// # Errors
    /// The API server refuses an object.
    pub async fn apply(&self, kube: &kube::Client) -> kube::Result<()> {
        for (index, yaml) in EXAMPLES.iter().enumerate() {
            let object: Value = serde_saphyr::from_str(yaml).expect("an object");
            let object = match index {
                0 if !self.gateway => continue,
                0 => self.as_gateway(object),
                1 => match self.internal {
                    None => continue,
                    Some(internal) => as_internal(object, internal),
                },
                3 => match self.names {
                    None => continue,
                    Some(names) => as_certificate(object, names),
                },
                _ => object,
            };
            apply_object(kube, object).await?;
        }
        for number in 0..self.others {
            for object in another(number) {
                apply_object(kube, object).await?;
            }
        }
        Ok(())
    }

    fn as_gateway(&self, mut object: Value) -> Value {
        object["spec"]["replicaCount"] = self.replicas.into();
        if self.update > 0 {
            let mark = json!({ "example.com/update": self.update.to_string() });
            object["spec"]["podAnnotations"] = mark;
        }
        object
    }

    /// Deletes what is not wanted.
    ///
    /// # Errors
    /// The API server refuses.
    pub async fn remove(&self, kube: &kube::Client) -> kube::Result<()> {
        use gatewright_crds::IstioGateway;
        use gatewright_crds::cert_manager::Certificate;
        use k8s_openapi::api::core::v1::{Secret, Service};
        if !self.gateway {
            delete::<IstioGateway>(kube, "ingressgateway").await?;
        }
        if self.internal.is_none() {
            delete::<Service>(kube, INTERNAL).await?;
        }
        if self.names.is_none() {
            delete::<Certificate>(kube, "shop").await?;
            if !self.gateway {
                delete::<Secret>(kube, "shop-tls").await?;
            }
        }
        Ok(())
    }
}

/// The objects of one more gateway: the quickstart's under other names. All gateways share its Issuer
/// and lead to the same backend.
fn another(number: usize) -> impl Iterator<Item = Value> {
    let (gateway, site) = (format!("other-{number}"), format!("site-{number}"));
    let own = [0, 1, 3, 4, 5].map(|index| EXAMPLES[index]);
    own.into_iter().map(move |yaml| {
        let yaml = yaml.replace("ingressgateway", &gateway);
        let yaml = yaml.replace("shop", &site);
        serde_saphyr::from_str(&yaml).expect("an object")
    })
}

fn as_internal(mut object: Value, internal: Internal) -> Value {
    let annotations = &mut object["metadata"]["annotations"];
    annotations[DRAIN] = internal.drain.to_string().into();
    annotations[SCHEDULER] = internal.scheduler.into();
    if !internal.http
        && let Some(ports) = object["spec"]["ports"].as_array_mut()
    {
        ports.retain(|port| port["name"] != "http");
    }
    if !internal.balanced
        && let Some(spec) = object["spec"].as_object_mut()
    {
        spec.insert("type".into(), "ClusterIP".into());
        spec.remove("loadBalancerClass");
    }
    object
}

fn as_certificate(mut object: Value, names: usize) -> Value {
    if let Some(list) = object["spec"]["dnsNames"].as_array_mut() {
        list.truncate(names);
    }
    object
}

/// Deletes an object, unless it is not there.
pub(crate) async fn delete<K>(kube: &kube::Client, name: &str) -> kube::Result<()>
where
    K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug,
{
    let api: Api<K> = Api::namespaced(kube.clone(), GATEWAY_NAMESPACE);
    match api.delete(name, &DeleteParams::default()).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        result => result.map(drop),
    }
}
