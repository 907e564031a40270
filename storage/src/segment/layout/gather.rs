//! One column of many batches, taken apart once, from which values are taken in any order.
//!
//! ```text
//! few texts        "api" "cart" …    numbers 0 0 1 0 …     written down in the order of memory; then a number finds its text,
//!                                                          or stays a number as far as the file
//! texts, numbers   the arrays        taken where they stand
//! lists            the arrays        items of the rows that have some
//! ```
//!
//! Rows of a segment come from all over the head. What many of them repeat is not looked for there again: its numbers take four
//! bytes a row, and stay in the processor's cache.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, ArrowPrimitiveType, AsArray as _, DictionaryArray, FixedSizeBinaryArray,
    Int32Array, ListArray, PrimitiveArray, StringArray, new_empty_array,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::interleave;
use arrow::datatypes::{
    DataType, FieldRef, Float64Type, Int32Type, Int64Type, TimestampNanosecondType, UInt64Type,
};
use arrow::error::ArrowError;

use super::store::Place;
use crate::decode::columns::Texts;
use crate::rows::range_of;
use crate::segment::form::DICTIONARY_BYTES_MAX;

/// Texts that are numbered, at most: more are no repetition.
const FEW_MAX: usize = 4_096;
/// The longest text that a seal leaves a number: rows of a row group are read as texts, whose bytes are counted with 32 bits.
const TEXT_BYTES_MAX: usize = 4_096;

/// Takes the values at places.
type Gather<'a> = dyn Fn(&[Place]) -> Result<ArrayRef, ArrowError> + Send + Sync + 'a;

/// A column that values can be taken from.
pub(super) struct Column<'a>(Box<Gather<'a>>);

impl<'a> Column<'a> {
    /// The same column of all batches, of which there is one at least. Few texts stay numbers if it `may_be_numbered`.
    pub(super) fn new(sources: Vec<&'a ArrayRef>, may_be_numbered: bool) -> Self {
        let data_type = sources[0].data_type();
        let has_nulls = sources.iter().any(|source| source.null_count() > 0);
        match data_type {
            DataType::FixedSizeBinary(width) => fixed(&sources, *width),
            DataType::Utf8 if !has_nulls => texts(&sources, may_be_numbered),
            DataType::Timestamp(..) if !has_nulls => primitive::<TimestampNanosecondType>(&sources),
            DataType::Int32 if !has_nulls => primitive::<Int32Type>(&sources),
            DataType::Int64 if !has_nulls => primitive::<Int64Type>(&sources),
            DataType::UInt64 if !has_nulls => primitive::<UInt64Type>(&sources),
            DataType::Float64 if !has_nulls => primitive::<Float64Type>(&sources),
            DataType::List(item) if !has_nulls => lists(&sources, item),
            _ => {
                let sources: Vec<_> = sources.into_iter().map(AsRef::as_ref).collect();
                Self(Box::new(move |places| interleave(&sources, places)))
            }
        }
    }

    /// The values at these places.
    pub(super) fn gather(&self, places: &[Place]) -> Result<ArrayRef, ArrowError> {
        (self.0)(places)
    }
}

fn primitive<'a, T: ArrowPrimitiveType>(sources: &[&'a ArrayRef]) -> Column<'a> {
    let data_type = sources[0].data_type().clone();
    let values: Vec<&'a [T::Native]> =
        sources.iter().map(|source| &**source.as_primitive::<T>().values()).collect();
    Column(Box::new(move |places| {
        let taken = places.iter().map(|(batch, row)| values[*batch][*row]);
        let taken = PrimitiveArray::<T>::from_iter_values(taken);
        Ok(Arc::new(taken.with_data_type(data_type.clone())))
    }))
}

fn fixed<'a>(sources: &[&'a ArrayRef], width: i32) -> Column<'a> {
    let sources: Vec<&'a FixedSizeBinaryArray> =
        sources.iter().map(|source| source.as_fixed_size_binary()).collect();
    let has_nulls = sources.iter().any(|source| source.null_count() > 0);
    Column(Box::new(move |places| {
        let mut bytes = Vec::with_capacity(places.len() * width as usize);
        places.iter().for_each(|(batch, row)| bytes.extend_from_slice(sources[*batch].value(*row)));
        let is_there = || places.iter().map(|(batch, row)| sources[*batch].is_valid(*row));
        let nulls = has_nulls.then(|| NullBuffer::from_iter(is_there()));
        let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
        Ok(Arc::new(FixedSizeBinaryArray::try_new(width, Buffer::from_vec(bytes), nulls)?))
    }))
}

fn texts<'a>(sources: &[&'a ArrayRef], may_be_numbered: bool) -> Column<'a> {
    let sources: Vec<&'a StringArray> = sources.iter().map(|source| source.as_string()).collect();
    let few = FewColumn::new(&sources);
    let values = few.as_ref().filter(|_| may_be_numbered).and_then(|few| values(&few.texts));
    Column(Box::new(move |places| {
        let mut column = Texts::default();
        match (&few, &values) {
            (Some(few), Some(values)) => {
                let numbers = places.iter().map(|(batch, row)| Some(few.numbers[*batch][*row]));
                return Ok(numbered(numbers, values));
            }
            (Some(few), None) => places.iter().for_each(|place| column.push(few.at(*place))),
            (None, _) => places.iter().for_each(|(batch, row)| column.push(sources[*batch].value(*row))),
        }
        Ok(column.finish())
    }))
}

/// Texts that rows are numbers of, unless they are more or longer than a dictionary of the file takes.
pub(super) fn values<T: AsRef<str>>(texts: &[T]) -> Option<ArrayRef> {
    let lengths = || texts.iter().map(|text| text.as_ref().len());
    let fits = texts.len() <= FEW_MAX
        && lengths().all(|bytes| bytes <= TEXT_BYTES_MAX)
        && lengths().sum::<usize>() <= DICTIONARY_BYTES_MAX;
    fits.then(|| Arc::new(StringArray::from_iter_values(texts)) as ArrayRef)
}

/// Rows that are numbers of `values`.
pub(super) fn numbered(numbers: impl Iterator<Item = Option<u32>>, values: &ArrayRef) -> ArrayRef {
    let keys: Int32Array = numbers.map(|number| number.map(|number| number as i32)).collect();
    Arc::new(DictionaryArray::new(keys, Arc::clone(values)))
}

/// Numbers for texts, as long as they are few: most rows have that of the row before.
#[derive(Default)]
pub(super) struct FewTexts<'a> {
    texts: Vec<&'a str>,
    known: HashMap<&'a str, u32>,
    last: u32,
    are_many: bool,
}

impl<'a> FewTexts<'a> {
    /// `None` once they are many.
    pub(super) fn number(&mut self, text: &'a str) -> Option<u32> {
        if self.are_many {
            return None;
        }
        if self.texts.get(self.last as usize).is_none_or(|last| *last != text) {
            self.last = *self.known.entry(text).or_insert_with(|| {
                self.texts.push(text);
                self.texts.len() as u32 - 1
            });
            if self.texts.len() > FEW_MAX {
                *self = Self { are_many: true, ..Self::default() };
                return None;
            }
        }
        Some(self.last)
    }

    /// Each once, unless they are many.
    pub(super) fn into_texts(self) -> Option<Vec<&'a str>> {
        (!self.are_many).then_some(self.texts)
    }
}

/// A column that has few texts.
struct FewColumn<'a> {
    /// Each once.
    texts: Vec<&'a str>,
    /// The text of each row.
    numbers: Vec<Vec<u32>>,
}

impl<'a> FewColumn<'a> {
    /// `None` when there are many.
    fn new(sources: &[&'a StringArray]) -> Option<Self> {
        let mut few = FewTexts::default();
        let of_source = |source: &&'a StringArray| -> Option<Vec<u32>> {
            (0..source.len()).map(|row| few.number(source.value(row))).collect()
        };
        let numbers = sources.iter().map(of_source).collect::<Option<_>>()?;
        few.into_texts().map(|texts| Self { texts, numbers })
    }

    fn at(&self, (batch, row): Place) -> &'a str {
        self.texts[self.numbers[batch][row] as usize]
    }
}

fn lists<'a>(sources: &[&'a ArrayRef], item: &'a FieldRef) -> Column<'a> {
    let sources: Vec<&'a ListArray> = sources.iter().map(|source| source.as_list()).collect();
    // Most rows have no events, links and exemplars.
    let is_empty = sources.iter().all(|source| source.values().is_empty());
    Column(Box::new(move |places| {
        if is_empty {
            let offsets = OffsetBuffer::new_zeroed(places.len());
            let items = new_empty_array(item.data_type());
            return Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, items, None)?));
        }
        let mut offsets: Vec<i32> = Vec::with_capacity(places.len() + 1);
        offsets.push(0);
        let mut items: Vec<Place> = Vec::new();
        // The batches that items come from, and where each stands among them.
        let (mut used, mut place_of) = (Vec::new(), HashMap::new());
        for (batch, row) in places {
            let source = sources[*batch];
            let range = range_of(source.value_offsets(), *row);
            if !range.is_empty() {
                let at = *place_of.entry(*batch).or_insert_with(|| {
                    used.push(source.values().as_ref());
                    used.len() - 1
                });
                items.extend(range.map(|item| (at, item)));
            }
            let end = i32::try_from(items.len());
            offsets.push(end.map_err(|_| ArrowError::OffsetOverflowError(items.len()))?);
        }
        let items = match used.is_empty() {
            true => new_empty_array(item.data_type()),
            false => interleave(&used, &items)?,
        };
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, items, None)?))
    }))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, ListBuilder, StringBuilder};
    use arrow::compute::cast;
    use proptest::prelude::*;

    use super::*;

    fn taken(batches: &[ArrayRef], places: &[Place]) -> [ArrayRef; 2] {
        let sources: Vec<&ArrayRef> = batches.iter().collect();
        let ours = Column::new(sources.clone(), false).gather(places).expect("gathered");
        let numbered = Column::new(sources, true).gather(places).expect("gathered");
        assert_eq!(&cast(&numbered, ours.data_type()).expect("texts again"), &ours);
        let theirs: Vec<_> = batches.iter().map(AsRef::as_ref).collect();
        [ours, interleave(&theirs, places).expect("interleaved")]
    }

    fn words(rows: &[Vec<String>]) -> ArrayRef {
        let mut list = ListBuilder::new(StringBuilder::new());
        for row in rows {
            row.iter().for_each(|word| list.values().append_value(word));
            list.append(true);
        }
        Arc::new(list.finish())
    }

    proptest! {
        #[test]
        fn values_are_those_that_stand_at_the_places(
            batches in prop::collection::vec(prop::collection::vec((any::<i64>(), "[ab]{0,2}", prop::collection::vec("[xyz]{0,3}", 0..3)), 1..6), 1..5),
            picks in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..40),
        ) {
            let places: Vec<Place> = picks
                .iter()
                .map(|(batch, row)| {
                    let batch = batch.index(batches.len());
                    (batch, row.index(batches[batch].len()))
                })
                .collect();
            let numbers: Vec<ArrayRef> = batches
                .iter()
                .map(|rows| Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0))) as ArrayRef)
                .collect();
            let texts: Vec<ArrayRef> = batches
                .iter()
                .map(|rows| Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.1))) as ArrayRef)
                .collect();
            let lists: Vec<ArrayRef> = batches
                .iter()
                .map(|rows| words(&rows.iter().map(|row| row.2.clone()).collect::<Vec<_>>()))
                .collect();
            for column in [numbers, texts, lists] {
                let [ours, theirs] = taken(&column, &places);
                prop_assert_eq!(&ours, &theirs);
            }
        }
    }

    #[test]
    fn texts_that_are_many_are_taken_where_they_stand() {
        let texts: Vec<String> = (0..FEW_MAX + 7).map(|number| number.to_string()).collect();
        let many: ArrayRef = Arc::new(StringArray::from_iter_values(&texts));
        assert!(FewColumn::new(&[many.as_string()]).is_none());
        let places: Vec<Place> = (0..texts.len()).rev().map(|row| (0, row)).collect();
        let [ours, theirs] = taken(&[many], &places);
        assert_eq!(&ours, &theirs);
    }
}
