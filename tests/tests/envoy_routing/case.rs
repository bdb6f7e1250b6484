//! A case: objects in a file, and what they are translated to.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use gatewright::routing::{Input, Output, translate};
use gatewright_crds::istio::{Gateway, VirtualService};
use gatewright_crds::istio_gateway::IstioGateway;
use gatewright_seams::AddressMap;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// On the first line of a file: another folder of objects that belong to the case.
const WITH: &str = "# with: ";

/// The objects of one file. A document without a kind holds the case's settings.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) gateway: IstioGateway,
    pub(crate) port_shift: u16,
    servers: Vec<Gateway>,
    virtual_services: Vec<VirtualService>,
    services: Vec<Service>,
    slices: Vec<EndpointSlice>,
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/routing")
}

/// The files of a folder whose names end with `ending`, sorted.
pub(crate) fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.retain(|path| path.to_str().is_some_and(|path| path.ends_with(ending)));
    files.sort();
    files
}

/// All cases, by name.
pub(crate) fn cases() -> Vec<Case> {
    let files = files(&folder(), ".yaml");
    assert!(files.len() > 20, "{files:?}");
    files.iter().map(|path| Case::read(path)).collect()
}

impl Case {
    fn read(path: &Path) -> Self {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut text = std::fs::read_to_string(path).unwrap();
        let first = text.lines().next().unwrap_or_default();
        if let Some(other) = first.strip_prefix(WITH) {
            for file in files(&root().join(other), ".yaml") {
                text += "\n---\n";
                text += &std::fs::read_to_string(file).unwrap();
            }
        }
        Self::of(&name, &text)
    }

    pub(crate) fn of(name: &str, text: &str) -> Self {
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut gateways = all::<IstioGateway>(name, &documents, "IstioGateway");
        let shift = documents.iter().find_map(|each| each["portShift"].as_u64());
        Self {
            name: name.to_owned(),
            gateway: gateways.remove(0),
            port_shift: shift.map_or(0, |shift| shift.try_into().unwrap()),
            servers: all(name, &documents, "Gateway"),
            virtual_services: all(name, &documents, "VirtualService"),
            services: all(name, &documents, "Service"),
            slices: all(name, &documents, "EndpointSlice"),
        }
    }

    pub(crate) fn translate(&self, bind: IpAddr) -> Output {
        translate(&Input {
            gateway: &self.gateway,
            servers: &self.servers.iter().collect::<Vec<_>>(),
            virtual_services: &self.virtual_services.iter().collect::<Vec<_>>(),
            services: &self.services.iter().collect::<Vec<_>>(),
            slices: &self.slices.iter().collect::<Vec<_>>(),
            bind,
            answers: &("127.0.0.1".to_owned(), 15011),
            addresses: AddressMap::Identity,
            port_shift: self.port_shift,
        })
    }

    /// The same objects, listed the other way round.
    pub(crate) fn reversed(mut self) -> Self {
        self.servers.reverse();
        self.virtual_services.reverse();
        self.services.reverse();
        self.slices.reverse();
        self
    }

    /// As in a Pod with a network of its own.
    pub(crate) fn translate_for_pods(&self) -> Output {
        self.translate(Ipv4Addr::UNSPECIFIED.into())
    }
}

/// The documents of `kind`.
fn all<K: DeserializeOwned>(case: &str, documents: &[Value], kind: &str) -> Vec<K> {
    let ours = documents.iter().filter(|each| each["kind"] == kind);
    ours.map(|each| {
        serde_json::from_value(each.clone()).unwrap_or_else(|error| panic!("{case}: {error}"))
    })
    .collect()
}
