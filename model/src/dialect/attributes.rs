//! Keys and values of one record in one buffer, so that a reused record costs no allocation a field.
//!
//! ```text
//! text    levelorder_idORD-1amount5.13          what a dialect wrote, used or not
//! places        ^^^^^^^^^^^^^^                  (key, value) of each attribute, in order
//! ```
//!
//! Invariant: a key stands once; the value that comes later takes its place.

use std::fmt;

/// Room that is kept from record to record.
const ROOM_KEPT: usize = 1 << 20;

/// Attributes of one record, in order, values as text.
#[derive(Clone, Default)]
pub struct Attributes {
    text: String,
    places: Vec<Place>,
    /// A bit for each key that may be there.
    seen: u64,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    key: Span,
    value: Span,
}

/// Part of the buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    start: usize,
    end: usize,
}

impl Attributes {
    /// In order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + Clone {
        self.places.iter().map(|place| (self.text_of(place.key), self.text_of(place.value)))
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.find(key).map(|at| self.text_of(self.places[at].value))
    }

    /// Gives `key` a value: its own place when it has one, else the last.
    pub fn set(&mut self, key: &str, value: &str) {
        let value = self.keep(value);
        match self.find(key) {
            Some(at) => self.places[at].value = value,
            None => {
                let key = self.keep(key);
                self.place(key, value);
            }
        }
    }

    /// Gives attributes the names that `rename` knows for theirs.
    pub fn rename<'n>(&mut self, rename: impl Fn(&str) -> Option<&'n str>) {
        for at in 0..self.places.len() {
            if let Some(name) = rename(self.text_of(self.places[at].key)) {
                self.places[at].key = self.keep(name);
                self.seen |= bit_of(name);
            }
        }
    }

    /// Forgets all and keeps the room.
    pub fn clear(&mut self) {
        self.places.clear();
        self.seen = 0;
        self.text.clear();
        if self.text.capacity() > ROOM_KEPT {
            self.text = String::new();
        }
    }

    /// Writes text into the buffer without making it an attribute.
    pub(super) fn keep(&mut self, text: &str) -> Span {
        let start = self.text.len();
        self.text.push_str(text);
        Span { start, end: self.text.len() }
    }

    /// Text that was kept.
    #[inline]
    pub(super) fn text_of(&self, span: Span) -> &str {
        &self.text[span.start..span.end]
    }

    /// Makes kept text an attribute.
    pub(super) fn place(&mut self, key: Span, value: Span) {
        let bit = bit_of(self.text_of(key));
        if self.seen & bit != 0
            && let Some(at) = self.find(self.text_of(key))
        {
            self.places[at].value = value;
            return;
        }
        self.seen |= bit;
        self.places.push(Place { key, value });
    }

    fn find(&self, key: &str) -> Option<usize> {
        if self.seen & bit_of(key) == 0 {
            return None;
        }
        self.places.iter().position(|place| self.text_of(place.key) == key)
    }
}

/// One of 64 bits for a key, from its ends and its length.
const fn bit_of(key: &str) -> u64 {
    let bytes = key.as_bytes();
    let [first, .., last] = bytes else { return 1 };
    let middle = bytes[bytes.len() / 2] as u64;
    let mixed = (*first as u64) ^ ((*last as u64) << 8) ^ (middle << 16) ^ ((bytes.len() as u64) << 24);
    1 << (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58)
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl PartialEq for Attributes {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Attributes {}

impl<K: AsRef<str>, V: AsRef<str>> Extend<(K, V)> for Attributes {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, attributes: I) {
        attributes.into_iter().for_each(|(key, value)| self.set(key.as_ref(), value.as_ref()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stands_once_with_its_last_value_at_its_first_place() {
        let mut attributes = Attributes::default();
        attributes.extend([("a", "1"), ("order_id", "ORD-1"), ("", "none"), ("a", "2")]);
        assert_eq!(attributes.iter().collect::<Vec<_>>(), [("a", "2"), ("order_id", "ORD-1"), ("", "none")]);
        assert_eq!((attributes.get(""), attributes.get("b")), (Some("none"), None));
    }

    #[test]
    fn a_renamed_attribute_is_found_by_its_new_name_alone() {
        let mut attributes = Attributes::default();
        attributes.extend([("uid", "7"), ("x", "y")]);
        attributes.rename(|key| (key == "uid").then_some("user.id"));
        assert_eq!((attributes.get("user.id"), attributes.get("uid")), (Some("7"), None));
        attributes.clear();
        assert!(attributes.is_empty() && attributes.get("user.id").is_none());
    }

    #[test]
    fn many_keys_with_the_same_ends_are_told_apart() {
        let mut attributes = Attributes::default();
        let keys: Vec<String> = (0..500).map(|at| format!("k{at:05}k")).collect();
        attributes.extend(keys.iter().map(|key| (key, key)));
        assert!(keys.iter().all(|key| attributes.get(key) == Some(key.as_str())));
        assert_eq!(attributes.len(), 500);
    }
}
