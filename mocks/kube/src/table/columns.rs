//! The columns of built-in kinds, as `kubectl get` titles them.

use crate::kinds::Resource;

/// Columns after the name: title and priority; those of priority 1 show with `-o wide`.
type Columns = &'static [(&'static str, i64)];

const AGE: (&str, i64) = ("Age", 0);

pub(super) fn of(resource: &Resource) -> Option<Columns> {
    if resource.custom {
        return None;
    }
    Some(match resource.kind.as_str() {
        "Namespace" => &[("Status", 0), AGE],
        "Pod" => &[
            ("Ready", 0),
            ("Status", 0),
            ("Restarts", 0),
            AGE,
            ("IP", 1),
            ("Node", 1),
            ("Nominated Node", 1),
            ("Readiness Gates", 1),
        ],
        "Service" => &[
            ("Type", 0),
            ("Cluster-IP", 0),
            ("External-IP", 0),
            ("Port(s)", 0),
            AGE,
            ("Selector", 1),
        ],
        "Secret" => &[("Type", 0), ("Data", 0), AGE],
        "ConfigMap" => &[("Data", 0), AGE],
        "ServiceAccount" => &[("Secrets", 0), AGE],
        "Event" => &[
            ("Last Seen", 0),
            ("Type", 0),
            ("Reason", 0),
            ("Object", 0),
            ("Subobject", 1),
            ("Source", 1),
            ("Message", 0),
            ("First Seen", 1),
            ("Count", 1),
            ("Name", 1),
        ],
        "Node" => &[
            ("Status", 0),
            ("Roles", 0),
            AGE,
            ("Version", 0),
            ("Internal-IP", 1),
            ("External-IP", 1),
            ("OS-Image", 1),
            ("Kernel-Version", 1),
            ("Container-Runtime", 1),
        ],
        "Endpoints" => &[("Endpoints", 0), AGE],
        "Deployment" => &[
            ("Ready", 0),
            ("Up-to-date", 0),
            ("Available", 0),
            AGE,
            ("Containers", 1),
            ("Images", 1),
            ("Selector", 1),
        ],
        "ReplicaSet" => &[
            ("Desired", 0),
            ("Current", 0),
            ("Ready", 0),
            AGE,
            ("Containers", 1),
            ("Images", 1),
            ("Selector", 1),
        ],
        "EndpointSlice" => &[("AddressType", 0), ("Ports", 0), ("Endpoints", 0), AGE],
        "Lease" => &[("Holder", 0), AGE],
        "HorizontalPodAutoscaler" => &[
            ("Reference", 0),
            ("Targets", 0),
            ("MinPods", 0),
            ("MaxPods", 0),
            ("Replicas", 0),
            AGE,
        ],
        "PodDisruptionBudget" => &[
            ("Min Available", 0),
            ("Max Unavailable", 0),
            ("Allowed Disruptions", 0),
            AGE,
        ],
        "Role" | "ClusterRole" | "CustomResourceDefinition" => &[("Created At", 0)],
        "RoleBinding" | "ClusterRoleBinding" => &[
            ("Role", 0),
            AGE,
            ("Users", 1),
            ("Groups", 1),
            ("ServiceAccounts", 1),
        ],
        "Ingress" => &[
            ("Class", 0),
            ("Hosts", 0),
            ("Address", 0),
            ("Ports", 0),
            AGE,
        ],
        "IngressClass" => &[("Controller", 0), ("Parameters", 0), AGE],
        _ => return None,
    })
}

/// Columns that hold whole numbers.
pub(super) fn is_number(kind: &str, column: &str) -> bool {
    const NUMBERS: &[&str] = &[
        "Secrets",
        "Up-to-date",
        "Available",
        "Desired",
        "Current",
        "Replicas",
        "MaxPods",
        "Allowed Disruptions",
    ];
    NUMBERS.contains(&column) || (kind == "ReplicaSet" && column == "Ready")
}
