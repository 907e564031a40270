//! A column of text maps as it is at hand: maps, or numbers of maps that rows share.

use arrow::array::{Array, AsArray as _, Int32Array, MapArray, StringArray};
use arrow::datatypes::Int32Type;

use super::range_of;

/// A map column. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub(crate) enum MapColumn<'a> {
    Maps(&'a MapArray),
    Numbered(&'a Int32Array, &'a MapArray),
}

impl<'a> MapColumn<'a> {
    /// `None` when it is no column of maps.
    pub(crate) fn of(column: &'a dyn Array) -> Option<Self> {
        match column.as_dictionary_opt::<Int32Type>() {
            Some(numbers) => Some(Self::Numbered(numbers.keys(), numbers.values().as_map_opt()?)),
            None => column.as_map_opt().map(Self::Maps),
        }
    }

    pub(crate) fn len(self) -> usize {
        match self {
            Self::Maps(maps) => maps.len(),
            Self::Numbered(numbers, _) => numbers.len(),
        }
    }

    /// The maps that rows have.
    pub(crate) fn maps(self) -> &'a MapArray {
        match self {
            Self::Maps(maps) | Self::Numbered(_, maps) => maps,
        }
    }

    /// Which of them a row has.
    pub(crate) fn number(self, row: usize) -> usize {
        match self {
            Self::Maps(_) => row,
            Self::Numbered(numbers, _) => numbers.value(row) as usize,
        }
    }

    /// The pairs of a row.
    pub(crate) fn pairs(self, row: usize) -> impl Iterator<Item = (&'a str, &'a str)> + Clone + use<'a> {
        let maps = self.maps();
        let keys: &StringArray = maps.keys().as_string();
        let values: &StringArray = maps.values().as_string();
        range_of(maps.offsets(), self.number(row)).map(move |at| (keys.value(at), values.value(at)))
    }
}

/// Rows whose maps are each row's own, as the table has them.
#[cfg(test)]
pub(crate) fn unshared(rows: &arrow::array::RecordBatch) -> arrow::array::RecordBatch {
    let columns = rows.columns().iter().map(|column| match column.as_dictionary_opt::<Int32Type>() {
        Some(numbers) => {
            arrow::compute::take(numbers.values(), numbers.keys(), None).expect("numbers of maps")
        }
        None => std::sync::Arc::clone(column),
    });
    let columns: Vec<_> = columns.collect();
    let fields = rows.schema_ref().fields().iter().zip(&columns);
    let fields =
        fields.map(|(field, column)| field.as_ref().clone().with_data_type(column.data_type().clone()));
    let schema = arrow::datatypes::Schema::new(fields.collect::<Vec<_>>());
    arrow::array::RecordBatch::try_new(std::sync::Arc::new(schema), columns)
        .expect("columns of their fields' types")
}
