//! The real kubectl on the embedded server, over HTTPS.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "these are tests"
)]

#[path = "kubectl/forms.rs"]
mod forms;
#[path = "kubectl/server.rs"]
mod server;

use gatewright_seams::Clock;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use server::{LIMIT, Server};

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
";

const DEFINITION: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, kind: Widget, shortNames: [wg]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.size, statusReplicasPath: .status.size}
    additionalPrinterColumns:
    - {name: Size, type: integer, jsonPath: .spec.size}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            description: What is wanted.
            required: [size]
            properties:
              size: {type: integer, minimum: 1, description: How big.}
          status: {type: object, properties: {size: {type: integer}}}
";

const WIDGET: &str = "
apiVersion: example.com/v1
kind: Widget
metadata: {name: w}
spec: {size: 3}
";

#[tokio::test]
async fn kubectl_creates_reads_changes_and_deletes_built_in_kinds() {
    let server = Server::start("builtin").await;
    assert_eq!(
        server.run_with("create -f -", SERVICE).await,
        "service/web created\n"
    );
    assert_eq!(
        server.fail_with("create -f -", SERVICE).await,
        "Error from server (AlreadyExists): error when creating \"STDIN\": services \"web\" already \
         exists\n"
    );
    let table = server.run("get service web").await;
    assert!(
        table.starts_with("NAME   TYPE        CLUSTER-IP"),
        "{table}"
    );
    server.run("create namespace space").await;
    server
        .run("create secret generic s --from-literal=a=b -n space")
        .await;
    server.run("create configmap c --from-literal=a=b").await;
    server
        .run("create deployment d --image=i --replicas=2")
        .await;
    let all = server.run("get secret,configmap,deployment -A").await;
    for line in ["secret/s", "configmap/c", "deployment.apps/d"] {
        assert!(all.contains(line), "{all}");
    }
    let patch = "patch service web -p {\"spec\":{\"ports\":[{\"port\":81,\"name\":\"b\"}]}}";
    let refused = server.fail_with(patch, "").await;
    assert!(
        refused.contains("spec.ports[0].name: Required value"),
        "{refused}"
    );
    server
        .run("patch service web --type=merge -p {\"spec\":{\"sessionAffinity\":\"ClientIP\"}}")
        .await;
    let json = "patch service web --type=json -p \
                [{\"op\":\"replace\",\"path\":\"/spec/ports/0/port\",\"value\":90}]";
    server.run(json).await;
    assert_eq!(
        server
            .run("get service web -o jsonpath={.spec.ports[0].port}")
            .await,
        "90"
    );
    server
        .run("patch deployment d -p {\"spec\":{\"replicas\":4}}")
        .await;
    server.run("scale deployment d --replicas=5").await;
    assert_eq!(
        server
            .run("get deployment d -o jsonpath={.spec.replicas}")
            .await,
        "5"
    );
    server.run("label service web colour=red").await;
    server.run("annotate service web note=x").await;
    assert!(
        server
            .run("get service -l colour=red -o name")
            .await
            .contains("service/web")
    );
    let described = server.run("describe deployment d").await;
    assert!(
        described.contains("Replicas:               5 desired"),
        "{described}"
    );
    server.run("delete service web").await;
    server.run("delete namespace space").await;
    let missing = server.fail_with("get service web", "").await;
    assert_eq!(
        missing,
        "Error from server (NotFound): services \"web\" not found\n"
    );
    server.stop().await;
}

#[tokio::test]
async fn kubectl_applies_both_ways_and_shows_conflicts() {
    let server = Server::start("apply").await;
    assert_eq!(
        server.run_with("apply -f -", SERVICE).await,
        "service/web created\n"
    );
    assert_eq!(
        server.run_with("apply -f -", SERVICE).await,
        "service/web unchanged\n"
    );
    let changed = SERVICE.replace("app: web", "app: other");
    assert_eq!(
        server.run_with("apply -f -", &changed).await,
        "service/web configured\n"
    );
    let conflict = server
        .fail_with("apply --server-side --field-manager=other -f -", SERVICE)
        .await;
    assert!(
        conflict.contains(
            "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using v1"
        ) && conflict.contains(": .spec.selector"),
        "{conflict}"
    );
    let forced = "apply --server-side --force-conflicts --field-manager=other -f -";
    assert_eq!(
        server.run_with(forced, SERVICE).await,
        "service/web serverside-applied\n"
    );
    assert_eq!(
        server
            .run("get service web -o jsonpath={.spec.selector.app}")
            .await,
        "web"
    );
    server.stop().await;
}

#[tokio::test]
async fn kubectl_knows_custom_kinds_at_once() {
    let server = Server::start("custom").await;
    server.run_with("apply -f -", DEFINITION).await;
    server
        .run("wait --for=condition=Established crd/widgets.example.com --timeout=10s")
        .await;
    assert!(server.run("api-resources").await.contains("widgets"));
    server.run_with("apply -f -", WIDGET).await;
    let table = server.run("get wg").await;
    assert_eq!(table, "NAME   SIZE\nw      3\n");
    let explained = server.run("explain widget.spec").await;
    assert!(explained.contains("How big."), "{explained}");
    server.run("scale widget/w --replicas=9").await;
    assert_eq!(server.run("get wg w -o jsonpath={.spec.size}").await, "9");
    server
        .run("wait --for=jsonpath={.spec.size}=9 widget/w --timeout=10s")
        .await;
    let unknown = WIDGET
        .replace("name: w", "name: x")
        .replace("size: 3", "size: 3, colour: red");
    assert_eq!(
        server.fail_with("create -f -", &unknown).await,
        "Error from server (BadRequest): error when creating \"STDIN\": Widget in version \"v1\" \
         cannot be handled as a Widget: strict decoding error: unknown field \"spec.colour\"\n"
    );
    let bad = WIDGET
        .replace("name: w", "name: x")
        .replace("size: 3", "size: 0");
    assert_eq!(
        server.fail_with("create -f -", &bad).await,
        "The Widget \"x\" is invalid: spec.size: Invalid value: 0: spec.size in body should be \
         greater than or equal to 1\n"
    );
    server.run("delete crd widgets.example.com").await;
    assert!(server.fail_with("get wg", "").await.contains("server"));
    server.stop().await;
}

#[tokio::test]
async fn kubectl_get_watch_shows_changes_as_they_come() {
    let server = Server::start("watch").await;
    server.run("create configmap one").await;
    let mut child = server
        .command(&["get", "configmap", "-w", "--no-headers"])
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let clock = Clock::system();
    let mut line = async || {
        let next = clock
            .timeout(LIMIT, lines.next_line())
            .await
            .expect("no line came");
        next.unwrap().unwrap()
    };
    assert!(line().await.starts_with("one"));
    server.run("create configmap two --from-literal=a=b").await;
    assert!(line().await.starts_with("two   1"));
    child.kill().await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn kubectl_refuses_unknown_fields_of_built_in_kinds_and_runs_dry() {
    let server = Server::start("strict").await;
    let unknown = SERVICE.replace("spec: {", "spec: {colour: red, ");
    assert_eq!(
        server.fail_with("create -f -", &unknown).await,
        "Error from server (BadRequest): error when creating \"STDIN\": Service in version \"v1\" \
         cannot be handled as a Service: strict decoding error: unknown field \"spec.colour\"\n"
    );
    let warned = server
        .feed(&["create", "--validate=warn", "-f", "-"], &unknown)
        .await;
    assert!(
        warned.ok
            && warned
                .err
                .contains("Warning: unknown field \"spec.colour\"")
    );
    server.run("create configmap dry --dry-run=server").await;
    assert!(
        server
            .fail_with("get configmap dry", "")
            .await
            .contains("not found")
    );
    assert_eq!(server.run("auth can-i create pods").await, "yes\n");
    server.stop().await;
}
