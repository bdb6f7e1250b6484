//! Alibaba Cloud: request signing, transport and one module per product.

pub mod clb;
pub mod client;
pub mod sign;

pub use clb::{Clb, ClbOptions};
pub use client::credentials::Credentials;
pub use client::transport::{NotSent, Transport, TransportError, https_transport};
pub use client::{Client, ClientOptions};
