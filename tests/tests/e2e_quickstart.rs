//! The quickstart with real Envoys: from empty to HTTPS through both load balancers.

use gatewright_tests::{Client, Rig};

const HOST: &str = "shop.example.com";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn https_flows_through_both_load_balancers_with_a_chain_that_verifies() {
    let rig = Rig::quickstart().await;
    let client = Client::trusting(&rig.root_pem()).unwrap();
    for address in rig.addresses(443).await {
        let answer = client.get(address, HOST, "/basket").await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.body.starts_with(b"hello from hello-"), "{answer:?}");
    }
    for address in rig.addresses(80).await {
        let answer = client.get_plain(address, HOST, "/basket").await.unwrap();
        assert_eq!(answer.status, 301, "{answer:?}");
        let location = answer
            .headers
            .get("location")
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        assert_eq!(location, format!("https://{HOST}:8443/basket"));
        let path = "/.well-known/acme-challenge/unknown";
        let answer = client.get_plain(address, HOST, path).await.unwrap();
        assert_eq!(
            answer.status, 404,
            "a challenge path is not redirected: {answer:?}"
        );
    }
    rig.stop().await;
}
