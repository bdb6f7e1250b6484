use std::process::ExitCode;

use clap::Parser as _;
use gatewright::cli::{self, Cli};

fn main() -> ExitCode {
    // Help and version go to standard output with 0; a wrong command line ends with 2.
    cli::main(Cli::parse())
}
