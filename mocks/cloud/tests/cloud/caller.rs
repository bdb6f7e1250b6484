//! A caller that signs like an SDK.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use gatewright_aliyun::sign;
use gatewright_seams::{AddressMap, Clock, Random, Tasks};
use http::{Request, Response};
use mock_cloud::{AccessKey, BoxError, DataPlane, Error, MockCloud, Options, Storage};
use serde_json::Value;
use tower::ServiceExt;

pub(crate) const KEY: &str = "test-key-id";
pub(crate) const SECRET: &str = "test-key-secret";
pub(crate) const REGION: &str = "cn-hangzhou";

static NONCE: AtomicU64 = AtomicU64::new(0);

pub(crate) fn options(storage: Storage, data_plane: DataPlane) -> Options {
    Options {
        storage,
        clock: Clock::system(),
        random: Random::seeded(1),
        tasks: Tasks::new(),
        region: REGION.to_owned(),
        access_keys: vec![AccessKey {
            id: KEY.to_owned(),
            secret: SECRET.to_owned(),
        }],
        data_plane,
    }
}

/// By process, so that two runs of the tests do not meet; below the ports that the system gives out.
pub(crate) fn port_shift() -> u16 {
    20_000 + u16::try_from(std::process::id() % 10_000).unwrap()
}

/// A data plane on 127.(octet).0.0; tests run side by side, so each has its own octet.
pub(crate) fn sockets(octet: u8) -> DataPlane {
    DataPlane::Sockets {
        network: Ipv4Addr::new(127, octet, 0, 0),
        port_shift: port_shift(),
        addresses: AddressMap::Loopback,
    }
}

/// A file that goes with the test.
pub(crate) struct TempFile(pub(crate) PathBuf);

impl TempFile {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("{name}-{}.json", std::process::id()));
        // A file of an earlier run that died; absence is the rule.
        let _ = std::fs::remove_file(&path);
        Self(path)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        // Absent when the test never stored anything.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) cloud: MockCloud,
    pub(crate) clock: Clock,
    pub(crate) tasks: Tasks,
}

impl Caller {
    pub(crate) async fn start(options: Options) -> Result<Self, Error> {
        let (clock, tasks) = (options.clock, options.tasks.clone());
        Ok(Self {
            cloud: MockCloud::start(options).await?,
            clock,
            tasks,
        })
    }

    pub(crate) async fn without_sockets() -> Self {
        Self::start(options(Storage::Memory, DataPlane::Off))
            .await
            .unwrap()
    }

    pub(crate) async fn with_sockets(octet: u8) -> Self {
        Self::start(options(Storage::Memory, sockets(octet)))
            .await
            .unwrap()
    }

    /// The parameters of an RPC v1 call, without its signature.
    pub(crate) fn parameters(
        &self,
        action: &str,
        parameters: &[(&str, &str)],
    ) -> Vec<(String, String)> {
        let nonce = NONCE.fetch_add(1, Ordering::Relaxed).to_string();
        let date = self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let public = [
            ("Action", action),
            ("Version", "2014-05-15"),
            ("Format", "JSON"),
            ("AccessKeyId", KEY),
            ("SignatureMethod", "HMAC-SHA1"),
            ("SignatureVersion", "1.0"),
            ("SignatureNonce", &nonce),
            ("Timestamp", &date),
            ("RegionId", REGION),
        ];
        public
            .iter()
            .filter(|(name, _)| parameters.iter().all(|(other, _)| other != name))
            .chain(parameters)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    pub(crate) async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, BoxError> {
        self.cloud.service().oneshot(request).await
    }

    /// One call; the status and the body of its answer.
    pub(crate) async fn try_call(
        &self,
        action: &str,
        parameters: &[(&str, &str)],
    ) -> Result<(u16, Value), BoxError> {
        let request = get(&signed("GET", self.parameters(action, parameters)));
        let answer = self.send(request).await?;
        Ok((
            answer.status().as_u16(),
            serde_json::from_slice(answer.body())?,
        ))
    }

    /// A call that succeeds.
    pub(crate) async fn call(&self, action: &str, parameters: &[(&str, &str)]) -> Value {
        let (status, body) = self.try_call(action, parameters).await.unwrap();
        assert_eq!(status, 200, "{action}: {body}");
        assert!(body["RequestId"].is_string());
        body
    }

    /// A call that is refused: status and code.
    pub(crate) async fn refusal(&self, action: &str, parameters: &[(&str, &str)]) -> (u16, String) {
        let (status, body) = self.try_call(action, parameters).await.unwrap();
        assert_ne!(status, 200, "{action}: {body}");
        assert!(body["Message"].is_string() && body["HostId"].is_string());
        (status, body["Code"].as_str().unwrap().to_owned())
    }

    /// A new internet instance.
    pub(crate) async fn instance(&self) -> String {
        let made = self
            .call("CreateLoadBalancer", &[("LoadBalancerName", "edge")])
            .await;
        made["LoadBalancerId"].as_str().unwrap().to_owned()
    }

    /// A new group with these members.
    pub(crate) async fn group(&self, instance: &str, members: &str) -> String {
        let parameters = [
            ("LoadBalancerId", instance),
            ("VServerGroupName", "web"),
            ("BackendServers", members),
        ];
        let made = self.call("CreateVServerGroup", &parameters).await;
        made["VServerGroupId"].as_str().unwrap().to_owned()
    }
}

pub(crate) fn signed(method: &str, mut parameters: Vec<(String, String)>) -> Vec<(String, String)> {
    let pairs = parameters.iter().map(|(name, value)| (name, value));
    let string = sign::rpc::string_to_sign(method, pairs);
    parameters.push((
        "Signature".to_owned(),
        sign::rpc::signature(SECRET, &string),
    ));
    parameters
}

pub(crate) fn query(parameters: &[(String, String)]) -> String {
    sign::canonical_query(parameters.iter().map(|(name, value)| (name, value)))
}

pub(crate) fn get(parameters: &[(String, String)]) -> Request<Bytes> {
    let uri = format!("http://slb.test/?{}", query(parameters));
    Request::get(uri).body(Bytes::new()).unwrap()
}
