//! The Kubernetes kinds that Gatewright reads and writes, with their schemas.
//!
//! One kind a file. The texts at the fields become the answers of `kubectl explain`. Install the
//! kinds with [`all`], not with the `crd()` that kube derives: that one has no
//! schema and only one version.

pub mod acme;
mod cel;
pub mod cert_manager;
pub mod conditions;
mod definitions;
mod field_path;
mod go_duration;
pub mod istio;
pub mod istio_gateway;
mod schema;

pub use acme::{Challenge, Order};
pub use cert_manager::{Certificate, CertificateRequest, ClusterIssuer, Issuer};
pub use definitions::{DefinitionError, all, yaml};
pub use field_path::FieldPath;
pub use go_duration::{GoDuration, GoDurationError};
pub use istio::{Gateway, VirtualService};
pub use istio_gateway::IstioGateway;
