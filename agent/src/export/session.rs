//! Sessions: hello, and what each endpoint has committed (`docs/formats/positions.md`).
//!
//! Owns: the standing of every endpoint, the headers of a positioned request, what a refusal of
//! positions means. Does not own: sending (`Exporter`), where the sources are read again
//! (`input::file`, `spool`).
//!
//! ```text
//! unknown ── hello ─► session and committed positions ─► exactly once
//!    ▲        └─ 404, or no session in the answer ─────► at least once, without headers
//!    └── refused: `session`, `session-unknown`, `streams`
//! ```
//!
//! Invariant: `begins` is set for a stream only as long as the store named it neither at hello nor in
//! an answer of this session.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Response};
use model::positions::{self, COMMITTED_HEADER, KNOWN_HEADER, REFUSED_HEADER, Range, STREAMS_MAX, StreamId};
use serde::{Deserialize, Serialize};

use crate::status::lock;

/// Committed positions, by stream.
pub(crate) type Committed = HashMap<StreamId, u64>;
/// What an answer says about streams; `None` for one the store does not know.
pub(crate) type Told = Vec<(StreamId, Option<u64>)>;

/// What `POST /v1/agent/hello` carries.
#[derive(Debug, Serialize)]
pub(super) struct Hello<'a> {
    agent: &'a str,
    host: &'a str,
    version: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    forget: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Welcome {
    store: String,
    session: u64,
    #[serde(default)]
    streams: Vec<WelcomeStream>,
}

#[derive(Debug, Deserialize)]
struct WelcomeStream {
    stream: String,
    committed: u64,
}

/// What is known of an endpoint.
#[derive(Clone, Debug, Default)]
enum Standing {
    #[default]
    Unknown,
    /// It does not know positions.
    Plain,
    Positioned(Session),
}

#[derive(Clone, Debug)]
struct Session {
    number: u64,
    store: String,
    known: HashSet<StreamId>,
}

/// The headers of a request, or why there are none.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heads {
    /// Hello comes first.
    HelloFirst,
    /// The endpoint does not know positions.
    Plain,
    /// Session, batch, and the value of `silmari-positions-bin`.
    Positioned { session: u64, batch: u64, positions: String },
}

/// Why a positioned request was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PositionRefusal {
    /// Another process holds the agent id with a newer session.
    Fenced,
    /// The store does not know the session.
    SessionUnknown,
    /// The agent has as many streams as it may.
    Streams,
    /// Sources have to be read again from these positions.
    Gap(Told),
}

/// The standing of all endpoints.
#[derive(Debug)]
pub(crate) struct Sessions {
    standings: Vec<Mutex<Standing>>,
    forgettable: Mutex<Vec<StreamId>>,
    batches: AtomicU64,
}

impl Sessions {
    pub(super) fn new(endpoints: usize) -> Self {
        Self {
            standings: (0..endpoints).map(|_| Mutex::default()).collect(),
            forgettable: Mutex::default(),
            batches: AtomicU64::new(0),
        }
    }

    /// Notes streams whose sources are gone: the store may forget them.
    pub(crate) fn forget(&self, streams: impl IntoIterator<Item = StreamId>) {
        let mut forgettable = lock(&self.forgettable);
        let room = STREAMS_MAX.saturating_sub(forgettable.len());
        forgettable.extend(streams.into_iter().take(room));
    }

    pub(super) fn hello<'a>(&self, agent: &'a str, host: &'a str) -> Hello<'a> {
        let forget = lock(&self.forgettable).iter().map(ToString::to_string).collect();
        Hello { agent, host, version: env!("CARGO_PKG_VERSION"), forget }
    }

    /// Takes the body of a successful answer to hello. `None` when the endpoint does not know positions.
    pub(super) fn welcome(&self, endpoint: usize, body: &[u8]) -> Option<(u64, Committed)> {
        let Ok(welcome) = serde_json::from_slice::<Welcome>(body) else {
            self.is_plain(endpoint);
            return None;
        };
        let committed: Committed = welcome
            .streams
            .iter()
            .filter_map(|one| Some((StreamId::parse(&one.stream)?, one.committed)))
            .collect();
        let session = Session {
            number: welcome.session,
            store: welcome.store,
            known: committed.keys().copied().collect(),
        };
        // Another endpoint of the same store has the same newest session.
        for standing in &self.standings {
            let mut standing = lock(standing);
            if matches!(&*standing, Standing::Positioned(other) if other.store == session.store) {
                *standing = Standing::Positioned(session.clone());
            }
        }
        *lock(&self.standings[endpoint]) = Standing::Positioned(session);
        lock(&self.forgettable).clear();
        Some((welcome.session, committed))
    }

    /// The endpoint does not know positions.
    pub(super) fn is_plain(&self, endpoint: usize) {
        *lock(&self.standings[endpoint]) = Standing::Plain;
    }

    /// The session of an endpoint is over.
    pub(super) fn ended(&self, endpoint: usize) {
        *lock(&self.standings[endpoint]) = Standing::Unknown;
    }

    /// The headers for `ranges` at an endpoint.
    pub(super) fn heads(&self, endpoint: usize, ranges: &[Range]) -> Heads {
        let standing = lock(&self.standings[endpoint]);
        let session = match &*standing {
            Standing::Unknown => return Heads::HelloFirst,
            Standing::Plain => return Heads::Plain,
            Standing::Positioned(session) => session,
        };
        let ranges: Vec<Range> = ranges
            .iter()
            .map(|range| Range { begins: !session.known.contains(&range.stream), ..range.clone() })
            .collect();
        Heads::Positioned {
            session: session.number,
            batch: self.batches.fetch_add(1, Relaxed) + 1,
            positions: STANDARD.encode(positions::encode(&ranges)),
        }
    }

    /// Notes what a successful answer says. `false` when it says nothing about positions.
    pub(super) fn answered(&self, endpoint: usize, answer: &Response<Bytes>) -> bool {
        let Some(told) = told(answer.headers()) else { return false };
        if let Standing::Positioned(session) = &mut *lock(&self.standings[endpoint]) {
            session.known.extend(told.into_iter().map(|(stream, _)| stream));
        }
        true
    }

    /// What a refusal of a request of the session `used` says about positions; `None` when it is about
    /// something else.
    pub(super) fn refused(
        &self,
        endpoint: usize,
        used: u64,
        answer: &Response<Bytes>,
    ) -> Option<PositionRefusal> {
        let reason = answer.headers().get(REFUSED_HEADER)?.to_str().ok()?;
        let is_current = matches!(&*lock(&self.standings[endpoint]), Standing::Positioned(session) if session.number == used);
        Some(match reason {
            // Hello was said anew while the request was on its way.
            "session" if !is_current => PositionRefusal::SessionUnknown,
            "session" => {
                self.ended(endpoint);
                PositionRefusal::Fenced
            }
            "streams" => {
                self.ended(endpoint);
                PositionRefusal::Streams
            }
            "gap" | "overlap" => {
                let told = told(answer.headers())?;
                if let Standing::Positioned(session) = &mut *lock(&self.standings[endpoint]) {
                    for (stream, committed) in &told {
                        match committed {
                            Some(_) => session.known.insert(*stream),
                            None => session.known.remove(stream),
                        };
                    }
                }
                PositionRefusal::Gap(told)
            }
            _ => {
                if is_current {
                    self.ended(endpoint);
                }
                PositionRefusal::SessionUnknown
            }
        })
    }
}

/// Records of a request that the store had already.
pub(super) fn known(headers: &HeaderMap) -> u64 {
    headers.get(KNOWN_HEADER).and_then(|known| known.to_str().ok()?.parse().ok()).unwrap_or_default()
}

fn told(headers: &HeaderMap) -> Option<Told> {
    let message = STANDARD.decode(headers.get(COMMITTED_HEADER)?.as_bytes()).ok()?;
    positions::decode_committed(&message).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: StreamId = StreamId([7; 16]);

    fn range() -> Range {
        Range::new(STREAM, 10, 20, 1)
    }

    fn answer(refused: Option<&str>, committed: Option<Option<u64>>) -> Response<Bytes> {
        let mut builder = Response::builder();
        if let Some(reason) = refused {
            builder = builder.header(REFUSED_HEADER, reason);
        }
        if let Some(committed) = committed {
            let message = positions::encode_committed(&[(STREAM, committed)]);
            builder = builder.header(COMMITTED_HEADER, STANDARD.encode(message));
        }
        builder.body(Bytes::new()).expect("valid")
    }

    fn begins(sessions: &Sessions, endpoint: usize) -> bool {
        let Heads::Positioned { positions, .. } = sessions.heads(endpoint, &[range()]) else {
            panic!("a session");
        };
        positions::decode(&STANDARD.decode(positions).expect("base64")).expect("ranges")[0].begins
    }

    #[test]
    fn a_stream_begins_until_the_store_has_named_it() {
        let sessions = Sessions::new(1);
        assert_eq!(sessions.heads(0, &[range()]), Heads::HelloFirst);
        let welcome = sessions.welcome(0, br#"{"store":"s","session":4,"streams":[]}"#);
        assert_eq!(welcome, Some((4, Committed::new())));
        assert!(begins(&sessions, 0));
        assert!(sessions.answered(0, &answer(None, Some(Some(20)))));
        assert!(!begins(&sessions, 0));
        let gap = sessions.refused(0, 4, &answer(Some("gap"), Some(None)));
        assert_eq!(gap, Some(PositionRefusal::Gap(vec![(STREAM, None)])));
        assert!(begins(&sessions, 0), "the store forgot it");
    }

    #[test]
    fn a_hello_names_what_is_committed_and_ends_older_sessions_of_the_same_store() {
        let sessions = Sessions::new(2);
        let body = format!(
            r#"{{"store":"s","session":1,"streams":[{{"stream":"{STREAM}","committed":12}}],"more":1}}"#
        );
        assert_eq!(sessions.welcome(0, body.as_bytes()), Some((1, Committed::from([(STREAM, 12)]))));
        assert!(!begins(&sessions, 0));
        sessions.welcome(1, br#"{"store":"s","session":2}"#);
        for endpoint in [0, 1] {
            assert!(matches!(sessions.heads(endpoint, &[]), Heads::Positioned { session: 2, .. }));
        }
    }

    #[test]
    fn an_endpoint_that_does_not_know_positions_gets_no_headers() {
        let sessions = Sessions::new(1);
        assert_eq!(sessions.welcome(0, b"<html>"), None);
        assert_eq!(sessions.heads(0, &[range()]), Heads::Plain);
        assert!(!sessions.answered(0, &answer(None, None)));
    }

    #[test]
    fn a_refused_session_asks_for_hello_and_other_refusals_are_no_matter_of_positions() {
        let sessions = Sessions::new(1);
        for (reason, expected) in [
            ("session", PositionRefusal::Fenced),
            ("session-unknown", PositionRefusal::SessionUnknown),
            ("streams", PositionRefusal::Streams),
        ] {
            sessions.welcome(0, br#"{"store":"s","session":4}"#);
            assert_eq!(sessions.refused(0, 4, &answer(Some(reason), None)), Some(expected));
            assert_eq!(sessions.heads(0, &[]), Heads::HelloFirst);
        }
        assert_eq!(sessions.refused(0, 4, &answer(None, None)), None);
        sessions.welcome(0, br#"{"store":"s","session":5}"#);
        let late = sessions.refused(0, 4, &answer(Some("session"), None));
        assert_eq!(late, Some(PositionRefusal::SessionUnknown), "not fenced: this agent said hello itself");
        assert!(matches!(sessions.heads(0, &[]), Heads::Positioned { session: 5, .. }));
    }

    #[test]
    fn streams_to_forget_travel_with_the_next_hello_only() {
        let sessions = Sessions::new(1);
        sessions.forget([STREAM]);
        assert_eq!(sessions.hello("a", "h").forget, [STREAM.to_string()]);
        sessions.welcome(0, br#"{"store":"s","session":4}"#);
        assert!(sessions.hello("a", "h").forget.is_empty());
    }
}
