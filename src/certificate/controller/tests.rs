use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::*;
use crate::kubernetes::apply;
use crate::laptop::Laptop;

/// A Certificate whose issuance was announced, as it is read then, and a controller.
async fn announced() -> (Laptop, Controller, Certificate) {
    let laptop = Laptop::in_memory().await;
    let certificate = json!({
        "metadata": { "name": "shop", "namespace": "istio-system" },
        "spec": {
            "secretName": "shop-tls",
            "dnsNames": ["shop.example.com"],
            "issuerRef": { "name": "nobody" },
        },
    });
    let certificate: Certificate = serde_json::from_value(certificate).unwrap();
    let made = apply(&laptop.client(), "test", &certificate).await.unwrap();
    let outside = laptop.outside(laptop.tasks.child()).unwrap();
    let accounts = Accounts::new(outside.clone(), "gatewright-system".to_owned());
    let controller = Controller::new(
        outside,
        accounts,
        Challenges::default(),
        Unwritten::default(),
    );
    controller.pass(&made).await.unwrap_err();
    let held = read(&laptop).await;
    (laptop, controller, held)
}

async fn read(laptop: &Laptop) -> Certificate {
    let api: Api<Certificate> = Api::namespaced(laptop.client(), "istio-system");
    api.get("shop").await.unwrap()
}

/// One whose attempt failed long enough ago.
async fn failed() -> (Laptop, Controller, Certificate) {
    let (laptop, controller, held) = announced().await;
    let failed = controller.pass(&held).await.unwrap_err();
    let told = controller.report_failure(&held, &failed).await;
    assert!(told.unwrap().is_some());
    laptop.clock.sleep(Duration::from_hours(1)).await;
    let held = read(&laptop).await;
    assert_eq!(
        held.status.as_ref().unwrap().failed_issuance_attempts,
        Some(1)
    );
    (laptop, controller, held)
}

/// As it is when watches are behind: somebody else got the certificate meanwhile.
#[tokio::test(start_paused = true)]
async fn a_certificate_that_somebody_wrote_since_is_not_ordered_again() {
    for (laptop, controller, held) in [announced().await, Box::pin(failed()).await] {
        let error = controller.pass(&held).await.unwrap_err();
        assert_eq!(error.reason(), "IssuerNotFound", "the next attempt");
        let labels = json!({ "metadata": { "labels": { "written": "meanwhile" } } });
        let api: Api<Certificate> = Api::namespaced(laptop.client(), "istio-system");
        let (params, labels) = (PatchParams::default(), Patch::Merge(labels));
        api.patch("shop", &params, &labels).await.unwrap();
        assert_eq!(controller.pass(&held).await.unwrap(), CONFLICT_WAIT);
    }
}
