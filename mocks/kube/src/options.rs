use std::path::PathBuf;

use gatewright_seams::{Clock, Random, Tasks};

/// Where the objects live.
#[derive(Clone, Debug)]
pub enum Storage {
    /// In memory: gone with the server.
    Memory,
    /// In memory, and in a redb database at this path that is written before a write is answered.
    /// Objects, revisions and definitions survive a restart; watch history does not.
    File(PathBuf),
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
