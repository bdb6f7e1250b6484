//! The whole of Gatewright in one thread on a virtual clock: the scenario tests' world, and histories
//! made from seeds in it.
#![expect(
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::expect_used,
    reason = "only tests use this"
)]

pub mod campaign;
mod crashes;
mod plan;
mod quickstart;
mod run;
mod shrink;
mod sim;

pub use plan::{
    Action, AuthorityFault, Change, CloudFault, Edit, Internal, Plan, REPLICAS, Seam, Step, Wanted,
};
pub use quickstart::{EXAMPLES, INTERNAL, PUBLIC};
pub use run::{Outcome, run};
pub use shrink::shrink;
pub use sim::{
    ACCESS_KEY, Crossings, GATEWAY_NAMESPACE, Gates, KubeFault, OWNER_TAG, Side, Sim, SimOptions,
    Switch, World, log, shape,
};
