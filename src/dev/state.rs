//! What `dev` keeps between two runs, and who may use it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

const FILE: &str = "dev.json";
const LOCK: &str = "lock";

/// The part that survives.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Kept {
    /// The range of loopback addresses.
    pub(super) slot: Option<u8>,
    pub(super) kube_port: Option<u16>,
    /// The objects of the quickstart were applied once; what became of them is the user's.
    #[serde(default)]
    pub(super) applied: bool,
    pub(super) access_key_id: String,
    pub(super) access_key_secret: String,
}

/// A state directory in use by this process alone.
pub(super) struct State {
    directory: PathBuf,
    pub(super) kept: Kept,
    _lock: File,
}

impl State {
    /// Opens or makes the directory; `fresh` removes what an earlier run left.
    ///
    /// # Errors
    /// Another process uses it, it holds something else, or the disk refuses.
    pub(super) fn open(directory: &Path, fresh: bool) -> Result<Self> {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("making the state directory {}", directory.display()))?;
        let lock_path = directory.join(LOCK);
        let lock =
            File::create(&lock_path).with_context(|| format!("opening {}", lock_path.display()))?;
        if lock.try_lock().is_err() {
            bail!(
                "another gatewright dev uses {}; end it, or give this one its own --state-dir",
                directory.display()
            );
        }
        let file = directory.join(FILE);
        if fresh {
            clear(directory, &file)?;
        }
        let kept = match std::fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text).with_context(|| {
                format!(
                    "{} is not what gatewright dev writes; --fresh starts clean",
                    file.display()
                )
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => new_keys()?,
            Err(error) => return Err(error).context(format!("reading {}", file.display())),
        };
        let state = Self {
            directory: directory.to_owned(),
            kept,
            _lock: lock,
        };
        state.save()?;
        Ok(state)
    }

    /// Writes what is kept.
    ///
    /// # Errors
    /// The disk refuses.
    pub(super) fn save(&self) -> Result<()> {
        write_private(
            &self.directory.join(FILE),
            &serde_json::to_string_pretty(&self.kept)?,
        )
    }
}

/// Removes what is in `directory`, if it is a state directory or empty.
fn clear(directory: &Path, marker: &Path) -> Result<()> {
    let entries = std::fs::read_dir(directory)
        .with_context(|| format!("reading {}", directory.display()))?
        .collect::<Result<Vec<_>, _>>()?;
    let others = entries
        .iter()
        .filter(|entry| entry.file_name() != LOCK)
        .collect::<Vec<_>>();
    if others.is_empty() {
        return Ok(());
    }
    if !marker.exists() {
        bail!(
            "{} is not a state directory of gatewright dev ({FILE} is missing): nothing was removed",
            directory.display()
        );
    }
    // The marker last: a removal that was cut short can be taken up again.
    let (last, first): (Vec<_>, Vec<_>) = others
        .into_iter()
        .partition(|entry| entry.file_name() == FILE);
    for entry in first.into_iter().chain(last) {
        let path = entry.path();
        let removed = if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            std::fs::remove_dir_all(&path)
        } else {
            std::fs::remove_file(&path)
        };
        removed.with_context(|| format!("removing {}", path.display()))?;
    }
    Ok(())
}

fn new_keys() -> Result<Kept> {
    let mut bytes = [0u8; 30];
    SystemRandom::new()
        .fill(&mut bytes)
        .ok()
        .context("no randomness from the system")?;
    let (id, secret) = bytes.split_at(6);
    Ok(Kept {
        access_key_id: format!("LTAIlaptop{}", URL_SAFE_NO_PAD.encode(id)),
        access_key_secret: URL_SAFE_NO_PAD.encode(secret),
        ..Kept::default()
    })
}

/// Writes `text` so that only this user can read it, as a whole or not at all.
///
/// # Errors
/// The disk refuses.
pub(super) fn write_private(path: &Path, text: &str) -> Result<()> {
    let temporary = path.with_extension("new");
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(text.as_bytes())?;
        std::fs::rename(&temporary, path)
    };
    write().with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("gatewright-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&path));
        path
    }

    #[test]
    fn two_cannot_use_one_directory_and_the_keys_survive() {
        let path = directory("state");
        let first = State::open(&path, false).unwrap();
        let key = first.kept.access_key_secret.clone();
        let error = State::open(&path, false).err().unwrap().to_string();
        assert!(error.contains("another gatewright dev uses"), "{error}");
        drop(first);
        let again = State::open(&path, false).unwrap();
        assert_eq!(again.kept.access_key_secret, key);
        drop(again);
        let fresh = State::open(&path, true).unwrap();
        assert_ne!(fresh.kept.access_key_secret, key);
        std::fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn fresh_never_empties_a_directory_of_somebody_else() {
        let path = directory("foreign");
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("thesis.txt"), "ten years").unwrap();
        let error = State::open(&path, true).err().unwrap().to_string();
        assert!(error.contains("nothing was removed"), "{error}");
        assert!(path.join("thesis.txt").exists());
        std::fs::remove_dir_all(&path).unwrap();
    }
}
