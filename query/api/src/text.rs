//! Texts and attributes of a journey's rows, of which most repeat: a journey has 100,000 rows of a few services.
//!
//! ```text
//! row ─► service ───► "billing" ◄── service ◄─ row        a text stands once, rows point to it
//!     └► attributes ─► [(key, value)…] sorted by key      one piece of memory, the texts shared
//! ```
//!
//! Owns: the types, and making equal texts one ([`Texts`]). Does not own: which texts are worth it (who makes rows).
//!
//! Invariants: what is equal as text is equal; keys are sorted and each stands once; JSON is that of a string and of
//! an object of strings.

use std::borrow::{Borrow, Cow};
use std::collections::HashSet;
use std::fmt;
use std::ops::{Deref, Index};
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text that others may share. Cheap to clone.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(Arc<str>);

impl Text {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&String> for Text {
    fn from(text: &String) -> Self {
        Self(text.as_str().into())
    }
}

impl From<&Self> for Text {
    fn from(text: &Self) -> Self {
        text.clone()
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.as_str().to_owned()
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialEq<String> for Text {
    fn eq(&self, other: &String) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<Text> for String {
    fn eq(&self, other: &Text) -> bool {
        self == other.as_str()
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(String::deserialize(deserializer)?.into())
    }
}

impl JsonSchema for Text {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Text".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}

/// Makes equal texts one.
#[derive(Debug, Default)]
pub struct Texts(HashSet<Text>);

impl Texts {
    /// Texts that are longer are mostly told once.
    const SHARED_BYTES_MAX: usize = 64;
    /// Texts that are kept to be shared.
    const SHARED_MAX: usize = 1 << 16;

    /// The text, shared with all that are equal and came before.
    pub fn share(&mut self, text: &str) -> Text {
        if let Some(known) = self.0.get(text) {
            return known.clone();
        }
        let new = Text::from(text);
        if text.len() <= Self::SHARED_BYTES_MAX && self.0.len() < Self::SHARED_MAX {
            self.0.insert(new.clone());
        }
        new
    }
}

/// Attributes by key. Cheap to clone.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attributes(Option<Arc<[(Text, Text)]>>);

impl Attributes {
    /// None.
    pub const fn new() -> Self {
        Self(None)
    }

    fn pairs(&self) -> &[(Text, Text)] {
        self.0.as_deref().unwrap_or_default()
    }

    fn position(&self, key: &str) -> Result<usize, usize> {
        self.pairs().binary_search_by(|(known, _)| known.as_str().cmp(key))
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Text> {
        self.position(key).ok().map(|at| &self.pairs()[at].1)
    }

    /// The value of a key as text.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key).map(Text::as_str)
    }

    /// Whether there is one with this key.
    pub fn contains_key(&self, key: &str) -> bool {
        self.position(key).is_ok()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.pairs().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// By key.
    pub fn iter(&self) -> Iter<'_> {
        fn pair((key, value): &(Text, Text)) -> (&Text, &Text) {
            (key, value)
        }
        self.pairs().iter().map(pair)
    }

    /// The keys, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &Text> {
        self.iter().map(|(key, _)| key)
    }

    /// Sets one. Costs a copy of all.
    pub fn insert(&mut self, key: impl Into<Text>, value: impl Into<Text>) {
        self.extend([(key, value)]);
    }
}

/// The pairs of [`Attributes`], by key.
pub type Iter<'a> =
    std::iter::Map<std::slice::Iter<'a, (Text, Text)>, fn(&'a (Text, Text)) -> (&'a Text, &'a Text)>;

impl<'a> IntoIterator for &'a Attributes {
    type Item = (&'a Text, &'a Text);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl<K: Into<Text>, V: Into<Text>> Extend<(K, V)> for Attributes {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, pairs: I) {
        let pairs = pairs.into_iter().map(|(key, value)| (key.into(), value.into()));
        *self = self.pairs().iter().cloned().chain(pairs).collect();
    }
}

/// Of those with one key the last one counts.
impl<K: Into<Text>, V: Into<Text>> FromIterator<(K, V)> for Attributes {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut pairs: Vec<(Text, Text)> =
            pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        if !pairs.is_sorted_by(|a, b| a.0 < b.0) {
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
            pairs.dedup_by(|later, kept| {
                let is_again = later.0 == kept.0;
                if is_again {
                    kept.1 = later.1.clone();
                }
                is_again
            });
        }
        Self((!pairs.is_empty()).then(|| pairs.into()))
    }
}

impl Index<&str> for Attributes {
    type Output = Text;

    fn index(&self, key: &str) -> &Text {
        self.get(key).unwrap_or_else(|| panic!("there is no attribute `{key}`"))
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

impl Serialize for Attributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self)
    }
}

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Attributes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Attributes, A::Error> {
                let mut pairs: Vec<(Text, Text)> = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(pairs.into_iter().collect())
            }
        }
        deserializer.deserialize_map(Object)
    }
}

impl JsonSchema for Attributes {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Attributes".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        std::collections::BTreeMap::<String, String>::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_sorted_and_of_one_key_the_last_value_counts() {
        let mut attributes: Attributes = [("b", "2"), ("a", "1"), ("b", "3")].into_iter().collect();
        assert_eq!(format!("{attributes:?}"), r#"{"a": "1", "b": "3"}"#);
        attributes.insert("a", "4");
        attributes.insert("c", "5");
        assert_eq!(
            (attributes.text("a"), attributes.text("c"), attributes.get("d")),
            (Some("4"), Some("5"), None)
        );
        assert!(
            Attributes::new().is_empty()
                && Attributes::new() == Attributes::from_iter::<[(&str, &str); 0]>([])
        );
    }

    #[test]
    fn json_is_that_of_an_object_and_comes_back() {
        let attributes: Attributes = [("b", "2"), ("a", "1")].into_iter().collect();
        let json = serde_json::to_string(&attributes).expect("JSON");
        assert_eq!(json, r#"{"a":"1","b":"2"}"#);
        assert_eq!(serde_json::from_str::<Attributes>(r#"{"b":"2","a":"1"}"#).expect("reads"), attributes);
        serde_json::from_str::<Attributes>(r#"{"a":1}"#).expect_err("no text");
    }

    #[test]
    fn equal_texts_become_one_and_long_ones_are_not_kept() {
        let mut texts = Texts::default();
        let (one, other) = (texts.share("billing"), texts.share("billing"));
        assert!(Arc::ptr_eq(&one.0, &other.0));
        let long = "x".repeat(Texts::SHARED_BYTES_MAX + 1);
        assert_eq!(texts.share(&long), texts.share(&long));
        assert_eq!(texts.0.len(), 1);
    }
}
