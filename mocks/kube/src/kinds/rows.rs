use std::sync::Arc;

use super::{Resource, Scale};

/// A built-in kind.
struct Row {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    short: &'static [&'static str],
    categories: &'static [&'static str],
    namespaced: bool,
    /// Has the subresource `status`.
    status: bool,
    /// Has the subresource `scale` at `spec.replicas` and `status.replicas`.
    scale: bool,
    /// Counts changes of its desired state in `metadata.generation`.
    generation: bool,
    /// JSON pointers that field selectors may name, with their labels.
    fields: &'static [(&'static str, &'static str)],
}

const NONE: Row = Row {
    group: "",
    version: "v1",
    kind: "",
    plural: "",
    short: &[],
    categories: &[],
    namespaced: true,
    status: false,
    scale: false,
    generation: false,
    fields: &[],
};

const RBAC: &str = "rbac.authorization.k8s.io";

const ROWS: &[Row] = &[
    Row {
        kind: "Namespace",
        plural: "namespaces",
        short: &["ns"],
        namespaced: false,
        status: true,
        fields: &[("status.phase", "/status/phase")],
        ..NONE
    },
    Row {
        kind: "Pod",
        plural: "pods",
        short: &["po"],
        categories: &["all"],
        status: true,
        generation: true,
        fields: &[
            ("spec.nodeName", "/spec/nodeName"),
            ("spec.restartPolicy", "/spec/restartPolicy"),
            ("spec.schedulerName", "/spec/schedulerName"),
            ("spec.serviceAccountName", "/spec/serviceAccountName"),
            ("spec.hostNetwork", "/spec/hostNetwork"),
            ("status.phase", "/status/phase"),
            ("status.podIP", "/status/podIP"),
            ("status.podIPs", "/status/podIP"),
            ("status.nominatedNodeName", "/status/nominatedNodeName"),
        ],
        ..NONE
    },
    Row {
        kind: "Service",
        plural: "services",
        short: &["svc"],
        categories: &["all"],
        status: true,
        fields: &[
            ("spec.clusterIP", "/spec/clusterIP"),
            ("spec.type", "/spec/type"),
        ],
        ..NONE
    },
    Row {
        kind: "Secret",
        plural: "secrets",
        fields: &[("type", "/type")],
        ..NONE
    },
    Row {
        kind: "ConfigMap",
        plural: "configmaps",
        short: &["cm"],
        ..NONE
    },
    Row {
        kind: "ServiceAccount",
        plural: "serviceaccounts",
        short: &["sa"],
        ..NONE
    },
    Row {
        kind: "Event",
        plural: "events",
        short: &["ev"],
        fields: &[
            ("involvedObject.kind", "/involvedObject/kind"),
            ("involvedObject.namespace", "/involvedObject/namespace"),
            ("involvedObject.name", "/involvedObject/name"),
            ("involvedObject.uid", "/involvedObject/uid"),
            ("involvedObject.apiVersion", "/involvedObject/apiVersion"),
            (
                "involvedObject.resourceVersion",
                "/involvedObject/resourceVersion",
            ),
            ("involvedObject.fieldPath", "/involvedObject/fieldPath"),
            ("reason", "/reason"),
            ("reportingComponent", "/reportingComponent"),
            ("source", "/source/component"),
            ("type", "/type"),
        ],
        ..NONE
    },
    Row {
        kind: "Node",
        plural: "nodes",
        short: &["no"],
        namespaced: false,
        status: true,
        fields: &[("spec.unschedulable", "/spec/unschedulable")],
        ..NONE
    },
    Row {
        kind: "Endpoints",
        plural: "endpoints",
        short: &["ep"],
        ..NONE
    },
    Row {
        group: "apps",
        kind: "Deployment",
        plural: "deployments",
        short: &["deploy"],
        categories: &["all"],
        status: true,
        scale: true,
        generation: true,
        ..NONE
    },
    Row {
        group: "apps",
        kind: "ReplicaSet",
        plural: "replicasets",
        short: &["rs"],
        categories: &["all"],
        status: true,
        scale: true,
        generation: true,
        fields: &[("status.replicas", "/status/replicas")],
        ..NONE
    },
    Row {
        group: "discovery.k8s.io",
        kind: "EndpointSlice",
        plural: "endpointslices",
        generation: true,
        ..NONE
    },
    Row {
        group: "coordination.k8s.io",
        kind: "Lease",
        plural: "leases",
        ..NONE
    },
    Row {
        group: "events.k8s.io",
        kind: "Event",
        plural: "events",
        short: &["ev"],
        fields: &[
            ("reason", "/reason"),
            ("regarding.kind", "/regarding/kind"),
            ("regarding.namespace", "/regarding/namespace"),
            ("regarding.name", "/regarding/name"),
            ("regarding.uid", "/regarding/uid"),
            ("reportingController", "/reportingController"),
            ("type", "/type"),
        ],
        ..NONE
    },
    Row {
        group: "autoscaling",
        version: "v2",
        kind: "HorizontalPodAutoscaler",
        plural: "horizontalpodautoscalers",
        short: &["hpa"],
        categories: &["all"],
        status: true,
        ..NONE
    },
    Row {
        group: "policy",
        kind: "PodDisruptionBudget",
        plural: "poddisruptionbudgets",
        short: &["pdb"],
        status: true,
        generation: true,
        ..NONE
    },
    Row {
        group: RBAC,
        kind: "Role",
        plural: "roles",
        ..NONE
    },
    Row {
        group: RBAC,
        kind: "RoleBinding",
        plural: "rolebindings",
        ..NONE
    },
    Row {
        group: RBAC,
        kind: "ClusterRole",
        plural: "clusterroles",
        namespaced: false,
        ..NONE
    },
    Row {
        group: RBAC,
        kind: "ClusterRoleBinding",
        plural: "clusterrolebindings",
        namespaced: false,
        ..NONE
    },
    Row {
        group: "apiextensions.k8s.io",
        kind: "CustomResourceDefinition",
        plural: "customresourcedefinitions",
        short: &["crd", "crds"],
        categories: &["api-extensions"],
        namespaced: false,
        status: true,
        generation: true,
        ..NONE
    },
    Row {
        group: "networking.k8s.io",
        kind: "Ingress",
        plural: "ingresses",
        short: &["ing"],
        status: true,
        generation: true,
        ..NONE
    },
    Row {
        group: "networking.k8s.io",
        kind: "IngressClass",
        plural: "ingressclasses",
        namespaced: false,
        generation: true,
        ..NONE
    },
];

/// The collection of core and `events.k8s.io` events: one storage, two views.
pub(super) const EVENTS: &str = "/events";

pub(super) fn builtin() -> Vec<Resource> {
    ROWS.iter().map(resource).collect()
}

fn resource(row: &Row) -> Resource {
    let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect();
    let collection = if row.kind == "Event" {
        Arc::from(EVENTS)
    } else {
        Arc::from(format!("{}/{}", row.group, row.plural))
    };
    Resource {
        group: row.group.to_owned(),
        version: row.version.to_owned(),
        kind: row.kind.to_owned(),
        list_kind: format!("{}List", row.kind),
        plural: row.plural.to_owned(),
        singular: row.kind.to_lowercase(),
        short_names: owned(row.short),
        categories: owned(row.categories),
        namespaced: row.namespaced,
        status: row.status,
        scale: row.scale.then(|| Scale {
            replicas: "/spec/replicas".to_owned(),
            observed: "/status/replicas".to_owned(),
            selector: "/spec/selector".to_owned(),
        }),
        generation: row.generation,
        custom: false,
        collection,
        columns: Vec::new(),
        selectable: row
            .fields
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        custom_schema: None,
        openapi: None,
        // What the real server says to everybody who uses it.
        warning: (row.kind == "Endpoints").then(|| {
            "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice".to_owned()
        }),
    }
}
