//! Idempotency tokens.

use std::fmt::{self, Write};

use sha2::{Digest, Sha256};

use crate::id::OwnerKey;
use crate::step::Action;

/// What a cloud takes to recognise a repeated request: 35 ASCII characters, the same for the same
/// owner, generation and step, so that a daemon that was restarted sends the same one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyToken(String);

impl IdempotencyToken {
    /// `generation` is that of the owning object.
    pub fn new(owner: &OwnerKey, generation: i64, action: &Action) -> Self {
        let mut hash = Sha256::new();
        hash.update(format!("{owner}\n{generation}\n{}", action.identity()));
        let mut token = String::from("gw-");
        for byte in hash.finalize().iter().take(16) {
            // Writing to a String cannot fail.
            let _ = write!(token, "{byte:02x}");
        }
        Self(token)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IdempotencyToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
