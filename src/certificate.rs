//! Certificates: decide, issue, store, and see them served.

mod acme;
mod challenges;
mod controller;
mod decide;
mod failed;
mod issuer;
mod keys;
mod material;
mod routed;
mod served;
mod unwritten;

pub use acme::AcmeError;
pub use challenges::{CHALLENGE_PATH, Challenges};
pub use controller::Controller;
pub use issuer::{Accounts, IssuerController};
pub use material::{Leaf, Material, MaterialError};
pub use served::SERVED;
pub use unwritten::Unwritten;
