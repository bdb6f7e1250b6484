//! `gatewright plan`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use gatewright_core::{LoadBalancers, Observed, OwnerKey, Plan, plan};
use gatewright_seams::{Clock, Random, Tasks};
use http::Uri;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt as _;
use kube::api::Api;
use serde::Serialize;

use super::cluster::ClusterArgs;
use super::manifests::{self, Manifest};
use super::output::{Output, remark};
use super::run::Cloud;
use super::{CHANGES, FAILED};
use crate::gateway::service_of;
use crate::kubernetes::optional;
use crate::load_balancer::{LOAD_BALANCER_CLASS, desired};
use crate::settings::credentials;

/// What a plan says when the load balancer was read.
const CLOUD: &str = "cloud";
/// Stands for the UID of a Service that does not exist yet.
const NO_UID: &str = "UID";
/// How IstioGateways and Services that name none are read.
const DEFAULT_NAMESPACE: &str = "default";

const EXAMPLES: &str = "\
Reads Services of class gatewright.dev/clb and IstioGateways; other objects are passed over. With an \
access key in the environment and a Service that exists in the cluster, its load balancer is read \
from the cloud; without, it is taken as absent. Nothing is written anywhere. Backends follow the \
Pods, not the files, so they are not part of a plan.

Examples:
  gatewright plan -f examples/quickstart
  gatewright plan -f gateway.yaml -o json | jq '.[].plan.steps[].action'
  gatewright plan -f gateway.yaml --detailed-exitcode || echo 'something to change, or an error'";

/// Print what would change in the cloud, as steps with their reasons
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct PlanArgs {
    /// File or directory of Kubernetes objects (*.yaml, *.yml, *.json); may be given several times
    #[arg(long = "filename", short, value_name = "PATH", required = true)]
    files: Vec<PathBuf>,

    /// How the plans are printed
    #[arg(long, short, value_name = "FORMAT", value_enum, default_value_t = PlanFormat::Text)]
    output: PlanFormat,

    /// Exit with 3 when there is something to change
    #[arg(long)]
    detailed_exitcode: bool,

    #[command(flatten)]
    cluster: ClusterArgs,

    /// Region of the load balancers
    #[arg(
        long,
        help_heading = "Alibaba Cloud",
        value_name = "ID",
        default_value = "cn-hangzhou"
    )]
    region: String,

    /// URL of the load balancer API [default: the product's own in the region]
    #[arg(long, help_heading = "Alibaba Cloud", value_name = "URL")]
    cloud_endpoint: Option<Uri>,

    /// Name of this cluster, which load balancers are tagged with
    #[arg(
        long,
        help_heading = "Alibaba Cloud",
        value_name = "NAME",
        default_value = "default"
    )]
    cluster_name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PlanFormat {
    /// For people: one line a step
    Text,
    /// A JSON list with a plan for each Service
    Json,
}

/// The plan of one Service.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Planned {
    namespace: String,
    service: String,
    /// `cloud`, or why the load balancer is taken as absent.
    observed: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<Plan>,
    /// Annotations that are there and not acted on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ignored: Vec<String>,
    /// What cannot be honoured; then there is no plan.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    invalid: Vec<String>,
}

pub(super) async fn run(args: &PlanArgs, tasks: Tasks) -> anyhow::Result<ExitCode> {
    let services = read_services(&args.files)?;
    if services.is_empty() {
        bail!("no Service of class {LOAD_BALANCER_CLASS} and no IstioGateway that makes one");
    }
    let clock = Clock::system();
    let world = World::reach(args, clock, &tasks).await?;
    let mut planned = Vec::new();
    for service in services {
        let (service, observed) = world.observe(service).await?;
        planned.push(plan_of(&service, observed, clock.now()));
    }
    match args.output {
        PlanFormat::Text => Output.text(in_words(&planned))?,
        PlanFormat::Json => Output.line(serde_json::to_string_pretty(&planned)?)?,
    }
    let invalid = planned.iter().any(|planned| planned.plan.is_none());
    let changes = planned
        .iter()
        .flat_map(|planned| &planned.plan)
        .any(|plan| !plan.is_empty());
    Ok(if invalid {
        ExitCode::from(FAILED)
    } else if changes && args.detailed_exitcode {
        ExitCode::from(CHANGES)
    } else {
        ExitCode::SUCCESS
    })
}

/// The Services that the files ask a load balancer for, in the order of the files.
fn read_services(paths: &[PathBuf]) -> anyhow::Result<Vec<Service>> {
    let mut services = Vec::new();
    for path in paths {
        for file in manifests::files(path)? {
            let text = std::fs::read_to_string(&file)
                .with_context(|| format!("reading {}", file.display()))?;
            for manifest in manifests::manifests(&file.display().to_string(), &text)? {
                let mut service = match manifest {
                    Manifest::Service(service) => *service,
                    Manifest::Gateway(mut gateway) => {
                        gateway
                            .metadata
                            .namespace
                            .get_or_insert_with(|| DEFAULT_NAMESPACE.to_owned());
                        service_of(&gateway)
                    }
                };
                service
                    .metadata
                    .namespace
                    .get_or_insert_with(|| DEFAULT_NAMESPACE.to_owned());
                if asks_for_load_balancer(&service) {
                    services.push(service);
                }
            }
        }
    }
    Ok(services)
}

fn asks_for_load_balancer(service: &Service) -> bool {
    service.spec.as_ref().is_some_and(|spec| {
        spec.type_.as_deref() == Some("LoadBalancer")
            && spec.load_balancer_class.as_deref() == Some(LOAD_BALANCER_CLASS)
    })
}

/// What is known of a load balancer, and from where.
type Known = (Observed, String);

/// Where load balancers are looked up.
struct World {
    cloud: Option<Arc<dyn LoadBalancers>>,
    kube: Option<kube::Client>,
    /// Why nothing is looked up.
    absent: &'static str,
    /// What load balancers are tagged with.
    cluster: String,
}

impl World {
    async fn reach(args: &PlanArgs, clock: Clock, tasks: &Tasks) -> anyhow::Result<Self> {
        let cluster = args.cluster_name.clone();
        let none = |absent| Self {
            cloud: None,
            kube: None,
            absent,
            cluster: cluster.clone(),
        };
        let Some(key) = credentials(|name| std::env::var(name).ok())? else {
            return Ok(none("taken as absent: no access key in the environment"));
        };
        let kube = match args.cluster.connect().await {
            Ok(cluster) => cluster.client,
            Err(error) if args.cluster.is_given() => return Err(error),
            Err(error) => {
                remark(format_args!("{error:#}"));
                return Ok(none(
                    "taken as absent: no cluster to look the Service up in",
                ));
            }
        };
        let cloud = Cloud {
            region: &args.region,
            endpoint: args.cloud_endpoint.as_ref(),
            cluster: &args.cluster_name,
        };
        let cloud = cloud.open(key, clock, Random::system(), tasks)?;
        Ok(Self {
            cloud: Some(cloud),
            kube: Some(kube),
            absent: "absent: the Service does not exist in the cluster",
            cluster: args.cluster_name.clone(),
        })
    }

    /// `service` with the UID that it has in the cluster, and its load balancer.
    async fn observe(&self, mut service: Service) -> anyhow::Result<(Service, Known)> {
        let held = match &self.kube {
            None => None,
            Some(kube) => {
                let namespace = service.namespace().unwrap_or_default();
                let api: Api<Service> = Api::namespaced(kube.clone(), &namespace);
                let name = service.name_any();
                optional(api.get(&name).await)
                    .with_context(|| format!("reading Service {namespace}/{name}"))?
            }
        };
        service.metadata.uid = Some(NO_UID.to_owned());
        let (Some(cloud), Some(uid)) = (&self.cloud, held.and_then(|held| held.metadata.uid))
        else {
            let observed = Observed::absent(OwnerKey::new(NO_UID));
            return Ok((service, (observed, self.absent.to_owned())));
        };
        let owner = OwnerKey::new(&uid);
        service.metadata.uid = Some(uid);
        let observed = cloud
            .observe(&owner)
            .await
            .with_context(|| format!("reading the load balancer of {}", service.name_any()))?;
        let source = match observed.load_balancer {
            Some(_) => CLOUD.to_owned(),
            None => format!(
                "absent: the cloud has none for it in cluster {}",
                self.cluster
            ),
        };
        Ok((service, (observed, source)))
    }
}

fn plan_of(service: &Service, (observed, source): Known, now: Timestamp) -> Planned {
    let mut planned = Planned {
        namespace: service.namespace().unwrap_or_default(),
        service: service.name_any(),
        observed: source,
        plan: None,
        ignored: Vec::new(),
        invalid: Vec::new(),
    };
    // Without endpoints the plan neither adds nor removes backends.
    match desired(service, None, &|_| None) {
        Ok((desired, ignored)) => {
            planned.plan = Some(plan(Some(&desired), &observed, now));
            planned.ignored = ignored;
        }
        Err(invalid) => planned.invalid = invalid.iter().map(ToString::to_string).collect(),
    }
    planned
}

fn in_words(planned: &[Planned]) -> String {
    let mut text = String::new();
    for one in planned {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&format_one(one));
    }
    let steps: usize = planned
        .iter()
        .flat_map(|one| &one.plan)
        .map(|plan| plan.steps.len())
        .sum();
    let wrong = planned.iter().filter(|one| one.plan.is_none()).count();
    let services = planned.len();
    let rest = if wrong > 0 {
        format!(", {wrong} without a plan")
    } else {
        String::new()
    };
    // Writing to a String cannot fail.
    writeln!(text, "\n{services} load balancers, {steps} steps{rest}").ok();
    if text.contains(&format!("/{NO_UID}/")) {
        writeln!(
            text,
            "{NO_UID} stands for the UID that the Service gets when it is made"
        )
        .ok();
    }
    text
}

fn format_one(one: &Planned) -> String {
    let mut text = format!("Service {}/{} (load balancer ", one.namespace, one.service);
    let source = if one.observed == CLOUD {
        "read from the cloud"
    } else {
        &one.observed
    };
    writeln!(text, "{source})").ok();
    let plan = one
        .plan
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    let invalid = one
        .invalid
        .iter()
        .map(|problem| format!("invalid: {problem}"));
    let ignored = one
        .ignored
        .iter()
        .map(|annotation| format!("not acted on: {annotation}"));
    for line in invalid
        .chain(plan.lines().map(str::to_owned))
        .chain(ignored)
    {
        writeln!(text, "  {line}").ok();
    }
    text
}

#[cfg(test)]
mod tests;
