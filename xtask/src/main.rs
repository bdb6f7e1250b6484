//! Development tasks: `cargo xtask COMMAND`. They need Rust and Python 3 and nothing else on the
//! machine.

mod bench;
mod check;
mod cluster;
mod dev;
mod generate;
mod layout;
mod sim;
mod summary;
mod testing;
mod tools;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::generate::Mode;
use crate::workspace::Workspace;

/// Development tasks of Gatewright.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
#[command(arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run a whole gateway on this machine: Envoy, load balancers, certificates, traffic
    ///
    /// Installs Envoy if it is missing, builds the daemon and starts `gatewright dev` with its
    /// state in target/dev. Ctrl-C ends it; a second start goes on from the same state.
    Dev {
        /// Passed on to `gatewright dev`, for example --fresh; `-- --help` lists them
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "ARGS"
        )]
        args: Vec<String>,
    },
    /// Run the tests: unit, scenario, and those with a real Envoy and kubectl
    ///
    /// Installs Envoy and kubectl if they are missing. Where they cannot be installed the tests
    /// that need them are left out and named at the end; with CI=true in the environment that is a
    /// failure. The tests on a real control plane run where it was built (cargo xtask tools --only
    /// etcd,...); with CI=true it is built.
    Test {
        /// Leave out the tests that need a real program, and install nothing
        #[arg(long)]
        fast: bool,
        /// Run only tests whose name contains this
        filter: Option<String>,
        /// Passed on to each test program, for example -- --nocapture
        #[arg(last = true, value_name = "ARGS")]
        args: Vec<String>,
    },
    /// Measure: start, rotation, throughput, API server, planning
    ///
    /// Installs Envoy if it is missing and builds with optimisation, which takes minutes the first
    /// time. Prints tables; with --json one object a line for each figure; with --quick a tenth of
    /// the repetitions. docs/benchmarks.md holds what was measured.
    Bench {
        /// Only benchmarks whose name contains this, and options such as --json
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "ARGS"
        )]
        args: Vec<String>,
    },
    /// Simulate: daemon, cloud, certificate authority and API server on a virtual clock
    ///
    /// Each seed makes one history: object changes, faults at every seam, deaths, two replicas. What
    /// must hold is checked all the while, and at the end the world has to be what an undisturbed
    /// one is. A history that fails is made shorter and printed. Builds with optimisation, which
    /// takes minutes the first time. `cargo xtask sim -- --help` lists the options.
    Sim {
        /// See that the deliberate bugs of tests/simulation/mutants are found; only these, if named
        #[arg(long, num_args = 0.., value_name = "NAME")]
        mutants: Option<Vec<String>>,
        /// With --mutants: look for seeds that find them and write these into the files
        #[arg(long, requires = "mutants")]
        find: bool,
        /// All that CI runs: the deliberate bugs, 1,000 seeds, and a death at every request
        #[arg(long, conflicts_with_all = ["mutants", "args"])]
        ci: bool,
        /// Passed on, for example -- --seeds 1000 --from 0
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "ARGS"
        )]
        args: Vec<String>,
    },
    /// Start or stop a real Kubernetes control plane on this machine
    Cluster {
        #[command(subcommand)]
        command: cluster::ClusterCommand,
    },
    /// Check everything but the tests
    ///
    /// Format, clippy, each crate alone, documentation, dependencies (cargo deny), generated files,
    /// layout. Every part runs, whatever the ones before it gave; a table at the end has the
    /// outcome of each.
    Check {
        /// Run only these parts, comma-separated
        #[arg(long, value_enum, value_delimiter = ',', value_name = "PARTS")]
        only: Vec<check::Part>,
    },
    /// Put the real programs under target/tools
    ///
    /// Versions and digests are pinned in xtask/tools.txt and xtask/tools/*/go.mod. What is there
    /// already is left alone, so this is fast when nothing is missing. The commands that need a tool
    /// call this by themselves. A Kubernetes control plane is built from Go modules: minutes, once.
    Tools {
        /// Only these, comma-separated (default: envoy, kubectl, cargo-deny)
        #[arg(long, value_enum, value_delimiter = ',', value_name = "TOOLS")]
        only: Vec<tools::Tool>,
    },
    /// Write the generated files anew
    Gen {
        /// Write nothing; fail when a generated file differs from what would be written
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> anyhow::Result<ExitCode> {
    let workspace = Workspace::locate()?;
    match task {
        Task::Dev { args } => dev::run(&workspace, &args),
        Task::Test { fast, filter, args } => {
            testing::run(&workspace, &testing::Selection { fast, filter, args })
        }
        Task::Sim {
            mutants,
            find,
            ci,
            args,
        } => {
            let work = match mutants {
                // After --find, names are no part of --mutants any more.
                Some(names) => sim::Work::Mutants(sim::Selection {
                    names: [names, args].concat(),
                    find,
                }),
                None if ci => sim::Work::Ci,
                None => sim::Work::Histories(args),
            };
            sim::run(&workspace, &work)
        }
        Task::Bench { args } => bench::run(&workspace, &args),
        Task::Cluster { command } => cluster::run(&workspace, &command),
        Task::Check { only } => check::run(&workspace, &only),
        Task::Tools { only } => tools::run(&workspace, &only),
        Task::Gen { check } => Ok(generate::run(
            &workspace,
            if check { Mode::Check } else { Mode::Write },
        )),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn names_of_mutants_are_taken_before_and_after_find() {
        for line in [["--mutants", "a", "--find"], ["--mutants", "--find", "a"]] {
            let line = ["cargo xtask", "sim"].into_iter().chain(line);
            let Task::Sim { mutants, args, .. } = Cli::try_parse_from(line).unwrap().command else {
                unreachable!()
            };
            assert_eq!([mutants.unwrap(), args].concat(), ["a"]);
        }
    }

    #[test]
    fn dev_passes_its_arguments_on_untouched() {
        let passed_on = |line: &[&str]| {
            let line = ["cargo xtask", "dev"].iter().chain(line);
            match Cli::try_parse_from(line).unwrap().command {
                Task::Dev { args } => args,
                _ => unreachable!(),
            }
        };
        assert_eq!(
            passed_on(&["--fresh", "--port-shift", "8000"]),
            ["--fresh", "--port-shift", "8000"]
        );
        assert_eq!(passed_on(&["--", "--help"]), ["--help"]);
        assert!(passed_on(&[]).is_empty());
    }
}
