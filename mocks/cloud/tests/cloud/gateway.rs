//! Who may call.

use bytes::Bytes;
use gatewright_aliyun::sign::{self, acs3::Authorization};
use http::Request;
use serde_json::Value;

use crate::caller::{Caller, KEY, SECRET, get, query, signed};

async fn code(caller: &Caller, request: Request<Bytes>) -> (u16, String, String) {
    let answer = caller.send(request).await.unwrap();
    let body: Value = serde_json::from_slice(answer.body()).unwrap();
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    (answer.status().as_u16(), text("Code"), text("Message"))
}

fn with(mut parameters: Vec<(String, String)>, name: &str, value: &str) -> Vec<(String, String)> {
    parameters.retain(|(key, _)| key != name);
    parameters.push((name.to_owned(), value.to_owned()));
    parameters
}

#[tokio::test]
async fn an_unknown_key_is_not_found() {
    let caller = Caller::without_sockets().await;
    let parameters = with(
        caller.parameters("DescribeRegions", &[]),
        "AccessKeyId",
        "other",
    );
    let (status, code, _) = code(&caller, get(&signed("GET", parameters))).await;
    assert_eq!(
        (status, code.as_str()),
        (404, "InvalidAccessKeyId.NotFound")
    );
}

#[tokio::test]
async fn a_wrong_signature_is_answered_with_the_string_to_sign() {
    let caller = Caller::without_sockets().await;
    let parameters = caller.parameters("DescribeRegions", &[]);
    let pairs = parameters.iter().map(|(name, value)| (name, value));
    let string = sign::rpc::string_to_sign("GET", pairs);
    let wrong = with(
        parameters,
        "Signature",
        &sign::rpc::signature("wrong", &string),
    );
    let (status, code, message) = code(&caller, get(&wrong)).await;
    assert_eq!((status, code.as_str()), (400, "SignatureDoesNotMatch"));
    assert!(message.ends_with(&format!("server string to sign is:{string}")));
    let ledger = format!("{:?}", caller.cloud.ledger().entries());
    assert!(ledger.contains("SignatureDoesNotMatch") && !ledger.contains(SECRET));
}

#[tokio::test]
async fn a_replayed_request_is_refused() {
    let caller = Caller::without_sockets().await;
    let request = signed("GET", caller.parameters("DescribeRegions", &[]));
    assert_eq!(code(&caller, get(&request)).await.0, 200);
    let (status, code, _) = code(&caller, get(&request)).await;
    assert_eq!((status, code.as_str()), (400, "SignatureNonceUsed"));
}

#[tokio::test(start_paused = true)]
async fn a_request_expires_after_fifteen_minutes() {
    let caller = Caller::without_sockets().await;
    let early = signed("GET", caller.parameters("DescribeRegions", &[]));
    let late = signed("GET", caller.parameters("DescribeRegions", &[]));
    tokio::time::advance(std::time::Duration::from_mins(14)).await;
    assert_eq!(code(&caller, get(&early)).await.0, 200);
    tokio::time::advance(std::time::Duration::from_mins(2)).await;
    let (status, code, _) = code(&caller, get(&late)).await;
    assert_eq!((status, code.as_str()), (400, "InvalidTimeStamp.Expired"));
}

#[tokio::test]
async fn a_form_is_signed_together_with_the_query() {
    let caller = Caller::without_sockets().await;
    let parameters = caller.parameters("CreateLoadBalancer", &[("LoadBalancerName", "a-b")]);
    let all = signed("POST", parameters);
    let (front, back) = all.split_at(4);
    let request = Request::post(format!("http://slb.test/?{}", query(front)))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Bytes::from(query(back)))
        .unwrap();
    assert_eq!(code(&caller, request).await.0, 200);
    assert_eq!(caller.cloud.inventory().instances[0].name, "a-b");
}

#[tokio::test]
async fn errors_come_as_xml_where_no_format_is_asked_for() {
    let caller = Caller::without_sockets().await;
    let mut parameters = caller.parameters("NoSuchAction", &[]);
    parameters.retain(|(name, _)| name != "Format");
    let answer = caller.send(get(&signed("GET", parameters))).await.unwrap();
    assert_eq!(answer.status(), 404);
    let text = std::str::from_utf8(answer.body()).unwrap();
    assert!(text.contains("<Error><RequestId>") && text.contains("<Code>InvalidAction.NotFound<"));
}

fn acs3(caller: &Caller, nonce: &str, secret: &str, tweak: &str) -> Request<Bytes> {
    let date = caller
        .clock
        .now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string();
    let hash = sign::acs3::hash_payload(b"");
    let headers: Vec<(String, String)> = [
        ("accept", "application/json"),
        ("host", "slb.test"),
        ("x-acs-action", "CreateLoadBalancer"),
        ("x-acs-content-sha256", &hash),
        ("x-acs-date", &date),
        ("x-acs-signature-nonce", nonce),
        ("x-acs-version", "2014-05-15"),
    ]
    .iter()
    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
    .collect();
    let pairs = [
        ("RegionId", "cn-hangzhou"),
        ("Tag.1.Key", "a b"),
        ("Tag.1.Value", ""),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let names: Vec<String> = headers.iter().map(|(name, _)| name.clone()).collect();
    let canonical = sign::acs3::canonical_request("POST", "/", &pairs, &headers, &names, &hash);
    let string = sign::acs3::string_to_sign(&canonical);
    let authorization = Authorization {
        credential: KEY.to_owned(),
        signed_headers: names,
        signature: sign::acs3::signature(secret, &string),
    };
    // On the wire a space is a plus, as HTTP libraries write it.
    let uri = format!(
        "http://slb.test/?{}{tweak}",
        query(&pairs).replace("%20", "+")
    );
    let mut request = Request::post(uri).header("authorization", authorization.header());
    for (name, value) in &headers {
        request = request.header(name, value);
    }
    request.body(Bytes::new()).unwrap()
}

#[tokio::test]
async fn the_header_style_is_verified_with_the_headers_the_caller_signed() {
    let caller = Caller::without_sockets().await;
    assert_eq!(code(&caller, acs3(&caller, "n1", SECRET, "")).await.0, 200);
    assert_eq!(caller.cloud.inventory().instances[0].tags["a b"], "");
    let (status, wrong, message) = code(&caller, acs3(&caller, "n2", "wrong", "")).await;
    assert_eq!((status, wrong.as_str()), (400, "SignatureDoesNotMatch"));
    assert!(message.contains("server string to sign is:ACS3-HMAC-SHA256\n"));
    let (_, tampered, _) = code(&caller, acs3(&caller, "n3", SECRET, "&DeleteProtection=on")).await;
    assert_eq!(tampered, "SignatureDoesNotMatch");
    let (_, replayed, _) = code(&caller, acs3(&caller, "n1", SECRET, "")).await;
    assert_eq!(replayed, "SignatureNonceUsed");
}

#[tokio::test]
async fn what_the_mock_does_not_have_is_told_from_what_does_not_exist() {
    let caller = Caller::without_sockets().await;
    let unsupported = caller.refusal("CreateLoadBalancerHTTPSListener", &[]).await;
    assert_eq!(unsupported, (400, "UnsupportedOperation".to_owned()));
    let unknown = caller.refusal("CreateLoadBalancerFTPListener", &[]).await;
    assert_eq!(unknown, (404, "InvalidAction.NotFound".to_owned()));
}
