//! Serves the embedded API on a free loopback port until it is killed, and writes a kubeconfig for it:
//! `cargo run -p local-kube --example local_kube -- KUBECONFIG [DATABASE]`.

use gatewright_seams::{Clock, Random, Tasks};
use local_kube::{Access, LocalKube, Options, Storage};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let kubeconfig = arguments
        .next()
        .ok_or("the path of the kubeconfig to write is missing")?;
    let storage = match arguments.next() {
        Some(path) => Storage::File(path.into()),
        None => Storage::Memory,
    };
    let local = LocalKube::start(Options {
        storage,
        clock: Clock::system(),
        random: Random::system(),
        tasks: Tasks::new(),
    })
    .await?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let access = Access::generate()?;
    std::fs::write(
        &kubeconfig,
        local.kubeconfig(listener.local_addr()?, &access),
    )?;
    local.serve(listener, access).await?;
    Ok(())
}
