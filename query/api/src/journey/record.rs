//! `GET /api/v1/journey/row?…`: one recorded row of a journey with all its attributes, which the rows of a large
//! journey do not have.

use model::{IdTerm, SpanId, TraceId, UnixNano};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Journey, JourneyRow, RowKind};
use crate::text::Attributes;

/// The limit under which a journey says that its rows lack attributes.
pub const BRIEF_LIMIT: &str = "attributes";
/// Characters of a name that tell rows of one instant apart.
const NAME_CHARS_MAX: usize = 200;

/// What tells a span, log record or event from all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowKey {
    /// `span`, `log` or `event`.
    pub kind: RowKind,
    /// Its trace; only log records can have none.
    pub trace_id: Option<TraceId>,
    /// Its span.
    pub span_id: Option<SpanId>,
    /// When it began or happened, as it was recorded.
    pub time: UnixNano,
    /// Its service.
    pub service: String,
    /// The beginning of its name, body or event name.
    pub name: String,
}

impl RowKey {
    /// The key of a row; `None` for rows that were not recorded as such, or that have all they can have.
    pub fn of(journey: &Journey, row: &JourneyRow) -> Option<Self> {
        if !matches!(row.kind, RowKind::Span | RowKind::Log | RowKind::Event) {
            return None;
        }
        let corrected_by = journey.clock_offsets.get(row.service.as_str()).copied().unwrap_or(0);
        Some(Self {
            kind: row.kind,
            trace_id: row.trace_id,
            span_id: row.span_id,
            time: row.start_time.plus(-corrected_by),
            service: row.service.to_string(),
            name: row.name.chars().take(NAME_CHARS_MAX).collect(),
        })
    }

    /// The parameters of the request.
    pub fn parameters(&self) -> Vec<(&'static str, String)> {
        let kind = match self.kind {
            RowKind::Log => "log",
            RowKind::Event => "event",
            _ => "span",
        };
        let mut all = vec![
            ("kind", kind.to_owned()),
            ("time", self.time.to_string()),
            ("service", self.service.clone()),
            ("name", self.name.clone()),
        ];
        all.extend(self.trace_id.map(|id| ("trace_id", id.to_string())));
        all.extend(self.span_id.map(|id| ("span_id", id.to_string())));
        all
    }
}

/// All attributes of one row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RowDetail {
    /// Attributes of the span, log record or event.
    pub attributes: Attributes,
    /// Attributes of the resource.
    pub resource: Attributes,
    /// Ids found in it; of an event, those of its span.
    #[schemars(with = "Vec<String>")]
    pub ids: Vec<IdTerm>,
}

impl Journey {
    /// Whether rows of it lack attributes, so that they are to be asked for one by one.
    pub fn is_brief(&self) -> bool {
        self.cuts.iter().any(|cut| cut.limit == BRIEF_LIMIT)
    }
}
