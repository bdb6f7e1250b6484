//! `gatewright completions`.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::Cli;
use super::output::Output;

const EXAMPLES: &str = "\
Examples:
  gatewright completions bash > ~/.local/share/bash-completion/completions/gatewright";

/// Print what makes a shell complete the command line
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(args: &CompletionsArgs) -> anyhow::Result<ExitCode> {
    // Written to memory first: clap_complete panics when its writer fails.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "gatewright", &mut script);
    Output.text(String::from_utf8(script).context("making the script")?)?;
    Ok(ExitCode::SUCCESS)
}
