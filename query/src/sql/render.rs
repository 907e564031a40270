//! Arrow values as JSON.
//!
//! Binary is lowercase hex, a timestamp RFC 3339 with nanoseconds in UTC, a map an object, a list an
//! array, a struct an object; NaN and infinities are text. What has no JSON of its own (intervals,
//! decimals) is the text Arrow shows.

use std::ops::ControlFlow;

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, SchemaRef, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use datafusion::arrow::util::display::array_value_to_string;
use model::UnixNano;
use query_api::{Cut, QueryStats, SqlAnswer, SqlColumn};
use serde_json::{Map, Value};

use super::{SqlError, rows_cut};

/// Gathers rows up to the limits.
pub(super) struct Answer {
    columns: Vec<SqlColumn>,
    rows: Vec<Vec<Value>>,
    rows_max: usize,
    bytes: usize,
    bytes_max: usize,
    cuts: Vec<Cut>,
}

impl Answer {
    pub(super) fn new(schema: &SchemaRef, rows_max: usize, bytes_max: usize) -> Self {
        let column = |field: &std::sync::Arc<datafusion::arrow::datatypes::Field>| SqlColumn {
            name: field.name().clone(),
            data_type: match field.data_type() {
                // How it is held says nothing to those who ask.
                DataType::Utf8View => DataType::Utf8.to_string(),
                data_type => data_type.to_string(),
            },
        };
        let columns = schema.fields().iter().map(column).collect();
        Self { columns, rows: Vec::new(), rows_max, bytes: 0, bytes_max, cuts: Vec::new() }
    }

    /// Adds rows; `Break` when a limit is reached.
    pub(super) fn add(&mut self, batch: &RecordBatch) -> Result<ControlFlow<()>, SqlError> {
        for at in 0..batch.num_rows() {
            if self.rows.len() == self.rows_max {
                self.cuts.push(rows_cut(self.rows_max));
                return Ok(ControlFlow::Break(()));
            }
            if self.bytes > self.bytes_max {
                self.cuts.push(Cut {
                    what: format!(
                        "the first {} rows, some {} bytes; there are more",
                        self.rows.len(),
                        self.bytes
                    ),
                    limit: "answer_bytes_max".to_owned(),
                    hint: Some("select fewer or shorter columns".to_owned()),
                });
                return Ok(ControlFlow::Break(()));
            }
            let mut row = Vec::with_capacity(batch.num_columns());
            for column in batch.columns() {
                let value = value(column.as_ref(), at)?;
                self.bytes += bytes(&value);
                row.push(value);
            }
            self.rows.push(row);
        }
        Ok(ControlFlow::Continue(()))
    }

    pub(super) fn finish(self) -> SqlAnswer {
        SqlAnswer { columns: self.columns, rows: self.rows, cuts: self.cuts, stats: QueryStats::default() }
    }
}

/// Bytes of a value's JSON, roughly.
fn bytes(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 5,
        Value::Number(_) => 12,
        Value::String(text) => text.len() + 3,
        Value::Array(items) => items.iter().map(bytes).sum::<usize>() + 2,
        Value::Object(pairs) => {
            pairs.iter().map(|(key, value)| key.len() + 4 + bytes(value)).sum::<usize>() + 2
        }
    }
}

fn float(number: f64) -> Value {
    // JSON has no NaN and no infinities.
    serde_json::Number::from_f64(number).map_or_else(|| Value::String(number.to_string()), Value::Number)
}

fn hex(bytes: &[u8]) -> Value {
    let mut text = String::with_capacity(bytes.len() * 2);
    model::id::push_hex(bytes, &mut text);
    Value::String(text)
}

fn time(value: i64, nanos_in_unit: i64, zone: Option<&str>) -> Value {
    let mut text = UnixNano(value.saturating_mul(nanos_in_unit)).to_string();
    if zone.is_none() {
        text.truncate(text.trim_end_matches('Z').len());
    }
    Value::String(text)
}

fn items(list: &dyn Array) -> Result<Value, SqlError> {
    (0..list.len()).map(|at| value(list, at)).collect::<Result<Vec<_>, _>>().map(Value::Array)
}

/// The value of one row of a column.
fn value(column: &dyn Array, row: usize) -> Result<Value, SqlError> {
    if column.is_null(row) {
        return Ok(Value::Null);
    }
    Ok(match column.data_type() {
        DataType::Null => Value::Null,
        DataType::Boolean => Value::Bool(column.as_boolean().value(row)),
        DataType::Int8 => column.as_primitive::<Int8Type>().value(row).into(),
        DataType::Int16 => column.as_primitive::<Int16Type>().value(row).into(),
        DataType::Int32 => column.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).into(),
        DataType::UInt8 => column.as_primitive::<UInt8Type>().value(row).into(),
        DataType::UInt16 => column.as_primitive::<UInt16Type>().value(row).into(),
        DataType::UInt32 => column.as_primitive::<UInt32Type>().value(row).into(),
        DataType::UInt64 => column.as_primitive::<UInt64Type>().value(row).into(),
        DataType::Float32 => float(column.as_primitive::<Float32Type>().value(row).into()),
        DataType::Float64 => float(column.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => column.as_string::<i32>().value(row).into(),
        DataType::LargeUtf8 => column.as_string::<i64>().value(row).into(),
        DataType::Utf8View => column.as_string_view().value(row).into(),
        DataType::Binary => hex(column.as_binary::<i32>().value(row)),
        DataType::LargeBinary => hex(column.as_binary::<i64>().value(row)),
        DataType::BinaryView => hex(column.as_binary_view().value(row)),
        DataType::FixedSizeBinary(_) => hex(column.as_fixed_size_binary().value(row)),
        DataType::Timestamp(unit, zone) => {
            let zone = zone.as_deref();
            match unit {
                TimeUnit::Second => {
                    time(column.as_primitive::<TimestampSecondType>().value(row), 1_000_000_000, zone)
                }
                TimeUnit::Millisecond => {
                    time(column.as_primitive::<TimestampMillisecondType>().value(row), 1_000_000, zone)
                }
                TimeUnit::Microsecond => {
                    time(column.as_primitive::<TimestampMicrosecondType>().value(row), 1_000, zone)
                }
                TimeUnit::Nanosecond => {
                    time(column.as_primitive::<TimestampNanosecondType>().value(row), 1, zone)
                }
            }
        }
        DataType::List(_) => items(&column.as_list::<i32>().value(row))?,
        DataType::LargeList(_) => items(&column.as_list::<i64>().value(row))?,
        DataType::FixedSizeList(_, _) => items(&column.as_fixed_size_list().value(row))?,
        DataType::Map(_, _) => {
            let entries = column.as_map().value(row);
            let mut pairs = Map::new();
            for at in 0..entries.len() {
                let key = match value(entries.column(0).as_ref(), at)? {
                    Value::String(key) => key,
                    key => key.to_string(),
                };
                pairs.insert(key, value(entries.column(1).as_ref(), at)?);
            }
            Value::Object(pairs)
        }
        DataType::Struct(fields) => {
            let columns = column.as_struct().columns();
            let pairs = fields
                .iter()
                .zip(columns)
                .map(|(field, column)| Ok((field.name().clone(), value(column.as_ref(), row)?)));
            Value::Object(pairs.collect::<Result<_, SqlError>>()?)
        }
        _ => {
            let text = array_value_to_string(column, row);
            Value::String(text.map_err(|error| SqlError::Internal(error.to_string()))?)
        }
    })
}
