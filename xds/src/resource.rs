use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::{BufMut, Bytes};
use prost::encoding::{encode_varint, encoded_len_varint};
use prost::{Message, Name};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::Error;
use crate::proto::envoy::config::{
    cluster::v3::Cluster, endpoint::v3::ClusterLoadAssignment, listener::v3::Listener,
    route::v3::RouteConfiguration,
};
use crate::proto::envoy::extensions::transport_sockets::tls::v3::Secret;

mod references;

/// The types of resource that are served, in the order in which additions are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceType {
    Cluster,
    Endpoints,
    Secret,
    Listener,
    Route,
}

impl ResourceType {
    pub const ALL: [Self; 5] = [
        Self::Cluster,
        Self::Endpoints,
        Self::Secret,
        Self::Listener,
        Self::Route,
    ];

    /// The type URL of the discovery protocol.
    pub const fn type_url(self) -> &'static str {
        match self {
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Endpoints => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::Route => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        }
    }

    /// The short name people use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Endpoints => "endpoints",
            Self::Secret => "secret",
            Self::Listener => "listener",
            Self::Route => "route",
        }
    }

    pub(crate) fn from_type_url(type_url: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|each| each.type_url() == type_url)
    }

    /// Whether an Envoy asks for all there are instead of by name.
    pub(crate) const fn has_wildcard(self) -> bool {
        matches!(self, Self::Cluster | Self::Listener)
    }

    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A resource's type and name.
pub type ResourceKey = (ResourceType, Arc<str>);

/// The hash of a resource's content (half of a SHA-256), written as 32 hex digits.
///
/// Being a hash, it is the same on every replica and after a restart, so a proxy that reconnects
/// is sent nothing it has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version([u8; 16]);

impl Version {
    /// Stands for content that another server made; no content has this hash.
    pub(crate) const UNKNOWN: Self = Self([0; 16]);

    fn of(type_url: &str, content: &[u8]) -> Self {
        let hash = Sha256::new()
            .chain_update(type_url)
            .chain_update([0])
            .chain_update(content);
        let mut half = [0; 16];
        half.copy_from_slice(&hash.finalize()[..16]);
        Self(half)
    }

    /// Reads the text form; `None` for a version that another server made.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        if text.len() != 32 || !text.is_ascii() {
            return None;
        }
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One resource, encoded once and shared by every stream. Cheap to clone; `Debug` shows no content;
/// the memory is wiped when the last clone goes.
#[derive(Clone)]
pub struct Resource {
    kind: ResourceType,
    name: Arc<str>,
    version: Version,
    /// An encoded `envoy.service.discovery.v3.Resource`, ready to be put into a response.
    frame: Bytes,
    /// Where in `frame` the message itself is.
    content: Range<usize>,
    deps: Arc<[ResourceKey]>,
}

impl Resource {
    /// A listener; its name is the message's. The secrets and routes it names become its deps.
    pub fn listener(message: &Listener) -> Self {
        let deps = references::of_listener(message);
        Self::encode(ResourceType::Listener, &message.name, message, deps)
    }

    /// A cluster; its name is the message's. Its secrets and endpoints become its deps.
    pub fn cluster(message: &Cluster) -> Self {
        let deps = references::of_cluster(message);
        Self::encode(ResourceType::Cluster, &message.name, message, deps)
    }

    /// A route configuration; its name is the message's.
    pub fn route(message: &RouteConfiguration) -> Self {
        Self::encode(ResourceType::Route, &message.name, message, Vec::new())
    }

    /// The endpoints of a cluster; the name is the message's `cluster_name`.
    pub fn endpoints(message: &ClusterLoadAssignment) -> Self {
        Self::encode(
            ResourceType::Endpoints,
            &message.cluster_name,
            message,
            Vec::new(),
        )
    }

    /// A secret; its name is the message's. The name must be stable over rotations: a new name is a
    /// listener update, which drains connections.
    pub fn secret(message: &Secret) -> Self {
        Self::encode(ResourceType::Secret, &message.name, message, Vec::new())
    }

    /// Adds dependencies that the message does not show, for the order of pushes.
    pub fn with_deps(mut self, deps: impl IntoIterator<Item = ResourceKey>) -> Self {
        let mut all = self.deps.to_vec();
        all.extend(deps);
        all.sort_unstable();
        all.dedup();
        self.deps = all.into();
        self
    }

    /// Writes `Resource { version = 1, resource: Any = 2 { type_url = 1, value = 2 }, name = 3 }`
    /// into one buffer of the exact size, so that no copy of a key is left behind by growth.
    fn encode<M: Message>(
        kind: ResourceType,
        name: &str,
        message: &M,
        deps: Vec<ResourceKey>,
    ) -> Self {
        let type_url = kind.type_url();
        let content_len = message.encoded_len();
        let any_len = field_len(type_url.len()) + field_len(content_len);
        let len = field_len(32) + field_len(any_len) + field_len(name.len());
        let mut frame = Zeroizing::new(Vec::<u8>::with_capacity(len));
        let buf: &mut Vec<u8> = &mut frame;
        put_field(buf, 1, &[b'0'; 32]);
        put_head(buf, 2, any_len);
        put_field(buf, 1, type_url.as_bytes());
        put_head(buf, 2, content_len);
        let start = buf.len();
        message.encode_raw(buf);
        let content = start..buf.len();
        put_field(buf, 3, name.as_bytes());
        let version = Version::of(type_url, &frame[content.clone()]);
        // The version is the first field: one byte of tag, one of length, then the text.
        frame[2..34].copy_from_slice(version.to_string().as_bytes());
        Self {
            kind,
            name: name.into(),
            version,
            frame: Bytes::from_owner(Wiped(frame)),
            content,
            deps: deps.into(),
        }
    }

    pub fn kind(&self) -> ResourceType {
        self.kind
    }

    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub fn key(&self) -> ResourceKey {
        (self.kind, self.name.clone())
    }

    pub fn version(&self) -> Version {
        self.version
    }

    /// What this resource names: secrets, routes and endpoints; sorted.
    pub fn deps(&self) -> &[ResourceKey] {
        &self.deps
    }

    /// The message, decoded anew.
    ///
    /// # Errors
    /// [`Error::Decode`] when `M` is not the resource's message.
    pub fn decode<M: Message + Name + Default>(&self) -> Result<M, Error> {
        let decoded = if M::type_url() == self.kind.type_url() {
            M::decode(self.frame.slice(self.content.clone()))
        } else {
            Err(prost::DecodeError::new_unexpected_type_url(
                self.kind.type_url(),
                M::type_url(),
            ))
        };
        decoded.map_err(|source| Error::Decode {
            name: self.name.to_string(),
            type_name: self.kind.name(),
            source,
        })
    }

    /// The encoded `envoy.service.discovery.v3.Resource`.
    pub(crate) fn frame(&self) -> &Bytes {
        &self.frame
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} @ {} ({} bytes)",
            self.kind,
            self.name,
            self.version,
            self.frame.len()
        )
    }
}

/// What [`Bytes`] can own: memory that is wiped when the last reference goes.
struct Wiped(Zeroizing<Vec<u8>>);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Writes tag and length of a length-delimited field; `number` is below 16, so the tag is one byte.
pub(crate) fn put_head(buf: &mut impl BufMut, number: u8, len: usize) {
    buf.put_u8(number << 3 | 2);
    encode_varint(len as u64, buf);
}

pub(crate) fn put_field(buf: &mut impl BufMut, number: u8, bytes: &[u8]) {
    put_head(buf, number, bytes.len());
    buf.put_slice(bytes);
}

/// The size of a length-delimited field with `len` bytes of content.
pub(crate) fn field_len(len: usize) -> usize {
    1 + encoded_len_varint(len as u64) + len
}

#[cfg(test)]
mod tests;
