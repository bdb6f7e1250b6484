use std::collections::{BTreeSet, VecDeque};

/// Older nonces are forgotten; a client that brings one is told to take a new one.
const KEPT: usize = 10_000;

/// Nonces that were given out and not yet used (RFC 8555, section 6.5).
#[derive(Debug, Default)]
pub(crate) struct Nonces {
    unused: BTreeSet<String>,
    order: VecDeque<String>,
}

impl Nonces {
    pub(crate) fn give_out(&mut self, nonce: String) -> String {
        self.unused.insert(nonce.clone());
        self.order.push_back(nonce.clone());
        if self.order.len() > KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.unused.remove(&oldest);
        }
        nonce
    }

    /// True once for each nonce that was given out.
    pub(crate) fn take(&mut self, nonce: &str) -> bool {
        self.unused.remove(nonce)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_good_once_and_not_for_ever() {
        let mut nonces = Nonces::default();
        nonces.give_out("first".to_owned());
        assert!(nonces.take("first"));
        assert!(!nonces.take("first"));
        assert!(!nonces.take("never"));
        nonces.give_out("old".to_owned());
        for number in 0..KEPT {
            nonces.give_out(number.to_string());
        }
        assert!(!nonces.take("old"));
    }
}
