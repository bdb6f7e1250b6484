use std::fmt;
use std::sync::Arc;

use bytes::BufMut;

use crate::resource::{field_len, put_field};
use crate::{Resource, ResourceType};

/// One response of the delta protocol; answer it with its nonce.
#[derive(Clone)]
pub struct Response {
    kind: ResourceType,
    nonce: String,
    resources: Vec<Resource>,
    removed: Vec<Arc<str>>,
}

impl Response {
    pub(super) fn new(
        kind: ResourceType,
        nonce: u64,
        resources: Vec<Resource>,
        removed: Vec<Arc<str>>,
    ) -> Self {
        Self {
            kind,
            nonce: nonce.to_string(),
            resources,
            removed,
        }
    }

    pub fn kind(&self) -> ResourceType {
        self.kind
    }

    pub fn nonce(&self) -> &str {
        &self.nonce
    }

    pub fn resources(&self) -> &[Resource] {
        &self.resources
    }

    /// Names that are not there, or not any more.
    pub fn removed(&self) -> &[Arc<str>] {
        &self.removed
    }

    /// The size of the encoded `DeltaDiscoveryResponse` in bytes.
    pub(crate) fn encoded_len(&self) -> usize {
        let frames = self
            .resources
            .iter()
            .map(|each| field_len(each.frame().len()));
        let removed = self.removed.iter().map(|name| field_len(name.len()));
        frames.sum::<usize>()
            + removed.sum::<usize>()
            + field_len(self.kind.type_url().len())
            + field_len(self.nonce.len())
    }

    /// Writes the `DeltaDiscoveryResponse`: a header and the frames as they are.
    pub(crate) fn encode(&self, buf: &mut impl BufMut) {
        for resource in &self.resources {
            put_field(buf, 2, resource.frame());
        }
        put_field(buf, 4, self.kind.type_url().as_bytes());
        put_field(buf, 5, self.nonce.as_bytes());
        for name in &self.removed {
            put_field(buf, 6, name.as_bytes());
        }
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("kind", &self.kind)
            .field("nonce", &self.nonce)
            .field("resources", &self.resources)
            .field("removed", &self.removed)
            .finish()
    }
}
