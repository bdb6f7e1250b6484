//! Access keys.

use gatewright_core::Secret;

/// A key pair, or a temporary one with its token. Printing shows masks only: the id too is kept out
/// of logs, since signed URLs with it have been found there.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub access_key_id: Secret<String>,
    pub access_key_secret: Secret<String>,
    pub security_token: Option<Secret<String>>,
}

impl Credentials {
    /// A permanent key pair.
    pub fn new(id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self {
            access_key_id: Secret::new(id.into()),
            access_key_secret: Secret::new(secret.into()),
            security_token: None,
        }
    }

    /// Every text that must not be seen.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        [
            Some(&self.access_key_id),
            Some(&self.access_key_secret),
            self.security_token.as_ref(),
        ]
        .into_iter()
        .flatten()
        .map(|secret| secret.expose().as_str())
        .filter(|text| !text.is_empty())
    }
}
