//! The columns of log records that the doctor reads.

use arrow::array::{
    Array as _, AsArray as _, FixedSizeBinaryArray, ListArray, MapArray, RecordBatch, StringArray,
};
use model::TraceId;

/// Columns of `logs`.
pub(super) struct LogColumns<'a> {
    service: &'a StringArray,
    body: &'a StringArray,
    event_name: &'a StringArray,
    trace_id: &'a FixedSizeBinaryArray,
    ids: &'a ListArray,
    attributes: &'a MapArray,
}

impl<'a> LogColumns<'a> {
    pub(super) const NAMES: &'static [&'static str] =
        &["service", "body", "event_name", "trace_id", "ids", "attributes"];

    pub(super) fn new(rows: &'a RecordBatch) -> Self {
        let column = |name: &str| {
            rows.column_by_name(name)
                .unwrap_or_else(|| panic!("a scan without the column `{name}` it asked for"))
        };
        Self {
            service: column("service").as_string(),
            body: column("body").as_string(),
            event_name: column("event_name").as_string(),
            trace_id: column("trace_id").as_fixed_size_binary(),
            ids: column("ids").as_list(),
            attributes: column("attributes").as_map(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.service.len()
    }

    pub(super) fn service(&self, row: usize) -> &'a str {
        self.service.value(row)
    }

    pub(super) fn body(&self, row: usize) -> &'a str {
        self.body.value(row)
    }

    pub(super) fn event_name(&self, row: usize) -> &'a str {
        self.event_name.value(row)
    }

    pub(super) fn trace_id(&self, row: usize) -> Option<TraceId> {
        let bytes = self.trace_id.is_valid(row).then(|| self.trace_id.value(row))?;
        bytes.try_into().ok().map(TraceId)
    }

    /// Its ids, as `kind=value`.
    pub(super) fn ids(&self, row: usize) -> impl Iterator<Item = &'a str> + use<'a> {
        let ids: &'a StringArray = self.ids.values().as_string();
        let offsets = self.ids.offsets();
        (offsets[row] as usize..offsets[row + 1] as usize).map(|at| ids.value(at))
    }

    /// The value of an attribute.
    pub(super) fn attribute(&self, row: usize, key: &str) -> Option<&'a str> {
        let keys: &'a StringArray = self.attributes.keys().as_string();
        let values: &'a StringArray = self.attributes.values().as_string();
        let offsets = self.attributes.offsets();
        let mut pairs = offsets[row] as usize..offsets[row + 1] as usize;
        pairs.find(|at| keys.value(*at) == key).map(|at| values.value(at))
    }
}
