//! The terms of a row: what the identity index and the head find it by.
//!
//! ```text
//! trace_id=<trace>           the trace a row belongs to
//! link=<trace>               a trace that a span links to
//! link=<trace>/<span>        the span that a span links to
//! kind=value                 what the id rules found
//! trace_id=<trace>           of a metric point: a trace that one of its exemplars names
//! ```

use std::collections::HashSet;

use arrow::array::{Array, AsArray, FixedSizeBinaryArray, ListArray, RecordBatch};
use model::ids::{LINK, TRACE_ID};
use model::{IdTerm, Signal, SpanId, TraceId};
use xxhash_rust::xxh3::xxh3_64;

use super::{binary, column, items, range_of, span_at, trace_at};
use crate::error::Error;
use crate::schema::EXEMPLARS;
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
pub(crate) fn trace_hash(trace: &[u8]) -> u64 {
    xxh3_64(trace)
}

/// The terms of rows, those of the table or those of a file.
pub(crate) struct RowTerms<'a> {
    trace_id: Option<&'a FixedSizeBinaryArray>,
    links: Option<&'a ListArray>,
    exemplars: Option<&'a ListArray>,
    ids: RowIds<'a>,
}

enum RowIds<'a> {
    /// Metric points have none.
    None,
    Listed(&'a ListArray),
    Stored(StoredIds<'a>),
}

impl<'a> RowTerms<'a> {
    /// `None` for files whose rows carry no terms.
    pub(crate) fn new(layout: &'a Layout, rows: &'a RecordBatch) -> Result<Option<Self>, Error> {
        let Some(TermColumns { trace_id, ids, links, exemplars }) = TermColumns::new(layout.signal(), rows)
        else {
            return Ok(None);
        };
        let ids = match ids {
            None => RowIds::None,
            Some(ids) if layout.is_plain() => RowIds::Listed(ids),
            Some(_) => RowIds::Stored(StoredIds::new(layout, rows)?),
        };
        Ok(Some(Self { trace_id, links, exemplars, ids }))
    }

    /// The trace of a row.
    pub(crate) fn trace(&self, row: usize) -> Option<TraceId> {
        trace_at(self.trace_id?, row)
    }

    /// Calls `each` with every term of a row but that of its trace.
    pub(crate) fn each_found(&self, row: usize, each: &mut dyn FnMut(&str), scratch: &mut String) {
        each_link_term(links(self.links, row), each, scratch);
        for trace in exemplar_traces(self.exemplars, row) {
            write_term(scratch, TRACE_ID, trace, None);
            each(scratch);
        }
        match &self.ids {
            RowIds::None => {}
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

/// The traces that the exemplars of a row name.
fn exemplar_traces(list: Option<&ListArray>, row: usize) -> impl Iterator<Item = TraceId> + use<'_> {
    list.into_iter().flat_map(move |list| {
        let traces = list.values().as_struct().column(2).as_fixed_size_binary();
        range_of(list.offsets(), row).filter_map(|at| trace_at(traces, at))
    })
}

/// Whether there is a point with an exemplar.
pub(crate) fn has_exemplars(signal: Signal, rows: &RecordBatch) -> bool {
    let columns = (signal == Signal::Metrics).then(|| TermColumns::new(signal, rows)).flatten();
    columns.and_then(|columns| columns.exemplars).is_some_and(|list| !list.values().is_empty())
}

/// The columns that carry terms.
pub(crate) struct TermColumns<'a> {
    trace_id: Option<&'a FixedSizeBinaryArray>,
    ids: Option<&'a ListArray>,
    links: Option<&'a ListArray>,
    exemplars: Option<&'a ListArray>,
}

impl<'a> TermColumns<'a> {
    /// `None` for files whose rows carry no terms.
    pub(crate) fn new(signal: Signal, rows: &'a RecordBatch) -> Option<Self> {
        let list = |name: &str| column(rows, name).as_list();
        if signal == Signal::Metrics {
            let exemplars = Some(rows.column_by_name(EXEMPLARS)?.as_list());
            return Some(Self { trace_id: None, ids: None, links: None, exemplars });
        }
        let links = (signal == Signal::Traces).then(|| list("links"));
        let (trace_id, ids) = (Some(binary(rows, "trace_id")), Some(list("ids")));
        Some(Self { trace_id, ids, links, exemplars: None })
    }

    fn trace(&self, row: usize) -> Option<TraceId> {
        trace_at(self.trace_id?, row)
    }

    /// The traces that the exemplars of a row name.
    fn exemplar_traces(&self, row: usize) -> impl Iterator<Item = TraceId> + use<'a> {
        exemplar_traces(self.exemplars, row)
    }

    fn links(&self, row: usize) -> impl Iterator<Item = (TraceId, Option<SpanId>)> + use<'a> {
        links(self.links, row)
    }

    /// The ids of a row, as `kind=value`.
    pub(crate) fn ids(&self, row: usize) -> impl Iterator<Item = &'a str> + use<'a> {
        self.ids.into_iter().flat_map(move |ids| items(ids, row))
    }

    /// What stands for the row's group within its batch: its trace, or itself.
    pub(crate) fn group(&self, row: usize) -> Result<[u8; 16], usize> {
        let trace = self.trace_id.filter(|traces| traces.is_valid(row));
        trace.and_then(|traces| traces.value(row).try_into().ok()).ok_or(row)
    }
}

/// Terms to look for, taken apart once so that a row is compared without writing its terms out.
pub(crate) struct Wanted<'a> {
    hashes: Vec<u64>,
    ids: HashSet<&'a str>,
    traces: HashSet<TraceId>,
    links: HashSet<TraceId>,
    linked_spans: HashSet<(TraceId, SpanId)>,
}

impl<'a> Wanted<'a> {
    pub(crate) fn new(terms: impl IntoIterator<Item = &'a str>) -> Self {
        let mut wanted = Self {
            hashes: Vec::new(),
            ids: HashSet::new(),
            traces: HashSet::new(),
            links: HashSet::new(),
            linked_spans: HashSet::new(),
        };
        for text in terms {
            wanted.hashes.push(term_hash(text));
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

    /// The hashes under which the head finds the terms.
    pub(crate) fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// Whether a row carries one of the terms.
    pub(crate) fn is_on(&self, columns: &TermColumns<'_>, row: usize) -> bool {
        columns.ids(row).any(|id| self.ids.contains(id))
            || columns.trace(row).is_some_and(|trace| self.traces.contains(&trace))
            || columns.exemplar_traces(row).any(|trace| self.traces.contains(&trace))
            || columns.links(row).any(|(trace, span)| {
                self.links.contains(&trace)
                    || span.is_some_and(|span| self.linked_spans.contains(&(trace, span)))
            })
    }
}

/// Hashes of all terms in the rows and the rows they are in, sorted, each pair once.
pub(crate) fn row_term_hashes(signal: Signal, rows: &RecordBatch) -> Vec<(u64, u32)> {
    let mut hashes = Vec::new();
    if let Some(columns) = TermColumns::new(signal, rows) {
        hashes.reserve(row_terms_max(signal, rows));
        let mut scratch = String::new();
        for row in 0..rows.num_rows() {
            for trace in columns.trace(row).into_iter().chain(columns.exemplar_traces(row)) {
                hashes.push((trace_hash(trace.as_bytes()), row as u32));
            }
            let mut push = |term: &str| hashes.push((term_hash(term), row as u32));
            each_link_term(columns.links(row), &mut push, &mut scratch);
            columns.ids(row).for_each(push);
        }
    }
    hashes.sort_unstable();
    hashes.dedup();
    hashes
}

/// How many terms there are in the rows, at most.
pub(crate) fn row_terms_max(signal: Signal, rows: &RecordBatch) -> usize {
    let items = |list: &ListArray| list.value_offsets().last().copied().unwrap_or(0) as usize;
    TermColumns::new(signal, rows).map_or(0, |columns| {
        let traces = columns.trace_id.map_or(0, Array::len);
        let lists = [(columns.ids, 1), (columns.links, 2), (columns.exemplars, 1)];
        traces + lists.into_iter().map(|(list, each)| each * list.map_or(0, items)).sum::<usize>()
    })
}
