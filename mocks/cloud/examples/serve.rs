//! Serves a mock cloud over HTTP until it is interrupted:
//!
//! `cargo run -p mock-cloud --example serve -- [ADDRESS:PORT] [STATE FILE]`
//!
//! The access key is `mock-key-id` with the secret `mock-key-secret`, the region `cn-hangzhou`.
//! Started listeners are real sockets on 127.90.0.0/16, at their port plus 10000.

use std::io::Write;
use std::net::Ipv4Addr;
use std::time::Duration;

use gatewright_seams::{AddressMap, Clock, Random, Tasks};
use mock_cloud::{AccessKey, DataPlane, MockCloud, Options, Storage};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments
        .next()
        .unwrap_or_else(|| "127.0.0.1:8090".to_owned());
    let storage = arguments
        .next()
        .map_or(Storage::Memory, |path| Storage::File(path.into()));
    let tasks = Tasks::new();
    let cloud = MockCloud::start(Options {
        storage,
        clock: Clock::system(),
        random: Random::system(),
        tasks: tasks.clone(),
        region: "cn-hangzhou".to_owned(),
        access_keys: vec![AccessKey {
            id: "mock-key-id".to_owned(),
            secret: "mock-key-secret".to_owned(),
        }],
        data_plane: DataPlane::Sockets {
            network: Ipv4Addr::new(127, 90, 0, 0),
            port_shift: 10_000,
            addresses: AddressMap::Loopback,
        },
    })
    .await?;
    let listener = tokio::net::TcpListener::bind(address).await?;
    writeln!(
        std::io::stdout(),
        "mock cloud on http://{}",
        listener.local_addr()?
    )?;
    tokio::select! {
        served = cloud.serve(listener) => served?,
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    tasks.stop(Duration::from_secs(2)).await;
    Ok(())
}
