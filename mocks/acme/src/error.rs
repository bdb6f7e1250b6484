use std::io;
use std::path::PathBuf;

/// What goes wrong when the mock starts, listens or stores its state.
///
/// What goes wrong inside a request becomes a problem document (RFC 8555, section 6.7) instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The base URL is not an absolute http or https URL without query.
    #[error("base url `{0}` is not an absolute http or https url")]
    BaseUrl(String),
    /// A key or certificate of the authority could not be made.
    #[error("making the {object} of the certificate authority")]
    Authority {
        /// Which key or certificate.
        object: &'static str,
        #[source]
        source: rcgen::Error,
    },
    /// The clock reads a time that a certificate cannot hold.
    #[error("certificate dates are out of range for the {0}")]
    Dates(&'static str),
    /// The state file exists and is not one of ours.
    #[error("reading the state of the acme server from {path}")]
    StateFormat {
        /// The state file.
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    /// The state file was written by another version.
    #[error("state of the acme server in {path} has version {found}, expected {expected}")]
    StateVersion {
        /// The state file.
        path: PathBuf,
        found: u32,
        expected: u32,
    },
    /// A certificate or key in the state file cannot be used.
    #[error("loading the {object} of the certificate authority from its state")]
    StoredAuthority {
        /// Which key or certificate.
        object: &'static str,
    },
    /// The state could not be turned into text.
    #[error("encoding the state of the acme server")]
    Encode(#[source] serde_json::Error),
    /// The state file could not be read or written.
    #[error("{action} the state of the acme server at {path}")]
    StateFile {
        /// What was being done.
        action: &'static str,
        /// The state file.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The TLS server could not be set up.
    #[error("setting up tls for the acme server")]
    Tls(#[source] tokio_rustls::rustls::Error),
    /// The listening socket failed.
    #[error("{action} for the acme server")]
    Listen {
        /// What was being done.
        action: &'static str,
        #[source]
        source: io::Error,
    },
}
