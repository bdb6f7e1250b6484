//! Secret and ConfigMap volumes as files, replaced as a whole so that a reader never sees half.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::Api;

/// The files of one volume: file name to content.
type Files = BTreeMap<String, Vec<u8>>;

/// Why a volume could not be laid out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum VolumeError {
    #[error("reading the source of volume {volume}: {cause}")]
    Source { volume: String, cause: kube::Error },
    #[error("writing {path}")]
    Write { path: PathBuf, source: io::Error },
}

/// Reads the sources of the Pod's volumes and writes those that changed under `directory/VOLUME/`.
///
/// # Errors
/// A source does not exist (yet), or the disk refuses.
pub(super) async fn lay_out(
    kube: &kube::Client,
    pod: &Pod,
    directory: &Path,
) -> Result<(), VolumeError> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref());
    for volume in volumes.into_iter().flatten() {
        let failed = |cause| VolumeError::Source {
            volume: volume.name.clone(),
            cause,
        };
        let mut files = Files::new();
        if let Some(name) = volume
            .secret
            .as_ref()
            .and_then(|s| s.secret_name.as_deref())
        {
            let secret = Api::<Secret>::namespaced(kube.clone(), namespace)
                .get(name)
                .await
                .map_err(failed)?;
            files.extend(secret.data.into_iter().flatten().map(|(k, v)| (k, v.0)));
        } else if let Some(source) = &volume.config_map {
            let map = Api::<ConfigMap>::namespaced(kube.clone(), namespace)
                .get(&source.name)
                .await
                .map_err(failed)?;
            files.extend(
                map.data
                    .into_iter()
                    .flatten()
                    .map(|(k, v)| (k, v.into_bytes())),
            );
        } else {
            continue;
        }
        write(&directory.join(&volume.name), &files)?;
    }
    Ok(())
}

fn write(directory: &Path, files: &Files) -> Result<(), VolumeError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| VolumeError::Write { path, source }
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(failed(directory))?;
    for (name, content) in files {
        let path = directory.join(name);
        if std::fs::read(&path).is_ok_and(|held| held == *content) {
            continue;
        }
        let temporary = directory.join(format!(".{name}.new"));
        let written = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)
            .and_then(|mut file| io::Write::write_all(&mut file, content))
            .and_then(|()| std::fs::rename(&temporary, &path));
        written.map_err(failed(&path))?;
    }
    Ok(())
}
