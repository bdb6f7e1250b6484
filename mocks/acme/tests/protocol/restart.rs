use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use instant_acme::{Account, NewOrder, OrderStatus};
use mock_acme::Storage;
use rcgen::KeyPair;

use crate::client::{Web, World, csr, dns, patience, verifies};

/// A folder of its own that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{error}"),
            _ => Self(path),
        }
    }

    fn file(&self) -> PathBuf {
        self.0.join("deep").join("acme.json")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

#[tokio::test(start_paused = true)]
async fn authority_accounts_orders_and_certificates_survive_a_restart() {
    let folder = Folder::new("acme-restart");
    let storage = || Storage::File(folder.file());
    let first = World::with(storage(), Web::default(), 1).await;
    let (account, credentials) = first.account().await;
    let chain = first.certificate(&account, &["a.example.test"]).await;
    let root = first.acme.root_pem();
    let names = dns(&["b.example.test"]);
    let mut order = account.new_order(&NewOrder::new(&names)).await.unwrap();
    first.answer_challenges(&mut order).await;
    order.poll_ready(&patience()).await.unwrap();
    let url = order.url().to_owned();
    let issued = first.acme.ledger().certificates;
    first.tasks.cancel();
    let mode = std::fs::metadata(folder.file())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let beside = std::fs::read_dir(folder.file().parent().unwrap())
        .unwrap()
        .count();
    assert_eq!(beside, 1, "a temporary file was left");

    // The same seed draws the same numbers: identifiers in use must be passed over.
    let second = World::with(storage(), Web::default(), 1).await;
    assert_eq!(second.acme.root_pem(), root);
    assert_eq!(second.acme.ledger().certificates, issued);
    assert!(verifies(
        &chain,
        &second.acme.root_pem(),
        "a.example.test",
        &second.clock
    ));
    let account = Account::builder_with_http(second.http())
        .from_credentials(credentials)
        .await
        .unwrap();
    let mut order = account.order(url).await.unwrap();
    assert_eq!(order.state().status, OrderStatus::Ready);
    let key = KeyPair::generate().unwrap();
    order
        .finalize_csr(&csr(&["b.example.test"], &key))
        .await
        .unwrap();
    let chain = order.poll_certificate(&patience()).await.unwrap();
    assert!(verifies(&chain, &root, "b.example.test", &second.clock));
    second.certificate(&account, &["c.example.test"]).await;
    let ledger = second.acme.ledger();
    assert_eq!(
        (ledger.accounts, ledger.orders, ledger.certificates.len()),
        (1, 3, 3)
    );
}

#[tokio::test(start_paused = true)]
async fn a_validation_that_was_running_is_started_again() {
    let folder = Folder::new("acme-validation");
    let storage = || Storage::File(folder.file());
    let first = World::with(storage(), Web::default(), 1).await;
    first
        .acme
        .faults()
        .slow_validation("a.example.test", Duration::from_hours(1));
    let (account, credentials) = first.account().await;
    let names = dns(&["a.example.test"]);
    let mut order = account.new_order(&NewOrder::new(&names)).await.unwrap();
    first.answer_challenges(&mut order).await;
    let url = order.url().to_owned();
    first.tasks.cancel();

    let second = World::with(storage(), first.web.clone(), 2).await;
    let account = Account::builder_with_http(second.http())
        .from_credentials(credentials)
        .await
        .unwrap();
    let mut order = account.order(url).await.unwrap();
    assert_eq!(
        order.poll_ready(&patience()).await.unwrap(),
        OrderStatus::Ready
    );
}

#[tokio::test(start_paused = true)]
async fn no_key_shows_in_debug_output() {
    let folder = Folder::new("acme-debug");
    let world = World::with(Storage::File(folder.file()), Web::default(), 1).await;
    let stored = std::fs::read_to_string(folder.file()).unwrap();
    let stored: serde_json::Value = serde_json::from_str(&stored).unwrap();
    let shown = format!("{:?} {:#?}", world.acme, world.acme);
    assert!(shown.contains("***"));
    for key in ["root_key", "intermediate_key"] {
        let pem = stored["authority"][key].as_str().unwrap();
        let line = pem.lines().nth(1).unwrap();
        assert!(
            pem.contains("PRIVATE KEY") && !shown.contains(line),
            "{key}"
        );
    }
    assert!(!shown.contains("PRIVATE KEY"));
}

#[tokio::test(start_paused = true)]
async fn a_state_file_that_is_none_is_not_overwritten() {
    let folder = Folder::new("acme-foreign");
    std::fs::create_dir_all(folder.file().parent().unwrap()).unwrap();
    std::fs::write(folder.file(), "not json").unwrap();
    let options = mock_acme::Options {
        storage: Storage::File(folder.file()),
        clock: gatewright_seams::Clock::starting_at("2026-11-24T12:00:00Z".parse().unwrap()),
        random: gatewright_seams::Random::seeded(1),
        tasks: gatewright_seams::Tasks::new(),
        base_url: crate::client::BASE.to_owned(),
        validator: std::sync::Arc::new(Web::default()),
        certificate_lifetime: mock_acme::DEFAULT_LIFETIME,
    };
    let error = mock_acme::MockAcme::start(options).await.unwrap_err();
    assert!(matches!(error, mock_acme::Error::StateFormat { .. }));
    assert_eq!(std::fs::read_to_string(folder.file()).unwrap(), "not json");
}
