//! What must be in no log line, no event and no status.

use std::collections::BTreeMap;

use gatewright_crds::cert_manager::{Certificate, Issuer};
use gatewright_crds::istio::{Gateway, VirtualService};
use gatewright_crds::istio_gateway::IstioGateway;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, ListParams};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Shorter texts are in logs by chance.
const SHORTEST: usize = 16;

/// Where each secret text comes from, by the text to look for.
#[derive(Default)]
pub struct Needles(BTreeMap<String, String>);

impl Needles {
    /// Adds a text. `from` is what it is called in a failure, which must not show the text itself.
    ///
    /// # Panics
    /// It is too short to look for.
    pub fn add(&mut self, text: &str, from: &str) {
        assert!(text.len() >= SHORTEST, "{from}: too short to look for");
        self.0.insert(text.to_owned(), from.to_owned());
    }

    /// Adds every line of the body of every private key that is in a Secret now, and a piece of how
    /// it stands in the Secret's JSON.
    ///
    /// # Panics
    /// The Secrets cannot be read.
    pub async fn add_keys(&mut self, kube: &kube::Client) {
        for secret in list::<Secret>(kube).await {
            let name = secret.metadata.name.clone().unwrap_or_default();
            for (field, value) in secret.data.iter().flatten() {
                let text = String::from_utf8_lossy(&value.0);
                if !text.contains("PRIVATE KEY") {
                    continue;
                }
                let from = format!("key {field} of secret {name}");
                let body = text.lines().filter(|line| !line.starts_with("-----"));
                // The first line begins with what all keys of a kind have in common.
                for line in body.filter(|line| line.len() >= SHORTEST) {
                    self.add(line, &from);
                }
                let json = serde_json::to_value(value).expect("a value");
                let json = json.as_str().expect("a text");
                self.add(&json[json.len() / 2..json.len() / 2 + 40], &from);
            }
        }
    }

    /// How many texts are looked for.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Looks for them in `log`, and in all objects that the API server has of the kinds that the
    /// daemon writes, but Secrets.
    ///
    /// # Panics
    /// One is there, or the objects cannot be read.
    pub async fn are_nowhere(&self, log: &str, kube: &kube::Client) {
        for line in log.lines() {
            self.not_in("the log", line);
        }
        self.not_in_any(&list::<Event>(kube).await);
        self.not_in_any(&list::<Service>(kube).await);
        self.not_in_any(&list::<ConfigMap>(kube).await);
        self.not_in_any(&list::<Issuer>(kube).await);
        self.not_in_any(&list::<Certificate>(kube).await);
        self.not_in_any(&list::<IstioGateway>(kube).await);
        self.not_in_any(&list::<Gateway>(kube).await);
        self.not_in_any(&list::<VirtualService>(kube).await);
        self.not_in_any(&list::<Deployment>(kube).await);
        self.not_in_any(&list::<Lease>(kube).await);
    }

    fn not_in_any<K>(&self, objects: &[K])
    where
        K: kube::Resource<DynamicType = ()> + Serialize,
    {
        for object in objects {
            let text = serde_json::to_string(object).expect("an object");
            self.not_in(&K::kind(&()), &text);
        }
    }

    fn not_in(&self, place: &str, text: &str) {
        let held = |(needle, _): &(&String, &String)| text.contains(needle.as_str());
        if let Some((_, from)) = self.0.iter().find(held) {
            let mut text = text.to_owned();
            for needle in self.0.keys() {
                text = text.replace(needle.as_str(), "***");
            }
            panic!("{from} is in {place}: {text}");
        }
    }
}

async fn list<K>(kube: &kube::Client) -> Vec<K>
where
    K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let all = Api::<K>::all(kube.clone());
    let all = all.list(&ListParams::default()).await;
    all.expect("a list of objects").items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "the key is in the log: a line with *** in it")]
    fn a_text_that_is_there_is_found_and_not_shown() {
        let mut needles = Needles::default();
        needles.add("0123456789abcdef", "the key");
        needles.not_in("the log", "nothing");
        needles.not_in("the log", "a line with 0123456789abcdef in it");
    }
}
