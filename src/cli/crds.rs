//! `gatewright crds`.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use super::output::Output;

const EXAMPLES: &str = "\
Examples:
  gatewright crds | kubectl apply --server-side -f -";

/// Print the definitions of the kinds that Gatewright reads and writes
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CrdsArgs {
    /// How they are printed
    #[arg(long, short, value_name = "FORMAT", value_enum, default_value_t = DefinitionFormat::Yaml)]
    output: DefinitionFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DefinitionFormat {
    /// Documents that kubectl takes
    Yaml,
    /// One List object
    Json,
}

pub(super) fn run(args: &CrdsArgs) -> anyhow::Result<ExitCode> {
    match args.output {
        DefinitionFormat::Yaml => {
            for (_, document) in gatewright_crds::yaml().context("making the definitions")? {
                Output.text("---\n")?;
                Output.text(document)?;
            }
        }
        DefinitionFormat::Json => {
            let items = gatewright_crds::all().context("making the definitions")?;
            let list = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": items });
            Output.line(format!("{list:#}"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
