//! A column of texts as it is at hand: texts, or numbers of texts.

use arrow::array::{Array as _, ArrayRef, AsArray as _, DictionaryArray, StringArray};
use arrow::datatypes::Int32Type;

/// A text column. Cheap to copy.
#[derive(Clone, Copy)]
pub(crate) enum TextColumn<'a> {
    Texts(&'a StringArray),
    Numbered(&'a DictionaryArray<Int32Type>, &'a StringArray),
}

impl<'a> TextColumn<'a> {
    /// `None` when it is no column of texts.
    pub(crate) fn of(column: &'a ArrayRef) -> Option<Self> {
        match column.as_dictionary_opt::<Int32Type>() {
            Some(numbers) => Some(Self::Numbered(numbers, numbers.values().as_string_opt::<i32>()?)),
            None => column.as_string_opt::<i32>().map(Self::Texts),
        }
    }

    pub(crate) fn len(self) -> usize {
        match self {
            Self::Texts(texts) => texts.len(),
            Self::Numbered(numbers, _) => numbers.len(),
        }
    }

    /// The text of a row; `None` when it is null.
    pub(crate) fn get(self, row: usize) -> Option<&'a str> {
        match self {
            Self::Texts(texts) => texts.is_valid(row).then(|| texts.value(row)),
            Self::Numbered(numbers, texts) => numbers.key(row).map(|number| texts.value(number)),
        }
    }
}
