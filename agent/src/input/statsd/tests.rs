//! Samples in, sums out.

use proptest::prelude::*;

use super::*;
use model::Signal;

fn taken(datagrams: &[&str]) -> (Sums, Flow) {
    let (mut sums, flow) = (Sums::new(100, UnixNano(1)), Flow::default());
    for datagram in datagrams {
        sums.take(datagram.as_bytes(), &flow, &mut |event| panic!("no event: {event:?}"));
    }
    (sums, flow)
}

#[track_caller]
fn value<'a>(sums: &'a Sums, name: &str) -> &'a Value {
    &sums.series.iter().find(|(series, _)| series.name == name).expect("a series").1.value
}

#[test]
fn every_type_is_summed_up_as_it_means() {
    let (sums, _) = taken(&[
        "hits:1|c\nhits:2|c|@0.5",
        "temp:20|g\ntemp:-3|g\ntemp:+1|g",
        "users:a|s\nusers:b:c|s\nusers:a|s",
        "slow:3:700:20000|ms|#env:x",
    ]);
    assert!(matches!(value(&sums, "hits"), Value::Sum(5.0)));
    assert!(matches!(value(&sums, "temp"), Value::Gauge(18.0)));
    assert!(matches!(value(&sums, "users"), Value::Set(set) if set.len() == 2));
    let Value::Histogram(buckets) = value(&sums, "slow") else { panic!("a histogram") };
    assert_eq!((buckets.sum, buckets.counts.iter().sum::<u64>()), (20_703.0, 3));
    assert_eq!((buckets.counts[3], buckets.counts[10], buckets.counts[14]), (1, 1, 1));
}

#[test]
fn the_same_tags_in_another_order_are_the_same_series() {
    let (sums, _) = taken(&["a:1|c|#x:1,y", "a:1|c|#y,x:1", "a:1|c|#y"]);
    assert_eq!(sums.series.len(), 2);
}

#[test]
fn lines_that_are_not_understood_and_series_beyond_the_bound_are_counted() {
    let (mut sums, flow) = (Sums::new(2, UnixNano(1)), Flow::default());
    sums.take(
        b"a:1|c\nbroken\n:1|c\na:x|c\na:1|zz\na:nan|c\nb:1|c\n_e{1,2}:t|x\nc:1|c\na:1|c|@0\n_sc|a|9",
        &flow,
        &mut |event| panic!("no event: {event:?}"),
    );
    let counts = flow.snapshot("statsd", Signal::Metrics);
    let dropped = |reason| counts.dropped.iter().find(|(found, _)| *found == reason).map(|(_, count)| *count);
    assert_eq!((counts.input_records, sums.waiting, counts.is_conserved()), (11, 2, true));
    assert_eq!(dropped(DropReason::Malformed), Some(8));
    assert_eq!(dropped(DropReason::TooManySeries), Some(1));
}

#[test]
fn events_are_told_in_words_and_service_checks_are_a_gauge() {
    let (mut sums, flow, mut events) = (Sums::new(9, UnixNano(1)), Flow::default(), Vec::new());
    let datagram = "_e{12,13}:deploy of ü|line\\nanother|d:1795521600|h:web-1|t:error|#service:shop,env:x\n\
                    _sc|db.up|2|d:1|#env:x,check:no|m:a|#b\n_sc|db.up|0|#env:x\nhits:1|c";
    sums.take(datagram.as_bytes(), &flow, &mut |event| events.push(event));
    assert_eq!(events.len(), 1, "{events:?}");
    let entry = entry_of(events.remove(0), "statsd");
    assert_eq!((entry.service.as_str(), entry.severity), ("shop", (17, "error")));
    assert_eq!(entry.text, "deploy of ü\nline\nanother");
    assert_eq!(entry.time, Some(UnixNano(1_795_521_600_000_000_000)));
    for (key, value) in [("env", "x"), ("host.name", "web-1"), ("event.name", "statsd.event")] {
        assert!(entry.attributes.contains(&(key.to_owned(), value.to_owned())), "{entry:?}");
    }
    let (check, _) =
        sums.series.iter().find(|(series, _)| series.name == parse::SERVICE_CHECK).expect("a gauge");
    let tags: Vec<_> = check.tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(tags, [("check", "db.up"), ("env", "x")]);
    assert!(matches!(value(&sums, parse::SERVICE_CHECK), Value::Gauge(0.0)), "the last one counts");
    let counts = flow.snapshot("statsd", Signal::Metrics);
    assert_eq!((counts.input_records, sums.waiting, counts.is_conserved()), (3, 3, true));
}

#[test]
fn a_series_without_samples_ends() {
    let (mut sums, _) = taken(&["a:1|c"]);
    for _ in 0..=QUIET_INTERVALS {
        sums.advance();
        assert_eq!(sums.series.len(), 1);
    }
    sums.advance();
    assert!(sums.series.is_empty());
}

proptest! {
    #[test]
    fn any_bytes_leave_their_neighbours_alone(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let mut datagram = b"before:1|c\n".to_vec();
        datagram.extend_from_slice(&bytes);
        datagram.extend_from_slice(b"\nafter:1|c");
        let good: Vec<_> = said(&datagram)
            .flatten()
            .filter_map(|said| match said {
                Said::Sample(sample) => Some(sample.name),
                Said::Event(_) => None,
            })
            .collect();
        prop_assert_eq!(good.first().map(String::as_str), Some("before"));
        prop_assert_eq!(good.last().map(String::as_str), Some("after"));
    }
}
