//! The quickstart's objects.

/// As they are applied, in this order.
pub const EXAMPLES: [&str; 8] = [
    include_str!("../../../examples/quickstart/10-istiogateway.yaml"),
    include_str!("../../../examples/quickstart/11-service-internal.yaml"),
    include_str!("../../../examples/quickstart/20-issuer.yaml"),
    include_str!("../../../examples/quickstart/21-certificate.yaml"),
    include_str!("../../../examples/quickstart/30-gateway.yaml"),
    include_str!("../../../examples/quickstart/31-virtualservice.yaml"),
    include_str!("../../../examples/quickstart/40-deployment-hello.yaml"),
    include_str!("../../../examples/quickstart/41-service-hello.yaml"),
];
/// The two load balancer Services.
pub const PUBLIC: &str = "istio-ingressgateway";
pub const INTERNAL: &str = "istio-ingressgateway-internal";
