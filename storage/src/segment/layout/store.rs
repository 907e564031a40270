//! From rows of the table, of many batches and in any order, to rows of a file.
//!
//! ```text
//! batches ─► Sources: what rows repeat is numbered, ids are compared with attributes, in the order of memory
//!               └─► gather(places) ─► columns of the file, every value copied once
//! ```

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, Int64Array, ListArray, MapArray, RecordBatch, StringArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{Schema, SchemaRef, TimestampNanosecondType};
use arrow::error::ArrowError;
use model::Signal;
use model::otlp::value::push_json_string;
use xxhash_rust::xxh3::xxh3_64;

use super::gather::{Column, FewTexts, numbered, values};
use super::{Layout, PREFIX};
use crate::decode::columns::{Pairs, TextLists, Texts};
use crate::error::{Context as _, Error, ErrorKind};
use crate::rows::{MapColumn, range_of};
use crate::schema::time_column;
use crate::segment::form::TEXT;

/// A row: which batch, and where in it.
pub(crate) type Place = (usize, usize);

/// What stands for no column.
const NONE: u32 = u32::MAX;

impl Layout {
    /// Rows of the table in the columns of the file.
    pub(crate) fn store(&self, rows: &RecordBatch) -> Result<RecordBatch, Error> {
        let places: Vec<Place> = (0..rows.num_rows()).map(|row| (0, row)).collect();
        Sources::new(&[rows]).gather(self, &places)
    }
}

/// Batches of the table that rows of files are taken from.
pub(crate) struct Sources<'a> {
    batches: &'a [&'a RecordBatch],
    /// Whether texts that many rows have stay numbers.
    is_numbered: bool,
    /// Of the table, each made ready when it is first gathered as it is.
    columns: Vec<OnceLock<Column<'a>>>,
    attributes: Option<Attributes<'a>>,
    ids: Option<IdSources<'a>>,
    /// Of the column with this name.
    objects: Option<(&'static str, Objects)>,
}

impl<'a> Sources<'a> {
    /// Looks through the batches, which are of one signal.
    pub(crate) fn new(batches: &'a [&'a RecordBatch]) -> Self {
        Self::with(batches, false)
    }

    /// The same; columns of texts that many rows have are dictionaries of numbers.
    pub(crate) fn numbered(batches: &'a [&'a RecordBatch]) -> Self {
        Self::with(batches, true)
    }

    fn with(batches: &'a [&'a RecordBatch], is_numbered: bool) -> Self {
        let maps = |name: &str| -> Option<Vec<&'a MapArray>> {
            batches.iter().map(|rows| rows.column_by_name(name)?.as_map_opt()).collect()
        };
        let objects = ["resource_attributes", "labels"].into_iter().find_map(|name| {
            let maps = batches.iter().map(|rows| MapColumn::of(rows.column_by_name(name)?));
            let maps = maps.collect::<Option<Vec<_>>>().filter(|maps| !maps.is_empty())?;
            Some((name, Objects::new(&maps, is_numbered)))
        });
        let attributes = maps("attributes").filter(|maps| !maps.is_empty());
        let attributes = attributes.map(|maps| Attributes::new(maps, is_numbered));
        let lists: Option<Vec<&'a ListArray>> =
            batches.iter().map(|rows| rows.column_by_name("ids")?.as_list_opt()).collect();
        let ids = attributes.as_ref().zip(lists);
        let ids = ids.map(|(attributes, lists)| IdSources::new(attributes, lists, is_numbered));
        let fields = batches.first().map_or(0, |rows| rows.num_columns());
        let columns = (0..fields).map(|_| OnceLock::new()).collect();
        Self { batches, is_numbered, columns, attributes, ids, objects }
    }

    /// The rows at these places, in the columns of a layout.
    pub(crate) fn gather(&self, layout: &Layout, places: &[Place]) -> Result<RecordBatch, Error> {
        let doing = || "laying rows out in columns".to_owned();
        let Some(first) = self.batches.first() else {
            return Ok(RecordBatch::new_empty(layout.schema()));
        };
        let mut columns: Vec<ArrayRef> = Vec::new();
        for (at, field) in first.schema_ref().fields().iter().enumerate() {
            let gathered = || self.column(at).gather(places).context(ErrorKind::Internal, doing);
            match (field.name().as_str(), &self.attributes, &self.objects, &self.ids) {
                _ if layout.is_plain => columns.push(gathered()?),
                (name, _, Some((of, objects)), _) if name == *of => columns.push(objects.gather(places)),
                ("observed_time", ..) => {
                    columns.push(self.delays(at, places).context(ErrorKind::Internal, doing)?);
                }
                ("ids", .., Some(ids)) => columns.extend(ids.gather(places)),
                ("attributes", Some(attributes), ..) => columns.extend(attributes.gather(layout, places)),
                _ => columns.push(gathered()?),
            }
        }
        let schema = if self.is_numbered { typed_as(&layout.schema(), &columns) } else { layout.schema() };
        RecordBatch::try_new(schema, columns).context(ErrorKind::Internal, doing)
    }

    fn column(&self, at: usize) -> &Column<'a> {
        let batches = self.batches;
        // Whoever indexes long texts reads them.
        let may_be_numbered = self.is_numbered && batches[0].schema_ref().field(at).name() != TEXT;
        self.columns[at].get_or_init(|| {
            Column::new(batches.iter().map(|rows| rows.column(at)).collect(), may_be_numbered)
        })
    }

    /// How long after its time each record was observed.
    fn delays(&self, observed: usize, places: &[Place]) -> Result<ArrayRef, ArrowError> {
        let time = self.batches[0].schema_ref().index_of(time_column(Signal::Logs))?;
        let (observed, time) = (self.column(observed).gather(places)?, self.column(time).gather(places)?);
        let nanos = |times: &ArrayRef| times.as_primitive::<TimestampNanosecondType>().values().clone();
        let (observed, time) = (nanos(&observed), nanos(&time));
        let delays = observed.iter().zip(&time).map(|(observed, time)| observed.wrapping_sub(*time));
        Ok(Arc::new(Int64Array::from_iter_values(delays)))
    }
}

/// The schema with the types that the columns have.
fn typed_as(schema: &SchemaRef, columns: &[ArrayRef]) -> SchemaRef {
    let fields = schema.fields().iter().zip(columns);
    let typed =
        fields.map(|(field, column)| field.as_ref().clone().with_data_type(column.data_type().clone()));
    Arc::new(Schema::new(typed.collect::<Vec<_>>()))
}

/// The attributes of batches, every key with a number.
struct Attributes<'a> {
    keys: Vec<&'a str>,
    /// Of each key, if its values are few and numbered.
    few: Vec<Option<FewValues<'a>>>,
    /// Whether a key can stand in the list of ids' attributes.
    is_word: Vec<bool>,
    batches: Vec<Numbered<'a>>,
}

/// The values of a key, each once.
struct FewValues<'a> {
    texts: Vec<&'a str>,
    /// The same as what rows are numbers of, made when a column of the key is gathered first.
    array: OnceLock<Option<ArrayRef>>,
}

struct Numbered<'a> {
    offsets: &'a [i32],
    /// The key of each pair.
    numbers: Vec<u32>,
    values: &'a StringArray,
    /// The number of each value among those of its key, if these are few.
    value_numbers: Vec<u32>,
}

impl<'a> Attributes<'a> {
    fn new(maps: Vec<&'a MapArray>, is_numbered: bool) -> Self {
        let mut numbers = KeyNumbers::default();
        let mut few: Vec<FewTexts<'a>> = Vec::new();
        let number = |map: &'a MapArray| {
            let (keys, values) = (map.keys().as_string::<i32>(), map.values().as_string::<i32>());
            let mut of_pair = Vec::with_capacity(keys.len());
            for row in 0..map.len() {
                let pairs = range_of(map.offsets(), row);
                // Pairs of rows that a slice left out.
                of_pair.resize(pairs.start, NONE);
                of_pair.extend(pairs.enumerate().map(|(nth, at)| numbers.of(nth, keys.value(at))));
            }
            few.resize_with(numbers.keys.len(), FewTexts::default);
            let number_value = |(at, key): (usize, &u32)| match few.get_mut(*key as usize) {
                Some(few) => few.number(values.value(at)).unwrap_or(NONE),
                None => NONE,
            };
            let value_numbers = match is_numbered {
                true => of_pair.iter().enumerate().map(number_value).collect(),
                false => Vec::new(),
            };
            Numbered { offsets: map.offsets(), numbers: of_pair, values, value_numbers }
        };
        let batches = maps.into_iter().map(number).collect();
        let is_word = |key: &&str| !key.is_empty() && !key.bytes().any(|byte| byte == b' ');
        let is_word = numbers.keys.iter().map(is_word).collect();
        let few = few.into_iter().map(FewTexts::into_texts);
        let few = few.map(|texts| {
            let texts = texts.filter(|_| is_numbered)?;
            Some(FewValues { texts, array: OnceLock::new() })
        });
        let few = few.collect();
        Self { keys: numbers.keys, few, is_word, batches }
    }

    /// The columns of the promoted keys, and the map of the others.
    fn gather(&self, layout: &Layout, places: &[Place]) -> Vec<ArrayRef> {
        let column_of = |key: &&str| layout.promoted.binary_search_by(|known| known.as_str().cmp(key));
        let column_of: Vec<u32> =
            self.keys.iter().map(|key| column_of(key).map_or(NONE, |at| at as u32)).collect();
        let mut promoted: Vec<Optional<'_>> = layout.promoted.iter().map(|_| Optional::default()).collect();
        for (key, column) in column_of.iter().enumerate().filter(|(_, column)| **column != NONE) {
            // A column without a dictionary has none here either.
            let column = &mut promoted[*column as usize];
            if let Some(few) = &self.few[key]
                && layout.repeats(&format!("{PREFIX}{}", self.keys[key]))
            {
                column.values = few.array.get_or_init(|| values(&few.texts)).as_ref();
            }
        }
        let mut others = Pairs::default();
        let mut rest: Vec<(&str, &str)> = Vec::new();
        for (row, (batch, at)) in places.iter().enumerate() {
            let source = &self.batches[*batch];
            for pair in range_of(source.offsets, *at) {
                let (key, value) = (source.numbers[pair] as usize, source.values.value(pair));
                let column = promoted.get_mut(column_of[key] as usize);
                match column.filter(|column| column.len() <= row) {
                    Some(column) if column.values.is_some() => {
                        column.push_number(row, source.value_numbers[pair])
                    }
                    Some(column) => column.push(row, value),
                    None => rest.push((self.keys[key], value)),
                }
            }
            if !rest.is_sorted_by_key(|(key, _)| *key) {
                rest.sort_by_key(|(key, _)| *key);
            }
            rest.drain(..).for_each(|(key, value)| others.push_text(key, value));
            others.end();
        }
        let columns = promoted.into_iter().map(|column| column.finish(places.len()));
        columns.chain([others.finish()]).collect()
    }

    /// The attribute of a row that has this value: of several, the one that stands first when they are sorted. It is the
    /// first with its key, and its key is one word.
    fn holder(&self, source: &Numbered<'a>, pairs: Range<usize>, value: &str) -> Option<&'a str> {
        let start = pairs.start;
        let is_first = |at: usize| !source.numbers[start..at].contains(&source.numbers[at]);
        let holds = |at: &usize| {
            source.values.value(*at) == value && self.is_word[source.numbers[*at] as usize] && is_first(*at)
        };
        pairs.filter(holds).map(|at| self.keys[source.numbers[at] as usize]).min()
    }
}

/// Which attributes are ids, and the ids that no attribute holds.
struct IdSources<'a> {
    /// Texts of attributes that are ids, each once: few, as rows of a program are alike.
    texts: Vec<String>,
    /// The same, if they are numbered.
    values: Option<ArrayRef>,
    /// The text of each row.
    numbers: Vec<Vec<u32>>,
    /// Rows that have ids besides, ascending, and these.
    others: Vec<Vec<(u32, &'a str)>>,
}

impl<'a> IdSources<'a> {
    fn new(attributes: &Attributes<'a>, lists: Vec<&'a ListArray>, is_numbered: bool) -> Self {
        let mut ids = Self { texts: Vec::new(), values: None, numbers: Vec::new(), others: Vec::new() };
        let mut known: HashMap<String, u32> = HashMap::new();
        let mut text = String::new();
        let mut last = 0;
        for (list, source) in lists.into_iter().zip(&attributes.batches) {
            let terms = list.values().as_string::<i32>();
            let (mut numbers, mut others) = (Vec::with_capacity(list.len()), Vec::new());
            for row in 0..list.len() {
                text.clear();
                for term in range_of(list.offsets(), row).map(|at| terms.value(at)) {
                    let found = memchr::memchr(b'=', term.as_bytes()).and_then(|at| {
                        let pairs = range_of(source.offsets, row);
                        Some((&term[..at], attributes.holder(source, pairs, &term[at + 1..])?))
                    });
                    let Some((kind, key)) = found else {
                        others.push((row as u32, term));
                        continue;
                    };
                    text.push_str(if text.is_empty() { "" } else { " " });
                    text.push_str(kind);
                    text.push('=');
                    text.push_str(key);
                }
                if ids.texts.get(last as usize).is_none_or(|known| *known != text) {
                    last = known.get(&text).copied().unwrap_or_else(|| {
                        known.insert(text.clone(), ids.texts.len() as u32);
                        ids.texts.push(text.clone());
                        ids.texts.len() as u32 - 1
                    });
                }
                numbers.push(last);
            }
            ids.numbers.push(numbers);
            ids.others.push(others);
        }
        ids.values = if is_numbered { values(&ids.texts) } else { None };
        ids
    }

    fn gather(&self, places: &[Place]) -> [ArrayRef; 2] {
        let mut lists = TextLists::default();
        for (batch, row) in places {
            let others = &self.others[*batch];
            let first = others.partition_point(|(of, _)| (*of as usize) < *row);
            let here = others[first..].iter().take_while(|(of, _)| *of as usize == *row);
            here.for_each(|(_, term)| lists.push(term));
            lists.end();
        }
        [texts_at(&self.texts, &self.numbers, places, self.values.as_ref()), lists.finish()]
    }
}

/// Numbers for keys: most rows have the keys of the row before at the same places.
#[derive(Default)]
struct KeyNumbers<'a> {
    keys: Vec<&'a str>,
    by_key: HashMap<&'a str, u32>,
    last: Vec<u32>,
}

impl<'a> KeyNumbers<'a> {
    fn of(&mut self, nth: usize, key: &'a str) -> u32 {
        if let Some(last) = self.last.get(nth).filter(|last| self.keys[**last as usize] == key) {
            return *last;
        }
        let number = *self.by_key.entry(key).or_insert_with(|| {
            self.keys.push(key);
            self.keys.len() as u32 - 1
        });
        match self.last.get_mut(nth) {
            Some(last) => *last = number,
            None => self.last.push(number),
        }
        number
    }
}

/// The texts of rows by their numbers, or the numbers if they are those of `values`.
fn texts_at(texts: &[String], numbers: &[Vec<u32>], places: &[Place], values: Option<&ArrayRef>) -> ArrayRef {
    let numbers = places.iter().map(|(batch, row)| numbers[*batch][*row]);
    if let Some(values) = values {
        return numbered(numbers.map(Some), values);
    }
    let mut column = Texts::default();
    numbers.for_each(|number| column.push(&texts[number as usize]));
    column.finish()
}

/// A text column in which rows are missing.
#[derive(Default)]
struct Optional<'a> {
    texts: Texts,
    is_there: Vec<bool>,
    /// What rows are numbers of, if they are.
    values: Option<&'a ArrayRef>,
    numbers: Vec<Option<u32>>,
}

impl Optional<'_> {
    fn fill(&mut self, rows: usize) {
        while self.is_there.len() < rows {
            self.texts.push("");
            self.is_there.push(false);
        }
    }

    /// Rows so far.
    const fn len(&self) -> usize {
        if self.values.is_some() { self.numbers.len() } else { self.is_there.len() }
    }

    fn push_number(&mut self, row: usize, number: u32) {
        self.numbers.resize(row, None);
        self.numbers.push(Some(number));
    }

    fn push(&mut self, row: usize, value: &str) {
        self.fill(row);
        self.texts.push(value);
        self.is_there.push(true);
    }

    fn finish(mut self, rows: usize) -> ArrayRef {
        if let Some(values) = self.values {
            self.numbers.resize(rows, None);
            return numbered(self.numbers.into_iter(), values);
        }
        self.fill(rows);
        let (offsets, values, _) = self.texts.array().into_parts();
        let nulls = Some(NullBuffer::from(self.is_there));
        Arc::new(StringArray::try_new(offsets, values, nulls).expect("as many flags as values"))
    }
}

/// Maps as JSON objects, each written out once. Most rows have that of the row before.
struct Objects {
    jsons: Vec<String>,
    /// The same, if they are numbered.
    values: Option<ArrayRef>,
    /// The object of each row.
    numbers: Vec<Vec<u32>>,
}

impl Objects {
    fn new(columns: &[MapColumn<'_>], is_numbered: bool) -> Self {
        let mut known: HashMap<u64, Vec<(Entries<'_>, u32)>> = HashMap::new();
        let mut objects = Self { jsons: Vec::new(), values: None, numbers: Vec::new() };
        for column in columns {
            let maps = column.maps();
            let (keys, values) = (maps.keys().as_string::<i32>(), maps.values().as_string::<i32>());
            let mut last: Option<(Entries<'_>, u32)> = None;
            let mut number = |map: usize| {
                let entries = Entries { keys, values, range: range_of(maps.offsets(), map) };
                let same =
                    last.as_ref().filter(|(last, _)| last.is_same(&entries)).map(|(_, number)| *number);
                let number = same.unwrap_or_else(|| {
                    let like = known.entry(entries.hash()).or_default();
                    let known =
                        like.iter().find(|(other, _)| other.is_same(&entries)).map(|(_, number)| *number);
                    known.unwrap_or_else(|| {
                        let number = objects.jsons.len() as u32;
                        objects.jsons.push(entries.json());
                        like.push((entries.clone(), number));
                        number
                    })
                });
                last = Some((entries, number));
                number
            };
            // Maps that rows share are looked at once.
            let mut shared = vec![NONE; maps.len()];
            let of_row = |row: usize| {
                let shared = &mut shared[column.number(row)];
                if *shared == NONE {
                    *shared = number(column.number(row));
                }
                *shared
            };
            let numbers = (0..column.len()).map(of_row).collect();
            objects.numbers.push(numbers);
        }
        objects.values = if is_numbered { values(&objects.jsons) } else { None };
        objects
    }

    fn gather(&self, places: &[Place]) -> ArrayRef {
        texts_at(&self.jsons, &self.numbers, places, self.values.as_ref())
    }
}

/// The pairs of a row of a map.
#[derive(Clone)]
struct Entries<'a> {
    keys: &'a StringArray,
    values: &'a StringArray,
    range: Range<usize>,
}

impl Entries<'_> {
    /// The text of all keys, and that of all values.
    fn texts(&self) -> [&[u8]; 2] {
        [self.keys, self.values].map(|column| {
            let offsets = column.value_offsets();
            &column.value_data()[offsets[self.range.start] as usize..offsets[self.range.end] as usize]
        })
    }

    fn hash(&self) -> u64 {
        let [keys, values] = self.texts();
        xxh3_64(keys).rotate_left(1) ^ xxh3_64(values)
    }

    fn is_same(&self, other: &Self) -> bool {
        let has_same_ends = |column: &StringArray, of_other: &StringArray| {
            let pairs = self.range.clone().zip(other.range.clone());
            pairs.into_iter().all(|(here, there)| column.value_length(here) == of_other.value_length(there))
        };
        self.range.len() == other.range.len()
            && self.texts() == other.texts()
            && has_same_ends(self.keys, other.keys)
            && has_same_ends(self.values, other.values)
    }

    fn json(&self) -> String {
        let mut json = String::from("{");
        for at in self.range.clone() {
            json.push_str(if json.len() > 1 { "," } else { "" });
            push_json_string(self.keys.value(at), &mut json);
            json.push(':');
            push_json_string(self.values.value(at), &mut json);
        }
        json.push('}');
        json
    }
}
