mod cloud;
mod convergence;
mod rules;
mod stored;

use jiff::Timestamp;

use crate::backend::{Backend, BackendKey, BackendState, Backends};
use crate::desired::{AddressType, BackendGroup, Desired, Listener};
use crate::id::{Port, Weight};
use crate::listener::{ListenerSettings, Protocol};

const OWNER: &str = "5d9f6f4e-7c3b-4a51-9d0a-2f1f6f1c0b11";

fn noon() -> Timestamp {
    "2030-01-01T12:00:00Z".parse().unwrap()
}

fn port(number: u16) -> Port {
    Port::new(number).unwrap()
}

fn weight(number: u8) -> Weight {
    Weight::new(number).unwrap()
}

fn key(number: u8, target: u16) -> BackendKey {
    BackendKey {
        server: format!("eni-{number}").into(),
        ip: Some([10, 0, 0, number].into()),
        port: port(target),
    }
}

fn pod(number: u8, target: u16) -> Backend {
    Backend {
        key: key(number, target),
        weight: Weight::FULL,
        state: BackendState::Ready,
    }
}

fn draining(number: u8, target: u16) -> Backend {
    Backend {
        state: BackendState::Draining,
        ..pod(number, target)
    }
}

fn pods(numbers: &[u8], target: u16) -> Backends {
    Backends::Complete(numbers.iter().map(|number| pod(*number, target)).collect())
}

fn listener(number: u16, protocol: Protocol, group: &str) -> Listener {
    Listener {
        port: port(number),
        protocol,
        group: group.into(),
        description: format!("{protocol}-{number}"),
        settings: ListenerSettings::default(),
    }
}

/// Two TCP ports to the same pods, as a gateway has them.
fn gateway(numbers: &[u8]) -> Desired {
    let mut desired = Desired::new(OWNER.into(), AddressType::Internet);
    desired.name = Some("shop".to_owned());
    desired.listeners = vec![
        listener(80, Protocol::Tcp, "http"),
        listener(443, Protocol::Tcp, "https"),
    ];
    desired.groups = vec![
        BackendGroup {
            name: "http".into(),
            backends: pods(numbers, 8080),
        },
        BackendGroup {
            name: "https".into(),
            backends: pods(numbers, 8443),
        },
    ];
    desired
}
