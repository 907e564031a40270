//! Pseudonyms: what stands in the place of a value.

use std::fmt;

use rand::Rng as _;
use sha2::{Digest as _, Sha256};

/// What pseudonyms are made with. It is drawn anew for each export and written nowhere.
#[derive(Clone)]
pub struct Key([u8; 32]);

impl Key {
    /// A key that nobody knows.
    pub fn random() -> Self {
        Self(rand::rng().random())
    }

    /// A fixed key, for tests and for pseudonyms that are to stay the same over several exports.
    pub const fn fixed(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The pseudonym of a value; case does not count. Ids of traces and spans stay such ids.
    pub(super) fn pseudonym(&self, value: &str) -> String {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(value.to_ascii_lowercase().as_bytes());
        // The key on both sides: nobody can go on from a digest.
        hash.update(self.0);
        let mut hex = String::new();
        model::id::push_hex(&hash.finalize(), &mut hex);
        let is_hex = value.bytes().all(|byte| byte.is_ascii_hexdigit());
        match value.len() {
            length @ (16 | 32) if is_hex => hex[..length].to_owned(),
            _ => format!("redacted-{}", &hex[..12]),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}
