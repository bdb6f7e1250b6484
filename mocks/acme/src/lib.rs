//! An ACME server on a laptop, with real HTTP-01 validation and scripted failures.
//!
//! It speaks RFC 8555 and RFC 9773 (renewal information) to any client, over HTTPS or as a
//! [`tower::Service`] in the same process, on a clock that a test can move. Its authority is a root
//! and an intermediate of its own. It validates `http-01`; `dns-01` and `tls-alpn-01` are offered
//! and fail with a problem that says so. It does not take external account bindings.

mod answers;
mod authority;
mod csr;
mod endpoint;
mod error;
mod faults;
mod fetch;
mod jwk;
mod jws;
mod ledger;
mod listen;
mod model;
mod names;
mod nonces;
mod problem;
mod server;
mod service;
mod storage;
mod validation;

pub use endpoint::Endpoint;
pub use error::Error;
pub use faults::{Faults, RequestFault};
pub use fetch::{Fetch, Fetched, HttpFetch, Resolver};
pub use ledger::{CertificateRecord, Ledger, RequestRecord, ValidationRecord};
pub use server::{DEFAULT_LIFETIME, MockAcme, Options};
pub use service::AcmeService;
pub use storage::Storage;
