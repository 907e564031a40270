//! From rows of the table to rows of a file.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, Int64Array, MapArray, RecordBatch, StringArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::TimestampNanosecondType;
use model::otlp::value::push_json_string;
use xxhash_rust::xxh3::xxh3_64;

use super::Layout;
use crate::decode::columns::{Pairs, TextLists, Texts};
use crate::error::{Context as _, Error, ErrorKind};
use crate::rows::range_of;

impl Layout {
    /// Rows of the table in the columns of the file.
    pub(crate) fn store(&self, rows: &RecordBatch) -> Result<RecordBatch, Error> {
        if self.is_plain {
            return Ok(rows.clone());
        }
        let mut columns: Vec<ArrayRef> = Vec::new();
        for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
            match field.name().as_str() {
                "resource_attributes" | "labels" => columns.push(json_objects(column.as_map())),
                "observed_time" => columns.push(delays(rows)),
                "ids" => columns.extend(self.store_ids(rows)),
                "attributes" => columns.extend(self.store_attributes(column.as_map())),
                _ => columns.push(Arc::clone(column)),
            }
        }
        RecordBatch::try_new(self.schema(), columns)
            .context(ErrorKind::Internal, || "laying rows out in columns".to_owned())
    }

    /// The columns of the promoted keys, and the map of the others.
    fn store_attributes(&self, map: &MapArray) -> Vec<ArrayRef> {
        let (keys, values) = (map.keys().as_string::<i32>(), map.values().as_string::<i32>());
        let mut promoted: Vec<Optional> = self.promoted.iter().map(|_| Optional::default()).collect();
        let mut places = Places::new(&self.promoted);
        let mut others = Pairs::default();
        let mut rest: Vec<(&str, &str)> = Vec::new();
        for row in 0..map.len() {
            for (nth, at) in range_of(map.offsets(), row).enumerate() {
                let (key, value) = (keys.value(at), values.value(at));
                let column = places.of(nth, key).map(|place| &mut promoted[place]);
                match column.filter(|column| column.is_there.len() <= row) {
                    Some(column) => column.push(row, value),
                    None => rest.push((key, value)),
                }
            }
            rest.sort_by_key(|(key, _)| *key);
            rest.drain(..).for_each(|(key, value)| others.push_text(key, value));
            others.end();
        }
        let columns = promoted.into_iter().map(|column| column.finish(map.len()));
        columns.chain([others.finish()]).collect()
    }

    /// Which attributes are ids, and the ids that no attribute holds.
    fn store_ids(&self, rows: &RecordBatch) -> [ArrayRef; 2] {
        let ids = rows.column_by_name("ids").expect("a column of the table").as_list::<i32>();
        let terms = ids.values().as_string::<i32>();
        let map = rows.column_by_name("attributes").expect("a column of the table").as_map();
        let (keys, values) = (map.keys().as_string::<i32>(), map.values().as_string::<i32>());
        let (mut held, mut others) = (Texts::default(), TextLists::default());
        let mut sources = String::new();
        for row in 0..rows.num_rows() {
            sources.clear();
            for term in range_of(ids.offsets(), row).map(|at| terms.value(at)) {
                let Some((kind, value)) = term.split_once('=') else {
                    others.push(term);
                    continue;
                };
                // Of several the one that stands first when they are sorted.
                let holds =
                    |at: &usize| values.value(*at) == value && is_first(keys, map.offsets(), row, *at);
                match range_of(map.offsets(), row).filter(holds).min_by_key(|at| keys.value(*at)) {
                    Some(at) => {
                        sources.push_str(if sources.is_empty() { "" } else { " " });
                        sources.push_str(kind);
                        sources.push('=');
                        sources.push_str(keys.value(at));
                    }
                    None => others.push(term),
                }
            }
            held.push(&sources);
            others.end();
        }
        [held.finish(), others.finish()]
    }
}

/// Whether an attribute can be named by its key: it is the first with the key, and the key is one word.
fn is_first(keys: &StringArray, offsets: &[i32], row: usize, at: usize) -> bool {
    let key = keys.value(at);
    let is_word = !key.is_empty() && !key.bytes().any(|byte| byte == b' ');
    is_word && (offsets[row] as usize..at).all(|earlier| keys.value(earlier) != key)
}

/// Finds the column of a key: that of the row before at the same place, in most rows.
struct Places<'a> {
    promoted: &'a [String],
    by_key: HashMap<&'a str, usize>,
    last: Vec<usize>,
}

impl<'a> Places<'a> {
    fn new(promoted: &'a [String]) -> Self {
        let by_key = promoted.iter().enumerate().map(|(at, key)| (key.as_str(), at)).collect();
        Self { promoted, by_key, last: Vec::new() }
    }

    fn of(&mut self, nth: usize, key: &str) -> Option<usize> {
        if let Some(at) =
            self.last.get(nth).filter(|at| self.promoted.get(**at).is_some_and(|last| last == key))
        {
            return Some(*at);
        }
        let at = self.by_key.get(key).copied()?;
        if self.last.len() <= nth {
            self.last.resize(nth + 1, usize::MAX);
        }
        self.last[nth] = at;
        Some(at)
    }
}

/// A text column in which rows are missing.
#[derive(Default)]
struct Optional {
    texts: Texts,
    is_there: Vec<bool>,
}

impl Optional {
    fn fill(&mut self, rows: usize) {
        while self.is_there.len() < rows {
            self.texts.push("");
            self.is_there.push(false);
        }
    }

    fn push(&mut self, row: usize, value: &str) {
        self.fill(row);
        self.texts.push(value);
        self.is_there.push(true);
    }

    fn finish(mut self, rows: usize) -> ArrayRef {
        self.fill(rows);
        let (offsets, values, _) = self.texts.array().into_parts();
        let nulls = Some(NullBuffer::from(self.is_there));
        Arc::new(StringArray::try_new(offsets, values, nulls).expect("as many flags as values"))
    }
}

/// Maps as JSON objects. Most rows have one of few, which are written out once.
fn json_objects(map: &MapArray) -> ArrayRef {
    let mut known: HashMap<u64, Vec<(usize, String)>> = HashMap::new();
    let mut column = Texts::default();
    for row in 0..map.len() {
        let like = known.entry(map_hash(map, row)).or_default();
        match like.iter().find(|(other, _)| is_same_map(map, row, *other)) {
            Some((_, json)) => column.push(json),
            None => {
                let json = json_object(map, row);
                column.push(&json);
                like.push((row, json));
            }
        }
    }
    column.finish()
}

/// The text of all keys and that of all values of a row.
fn texts(map: &MapArray, row: usize) -> [&[u8]; 2] {
    let entries = range_of(map.offsets(), row);
    [map.keys(), map.values()].map(|column| {
        let column = column.as_string::<i32>();
        let offsets = column.value_offsets();
        &column.value_data()[offsets[entries.start] as usize..offsets[entries.end] as usize]
    })
}

fn map_hash(map: &MapArray, row: usize) -> u64 {
    let [keys, values] = texts(map, row);
    xxh3_64(keys).rotate_left(1) ^ xxh3_64(values)
}

fn is_same_map(map: &MapArray, row: usize, other: usize) -> bool {
    let (here, there) = (range_of(map.offsets(), row), range_of(map.offsets(), other));
    let has_same_ends = |column: &ArrayRef| {
        let column = column.as_string::<i32>();
        here.clone().zip(there.clone()).all(|(a, b)| column.value_length(a) == column.value_length(b))
    };
    here.len() == there.len()
        && texts(map, row) == texts(map, other)
        && has_same_ends(map.keys())
        && has_same_ends(map.values())
}

fn json_object(map: &MapArray, row: usize) -> String {
    let (keys, values) = (map.keys().as_string::<i32>(), map.values().as_string::<i32>());
    let mut json = String::from("{");
    for at in range_of(map.offsets(), row) {
        json.push_str(if json.len() > 1 { "," } else { "" });
        push_json_string(keys.value(at), &mut json);
        json.push(':');
        push_json_string(values.value(at), &mut json);
    }
    json.push('}');
    json
}

fn delays(rows: &RecordBatch) -> ArrayRef {
    let times = |name: &str| {
        let column = rows.column_by_name(name).expect("a column of the table");
        column.as_primitive::<TimestampNanosecondType>().values().clone()
    };
    let (observed, time) = (times("observed_time"), times("time"));
    let delays = observed.iter().zip(time.iter()).map(|(observed, time)| observed.wrapping_sub(*time));
    Arc::new(Int64Array::from_iter_values(delays))
}
