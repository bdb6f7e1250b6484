//! What a Service asks for, and what of ours it has.

use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;

/// `spec.loadBalancerClass` of the Services that become CLB instances.
pub const LOAD_BALANCER_CLASS: &str = "gatewright.dev/clb";
pub(super) const FINALIZER: &str = "gatewright.dev/load-balancer";
/// The condition in a Service's status that says its load balancer is as specified.
pub const CONDITION: &str = "gatewright.dev/LoadBalancerReady";

/// Whether it asks for a load balancer of our class.
pub(super) fn asks(service: &Service) -> bool {
    service.spec.as_ref().is_some_and(|spec| {
        spec.type_.as_deref() == Some("LoadBalancer")
            && spec.load_balancer_class.as_deref() == Some(LOAD_BALANCER_CLASS)
    })
}

pub(super) fn is_held(service: &Service) -> bool {
    service.finalizers().iter().any(|held| held == FINALIZER)
}

pub(super) fn is_told(service: &Service) -> bool {
    let status = service.status.as_ref();
    let told = status.and_then(|status| status.conditions.as_ref());
    told.is_some_and(|told| told.iter().any(|held| held.type_ == CONDITION))
}

/// Whether it asks for a load balancer, or for what is left of one to be taken away.
pub(super) fn is_ours(service: &Service) -> bool {
    asks(service) || is_held(service) || is_told(service)
}

pub(super) fn deleted(service: &Service) -> bool {
    service.metadata.deletion_timestamp.is_some()
}

/// Whether its load balancer is to go: it is being deleted, or has become a Service of another type.
pub(super) fn leaves(service: &Service) -> bool {
    deleted(service) || !asks(service)
}
