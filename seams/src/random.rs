use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A shared source of randomness for ids, nonces and jitter. Not for keys: those come from `ring`.
#[derive(Clone, Debug)]
pub struct Random {
    numbers: Arc<Mutex<fastrand::Rng>>,
    seed: u64,
}

impl Random {
    /// Seeded by the operating system.
    pub fn system() -> Self {
        Self::seeded(fastrand::Rng::new().u64(..))
    }

    /// The same numbers for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self {
            numbers: Arc::new(Mutex::new(fastrand::Rng::with_seed(seed))),
            seed,
        }
    }

    /// A source of its own, whose numbers follow from this one's seed and `label` and from nothing
    /// else: not from how many were drawn here. So what one part draws changes nothing for another.
    pub fn child(&self, label: &str) -> Self {
        // FNV-1a.
        let seed = label.bytes().fold(self.seed, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self::seeded(seed)
    }

    fn with<T>(&self, f: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        f(&mut self.numbers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A number in `0..bound`; 0 when `bound` is 0.
    pub fn below(&self, bound: u64) -> u64 {
        if bound == 0 {
            0
        } else {
            self.with(|rng| rng.u64(0..bound))
        }
    }

    /// `bytes` random bytes as lower-case hex.
    pub fn hex(&self, bytes: usize) -> String {
        const DIGITS: &[u8] = b"0123456789abcdef";
        self.with(|rng| {
            (0..2 * bytes)
                .map(|_| char::from(DIGITS[rng.usize(0..16)]))
                .collect()
        })
    }

    /// `len` characters of Kubernetes' generated-name alphabet (no vowels, no 0, 1 or 3).
    pub fn name_suffix(&self, len: usize) -> String {
        const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        self.with(|rng| {
            (0..len)
                .map(|_| char::from(ALPHABET[rng.usize(0..ALPHABET.len())]))
                .collect()
        })
    }

    /// A random (version 4) UUID.
    pub fn uuid(&self) -> String {
        let bits = self.with(|rng| rng.u128(..));
        let bits = (bits & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
        let hex = format!("{bits:032x}");
        format!(
            "{}-{}-{}-{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..]
        )
    }

    /// A duration in `0..limit`: full jitter.
    pub fn jitter(&self, limit: Duration) -> Duration {
        Duration::from_millis(self.below(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers() {
        assert_eq!(Random::seeded(7).hex(16), Random::seeded(7).hex(16));
        assert_ne!(Random::seeded(7).hex(16), Random::seeded(8).hex(16));
    }

    #[test]
    fn a_child_draws_the_same_whatever_its_parent_drew() {
        let parent = Random::seeded(7);
        let before = parent.child("a").hex(16);
        parent.hex(16);
        assert_eq!(parent.child("a").hex(16), before);
        assert_ne!(parent.child("b").hex(16), before);
        assert_ne!(Random::seeded(8).child("a").hex(16), before);
    }

    #[test]
    fn a_uuid_says_its_version_and_variant() {
        let uuid = Random::seeded(1).uuid();
        assert_eq!(uuid.len(), 36);
        assert_eq!(&uuid[14..15], "4");
        assert!("89ab".contains(&uuid[19..20]));
    }
}
