//! What is shown, said and issued of certificates.

use std::time::Duration;

use futures::StreamExt;
use gatewright::certificate::{Leaf, SERVED};
use gatewright_crds::cert_manager::Certificate;
use gatewright_crds::conditions;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use mock_acme::CertificateRecord;

use super::{HOST, HTTPS_TARGET, Watchman, is_shop};
use crate::run::history;
use crate::sim::GATEWAY_NAMESPACE;

/// The Certificate that users change.
const CERTIFICATE: &str = "shop";
/// Where the Certificate keeps what was issued.
const SECRET: &str = "shop-tls";

impl Watchman {
    /// The users wish for a new certificate.
    pub(in crate::run) fn wished(&self) {
        let issued = self.issued();
        self.seen().wished = Some(issued);
    }

    /// How many certificates were issued for the gateway that users change.
    fn issued(&self) -> usize {
        let all = self.acme.ledger().certificates;
        let names = |held: &CertificateRecord| held.names.iter().any(|name| name == HOST);
        all.iter().filter(|held| names(held)).count()
    }

    /// Whoever wished for a certificate has got one issued since, if the Certificate is still there.
    pub(in crate::run) fn no_wish_is_left(&self) {
        let issued = self.issued();
        let wished = self.seen().wished;
        if wished.is_some_and(|then| issued <= then) {
            self.violated("a new certificate was wished for, and none was issued".into());
        }
    }

    /// The certificate's Secret is replaced, never taken away.
    pub(super) async fn watch_secret(self, kube: kube::Client) {
        let secrets: Api<Secret> = Api::namespaced(kube, GATEWAY_NAMESPACE);
        let mut events = watcher::watcher(secrets, watcher::Config::default())
            .backoff(self.backoff("secrets"))
            .boxed();
        while let Some(event) = events.next().await {
            if let Ok(watcher::Event::Delete(secret)) = event
                && secret.name_any() == SECRET
                && !self.seen().secret_may_go
            {
                self.violated(format!("secret {SECRET} was deleted, and not by the users"));
            }
        }
    }

    /// A certificate is said to be served everywhere only when it is.
    pub(super) async fn watch_certificate(self, kube: kube::Client) {
        let certificates: Api<Certificate> = Api::namespaced(kube, GATEWAY_NAMESPACE);
        let mut certificates = self.watched(certificates);
        while let Some(certificate) = certificates.next().await {
            if certificate.name_any() != CERTIFICATE {
                continue;
            }
            let status = certificate.status.unwrap_or_default();
            let served = conditions::get(&status.conditions, SERVED)
                .filter(|served| served.status == "True")
                .and_then(|served| served.message.split_whitespace().nth(1))
                .map(str::to_owned);
            let before = std::mem::replace(&mut self.seen().served, served.clone());
            let Some(serial) = served.filter(|serial| before.as_ref() != Some(serial)) else {
                continue;
            };
            history::line(format!("certificate {serial} is said to be served"));
            self.seen().without_secret = false;
            let proxies = self.world.running().into_iter();
            for proxy in proxies.filter(|proxy| is_shop(&proxy.pod)) {
                let since = self.seen().dark.get(&proxy.pod).copied();
                let responses = self.seen().shown.get(&proxy.pod).map(|(count, _)| *count);
                if let Some(since) = since
                    && self.clock.elapsed().saturating_sub(since) > Duration::from_mins(1)
                    && responses.is_some_and(|count| count > 0)
                {
                    let pod = &proxy.pod;
                    self.violated(format!(
                        "certificate {serial} is said to be served while {pod} answers nobody"
                    ));
                }
                let Ok(der) = proxy.leaf(HTTPS_TARGET, HOST) else {
                    continue;
                };
                let shown = Leaf::from_der(&der)
                    .map(|leaf| leaf.serial)
                    .unwrap_or_default();
                let (told, held) = (self.place_of(&serial), self.place_of(&shown));
                if held < told {
                    let pod = &proxy.pod;
                    self.violated(format!(
                        "certificate {serial} is said to be served while {pod} shows {shown}"
                    ));
                }
            }
        }
    }

    /// The place of a serial in the order of issue.
    fn place_of(&self, serial: &str) -> Option<usize> {
        let issued = self.acme.ledger().certificates;
        issued
            .iter()
            .position(|held| held.serial.trim_start_matches('0') == serial)
    }

    /// A proxy that showed a certificate goes on showing it, or a newer one.
    pub(super) fn look_at_proxies(&self) {
        for proxy in self.world.running().iter().filter(|proxy| !proxy.is_dark()) {
            let held = self.seen().shown.get(&proxy.pod).copied();
            let responses = proxy.responses();
            if held.is_some_and(|(count, _)| count == responses) {
                continue;
            }
            let place = match proxy.leaf(HTTPS_TARGET, HOST) {
                Ok(der) => self.place_of_leaf(der),
                Err(_closed) => None,
            };
            let before = held.and_then(|(_, place)| place);
            let doomed = {
                let mut seen = self.seen();
                let best = place.max(before);
                seen.shown.insert(proxy.pod.clone(), (responses, best));
                seen.doomed.contains(&proxy.pod)
            };
            if place < before && !doomed {
                self.violated(format!(
                    "{} showed certificate number {before:?} and now shows {place:?}",
                    proxy.pod
                ));
            }
        }
    }

    /// Authorities count what they issue. A change can come in the middle of an order, and ask for
    /// another certificate; a third is asked for by nobody.
    pub(super) fn look_at_orders(&self) {
        let now = self.issued();
        let mut seen = self.seen();
        let before = std::mem::replace(&mut seen.issued, now);
        if now == before {
            return;
        }
        let holder = seen.holder.as_ref().map(|(holder, _)| holder.clone());
        let since = (seen.epoch, holder);
        let first = match seen.issued_since.take() {
            Some((epoch, holder, first)) if (epoch, &holder) == (since.0, &since.1) => first,
            _ => before,
        };
        seen.issued_since = Some((since.0, since.1, first));
        drop(seen);
        if now > first + 2 {
            let more = now - first;
            self.violated(format!(
                "{more} certificates were issued, one after another"
            ));
        }
    }

    fn place_of_leaf(&self, der: Vec<u8>) -> Option<usize> {
        if let Some(place) = self.seen().places.get(&der) {
            return Some(*place);
        }
        let leaf = Leaf::from_der(&der).ok()?;
        let place = self.place_of(&leaf.serial)?;
        self.seen().places.insert(der, place);
        Some(place)
    }
}
