//! The life of the quickstart in stages, on any ground: the steps are written once, and after each
//! of them the objects in the API server are what a stored file says.

pub mod deaths;
mod render;
mod stored;

use std::collections::BTreeMap;
use std::time::Duration;

use gatewright::laptop::apply_object;
use gatewright_crds::IstioGateway;
use gatewright_crds::cert_manager::{Certificate, names};
use gatewright_crds::conditions;
use gatewright_seams::Clock;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use mock_cloud::MockCloud;
use serde_json::{Value, json};

pub use render::render;

use crate::{INTERNAL, PUBLIC};

const NAMESPACE: &str = "istio-system";
const GATEWAY: &str = "ingressgateway";
const CERTIFICATE: &str = "shop";
const PROXIES: &str = "istio=ingressgateway";
const POLL: Duration = Duration::from_millis(100);
/// How long a stage has to stay as it is.
const STABLE: Duration = Duration::from_secs(2);

/// What differs between the grounds on which the daemon is tried.
pub struct Ground {
    pub kube: kube::Client,
    pub clock: Clock,
    pub cloud: MockCloud,
    /// How long a step may take.
    pub limit: Duration,
    /// Whether the stored files may be written from here: one ground says what they are, the others
    /// are compared with it.
    pub writes: bool,
}

/// The objects of the quickstart as every ground has them: with short drains, because each proxy
/// that leaves takes them twice, behind its load balancers and by itself.
pub fn quickstart_document(yaml: &str) -> String {
    let yaml = yaml.replace("drain-timeout: \"30\"", "drain-timeout: \"10\"");
    let own = format!(
        "annotations: {{ {}: \"10\" }}",
        gatewright_crds::istio_gateway::DRAIN_TIMEOUT_SECONDS
    );
    let name = "  name: ingressgateway\n";
    yaml.replacen(name, &format!("{name}  {own}\n"), 1)
}

/// Goes through the stages from a quickstart that was just applied to before its end.
///
/// # Panics
/// A step does not end in time, or a stage is not as it is stored.
pub async fn live(ground: &Ground) {
    ground.wait_served(0).await;
    ground.wait_balanced(2).await;
    ground.compare("quickstart").await;

    let before = ground.ask_rotation().await;
    ground.wait_served(before).await;
    ground.compare("rotated").await;

    ground.scale(1).await;
    ground.wait_balanced(1).await;
    ground.compare("scaled-in").await;

    let before = ground.proxies().await;
    let marked = json!({ "podAnnotations": { "example.com/try": "2" } });
    ground.patch_gateway(marked).await;
    ground.wait_replaced(&before, 1).await;
    ground.wait_balanced(1).await;
    ground.compare("updated").await;

    ground.scale(2).await;
    ground.wait_balanced(2).await;
    let lost = ground.proxies().await.remove(0);
    ground.lose(&lost).await;
    ground.wait_replaced(&[lost], 2).await;
    ground.wait_balanced(2).await;
    ground.compare("replica-lost").await;

    let refusals = ground.apply_wrong().await;
    ground.compare_with("refused", &refusals).await;
    ground.delete_wrong().await;
}

/// The last stage: what makes load balancers and proxies is deleted.
///
/// # Panics
/// As [`live`].
pub async fn leave(ground: &Ground) {
    ground.delete().await;
    ground.wait_empty_cloud().await;
    ground.compare("deleted").await;
}

impl Ground {
    /// Waits until `look` finds something.
    ///
    /// # Panics
    /// Not in time.
    pub async fn wait<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        let end = self.clock.elapsed() + self.limit;
        loop {
            if let Some(found) = look().await {
                return found;
            }
            assert!(
                self.clock.elapsed() < end,
                "not within {:?}: {what}",
                self.limit
            );
            self.clock.sleep(POLL).await;
        }
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.kube.clone(), NAMESPACE)
    }

    /// Waits until the objects are as stored under `stage`, and stay so for a while.
    ///
    /// # Panics
    /// Not in time; the message has the lines that differ.
    pub async fn compare(&self, stage: &str) {
        self.compare_with(stage, &[]).await;
    }

    /// As [`Ground::compare`], with what the API server answered to requests of this stage.
    async fn compare_with(&self, stage: &str, answers: &[String]) {
        if self.writes && stored::is_asked_for() {
            let text = self.settled(answers).await;
            stored::write(stage, &text);
        }
        self.equal(stage, answers, |text| text).await;
    }

    /// As [`Ground::compare`], but for what depends on when and how often a daemon died: the events
    /// that it told, how many certificates there were, and at how many places it saw the last one.
    async fn compare_objects(&self, stage: &str) {
        self.equal(stage, &[], |text| {
            let documents = text.split_inclusive("---\n");
            let objects = documents.filter(|held| !held.starts_with("kind: events\n"));
            let lines = objects.flat_map(str::lines).map(|line| {
                let counted = [" was seen at ", "  revision: "];
                let mut counted = counted.iter().filter_map(|words| line.split_once(words));
                counted.next().map_or(line, |(before, _count)| before)
            });
            lines.collect::<Vec<_>>().join("\n")
        })
        .await;
    }

    /// Waits until what `part` takes of the objects is as stored, and stays so for a while.
    async fn equal(&self, stage: &str, answers: &[String], part: impl Fn(String) -> String) {
        let wanted = part(stored::read(stage));
        let end = self.clock.elapsed() + self.limit;
        let mut equal_since = None;
        loop {
            let found = part(render(&self.kube, answers).await);
            let now = self.clock.elapsed();
            if found == wanted {
                let since = *equal_since.get_or_insert(now);
                if now.saturating_sub(since) >= STABLE {
                    return;
                }
            } else {
                equal_since = None;
                assert!(
                    now < end,
                    "stage {stage} is not as stored (- stored, + found):\n{}",
                    stored::difference(&wanted, &found)
                );
            }
            self.clock.sleep(POLL).await;
        }
    }

    /// What the objects are when they have not changed for a while.
    async fn settled(&self, answers: &[String]) -> String {
        let mut before = render(&self.kube, answers).await;
        let mut since = self.clock.elapsed();
        loop {
            self.clock.sleep(POLL).await;
            let now = render(&self.kube, answers).await;
            if now != before {
                before = now;
                since = self.clock.elapsed();
            } else if self.clock.elapsed().saturating_sub(since) >= 5 * STABLE {
                return before;
            }
        }
    }

    /// Whether a new certificate is on its way.
    async fn is_rotating(&self) -> bool {
        let held = self.api::<Certificate>().get(CERTIFICATE).await;
        let status = held.expect("the certificate").status.unwrap_or_default();
        conditions::is_true(&status.conditions, names::ISSUING)
    }

    /// Waits until a revision of the Certificate after `before` is stored and seen served.
    pub async fn wait_served(&self, before: i32) {
        let api: Api<Certificate> = self.api();
        let what = format!("a certificate after revision {before} served");
        self.wait(&what, async || {
            let status = api.get_opt(CERTIFICATE).await.ok()??.status?;
            let rotating = conditions::is_true(&status.conditions, names::ISSUING);
            let served = conditions::is_true(&status.conditions, gatewright::certificate::SERVED);
            (served && !rotating && status.revision? > before).then_some(())
        })
        .await;
    }

    /// Waits until both load balancers have exactly `backends` members in each group, all of which
    /// take connections.
    pub async fn wait_balanced(&self, backends: usize) {
        self.wait(&format!("{backends} backends in each group"), async || {
            let inventory = self.cloud.inventory();
            let all = inventory.instances.iter().all(|instance| {
                instance.groups.len() == 2
                    && instance.groups.iter().all(|group| {
                        group.members.len() == backends
                            && group.members.iter().all(|member| member.weight == 100)
                    })
            });
            (all && inventory.instances.len() == 2).then_some(())
        })
        .await;
    }

    async fn wait_empty_cloud(&self) {
        self.wait("an empty cloud", async || {
            self.cloud.inventory().is_empty().then_some(())
        })
        .await;
    }

    /// Asks for a new certificate, as cmctl does: by the condition `Issuing`. Returns the revision
    /// that it is to replace.
    pub async fn ask_rotation(&self) -> i32 {
        let api: Api<Certificate> = self.api();
        self.wait("a rotation asked for", async || {
            let mut held = api.get(CERTIFICATE).await.ok()?;
            let generation = held.metadata.generation;
            let status = held.status.get_or_insert_default();
            let revision = status.revision?;
            let reason = "ManuallyTriggered";
            let wish = conditions::Finding::new(names::ISSUING, true, reason, "asked by a test");
            conditions::set(&mut status.conditions, wish, generation, self.clock.now());
            let params = PostParams::default();
            // Somebody else may write at the same time: then it is read anew.
            api.replace_status(CERTIFICATE, &params, &held).await.ok()?;
            Some(revision)
        })
        .await
    }

    /// Sets the number of proxies.
    pub async fn scale(&self, replicas: usize) {
        self.patch_gateway(json!({ "replicaCount": replicas }))
            .await;
    }

    /// Waits until there are `count` ready proxies and no others.
    pub async fn wait_proxies(&self, count: usize) {
        let api: Api<Pod> = self.api();
        let params = ListParams::default().labels(PROXIES);
        self.wait(&format!("{count} ready proxies"), async || {
            let pods = api.list(&params).await.ok()?.items;
            let ready = |pod: &Pod| {
                let conditions = pod.status.as_ref()?.conditions.as_ref()?;
                let ready = conditions.iter().find(|held| held.type_ == "Ready")?;
                Some(ready.status == "True")
            };
            let all = pods.iter().all(|pod| ready(pod) == Some(true));
            (all && pods.len() == count).then_some(())
        })
        .await;
    }

    /// Waits until the EndpointSlices of both load balancers' Services have `count` ready endpoints and
    /// no others: what load balancers get is read there.
    pub async fn wait_endpoints(&self, count: usize) {
        let api: Api<EndpointSlice> = self.api();
        self.wait(&format!("{count} endpoints of each Service"), async || {
            let slices = api.list(&ListParams::default()).await.ok()?.items;
            let mut ready: BTreeMap<String, Vec<bool>> = BTreeMap::new();
            for slice in slices {
                let service = slice.labels().get("kubernetes.io/service-name")?.clone();
                let conditions = slice
                    .endpoints
                    .into_iter()
                    .flatten()
                    .map(|held| held.conditions);
                let all = conditions.map(|held| held.and_then(|held| held.ready) == Some(true));
                ready.entry(service).or_default().extend(all);
            }
            let both = [PUBLIC, INTERNAL].map(|service| ready.remove(service));
            both.iter()
                .all(|held| held.as_deref() == Some(&vec![true; count][..]))
                .then_some(())
        })
        .await;
    }

    /// Changes the gateway's spec.
    pub async fn patch_gateway(&self, spec: Value) {
        let api: Api<IstioGateway> = self.api();
        let patch = Patch::Merge(json!({ "spec": spec }));
        api.patch(GATEWAY, &PatchParams::default(), &patch)
            .await
            .expect("a changed gateway");
    }

    /// The names of the proxies that are not on their way out.
    pub async fn proxies(&self) -> Vec<String> {
        let api: Api<Pod> = self.api();
        let params = ListParams::default().labels(PROXIES);
        let pods = api.list(&params).await.expect("the proxies").items;
        pods.into_iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none())
            .map(|pod| pod.name_any())
            .collect()
    }

    /// Waits until there are `count` proxies and none of `before`, not even on its way out.
    pub async fn wait_replaced(&self, before: &[String], count: usize) {
        let api: Api<Pod> = self.api();
        let params = ListParams::default().labels(PROXIES);
        self.wait(&format!("{before:?} replaced"), async || {
            let pods = api.list(&params).await.ok()?.items;
            let new = pods.iter().all(|pod| !before.contains(&pod.name_any()));
            (new && pods.len() == count).then_some(())
        })
        .await;
    }

    /// Takes a proxy away as a node that dies does: at once, without its drain.
    async fn lose(&self, pod: &str) {
        let api: Api<Pod> = self.api();
        let params = DeleteParams::default().grace_period(0);
        api.delete(pod, &params)
            .await
            .map(drop)
            .expect("a deleted proxy");
    }

    /// Applies objects that are wrong, each in its way. What the API server refuses is returned as
    /// code and message.
    async fn apply_wrong(&self) -> Vec<String> {
        let mut refusals = Vec::new();
        for object in wrong().into_iter().chain(refused()) {
            let named = format!("{} {}", object["kind"], object["metadata"]["name"]);
            match apply_object(&self.kube, object).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) => {
                    refusals.push(format!("{named}: {} {}", status.code, status.message));
                }
                Err(error) => panic!("{named}: {error}"),
            }
        }
        refusals
    }

    async fn delete_wrong(&self) {
        for object in wrong() {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
            let types: kube::core::TypeMeta =
                serde_json::from_value(object.clone()).expect("a kind");
            let kind = kube::core::GroupVersionKind::try_from(types).expect("a kind");
            let resource = kube::core::ApiResource::from_gvk(&kind);
            let api: Api<kube::core::DynamicObject> =
                Api::namespaced_with(self.kube.clone(), namespace, &resource);
            api.delete(name, &DeleteParams::default())
                .await
                .map(drop)
                .expect("a deleted object");
            self.wait(&format!("{name} gone"), async || {
                api.get_opt(name).await.ok()?.is_none().then_some(())
            })
            .await;
        }
    }

    /// Deletes what makes load balancers and proxies.
    async fn delete(&self) {
        let gateways: Api<IstioGateway> = self.api();
        let services: Api<Service> = self.api();
        let params = DeleteParams::default();
        let deleted = gateways.delete(GATEWAY, &params).await;
        deleted.map(drop).expect("a deleted gateway");
        let deleted = services.delete(INTERNAL, &params).await;
        deleted.map(drop).expect("a deleted service");
    }
}

/// What the API server takes and the daemon cannot do; it says so in conditions.
fn wrong() -> Vec<Value> {
    let in_namespace = |api: &str, kind: &str, namespace: &str, spec: Value| {
        json!({
            "apiVersion": api,
            "kind": kind,
            "metadata": { "name": "wrong", "namespace": namespace },
            "spec": spec,
        })
    };
    let of = |api, kind, spec| in_namespace(api, kind, NAMESPACE, spec);
    let mut service = of(
        "v1",
        "Service",
        json!({
            "type": "LoadBalancer",
            "loadBalancerClass": "gatewright.dev/clb",
            "allocateLoadBalancerNodePorts": false,
            "selector": { "app": "none" },
            "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }],
        }),
    );
    service["metadata"]["annotations"] = json!({
        "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-bandwidth": "wide",
        "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-scheduler": "best",
    });
    vec![
        in_namespace(
            "istio.alibabacloud.com/v1beta1",
            "IstioGateway",
            "default",
            json!({}),
        ),
        service,
        of("cert-manager.io/v1", "Issuer", json!({ "selfSigned": {} })),
        of(
            "cert-manager.io/v1",
            "Certificate",
            json!({
                "secretName": "wrong-tls",
                "issuerRef": { "name": "acme" },
                "dnsNames": ["wrong.example.com"],
                "privateKey": { "algorithm": "RSA", "size": 2048 },
            }),
        ),
        of(
            "networking.istio.io/v1",
            "Gateway",
            json!({
                "selector": { "istio": "ingressgateway" },
                "servers": [{
                    "port": { "number": 443, "name": "wrong", "protocol": "HTTPS" },
                    "hosts": ["wrong.example.com"],
                    "tls": { "mode": "SIMPLE", "credentialName": "nowhere" },
                }],
            }),
        ),
        of(
            "networking.istio.io/v1",
            "VirtualService",
            json!({
                "hosts": ["shop.example.com"],
                "gateways": ["shop"],
                "http": [{
                    "match": [{ "uri": { "regex": "/(?=a)" } }],
                    "directResponse": { "status": 200 },
                }],
            }),
        ),
    ]
}

/// What the API server refuses.
fn refused() -> Vec<Value> {
    let gateway = |spec: Value| {
        json!({
            "apiVersion": "istio.alibabacloud.com/v1beta1",
            "kind": "IstioGateway",
            "metadata": { "name": "refused", "namespace": NAMESPACE },
            "spec": spec,
        })
    };
    vec![
        gateway(json!({ "replicaCuont": 2 })),
        gateway(json!({ "ports": [{ "name": "https", "port": 70000 }] })),
        json!({
            "apiVersion": "cert-manager.io/v1",
            "kind": "Certificate",
            "metadata": { "name": "refused", "namespace": NAMESPACE },
            "spec": {
                "secretName": "refused-tls",
                "issuerRef": { "name": "acme" },
                "dnsNames": ["not_a_name.."],
            },
        }),
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": { "name": "refused", "namespace": NAMESPACE },
            "spec": { "ports": [{ "port": 0 }] },
        }),
    ]
}
