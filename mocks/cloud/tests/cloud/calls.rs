//! The ledger and calls over a socket.

use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use crate::caller::{Caller, SECRET, get, signed};

#[tokio::test]
async fn the_ledger_holds_what_a_call_was_about_and_no_secret() {
    let caller = Caller::without_sockets().await;
    let mark = caller.cloud.ledger().mark();
    let parameters = [
        ("LoadBalancerName", "edge"),
        ("ClientToken", "t-1"),
        ("Tag.1.Key", "k"),
        ("LoadBalancerNmae", "typo"),
    ];
    caller.call("CreateLoadBalancer", &parameters).await;
    caller.call("DescribeLoadBalancers", &[]).await;
    let ledger = caller.cloud.ledger();
    let entries = ledger.since(mark);
    assert_eq!(entries[0].action, "CreateLoadBalancer");
    assert_eq!(
        (
            entries[0].outcome.as_str(),
            entries[0].status,
            entries[0].write
        ),
        ("OK", 200, true)
    );
    assert_eq!(entries[0].parameters["LoadBalancerName"], "edge");
    assert_eq!(entries[0].ignored, ["LoadBalancerNmae"]);
    assert!(!entries[1].write && entries[1].ignored.is_empty());
    assert_eq!(ledger.counts()["DescribeLoadBalancers"], 1);
    let text = format!("{entries:?}");
    assert!(!text.contains(SECRET) && !text.contains("Signature"));
}

#[tokio::test]
async fn calls_over_a_socket_are_answered_until_the_tasks_end() {
    let caller = Caller::without_sockets().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let call = async {
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        let exchange = async {
            let (mut head, body) =
                get(&signed("GET", caller.parameters("DescribeRegions", &[]))).into_parts();
            head.uri = head.uri.path_and_query().unwrap().as_str().parse().unwrap();
            head.headers.insert("host", "slb.test".parse().unwrap());
            let request = http::Request::from_parts(head, Full::new(body));
            let answer = sender.send_request(request).await.unwrap();
            let status = answer.status();
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            drop(sender);
            (status, body)
        };
        let ((status, body), connection) = futures::future::join(exchange, connection).await;
        connection.unwrap();
        assert_eq!(status, 200);
        assert!(std::str::from_utf8(&body).unwrap().contains("cn-hangzhou"));
        caller.tasks.cancel();
    };
    let (served, ()) = futures::future::join(caller.cloud.serve(listener), call).await;
    served.unwrap();
}
