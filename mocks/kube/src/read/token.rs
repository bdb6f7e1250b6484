use std::ops::Bound;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::status::{Answer, ApiError};
use crate::store::ObjectKey;

const VERSION: &str = "meta.k8s.io/v1";

/// Where a list goes on: the `continue` of its last page, in the form of the real server
/// (`k8s.io/apiserver/pkg/storage/continue.go`).
pub(super) struct Continue {
    from: ObjectKey,
    /// The key itself was shown.
    after: bool,
    /// The revision of the list; none is whatever is there now.
    pub(super) at: Option<u64>,
}

impl Continue {
    /// Reads a token. Its key is below `namespace` where there is one, as the list is; the lists of
    /// cluster-scoped kinds have "" there.
    pub(super) fn decode(token: &str, namespace: Option<&str>) -> Answer<Self> {
        let wrong = |why: &str| {
            ApiError::bad_request(format!(
                "invalid continue token: continue key is not valid: {why}"
            ))
        };
        let bytes = URL_SAFE_NO_PAD
            .decode(token.trim_end_matches('='))
            .map_err(|_| wrong("it is not base64"))?;
        let value: Value = serde_json::from_slice(&bytes).map_err(|_| wrong("it is no JSON"))?;
        let version = value["v"].as_str().unwrap_or_default();
        if version != VERSION {
            let why = format!("server does not recognize this encoded version {version}");
            return Err(wrong(&why));
        }
        let start = value["start"].as_str().unwrap_or_default();
        if start.is_empty() {
            return Err(wrong("encoded start key empty (version meta.k8s.io/v1)"));
        }
        let at = match value["rv"].as_i64() {
            None | Some(0) => {
                return Err(wrong(
                    "incorrect encoded start resourceVersion (version meta.k8s.io/v1)",
                ));
            }
            Some(at) => u64::try_from(at).ok(),
        };
        if start.split('/').any(|part| part == "..") {
            return Err(wrong(start));
        }
        let (key, after) = match start.strip_suffix('\0') {
            Some(key) => (key, true),
            None => (start, false),
        };
        let (namespace, name) = match namespace {
            Some(namespace) => (namespace, key),
            None => key.split_once('/').unwrap_or((key, "")),
        };
        Ok(Self {
            from: ObjectKey {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            },
            after,
            at,
        })
    }

    pub(super) fn bound(&self) -> Bound<&ObjectKey> {
        if self.after {
            Bound::Excluded(&self.from)
        } else {
            Bound::Included(&self.from)
        }
    }

    /// A token for what comes after here, as it is now.
    pub(super) fn renewed(&self, namespace: Option<&str>) -> String {
        encode(&self.from, namespace, None)
    }
}

/// The token for what comes after a key.
pub(super) fn encode(after: &ObjectKey, namespace: Option<&str>, at: Option<u64>) -> String {
    let start = match namespace {
        Some(_) => format!("{}\0", after.name),
        None => format!("{}/{}\0", after.namespace, after.name),
    };
    let at = at.and_then(|at| i64::try_from(at).ok()).unwrap_or(-1);
    let value = json!({ "v": VERSION, "rv": at, "start": start });
    URL_SAFE_NO_PAD.encode(value.to_string())
}
