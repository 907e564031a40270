//! Samples in, sums out.

use proptest::prelude::*;

use super::*;
use model::Signal;

fn taken(datagrams: &[&str]) -> (Sums, Flow) {
    let (mut sums, flow) = (Sums::new(100, UnixNano(1)), Flow::default());
    for datagram in datagrams {
        sums.take(datagram.as_bytes(), &flow);
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
    sums.take(b"a:1|c\nbroken\n:1|c\na:x|c\na:1|zz\na:nan|c\nb:1|c\n_e{1,1}:t|x\nc:1|c\na:1|c|@0", &flow);
    let counts = flow.snapshot("statsd", Signal::Metrics);
    let dropped = |reason| counts.dropped.iter().find(|(found, _)| *found == reason).map(|(_, count)| *count);
    assert_eq!((counts.input_records, sums.waiting, counts.is_conserved()), (10, 2, true));
    assert_eq!(dropped(DropReason::Malformed), Some(7));
    assert_eq!(dropped(DropReason::TooManySeries), Some(1));
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
        let good: Vec<_> = samples(&datagram).flatten().map(|sample| sample.name).collect();
        prop_assert_eq!(good.first().map(String::as_str), Some("before"));
        prop_assert_eq!(good.last().map(String::as_str), Some("after"));
    }
}
