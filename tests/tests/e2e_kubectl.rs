//! A person with the real kubectl in front of a running gateway.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed step is a failed test"
)]

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use gatewright_tests::{EXAMPLES, Rig};
use local_kube::Access;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;

const LIMIT: Duration = Duration::from_mins(1);
const QUICKSTART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/quickstart");

struct Kubectl {
    rig: Rig,
    program: PathBuf,
    home: PathBuf,
}

impl Kubectl {
    /// The quickstart, served, with a kubeconfig.
    async fn start() -> Self {
        let program = gatewright_tests::envoy().with_file_name("kubectl");
        assert!(
            program.exists(),
            "no kubectl at {}: run `cargo xtask tools`",
            program.display()
        );
        let rig = Rig::quickstart().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let access = Access::generate().unwrap();
        let home = rig.directory.join("home");
        std::fs::create_dir_all(&home).unwrap();
        let kubeconfig = rig
            .laptop
            .kube
            .kubeconfig(listener.local_addr().unwrap(), &access);
        std::fs::write(home.join("config"), kubeconfig).unwrap();
        let kube = rig.laptop.kube.clone();
        rig.laptop.tasks.spawn("api-server", async move {
            kube.serve(listener, access).await.unwrap();
        });
        Self { rig, program, home }
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(line.split_whitespace())
            .env_clear()
            .env("HOME", &self.home)
            .env("KUBECONFIG", self.home.join("config"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Whether it succeeded, and all that it printed.
    async fn try_run(&self, line: &str, input: &str) -> (bool, String) {
        let run = async {
            let mut child = self.command(line).spawn().unwrap();
            let mut stdin = child.stdin.take().unwrap();
            stdin.write_all(input.as_bytes()).await.unwrap();
            drop(stdin);
            child.wait_with_output().await.unwrap()
        };
        let output = self.rig.laptop.clock.timeout(LIMIT, run).await;
        let output = output.unwrap_or_else(|_| panic!("kubectl {line} did not end in {LIMIT:?}"));
        let mut text = String::from_utf8(output.stdout).unwrap();
        text.push_str(&String::from_utf8(output.stderr).unwrap());
        (output.status.success(), text)
    }

    async fn run(&self, line: &str) -> String {
        self.feed(line, "").await
    }

    async fn feed(&self, line: &str, input: &str) -> String {
        let (good, text) = self.try_run(line, input).await;
        assert!(good, "kubectl {line}: {text}");
        text
    }

    async fn refused(&self, line: &str, input: &str) -> String {
        let (good, text) = self.try_run(line, input).await;
        assert!(!good, "kubectl {line} was not refused: {text}");
        text
    }

    /// Runs `line` until it prints `wanted`.
    async fn until(&self, line: &str, wanted: &str) {
        let printed = || async {
            let (_, text) = self.try_run(line, "").await;
            text.contains(wanted).then_some(())
        };
        let what = format!("kubectl {line}: {wanted}");
        self.rig.wait(&what, LIMIT, printed).await;
    }
}

fn assert_columns(table: &str, columns: &[&str]) {
    let header: Vec<&str> = table
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    assert_eq!(header, columns, "{table}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_reads_a_running_gateway() {
    let kubectl = Kubectl::start().await;
    let table = kubectl.run("get istiogateways -n istio-system").await;
    assert_columns(
        &table,
        &[
            "NAME",
            "TYPE",
            "REPLICAS",
            "AVAILABLE",
            "ADDRESS",
            "READY",
            "AGE",
        ],
    );
    let row: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(
        (row[0], row[1], row[2], row[3], row[5]),
        ("ingressgateway", "ingress", "2", "2", "True"),
        "{table}"
    );
    let table = kubectl.run("get certificates -n istio-system").await;
    assert_columns(&table, &["NAME", "READY", "SECRET", "AGE"]);
    assert!(table.contains("shop   True    shop-tls"), "{table}");
    let table = kubectl.run("get services -n istio-system").await;
    let address = kubectl.rig.addresses(443).await[0].ip().to_string();
    assert!(
        table.contains("LoadBalancer") && table.contains(&address),
        "{table}"
    );
    let table = kubectl.run("get pods -n istio-system").await;
    assert_columns(&table, &["NAME", "READY", "STATUS", "RESTARTS", "AGE"]);
    assert_eq!(table.matches("Running").count(), 2, "{table}");
    let all = kubectl
        .run("get gateways.networking.istio.io,virtualservices,issuers,deployments -A")
        .await;
    for name in [
        "gateway.networking.istio.io/shop",
        "virtualservice.networking.istio.io/shop",
        "issuer.cert-manager.io/acme",
        "deployment.apps/hello",
    ] {
        assert!(all.contains(name), "{all}");
    }

    let text = kubectl
        .run("describe istiogateway ingressgateway -n istio-system")
        .await;
    for part in ["Replica Count:", "Kind:         IstioGateway", "Events:"] {
        assert!(text.contains(part), "{text}");
    }
    let text = kubectl
        .run("describe certificate shop -n istio-system")
        .await;
    for part in [
        "Dns Names:",
        "www.shop.example.com",
        "Issued",
        "SeenEverywhere",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert!(
        !text.contains("Events:  <none>") && !text.contains("PRIVATE KEY"),
        "{text}"
    );
    let text = kubectl.run("explain istiogateway.spec.replicaCount").await;
    assert!(
        text.contains("FIELD: replicaCount <integer>") && text.contains("DESCRIPTION:"),
        "{text}"
    );

    let line = "get istiogateway ingressgateway -n istio-system -L seen -w";
    let mut watching = kubectl.command(line).spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let seen = async {
        // The header and the state at the start come first.
        for _ in 0..2 {
            lines.next_line().await.unwrap().unwrap();
        }
        kubectl
            .run("label istiogateway ingressgateway -n istio-system seen=today")
            .await;
        while !lines.next_line().await.unwrap().unwrap().contains("today") {}
    };
    kubectl.rig.laptop.clock.timeout(LIMIT, seen).await.unwrap();
    watching.kill().await.unwrap();
    kubectl.rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_changes_and_deletes_a_running_gateway() {
    let kubectl = Kubectl::start().await;
    // The objects exist: applied again, nothing breaks.
    let text = kubectl.run(&format!("apply -f {QUICKSTART}")).await;
    assert_eq!(text.matches(" configured").count(), 8, "{text}");
    let generation =
        "get istiogateway ingressgateway -n istio-system -o jsonpath={.metadata.generation}";
    let before = kubectl.run(generation).await;
    let text = kubectl.run(&format!("apply -f {QUICKSTART}")).await;
    // kubectl sends the gateway's ports again, because the list that the server holds has defaults
    // in it; nothing changes by that.
    assert_eq!(text.matches(" unchanged").count(), 7, "{text}");
    assert_eq!(kubectl.run(generation).await, before);
    let line = "apply --server-side --force-conflicts --field-manager=someone -f -";
    let text = kubectl.feed(line, EXAMPLES[5]).await;
    assert!(text.contains("shop serverside-applied"), "{text}");

    let extra = EXAMPLES[3]
        .replace("name: shop\n", "name: extra\n")
        .replace("shop-tls", "extra-tls")
        .replace("    - shop.example.com\n", "");
    let text = kubectl.feed("create -f -", &extra).await;
    assert!(
        text.contains("certificate.cert-manager.io/extra created"),
        "{text}"
    );
    let text = kubectl.refused("create -f -", &extra).await;
    assert!(text.contains("(AlreadyExists)"), "{text}");
    kubectl
        .run("wait --for=condition=Ready certificate/extra -n istio-system --timeout=40s")
        .await;
    let text = kubectl
        .run("delete certificate extra -n istio-system")
        .await;
    assert!(text.contains("deleted"), "{text}");

    kubectl
        .run(
            "patch istiogateway ingressgateway -n istio-system --type=merge \
             -p {\"spec\":{\"serviceLabels\":{\"team\":\"edge\"}}}",
        )
        .await;
    kubectl
        .until(
            "get service istio-ingressgateway -n istio-system -o jsonpath={.metadata.labels.team}",
            "edge",
        )
        .await;
    kubectl
        .run(
            "patch virtualservice shop -n istio-system --type=json -p \
             [{\"op\":\"add\",\"path\":\"/spec/hosts/-\",\"value\":\"m.shop.example.com\"}]",
        )
        .await;
    let hosts = "get virtualservice shop -n istio-system -o jsonpath={.spec.hosts[2]}";
    assert_eq!(kubectl.run(hosts).await, "m.shop.example.com");
    // A strategic patch merges the list of containers by name.
    kubectl
        .run(
            "patch deployment hello -p {\"spec\":{\"template\":{\"spec\":{\"containers\":\
             [{\"name\":\"hello\",\"env\":[{\"name\":\"A\",\"value\":\"b\"}]}]}}}}",
        )
        .await;
    let container = "get deployment hello -o \
                     jsonpath={.spec.template.spec.containers[*].image}{.spec.template.spec.containers[0].env[0].value}";
    assert_eq!(
        kubectl.run(container).await,
        "gatewright.dev/sample-backend:1b"
    );
    kubectl
        .run("label certificate shop -n istio-system colour=red")
        .await;
    kubectl
        .run("annotate certificate shop -n istio-system note=x")
        .await;
    let text = kubectl
        .run("get certificates -A -l colour=red -o jsonpath={.items[*].metadata.annotations.note}")
        .await;
    assert_eq!(text, "x");

    let unknown = EXAMPLES[0].replace("replicaCount: 2", "replicaCounts: 2");
    let text = kubectl.refused("apply -f -", &unknown).await;
    assert!(text.contains("spec.replicaCounts"), "{text}");
    let bad = EXAMPLES[0].replace("port: 443", "port: 70000");
    let text = kubectl.refused("apply -f -", &bad).await;
    assert!(
        text.contains("spec.ports[1].port") && text.contains("65535"),
        "{text}"
    );

    let text = kubectl.run(&format!("delete -f {QUICKSTART}")).await;
    assert_eq!(text.matches(" deleted").count(), 8, "{text}");
    let cloud = kubectl
        .rig
        .laptop
        .cloud
        .wait_for(LIMIT, mock_cloud::Inventory::is_empty)
        .await;
    assert!(cloud.is_ok(), "{:#?}", kubectl.rig.laptop.cloud.inventory());
    let gone = || async { kubectl.rig.proxies().await.is_empty().then_some(()) };
    kubectl.rig.wait("no proxies", LIMIT, gone).await;
    kubectl.rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_rolls_out_and_back() {
    let kubectl = Kubectl::start().await;
    let rolled_out = async || {
        let text = kubectl
            .run("rollout status deployment hello --timeout=50s")
            .await;
        assert!(text.contains("successfully rolled out"), "{text}");
    };
    let sets = async || -> Vec<String> {
        let text = kubectl.run("get rs -o name").await;
        text.lines().map(str::to_owned).collect()
    };
    rolled_out().await;
    let first = sets().await;
    assert_eq!(first.len(), 1, "{first:?}");

    kubectl.run("set env deployment/hello MODE=second").await;
    rolled_out().await;
    let second = sets().await;
    assert_eq!(second.len(), 2, "{second:?}");
    let text = kubectl.run("rollout history deployment hello").await;
    let revisions = |text: &str| -> Vec<String> {
        let lines = text
            .lines()
            .filter_map(|line| line.split_whitespace().next());
        let numbers = lines.filter(|word| word.parse::<u64>().is_ok());
        numbers.map(str::to_owned).collect()
    };
    assert_eq!(revisions(&text), ["1", "2"], "{text}");
    let text = kubectl
        .run("rollout history deployment hello --revision=2")
        .await;
    assert!(text.contains("MODE:") && text.contains("second"), "{text}");

    // Back to the first template: its set has the Pods again and is the newest revision.
    kubectl.run("rollout undo deployment hello").await;
    rolled_out().await;
    let mode = "get deployment hello -o jsonpath={.spec.template.spec.containers[0].env}";
    assert_eq!(kubectl.run(mode).await, "");
    assert_eq!(sets().await, second);
    let text = kubectl.run("rollout history deployment hello").await;
    assert_eq!(revisions(&text), ["2", "3"], "{text}");
    let table = kubectl.run(&format!("get {} --no-headers", first[0])).await;
    let counts: Vec<&str> = table.split_whitespace().skip(1).take(3).collect();
    assert!(
        counts[0] != "0" && counts.iter().all(|n| *n == counts[0]),
        "{table}"
    );
    let text = kubectl.run("describe deployment hello").await;
    let name = first[0].rsplit('/').next().unwrap();
    assert!(
        text.contains(&format!("NewReplicaSet:   {name} (")),
        "{text}"
    );
    let owners = kubectl
        .run("get pods -o jsonpath={.items[*].metadata.ownerReferences[*].name}")
        .await;
    assert!(
        !owners.is_empty() && owners.split_whitespace().all(|owner| owner == name),
        "{owners}"
    );

    kubectl.run("rollout restart deployment hello").await;
    rolled_out().await;
    assert_eq!(sets().await.len(), 3);
    kubectl
        .run("patch deployment hello --type=merge -p {\"spec\":{\"revisionHistoryLimit\":1}}")
        .await;
    let forgotten = || async { (sets().await.len() == 2).then_some(()) };
    kubectl.rig.wait("two replica sets", LIMIT, forgotten).await;
    kubectl.run("delete deployment hello").await;
    kubectl.until("get rs,pods", "No resources found").await;
    kubectl.rig.stop().await;
}
