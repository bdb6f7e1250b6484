use thiserror::Error;

use crate::GatewayId;

/// What can go wrong when resources, identities and the server are made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A name that Kubernetes would not allow.
    #[error("reading gateway identity {text:?}: not of the form namespace/name")]
    GatewayId { text: String },
    /// A certificate or key could not be made or read.
    #[error("{action} for {object}")]
    Certificate {
        action: &'static str,
        object: String,
        #[source]
        source: rcgen::Error,
    },
    /// A PEM file does not hold what it should.
    #[error("reading {what}: no usable PEM block")]
    Pem { what: &'static str },
    /// A lifetime reaches beyond what a certificate can say.
    #[error("dating the certificate for {object}: time out of range")]
    Time { object: String },
    /// rustls refused the certificate, the key or the client roots.
    #[error("setting up TLS of the xDS server: {what}")]
    Tls {
        what: &'static str,
        #[source]
        source: rustls::Error,
    },
    /// The roots that client certificates are checked against cannot be used.
    #[error("setting up client certificate checks of the xDS server")]
    ClientRoots(#[source] rustls::server::VerifierBuilderError),
    /// A resource does not hold the message that was asked for.
    #[error("decoding resource {name} of type {type_name}")]
    Decode {
        name: String,
        type_name: &'static str,
        #[source]
        source: prost::DecodeError,
    },
    /// The listening socket cannot be used.
    #[error("reading the address of the xDS listener")]
    Listener(#[source] std::io::Error),
}

/// Why a proxy's stream is ended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The node id in the first request is not one of the certificate's gateway.
    #[error(
        "node id {node_id:?} is not of gateway {gateway}: set node.id to {gateway}/POD in the bootstrap"
    )]
    WrongNode { gateway: GatewayId, node_id: String },
    /// The type URL is empty or names a type that is not served.
    #[error("type {type_url:?} is not served")]
    UnknownType { type_url: String },
    /// More names than one proxy can need; a guard for the daemon's memory.
    #[error("more than {limit} names of type {type_name} subscribed on one stream")]
    TooManyNames {
        type_name: &'static str,
        limit: usize,
    },
}
