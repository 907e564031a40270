//! Lines of StatsD: `name:value|type|@rate|#tag:value,tag`, several values as `name:1:2:3|c`.
//!
//! Events (`_e{`) and service checks (`_sc|`) of DogStatsD are no samples and count as not understood.
//! Invariant: a line that is not understood never takes its neighbours along.

use xxhash_rust::xxh3::xxh3_64;

use crate::input::points::Attributes;

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

/// The samples of a datagram; `None` for a line that is none.
pub(crate) fn samples(datagram: &[u8]) -> impl Iterator<Item = Option<Sample>> {
    let lines = datagram.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.filter(|line| !line.is_empty()).flat_map(|line| {
        match std::str::from_utf8(line).ok().and_then(parse) {
            Some(samples) => samples.into_iter().map(Some).collect(),
            None => vec![None],
        }
    })
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
