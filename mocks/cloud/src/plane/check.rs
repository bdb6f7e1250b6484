use std::net::SocketAddr;

use gatewright_seams::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::settings::{Check, HttpCheck};

/// `HTTP/1.1 200`: what of an answer is read.
const STATUS_LINE: usize = 12;

impl Check {
    /// Whether the member at `address` is well.
    pub(super) async fn run(&self, clock: Clock, mut address: SocketAddr) -> bool {
        if let Some(port) = self.port {
            address.set_port(port);
        }
        let probe = async {
            let mut stream = TcpStream::connect(address).await.ok()?;
            match &self.http {
                None => Some(true),
                Some(http) => http.ask(&mut stream, address).await,
            }
        };
        matches!(clock.timeout(self.timeout, probe).await, Ok(Some(true)))
    }
}

impl HttpCheck {
    async fn ask(&self, stream: &mut TcpStream, address: SocketAddr) -> Option<bool> {
        let host = self
            .host
            .clone()
            .unwrap_or_else(|| address.ip().to_string());
        let request = format!(
            "{} {} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n",
            self.method, self.uri
        );
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut line = [0; STATUS_LINE];
        stream.read_exact(&mut line).await.ok()?;
        Some(line.starts_with(b"HTTP/1.") && self.good.contains(&line[9]))
    }
}
