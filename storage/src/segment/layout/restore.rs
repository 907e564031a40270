//! From rows of a file to rows of the table.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, ListArray, MapArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type, TimestampNanosecondType};
use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use xxhash_rust::xxh3::xxh3_64;

use super::{ID_ATTRIBUTES, Layout, OBSERVED_DELAY, PREFIX};
use crate::decode::columns::{self, Block, Pairs, TextLists};
use crate::error::{Context as _, Error, ErrorKind};
use crate::rows::{TextColumn, range_of};
use crate::schema::{self, EXEMPLARS};

impl Layout {
    /// Rows of the file as rows of the table, with the columns named, all when none is, in the order of the
    /// table. `stored` has [`Layout::columns_of`] each.
    pub(crate) fn restore(&self, stored: &RecordBatch, names: &[&str]) -> Result<RecordBatch, Error> {
        if self.is_plain && self.has(EXEMPLARS) {
            return Ok(stored.clone());
        }
        let table = schema::schema(self.signal);
        let (mut fields, mut columns) = (Vec::new(), Vec::new());
        for field in table.fields() {
            if names.is_empty() || names.contains(&field.name().as_str()) {
                columns.push(self.restore_column(stored, field.name())?);
                fields.push(Arc::clone(field));
            }
        }
        RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields)), columns)
            .context(ErrorKind::Damaged, || "rows of a segment".to_owned())
    }

    /// One column of the table. `stored` has [`Layout::columns_of`] it.
    ///
    /// # Errors
    /// `Damaged` when a column is not there or holds what was never written.
    pub fn restore_column(&self, stored: &RecordBatch, name: &str) -> Result<ArrayRef, Error> {
        match name {
            EXEMPLARS if !self.has(name) => Ok(columns::no_exemplars(stored.num_rows())),
            _ if self.is_plain => column(stored, name).cloned(),
            "resource_attributes" | "labels" => maps_of(&Few::of(stored, name)?),
            "observed_time" => observed_times(stored),
            "attributes" => Ok(self.attributes(stored)?.finish()),
            "ids" => self.ids(stored),
            _ => column(stored, name).cloned(),
        }
    }

    /// Promoted keys and the others, sorted together.
    fn attributes(&self, stored: &RecordBatch) -> Result<Pairs, Error> {
        let promoted = self.promoted_columns(stored);
        let others = map(stored)?;
        let (keys, values) = (others.keys().as_string::<i32>(), others.values().as_string::<i32>());
        let mut pairs = Pairs::default();
        for row in 0..stored.num_rows() {
            let mut rest = range_of(others.offsets(), row).peekable();
            for (key, column) in &promoted {
                let Some(value) = column.get(row) else { continue };
                while let Some(at) = rest.next_if(|at| keys.value(*at) < *key) {
                    pairs.push_text(keys.value(at), values.value(at));
                }
                pairs.push_text(key, value);
            }
            rest.for_each(|at| pairs.push_text(keys.value(at), values.value(at)));
            pairs.end();
        }
        Ok(pairs)
    }

    /// The columns of promoted keys that `stored` has.
    fn promoted_columns<'a>(&'a self, stored: &'a RecordBatch) -> Vec<(&'a str, TextColumn<'a>)> {
        let named = |key: &'a String| {
            let column = stored.column_by_name(&format!("{PREFIX}{key}"))?;
            Some((key.as_str(), TextColumn::of(column)?))
        };
        self.promoted.iter().filter_map(named).collect()
    }

    fn ids(&self, stored: &RecordBatch) -> Result<ArrayRef, Error> {
        let terms = StoredIds::new(self, stored)?;
        let mut lists = TextLists::default();
        let mut scratch = String::new();
        for row in 0..stored.num_rows() {
            terms.each(row, &mut |term| lists.push(term), &mut scratch);
            lists.end();
        }
        Ok(lists.finish())
    }
}

/// The ids of stored rows.
pub(crate) struct StoredIds<'a> {
    sources: Few<'a>,
    others: &'a ListArray,
    /// `None` when columns hold them all.
    map: Option<&'a MapArray>,
    /// What each text of `sources` means.
    meanings: Vec<Vec<(&'a str, Holder<'a>)>>,
}

/// A column of few texts that many rows have.
pub(super) struct Few<'a> {
    pub(super) texts: Vec<&'a str>,
    /// The text of each row.
    pub(super) numbers: Vec<u32>,
}

impl<'a> Few<'a> {
    pub(super) fn of(stored: &'a RecordBatch, name: &str) -> Result<Self, Error> {
        let column = column(stored, name)?;
        if let Some(dictionary) = column.as_dictionary_opt::<Int32Type>() {
            let texts = dictionary.values().as_string_opt::<i32>().ok_or_else(|| odd(name))?;
            let texts: Vec<&str> = texts.iter().map(Option::unwrap_or_default).collect();
            let numbers: Vec<u32> = dictionary.keys().values().iter().map(|key| *key as u32).collect();
            let is_sound = numbers.iter().all(|number| (*number as usize) < texts.len());
            return if is_sound { Ok(Self { texts, numbers }) } else { Err(odd(name)) };
        }
        let column = column.as_string_opt::<i32>().ok_or_else(|| odd(name))?;
        let mut few = Self { texts: Vec::new(), numbers: Vec::with_capacity(column.len()) };
        let mut known: HashMap<u64, Vec<u32>> = HashMap::new();
        let mut last = 0;
        for text in column.iter().map(Option::unwrap_or_default) {
            if few.texts.get(last as usize) != Some(&text) {
                let like = known.entry(xxh3_64(text.as_bytes())).or_default();
                let known = like.iter().copied().find(|number| few.texts[*number as usize] == text);
                last = known.unwrap_or_else(|| {
                    let number = few.texts.len() as u32;
                    few.texts.push(text);
                    like.push(number);
                    number
                });
            }
            few.numbers.push(last);
        }
        Ok(few)
    }
}

/// What holds the value of an id.
enum Holder<'a> {
    Column(TextColumn<'a>),
    /// A key of the map.
    Key(&'a str),
}

impl<'a> StoredIds<'a> {
    pub(crate) fn new(layout: &'a Layout, stored: &'a RecordBatch) -> Result<Self, Error> {
        let sources = Few::of(stored, ID_ATTRIBUTES)?;
        let promoted = layout.promoted_columns(stored);
        let holder = |key: &'a str| match promoted.binary_search_by_key(&key, |(key, _)| *key) {
            Ok(at) => Holder::Column(promoted[at].1),
            Err(_) => Holder::Key(key),
        };
        let meaning = |text: &&'a str| -> Vec<(&'a str, Holder<'a>)> {
            let pairs = text.split(' ').filter_map(|pair| pair.split_once('='));
            pairs.map(|(kind, key)| (kind, holder(key))).collect()
        };
        let meanings = sources.texts.iter().map(meaning).collect();
        let others = column(stored, "ids")?.as_list_opt::<i32>().ok_or_else(|| odd("ids"))?;
        let map = stored.column_by_name("attributes").and_then(|column| column.as_map_opt());
        Ok(Self { sources, others, map, meanings })
    }

    /// Calls `each` with every id of a row, as `kind=value`.
    pub(crate) fn each(&self, row: usize, each: &mut dyn FnMut(&str), scratch: &mut String) {
        for (kind, holder) in &self.meanings[self.sources.numbers[row] as usize] {
            let Some(value) = self.value(row, holder) else { continue };
            scratch.clear();
            scratch.push_str(kind);
            scratch.push('=');
            scratch.push_str(value);
            each(scratch);
        }
        let terms = self.others.values().as_string::<i32>();
        range_of(self.others.offsets(), row).for_each(|at| each(terms.value(at)));
    }

    fn value(&self, row: usize, holder: &Holder<'a>) -> Option<&'a str> {
        match holder {
            Holder::Column(column) => column.get(row),
            Holder::Key(key) => {
                let keys = self.map?.keys().as_string::<i32>();
                let at = range_of(self.map?.offsets(), row).find(|at| keys.value(*at) == *key)?;
                Some(self.map?.values().as_string::<i32>().value(at))
            }
        }
    }
}

fn column<'a>(stored: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, Error> {
    stored
        .column_by_name(name)
        .ok_or_else(|| Error::damaged(format!("a segment without the column `{name}`")))
}

fn odd(name: &str) -> Error {
    Error::damaged(format!("the column `{name}` of a segment has another type than it was written with"))
}

fn map(stored: &RecordBatch) -> Result<&MapArray, Error> {
    column(stored, "attributes")?.as_map_opt().ok_or_else(|| odd("attributes"))
}

fn observed_times(stored: &RecordBatch) -> Result<ArrayRef, Error> {
    let times = column(stored, "time")?.as_primitive_opt::<TimestampNanosecondType>();
    let delays = column(stored, OBSERVED_DELAY)?.as_primitive_opt::<Int64Type>();
    let (times, delays) = times.zip(delays).ok_or_else(|| odd(OBSERVED_DELAY))?;
    let observed = times.values().iter().zip(delays.values()).map(|(time, delay)| time.wrapping_add(*delay));
    Ok(columns::times(observed.collect()))
}

/// JSON objects as maps. Rows mostly have one of few, which are read once.
fn maps_of(objects: &Few<'_>) -> Result<ArrayRef, Error> {
    let mut blocks: Vec<Option<Block>> = objects.texts.iter().map(|_| None).collect();
    let mut pairs = Pairs::default();
    for number in &objects.numbers {
        let slot = &mut blocks[*number as usize];
        let block = match slot {
            Some(block) => block,
            None => {
                let mut reader = serde_json::Deserializer::from_str(objects.texts[*number as usize]);
                slot.insert(
                    reader
                        .deserialize_map(Object)
                        .context(ErrorKind::Damaged, || "reading attributes of a resource".to_owned())?,
                )
            }
        };
        pairs.push_block(block);
        pairs.end();
    }
    Ok(pairs.finish())
}

/// Reads a JSON object of texts, in its order.
struct Object;

impl<'de> Visitor<'de> for Object {
    type Value = Block;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Block, A::Error> {
        let mut block = Block::default();
        while let Some((key, value)) = map.next_entry::<String, String>()? {
            block.push_text(&key, &value);
        }
        Ok(block)
    }
}
