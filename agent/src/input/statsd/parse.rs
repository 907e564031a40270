//! Lines of StatsD: `name:value|type|@rate|#tag:value,tag`, several values as `name:1:2:3|c`; and of DogStatsD
//!
//! ```text
//! event          _e{5,4}:title|text|d:1795521600|h:web-1|t:error|#tag:value     lengths in bytes, `\n` for a line feed
//! service check  _sc|db.up|2|d:1795521600|h:web-1|#tag:value|m:no answer        0 ok, 1 warning, 2 critical, 3 unknown
//! ```
//!
//! A service check becomes a sample of the gauge [`SERVICE_CHECK`]; its message is left out. Invariant: a line that is not understood never takes its neighbours along.

use xxhash_rust::xxh3::xxh3_64;

use crate::input::points::Attributes;
use model::time::SECOND;
use model::{Severity, UnixNano};

/// The gauge that service checks set; the tag `check` names the check.
pub(super) const SERVICE_CHECK: &str = "statsd.service_check";

/// Longest name of a metric, and of a tag.
const NAME_BYTES_MAX: usize = 256;
/// Tags of a sample that are kept.
const TAGS_MAX: usize = 32;

/// The type of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Set,
    Timer,
    Histogram,
}

/// What a sample says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Number {
        number: f64,
        /// `+3` and `-3` of a gauge change it.
        is_change: bool,
    },
    /// The hash of a set's member.
    Text(u64),
}

/// One sample.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) value: Value,
    /// How many samples it stands for.
    pub(crate) weight: f64,
    /// Sorted by key.
    pub(crate) tags: Attributes,
}

/// An event: something that happened, told in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// Severity number and the word of the event.
    pub(crate) severity: (i32, &'static str),
    pub(crate) time: Option<UnixNano>,
    /// Its title, and its text in lines of their own.
    pub(crate) text: String,
    /// Sorted by key.
    pub(crate) tags: Attributes,
    /// Bytes of its line.
    pub(crate) bytes: u64,
}

/// What a line says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Said {
    Sample(Sample),
    Event(Event),
}

/// What the lines of a datagram say; `None` for a line that is not understood.
pub(crate) fn said(datagram: &[u8]) -> impl Iterator<Item = Option<Said>> {
    let lines = datagram.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.filter(|line| !line.is_empty()).flat_map(|line| {
        let Ok(line) = std::str::from_utf8(line) else { return vec![None] };
        if line.starts_with("_e{") {
            return vec![event(line).map(Said::Event)];
        }
        let samples = if line.starts_with("_sc|") { service_check(line) } else { parse(line) };
        match samples {
            Some(samples) => samples.into_iter().map(Said::Sample).map(Some).collect(),
            None => vec![None],
        }
    })
}

fn event(line: &str) -> Option<Event> {
    let (lengths, rest) = line.strip_prefix("_e{")?.split_once("}:")?;
    let (title_len, text_len) = lengths.split_once(',')?;
    let (title_len, text_len): (usize, usize) = (title_len.parse().ok()?, text_len.parse().ok()?);
    let (title, rest) = (rest.get(..title_len)?, rest.get(title_len..)?.strip_prefix('|')?);
    let (text, rest) = (rest.get(..text_len)?, rest.get(text_len..)?);
    let mut event = Event { severity: kind_of_event("info")?, bytes: line.len() as u64, ..Event::default() };
    if title.is_empty() || !rest.is_empty() && !rest.starts_with('|') {
        return None;
    }
    event.text = title.replace("\\n", "\n");
    if !text.is_empty() {
        event.text.push('\n');
        event.text.push_str(&text.replace("\\n", "\n"));
    }
    let mut named = Attributes::new();
    for field in rest.split('|').skip(1) {
        if let Some(list) = field.strip_prefix('#') {
            event.tags = tags_of(list);
            continue;
        }
        match field.split_once(':') {
            Some(("d", seconds)) => event.time = time(seconds),
            Some(("t", word)) => event.severity = kind_of_event(word)?,
            Some(("h", host)) => named.push(("host.name".to_owned(), host.to_owned())),
            Some(("k", key)) => named.push(("statsd.aggregation_key".to_owned(), key.to_owned())),
            Some(("p", priority)) => named.push(("statsd.priority".to_owned(), priority.to_owned())),
            Some(("s", source)) => named.push(("statsd.source".to_owned(), source.to_owned())),
            // Extensions change nothing of what happened.
            _ => {}
        }
    }
    event.tags.extend(named);
    Some(event)
}

/// The `t:` of an event.
fn kind_of_event(word: &str) -> Option<(i32, &'static str)> {
    match word {
        "error" => Some((Severity::Error.number(), "error")),
        "warning" => Some((Severity::Warn.number(), "warning")),
        "info" => Some((Severity::Info.number(), "info")),
        "success" => Some((Severity::Info.number(), "success")),
        _ => None,
    }
}

fn time(seconds: &str) -> Option<UnixNano> {
    seconds.parse::<i64>().ok()?.checked_mul(SECOND).map(UnixNano)
}

fn service_check(line: &str) -> Option<Vec<Sample>> {
    let mut fields = line.strip_prefix("_sc|")?.split('|');
    let (check, status) = (fields.next()?, fields.next()?);
    let number = status.parse::<u8>().ok().filter(|status| *status <= 3)?;
    if check.is_empty() || check.len() > NAME_BYTES_MAX {
        return None;
    }
    // The message is the last field.
    let fields = fields.take_while(|field| !field.starts_with("m:"));
    let mut tags = fields.filter_map(|field| field.strip_prefix('#')).map(tags_of).last().unwrap_or_default();
    tags.retain(|(key, _)| key != "check");
    tags.push(("check".to_owned(), check.to_owned()));
    tags.sort();
    let value = Value::Number { number: f64::from(number), is_change: false };
    Some(vec![Sample { name: SERVICE_CHECK.to_owned(), kind: Kind::Gauge, value, weight: 1.0, tags }])
}

fn parse(line: &str) -> Option<Vec<Sample>> {
    let (head, rest) = line.split_once('|')?;
    let (name, values) = head.split_once(':')?;
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return None;
    }
    let mut parts = rest.split('|');
    let kind = match parts.next()? {
        "c" => Kind::Counter,
        "g" => Kind::Gauge,
        "s" => Kind::Set,
        "ms" => Kind::Timer,
        "h" | "d" => Kind::Histogram,
        _ => return None,
    };
    let (mut weight, mut tags) = (1.0, Attributes::new());
    for part in parts {
        if let Some(rate) = part.strip_prefix('@') {
            let rate = rate.parse::<f64>().ok().filter(|rate| *rate > 0.0 && *rate <= 1.0)?;
            weight = 1.0 / rate;
        } else if let Some(list) = part.strip_prefix('#') {
            tags = tags_of(list);
        }
        // Others (`c:` container, `T` time) are extensions that change nothing of the value.
    }
    let sample = |text: &str| {
        let value = value_of(kind, text)?;
        Some(Sample { name: name.to_owned(), kind, value, weight, tags: tags.clone() })
    };
    // Members of a set may hold colons.
    if kind == Kind::Set {
        sample(values).map(|one| vec![one])
    } else {
        values.split(':').map(sample).collect()
    }
}

fn value_of(kind: Kind, text: &str) -> Option<Value> {
    if kind == Kind::Set {
        return (!text.is_empty()).then(|| Value::Text(xxh3_64(text.as_bytes())));
    }
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite())?;
    let is_change = kind == Kind::Gauge && text.starts_with(['+', '-']);
    Some(Value::Number { number, is_change })
}

fn tags_of(list: &str) -> Attributes {
    let mut tags: Attributes = list
        .split(',')
        .filter(|tag| !tag.is_empty() && tag.len() <= NAME_BYTES_MAX)
        .take(TAGS_MAX)
        .map(|tag| {
            let (key, value) = tag.split_once(':').unwrap_or((tag, "true"));
            (key.to_owned(), value.to_owned())
        })
        .collect();
    tags.sort();
    tags.dedup_by(|one, other| one.0 == other.0);
    tags
}
