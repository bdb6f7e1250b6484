//! The seams through which the daemon and its mocks touch time, randomness and threads.
//!
//! A simulation replaces all three at once: it runs on tokio's paused clock, with a wall clock that
//! starts where the seed says and a random source that the seed fills. The lints of the workspace
//! forbid the direct calls everywhere else.

mod address;
mod clock;
mod random;
mod tasks;

pub use address::AddressMap;
pub use clock::Clock;
pub use random::Random;
pub use tasks::{Cancelled, Tasks};
