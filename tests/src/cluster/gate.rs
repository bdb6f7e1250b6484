//! Stands between the daemon and the API server: counts connections, and cuts them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gatewright_seams::{Clock, Tasks};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A way to a server that can be cut. What goes through it is not looked at. Ends when dropped.
pub struct Gate {
    address: SocketAddr,
    shared: Arc<Shared>,
    tasks: Tasks,
}

struct Shared {
    clock: Clock,
    /// When each connection was opened.
    opened: Mutex<Vec<Duration>>,
    /// How often everything was cut.
    cuts: watch::Sender<u64>,
}

impl Gate {
    /// Listens at a port of `address` and leads to `server`.
    ///
    /// # Panics
    /// There is no free port.
    pub async fn start(clock: Clock, address: Ipv4Addr, server: SocketAddr) -> Self {
        let listener = TcpListener::bind((address, 0)).await.expect("a socket");
        let this = Self {
            address: listener.local_addr().expect("an address"),
            shared: Arc::new(Shared {
                clock,
                opened: Mutex::default(),
                cuts: watch::Sender::new(0),
            }),
            tasks: Tasks::new(),
        };
        let (shared, tasks) = (this.shared.clone(), this.tasks.clone());
        this.tasks
            .spawn("gate", serve(listener, server, shared, tasks));
        this
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts every connection that is open now. New ones are let through.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// When connections were opened since `since`, on the clock that it was given. One that the
    /// server did not take counts too.
    pub fn opened_since(&self, since: Duration) -> Vec<Duration> {
        let opened = self.shared.opened.lock();
        let opened = opened.unwrap_or_else(PoisonError::into_inner);
        opened.iter().copied().filter(|at| *at >= since).collect()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

async fn serve(listener: TcpListener, server: SocketAddr, shared: Arc<Shared>, tasks: Tasks) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            // Out of files: they come back as connections end.
            shared.clock.sleep(Duration::from_millis(10)).await;
            continue;
        };
        let now = shared.clock.elapsed();
        let opened = shared.opened.lock();
        opened.unwrap_or_else(PoisonError::into_inner).push(now);
        let mut cuts = shared.cuts.subscribe();
        tasks.spawn("connection", async move {
            tokio::select! {
                // Both sides see the end, whichever way it comes.
                _ended = carry(client, server) => {}
                _cut = cuts.changed() => {}
            }
        });
    }
}

async fn carry(mut client: TcpStream, server: SocketAddr) -> io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
