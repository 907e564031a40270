//! One test script: parsed to commands, run on series in memory.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{TimeRange, UnixNano};
use query::promql::{self, Labels, METRIC_NAME, MemorySource, Options, PromqlError, STALE_BITS};
use query_api::{MetricsData, Series};

/// An assertion that does not hold.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) line: usize,
    pub(crate) text: String,
    pub(crate) failure: String,
}

pub(crate) struct Script {
    commands: Vec<Command>,
}

enum Command {
    Clear,
    Load { step: i64, series: Vec<(Labels, Vec<Point>)> },
    Eval(Eval),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Point {
    None,
    Stale,
    Number(f64),
    /// A native histogram: kept as a place that has one, its content unread.
    Histogram,
}

enum At {
    Instant(i64),
    Range { start: i64, end: i64, step: i64 },
}

struct Eval {
    line: usize,
    text: String,
    at: At,
    expr: String,
    fails: bool,
    fail_message: Option<String>,
    is_ordered: bool,
    annotations: bool,
    string: Option<String>,
    range_vector: Option<(i64, i64)>,
    expected: Vec<(Labels, Vec<Point>)>,
    scalar: Option<f64>,
}

fn duration(text: &str) -> i64 {
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |text| (-1, text));
    if let Ok(seconds) = text.parse::<f64>() {
        return sign * (seconds * 1000.0).round() as i64;
    }
    let duration = model::time::parse_duration(text).unwrap_or_else(|error| panic!("{error}"));
    sign * i64::try_from(duration.as_millis()).expect("a duration fits")
}

impl Script {
    pub(crate) fn parse(text: &str) -> Self {
        let lines: Vec<&str> = text.lines().map(|line| line.trim()).collect();
        let lines: Vec<&str> = lines.into_iter().map(|l| if l.starts_with('#') { "" } else { l }).collect();
        let mut commands = Vec::new();
        let mut at = 0;
        while at < lines.len() {
            let line = lines[at];
            let block = lines[at + 1..].iter().take_while(|line| !line.is_empty()).count();
            let body = &lines[at + 1..=at + block];
            let number = at + 1;
            at += 1;
            if line.is_empty() {
                continue;
            }
            if line == "clear" {
                commands.push(Command::Clear);
                continue;
            }
            at += block;
            let (word, rest) = line.split_once(' ').expect("a command has arguments");
            match word {
                "load" | "load_with_nhcb" => {
                    let series = body.iter().map(|line| series_line(line)).collect();
                    commands.push(Command::Load { step: duration(rest.trim()), series });
                }
                _ => commands.push(Command::Eval(eval(number, word, rest, body))),
            }
        }
        Self { commands }
    }

    /// How many assertions there are.
    pub(crate) fn cases(&self) -> usize {
        self.commands.iter().filter(|command| matches!(command, Command::Eval(_))).count()
    }

    /// Runs all commands; the assertions that do not hold.
    pub(crate) fn run(&self) -> Vec<Case> {
        let mut source = MemorySource::default();
        let mut failures = Vec::new();
        for command in &self.commands {
            match command {
                Command::Clear => source = MemorySource::default(),
                Command::Load { step, series } => {
                    for (labels, points) in series {
                        let points = points.iter().enumerate();
                        let samples = points.filter_map(|(at, point)| {
                            let time = i64::try_from(at).expect("few points") * step;
                            match point {
                                Point::Number(value) => Some((time, *value)),
                                Point::Stale => Some((time, f64::from_bits(STALE_BITS))),
                                Point::None | Point::Histogram => None,
                            }
                        });
                        source.add(labels.clone(), samples.collect::<Vec<_>>());
                    }
                }
                Command::Eval(eval) => {
                    if let Err(failure) = eval.run(&source) {
                        failures.push(Case { line: eval.line, text: eval.text.clone(), failure });
                    }
                }
            }
        }
        failures
    }
}

fn eval(line: usize, word: &str, rest: &str, body: &[&str]) -> Eval {
    let words: Vec<&str> = rest.splitn(4, ' ').collect();
    let (at, expr) = match words[0] {
        "instant" => (At::Instant(duration(words[2])), words[3].to_owned()),
        "range" => {
            let words: Vec<&str> = rest.splitn(8, ' ').collect();
            let (start, end, step) = (duration(words[2]), duration(words[4]), duration(words[6]));
            (At::Range { start, end, step }, words[7].to_owned())
        }
        other => panic!("line {line}: unknown kind of query `{other}`"),
    };
    let mut eval = Eval {
        line,
        text: rest.to_owned(),
        at,
        expr: expr.trim().to_owned(),
        fails: word == "eval_fail",
        fail_message: None,
        is_ordered: word == "eval_ordered",
        annotations: matches!(word, "eval_info" | "eval_warn"),
        string: None,
        range_vector: None,
        expected: Vec::new(),
        scalar: None,
    };
    for line in body {
        if let Some(expectation) = line.strip_prefix("expect ") {
            eval.expect(expectation.trim());
        } else if let Some(number) = number(line) {
            eval.scalar = Some(number);
        } else {
            eval.expected.push(series_line(line));
        }
    }
    eval
}

impl Eval {
    fn expect(&mut self, expectation: &str) {
        let (word, rest) = expectation.split_once(' ').unwrap_or((expectation, ""));
        match word {
            "fail" => {
                self.fails = true;
                self.fail_message =
                    rest.strip_prefix("msg:").map(|text| text.trim().trim_matches('"').to_owned());
            }
            "ordered" => self.is_ordered = true,
            "info" | "warn" => self.annotations = true,
            "no_info" | "no_warn" => {}
            "string" => self.string = Some(rest.trim_matches(['"', '`']).to_owned()),
            "range" => {
                let words: Vec<&str> = rest.split(' ').collect();
                self.range_vector = Some((duration(words[2]), duration(words[6])));
            }
            other => panic!("line {}: unknown expectation `{other}`", self.line),
        }
    }

    fn run(&self, source: &MemorySource) -> Result<(), String> {
        if self.annotations {
            return Err("annotations (info, warn) are not made".to_owned());
        }
        if self.expected.iter().any(|(_, points)| points.contains(&Point::Histogram)) {
            return Err("native histograms are not supported".to_owned());
        }
        let options = Options::default();
        let answer = match self.at {
            At::Instant(time) => promql::instant(source, &self.expr, nanos(time), &options),
            At::Range { start, end, step } => range(source, &self.expr, start, end, step),
        };
        if self.fails {
            return self.check_failure(answer);
        }
        let answer = answer.map_err(|error| error.to_string())?;
        self.check(&answer)?;
        match self.at {
            At::Instant(time) => self.check_as_range(source, &answer, time),
            At::Range { .. } => Ok(()),
        }
    }

    fn check_failure(&self, answer: Result<MetricsData, PromqlError>) -> Result<(), String> {
        match (answer, &self.fail_message) {
            (Ok(answer), _) => Err(format!("succeeds with {answer:?}")),
            (Err(PromqlError::Unsupported(error)), _) => Err(error),
            (Err(error), Some(message)) if error.to_string() != *message => {
                Err(format!("fails with `{error}`, not `{message}`"))
            }
            (Err(_), _) => Ok(()),
        }
    }

    fn check(&self, answer: &MetricsData) -> Result<(), String> {
        match answer {
            MetricsData::String(sample) => match &self.string {
                Some(text) if *text == sample.1 => Ok(()),
                other => Err(format!("is the string {:?}, not {other:?}", sample.1)),
            },
            MetricsData::Scalar(sample) => match self.scalar {
                Some(expected) if almost_equal(sample.number(), expected) => Ok(()),
                other => Err(format!("is {}, not {other:?}", sample.1)),
            },
            MetricsData::Vector(series) => self.check_series(series, |series| {
                series.value.iter().map(|sample| (0, sample.number())).collect()
            }),
            MetricsData::Matrix(series) => {
                let (start, step) = match (&self.at, self.range_vector) {
                    (At::Range { start, step, .. }, _) => (*start, *step),
                    (At::Instant(_), Some((start, step))) => (start, step),
                    (At::Instant(_), None) => return Err("is a matrix".to_owned()),
                };
                self.check_series(series, |series| {
                    let place = |seconds: f64| ((seconds * 1000.0).round() as i64 - start) / step;
                    series.values.iter().map(|sample| (place(sample.0), sample.number())).collect()
                })
            }
        }
    }

    fn check_series(
        &self,
        found: &[Series],
        points: impl Fn(&Series) -> BTreeMap<i64, f64>,
    ) -> Result<(), String> {
        if found.len() != self.expected.len() {
            return Err(format!("has {} series, not {}: {found:?}", found.len(), self.expected.len()));
        }
        for (place, (labels, expected)) in self.expected.iter().enumerate() {
            let series = if self.is_ordered {
                Some(&found[place]).filter(|series| series.metric == *labels)
            } else {
                found.iter().find(|series| series.metric == *labels)
            };
            let series = series.ok_or_else(|| format!("lacks {labels:?} (at place {place}): {found:?}"))?;
            let found = points(series);
            let expected: BTreeMap<i64, f64> = (0_i64..)
                .zip(expected)
                .filter_map(
                    |(at, point)| if let Point::Number(value) = point { Some((at, *value)) } else { None },
                )
                .collect();
            let is_same = found.len() == expected.len()
                && found.iter().zip(&expected).all(|(f, e)| f.0 == e.0 && almost_equal(*f.1, *e.1));
            if !is_same {
                return Err(format!("{labels:?} is {found:?}, not {expected:?}"));
            }
        }
        Ok(())
    }

    /// An instant query means the same as one step of a range query.
    fn check_as_range(&self, source: &MemorySource, answer: &MetricsData, time: i64) -> Result<(), String> {
        let expected: Vec<(Labels, f64)> = match answer {
            MetricsData::Scalar(sample) => vec![(Labels::new(), sample.number())],
            MetricsData::Vector(series) => {
                let values =
                    series.iter().filter_map(|s| Some((s.metric.clone(), s.value.as_ref()?.number())));
                values.collect()
            }
            MetricsData::Matrix(_) | MetricsData::String(_) => return Ok(()),
        };
        let found = range(source, &self.expr, time - 60_000, time + 60_000, 60_000);
        let Ok(MetricsData::Matrix(found)) = found else {
            return Err(format!("as a range query: {found:?}"));
        };
        let mut at_time: BTreeMap<Labels, f64> = BTreeMap::new();
        for series in found {
            let sample = series.values.iter().find(|sample| (sample.0 * 1000.0).round() as i64 == time);
            if let Some(sample) = sample {
                at_time.insert(series.metric, sample.number());
            }
        }
        let is_same = expected.len() == at_time.len()
            && expected
                .iter()
                .all(|(labels, value)| at_time.get(labels).is_some_and(|found| almost_equal(*found, *value)));
        if is_same { Ok(()) } else { Err(format!("as a range query it is {at_time:?}, not {expected:?}")) }
    }
}

fn nanos(millis: i64) -> UnixNano {
    UnixNano(millis * 1_000_000)
}

fn range(
    source: &MemorySource,
    expr: &str,
    start: i64,
    end: i64,
    step: i64,
) -> Result<MetricsData, PromqlError> {
    let span = TimeRange { from: nanos(start), to: nanos(end) };
    let step = Duration::from_millis(u64::try_from(step).expect("a step is positive"));
    promql::range(source, expr, span, step, &Options::default())
}

fn almost_equal(a: f64, b: f64) -> bool {
    if a == b || a.is_nan() && b.is_nan() {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE { difference < 1e-6 } else { difference / sum < 1e-6 }
}

fn number(text: &str) -> Option<f64> {
    match text.to_ascii_lowercase().trim_start_matches('+') {
        "inf" => Some(f64::INFINITY),
        "-inf" => Some(f64::NEG_INFINITY),
        "nan" => Some(f64::NAN),
        text if text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '.')) => text.parse().ok(),
        _ => None,
    }
}

/// `metric{label="value"} 1 2+3x4 _ stale`
fn series_line(line: &str) -> (Labels, Vec<Point>) {
    let mut labels = Labels::new();
    let name_end = line.find(|c: char| c == '{' || c.is_whitespace()).unwrap_or(line.len());
    let (name, mut rest) = line.split_at(name_end);
    if !name.is_empty() {
        labels.insert(METRIC_NAME.to_owned(), name.to_owned());
    }
    if let Some(inside) = rest.strip_prefix('{').filter(|inside| !inside.starts_with('{')) {
        rest = read_labels(inside, &mut labels);
    }
    (labels, points(rest))
}

/// Reads labels up to and with the closing brace; what follows.
fn read_labels<'a>(mut text: &'a str, labels: &mut Labels) -> &'a str {
    loop {
        text = text.trim_start_matches([',', ' ']);
        if let Some(rest) = text.strip_prefix('}') {
            return rest;
        }
        let (name, rest) = text.split_once('=').expect("a label has a value");
        let rest = rest.trim_start().strip_prefix('"').expect("a value is quoted");
        let (value, rest) = rest.split_once('"').expect("a value ends");
        labels.insert(name.trim().to_owned(), value.to_owned());
        text = rest;
    }
}

fn points(text: &str) -> Vec<Point> {
    let mut points = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let mut depth = 0_i32;
        let end = rest.find(|c: char| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            depth == 0 && c.is_whitespace()
        });
        let end = end.unwrap_or(rest.len());
        let (token, after) = rest.split_at(end);
        rest = after.trim_start();
        expand(token, &mut points);
    }
    points
}

/// `1`, `_`, `stale`, `_x3`, `1x3` (1 and three more), `1+2x3`, `1-2x3`.
fn expand(token: &str, points: &mut Vec<Point>) {
    if token.starts_with("{{") {
        let times = token.rsplit_once('x').and_then(|(_, times)| times.parse::<usize>().ok());
        points.extend(std::iter::repeat_n(Point::Histogram, times.map_or(1, |times| times + 1)));
        return;
    }
    let (body, times) = match token.rsplit_once('x') {
        Some((body, times)) => (body, Some(times.parse::<usize>().expect("a count"))),
        None => (token, None),
    };
    if body == "_" {
        points.extend(std::iter::repeat_n(Point::None, times.unwrap_or(1)));
        return;
    }
    if body == "stale" {
        points.push(Point::Stale);
        return;
    }
    let sign = body
        .char_indices()
        .skip(1)
        .find(|(at, c)| matches!(c, '+' | '-') && !body[..*at].ends_with(['e', 'E']));
    let (start, delta) = match sign {
        Some((at, _)) if times.is_some() => (&body[..at], body[at..].parse::<f64>().expect("a delta")),
        _ => (body, 0.0),
    };
    let start = number(start).unwrap_or_else(|| panic!("`{token}` is no number"));
    points.push(Point::Number(start));
    let mut value = start;
    for _ in 0..times.unwrap_or(0) {
        value += delta;
        points.push(Point::Number(value));
    }
}
