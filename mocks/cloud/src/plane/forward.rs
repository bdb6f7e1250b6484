use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use super::pool::{Counted, Pool, Target};
use super::{Outside, http};

/// How long a member may take to accept a connection before the next one is tried.
const CONNECT: Duration = Duration::from_secs(5);

/// The pause after a failed accept, so that running out of descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// The buffer for each direction of a connection: one TLS record.
const BUFFER: usize = 16 * 1024;

/// Accepts and forwards connections for ever.
pub(super) async fn accept(listener: &TcpListener, pool: &Arc<Pool>, outside: &Outside) {
    loop {
        match listener.accept().await {
            Ok((client, from)) => {
                let (pool, of_connection) = (pool.clone(), outside.clone());
                outside.tasks.spawn("load balancer connection", async move {
                    let scope = pool.scope();
                    let connection = async {
                        if pool.settings().http.is_some() {
                            http::serve(client, from, &pool, &of_connection).await;
                        } else {
                            forward(client, from, &pool, &of_connection).await;
                        }
                    };
                    // Ends early when the listener is closed.
                    let _ = scope.until_cancelled(connection).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "load balancer cannot accept a connection");
                outside.clock.sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A connection to the member that the listener chooses for `from`; the next one where a member
/// does not take it. Nothing when none does.
pub(super) async fn connect(
    from: SocketAddr,
    pool: &Pool,
    outside: &Outside,
) -> Option<(Target, TcpStream)> {
    let mut tried = Vec::new();
    loop {
        let target = pool.choose(from, &tried)?;
        let connect = TcpStream::connect(target.address);
        if let Ok(Ok(server)) = outside.clock.timeout(CONNECT, connect).await {
            return Some((target, server));
        }
        pool.mark(target.id);
        tried.push(target.id);
    }
}

/// Forwards one connection. Without a member that takes it, it is closed.
async fn forward(mut client: TcpStream, from: SocketAddr, pool: &Pool, outside: &Outside) {
    let Some((target, mut server)) = connect(from, pool, outside).await else {
        return;
    };
    let _counted = Counted::new(target.connections);
    let settings = pool.settings();
    let both_ways = async {
        // Handshakes are made of small messages; waiting to merge them costs more than it saves.
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        if settings.proxy_protocol {
            let mut to = client.local_addr()?;
            to.set_port(settings.port);
            server.write_all(&proxy_header(from, to)).await?;
        }
        tokio::io::copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER, BUFFER).await
    };
    // Ends early when the member is removed. An error is a side that went away, nothing to report.
    let _ = target.scope.until_cancelled(both_ways).await;
}

/// The PROXY protocol header, version 2, for a TCP connection
/// (<https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>, section 2.2).
fn proxy_header(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    // Version 2, command PROXY.
    header.push(0x21);
    match (from, to) {
        (SocketAddr::V4(from), SocketAddr::V4(to)) => {
            header.extend([0x11, 0, 12]);
            header.extend(from.ip().octets());
            header.extend(to.ip().octets());
        }
        (from, to) => {
            let v6 = |address: SocketAddr| match address {
                SocketAddr::V4(v4) => v4.ip().to_ipv6_mapped().octets(),
                SocketAddr::V6(v6) => v6.ip().octets(),
            };
            header.extend([0x21, 0, 36]);
            header.extend(v6(from));
            header.extend(v6(to));
        }
    }
    header.extend(from.port().to_be_bytes());
    header.extend(to.port().to_be_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxy_header_names_both_ends() {
        let from = "127.0.0.9:4660".parse().unwrap();
        let to = "127.90.0.1:443".parse().unwrap();
        let header = proxy_header(from, to);
        assert_eq!(
            &header[..12],
            b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a"
        );
        assert_eq!(&header[12..16], [0x21, 0x11, 0, 12]);
        assert_eq!(
            &header[16..],
            [127, 0, 0, 9, 127, 90, 0, 1, 0x12, 0x34, 0x01, 0xbb]
        );
    }
}
