//! `gatewright mock-acme`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use gatewright_seams::{Clock, Random, Tasks};
use mock_acme::{HttpFetch, MockAcme, Options, Resolver, Storage};
use tokio::net::TcpListener;

use super::output::Output;
use super::signals::Signals;
use crate::settings::Span;

const EXAMPLES: &str = "\
HTTP-01 is validated by a real request to the address that --resolve gives for a name. A name \
without one is unknown, and its validation fails.

Examples:
  gatewright mock-acme --listen 127.0.0.1:14000 --state /tmp/acme.json \\
      --resolve shop.example.com=127.90.0.1:8080
  gatewright run --acme-root /tmp/acme.root.pem";

/// Run a mock ACME server that validates HTTP-01 by real requests
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct MockAcmeArgs {
    /// Where the server listens for HTTPS
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// File that keeps its authority, accounts, orders and certificates [default: kept in memory]
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,

    /// Where the root certificate is written [default: beside the state file, as *.root.pem;
    /// without one, to standard output]
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,

    /// Address that stands for port 80 of a name; may be given several times
    #[arg(long, value_name = "NAME=ADDRESS")]
    resolve: Vec<Resolved>,

    /// Address that stands for port 80 of every other name
    #[arg(long, value_name = "ADDRESS")]
    resolve_all: Option<SocketAddr>,

    /// How long certificates live
    #[arg(long, value_name = "DURATION", default_value = "2160h")]
    lifetime: Span,
}

/// `NAME=ADDRESS`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Resolved {
    name: String,
    address: SocketAddr,
}

impl FromStr for Resolved {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, address) = text.split_once('=').ok_or("write NAME=ADDRESS:PORT")?;
        let address = address
            .parse()
            .map_err(|_| format!("{address:?} is no ADDRESS:PORT"))?;
        if name.is_empty() {
            return Err("no name before =".to_owned());
        }
        Ok(Self {
            name: name.to_ascii_lowercase(),
            address,
        })
    }
}

fn resolver(names: &[Resolved], all: Option<SocketAddr>) -> Resolver {
    let names: BTreeMap<String, SocketAddr> = names
        .iter()
        .map(|resolved| (resolved.name.clone(), resolved.address))
        .collect();
    Arc::new(move |name| names.get(&name.to_ascii_lowercase()).copied().or(all))
}

/// Where the root certificate goes.
fn root_file(args: &MockAcmeArgs) -> Option<PathBuf> {
    let beside = |state: &Path| state.with_extension("root.pem");
    args.root
        .clone()
        .or_else(|| args.state.as_deref().map(beside))
}

pub(super) async fn run(args: &MockAcmeArgs, tasks: Tasks) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::catch()?;
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("listening at {}", args.listen))?;
    let address = listener
        .local_addr()
        .context("reading the listener's address")?;
    let acme = MockAcme::start(Options {
        storage: args.state.clone().map_or(Storage::Memory, Storage::File),
        clock: Clock::system(),
        random: Random::system(),
        tasks: tasks.clone(),
        base_url: format!("https://{address}"),
        validator: Arc::new(HttpFetch {
            resolver: resolver(&args.resolve, args.resolve_all),
        }),
        certificate_lifetime: args.lifetime.get(),
    })
    .await
    .context("starting the mock ACME server")?;
    Output.line(format_args!("mock ACME server at {}", acme.directory_url()))?;
    match root_file(args) {
        Some(file) => {
            std::fs::write(&file, acme.root_pem())
                .with_context(|| format!("writing the root certificate to {}", file.display()))?;
            Output.line(format_args!("root certificate in {}", file.display()))?;
        }
        None => Output.text(acme.root_pem())?,
    }
    tokio::select! {
        served = acme.serve(listener) => served.context("serving the mock ACME server")?,
        signal = signals.next() => tracing::info!(signal, "stopping"),
    }
    super::end(&tasks).await
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use mock_acme::DEFAULT_LIFETIME;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: MockAcmeArgs,
    }

    fn parse(args: &[&str]) -> Result<MockAcmeArgs, clap::Error> {
        let args = std::iter::once("mock-acme").chain(args.iter().copied());
        Line::try_parse_from(args).map(|line| line.args)
    }

    #[test]
    fn names_are_resolved_as_told() {
        let args = parse(&[
            "--resolve",
            "A.test=127.0.0.1:80",
            "--resolve",
            "b.test=127.0.0.2:81",
        ]);
        let args = args.unwrap();
        let find = resolver(&args.resolve, None);
        assert_eq!(find("a.test"), Some("127.0.0.1:80".parse().unwrap()));
        assert_eq!(find("B.test"), Some("127.0.0.2:81".parse().unwrap()));
        assert_eq!(find("c.test"), None);
        let all = Some("127.0.0.9:1".parse().unwrap());
        assert_eq!(resolver(&args.resolve, all)("c.test"), all);
        for bad in ["a.test", "a.test=127.0.0.1", "=127.0.0.1:80"] {
            assert!(parse(&["--resolve", bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_lifetime_is_the_mocks_own_unless_told() {
        assert_eq!(parse(&[]).unwrap().lifetime.get(), DEFAULT_LIFETIME);
    }

    #[test]
    fn the_root_certificate_lies_beside_the_state() {
        assert_eq!(root_file(&parse(&[]).unwrap()), None);
        let beside = root_file(&parse(&["--state", "/s/acme.json"]).unwrap());
        assert_eq!(beside, Some("/s/acme.root.pem".into()));
        let told = parse(&["--state", "/s/acme.json", "--root", "/r.pem"]).unwrap();
        assert_eq!(root_file(&told), Some("/r.pem".into()));
    }
}
