//! What there is and how it is, as the API server knows it: the table of `status` and of `dev`.

mod rows;

use std::fmt;

use comfy_table::{ContentArrangement, Row, Table, presets};
use gatewright_crds::cert_manager::Certificate;
use gatewright_crds::istio::Gateway;
use gatewright_crds::istio_gateway::IstioGateway;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::Resource;
use kube::api::{Api, ListParams};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use rows::{CertificateRow, GatewayRow, LoadBalancerRow, ProxyRow};

/// The widest line of a table.
const WIDTH: u16 = 100;
/// The label of the proxies' Pods.
const PROXIES: &str = "app.kubernetes.io/component=gateway-proxy";

/// What is looked at.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// One namespace; nothing for all.
    pub namespace: Option<String>,
    /// Added to the ports at which load balancers are reached.
    pub port_shift: u16,
}

/// Everything that a person asks about first.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    pub gateways: Vec<GatewayRow>,
    pub load_balancers: Vec<LoadBalancerRow>,
    pub certificates: Vec<CertificateRow>,
    pub proxies: Vec<ProxyRow>,
}

/// Reads an [`Overview`] from the API server. Rows are sorted by namespace and name.
///
/// # Errors
/// What the API server answered.
pub async fn overview(kube: &kube::Client, view: &View) -> kube::Result<Overview> {
    let all = ListParams::default();
    let of_gateways = ListParams::default().labels(PROXIES);
    let (gateways, services, certificates, servers, pods) = futures::try_join!(
        list::<IstioGateway>(kube, view, &all),
        list::<Service>(kube, view, &all),
        list::<Certificate>(kube, view, &all),
        list::<Gateway>(kube, view, &all),
        list::<Pod>(kube, view, &of_gateways),
    )?;
    Ok(Overview {
        gateways: gateways.iter().map(GatewayRow::of).collect(),
        load_balancers: services
            .iter()
            .filter_map(|service| LoadBalancerRow::of(service, view.port_shift))
            .collect(),
        certificates: certificates.iter().map(CertificateRow::of).collect(),
        proxies: pods
            .iter()
            .map(|pod| ProxyRow::of(pod, &gateways, &servers))
            .collect(),
    })
}

async fn list<K>(kube: &kube::Client, view: &View, params: &ListParams) -> kube::Result<Vec<K>>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + fmt::Debug
        + DeserializeOwned,
{
    let api: Api<K> = match &view.namespace {
        Some(namespace) => Api::namespaced(kube.clone(), namespace),
        None => Api::all(kube.clone()),
    };
    let mut items = api.list(params).await?.items;
    items.sort_by(|a, b| {
        let key = |item: &K| (item.meta().namespace.clone(), item.meta().name.clone());
        key(a).cmp(&key(b))
    });
    Ok(items)
}

/// A table of plain characters that fits [`WIDTH`] columns; long cells are wrapped. Print it with
/// [`Table::trim_fmt`].
pub(super) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(WIDTH);
    table.set_header(Row::from(header.iter().copied()));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

impl fmt::Display for Overview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut gateways = table(&["GATEWAY", "STATE", "PROXIES", "ADDRESSES"]);
        for row in &self.gateways {
            gateways.add_row([
                &named(&row.namespace, &row.name),
                &with_cause(&row.state, row.message.as_deref()),
                &row.proxies,
                &row.addresses.join(", "),
            ]);
        }
        let mut load_balancers = table(&["LOAD BALANCER", "TYPE", "ADDRESS", "PORTS", "STATE"]);
        for row in &self.load_balancers {
            load_balancers.add_row([
                &named(&row.namespace, &row.name),
                &row.address_type,
                &row.addresses.join(", "),
                &row.ports.join(", "),
                &with_cause(&row.state, row.message.as_deref()),
            ]);
        }
        let mut certificates = table(&["CERTIFICATE", "NAMES", "STATE", "EXPIRES", "SERVED"]);
        for row in &self.certificates {
            certificates.add_row([
                &named(&row.namespace, &row.name),
                &row.names.join(", "),
                &with_cause(&row.state, row.message.as_deref()),
                &row.expires.map(|at| at.to_string()).unwrap_or_default(),
                &row.served,
            ]);
        }
        let mut proxies = table(&["PROXY", "ADDRESS", "STATE", "SERVES"]);
        for row in &self.proxies {
            proxies.add_row([
                &named(&row.namespace, &row.name),
                row.address.as_deref().unwrap_or_default(),
                &row.state,
                &row.serves.join(", "),
            ]);
        }
        let tables = [
            ("gateways", gateways),
            ("load balancers", load_balancers),
            ("certificates", certificates),
            ("proxies", proxies),
        ];
        for (index, (what, table)) in tables.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            if table.is_empty() {
                writeln!(f, "no {what}")?;
            } else {
                writeln!(f, "{}", table.trim_fmt())?;
            }
        }
        Ok(())
    }
}

fn named(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

fn with_cause(state: &str, message: Option<&str>) -> String {
    message.map_or_else(|| state.to_owned(), |message| format!("{state}: {message}"))
}

#[cfg(test)]
mod tests;
