//! Runs many histories: `cargo xtask sim`.

use std::process::ExitCode;

use clap::Parser as _;
use gatewright_simulation::campaign::{self, Options};

/// A quarter of a history is memory that comes and goes.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    campaign::run_all(&Options::parse())
}
