//! A real Kubernetes control plane on loopback: etcd, kube-apiserver, kube-controller-manager and
//! kube-scheduler, without root or containers.
//!
//! This says what the programs are started with and writes their files. Starting them, waiting for
//! them and ending them is for the caller: `cargo xtask cluster` leaves them running, a test ends
//! them with itself.

mod files;
mod layout;
mod program;

pub use files::{ADMIN, Error};
pub use layout::{Durability, Layout};
pub use program::{Program, ROLES, Role};
