//! The client against a scripted cloud, which is also used by the tests of products.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use gatewright_core::{Error, ErrorClass};
use gatewright_seams::{Clock, Random};
use http::{Request, Response};
use serde_json::{Value, json};
use tower::service_fn;
use tower::util::BoxCloneSyncService;

use super::call::{Call, Effect};
use super::transport::{BoxError, NotSent, Transport};
use super::{Client, ClientOptions, Credentials};
use crate::sign::{decode_query, rpc};

pub(crate) const KEY_ID: &str = "LTAIexampleKeyId";
pub(crate) const KEY_SECRET: &str = "exampleKeySecretValue";
pub(crate) const TOKEN: &str = "exampleSecurityToken";

/// What the scripted cloud does with a request.
pub(crate) enum Answer {
    Json(u16, Value),
    Throttle(Option<u64>),
    Raw(u16, &'static str),
    /// The connection breaks after the request was sent.
    Cut,
    NotSent,
    Never,
}

/// A success with these fields.
pub(crate) fn ok(fields: Value) -> Answer {
    Answer::Json(200, fields)
}

pub(crate) fn refuse(status: u16, code: &str) -> Answer {
    Answer::Json(
        status,
        json!({"Code": code, "Message": "because", "RequestId": "R-1"}),
    )
}

#[derive(Default)]
struct State {
    answers: VecDeque<Answer>,
    calls: Vec<BTreeMap<String, String>>,
}

#[derive(Clone, Default)]
pub(crate) struct Script(Arc<Mutex<State>>);

impl Script {
    pub(crate) fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        let script = Self::default();
        script.add(answers);
        script
    }

    pub(crate) fn add(&self, answers: impl IntoIterator<Item = Answer>) {
        self.0.lock().unwrap().answers.extend(answers);
    }

    /// Decoded parameters of every request so far.
    pub(crate) fn calls(&self) -> Vec<BTreeMap<String, String>> {
        self.0.lock().unwrap().calls.clone()
    }

    /// Actions called since the last time, and that the script is used up.
    pub(crate) fn take_actions(&self) -> Vec<String> {
        let mut state = self.0.lock().unwrap();
        assert!(
            state.answers.is_empty(),
            "{} answers were not asked for",
            state.answers.len()
        );
        state
            .calls
            .drain(..)
            .map(|call| call["Action"].clone())
            .collect()
    }

    pub(crate) fn transport(&self) -> Transport {
        let script = self.clone();
        BoxCloneSyncService::new(service_fn(move |request: Request<Bytes>| {
            let script = script.clone();
            async move { script.answer(&request).await }
        }))
    }

    async fn answer(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, BoxError> {
        assert_eq!(request.uri(), "https://slb.example.com/");
        assert_eq!(request.headers()["host"], "slb.example.com");
        let body = std::str::from_utf8(request.body()).unwrap();
        let params = decode_query(body).unwrap();
        let string = rpc::string_to_sign(
            request.method().as_str(),
            params.iter().map(|(k, v)| (k, v)),
        );
        let map: BTreeMap<String, String> = params.iter().cloned().collect();
        assert_eq!(
            map.len(),
            params.len(),
            "a parameter is sent twice: {params:?}"
        );
        assert_eq!(map["Signature"], rpc::signature(KEY_SECRET, &string));
        let answer = {
            let mut state = self.0.lock().unwrap();
            state.calls.push(map.clone());
            state
                .answers
                .pop_front()
                .unwrap_or_else(|| panic!("unexpected call {map:?}"))
        };
        let respond = |status: u16, body: String| {
            Ok(Response::builder()
                .status(status)
                .body(Bytes::from(body))
                .unwrap())
        };
        match answer {
            Answer::Json(status, body) => respond(status, body.to_string()),
            Answer::Raw(status, body) => respond(status, body.to_owned()),
            Answer::Throttle(after) => {
                let body = json!({"Code": "Throttling.User", "Message": "slow down"});
                let mut response = Response::builder().status(400);
                if let Some(after) = after {
                    response = response.header("x-acs-retry-after", after);
                }
                Ok(response.body(Bytes::from(body.to_string())).unwrap())
            }
            // An HTTP library's error that quotes what was sent.
            Answer::Cut => Err(format!("connection reset while sending {body}").into()),
            Answer::NotSent => Err(NotSent::Connect("refused".into()).into()),
            Answer::Never => std::future::pending().await,
        }
    }

    pub(crate) fn client(&self) -> Client {
        let mut credentials = Credentials::new(KEY_ID, KEY_SECRET);
        credentials.security_token = Some(gatewright_core::Secret::new(TOKEN.to_owned()));
        let endpoint = "https://slb.example.com".parse().unwrap();
        let options = ClientOptions::new(credentials, "cn-hangzhou", endpoint);
        let clock = Clock::starting_at("2030-01-01T12:00:00Z".parse().unwrap());
        Client::new(options, self.transport(), clock, Random::seeded(1))
    }
}

fn write_call() -> Call {
    Call::new(
        "2014-05-15",
        "CreateLoadBalancer",
        Effect::Write,
        "creating load balancer shop",
    )
    .with("ClientToken", "token-1")
}

fn read_call() -> Call {
    Call::new(
        "2014-05-15",
        "DescribeLoadBalancers",
        Effect::Read,
        "reading load balancers",
    )
}

async fn send(script: &Script, call: &Call) -> Result<Value, Error> {
    script.client().send(call).await
}

#[tokio::test(start_paused = true)]
async fn a_request_carries_all_public_parameters_in_its_body() {
    let script = Script::new([ok(json!({"RequestId": "R"}))]);
    send(&script, &write_call()).await.unwrap();
    let call = &script.calls()[0];
    for (name, value) in [
        ("Action", "CreateLoadBalancer"),
        ("Version", "2014-05-15"),
        ("Format", "JSON"),
        ("AccessKeyId", KEY_ID),
        ("SecurityToken", TOKEN),
        ("SignatureMethod", "HMAC-SHA1"),
        ("SignatureVersion", "1.0"),
        ("Timestamp", "2030-01-01T12:00:00Z"),
        ("RegionId", "cn-hangzhou"),
        ("ClientToken", "token-1"),
    ] {
        assert_eq!(call[name], value, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_throttled_call_is_repeated_with_a_fresh_nonce_and_the_same_token() {
    let script = Script::new([
        Answer::Throttle(Some(2500)),
        Answer::Throttle(None),
        ok(json!({"RequestId": "R"})),
    ]);
    let client = script.client();
    client.send::<Value>(&write_call()).await.unwrap();
    let elapsed = client.clock().elapsed();
    assert!(
        elapsed >= Duration::from_millis(2500),
        "waits as long as the cloud says: {elapsed:?}"
    );
    let calls = script.calls();
    assert_eq!(calls.len(), 3);
    assert!(calls.iter().all(|call| call["ClientToken"] == "token-1"));
    assert_ne!(calls[0]["SignatureNonce"], calls[1]["SignatureNonce"]);
    assert_ne!(calls[1]["SignatureNonce"], calls[2]["SignatureNonce"]);
}

#[tokio::test(start_paused = true)]
async fn throttling_without_end_goes_up() {
    let script = Script::new((0..6).map(|_| Answer::Throttle(None)));
    let error = send(&script, &read_call()).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Throttled { retry_after: None });
    assert_eq!(script.take_actions().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_a_write_is_of_unknown_outcome_and_a_read_is_not() {
    for (answer, read, write) in [
        (
            || Answer::Cut,
            ErrorClass::Transient,
            ErrorClass::UnknownOutcome,
        ),
        (
            || Answer::Never,
            ErrorClass::Transient,
            ErrorClass::UnknownOutcome,
        ),
        (
            || Answer::NotSent,
            ErrorClass::Transient,
            ErrorClass::Transient,
        ),
        (
            || Answer::Raw(502, "<html>"),
            ErrorClass::Transient,
            ErrorClass::UnknownOutcome,
        ),
        (
            || Answer::Raw(200, "{\"Requ"),
            ErrorClass::Transient,
            ErrorClass::UnknownOutcome,
        ),
        (
            || refuse(400, "SignatureNonceUsed"),
            ErrorClass::Transient,
            ErrorClass::UnknownOutcome,
        ),
    ] as [(fn() -> Answer, ErrorClass, ErrorClass); 6]
    {
        let script = Script::new([answer(), answer()]);
        assert_eq!(send(&script, &read_call()).await.unwrap_err().class(), read);
        assert_eq!(
            send(&script, &write_call()).await.unwrap_err().class(),
            write
        );
        assert_eq!(script.take_actions().len(), 2, "sent once each");
    }
}

#[tokio::test(start_paused = true)]
async fn codes_decide_the_class_and_are_not_repeated() {
    for (status, code, class) in [
        (400, "ServiceIsConfiguring", ErrorClass::Conflict),
        (409, "BackendServer.configuring", ErrorClass::Conflict),
        (400, "ListenerAlreadyExists", ErrorClass::Conflict),
        (404, "InvalidLoadBalancerId.NotFound", ErrorClass::Conflict),
        (400, "IncorrectStatus.LoadBalancer", ErrorClass::Conflict),
        (500, "InternalError", ErrorClass::Transient),
        (503, "ServiceUnavailable", ErrorClass::Transient),
        (449, "SystemBusy", ErrorClass::Transient),
        (400, "OverQuota", ErrorClass::Quota),
        (400, "QuotaLimitExceeds.BackendServers", ErrorClass::Quota),
        (
            400,
            "OperationDenied.DeleteProtectionIsOn",
            ErrorClass::Refused,
        ),
        (403, "Forbidden.RAM", ErrorClass::Refused),
        (404, "InvalidAccessKeyId.NotFound", ErrorClass::Refused),
        (400, "InvalidParameter", ErrorClass::Invalid),
        (400, "MissingParam.VSwitchId", ErrorClass::Invalid),
    ] {
        let script = Script::new([refuse(status, code)]);
        let error = send(&script, &write_call()).await.unwrap_err();
        assert_eq!(error.class(), class, "{code}");
        assert_eq!(error.code.as_deref(), Some(code));
        assert_eq!(error.request_id.as_deref(), Some("R-1"));
        assert_eq!(script.take_actions().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_says_what_was_done_to_which_object() {
    let script = Script::new([refuse(400, "OverQuota")]);
    let error = send(&script, &write_call()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "creating load balancer shop: because (OverQuota, request R-1)"
    );
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn no_error_path_shows_a_secret() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // For all threads: with a subscriber of this thread alone, another test that meets a log line
    // first turns it off for everybody. What other tests log may show no secret either.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let quoting = |code: &str| {
        let message = format!(
            "server string to sign is:POST&%2F&AccessKeyId%3D{KEY_ID} for {KEY_SECRET} with {TOKEN} \
             at https://slb.example.com/?AccessKeyId={KEY_ID}&Signature=abc"
        );
        Answer::Json(
            400,
            json!({"Code": code, "Message": message, "RequestId": KEY_ID}),
        )
    };
    let script = Script::new([
        quoting("SignatureDoesNotMatch"),
        quoting("IncompleteSignature"),
        quoting("InvalidAccessKeyId.NotFound"),
        quoting("InvalidSecurityToken.Expired"),
        quoting("InvalidTimeStamp.Expired"),
        quoting("InvalidParameter"),
        quoting(KEY_SECRET),
        Answer::Cut,
        Answer::Never,
        Answer::NotSent,
        Answer::Raw(502, "exampleKeySecretValue"),
        Answer::Raw(200, "exampleKeySecretValue"),
        Answer::Raw(403, "exampleKeySecretValue"),
    ]);
    script.add((0..6).map(|_| Answer::Throttle(None)));
    let client = script.client();
    let mut shown = format!("{client:?}");
    for _ in 0..14 {
        let error = client.send::<Value>(&write_call()).await.unwrap_err();
        shown.extend([error.to_string(), format!("{error:?}\n")]);
    }
    shown += &String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(shown.contains("call failed"), "the log was captured");
    let mut secrets = vec![KEY_ID.to_owned(), KEY_SECRET.to_owned(), TOKEN.to_owned()];
    for call in script.calls() {
        secrets.extend([call["Signature"].clone(), call["SignatureNonce"].clone()]);
    }
    secrets.extend([
        "string to sign".to_owned(),
        "AccessKeyId%3D".to_owned(),
        "://".to_owned(),
    ]);
    // The endpoint is no secret; it is shown with the client's settings.
    let shown = shown.replace("endpoint: https://slb.example.com/", "");
    for secret in secrets {
        assert!(!shown.contains(&secret), "{secret} in {shown}");
    }
}
