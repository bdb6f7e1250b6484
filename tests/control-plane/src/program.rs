//! The command lines.

use std::path::{Path, PathBuf};

use crate::files::{CONTROLLER_MANAGER, SCHEDULER};
use crate::{Durability, Layout};

/// A program of the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Etcd,
    ApiServer,
    ControllerManager,
    Scheduler,
}

/// All programs in the order in which they start: the first two must answer before the next is of
/// use. They end in the opposite order.
pub const ROLES: [Role; 4] = [
    Role::Etcd,
    Role::ApiServer,
    Role::ControllerManager,
    Role::Scheduler,
];

/// A program with what it is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    pub role: Role,
    /// The file to execute.
    pub path: PathBuf,
    pub arguments: Vec<String>,
    /// Where its output should go.
    pub log: PathBuf,
}

impl Role {
    /// The name of the program.
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
        }
    }
}

impl Layout {
    /// What the program of `role` is started with.
    pub fn program(&self, role: Role) -> Program {
        let path = self.programs.join(role.name());
        let arguments = match role {
            Role::Etcd => self.etcd_arguments(),
            Role::ApiServer => self.api_server_arguments(),
            Role::ControllerManager => self.controller_manager_arguments(),
            Role::Scheduler => vec![
                option("kubeconfig", self.kubeconfig(SCHEDULER).display()),
                option("leader-elect", false),
                option("secure-port", 0),
            ],
        };
        let log = self.log(Path::new(role.name()));
        Program {
            role,
            path,
            arguments,
            log,
        }
    }

    fn etcd_arguments(&self) -> Vec<String> {
        let clients = format!("http://{}", self.etcd());
        let peers = format!("http://{}", self.etcd_peers());
        let mut arguments = vec![
            option("data-dir", self.file("etcd").display()),
            option("listen-client-urls", &clients),
            option("advertise-client-urls", &clients),
            option("listen-peer-urls", &peers),
            option("initial-advertise-peer-urls", &peers),
            option("initial-cluster", format!("default={peers}")),
            option("log-level", "warn"),
        ];
        if self.durability == Durability::None {
            arguments.push("--unsafe-no-fsync".into());
        }
        arguments
    }

    fn api_server_arguments(&self) -> Vec<String> {
        vec![
            option("etcd-servers", format!("http://{}", self.etcd())),
            option("bind-address", self.address),
            option("advertise-address", self.address),
            option("secure-port", self.port),
            // It would publish its own address for Pods, and refuse a loopback one.
            option("endpoint-reconciler-type", "none"),
            option("cert-dir", self.certificates().display()),
            option("service-account-issuer", "https://kubernetes.default.svc"),
            option("service-account-signing-key-file", self.key().display()),
            option("service-account-key-file", self.key().display()),
            option("token-auth-file", self.tokens().display()),
            option("authorization-mode", "RBAC"),
            option("service-cluster-ip-range", "10.96.0.0/16"),
            option("audit-policy-file", self.audit_policy().display()),
            option("audit-log-path", self.audit_log().display()),
        ]
    }

    fn controller_manager_arguments(&self) -> Vec<String> {
        vec![
            option("kubeconfig", self.kubeconfig(CONTROLLER_MANAGER).display()),
            option("leader-elect", false),
            option("secure-port", 0),
            option("service-account-private-key-file", self.key().display()),
            option("root-ca-file", self.certificate().display()),
            // Each controller with the rights of its own that a real cluster gives it.
            option("use-service-account-credentials", true),
        ]
    }
}

fn option(name: &str, value: impl std::fmt::Display) -> String {
    format!("--{name}={value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_keeps_to_its_directory_and_address() {
        let layout = Layout {
            directory: "/state".into(),
            programs: "/tools".into(),
            address: [127, 1, 2, 3].into(),
            port: 6443,
            durability: Durability::Disk,
        };
        for role in ROLES {
            let program = layout.program(role);
            assert_eq!(program.path, Path::new("/tools").join(role.name()));
            assert!(program.log.starts_with("/state"));
            for argument in &program.arguments {
                let (name, value) = argument.split_once('=').unwrap();
                assert!(name.starts_with("--"), "{argument}");
                assert!(
                    !value.starts_with('/') || value.starts_with("/state/"),
                    "{argument}"
                );
                let dials = value.contains("://") && !value.contains("kubernetes.default");
                assert!(!dials || value.contains("//127.1.2.3:644"), "{argument}");
            }
        }
    }
}
