use std::fmt;
use std::path::PathBuf;

use gatewright_seams::{Clock, Random, Tasks};

use crate::kinds::CustomKinds;
use crate::store::Copied;

/// Where the objects live.
#[derive(Clone, Debug)]
pub enum Storage {
    /// In memory: gone with the server.
    Memory,
    /// In memory, and in a redb database at this path that is written before a write is answered.
    /// Objects, revisions and definitions survive a restart; watch history does not.
    File(PathBuf),
    /// In memory; it begins as a copy of another server.
    Copy(Snapshot),
}

/// What a server had at one moment: objects, revisions and kinds, ready to be served. Many worlds that
/// begin alike are made from one, instead of defining their kinds anew. Clones are the same.
#[derive(Clone)]
pub struct Snapshot {
    pub(crate) store: Copied,
    pub(crate) kinds: CustomKinds,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

/// What [`crate::LocalKube::start`] needs.
#[derive(Clone, Debug)]
pub struct Options {
    pub storage: Storage,
    pub clock: Clock,
    pub random: Random,
    /// The server's background work: garbage collection, namespace deletion, the file. Stop this
    /// group and wait for it before opening the same file again.
    pub tasks: Tasks,
}
