use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::authority::StoredAuthority;
use crate::error::Error;
use crate::model::Records;

const VERSION: u32 = 1;

/// Where the authority's keys, the accounts, the orders and the certificates are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// In memory: everything ends with the last handle.
    Memory,
    /// In this file, which is made with mode 0600 and replaced whole. Its folder is made if missing.
    File(PathBuf),
}

/// What the state file holds.
#[derive(Debug, Deserialize)]
pub(crate) struct Snapshot {
    version: u32,
    pub(crate) authority: StoredAuthority,
    pub(crate) records: Records,
}

#[derive(Serialize)]
struct SnapshotRef<'a> {
    version: u32,
    authority: &'a StoredAuthority,
    records: &'a Records,
}

/// Encodes the state. The text holds private keys, so its memory is wiped.
pub(crate) fn encode(
    authority: &StoredAuthority,
    records: &Records,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    serde_json::to_vec(&SnapshotRef {
        version: VERSION,
        authority,
        records,
    })
    .map(Zeroizing::new)
    .map_err(Error::Encode)
}

/// Writes states in the order of their revisions, and an older one never over a newer one.
#[derive(Debug)]
pub(crate) struct Journal {
    path: Option<PathBuf>,
    /// The revision in the file.
    written: Mutex<u64>,
}

impl Journal {
    pub(crate) fn new(storage: Storage) -> Self {
        let path = match storage {
            Storage::Memory => None,
            Storage::File(path) => Some(path),
        };
        Self {
            path,
            written: Mutex::new(0),
        }
    }

    pub(crate) fn is_durable(&self) -> bool {
        self.path.is_some()
    }

    pub(crate) async fn load(&self) -> Result<Option<Snapshot>, Error> {
        let Some(path) = &self.path else {
            return Ok(None);
        };
        let text = match tokio::fs::read(path).await {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(Error::StateFile {
                    action: "reading",
                    path: path.clone(),
                    source,
                });
            }
        };
        let snapshot: Snapshot =
            serde_json::from_slice(&text).map_err(|source| Error::StateFormat {
                path: path.clone(),
                source,
            })?;
        if snapshot.version != VERSION {
            return Err(Error::StateVersion {
                path: path.clone(),
                found: snapshot.version,
                expected: VERSION,
            });
        }
        Ok(Some(snapshot))
    }

    /// Makes `state` durable unless a newer revision is already.
    pub(crate) async fn write(&self, revision: u64, state: &[u8]) -> Result<(), Error> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let mut written = self.written.lock().await;
        if *written >= revision {
            return Ok(());
        }
        replace(path, state)
            .await
            .map_err(|source| Error::StateFile {
                action: "writing",
                path: path.clone(),
                source,
            })?;
        *written = revision;
        Ok(())
    }
}

/// Replaces a file whole: a reader or a crash sees the old text or the new one.
async fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    tokio::fs::create_dir_all(folder).await?;
    let temporary = path.with_extension("new");
    // A file left by a crash may have another mode; the mode applies only to a file that is made.
    match tokio::fs::remove_file(&temporary).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = tokio::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .await?;
    file.write_all(text).await?;
    file.sync_all().await?;
    tokio::fs::rename(&temporary, path).await?;
    tokio::fs::File::open(folder).await?.sync_all().await
}
