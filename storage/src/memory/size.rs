//! How many bytes rows take.
//!
//! A reader makes its buffers as large as the largest batch; what it leaves of them is never touched, and is no memory
//! of the machine's. So what the rows use is counted, not what the buffers could hold.

use arrow::array::{Array, AsArray as _, RecordBatch};
use arrow::datatypes::DataType;

const OFFSET_BYTES: usize = size_of::<i32>();

/// Bytes that the rows of a batch take.
pub(crate) fn bytes_of(rows: &RecordBatch) -> usize {
    rows.columns().iter().map(|column| bytes(column)).sum()
}

fn bytes(array: &dyn Array) -> usize {
    let rows = array.len();
    let values = match array.data_type() {
        DataType::Utf8 => between(array.as_string::<i32>().value_offsets()),
        DataType::Binary => between(array.as_binary::<i32>().value_offsets()),
        DataType::FixedSizeBinary(width) => rows * usize::try_from(*width).unwrap_or(0),
        DataType::List(_) => rows * OFFSET_BYTES + bytes(array.as_list::<i32>().values()),
        DataType::Map(..) => rows * OFFSET_BYTES + bytes(array.as_map().entries()),
        DataType::Struct(_) => array.as_struct().columns().iter().map(|column| bytes(column)).sum(),
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            bytes(dictionary.keys()) + bytes(dictionary.values())
        }
        other => match other.primitive_width() {
            Some(width) => rows * width,
            None => array.get_array_memory_size(),
        },
    };
    values + rows.div_ceil(8)
}

/// Offsets, and the bytes between the first and the last.
fn between(offsets: &[i32]) -> usize {
    let ends = offsets.first().zip(offsets.last());
    let bytes = ends.map_or(0, |(first, last)| usize::try_from(last - first).unwrap_or(0));
    offsets.len() * OFFSET_BYTES + bytes
}
