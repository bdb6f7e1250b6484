//! The texts of types and fields, for `kubectl explain`, from `k8s-openapi`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use k8s_openapi::api::{
    apps, authentication, authorization, autoscaling, batch, coordination, core, discovery, events,
    networking, policy, rbac, scheduling, storage,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions;
use schemars::SchemaGenerator;
use serde_json::Value;

static TEXTS: LazyLock<BTreeMap<String, Value>> = LazyLock::new(collect);

/// The schema that `k8s-openapi` gives a type; its descriptions are what is used of it.
pub(super) fn of(type_name: &str) -> Option<&'static Value> {
    TEXTS.get(type_name)
}

macro_rules! generate {
    ($generator:ident, $($kind:ty),* $(,)?) => {
        $( $generator.subschema_for::<$kind>(); )*
    };
}

fn collect() -> BTreeMap<String, Value> {
    let mut generator = SchemaGenerator::default();
    generate!(
        generator,
        core::v1::Namespace,
        core::v1::Pod,
        core::v1::Service,
        core::v1::Secret,
        core::v1::ConfigMap,
        core::v1::ServiceAccount,
        core::v1::Event,
        core::v1::Node,
        core::v1::Endpoints,
        core::v1::PersistentVolumeClaim,
        core::v1::PersistentVolume,
        core::v1::ResourceQuota,
        core::v1::LimitRange,
        core::v1::PodTemplate,
        core::v1::ReplicationController,
        core::v1::Binding,
        apps::v1::Deployment,
        apps::v1::ReplicaSet,
        apps::v1::StatefulSet,
        apps::v1::DaemonSet,
        apps::v1::ControllerRevision,
        batch::v1::Job,
        batch::v1::CronJob,
        discovery::v1::EndpointSlice,
        coordination::v1::Lease,
        events::v1::Event,
        autoscaling::v1::HorizontalPodAutoscaler,
        autoscaling::v1::Scale,
        autoscaling::v2::HorizontalPodAutoscaler,
        policy::v1::PodDisruptionBudget,
        policy::v1::Eviction,
        rbac::v1::Role,
        rbac::v1::RoleBinding,
        rbac::v1::ClusterRole,
        rbac::v1::ClusterRoleBinding,
        apiextensions::v1::CustomResourceDefinition,
        networking::v1::Ingress,
        networking::v1::IngressClass,
        networking::v1::NetworkPolicy,
        scheduling::v1::PriorityClass,
        storage::v1::StorageClass,
        authentication::v1::TokenReview,
        authentication::v1::TokenRequest,
        authentication::v1::SelfSubjectReview,
        authorization::v1::SubjectAccessReview,
        authorization::v1::SelfSubjectAccessReview,
        authorization::v1::LocalSubjectAccessReview,
        authorization::v1::SelfSubjectRulesReview,
        k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta,
        k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions,
        k8s_openapi::apimachinery::pkg::apis::meta::v1::Status,
    );
    generator
        .definitions()
        .iter()
        .map(|(name, schema)| (name.clone(), schema.clone()))
        .collect()
}
