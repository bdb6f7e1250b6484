//! HTTP listeners: each request goes to a member of its own and gets the headers that say where it
//! came from.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, combinators::BoxBody};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use super::Outside;
use super::forward::connect;
use super::pool::{Counted, Pool};
use super::settings::{Http, Settings};

type Body = BoxBody<Bytes, hyper::Error>;

/// Headers between two neighbours (RFC 9110, section 7.6.1). `Upgrade` and its `Connection` are put
/// back where the connection is upgraded.
const HOP_BY_HOP: &[HeaderName] = &[
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
];

/// Serves the requests of one connection.
pub(super) async fn serve(
    client: TcpStream,
    from: SocketAddr,
    pool: &Arc<Pool>,
    outside: &Outside,
) {
    // Answers are small and must not wait to be merged; failing costs only time.
    let _ = client.set_nodelay(true);
    let answer = service_fn(move |request| async move {
        let answer = match forward(request, from, pool, outside).await {
            Ok(answer) => answer,
            Err(status) => refusal(status),
        };
        Ok::<_, Infallible>(answer)
    });
    let idle_timeout = pool.settings().http.as_ref().map(|http| http.idle_timeout);
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(idle_timeout)
        .serve_connection(TokioIo::new(client), answer)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "connection of an http listener ended");
    }
}

fn refusal(status: StatusCode) -> Response<Body> {
    let mut answer = Response::new(Empty::new().map_err(|never| match never {}).boxed());
    *answer.status_mut() = status;
    answer
}

async fn forward(
    mut request: Request<Incoming>,
    from: SocketAddr,
    pool: &Arc<Pool>,
    outside: &Outside,
) -> Result<Response<Body>, StatusCode> {
    let settings = pool.settings();
    let Some(http) = &settings.http else {
        return Err(StatusCode::BAD_GATEWAY);
    };
    let upgrade = request.headers().get(header::UPGRADE).cloned();
    let client = upgrade.as_ref().map(|_| hyper::upgrade::on(&mut request));
    rewrite(
        request.headers_mut(),
        upgrade.as_ref(),
        from,
        &settings,
        http,
    );

    let unavailable = |_| StatusCode::BAD_GATEWAY;
    let (target, stream) = connect(from, pool, outside)
        .await
        .ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
    stream
        .set_nodelay(true)
        .map_err(|_| StatusCode::BAD_GATEWAY)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(unavailable)?;
    let scope = target.scope.clone();
    let counted = Counted::new(target.connections);
    outside.tasks.spawn("load balancer request", async move {
        let _counted = counted;
        // Ends early when the member is removed; an error shows on the answer's side.
        let _ = scope.until_cancelled(connection.with_upgrades()).await;
    });
    let answer = outside
        .clock
        .timeout(http.request_timeout, sender.send_request(request))
        .await;
    let mut answer = answer
        .map_err(|_| StatusCode::GATEWAY_TIMEOUT)?
        .map_err(unavailable)?;
    let switched = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
    for name in HOP_BY_HOP
        .iter()
        .filter(|name| !switched || **name != header::CONNECTION)
    {
        answer.headers_mut().remove(name);
    }
    if switched && let Some(client) = client {
        let server = hyper::upgrade::on(&mut answer);
        let scope = target.scope;
        outside.tasks.spawn("load balancer upgrade", async move {
            let both_ways = async {
                let (client, server) = (client.await.ok()?, server.await.ok()?);
                let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
                tokio::io::copy_bidirectional(&mut client, &mut server)
                    .await
                    .ok()
            };
            // Ends early when the member is removed.
            let _ = scope.until_cancelled(both_ways).await;
        });
    }
    Ok(answer.map(BodyExt::boxed))
}

/// Turns the headers of a client's request into those the member gets.
fn rewrite(
    headers: &mut HeaderMap,
    upgrade: Option<&HeaderValue>,
    from: SocketAddr,
    settings: &Settings,
    http: &Http,
) {
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    if upgrade.is_some() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
    let mut set = |on: bool, name: &'static str, value: String| {
        // Addresses, numbers and ids of ours are always valid values.
        if on && let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    };
    set(http.forwarded_proto, "x-forwarded-proto", "http".to_owned());
    set(
        http.forwarded_port,
        "x-forwarded-port",
        settings.port.to_string(),
    );
    set(
        http.forwarded_source_port,
        "x-forwarded-client-srcport",
        from.port().to_string(),
    );
    set(http.instance_id, "slb-id", http.instance.clone());
    set(http.instance_ip, "slb-ip", http.address.to_string());
    if http.forwarded_for {
        let mut chain: Vec<String> = headers
            .get_all("x-forwarded-for")
            .iter()
            .filter_map(|value| value.to_str().ok().map(str::to_owned))
            .collect();
        chain.push(from.ip().to_string());
        if let Ok(value) = HeaderValue::try_from(chain.join(", ")) {
            headers.insert("x-forwarded-for", value);
        }
    }
}
