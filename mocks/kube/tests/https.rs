//! The socket: TLS with the server's own authority, and the token.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "these are tests"
)]

use std::time::Duration;

use gatewright_seams::{Clock, Random, Tasks};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use local_kube::{Access, LocalKube, Options, Storage};

async fn client(kubeconfig: &str) -> Client {
    let kubeconfig = Kubeconfig::from_yaml(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap();
    Client::try_from(config).unwrap()
}

#[tokio::test]
async fn the_kubeconfig_opens_the_server_and_another_token_does_not() {
    let tasks = Tasks::new();
    let local = LocalKube::start(Options {
        storage: Storage::Memory,
        clock: Clock::system(),
        random: Random::system(),
        tasks: tasks.clone(),
    })
    .await
    .unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let access = Access::generate().unwrap();
    let kubeconfig = local.kubeconfig(listener.local_addr().unwrap(), &access);
    let wrong = kubeconfig.replace(access.token(), "wrong");
    assert!(!format!("{access:?}").contains(access.token()));
    tasks.spawn_graceful("server", async move {
        local.serve(listener, access).await.unwrap();
    });
    let namespaces: Api<Namespace> = Api::all(client(&kubeconfig).await);
    assert_eq!(
        namespaces
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .len(),
        4
    );
    let namespaces: Api<Namespace> = Api::all(client(&wrong).await);
    match namespaces.list(&ListParams::default()).await.unwrap_err() {
        kube::Error::Api(status) => assert_eq!(status.code, 401),
        other => panic!("not an answer: {other}"),
    }
    assert!(tasks.stop(Duration::from_secs(10)).await);
}

#[test]
fn access_is_kept_in_private_files() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = std::env::temp_dir().join(format!("local-kube-access-{}", std::process::id()));
    let made = Access::load_or_generate(&folder).unwrap();
    let again = Access::load_or_generate(&folder).unwrap();
    assert_eq!(made.token(), again.token());
    assert_eq!(made.ca_pem(), again.ca_pem());
    for file in std::fs::read_dir(&folder).unwrap() {
        assert_eq!(
            file.unwrap().metadata().unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
