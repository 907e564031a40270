//! StatsD and DogStatsD: samples over UDP and unix datagrams, summed up here, sent every interval; events become log records.
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
use model::dialect::Dialect;
use tokio_util::sync::CancellationToken;

use self::parse::{Event, Kind as SampleKind, Sample};
pub(crate) use self::parse::{Said, said};
use super::intake::{Incoming, Intake};
use super::points::{Attributes, Buckets, Head, Kind, Metrics};
use super::records::{Entry, Records};
use super::syslog::Socket;
use crate::config::StatsdSettings;
use crate::process::Chain;
use crate::status::{DropReason, Flow};

/// What a series takes, about: name, tags, value.
pub(crate) const SERIES_BYTES: usize = 256;
/// Bytes of one datagram.
const DATAGRAM_BYTES_MAX: usize = 64 << 10;
/// Datagrams between the sockets and their owner.
const WAITING_MAX: usize = 15;
/// How long an event waits for others.
const FLUSH: Duration = Duration::from_secs(1);
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

    /// Takes the samples of a datagram; its events are for `see`.
    fn take(&mut self, datagram: &[u8], flow: &Flow, see: &mut dyn FnMut(Event)) {
        let mut bytes = datagram.len() as u64;
        for said in said(datagram) {
            let sample = match said {
                Some(Said::Event(event)) => {
                    bytes = bytes.saturating_sub(event.bytes);
                    see(event);
                    continue;
                }
                Some(Said::Sample(sample)) => Ok(sample),
                None => Err(DropReason::Malformed),
            };
            flow.entered(1, std::mem::take(&mut bytes));
            match sample.and_then(|sample| self.add(sample)) {
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

/// Receives until `stop`, then sends what was counted. `flow` counts samples, `told` events.
pub(crate) async fn run(
    settings: StatsdSettings,
    sockets: Vec<Socket>,
    intake: Intake,
    flow: Arc<Flow>,
    told: Arc<Flow>,
    stop: CancellationToken,
) {
    let mut events = Records::new(intake.clone(), Chain::default(), Dialect::Plain);
    let mut sums = Sums::new(settings.max_series, intake.shared.clock.now());
    let (datagrams, mut received) = tokio::sync::mpsc::channel::<Vec<u8>>(WAITING_MAX);
    let mut tasks = tokio::task::JoinSet::new();
    for socket in sockets {
        let (datagrams, stop) = (datagrams.clone(), stop.clone());
        tasks.spawn(async move { receive(socket, datagrams, stop).await });
    }
    drop(datagrams);
    let mut tick = tokio::time::interval(settings.interval);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tick.reset();
    let mut flushes = tokio::time::interval(FLUSH);
    flushes.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            datagram = received.recv() => match datagram {
                Some(datagram) => sums.take(&datagram, &flow, &mut |event| {
                    events.push(&entry_of(event, &settings.service), &told);
                    if events.is_full() {
                        flush(&mut events, &told);
                    }
                }),
                None => break,
            },
            _ = tick.tick() => send(&mut sums, &intake, &settings.service, &flow),
            _ = flushes.tick() => flush(&mut events, &told),
        }
    }
    flush(&mut events, &told);
    send(&mut sums, &intake, &settings.service, &flow);
}

/// An event as a log record.
fn entry_of(event: Event, service: &str) -> Entry {
    let tagged = event.tags.iter().find(|(key, _)| key == "service").map(|(_, value)| value.clone());
    let service = tagged.unwrap_or_else(|| service.to_owned());
    let mut attributes = event.tags;
    attributes.push(("event.name".to_owned(), "statsd.event".to_owned()));
    Entry {
        sender: service.clone(),
        service,
        time: event.time,
        severity: event.severity,
        text: event.text,
        attributes,
        bytes: event.bytes,
    }
}

fn flush(events: &mut Records, told: &Flow) {
    if let Err(error) = events.flush(told) {
        tracing::warn!(%error, "statsd events found no room in the spool");
    }
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
