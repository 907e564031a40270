//! Pages in, points out.

use model::otlp::metrics::PointValue;
use model::otlp::{self, MetricView};
use proptest::prelude::*;

use super::text::{Type, parse};
use super::*;

const PAGE: &str = r#"# HELP http_requests_total Requests.
# TYPE http_requests_total counter
http_requests_total{method="post",path="/a\"b\\c\n"} 1027 1395066363000
http_requests_total{method="get"} 3
# TYPE temp gauge
temp -1.5e2
free_text NaN
# TYPE lat histogram
lat_bucket{le="0.1"} 2
lat_bucket{le="1"} 5
lat_bucket{le="+Inf"} 6
lat_sum 3.5
lat_count 6
# TYPE rpc summary
rpc{quantile="0.5"} 4
rpc_sum 10
rpc_count 7
broken line here
also{broken="x 1
"#;

#[test]
fn samples_types_and_escapes_are_read_and_broken_lines_counted() {
    let page = parse(PAGE);
    assert_eq!((page.samples.len(), page.malformed), (12, 2));
    assert_eq!(page.types["lat"], Type::Histogram);
    assert_eq!(page.samples[0].labels[1], ("path".to_owned(), "/a\"b\\c\n".to_owned()));
    assert_eq!((page.samples[0].value, page.samples[2].value), (1027.0, -150.0));
    assert!(page.samples[3].value.is_nan());
}

/// Every metric of a request, in order.
fn each_metric(request: &[u8], visit: &mut dyn FnMut(&MetricView<'_>)) {
    for group in otlp::resources(request).expect("message") {
        for scope in group.expect("whole").scopes() {
            for item in scope.expect("whole").items() {
                visit(&MetricView::parse(item).expect("well formed").expect("a metric"));
            }
        }
    }
}

/// `(name, points, points that end a series)` of what is written.
fn written(page: Option<&str>, before: &Known, max: usize) -> (Vec<(String, usize, usize)>, Known) {
    let page = page.map(parse);
    let families = Families::new(page.as_ref(), max, UnixNano(7));
    let mut metrics = Metrics::new([("service.name", "x")], UnixNano(1), UnixNano(2));
    let known = families.write(&mut metrics, before);
    let request = metrics.finish();
    let mut found = Vec::new();
    each_metric(&request, &mut |view| {
        let points: Vec<_> = view.points().map(|point| point.expect("well formed")).collect();
        let ends =
            points.iter().flatten().filter(|point| format!("{:?}", point.value).contains("None")).count()
                + points.iter().filter(|point| point.is_none()).count();
        found.push((view.name.to_owned(), points.len(), ends));
    });
    (found, known)
}

#[test]
fn families_become_metrics_and_series_that_go_away_end() {
    let (first, known) = written(Some(PAGE), &Known::new(), 100);
    let names: Vec<_> = first.iter().map(|(name, points, _)| (name.as_str(), *points)).collect();
    assert_eq!(names, [("free_text", 1), ("http_requests_total", 2), ("lat", 1), ("rpc", 1), ("temp", 1)]);
    assert_eq!(known.len(), 6);
    let (second, after) = written(Some("# TYPE temp gauge\ntemp 1\n"), &known, 100);
    assert_eq!(second.len(), 6, "one lives, five end: {second:?}");
    assert_eq!(after.len(), 1);
    let (down, none) = written(None, &after, 100);
    assert_eq!((down.len(), none.len()), (1, 0));
}

/// Value, time and trace of an exemplar.
type Measured = (f64, UnixNano, Option<String>);

/// Name of a point, counts and bounds of a histogram, exemplars.
type Point = (String, Vec<u64>, Vec<f64>, Vec<Measured>);

/// The points of a page's metrics, as a collector reads them.
fn points(page: &str) -> Vec<Point> {
    let page = parse(page);
    let mut metrics = Metrics::new([], UnixNano(1), UnixNano(2));
    Families::new(Some(&page), 100, UnixNano(7)).write(&mut metrics, &Known::new());
    let request = metrics.finish();
    let mut found = Vec::new();
    each_metric(&request, &mut |view| {
        for point in view.points() {
            let point = point.expect("well formed").expect("a value");
            let exemplars = point
                .exemplars()
                .map(|exemplar| (exemplar.value, exemplar.time, exemplar.trace_id.map(|id| id.to_string())));
            let words = |bytes: &[u8]| -> Vec<u64> {
                let (words, _) = bytes.as_chunks::<8>();
                words.iter().map(|word| u64::from_le_bytes(*word)).collect()
            };
            let (counts, bounds) = match point.value {
                PointValue::Histogram { counts, bounds, .. } => (words(counts), words(bounds)),
                _ => (Vec::new(), Vec::new()),
            };
            let bounds = bounds.into_iter().map(f64::from_bits).collect();
            found.push((view.name.to_owned(), counts, bounds, exemplars.collect()));
        }
    });
    found
}

#[test]
fn a_histogram_has_counts_between_its_bounds() {
    let all = points(PAGE);
    let (_, counts, bounds, _) = all.iter().find(|(name, ..)| name == "lat").expect("the histogram");
    assert_eq!((&counts[..], &bounds[..]), (&[2, 3, 1][..], &[0.1, 1.0][..]));
}

#[test]
fn exemplars_of_openmetrics_come_with_their_points_and_a_broken_one_leaves_its_sample() {
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let page = format!(
        "# TYPE lat histogram\n\
         lat_bucket{{le=\"0.5\"}} 2 # {{trace_id=\"{trace}\",span_id=\"b7ad6b7169203331\",user=\"7\"}} 0.25 1520879607.5\n\
         lat_bucket{{le=\"+Inf\"}} 3 # {{trace_id=\"{trace}\"}} 9\nlat_count 3\nlat_sum 10\n\
         # TYPE hits counter\nhits_total 17 1520879607.789 # {{trace_id=\"{trace}\"}} 1\n\
         # TYPE odd gauge\nodd{{a=\" # {{\"}} 1 # {{trace_id=\"x\n# EOF\n"
    );
    let all = points(&page);
    let of = |wanted: &str| all.iter().find(|(name, ..)| name == wanted).expect("a point").3.clone();
    let trace = Some(trace.to_owned());
    assert_eq!(
        of("lat"),
        [(0.25, UnixNano(1_520_879_607_500_000_000), trace.clone()), (9.0, UnixNano(7), trace.clone())]
    );
    assert_eq!(of("hits_total"), [(1.0, UnixNano(7), trace)]);
    assert_eq!(of("odd"), []);
}

#[test]
fn samples_beyond_the_bound_are_left_out_and_counted() {
    let page = parse("a 1\nb 2\nc 3\n");
    let families = Families::new(Some(&page), 2, UnixNano(7));
    assert_eq!((families.samples, families.beyond), (2, 1));
}

#[test]
fn a_file_of_targets_is_read_as_prometheus_reads_it() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("sd.json");
    std::fs::write(&path, r#"[{"targets": ["a:1", "b:2"], "labels": {"job": "x", "__meta": "y"}}]"#)
        .expect("written");
    let targets = listed(&path).expect("read");
    assert_eq!(targets.len(), 2);
    assert_eq!(targets[1].labels, [("job".to_owned(), "x".to_owned())]);
    std::fs::write(&path, "{").expect("written");
    assert!(listed(&path).is_err());
}

proptest! {
    #[test]
    fn any_text_leaves_its_neighbours_alone(text in "\\PC{0,60}") {
        let page = format!("before 1\n{text}\nafter{{a=\"b\"}} 2\n");
        let read = parse(&page);
        prop_assert_eq!(read.samples.first().map(|sample| sample.name), Some("before"));
        prop_assert_eq!(read.samples.last().map(|sample| sample.name), Some("after"));
        written(Some(&page), &Known::new(), 10);
    }
}
