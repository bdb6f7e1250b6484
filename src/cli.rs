//! The command line.

mod cluster;
mod completions;
mod crds;
pub mod dev_args;
mod manifests;
mod mock_acme;
mod mock_cloud;
pub mod output;
mod plan;
mod proxy;
pub mod reference;
mod rotate;
mod run;
pub(crate) mod signals;
mod status;
pub mod table;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};
use gatewright_seams::Tasks;
use tracing_subscriber::EnvFilter;

use crate::settings::{LogFormat, LogSettings};
use dev_args::DevArgs;

/// What a command was asked for could not be done.
pub const FAILED: u8 = 1;
/// `plan --detailed-exitcode`: there is something to change. 2 is taken by a wrong command line.
pub const CHANGES: u8 = 3;
/// The reader of standard output went away, as a shell tells SIGPIPE (128 + 13).
const PIPE_CLOSED: u8 = 141;

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    failed; standard error says what and why
  2    the command line is wrong
  3    plan --detailed-exitcode: there is something to change
  141  the reader of standard output went away

Credentials are read from the environment alone:
  ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET, ALIBABA_CLOUD_SECURITY_TOKEN

Examples:
  gatewright dev                  a working gateway on this machine
  gatewright plan -f examples/    what would change in the cloud, and why
  gatewright rotate --all -A      new certificates, and wait until they are served
  gatewright status               gateways, load balancers, certificates, proxies";

/// Keeps Envoy edge gateways alive on Alibaba Cloud
#[derive(Debug, Parser)]
#[command(name = "gatewright", version, about, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    log: LogSettings,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Dev(Box<DevArgs>),
    Run(Box<run::RunArgs>),
    Rotate(rotate::RotateArgs),
    Plan(plan::PlanArgs),
    Status(status::StatusArgs),
    Crds(crds::CrdsArgs),
    Proxy(proxy::ProxyArgs),
    MockCloud(mock_cloud::MockCloudArgs),
    MockAcme(mock_acme::MockAcmeArgs),
    Completions(completions::CompletionsArgs),
}

/// How a result is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// One JSON document
    Json,
}

impl Command {
    /// Whether the command runs on and tells by its log what it does.
    fn runs_on(&self) -> bool {
        matches!(
            self,
            Self::Run(_) | Self::Proxy(_) | Self::MockCloud(_) | Self::MockAcme(_)
        )
    }
}

impl Cli {
    /// The filter of the log: what was asked for, else what suits the command.
    fn filter(&self) -> &str {
        let usual = if self.command.runs_on() {
            // Spans of the controllers' runtime only repeat what the lines say.
            "info,kube_runtime=warn"
        } else {
            "warn"
        };
        self.log.log.as_deref().unwrap_or(usual)
    }
}

/// Runs the command that was asked for, prints its error if it has one, and gives the exit code.
pub fn main(cli: Cli) -> ExitCode {
    match start(cli) {
        Ok(code) => code,
        Err(error) if output::is_closed(&error) => ExitCode::from(PIPE_CLOSED),
        Err(error) => {
            output::complain(&error);
            ExitCode::from(FAILED)
        }
    }
}

fn start(cli: Cli) -> anyhow::Result<ExitCode> {
    log_to_standard_error(cli.filter(), cli.log.log_format)?;
    // Other crates that use TLS take the process's default; there is one provider in this program.
    // It fails only when a default is set already, which is then this one.
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    runtime.block_on(run(cli.command))
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    let tasks = Tasks::new();
    match command {
        Command::Dev(args) => crate::dev::run(*args, tasks).await,
        Command::Run(args) => run::run(&args, tasks).await,
        Command::Rotate(args) => rotate::run(&args).await,
        Command::Plan(args) => plan::run(&args, tasks).await,
        Command::Status(args) => status::run(&args).await,
        Command::Crds(args) => crds::run(&args),
        Command::Proxy(args) => proxy::run(&args).await,
        Command::MockCloud(args) => mock_cloud::run(&args, tasks).await,
        Command::MockAcme(args) => mock_acme::run(&args, tasks).await,
        Command::Completions(args) => completions::run(&args),
    }
}

/// How long the parts of a mock get to end.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Stops `tasks` after they did what they were started for.
async fn end(tasks: &Tasks) -> anyhow::Result<ExitCode> {
    if !tasks.stop(STOP_LIMIT).await {
        tracing::warn!("some parts did not end in time");
    }
    match tasks.failed() {
        Some(task) => anyhow::bail!("task {task} died"),
        None => Ok(ExitCode::SUCCESS),
    }
}

fn log_to_standard_error(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    let filter = EnvFilter::builder()
        .parse(filter)
        .context("reading --log")?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    match format {
        LogFormat::Text => log.with_ansi(colours).try_init(),
        LogFormat::Json => log.json().try_init(),
    }
    .map_err(|error| anyhow::anyhow!(error))
    .context("starting the log")
}

#[cfg(test)]
mod tests;
