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
use crate::error::Error;
use crate::segment::layout::{Layout, StoredIds};

/// The hash under which the head finds a term.
pub(crate) fn term_hash(term: &str) -> u64 {
    let trace = term.split_once('=').filter(|(kind, _)| *kind == TRACE_ID);
    match trace.and_then(|(_, trace)| TraceId::from_hex(trace)) {
        Some(trace) => trace_hash(trace.as_bytes()),
        None => xxh3_64(term.as_bytes()),
    }
}

/// The same of the trace a row belongs to, without writing its term out.
fn trace_hash(trace: &[u8]) -> u64 {
    xxh3_64(trace)
}

/// The terms of rows, those of the table or those of a file.
pub(crate) struct RowTerms<'a> {
    trace_id: &'a FixedSizeBinaryArray,
    links: Option<&'a ListArray>,
    ids: RowIds<'a>,
}

enum RowIds<'a> {
    Listed(&'a ListArray),
    Stored(StoredIds<'a>),
}

impl<'a> RowTerms<'a> {
    /// `None` for signals whose rows carry no ids.
    pub(crate) fn new(layout: &'a Layout, rows: &'a RecordBatch) -> Result<Option<Self>, Error> {
        let Some(TermColumns { trace_id, ids, links }) = TermColumns::new(layout.signal(), rows) else {
            return Ok(None);
        };
        let ids = match layout.is_plain() {
            true => RowIds::Listed(ids),
            false => RowIds::Stored(StoredIds::new(layout, rows)?),
        };
        Ok(Some(Self { trace_id, links, ids }))
    }

    /// The trace of a row.
    pub(crate) fn trace(&self, row: usize) -> Option<TraceId> {
        trace_at(self.trace_id, row)
    }

    /// Calls `each` with every term of a row but that of its trace.
    pub(crate) fn each_found(&self, row: usize, each: &mut dyn FnMut(&str), scratch: &mut String) {
        each_link_term(links(self.links, row), each, scratch);
        match &self.ids {
            RowIds::Listed(list) => items(list, row).for_each(each),
            RowIds::Stored(ids) => ids.each(row, each, scratch),
        }
    }

    /// Calls `each` with every term of a row.
    pub(crate) fn each(&self, row: usize, each: &mut dyn FnMut(&str), scratch: &mut String) {
        if let Some(id) = self.trace(row) {
            write_term(scratch, TRACE_ID, id, None);
            each(scratch);
        }
        self.each_found(row, each, scratch);
    }
}

fn each_link_term(
    links: impl Iterator<Item = (TraceId, Option<SpanId>)>,
    each: &mut dyn FnMut(&str),
    scratch: &mut String,
) {
    for (trace, span) in links {
        write_term(scratch, LINK, trace, None);
        each(scratch);
        if span.is_some() {
            write_term(scratch, LINK, trace, span);
            each(scratch);
        }
    }
}

fn links(list: Option<&ListArray>, row: usize) -> impl Iterator<Item = (TraceId, Option<SpanId>)> + use<'_> {
    list.into_iter().flat_map(move |list| {
        let links = list.values().as_struct();
        let traces = links.column(0).as_fixed_size_binary();
        let spans = links.column(1).as_fixed_size_binary();
        range_of(list.offsets(), row).filter_map(|at| Some((trace_at(traces, at)?, span_at(spans, at))))
    })
}

fn write_term(out: &mut String, kind: &str, trace: TraceId, span: Option<SpanId>) {
    out.clear();
    out.push_str(kind);
    out.push('=');
    trace.push_hex(out);
    if let Some(span) = span {
        out.push('/');
        span.push_hex(out);
    }
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
        links(self.links, row)
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
    if let Some(columns) = TermColumns::new(signal, rows) {
        hashes.reserve(rows.num_rows() * 3);
        let mut scratch = String::new();
        for row in 0..rows.num_rows() {
            if let Some(trace) = trace_at(columns.trace_id, row) {
                hashes.push(trace_hash(trace.as_bytes()));
            }
            let mut push = |term: &str| hashes.push(term_hash(term));
            each_link_term(columns.links(row), &mut push, &mut scratch);
            columns.ids(row).for_each(push);
        }
    }
    hashes.sort_unstable();
    hashes.dedup();
    hashes
}
