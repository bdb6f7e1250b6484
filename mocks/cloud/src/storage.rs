use std::path::{Path, PathBuf};

use crate::options::{Error, Storage};
use crate::state::State;

/// Where the state goes after each change.
#[derive(Debug)]
pub(crate) struct Store(Option<PathBuf>);

impl Store {
    /// The store and what it holds.
    pub(crate) async fn open(storage: Storage) -> Result<(Self, State), Error> {
        let Storage::File(path) = storage else {
            return Ok((Self(None), State::default()));
        };
        let state = match tokio::fs::read(&path).await {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|source| Error::ParseState {
                path: path.clone(),
                source,
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => State::default(),
            Err(source) => return Err(Error::ReadState { path, source }),
        };
        Ok((Self(Some(path)), state))
    }

    /// Replaces what the store holds. A reader, or a process that dies meanwhile, sees the old or
    /// the new state as a whole.
    pub(crate) async fn save(&self, state: &State) -> Result<(), Error> {
        let Some(path) = &self.0 else { return Ok(()) };
        let bytes = serde_json::to_vec_pretty(state).map_err(Error::EncodeState)?;
        replace(path, &bytes)
            .await
            .map_err(|source| Error::WriteState {
                path: path.clone(),
                source,
            })
    }
}

async fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    tokio::fs::write(&new, bytes).await?;
    tokio::fs::rename(&new, path).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_is_not_ours_is_reported_and_kept() {
        let path = std::env::temp_dir().join(format!("mock-cloud-storage-{}", std::process::id()));
        std::fs::write(&path, "not json").unwrap();
        let error = Store::open(Storage::File(path.clone())).await.unwrap_err();
        assert!(matches!(error, Error::ParseState { .. }));
        assert_eq!(std::fs::read(&path).unwrap(), b"not json");
        std::fs::remove_file(&path).unwrap();
    }
}
