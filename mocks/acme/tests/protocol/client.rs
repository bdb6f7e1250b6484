use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use gatewright_seams::{Clock, Random, Tasks};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use instant_acme::{
    Account, AccountCredentials, BodyWrapper, BytesResponse, ChallengeType, Error, HttpClient,
    Identifier, NewAccount, NewOrder, Order, RetryPolicy,
};
use mock_acme::{AcmeService, DEFAULT_LIFETIME, Fetch, Fetched, MockAcme, Options, Storage};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tower::Service as _;

pub(crate) const BASE: &str = "https://acme.test";

/// The web as the validation authority sees it: bodies by host and path.
#[derive(Clone, Default)]
pub(crate) struct Web(Arc<Mutex<BTreeMap<(String, String), String>>>);

impl Web {
    pub(crate) fn put(&self, host: &str, token: &str, body: &str) {
        let path = format!("/.well-known/acme-challenge/{token}");
        self.0
            .lock()
            .unwrap()
            .insert((host.to_owned(), path), body.to_owned());
    }
}

impl Fetch for Web {
    fn get(&self, host: &str, path: &str) -> BoxFuture<'_, Result<Fetched, String>> {
        let found = self
            .0
            .lock()
            .unwrap()
            .get(&(host.to_owned(), path.to_owned()))
            .cloned();
        let answer = match found {
            Some(body) => Fetched {
                status: 200,
                body: body.into(),
            },
            None => Fetched {
                status: 404,
                body: Bytes::new(),
            },
        };
        async move { Ok(answer) }.boxed()
    }
}

pub(crate) struct InProcess(pub(crate) AcmeService);

impl HttpClient for InProcess {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let mut service = self.0.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let request = Request::from_parts(parts, body);
            let response = service.call(request).await.map_err(Error::Other)?;
            Ok(BytesResponse::from(response.map(Full::new)))
        })
    }
}

pub(crate) struct World {
    pub(crate) acme: MockAcme,
    pub(crate) web: Web,
    pub(crate) clock: Clock,
    pub(crate) tasks: Tasks,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Storage::Memory, Web::default(), 1).await
    }

    pub(crate) async fn with(storage: Storage, web: Web, seed: u64) -> Self {
        let clock = Clock::starting_at("2026-11-24T12:00:00Z".parse().unwrap());
        let tasks = Tasks::new();
        let options = Options {
            storage,
            clock,
            random: Random::seeded(seed),
            tasks: tasks.clone(),
            base_url: BASE.to_owned(),
            validator: Arc::new(web.clone()),
            certificate_lifetime: DEFAULT_LIFETIME,
        };
        Self {
            acme: MockAcme::start(options).await.unwrap(),
            web,
            clock,
            tasks,
        }
    }

    pub(crate) fn http(&self) -> Box<dyn HttpClient> {
        Box::new(InProcess(self.acme.service()))
    }

    pub(crate) async fn account(&self) -> (Account, AccountCredentials) {
        self.try_account().await.unwrap()
    }

    pub(crate) async fn try_account(&self) -> Result<(Account, AccountCredentials), Error> {
        let new = NewAccount {
            contact: &["mailto:ops@example.test"],
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        Account::builder_with_http(self.http())
            .create(&new, self.acme.directory_url(), None)
            .await
    }

    /// One request without a signature, or with a body that the test made.
    pub(crate) async fn send(&self, request: Request<Bytes>) -> Response<Bytes> {
        self.acme.service().call(request).await.unwrap()
    }

    pub(crate) async fn get(&self, url: &str) -> Response<Bytes> {
        self.send(Request::get(url).body(Bytes::new()).unwrap())
            .await
    }

    /// Puts the answers to all HTTP-01 challenges of the order up and says that they are ready.
    pub(crate) async fn answer_challenges(&self, order: &mut Order) {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.unwrap();
            let mut challenge = authorization.challenge(ChallengeType::Http01).unwrap();
            let name = challenge.identifier().to_string();
            let answer = challenge.key_authorization().as_str().to_owned();
            self.web.put(&name, &challenge.token, &answer);
            challenge.set_ready().await.unwrap();
        }
    }

    /// The whole way; gives the chain as PEM.
    pub(crate) async fn certificate(&self, account: &Account, names: &[&str]) -> String {
        self.certificate_with_key(account, names).await.0
    }

    pub(crate) async fn certificate_with_key(
        &self,
        account: &Account,
        names: &[&str],
    ) -> (String, KeyPair) {
        let identifiers = dns(names);
        let mut order = account
            .new_order(&NewOrder::new(&identifiers))
            .await
            .unwrap();
        self.answer_challenges(&mut order).await;
        order.poll_ready(&patience()).await.unwrap();
        let key = KeyPair::generate().unwrap();
        order.finalize_csr(&csr(names, &key)).await.unwrap();
        (order.poll_certificate(&patience()).await.unwrap(), key)
    }
}

pub(crate) fn patience() -> RetryPolicy {
    RetryPolicy::new().timeout(Duration::from_mins(1))
}

pub(crate) fn dns(names: &[&str]) -> Vec<Identifier> {
    names
        .iter()
        .map(|name| Identifier::Dns((*name).to_owned()))
        .collect()
}

pub(crate) fn csr(names: &[&str], key: &KeyPair) -> Vec<u8> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.serialize_request(key).unwrap().der().to_vec()
}

pub(crate) fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .map(Result::unwrap)
        .collect()
}

/// Does the chain lead from the leaf to `root`, for a server called `name`, at the clock's time?
pub(crate) fn verifies(chain: &str, root: &str, name: &str, clock: &Clock) -> bool {
    let (chain, root) = (certificates(chain), certificates(root));
    let anchors = [webpki::anchor_from_trusted_cert(&root[0]).unwrap()];
    let leaf = webpki::EndEntityCert::try_from(&chain[0]).unwrap();
    let seconds = u64::try_from(clock.now().as_second()).unwrap();
    let trusted = leaf.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &anchors,
        &chain[1..],
        UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
        webpki::KeyUsage::server_auth(),
        None,
        None,
    );
    trusted.is_ok()
        && leaf
            .verify_is_valid_for_subject_name(&ServerName::try_from(name).unwrap())
            .is_ok()
}

pub(crate) fn problem_type(error: Error) -> String {
    match error {
        Error::Api(problem) => problem.r#type.unwrap(),
        other => panic!("not a problem: {other}"),
    }
}

pub(crate) fn urn(name: &str) -> String {
    format!("urn:ietf:params:acme:error:{name}")
}
