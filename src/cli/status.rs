//! `gatewright status`.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::Format;
use super::cluster::ClusterArgs;
use super::output::Output;
use super::table::{View, overview};

const EXAMPLES: &str = "\
Examples:
  gatewright status
  gatewright status -n istio-system
  gatewright status -o json | jq '.certificates[] | select(.isServed | not) | .name'";

/// Print gateways, load balancers, certificates and proxies, and how they are
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct StatusArgs {
    /// Only what is in this namespace [default: all]
    #[arg(long, short, value_name = "NAME")]
    namespace: Option<String>,

    /// How it is printed
    #[arg(long, short, value_name = "FORMAT", value_enum, default_value_t = Format::Table)]
    output: Format,

    /// Added to the ports of load balancers, as `gatewright dev` does without privilege
    #[arg(long, value_name = "N", default_value_t = 0)]
    port_shift: u16,

    #[command(flatten)]
    cluster: ClusterArgs,
}

pub(super) async fn run(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let cluster = args.cluster.connect().await?;
    let view = View {
        namespace: args.namespace.clone(),
        port_shift: args.port_shift,
    };
    let overview = overview(&cluster.client, &view)
        .await
        .context("reading the objects")?;
    match args.output {
        Format::Table => Output.text(overview)?,
        Format::Json => Output.line(serde_json::to_string_pretty(&overview)?)?,
    }
    Ok(ExitCode::SUCCESS)
}
