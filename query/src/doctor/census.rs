//! What the doctor remembers of spans and log records: a small note for each span, counts for each service.
//!
//! When there are more traces than memory allows, only those whose hash ends in enough zeros are kept: a part of the
//! traces, each of them whole. Counts by service stay exact; what is found among the kept traces is scaled.
//!
//! Invariant: at most `traced_max` notes and traces are held, [`NAMES_MAX`] names, [`TOPICS_MAX`] topics.

use std::collections::hash_map::{DefaultHasher, Entry};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{Hash, Hasher as _};

use model::kafka::MESSAGE_EVENT;
use model::{SpanId, TimeRange, TraceId, UnixNano};
use query_api::{Cut, DoctorTopic};

use super::is_before;
use super::log_columns::LogColumns;
use crate::columns::SpanColumns;

/// Services, addresses and topics that are told apart.
const NAMES_MAX: usize = 20_000;
/// Topics of the header tap that are told apart.
const TOPICS_MAX: usize = 2_000;
/// Bytes of an example's text.
const EXAMPLE_BYTES: usize = 160;

/// Bytes of a note, with its place by span and what is found of it.
const NOTE_BYTES: usize = 256;
/// Bytes of a trace that is remembered by its id, and of a name.
const SMALL_BYTES: usize = 64;

/// Number of a name.
pub(super) type Name = u32;
/// Place of a note.
pub(super) type At = usize;

/// What a span is to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Server,
    /// A request to `other`, an address or a service.
    Client,
    /// Sends to `other`, a destination.
    Producer,
    /// Takes from `other`, a destination.
    Consumer,
    Internal,
}

/// What is remembered of a span.
#[derive(Debug)]
pub(super) struct Note {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
    pub(super) parent: Option<SpanId>,
    pub(super) service: Name,
    pub(super) role: Role,
    /// Address, service or destination at the other end, as far as the span says.
    pub(super) other: Option<Name>,
    pub(super) is_error: bool,
    pub(super) start: UnixNano,
    pub(super) end: UnixNano,
    /// Hashes of what a request asks for (method with route, method with path), or of the terms of a message.
    pub(super) marks: [u64; 2],
    pub(super) links: Box<[(TraceId, SpanId)]>,
}

impl Note {
    /// Whether two spans name the same operation or message.
    pub(super) fn shares_mark(&self, other: &Self) -> bool {
        self.marks.iter().any(|mark| *mark != 0 && other.marks.contains(mark))
    }
}

/// What is counted of a service.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) spans: u64,
    pub(super) spans_without_id: u64,
    pub(super) logs: u64,
    pub(super) logs_without_id: u64,
    pub(super) logs_without_trace: u64,
    /// Neither an id nor a trace.
    pub(super) logs_alone: u64,
    /// One of those.
    pub(super) example_alone: Option<String>,
}

/// Log records of one service in one trace that carry no id themselves.
pub(super) type Waiting = HashMap<(Name, TraceId), u64>;

/// Everything that is remembered.
#[derive(Debug)]
pub(super) struct Census {
    traced_max: usize,
    /// Traces whose hash has a bit in common with this are left out.
    mask: u64,
    names: HashMap<String, Name>,
    texts: Vec<String>,
    pub(super) notes: Vec<Note>,
    pub(super) by_span: HashMap<(TraceId, SpanId), At>,
    /// Traces of which some record carries an id.
    pub(super) covered: HashSet<TraceId>,
    pub(super) waiting: Waiting,
    pub(super) counts: BTreeMap<Name, Counts>,
    topics: BTreeMap<String, DoctorTopic>,
    left_out: u64,
    /// Whether not even the newest part of the range was read whole.
    pub(super) is_torn: bool,
    whole_from: UnixNano,
    edge: UnixNano,
    settled: UnixNano,
}

impl Census {
    pub(super) fn new(traced_max: usize) -> Self {
        Self {
            traced_max: traced_max.max(16),
            mask: 0,
            names: HashMap::new(),
            texts: Vec::new(),
            notes: Vec::new(),
            by_span: HashMap::new(),
            covered: HashSet::new(),
            waiting: Waiting::new(),
            counts: BTreeMap::new(),
            topics: BTreeMap::new(),
            left_out: 0,
            is_torn: false,
            whole_from: UnixNano::MIN,
            edge: UnixNano::MIN,
            settled: UnixNano::MAX,
        }
    }

    /// Bytes that are held, roughly.
    pub(super) fn bytes(&self) -> usize {
        let small = self.waiting.len() + self.covered.len() + self.texts.len();
        self.notes.len() * NOTE_BYTES + small * SMALL_BYTES
    }

    pub(super) fn add_span(&mut self, rows: &SpanColumns<'_>, row: usize) {
        let Some(service) = self.name(rows.service(row)) else {
            self.left_out += 1;
            return;
        };
        let carries = rows.ids(row).any(is_own_id);
        let counts = self.counts.entry(service).or_default();
        counts.spans += 1;
        counts.spans_without_id += u64::from(!carries);
        let (trace, span) = rows.own_id(row);
        let (Ok(trace), Ok(span)) = (trace.try_into().map(TraceId), span.try_into().map(SpanId)) else {
            return;
        };
        if self.leaves_out(trace) {
            return;
        }
        if carries {
            self.covered.insert(trace);
        }
        let role = role(rows, row);
        let other = self.other(rows, row, role);
        let note = Note {
            trace,
            span,
            parent: rows.parent_id(row).and_then(|(_, parent)| parent.try_into().ok()).map(SpanId),
            service,
            role,
            other,
            is_error: rows.is_error(row),
            start: rows.start_time(row),
            end: rows.start_time(row).plus(rows.duration_nano(row).max(0)),
            marks: marks(rows, row, role),
            links: rows.links(row).filter_map(link).collect(),
        };
        // A span that arrived twice is one.
        if let Entry::Vacant(place) = self.by_span.entry((trace, span)) {
            place.insert(self.notes.len());
            self.notes.push(note);
        }
        self.thin_out();
    }

    fn other(&mut self, rows: &SpanColumns<'_>, row: usize, role: Role) -> Option<Name> {
        match role {
            Role::Client => {
                let port = rows.first(row, &["server.port", "net.peer.port"]);
                let peer = rows
                    .first(row, &["peer.service", "server.address", "net.peer.name", "net.sock.peer.addr"]);
                let url = rows.first(row, &["url.full", "http.url"]);
                let peer = peer.or_else(|| url.and_then(url_host))?;
                match port.filter(|_| is_address(peer)) {
                    Some(port) => self.name(&format!("{peer}:{port}")),
                    None => self.name(peer),
                }
            }
            Role::Producer | Role::Consumer => self.name(destination(rows, row)?),
            Role::Server | Role::Internal => None,
        }
    }

    pub(super) fn add_log(&mut self, rows: &LogColumns<'_>, row: usize) {
        let carries = rows.ids(row).any(is_own_id);
        if rows.event_name(row) == MESSAGE_EVENT {
            self.add_tapped(rows, row, carries);
            return;
        }
        let Some(service) = self.name(rows.service(row)) else {
            self.left_out += 1;
            return;
        };
        let trace = rows.trace_id(row);
        let counts = self.counts.entry(service).or_default();
        counts.logs += 1;
        counts.logs_without_trace += u64::from(trace.is_none());
        if !carries {
            counts.logs_without_id += 1;
            if trace.is_none() {
                counts.logs_alone += 1;
                counts.example_alone.get_or_insert_with(|| shortened(rows.body(row)));
            }
        }
        if let Some(trace) = trace.filter(|trace| !self.leaves_out(*trace)) {
            match carries {
                true => drop(self.covered.insert(trace)),
                false => *self.waiting.entry((service, trace)).or_default() += 1,
            }
            self.thin_out();
        }
    }

    fn add_tapped(&mut self, rows: &LogColumns<'_>, row: usize, carries: bool) {
        let Some(name) = rows.attribute(row, "messaging.destination.name") else { return };
        if !self.topics.contains_key(name) && self.topics.len() == TOPICS_MAX {
            self.left_out += 1;
            return;
        }
        let topic = self.topics.entry(name.to_owned()).or_insert_with(|| DoctorTopic {
            topic: name.to_owned(),
            messages: 0,
            without_context: 0,
            without_id: 0,
        });
        let context =
            ["messaging.header.traceparent", "messaging.header.b3", "messaging.header.uber-trace-id"];
        topic.messages += 1;
        topic.without_context += u64::from(context.iter().all(|key| rows.attribute(row, key).is_none()));
        topic.without_id += u64::from(!carries);
    }

    /// The number of a name; `None` when there are too many.
    fn name(&mut self, text: &str) -> Option<Name> {
        if let Some(name) = self.names.get(text) {
            return Some(*name);
        }
        if self.texts.len() == NAMES_MAX {
            return None;
        }
        let name = self.texts.len() as Name;
        self.names.insert(text.to_owned(), name);
        self.texts.push(text.to_owned());
        Some(name)
    }

    pub(super) fn text(&self, name: Name) -> &str {
        &self.texts[name as usize]
    }

    /// The service of this name, if anything of it was received.
    pub(super) fn service(&self, text: &str) -> Option<Name> {
        self.names.get(text).copied().filter(|name| self.counts.contains_key(name))
    }

    fn leaves_out(&self, trace: TraceId) -> bool {
        self.mask != 0 && hash(&trace) & self.mask != 0
    }

    fn thin_out(&mut self) {
        while self.notes.len() + self.waiting.len() + self.covered.len() / 4 > self.traced_max {
            self.mask = self.mask << 1 | 1;
            let mask = self.mask;
            let stays = |trace: &TraceId| hash(trace) & mask == 0;
            self.notes.retain(|note| stays(&note.trace));
            self.waiting.retain(|(_, trace), _| stays(trace));
            self.covered.retain(stays);
            self.by_span =
                self.notes.iter().enumerate().map(|(at, note)| ((note.trace, note.span), at)).collect();
            // One trace that is larger than all memory cannot be halved.
            if mask == u64::MAX >> 1 {
                break;
            }
        }
    }

    /// From what is kept to all: each kept trace stands for so many.
    pub(super) const fn scale(&self) -> u64 {
        self.mask.saturating_add(1)
    }

    /// Reading has ended: `whole` is what was read whole, the parents of what began in its first `edge_nano` may not be
    /// there, what ended after `settled` is not judged.
    pub(super) fn seal(&mut self, whole: TimeRange, edge_nano: i64, settled: UnixNano) {
        (self.whole_from, self.edge, self.settled) = (whole.from, whole.from.plus(edge_nano), settled);
    }

    /// Whether the other half of this span would be here by now.
    pub(super) fn is_settled(&self, note: &Note) -> bool {
        !self.is_torn && is_before(note.end, self.settled) && !is_before(note.start, self.whole_from)
    }

    /// Whether the parent of this span would have been read: it began earlier, and may have begun before the range.
    pub(super) fn is_inside(&self, note: &Note) -> bool {
        !self.is_torn && is_before(self.edge, note.start)
    }

    pub(super) fn parent(&self, note: &Note) -> Option<&Note> {
        let at = self.by_span.get(&(note.trace, note.parent?))?;
        self.notes.get(*at).filter(|parent| parent.span != note.span)
    }

    pub(super) fn topics(&self) -> Vec<DoctorTopic> {
        let mut topics: Vec<DoctorTopic> = self.topics.values().cloned().collect();
        topics.sort_by(|a, b| b.without_context.cmp(&a.without_context).then_with(|| a.topic.cmp(&b.topic)));
        topics
    }

    pub(super) fn cuts(&self) -> Vec<Cut> {
        let mut cuts = Vec::new();
        if self.mask != 0 {
            cuts.push(Cut {
                what: format!("one trace in {} was judged; counts of those are scaled", self.scale()),
                limit: "traced".to_owned(),
                hint: Some("ask for a shorter time range".to_owned()),
            });
        }
        if self.left_out > 0 {
            cuts.push(Cut {
                what: format!("{} records of further services and topics are left out", self.left_out),
                limit: "names".to_owned(),
                hint: None,
            });
        }
        cuts
    }
}

/// Whether a term is an id that somebody knows, and not only the name of a trace or span.
fn is_own_id(term: &str) -> bool {
    !term.starts_with("trace_id=") && !term.starts_with("link=")
}

fn link((trace, span): (&[u8], &[u8])) -> Option<(TraceId, SpanId)> {
    Some((TraceId(trace.try_into().ok()?), SpanId(span.try_into().ok()?)))
}

pub(super) fn hash<T: Hash + ?Sized>(of: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

fn destination<'a>(rows: &SpanColumns<'a>, row: usize) -> Option<&'a str> {
    rows.first(row, &["messaging.destination.name", "messaging.destination"])
}

/// Requests to databases, brokers and caches are answered by what sends no spans: they are nobody's call.
fn role(rows: &SpanColumns<'_>, row: usize) -> Role {
    let operation = ["messaging.operation.type", "messaging.operation", "messaging.operation.name"];
    match rows.kind(row) {
        "server" => Role::Server,
        "client" if rows.first(row, &["db.system.name", "db.system", "messaging.system"]).is_some() => {
            Role::Internal
        }
        "client" => Role::Client,
        "producer" if destination(rows, row).is_some() => Role::Producer,
        "consumer" if matches!(rows.first(row, &operation), Some("settle" | "ack" | "commit")) => {
            Role::Internal
        }
        "consumer" if destination(rows, row).is_some() => Role::Consumer,
        _ => Role::Internal,
    }
}

fn marks(rows: &SpanColumns<'_>, row: usize, role: Role) -> [u64; 2] {
    match role {
        Role::Client | Role::Server => request_marks(rows, row),
        Role::Producer | Role::Consumer => {
            let is_message =
                |term: &&str| term.starts_with("kafka_record=") || term.starts_with("message_id=");
            let mut terms = rows.ids(row).filter(is_message).map(hash);
            [terms.next().unwrap_or(0), terms.next().unwrap_or(0)]
        }
        Role::Internal => [0, 0],
    }
}

fn request_marks(rows: &SpanColumns<'_>, row: usize) -> [u64; 2] {
    if let Some(method) = rows.first(row, &["rpc.method"]) {
        return [hash(&(rows.first(row, &["rpc.service"]), method)), 0];
    }
    let method = rows.first(row, &["http.request.method", "http.method"]);
    let mark = |of: Option<&str>| of.map_or(0, |of| hash(&(method, of)));
    let route = rows.first(row, &["http.route", "url.template"]);
    let path = rows.first(row, &["url.path", "http.target"]).map(path_of);
    let path = path.or_else(|| rows.first(row, &["url.full", "http.url"]).map(url_path));
    [mark(route), mark(path)]
}

/// `http://host:80/a?b` → `host`.
fn url_host(url: &str) -> Option<&str> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split(['/', '?', '#']).next()?;
    let host = host.rsplit('@').next()?;
    Some(host).filter(|host| !host.is_empty())
}

/// `http://host/a?b` → `/a`.
fn url_path(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find('/').map_or("/", |at| path_of(&rest[at..]))
}

fn path_of(target: &str) -> &str {
    target.split(['?', '#']).next().unwrap_or(target)
}

/// Whether a name is an address: many services can stand behind it, on several ports.
fn is_address(name: &str) -> bool {
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok()
}

fn shortened(text: &str) -> String {
    let end = (0..=EXAMPLE_BYTES.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text[..end].lines().next().unwrap_or_default().to_owned()
}
