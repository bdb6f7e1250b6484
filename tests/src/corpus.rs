//! A corpus of requests, replayed on the embedded API server and on the real one.
//!
//! The files of `tests/corpus` hold the requests in the order in which they are sent. An answer is its
//! status code, its warnings and its body, with everything made plain that no two servers agree on: identities,
//! versions, times, and the ends of generated names.

mod normal;
mod replay;
mod step;

pub use replay::{Answer, replay};
pub use step::{Step, steps};
