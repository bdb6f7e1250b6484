//! Runs many histories: `cargo xtask sim`.

use std::process::ExitCode;

use clap::Parser as _;
use gatewright_simulation::campaign::{self, Options};

fn main() -> ExitCode {
    campaign::run_all(&Options::parse())
}
