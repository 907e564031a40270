//! StatsD and DogStatsD: samples over UDP and unix datagrams, summed up here, sent every interval.
//!
//! Counters and timers become cumulative sums and histograms, so that a request that is lost on its way costs
//! resolution, not counts. Bounds: `max_series` series; one that had no sample for ten intervals ends.

mod parse;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use model::UnixNano;
use tokio_util::sync::CancellationToken;

pub(crate) use self::parse::samples;
use self::parse::{Kind as SampleKind, Sample};
use super::intake::{Incoming, Intake};
use super::points::{Attributes, Buckets, Head, Kind, Metrics};
use super::syslog::Socket;
use crate::config::StatsdSettings;
use crate::status::{DropReason, Flow};

/// What a series takes, about: name, tags, value.
pub(crate) const SERIES_BYTES: usize = 256;
/// Bytes of one datagram.
const DATAGRAM_BYTES_MAX: usize = 64 << 10;
/// Different values of a set that are told apart in one interval.
const SET_MAX: usize = 10_000;
/// Intervals without a sample after which a series ends.
const QUIET_INTERVALS: u32 = 10;
/// Bounds of timers and histograms; the same for milliseconds and plain numbers.
const BOUNDS: [f64; 14] =
    [0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10_000.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Series {
    name: String,
    kind: SampleKind,
    tags: Attributes,
}

#[derive(Clone, Debug)]
enum Value {
    Sum(f64),
    Gauge(f64),
    Set(HashSet<u64>),
    Histogram(Buckets),
}

#[derive(Clone, Debug)]
struct Held {
    value: Value,
    quiet: u32,
}

/// What was counted since the start.
#[derive(Debug)]
struct Sums {
    series: HashMap<Series, Held>,
    max_series: usize,
    start: UnixNano,
    /// Samples that no request told of yet.
    waiting: u64,
}

impl Sums {
    fn new(max_series: usize, start: UnixNano) -> Self {
        Self { series: HashMap::new(), max_series, start, waiting: 0 }
    }

    /// Takes the samples of a datagram.
    fn take(&mut self, datagram: &[u8], flow: &Flow) {
        let mut bytes = datagram.len() as u64;
        for sample in samples(datagram) {
            flow.entered(1, std::mem::take(&mut bytes));
            let taken = sample.ok_or(DropReason::Malformed).and_then(|sample| self.add(sample));
            match taken {
                Ok(()) => self.waiting += 1,
                Err(reason) => flow.dropped(reason, 1),
            }
        }
    }

    fn add(&mut self, sample: Sample) -> Result<(), DropReason> {
        let series = Series { name: sample.name, kind: sample.kind, tags: sample.tags };
        if self.series.len() >= self.max_series && !self.series.contains_key(&series) {
            return Err(DropReason::TooManySeries);
        }
        let fresh = || Held { value: Value::of(sample.kind), quiet: 0 };
        let held = self.series.entry(series).or_insert_with(fresh);
        held.quiet = 0;
        held.value.add(&sample.value, sample.weight);
        Ok(())
    }

    /// The request of an interval, by service; `None` when there is nothing.
    fn request(&mut self, intake: &Intake, service: &str) -> Option<(Vec<u8>, u64)> {
        let mut by_service: HashMap<String, Vec<(&Series, &Held)>> = HashMap::new();
        for (series, held) in &self.series {
            let tagged = series.tags.iter().find(|(key, _)| key == "service").map(|(_, value)| value.clone());
            by_service.entry(tagged.unwrap_or_else(|| service.to_owned())).or_default().push((series, held));
        }
        let (mut request, mut count) = (Vec::new(), 0);
        for (service, mut all) in by_service {
            all.sort_by_key(|(series, _)| *series);
            let now = intake.shared.clock.now();
            let mut metrics = Metrics::new(intake.resource_of(&service), self.start, now);
            for group in
                all.chunk_by(|(one, _), (other, _)| (&one.name, one.kind) == (&other.name, other.kind))
            {
                write(&mut metrics, group);
            }
            count += metrics.count();
            request.extend_from_slice(&metrics.finish());
        }
        (count > 0).then_some((request, count))
    }

    /// After a request was spooled: sets begin anew, ended series go.
    fn advance(&mut self) {
        self.series.retain(|_, held| held.quiet <= QUIET_INTERVALS);
        for held in self.series.values_mut() {
            held.quiet += 1;
            if let Value::Set(values) = &mut held.value {
                values.clear();
            }
        }
    }
}

impl Value {
    fn of(kind: SampleKind) -> Self {
        match kind {
            SampleKind::Counter => Self::Sum(0.0),
            SampleKind::Gauge => Self::Gauge(0.0),
            SampleKind::Set => Self::Set(HashSet::new()),
            SampleKind::Timer | SampleKind::Histogram => Self::Histogram(Buckets {
                bounds: BOUNDS.to_vec(),
                counts: vec![0; BOUNDS.len() + 1],
                sum: 0.0,
            }),
        }
    }

    /// `weight` is how many samples this one stands for.
    fn add(&mut self, text: &parse::Value, weight: f64) {
        match (self, text) {
            (Self::Sum(sum), parse::Value::Number { number, .. }) => *sum += number * weight,
            (Self::Gauge(value), parse::Value::Number { number, is_change: true }) => *value += number,
            (Self::Gauge(value), parse::Value::Number { number, .. }) => *value = *number,
            (Self::Histogram(buckets), parse::Value::Number { number, .. }) => {
                let at = buckets.bounds.partition_point(|bound| bound < number);
                buckets.counts[at] += weight.round().max(1.0) as u64;
                buckets.sum += number * weight;
            }
            (Self::Set(values), parse::Value::Text(hash)) if values.len() < SET_MAX => {
                values.insert(*hash);
            }
            _ => {}
        }
    }
}

/// Writes the series of one metric. A series that ended says so once.
fn write(metrics: &mut Metrics, group: &[(&Series, &Held)]) {
    let Some((first, _)) = group.first() else { return };
    let unit = if first.kind == SampleKind::Timer { "ms" } else { "" };
    let head = Head::new(&first.name, unit);
    let ends = |held: &Held| held.quiet > QUIET_INTERVALS;
    let kind = match first.kind {
        SampleKind::Counter => Kind::Counter,
        SampleKind::Gauge | SampleKind::Set => Kind::Gauge,
        SampleKind::Timer | SampleKind::Histogram => {
            let points = group.iter().map(|(series, held)| match &held.value {
                Value::Histogram(buckets) if !ends(held) => (&series.tags[..], Some(buckets)),
                _ => (&series.tags[..], None),
            });
            return metrics.histograms(head, points);
        }
    };
    let points = group.iter().map(|(series, held)| {
        let value = match &held.value {
            _ if ends(held) => None,
            Value::Sum(value) | Value::Gauge(value) => Some(*value),
            Value::Set(values) => Some(values.len() as f64),
            Value::Histogram(_) => None,
        };
        (&series.tags[..], value)
    });
    metrics.numbers(head, kind, points);
}

/// Receives until `stop`, then sends what was counted.
pub(crate) async fn run(
    settings: StatsdSettings,
    sockets: Vec<Socket>,
    intake: Intake,
    flow: Arc<Flow>,
    stop: CancellationToken,
) {
    let mut sums = Sums::new(settings.max_series, intake.shared.clock.now());
    let (datagrams, mut received) = tokio::sync::mpsc::channel::<Vec<u8>>(256);
    let mut tasks = tokio::task::JoinSet::new();
    for socket in sockets {
        let (datagrams, stop) = (datagrams.clone(), stop.clone());
        tasks.spawn(async move { receive(socket, datagrams, stop).await });
    }
    drop(datagrams);
    let mut tick = tokio::time::interval(settings.interval);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tick.reset();
    loop {
        tokio::select! {
            datagram = received.recv() => match datagram {
                Some(datagram) => sums.take(&datagram, &flow),
                None => break,
            },
            _ = tick.tick() => send(&mut sums, &intake, &settings.service, &flow),
        }
    }
    send(&mut sums, &intake, &settings.service, &flow);
}

async fn receive(socket: Socket, datagrams: tokio::sync::mpsc::Sender<Vec<u8>>, stop: CancellationToken) {
    let (mut room, mut late) = (vec![0; DATAGRAM_BYTES_MAX], 0);
    loop {
        let Some(read) = socket.next(&mut room, &stop, &mut late).await else { break };
        match read {
            // The owner only adds numbers: it is never far behind.
            Ok((len, _)) => drop(datagrams.send(room[..len].to_vec()).await),
            Err(error) => {
                tracing::warn!(%error, "receiving statsd");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
    socket.leave();
}

fn send(sums: &mut Sums, intake: &Intake, service: &str, flow: &Flow) {
    let Some((request, count)) = sums.request(intake, service) else { return };
    match intake.put(Incoming::metrics(&request, count)) {
        Ok(()) => {
            flow.left(std::mem::take(&mut sums.waiting), 0, request.len() as u64);
            sums.advance();
        }
        // The sums go on: the next request tells of these samples too.
        Err(error) => tracing::warn!(%error, "statsd metrics found no room in the spool; they wait"),
    }
}
