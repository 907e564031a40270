//! Numbers of texts that hold in all streams of a merge.
//!
//! ```text
//! stream 0  "api" 0 "cart" 1 ─┐
//! stream 1  "cart" 0 "pay" 1 ─┴─► "api" 0 "cart" 1 "pay" 2     a number never changes what it stands for
//! ```
//!
//! Rows of many streams are put together as numbers; their texts are neither copied nor hashed again.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, DictionaryArray, Int32Array, RecordBatch, StringArray};
use arrow::compute::interleave;
use arrow::datatypes::Int32Type;
use arrow::error::ArrowError;

/// What stands for no number yet.
const NONE: i32 = -1;

/// Of every column that has numbered texts, by its place.
#[derive(Default)]
pub(super) struct Numbers(HashMap<usize, Texts>);

/// The texts of a column.
struct Texts {
    known: HashMap<Arc<str>, i32>,
    texts: Vec<Arc<str>>,
    /// All of them, when they were last asked for.
    values: ArrayRef,
}

impl Default for Texts {
    fn default() -> Self {
        let values = Arc::new(StringArray::from_iter_values::<&str, _>([]));
        Self { known: HashMap::new(), texts: Vec::new(), values }
    }
}

impl Texts {
    fn number(&mut self, text: &str) -> i32 {
        if let Some(number) = self.known.get(text) {
            return *number;
        }
        let (text, number) = (Arc::<str>::from(text), self.texts.len() as i32);
        self.texts.push(Arc::clone(&text));
        self.known.insert(text, number);
        number
    }

    fn values(&mut self) -> ArrayRef {
        if self.values.len() < self.texts.len() {
            self.values = Arc::new(StringArray::from_iter_values(&self.texts));
        }
        Arc::clone(&self.values)
    }

    fn renumbered(&mut self, column: &DictionaryArray<Int32Type>) -> ArrayRef {
        let texts = column.values().as_string::<i32>();
        let mut numbers = vec![NONE; texts.len()];
        let mut number = |key: i32| {
            let known = &mut numbers[key as usize];
            if *known == NONE {
                *known = self.number(texts.value(key as usize));
            }
            *known
        };
        let keys: Int32Array = column.keys().iter().map(|key| key.map(&mut number)).collect();
        Arc::new(DictionaryArray::new(keys, self.values()))
    }
}

/// Bytes of rows without the texts that their numbers stand for, which all rows share.
pub(super) fn bytes(rows: &RecordBatch) -> usize {
    let column = |column: &ArrayRef| match column.as_dictionary_opt::<Int32Type>() {
        Some(numbers) => numbers.keys().get_array_memory_size(),
        None => column.get_array_memory_size(),
    };
    rows.columns().iter().map(column).sum()
}

impl Numbers {
    /// The same rows with the numbers of all streams.
    pub(super) fn renumbered(&mut self, rows: RecordBatch) -> Result<RecordBatch, ArrowError> {
        let mut columns = rows.columns().to_vec();
        let mut is_numbered = false;
        for (at, column) in columns.iter_mut().enumerate() {
            if let Some(numbers) = column.as_dictionary_opt::<Int32Type>() {
                *column = self.0.entry(at).or_default().renumbered(numbers);
                is_numbered = true;
            }
        }
        if is_numbered { RecordBatch::try_new(rows.schema(), columns) } else { Ok(rows) }
    }

    /// Rows of several batches that went through [`Self::renumbered`], put together.
    pub(super) fn interleaved(
        &mut self,
        batches: &[RecordBatch],
        places: &[(usize, usize)],
    ) -> Result<RecordBatch, ArrowError> {
        let schema = batches[0].schema();
        let column = |at: usize| -> Result<ArrayRef, ArrowError> {
            let Some(texts) = self.0.get_mut(&at) else {
                let columns: Vec<&dyn Array> = batches.iter().map(|rows| rows.column(at).as_ref()).collect();
                return interleave(&columns, places);
            };
            let keys = |rows: &RecordBatch| rows.column(at).as_dictionary::<Int32Type>().keys().clone();
            let keys: Vec<Int32Array> = batches.iter().map(keys).collect();
            let keys: Vec<&dyn Array> = keys.iter().map(|keys| keys as &dyn Array).collect();
            let keys = interleave(&keys, places)?;
            Ok(Arc::new(DictionaryArray::new(keys.as_primitive::<Int32Type>().clone(), texts.values())))
        };
        let columns = (0..schema.fields().len()).map(column).collect::<Result<_, _>>()?;
        RecordBatch::try_new(schema, columns)
    }
}

#[cfg(test)]
mod tests {
    use arrow::compute::{cast, concat_batches, interleave_record_batch};
    use arrow::datatypes::{DataType, Field, Schema};
    use proptest::prelude::*;

    use super::*;

    fn rows(texts: &[Option<String>], is_numbered: bool) -> RecordBatch {
        let numbers = Int32Array::from_iter_values(0..texts.len() as i32);
        let texts: ArrayRef = Arc::new(texts.iter().map(Option::as_deref).collect::<StringArray>());
        let key = Box::new(DataType::Int32);
        let numbered = DataType::Dictionary(key, Box::new(DataType::Utf8));
        let data_type = if is_numbered { numbered } else { DataType::Utf8 };
        let fields =
            vec![Field::new("number", DataType::Int32, false), Field::new("text", data_type.clone(), true)];
        let texts = cast(&texts, &data_type).expect("texts are numbered");
        RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![Arc::new(numbers), texts]).expect("rows")
    }

    proptest! {
        #[test]
        fn rows_of_several_streams_keep_their_texts(
            batches in prop::collection::vec(prop::collection::vec(prop::option::of("[abc]{0,2}"), 1..8), 1..6),
            picks in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..40),
        ) {
            let places: Vec<(usize, usize)> = picks
                .iter()
                .map(|(batch, row)| {
                    let batch = batch.index(batches.len());
                    (batch, row.index(batches[batch].len()))
                })
                .collect();
            let mut numbers = Numbers::default();
            let numbered: Vec<RecordBatch> = batches
                .iter()
                .map(|texts| numbers.renumbered(rows(texts, true)).expect("renumbered"))
                .collect();
            let ours = numbers.interleaved(&numbered, &places).expect("put together");
            let plain: Vec<RecordBatch> = batches.iter().map(|texts| rows(texts, false)).collect();
            let theirs = interleave_record_batch(&plain.iter().collect::<Vec<_>>(), &places).expect("put together");
            prop_assert_eq!(&cast(ours.column(1), &DataType::Utf8).expect("texts"), theirs.column(1));
            prop_assert_eq!(ours.column(0), theirs.column(0));
            // Batches that were numbered earlier still say the same.
            for (numbered, plain) in numbered.iter().zip(&plain) {
                prop_assert_eq!(&cast(numbered.column(1), &DataType::Utf8).expect("texts"), plain.column(1));
            }
        }
    }

    #[test]
    fn rows_without_numbers_go_through_as_they_are() {
        let plain = rows(&[Some("a".to_owned()), None], false);
        let mut numbers = Numbers::default();
        let through = numbers.renumbered(plain.clone()).expect("as it is");
        let both = numbers.interleaved(&[plain.clone(), through], &[(0, 0), (0, 1)]).expect("put together");
        assert_eq!(both, concat_batches(&plain.schema(), [&plain]).expect("one"));
    }
}
