//! The files that the programs read.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::Layout;

/// The user who may do everything.
pub const ADMIN: &str = "admin";
pub(crate) const CONTROLLER_MANAGER: &str = "system:kube-controller-manager";
pub(crate) const SCHEDULER: &str = "system:kube-scheduler";

/// Why a file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{doing} {path}")]
#[non_exhaustive]
pub struct Error {
    doing: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl Layout {
    /// Writes what the programs read, with fresh tokens, and a kubeconfig for each user: the
    /// administrator, the two programs, and `users`, which may do nothing until a role is bound to
    /// them.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn write(&self, users: &[&str]) -> Result<(), Error> {
        let failed = |doing, path: &Path| {
            let path = path.to_owned();
            move |source| Error {
                doing,
                path,
                source,
            }
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)
            .map_err(failed("creating", &self.directory))?;
        let mut tokens = String::new();
        let own = [
            (ADMIN, "\"system:masters\""),
            (CONTROLLER_MANAGER, ""),
            (SCHEDULER, ""),
        ];
        for (user, groups) in own.into_iter().chain(users.iter().map(|user| (*user, ""))) {
            let random = Path::new("/dev/urandom");
            let token = token(random).map_err(failed("reading", random))?;
            // The form of the API server's --token-auth-file: token, name, id, groups.
            tokens += &[&token, user, user, groups].join(",");
            tokens.push('\n');
            let path = self.kubeconfig(user);
            let text = format!("{:#}\n", self.kubeconfig_of(user, &token));
            write(&path, &text).map_err(failed("writing", &path))?;
        }
        let path = self.tokens();
        write(&path, &tokens).map_err(failed("writing", &path))?;
        let path = self.audit_policy();
        write(&path, &format!("{:#}\n", audit_policy())).map_err(failed("writing", &path))
    }

    pub(crate) fn tokens(&self) -> PathBuf {
        self.file("tokens.csv")
    }

    pub(crate) fn audit_policy(&self) -> PathBuf {
        self.file("audit-policy.json")
    }

    fn kubeconfig_of(&self, user: &str, token: &str) -> Value {
        let cluster = "loopback";
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": cluster, "cluster": {
                "server": format!("https://{}", self.api_server()),
                "certificate-authority": self.certificate(),
            }}],
            "users": [{ "name": user, "user": { "token": token } }],
            "contexts": [{ "name": cluster, "context": { "cluster": cluster, "user": user } }],
            "current-context": cluster,
        })
    }
}

/// 128 random bits as text.
fn token(random: &Path) -> io::Result<String> {
    let mut bytes = [0u8; 16];
    fs::File::open(random)?.read_exact(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)?.write_all(text.as_bytes())
}

/// Who asked for what and what came of it; no bodies, so no secrets.
fn audit_policy() -> Value {
    json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "omitManagedFields": true,
        "rules": [{ "level": "Metadata" }],
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::Durability;

    #[test]
    fn each_user_has_a_token_of_its_own_that_others_cannot_read() {
        let directory =
            std::env::temp_dir().join(format!("control-plane-files-{}", std::process::id()));
        let layout = Layout {
            directory: directory.clone(),
            programs: "/none".into(),
            address: [127, 0, 0, 1].into(),
            port: 6443,
            durability: Durability::None,
        };
        layout.write(&["gatewright"]).unwrap();
        let listed = fs::read_to_string(layout.tokens()).unwrap();
        let mut tokens = BTreeSet::new();
        for user in [ADMIN, CONTROLLER_MANAGER, SCHEDULER, "gatewright"] {
            let path = layout.kubeconfig(user);
            let text = fs::read_to_string(&path).unwrap();
            let config: Value = serde_json::from_str(&text).unwrap();
            let token = config["users"][0]["user"]["token"]
                .as_str()
                .unwrap()
                .to_owned();
            assert!(
                listed.contains(&format!("{token},{user},{user},")),
                "{user}"
            );
            assert!(tokens.insert(token), "{user} has the token of another");
            assert_eq!(fs::metadata(path).unwrap().mode() & 0o077, 0);
        }
        assert_eq!(listed.matches("system:masters").count(), 1, "{listed}");
        fs::remove_dir_all(directory).unwrap();
    }
}
