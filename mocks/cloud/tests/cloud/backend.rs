//! Servers behind the load balancer.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use gatewright_seams::Tasks;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A server that greets each connection with its name and then sends back what it gets. It listens
/// on 127.a.b.c and is a member at 10.a.b.c.
pub(crate) struct Backend {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    accepting: Tasks,
}

impl Backend {
    pub(crate) async fn start(name: &'static str, ip: &str) -> Self {
        let listener = TcpListener::bind((ip.parse::<IpAddr>().unwrap(), 0))
            .await
            .unwrap();
        Self::on(name, listener)
    }

    pub(crate) fn on(name: &'static str, listener: TcpListener) -> Self {
        let address = listener.local_addr().unwrap();
        let (accepting, connections) = (Tasks::new(), Tasks::new());
        accepting.spawn("backend", async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                connections.spawn("backend connection", async move {
                    // A health check hangs up at once; that is its right.
                    let _ = stream.write_all(name.as_bytes()).await;
                    let (mut read, mut write) = stream.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                    let _ = write.shutdown().await;
                });
            }
        });
        Self {
            name,
            address,
            accepting,
        }
    }

    /// Stops accepting; connections stay.
    pub(crate) async fn stop(&self) {
        self.accepting.stop(Duration::from_secs(5)).await;
    }

    /// The member as calls write it.
    pub(crate) fn member(&self, weight: u32) -> String {
        let ip = self.address.ip().to_string();
        let ip = ip.strip_prefix("127.").unwrap();
        format!(
            r#"{{"ServerId":"eni-{}","ServerIp":"10.{ip}","Port":"{}","Weight":{weight},"Type":"eni"}}"#,
            self.name,
            self.address.port()
        )
    }
}

/// A connection through the load balancer.
pub(crate) struct Client(TcpStream);

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> std::io::Result<Self> {
        TcpStream::connect(address).await.map(Self)
    }

    /// The name of the server at the other end, which has one letter.
    pub(crate) async fn greeting(&mut self) -> std::io::Result<char> {
        let mut name = [0];
        self.0.read_exact(&mut name).await?;
        Ok(char::from(name[0]))
    }

    /// Whether something sent comes back.
    pub(crate) async fn echoes(&mut self) -> bool {
        let mut back = [0; 4];
        self.0.write_all(b"ping").await.is_ok()
            && self.0.read_exact(&mut back).await.is_ok()
            && &back == b"ping"
    }

    /// Ends the sending side and reads what is left.
    pub(crate) async fn finish(mut self) -> Vec<u8> {
        self.0.shutdown().await.unwrap();
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).await.unwrap();
        rest
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// Waits for the other side to close.
    pub(crate) async fn closed(&mut self) {
        let mut rest = Vec::new();
        // A reset is as good an end as a close.
        let _ = self.0.read_to_end(&mut rest).await;
    }
}

/// The name of the server a new connection reaches.
pub(crate) async fn who(address: SocketAddr) -> std::io::Result<char> {
    Client::connect(address).await?.greeting().await
}
