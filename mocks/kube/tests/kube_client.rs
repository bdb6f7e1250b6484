//! The real kube-rs client on the embedded server, in memory and on a paused clock.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "these are tests"
)]

#[path = "kube_client/apply.rs"]
mod apply;
#[path = "kube_client/deletion.rs"]
mod deletion;
#[path = "kube_client/lists.rs"]
mod lists;
#[path = "kube_client/objects.rs"]
mod objects;
#[path = "kube_client/server.rs"]
mod server;
#[path = "kube_client/watches.rs"]
mod watches;

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use gatewright_seams::{Clock, Random, Tasks};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Pod, Secret, Service};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams,
    WatchEvent, WatchParams,
};
use kube::runtime::controller::Action;
use kube::runtime::{Controller, watcher};
use kube::{Client, ResourceExt};
use local_kube::{Fault, LocalKube, Matching, Options, Storage};
use serde_json::json;

const LIMIT: Duration = Duration::from_mins(1);

async fn start_on(storage: Storage, tasks: &Tasks) -> (LocalKube, Client) {
    let options = Options {
        storage,
        clock: Clock::starting_at("2030-01-01T00:00:00Z".parse().unwrap()),
        random: Random::seeded(1),
        tasks: tasks.clone(),
    };
    let local = LocalKube::start(options).await.unwrap();
    let client = Client::new(local.service(), "default");
    (local, client)
}

async fn start() -> (LocalKube, Client) {
    start_on(Storage::Memory, &Tasks::new()).await
}

/// The ConfigMap `a`, just made.
async fn with_config(client: Client) -> (Api<ConfigMap>, ConfigMap) {
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    let made = api
        .create(&PostParams::default(), &config("a", "1"))
        .await
        .unwrap();
    (api, made)
}

fn object<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn config(name: &str, data: &str) -> ConfigMap {
    object(json!({"metadata": {"name": name}, "data": {"key": data}}))
}

fn status(error: &kube::Error) -> &kube::core::Status {
    match error {
        kube::Error::Api(status) => status,
        other => panic!("not an answer of the server: {other}"),
    }
}

/// Waits until `gone` says that the object is gone.
async fn until_gone<K>(api: &Api<K>, name: &str)
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned + kube::Resource,
{
    let clock = Clock::system();
    let wait = async {
        while api.get_opt(name).await.unwrap().is_some() {
            clock.sleep(Duration::from_millis(10)).await;
        }
    };
    clock
        .timeout(LIMIT, wait)
        .await
        .expect("the object is still there");
}

fn definition() -> CustomResourceDefinition {
    object(json!({
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "properties": {
                        "spec": {
                            "type": "object",
                            "required": ["size"],
                            "properties": {
                                "size": {"type": "integer", "minimum": 1},
                                "color": {"type": "string", "default": "red"},
                            },
                        },
                        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                    },
                }},
            }],
        },
    }))
}

fn widget_kind() -> ApiResource {
    ApiResource {
        group: "example.com".into(),
        version: "v1".into(),
        api_version: "example.com/v1".into(),
        kind: "Widget".into(),
        plural: "widgets".into(),
    }
}

fn widgets(client: Client) -> Api<DynamicObject> {
    Api::default_namespaced_with(client, &widget_kind())
}

/// Defines widgets.
async fn defined_widgets(client: Client) -> Api<DynamicObject> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    definitions
        .create(&PostParams::default(), &definition())
        .await
        .unwrap();
    widgets(client)
}

/// Defines widgets and makes one of size 2.
async fn with_widget(client: Client) -> (Api<DynamicObject>, DynamicObject) {
    let api = defined_widgets(client).await;
    let made = api
        .create(&PostParams::default(), &widget(&json!({"size": 2})))
        .await
        .unwrap();
    (api, made)
}

fn widget(spec: &serde_json::Value) -> DynamicObject {
    object(json!({
        "apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": spec,
    }))
}
