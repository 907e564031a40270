//! How the rows of one file are laid out in its columns: what many rows repeat is written once.
//!
//! ```text
//! column of the table          columns of the file
//! attributes                   attributes.<key>  text, nullable     a column for each key that many rows have
//!                              attributes        map                the other pairs, sorted by key
//! resource_attributes, labels  the same name     text               a JSON object
//! ids                          id_attributes     text               "order_id=order.id": the id of this kind is
//!                                                                   the value of this attribute
//!                              ids               list of text       the ids that no attribute holds
//! observed_time                observed_delay_nano  int64           observed_time - time
//! exemplars                    the same name                        not in formats 1 and 2
//! ```
//!
//! Owns: both directions, and which attributes get a column. Does not own: encodings (`form`), files.
//!
//! Invariants: rows that went into a layout come out with equal values, attributes sorted by key and ids that
//! attributes hold first; the stored form of a row depends on its values and the layout alone, so that equal
//! rows are equal when stored. A layout of format 1 stores the table's columns as they are.

mod gather;
mod restore;
mod store;

use restore::Few;
pub(crate) use restore::StoredIds;
pub(crate) use store::{Place, Sources};

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use model::Signal;
use xxhash_rust::xxh3::xxh3_64;

use crate::rows::range_of;
use crate::schema::{self, EXEMPLARS};

/// What stands before the key in the name of an attribute's column.
const PREFIX: &str = "attributes.";
/// The column that says which attributes are ids.
const ID_ATTRIBUTES: &str = "id_attributes";
/// The column in the place of `observed_time`.
const OBSERVED_DELAY: &str = "observed_delay_nano";
/// Attributes that get a column, at most.
const PROMOTED_MAX: usize = 48;
/// One in so many rows has an attribute that gets a column.
const PROMOTED_SHARE: u64 = 64;
/// Values vary when one in so many of those looked at is a new one, and there are more than a few.
const VARIED_SHARE: usize = 2;
const VARIED_MIN: usize = 64;
/// Bytes of a key that gets a column.
const KEY_BYTES_MAX: usize = 96;
/// Rows below which columns of their own cost more than they save.
const ROWS_MIN: u64 = 4_096;
/// Of so many rows one is looked at for its keys.
const SAMPLED: usize = 16;

/// A column of texts as numbers of them.
pub(super) fn numbered(field: &Field) -> Field {
    let texts = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    field.clone().with_data_type(texts)
}

/// How the rows of one file are laid out. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    signal: Signal,
    /// Format 1: the columns are the table's.
    is_plain: bool,
    /// Of points: whether there is a column of their exemplars.
    has_exemplars: bool,
    /// Keys with a column of their own, sorted.
    promoted: Arc<[String]>,
    /// Those of them whose values mostly differ, sorted: a dictionary would be large and save little.
    varied: Arc<[String]>,
    /// Keys that hold ids in the file, sorted, where it says which.
    id_keys: Option<Arc<[String]>>,
}

impl Layout {
    /// A layout with columns for these attributes.
    pub(crate) fn new(signal: Signal, mut promoted: Vec<String>, mut varied: Vec<String>) -> Self {
        promoted.sort_unstable();
        promoted.dedup();
        varied.sort_unstable();
        let has_exemplars = signal == Signal::Metrics;
        let (promoted, varied) = (promoted.into(), varied.into());
        Self { signal, is_plain: false, has_exemplars, promoted, varied, id_keys: None }
    }

    /// The layout of a file with these columns.
    pub fn of_file(signal: Signal, columns: &Schema) -> Self {
        let keys = columns.fields().iter().filter_map(|field| field.name().strip_prefix(PREFIX));
        let is_stored = |name: &str| columns.field_with_name(name).is_ok();
        let is_plain = match signal {
            Signal::Traces | Signal::Logs => !is_stored(ID_ATTRIBUTES),
            Signal::Metrics => columns
                .field_with_name("labels")
                .is_ok_and(|labels| matches!(labels.data_type(), DataType::Map(..))),
        };
        let has_exemplars = is_stored(EXEMPLARS);
        Self { is_plain, has_exemplars, ..Self::new(signal, keys.map(str::to_owned).collect(), Vec::new()) }
    }

    /// The same for a file that says which attributes hold ids.
    pub(crate) fn with_id_keys(mut self, keys: Option<Vec<String>>) -> Self {
        self.id_keys = keys.map(|mut keys| {
            keys.sort_unstable();
            keys.into()
        });
        self
    }

    /// What the rows are.
    pub fn signal(&self) -> Signal {
        self.signal
    }

    /// Whether the columns are the table's own.
    pub fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// Keys with a column of their own, sorted.
    pub(crate) fn promoted(&self) -> &[String] {
        &self.promoted
    }

    /// The column that holds the values of an attribute; `None` when they are in the map.
    pub fn column_of_attribute(&self, key: &str) -> Option<String> {
        let at = self.promoted.binary_search_by(|known| known.as_str().cmp(key));
        at.ok().map(|_| format!("{PREFIX}{key}"))
    }

    /// The key whose values a column of the file holds.
    pub(crate) fn promoted_key<'a>(&self, column: &'a str) -> Option<&'a str> {
        let key = column.strip_prefix(PREFIX)?;
        self.promoted.binary_search_by(|known| known.as_str().cmp(key)).ok().map(|_| key)
    }

    /// The columns of a file as look-ups read them: of texts that many rows have, each once.
    pub(crate) fn looked_up(stored: &Schema) -> Fields {
        let field = |field: &FieldRef| match field.name().as_str() {
            "resource_attributes" | "labels" | ID_ATTRIBUTES if *field.data_type() == DataType::Utf8 => {
                Arc::new(numbered(field))
            }
            _ => Arc::clone(field),
        };
        stored.fields().iter().map(field).collect()
    }

    /// Whether values repeat in an attribute's column, so that a dictionary pays.
    pub(crate) fn repeats(&self, column: &str) -> bool {
        let key = column.strip_prefix(PREFIX).unwrap_or(column);
        self.varied.binary_search_by(|known| known.as_str().cmp(key)).is_err()
    }

    /// Whether rows of the other layout have the same columns.
    pub(crate) fn has_columns_of(&self, other: &Self) -> bool {
        let columns = |of: &Self| (of.signal, of.is_plain, of.has_exemplars, Arc::clone(&of.promoted));
        columns(self) == columns(other)
    }

    /// The columns of the file.
    pub fn schema(&self) -> SchemaRef {
        let table = schema::schema(self.signal);
        if self.is_plain {
            let columns = table.fields().iter().filter(|field| self.has(field.name()));
            return Arc::new(Schema::new(columns.cloned().collect::<Vec<_>>()));
        }
        let text = |name: &str| Field::new(name, DataType::Utf8, false);
        let mut fields: Vec<Field> = Vec::new();
        for field in table.fields() {
            match field.name().as_str() {
                "resource_attributes" => fields.push(text("resource_attributes")),
                "labels" => fields.push(text("labels")),
                EXEMPLARS if !self.has_exemplars => {}
                "observed_time" => fields.push(Field::new(OBSERVED_DELAY, DataType::Int64, false)),
                "ids" => fields.extend([text(ID_ATTRIBUTES), field.as_ref().clone()]),
                "attributes" => {
                    let column = |key: &String| Field::new(format!("{PREFIX}{key}"), DataType::Utf8, true);
                    fields.extend(self.promoted.iter().map(column));
                    fields.push(field.as_ref().clone());
                }
                _ => fields.push(field.as_ref().clone()),
            }
        }
        Arc::new(Schema::new(fields))
    }

    /// Whether the file has what a column of the table is made of.
    pub(crate) fn has(&self, name: &str) -> bool {
        name != EXEMPLARS || self.has_exemplars
    }

    /// The columns of the file that a column of the table is made of.
    pub fn columns_of(&self, name: &str) -> Vec<String> {
        let promoted = || self.promoted.iter().map(|key| format!("{PREFIX}{key}"));
        match name {
            _ if !self.has(name) => Vec::new(),
            _ if self.is_plain => vec![name.to_owned()],
            "observed_time" => vec!["time".to_owned(), OBSERVED_DELAY.to_owned()],
            "attributes" => promoted().chain(["attributes".to_owned()]).collect(),
            "ids" => {
                let mut columns = vec![ID_ATTRIBUTES.to_owned(), "ids".to_owned()];
                match &self.id_keys {
                    Some(keys) => columns.extend(keys.iter().filter_map(|key| self.column_of_attribute(key))),
                    None => columns.extend(promoted()),
                }
                let is_column = |key: &String| self.promoted.binary_search(key).is_ok();
                if !self.id_keys.as_ref().is_some_and(|keys| keys.iter().all(is_column)) {
                    columns.push("attributes".to_owned());
                }
                columns
            }
            _ => vec![name.to_owned()],
        }
    }

    /// Whether a column of the table has to be made of others, or of itself in another form.
    pub fn is_made(&self, name: &str) -> bool {
        !self.has(name)
            || !self.is_plain
                && matches!(name, "observed_time" | "attributes" | "ids" | "resource_attributes" | "labels")
    }
}

/// The keys that the column of ids' attributes names, gathered batch by batch.
#[derive(Default)]
pub(crate) struct IdKeys(BTreeSet<String>);

impl IdKeys {
    /// Adds those of stored rows.
    pub(crate) fn add(&mut self, stored: &RecordBatch) {
        let Ok(held) = Few::of(stored, ID_ATTRIBUTES) else { return };
        let mut is_used = vec![false; held.texts.len()];
        held.numbers.iter().for_each(|number| is_used[*number as usize] = true);
        let used = held.texts.iter().zip(is_used).filter(|(_, is_used)| *is_used);
        for (_, key) in used.flat_map(|(text, _)| text.split(' ')).filter_map(|pair| pair.split_once('=')) {
            if !self.0.contains(key) {
                self.0.insert(key.to_owned());
            }
        }
    }

    /// Adds those that a file names.
    pub(crate) fn extend(&mut self, keys: Vec<String>) {
        self.0.extend(keys);
    }

    /// As a JSON array.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(&self.0).expect("texts are JSON")
    }
}

/// Counts in how many rows attributes stand and how much they vary, to choose which get a column.
#[derive(Default)]
pub(crate) struct KeyCounts {
    rows: u64,
    keys: HashMap<String, KeyCount>,
}

#[derive(Default)]
struct KeyCount {
    /// Rows that have it.
    rows: u64,
    /// Values looked at, and hashes of those that differ.
    seen: usize,
    values: HashSet<u64>,
    is_varied: bool,
}

impl KeyCounts {
    /// Adds a sample of rows that stands for `rows` rows.
    pub(crate) fn add_sample(&mut self, sample: &RecordBatch, rows: u64) {
        self.rows += rows;
        let Some(map) = sample.column_by_name("attributes").and_then(|column| column.as_map_opt()) else {
            return;
        };
        let (keys, values) = (map.keys().as_string::<i32>(), map.values().as_string::<i32>());
        let each = rows / sample.num_rows().div_ceil(SAMPLED).max(1) as u64;
        for row in (0..map.len()).step_by(SAMPLED) {
            for at in range_of(map.offsets(), row) {
                let count = self.key(keys.value(at));
                count.rows += each;
                count.seen += 1;
                count.values.insert(xxh3_64(values.value(at).as_bytes()));
            }
        }
    }

    fn key(&mut self, key: &str) -> &mut KeyCount {
        if !self.keys.contains_key(key) {
            self.keys.insert(key.to_owned(), KeyCount::default());
        }
        self.keys.get_mut(key).expect("it was just put there")
    }

    /// Adds rows of a file, of which so many have a key in its own column.
    pub(crate) fn add(&mut self, key: &str, rows: u64, is_varied: bool) {
        let count = self.key(key);
        count.rows += rows;
        count.is_varied |= is_varied;
    }

    /// Adds rows whose keys were counted one by one.
    pub(crate) fn add_rows(&mut self, rows: u64) {
        self.rows += rows;
    }

    /// The layout for the rows. The keys of `promoted` have a column in every file, whether rows have them or not; then
    /// come the most frequent ones.
    pub(crate) fn layout(self, signal: Signal, promoted: &[String]) -> Layout {
        let Self { rows, mut keys } = self;
        let is_asked_for = |key: &&String| signal != Signal::Metrics && is_nameable(key);
        let asked_for = promoted.iter().filter(is_asked_for).take(PROMOTED_MAX);
        let mut chosen: Vec<(String, KeyCount)> =
            asked_for.map(|key| (key.clone(), keys.remove(key).unwrap_or_default())).collect();
        let is_worth_it = |(key, count): &(String, KeyCount)| {
            rows >= ROWS_MIN && count.rows * PROMOTED_SHARE >= rows && is_nameable(key)
        };
        let mut keys: Vec<(String, KeyCount)> = keys.into_iter().filter(is_worth_it).collect();
        keys.sort_unstable_by(|a, b| (b.1.rows, &a.0).cmp(&(a.1.rows, &b.0)));
        keys.truncate(PROMOTED_MAX.saturating_sub(chosen.len()));
        chosen.append(&mut keys);
        let is_varied = |count: &KeyCount| {
            count.is_varied
                || count.values.len() > VARIED_MIN && count.values.len() * VARIED_SHARE > count.seen
        };
        let varied =
            chosen.iter().filter(|(_, count)| is_varied(count)).map(|(key, _)| key.clone()).collect();
        Layout::new(signal, chosen.into_iter().map(|(key, _)| key).collect(), varied)
    }
}

/// Keys of attributes that have a column of their own in every file, beside those that many rows have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Promote {
    /// Of spans.
    pub traces: Vec<String>,
    /// Of log records.
    pub logs: Vec<String>,
}

impl Promote {
    /// Those of a signal.
    pub(crate) fn of(&self, signal: Signal) -> &[String] {
        match signal {
            Signal::Traces => &self.traces,
            Signal::Logs => &self.logs,
            Signal::Metrics => &[],
        }
    }

    /// The first key that cannot have a column, and why.
    ///
    /// # Errors
    /// The text for whoever configured it.
    pub fn check(&self) -> Result<(), String> {
        for keys in [&self.traces, &self.logs] {
            if keys.len() > PROMOTED_MAX {
                return Err(format!(
                    "{} attributes are named, a file has columns for {PROMOTED_MAX}",
                    keys.len()
                ));
            }
            if let Some(key) = keys.iter().find(|key| !is_nameable(key)) {
                return Err(format!(
                    "`{key}` cannot have a column: keys have 1 to {KEY_BYTES_MAX} visible ASCII characters and do not \
                     begin with `entries`"
                ));
            }
        }
        Ok(())
    }
}

/// Whether a key can be part of a column's name. `entries` is what the map's own columns begin with.
fn is_nameable(key: &str) -> bool {
    !key.is_empty()
        && key.len() <= KEY_BYTES_MAX
        && !key.starts_with("entries")
        && key.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests;
