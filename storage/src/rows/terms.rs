//! The terms of a row: what the identity index and the head find it by.
//!
//! ```text
//! trace_id=<trace>           the trace a row belongs to
//! link=<trace>               a trace that a span links to
//! link=<trace>/<span>        the span that a span links to
//! kind=value                 what the id rules found
//! ```

use std::collections::HashSet;

use arrow::array::{Array, AsArray, FixedSizeBinaryArray, ListArray, RecordBatch};
use model::ids::{LINK, TRACE_ID};
use model::{IdTerm, Signal, SpanId, TraceId};
use xxhash_rust::xxh3::xxh3_64;

use super::{binary, column, items, range_of, span_at, trace_at};

/// The hash under which the head finds a term.
pub(crate) fn term_hash(term: &str) -> u64 {
    xxh3_64(term.as_bytes())
}

/// Calls `each` with every term of a row.
pub(crate) fn each_term(
    rows: &TermColumns<'_>,
    row: usize,
    each: &mut dyn FnMut(&str),
    scratch: &mut String,
) {
    let mut push = |kind: &str, trace: TraceId, span: Option<SpanId>, scratch: &mut String| {
        scratch.clear();
        scratch.push_str(kind);
        scratch.push('=');
        trace.push_hex(scratch);
        if let Some(span) = span {
            scratch.push('/');
            span.push_hex(scratch);
        }
        each(scratch);
    };
    if let Some(id) = trace_at(rows.trace_id, row) {
        push(TRACE_ID, id, None, scratch);
    }
    for (trace, span) in rows.links(row) {
        push(LINK, trace, None, scratch);
        if span.is_some() {
            push(LINK, trace, span, scratch);
        }
    }
    items(rows.ids, row).for_each(each);
}

/// For each row, whether it carries `term` itself: its trace, or one of its ids.
pub(crate) fn carrying(rows: &RecordBatch, term: &str) -> impl Iterator<Item = bool> {
    let traces = binary(rows, "trace_id");
    let ids: &ListArray = column(rows, "ids").as_list();
    let trace = term.parse::<IdTerm>().ok().and_then(|term| term.trace_id());
    (0..rows.num_rows()).map(move |row| {
        let is_of_trace = trace.is_some() && trace_at(traces, row) == trace;
        is_of_trace || items(ids, row).any(|id| id == term)
    })
}

/// The columns that carry terms.
pub(crate) struct TermColumns<'a> {
    pub(crate) trace_id: &'a FixedSizeBinaryArray,
    ids: &'a ListArray,
    links: Option<&'a ListArray>,
}

impl<'a> TermColumns<'a> {
    /// `None` for signals whose rows carry no ids.
    pub(crate) fn new(signal: Signal, rows: &'a RecordBatch) -> Option<Self> {
        let links = match signal {
            Signal::Traces => Some(column(rows, "links").as_list()),
            Signal::Logs => None,
            Signal::Metrics => return None,
        };
        Some(Self { trace_id: binary(rows, "trace_id"), ids: column(rows, "ids").as_list(), links })
    }

    fn links(&self, row: usize) -> impl Iterator<Item = (TraceId, Option<SpanId>)> + use<'a> {
        self.links.into_iter().flat_map(move |list| {
            let links = list.values().as_struct();
            let traces = links.column(0).as_fixed_size_binary();
            let spans = links.column(1).as_fixed_size_binary();
            range_of(list.offsets(), row).filter_map(|at| Some((trace_at(traces, at)?, span_at(spans, at))))
        })
    }

    /// The ids of a row, as `kind=value`.
    pub(crate) fn ids(&self, row: usize) -> impl Iterator<Item = &'a str> + use<'a> {
        items(self.ids, row)
    }

    /// What stands for the row's group within its batch: its trace, or itself.
    pub(crate) fn group(&self, row: usize) -> Result<[u8; 16], usize> {
        match self.trace_id.is_valid(row).then(|| self.trace_id.value(row).try_into()) {
            Some(Ok(trace)) => Ok(trace),
            _ => Err(row),
        }
    }
}

/// Terms to look for, taken apart once so that a row is compared without writing its terms out.
pub(crate) struct Wanted<'a> {
    ids: HashSet<&'a str>,
    traces: HashSet<TraceId>,
    links: HashSet<TraceId>,
    linked_spans: HashSet<(TraceId, SpanId)>,
}

impl<'a> Wanted<'a> {
    pub(crate) fn new(terms: impl IntoIterator<Item = &'a str>) -> Self {
        let mut wanted = Self {
            ids: HashSet::new(),
            traces: HashSet::new(),
            links: HashSet::new(),
            linked_spans: HashSet::new(),
        };
        for text in terms {
            wanted.ids.insert(text);
            let Ok(term) = text.parse::<IdTerm>() else { continue };
            wanted.traces.extend(term.trace_id());
            match term.link_target() {
                Some((trace, None)) => drop(wanted.links.insert(trace)),
                Some((trace, Some(span))) => drop(wanted.linked_spans.insert((trace, span))),
                None => {}
            }
        }
        wanted
    }

    /// Whether a row carries one of the terms.
    pub(crate) fn is_on(&self, columns: &TermColumns<'_>, row: usize) -> bool {
        columns.ids(row).any(|id| self.ids.contains(id))
            || trace_at(columns.trace_id, row).is_some_and(|trace| self.traces.contains(&trace))
            || columns.links(row).any(|(trace, span)| {
                self.links.contains(&trace)
                    || span.is_some_and(|span| self.linked_spans.contains(&(trace, span)))
            })
    }
}

/// Hashes of all terms in the rows, sorted, each once.
pub(crate) fn term_hashes(signal: Signal, rows: &RecordBatch) -> Vec<u64> {
    let mut hashes = Vec::new();
    let mut scratch = String::new();
    if let Some(columns) = TermColumns::new(signal, rows) {
        for row in 0..rows.num_rows() {
            each_term(&columns, row, &mut |term| hashes.push(term_hash(term)), &mut scratch);
        }
    }
    hashes.sort_unstable();
    hashes.dedup();
    hashes
}
