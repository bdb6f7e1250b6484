//! The data plane: real connections through real sockets.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use gatewright_seams::{Clock, Tasks};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use mock_cloud::{Health, Inventory, ListenerStatus};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::backend::{Backend, Client, who};
use crate::caller::{Caller, options, port_shift, sockets};

/// How long a test may wait for anything.
const LIMIT: Duration = Duration::from_secs(20);

async fn within<T>(future: impl Future<Output = T>) -> T {
    Clock::system().timeout(LIMIT, future).await.unwrap()
}

struct Scene {
    caller: Caller,
    instance: String,
    group: String,
    address: SocketAddr,
}

fn list(members: &[String]) -> String {
    format!("[{}]", members.join(","))
}

/// A started listener on port 80 with these members, all of them checked once.
async fn scene(octet: u8, members: &[String], extra: &[(&str, &str)]) -> Scene {
    let caller = Caller::with_sockets(octet).await;
    let instance = caller.instance().await;
    let group = caller.group(&instance, &list(members)).await;
    let mut parameters = vec![
        ("LoadBalancerId", instance.as_str()),
        ("ListenerPort", "80"),
        ("Bandwidth", "-1"),
        ("VServerGroupId", group.as_str()),
        ("healthCheckInterval", "1"),
        ("UnhealthyThreshold", "2"),
        ("HealthyThreshold", "2"),
    ];
    parameters.extend(extra);
    caller
        .call("CreateLoadBalancerTCPListener", &parameters)
        .await;
    let listener = [
        ("LoadBalancerId", instance.as_str()),
        ("ListenerPort", "80"),
    ];
    caller.call("StartLoadBalancerListener", &listener).await;
    let address = caller.cloud.listen_address(&instance, 80).unwrap();
    let scene = Scene {
        caller,
        instance,
        group,
        address,
    };
    scene
        .wait(|scene, all| scene.health(all).values().all(|h| *h != Health::Unknown))
        .await;
    scene
}

impl Scene {
    async fn wait(&self, wanted: impl Fn(&Self, &Inventory) -> bool) -> Inventory {
        self.caller
            .cloud
            .wait_for(LIMIT, |all| wanted(self, all))
            .await
            .unwrap()
    }

    fn health(&self, all: &Inventory) -> BTreeMap<String, Health> {
        let listener = all.instance(&self.instance).unwrap().listener(80).unwrap();
        let members = listener.members.iter();
        members
            .filter_map(|member| Some((member.server_id.clone(), member.health?)))
            .collect()
    }

    async fn counts(&self, connections: usize) -> BTreeMap<char, usize> {
        let mut counts = BTreeMap::new();
        for _ in 0..connections {
            *counts
                .entry(within(who(self.address)).await.unwrap())
                .or_default() += 1;
        }
        counts
    }

    async fn members(&self, action: &str, members: &[String]) {
        let members = list(members);
        let parameters = [
            ("VServerGroupId", self.group.as_str()),
            ("BackendServers", &members),
        ];
        self.caller.call(action, &parameters).await;
    }
}

#[tokio::test]
async fn connections_spread_by_weight_and_weight_zero_takes_no_new_ones() {
    let a = Backend::start("a", "127.1.1.1").await;
    let b = Backend::start("b", "127.1.1.2").await;
    let scene = scene(101, &[a.member(30), b.member(10)], &[]).await;
    assert_eq!(
        scene.address,
        SocketAddr::from(([127, 101, 0, 1], 80 + port_shift()))
    );
    assert_eq!(
        scene.counts(20).await,
        BTreeMap::from([('a', 15), ('b', 5)])
    );

    let mut kept = loop {
        let mut client = Client::connect(scene.address).await.unwrap();
        if within(client.greeting()).await.unwrap() == 'b' {
            break client;
        }
    };
    scene
        .members("SetVServerGroupAttribute", &[b.member(0)])
        .await;
    assert_eq!(scene.counts(10).await, BTreeMap::from([('a', 10)]));
    assert!(within(kept.echoes()).await);
}

#[tokio::test]
async fn half_closed_connections_carry_the_rest() {
    let a = Backend::start("a", "127.1.2.1").await;
    let scene = scene(102, &[a.member(100)], &[]).await;
    let mut client = Client::connect(scene.address).await.unwrap();
    client.send(b"hello").await;
    assert_eq!(within(client.finish()).await, b"ahello");
}

#[tokio::test]
async fn without_drain_a_removed_member_loses_its_connections_at_once() {
    let a = Backend::start("a", "127.1.3.1").await;
    let scene = scene(103, &[a.member(100)], &[]).await;
    let mut client = Client::connect(scene.address).await.unwrap();
    within(client.greeting()).await.unwrap();
    scene
        .members("RemoveVServerGroupBackendServers", &[a.member(100)])
        .await;
    within(client.closed()).await;
    // Nobody is left: the connection is accepted and closed.
    within(who(scene.address)).await.unwrap_err();
}

#[tokio::test]
async fn with_drain_a_removed_member_keeps_its_connections_for_the_drain_time() {
    let a = Backend::start("a", "127.1.4.1").await;
    let b = Backend::start("b", "127.1.4.2").await;
    let drain = [("ConnectionDrain", "on"), ("ConnectionDrainTimeout", "10")];
    let scene = scene(104, &[a.member(100)], &drain).await;
    let mut client = Client::connect(scene.address).await.unwrap();
    within(client.greeting()).await.unwrap();
    let parameters = [
        ("VServerGroupId", scene.group.as_str()),
        ("OldBackendServers", &list(&[a.member(100)])),
        ("NewBackendServers", &list(&[b.member(100)])),
    ];
    let removed = scene.caller.clock.now();
    scene
        .caller
        .call("ModifyVServerGroupBackendServers", &parameters)
        .await;
    assert!(within(client.echoes()).await);
    assert_eq!(scene.counts(3).await, BTreeMap::from([('b', 3)]));
    within(client.closed()).await;
    let lived = scene
        .caller
        .clock
        .now()
        .duration_since(removed)
        .unsigned_abs();
    assert!(lived >= Duration::from_secs(10), "{lived:?}");
}

#[tokio::test]
async fn a_member_that_stops_is_unhealthy_and_comes_back() {
    let a = Backend::start("a", "127.1.5.1").await;
    let b = Backend::start("b", "127.1.5.2").await;
    let scene = scene(105, &[a.member(50), b.member(50)], &[]).await;
    a.stop().await;
    scene
        .wait(|scene, all| scene.health(all)["eni-a"] == Health::Unhealthy)
        .await;
    assert_eq!(scene.counts(4).await, BTreeMap::from([('b', 4)]));
    let named = [
        ("LoadBalancerId", scene.instance.as_str()),
        ("ListenerPort", "80"),
    ];
    let health = scene.caller.call("DescribeHealthStatus", &named).await;
    let servers = &health["BackendServers"]["BackendServer"];
    assert_eq!(servers[0]["ServerHealthStatus"], "abnormal");
    assert_eq!(servers[1]["ServerHealthStatus"], "normal");

    let _a = Backend::on("a", TcpListener::bind(a.address).await.unwrap());
    scene
        .wait(|scene, all| scene.health(all)["eni-a"] == Health::Healthy)
        .await;
    assert_eq!(scene.counts(4).await, BTreeMap::from([('a', 2), ('b', 2)]));
}

#[tokio::test]
async fn a_failed_connection_goes_to_the_next_member() {
    let a = Backend::start("a", "127.1.6.1").await;
    let b = Backend::start("b", "127.1.6.2").await;
    let slow = [("healthCheckInterval", "50")];
    let members = [a.member(90), b.member(10)];
    let caller = Caller::with_sockets(106).await;
    let instance = caller.instance().await;
    let group = caller.group(&instance, &list(&members)).await;
    let mut parameters = vec![
        ("LoadBalancerId", instance.as_str()),
        ("ListenerPort", "80"),
        ("Bandwidth", "-1"),
        ("VServerGroupId", group.as_str()),
    ];
    parameters.extend(slow);
    caller
        .call("CreateLoadBalancerTCPListener", &parameters)
        .await;
    caller
        .call("StartLoadBalancerListener", &parameters[..2])
        .await;
    let address = caller.cloud.listen_address(&instance, 80).unwrap();
    let scene = Scene {
        caller,
        instance,
        group,
        address,
    };
    scene
        .wait(|s, all| s.health(all).values().all(|h| *h == Health::Healthy))
        .await;
    a.stop().await;
    assert_eq!(scene.counts(10).await, BTreeMap::from([('b', 10)]));
    let all = scene.caller.cloud.inventory();
    assert_eq!(scene.health(&all)["eni-a"], Health::Unhealthy);
}

#[tokio::test]
async fn without_healthy_members_the_weighted_ones_are_tried() {
    let a = Backend::start("a", "127.1.7.1").await;
    // Checks go to a port where nobody listens.
    let free = TcpListener::bind("127.1.7.1:0").await.unwrap();
    let port = free.local_addr().unwrap().port().to_string();
    drop(free);
    let scene = scene(107, &[a.member(100)], &[("HealthCheckConnectPort", &port)]).await;
    scene
        .wait(|scene, all| scene.health(all)["eni-a"] == Health::Unhealthy)
        .await;
    assert_eq!(scene.counts(2).await, BTreeMap::from([('a', 2)]));
}

#[tokio::test]
async fn the_proxy_protocol_header_comes_first() {
    let listener = TcpListener::bind("127.1.8.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let member = format!(r#"{{"ServerId":"eni-p","ServerIp":"10.1.8.1","Port":{port}}}"#);
    let caller = Caller::with_sockets(108).await;
    let instance = caller.instance().await;
    let group = caller.group(&instance, &list(&[member])).await;
    let parameters = [
        ("LoadBalancerId", instance.as_str()),
        ("ListenerPort", "80"),
        ("Bandwidth", "-1"),
        ("VServerGroupId", group.as_str()),
        ("ProxyProtocolV2Enabled", "True"),
        ("HealthCheckSwitch", "off"),
    ];
    caller
        .call("CreateLoadBalancerTCPListener", &parameters)
        .await;
    caller
        .call("StartLoadBalancerListener", &parameters[..2])
        .await;
    let address = caller.cloud.listen_address(&instance, 80).unwrap();
    let mut client = Client::connect(address).await.unwrap();
    client.send(b"data").await;
    let (mut stream, _) = within(listener.accept()).await.unwrap();
    let mut header = [0; 32];
    within(stream.read_exact(&mut header)).await.unwrap();
    assert_eq!(&header[..12], b"\r\n\r\n\0\r\nQUIT\n");
    assert_eq!(&header[20..24], [127, 108, 0, 1]);
    assert_eq!(&header[26..], b"\0\x50data");
}

#[tokio::test]
async fn a_stopped_listener_and_a_deleted_instance_close_their_sockets() {
    let a = Backend::start("a", "127.1.9.1").await;
    let scene = scene(109, &[a.member(100)], &[]).await;
    let named = [
        ("LoadBalancerId", scene.instance.as_str()),
        ("ListenerPort", "80"),
    ];
    let mut client = Client::connect(scene.address).await.unwrap();
    within(client.greeting()).await.unwrap();
    scene
        .wait(|s, all| is(s, all, ListenerStatus::Running))
        .await;
    scene.caller.call("StopLoadBalancerListener", &named).await;
    within(client.closed()).await;
    within(who(scene.address)).await.unwrap_err();
    assert_eq!(scene.caller.cloud.listen_address(&scene.instance, 80), None);

    scene
        .wait(|s, all| is(s, all, ListenerStatus::Stopped))
        .await;
    scene.caller.call("StartLoadBalancerListener", &named).await;
    assert_eq!(within(who(scene.address)).await.unwrap(), 'a');
    scene.caller.call("DeleteLoadBalancer", &named[..1]).await;
    within(who(scene.address)).await.unwrap_err();
    assert!(scene.caller.cloud.inventory().is_empty());
}

fn is(scene: &Scene, all: &Inventory, status: ListenerStatus) -> bool {
    all.instance(&scene.instance)
        .unwrap()
        .listener(80)
        .unwrap()
        .status
        == status
}

#[tokio::test]
async fn a_port_that_cannot_be_bound_is_refused_with_address_and_reason() {
    let address = SocketAddr::from(([127, 110, 0, 1], 80 + port_shift()));
    let taken = TcpListener::bind(address).await.unwrap();
    let caller = Caller::with_sockets(110).await;
    let instance = caller.instance().await;
    let listener = [
        ("LoadBalancerId", instance.as_str()),
        ("ListenerPort", "80"),
        ("Bandwidth", "-1"),
        ("BackendServerPort", "80"),
    ];
    caller
        .call("CreateLoadBalancerTCPListener", &listener)
        .await;
    let (status, body) = caller
        .try_call("StartLoadBalancerListener", &listener[..2])
        .await
        .unwrap();
    assert_eq!(
        (status, body["Code"].as_str()),
        (400, Some("Operation.Deny"))
    );
    let message = body["Message"].as_str().unwrap();
    assert!(
        message.contains(&address.to_string()) && message.contains("in use"),
        "{message}"
    );
    let found = caller.cloud.inventory();
    assert_eq!(
        found.instances[0].listeners[0].status,
        ListenerStatus::Stopped
    );

    drop(taken);
    caller
        .call("StartLoadBalancerListener", &listener[..2])
        .await;
    assert!(caller.cloud.listen_address(&instance, 80).is_some());
}

#[tokio::test]
async fn members_need_an_address_when_there_are_sockets() {
    let caller = Caller::start(options(mock_cloud::Storage::Memory, sockets(111)))
        .await
        .unwrap();
    let instance = caller.instance().await;
    let parameters = [
        ("LoadBalancerId", instance.as_str()),
        ("BackendServers", r#"[{"ServerId":"i-1","Port":80}]"#),
    ];
    let refusal = caller.refusal("CreateVServerGroup", &parameters).await;
    assert_eq!(refusal, (400, "ObtainIpFail".to_owned()));
}

#[tokio::test]
async fn an_http_listener_balances_requests_and_says_where_they_came_from() {
    let backend = TcpListener::bind("127.1.12.1:0").await.unwrap();
    let port = backend.local_addr().unwrap().port();
    let servers = Tasks::new();
    let connections = servers.clone();
    servers.spawn("backend", async move {
        while let Ok((stream, _)) = backend.accept().await {
            let echo = service_fn(|request: Request<Incoming>| async move {
                let headers = format!("{:?}", request.headers());
                Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from(headers))))
            });
            connections.spawn("backend connection", async move {
                // Health checks hang up.
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), echo)
                    .await;
            });
        }
    });
    let caller = Caller::with_sockets(112).await;
    let instance = caller.instance().await;
    let member = format!(r#"{{"ServerId":"eni-h","ServerIp":"10.1.12.1","Port":{port}}}"#);
    let group = caller.group(&instance, &list(&[member])).await;
    let parameters = [
        ("LoadBalancerId", instance.as_str()),
        ("ListenerPort", "80"),
        ("VServerGroupId", group.as_str()),
        ("HealthCheck", "on"),
        ("HealthCheckURI", "/ready"),
        ("XForwardedFor_proto", "on"),
        ("XForwardedFor_SLBID", "on"),
    ];
    caller
        .call("CreateLoadBalancerHTTPListener", &parameters)
        .await;
    caller
        .call("StartLoadBalancerListener", &parameters[..2])
        .await;
    let healthy = |all: &Inventory| {
        let listener = all.instances[0].listener(80).unwrap();
        listener.members[0].health == Some(Health::Healthy)
    };
    caller.cloud.wait_for(LIMIT, healthy).await.unwrap();
    let address = caller.cloud.listen_address(&instance, 80).unwrap();
    let ask = async || {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = "GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 192.0.2.1\r\n\
                       Connection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = within(ask()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains(r#""host": "a.test""#), "{answer}");
    assert!(
        answer.contains(r#""x-forwarded-for": "192.0.2.1, 127.0.0.1""#),
        "{answer}"
    );
    assert!(
        answer.contains(r#""x-forwarded-proto": "http""#),
        "{answer}"
    );
    assert!(
        answer.contains(&format!(r#""slb-id": "{instance}""#)),
        "{answer}"
    );

    let members = r#"[{"ServerId":"eni-h","ServerIp":"10.1.12.1","Port":PORT}]"#;
    let members = members.replace("PORT", &port.to_string());
    let remove = [
        ("VServerGroupId", group.as_str()),
        ("BackendServers", &members),
    ];
    caller
        .call("RemoveVServerGroupBackendServers", &remove)
        .await;
    assert!(within(ask()).await.starts_with("HTTP/1.1 503"));
    servers.cancel();
}
