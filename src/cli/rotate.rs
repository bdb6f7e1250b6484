//! `gatewright rotate`.

mod progress;
mod waiting;

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{ArgGroup, Args};
use gatewright_crds::cert_manager::Certificate;
use gatewright_seams::Clock;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};

use super::cluster::{Cluster, ClusterArgs};
use super::output::{self, Output};
use super::table::table;
use super::{FAILED, Format};
use crate::settings::Span;
use progress::is_due;
use waiting::{Ended, Outcome, rotate};

const EXAMPLES: &str = "\
Asks for a new certificate as cert-manager's own tool does, and waits until the new one was seen at \
every proxy and every load balancer address. What it waits for goes to standard error, the table to \
standard output. Ends with 0 when all are served (or used by no gateway), with 1 when one failed or \
was not served in time.

Examples:
  gatewright rotate shop -n istio-system
  gatewright rotate --all --all-namespaces --timeout 10m
  gatewright rotate --due --all-namespaces -o json";

/// Get new certificates now, and wait until they are served everywhere
#[derive(Debug, Args)]
#[command(
    after_help = EXAMPLES,
    group = ArgGroup::new("which").args(["names", "due", "all"]).required(true).multiple(true)
)]
pub(super) struct RotateArgs {
    /// Certificates to rotate
    #[arg(value_name = "NAME", conflicts_with = "all")]
    names: Vec<String>,

    /// Every Certificate of the namespace
    #[arg(long)]
    all: bool,

    /// Only those whose renewal is due
    #[arg(long)]
    due: bool,

    /// Namespace of the Certificates [default: that of the kubeconfig's context]
    #[arg(long, short, value_name = "NAME")]
    namespace: Option<String>,

    /// Certificates of all namespaces
    #[arg(long, short = 'A', conflicts_with = "namespace")]
    all_namespaces: bool,

    /// How long all of it may take
    #[arg(long, value_name = "DURATION", default_value = "5m")]
    timeout: Span,

    /// How the result is printed
    #[arg(long, short, value_name = "FORMAT", value_enum, default_value_t = Format::Table)]
    output: Format,

    #[command(flatten)]
    cluster: ClusterArgs,
}

impl RotateArgs {
    /// The namespace that is looked at; nothing for all.
    fn scope(&self, cluster: &Cluster) -> Option<String> {
        if self.all_namespaces {
            return None;
        }
        Some(
            self.namespace
                .clone()
                .unwrap_or_else(|| cluster.namespace.clone()),
        )
    }
}

pub(super) async fn run(args: &RotateArgs) -> anyhow::Result<ExitCode> {
    let clock = Clock::system();
    let cluster = args.cluster.connect().await?;
    let scope = args.scope(&cluster);
    let place = scope
        .as_deref()
        .map_or_else(|| "any namespace".to_owned(), |n| format!("namespace {n}"));
    let every: Api<Certificate> = Api::all(cluster.client.clone());
    let api = match &scope {
        Some(namespace) => Api::namespaced(cluster.client.clone(), namespace),
        None => every.clone(),
    };
    let mut held = api
        .list(&ListParams::default())
        .await
        .context("reading Certificates")?
        .items;
    held.sort_by_key(|certificate| (certificate.namespace(), certificate.name_any()));
    if let Some(missing) = args
        .names
        .iter()
        .find(|name| !held.iter().any(|c| c.name_any() == **name))
    {
        // A list over all namespaces may be forbidden; then there is no hint to give.
        let elsewhere = every
            .list(&ListParams::default())
            .await
            .map(|list| list.items);
        let elsewhere = elsewhere.unwrap_or_default();
        match elsewhere
            .iter()
            .find(|certificate| certificate.name_any() == *missing)
        {
            Some(found) => bail!(
                "Certificate {missing} is not in {place} but in namespace {}: add -n {0}",
                found.namespace().unwrap_or_default()
            ),
            None => bail!("Certificate {missing} is not in {place}"),
        }
    }
    if held.is_empty() && !args.due {
        bail!(
            "no Certificate in {place}{}",
            if scope.is_some() {
                "; -A looks in all"
            } else {
                ""
            }
        );
    }
    let now = clock.now();
    held.retain(|certificate| {
        let named = args.names.is_empty() || args.names.contains(&certificate.name_any());
        named && (!args.due || is_due(certificate, now))
    });
    if held.is_empty() {
        output::remark(format_args!("no Certificate in {place} is due"));
    }
    let limit = args.timeout.get();
    let told = &mut |text| output::progress(text);
    let outcomes = rotate(&cluster.client, scope.as_deref(), held, limit, clock, told).await?;
    match args.output {
        Format::Table if outcomes.is_empty() => {}
        Format::Table => Output.text(in_a_table(&outcomes))?,
        Format::Json => Output.line(serde_json::to_string_pretty(&outcomes)?)?,
    }
    let failed = outcomes.iter().any(|outcome| !outcome.is_good());
    Ok(if failed {
        ExitCode::from(FAILED)
    } else {
        ExitCode::SUCCESS
    })
}

fn in_a_table(outcomes: &[Outcome]) -> String {
    let mut table = table(&[
        "CERTIFICATE",
        "RESULT",
        "OLD",
        "NEW",
        "EXPIRES",
        "SERVED AT",
        "SECONDS",
    ]);
    let mut missing = Vec::new();
    for outcome in outcomes {
        let (result, served) = match &outcome.ended {
            Ended::Served {
                places: Some(places),
            } => ("served", format!("{places} places")),
            Ended::Served { places: None } => ("served", "everywhere".to_owned()),
            Ended::NotReferenced => ("issued", "no gateway uses it".to_owned()),
            Ended::Failed { why } => {
                missing.push((outcome, why));
                ("failed", String::new())
            }
            Ended::TimedOut { waiting_for } => {
                missing.push((outcome, waiting_for));
                ("timed out", String::new())
            }
        };
        table.add_row([
            outcome.to_string(),
            result.to_owned(),
            short(outcome.old_serial.as_deref()),
            short(outcome.new_serial.as_deref()),
            outcome.expires.map(|at| at.to_string()).unwrap_or_default(),
            served,
            format!("{:.1}", outcome.seconds),
        ]);
    }
    let mut text = format!("{}\n", table.trim_fmt());
    for (outcome, why) in missing {
        let verb = if matches!(outcome.ended, Ended::Failed { .. }) {
            "failed"
        } else {
            "waits for"
        };
        // Writing to a String cannot fail.
        writeln!(text, "{outcome} {verb}: {why}").ok();
    }
    text
}

/// The first characters of a serial, enough to tell two apart; JSON has all of it.
fn short(serial: Option<&str>) -> String {
    const SHOWN: usize = 10;
    match serial {
        None => "none".to_owned(),
        Some(serial) if serial.len() > SHOWN + 2 => {
            format!("{}..", serial.get(..SHOWN).unwrap_or(serial))
        }
        Some(serial) => serial.to_owned(),
    }
}

#[cfg(test)]
mod tests;
