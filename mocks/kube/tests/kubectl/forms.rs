//! The forms of each command.

use std::os::unix::fs::PermissionsExt as _;

use super::server::Server;

/// Some ConfigMaps, each with a label and a value.
fn maps(all: &[(&str, &str, &str)]) -> String {
    let one = |(name, tier, value): &(&str, &str, &str)| {
        format!(
            "---\napiVersion: v1\nkind: ConfigMap\n\
             metadata: {{name: {name}, labels: {{tier: {tier}}}}}\ndata: {{value: \"{value}\"}}\n"
        )
    };
    all.iter().map(one).collect()
}

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: web:1}]}
";

#[tokio::test]
async fn kubectl_gets_in_every_form() {
    let server = Server::start("get").await;
    let all = maps(&[("b", "front", "1"), ("c", "back", "3"), ("a", "back", "2")]);
    server.run_with("create -f -", &all).await;
    let by_label = server.run("get cm -l tier=back -o name").await;
    assert_eq!(by_label, "configmap/a\nconfigmap/c\n");
    let by_set = server
        .run("get cm -l tier,tier!=back --no-headers -o custom-columns=N:.metadata.name")
        .await;
    assert_eq!(by_set, "b\n");
    let by_field = server
        .run("get cm --field-selector metadata.name=c -o name")
        .await;
    assert_eq!(by_field, "configmap/c\n");
    let sorted = server
        .run("get cm --sort-by=.data.value -o custom-columns=NAME:.metadata.name,VALUE:.data.value")
        .await;
    assert_eq!(sorted, "NAME   VALUE\nb      1\na      2\nc      3\n");
    let table = server.run("get cm --sort-by=.data.value -L tier").await;
    let names: Vec<&str> = table
        .lines()
        .map(|line| line.split_whitespace().next().unwrap())
        .collect();
    assert_eq!(names, ["NAME", "b", "a", "c"], "{table}");
    let path = server
        .run("get cm -o jsonpath={range.items[*]}{.metadata.name}={.data.value};{end}")
        .await;
    assert!(path.contains("=1;") || path.contains("b=1"), "{path}");
    let yaml = server.run("get cm a -o yaml").await;
    assert!(
        yaml.starts_with("apiVersion: v1\ndata:\n  value: \"2\"\nkind: ConfigMap\n"),
        "{yaml}"
    );
    let json = server.run("get cm a -o json").await;
    assert!(json.contains("\"value\": \"2\""), "{json}");
    server.run_with("create -f -", DEPLOYMENT).await;
    let wide = server.run("get deployment web -o wide").await;
    assert!(
        wide.starts_with("NAME   READY   UP-TO-DATE   AVAILABLE   AGE"),
        "{wide}"
    );
    assert!(
        wide.contains("CONTAINERS   IMAGES   SELECTOR") && wide.contains("web:1"),
        "{wide}"
    );
    // Pages of one object show all of them.
    let paged = server.run("get cm --chunk-size=1 -o name").await;
    assert_eq!(paged.lines().count(), 3, "{paged}");
    server.stop().await;
}

#[tokio::test]
async fn kubectl_prunes_what_is_applied_no_more() {
    let server = Server::start("prune").await;
    let prune = "apply --prune --prune-allowlist=core/v1/ConfigMap -l tier=x -f -";
    let both = maps(&[("one", "x", "1"), ("two", "x", "1")]);
    server.run_with(prune, &both).await;
    let text = server.run_with(prune, &maps(&[("one", "x", "1")])).await;
    assert_eq!(text, "configmap/one unchanged\nconfigmap/two pruned\n");
    assert_eq!(server.run("get cm -o name").await, "configmap/one\n");
    let text = server
        .run_with("apply --dry-run=server -f -", &maps(&[("one", "x", "2")]))
        .await;
    assert_eq!(text, "configmap/one configured (server dry run)\n");
    let value = server.run("get cm one -o jsonpath={.data.value}").await;
    assert_eq!(value, "1");
    let text = server
        .run_with(
            "apply --server-side --dry-run=server -f -",
            &maps(&[("three", "x", "2")]),
        )
        .await;
    assert_eq!(
        text,
        "configmap/three serverside-applied (server dry run)\n"
    );
    server.fail_with("get cm three", "").await;
    server.stop().await;
}

#[tokio::test]
async fn kubectl_edits_replaces_and_diffs() {
    let server = Server::start("edit").await;
    let made = maps(&[("one", "x", "1")]);
    server.run_with("apply -f -", &made).await;
    let editor = server.home.join("editor");
    std::fs::write(
        &editor,
        "#!/bin/sh\n/bin/sed -i 's/value: \"1\"/value: \"2\"/' \"$1\"\n",
    )
    .unwrap();
    std::fs::set_permissions(&editor, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = server.command(&["edit", "cm", "one"]);
    command.env("KUBE_EDITOR", &editor);
    let edited = server.finish(command, "").await;
    assert!(edited.ok, "{}{}", edited.out, edited.err);
    assert_eq!(edited.out, "configmap/one edited\n");
    let value = "get cm one -o jsonpath={.data.value}";
    assert_eq!(server.run(value).await, "2");
    // 1 is "there are differences".
    let mut command = server.command(&["diff", "-f", "-"]);
    command.env("PATH", "/usr/bin:/bin");
    let difference = server.finish(command, &made).await;
    assert!(
        !difference.ok && difference.err.is_empty(),
        "{}",
        difference.err
    );
    assert!(
        difference
            .out
            .contains("-  value: \"2\"\n+  value: \"1\"\n"),
        "{}",
        difference.out
    );
    let text = server.run_with("replace -f -", &made).await;
    assert_eq!(text, "configmap/one replaced\n");
    assert_eq!(server.run(value).await, "1");
    let uid = "get cm one -o jsonpath={.metadata.uid}";
    let before = server.run(uid).await;
    let text = server.run_with("replace --force -f -", &made).await;
    assert!(text.contains("configmap/one replaced"), "{text}");
    assert_ne!(server.run(uid).await, before);
    let text = server
        .fail_with("replace -f -", &maps(&[("none", "x", "1")]))
        .await;
    assert!(text.contains("(NotFound)"), "{text}");
    server.stop().await;
}

#[tokio::test]
async fn kubectl_deletes_in_every_form() {
    let server = Server::start("delete").await;
    let owned = async |policy: &str| {
        server.run("create configmap owner").await;
        let uid = server.run("get cm owner -o jsonpath={.metadata.uid}").await;
        let dependent = format!(
            "{{apiVersion: v1, kind: Secret, metadata: {{name: owned, ownerReferences: [{{apiVersion: v1, \
             kind: ConfigMap, name: owner, uid: {uid}, blockOwnerDeletion: true}}]}}}}"
        );
        server.run_with("create -f -", &dependent).await;
        let text = server
            .run(&format!("delete cm owner --cascade={policy}"))
            .await;
        assert!(text.starts_with("configmap \"owner\" deleted"), "{text}");
    };
    // kubectl waits until the owner is gone, and that goes after what it owns.
    owned("foreground").await;
    server.fail_with("get secret owned", "").await;
    owned("background").await;
    server
        .run("wait --for=delete secret/owned --timeout=20s")
        .await;
    owned("orphan").await;
    let owners = server
        .run("get secret owned -o jsonpath={.metadata.ownerReferences}")
        .await;
    assert_eq!(owners, "");
    let all = maps(&[("a", "x", "1"), ("b", "x", "1"), ("c", "z", "1")]);
    server.run_with("create -f -", &all).await;
    let text = server.run("delete cm -l tier=x").await;
    assert_eq!(text.matches(" deleted").count(), 2, "{text}");
    let text = server.run("delete cm,secret --all").await;
    assert_eq!(text.matches(" deleted").count(), 2, "{text}");
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: p}, \
               spec: {nodeName: one, containers: [{name: c, image: i}]}}";
    server.run_with("create -f -", pod).await;
    server
        .run("delete pod p --grace-period=7 --wait=false")
        .await;
    let grace = server
        .run("get pod p -o jsonpath={.metadata.deletionGracePeriodSeconds}")
        .await;
    assert_eq!(grace, "7");
    server.run("delete pod p --grace-period=0 --force").await;
    server.fail_with("get pod p", "").await;
    server.stop().await;
}

#[tokio::test]
async fn kubectl_explains_lists_and_tells() {
    let server = Server::start("tell").await;
    let text = server.run("explain deployment.spec --recursive").await;
    assert!(
        text.contains("  revisionHistoryLimit\t<integer>") && text.contains("      maxSurge\t"),
        "{text}"
    );
    let text = server.run("auth can-i --list").await;
    assert!(text.contains("Resources") && text.contains("[*]"), "{text}");
    assert_eq!(server.run("auth can-i delete secrets -A").await, "yes\n");
    let text = server
        .run("api-resources --namespaced=false --verbs=list -o name")
        .await;
    assert!(
        text.contains("namespaces\n") && !text.contains("pods\n"),
        "{text}"
    );
    let event = "{apiVersion: v1, kind: Event, metadata: {name: e}, reason: Done, type: Normal, \
                 message: it is done, involvedObject: {apiVersion: v1, kind: ConfigMap, name: one, \
                 namespace: default}, firstTimestamp: \"2026-01-01T00:00:00Z\", \
                 lastTimestamp: \"2026-01-01T00:00:00Z\", count: 1}";
    server.run_with("create -f -", event).await;
    let text = server.run("events --for configmap/one").await;
    assert!(
        text.starts_with("LAST SEEN") && text.contains("it is done"),
        "{text}"
    );
    let text = server.run("get events").await;
    assert!(
        text.starts_with("LAST SEEN   TYPE     REASON   OBJECT          MESSAGE\n"),
        "{text}"
    );
    server.run("create configmap one --from-literal=a=b").await;
    let text = server.run("describe cm one").await;
    assert!(text.contains("a:\n----\nb\n"), "{text}");
    server.stop().await;
}

#[tokio::test]
async fn kubectl_waits_scales_and_changes_marks() {
    let server = Server::start("marks").await;
    server.run_with("create -f -", DEPLOYMENT).await;
    let text = server.run("scale deployment web --replicas=3").await;
    assert_eq!(text, "deployment.apps/web scaled\n");
    let text = server
        .fail_with("scale deployment web --current-replicas=2 --replicas=5", "")
        .await;
    assert!(text.contains("Expected replicas to be 2, was 3"), "{text}");
    let text = server
        .run("wait --for=jsonpath={.spec.replicas}=3 deployment/web --timeout=20s")
        .await;
    assert_eq!(text, "deployment.apps/web condition met\n");
    let text = server
        .fail_with(
            "wait --for=condition=Available deployment/web --timeout=1s",
            "",
        )
        .await;
    assert!(text.contains("timed out"), "{text}");
    server.run("label deployment web tier=front").await;
    let text = server.fail_with("label deployment web tier=back", "").await;
    assert!(text.contains("already has a value"), "{text}");
    server
        .run("label deployment web tier=back --overwrite")
        .await;
    server.run("label deployment web tier-").await;
    server.run("annotate deployment web note=x").await;
    let marks = server
        .run("get deployment web -o jsonpath={.metadata.labels}{.metadata.annotations.note}")
        .await;
    assert_eq!(marks, "{\"app\":\"web\"}x");
    let text = server.run("rollout restart deployment web").await;
    assert_eq!(text, "deployment.apps/web restarted\n");
    let text = server.run("set image deployment/web web=web:2").await;
    assert_eq!(text, "deployment.apps/web image updated\n");
    server.stop().await;
}
