//! Lines in, records and reasons out.

use std::borrow::Cow;
use std::sync::LazyLock;
use std::time::Duration;

use model::dialect::{Dialect, ParsedLine, parse_line};
use proptest::prelude::*;

use super::condition::{Condition, Subject};
use super::join::{JOINED_BYTES_MAX, Joiner};
use super::limit::Bucket;
use super::repeat::REPEATED;
use super::*;
use crate::config::process::{CustomStart, Multiline, Pattern, RateLimit, RedactPreset, Sample};

const SECOND: Duration = Duration::from_secs(1);

fn joined(settings: &Multiline, lines: &[&str]) -> Vec<String> {
    let mut joiner = Joiner::new(settings).expect("joins");
    let mut records = Vec::new();
    let mut emit = |record: join::Joined<'_, usize>| {
        records.push(String::from_utf8_lossy(record.bytes).into_owned());
    };
    for (number, line) in lines.iter().enumerate() {
        joiner.push(line.as_bytes(), number, Duration::ZERO, &mut emit);
    }
    joiner.flush(&mut emit);
    records
}

/// `groups` are the records expected of their own lines, one after the other.
#[track_caller]
fn joins_to(settings: &Multiline, groups: &[&str]) {
    let lines: Vec<&str> = groups.iter().flat_map(|group| group.split('\n')).collect();
    assert_eq!(joined(settings, &lines), groups);
}

#[test]
fn java_traces_belong_to_the_line_that_logs_them_with_all_their_causes() {
    joins_to(
        &Multiline::Java,
        &[
            "2026-11-21 10:00:00 INFO started",
            "2026-11-21 10:00:01 ERROR cannot charge\njava.lang.IllegalStateException: no answer\n\tat com.shop.Pay.charge(Pay.java:42)\n\t... 12 more\nCaused by: java.net.SocketTimeoutException: read\n\tat java.net.Socket.read(Socket.java:1)\n\tSuppressed: java.io.IOException: closed\n\t\tat com.shop.X.y(X.java:2)",
            "2026-11-21 10:00:02 INFO next",
        ],
    );
    joins_to(
        &Multiline::Java,
        &["com.shop.AException: one\n\tat a.b(C.java:1)", "com.shop.BException: two\n\tat a.b(C.java:1)"],
    );
}

#[test]
fn python_tracebacks_end_with_their_error_and_chain_to_the_next() {
    joins_to(
        &Multiline::Python,
        &[
            "INFO ready",
            "ERROR failed\nTraceback (most recent call last):\n  File \"a.py\", line 1, in f\n    raise KeyError(1)\nKeyError: 1\n\nDuring handling of the above exception, another exception occurred:\n\nTraceback (most recent call last):\n  File \"a.py\", line 3, in g\n    raise ValueError\nValueError",
            "INFO goes on",
        ],
    );
}

#[test]
fn go_panics_hold_their_goroutines() {
    joins_to(
        &Multiline::Go,
        &[
            "2026/11/21 10:00:00 listening",
            "panic: runtime error: index out of range [3] with length 2\n\ngoroutine 1 [running]:\nmain.main()\n\t/app/main.go:9 +0x1d\nmain.(*Server).Serve(0xc000010250)\n\t/app/serve.go:7 +0x2b\ncreated by main.run in goroutine 1\n\t/app/run.go:3 +0x55\nexit status 2",
            "2026/11/21 10:00:01 listening",
        ],
    );
}

#[test]
fn indented_lines_and_lines_that_do_not_match_the_start_continue_a_record() {
    joins_to(&Multiline::Indent, &["a\n  b\n\tc", "d", "e\n f"]);
    let start = Pattern::new(r"^\d{4}-").expect("valid");
    let custom = Multiline::Start(CustomStart { start, timeout: SECOND });
    joins_to(&custom, &["2026-1 SELECT\nFROM a\n\nWHERE b", "2026-2 done"]);
}

#[test]
fn an_open_record_keeps_where_it_began_and_ends_after_the_timeout() {
    let mut joiner = Joiner::new(&Multiline::Indent).expect("joins");
    let mut ended = Vec::new();
    let mut emit = |record: join::Joined<'_, u64>| ended.push((*record.origin, record.lines));
    joiner.push(b"a", 10, Duration::ZERO, &mut emit);
    joiner.push(b" b", 12, SECOND / 2, &mut emit);
    assert!(!joiner.settle(SECOND, &mut emit));
    assert!(joiner.settle(SECOND * 3 / 2, &mut emit));
    assert_eq!(ended, [(10, 2)]);
}

#[test]
fn a_record_without_an_end_is_cut_at_its_bound_and_nothing_is_lost() {
    let line = format!(" {}", "x".repeat(999));
    let lines: Vec<&str> = std::iter::repeat_n(line.as_str(), 400).collect();
    let records = joined(&Multiline::Indent, &lines);
    assert!(records.iter().all(|record| record.len() <= JOINED_BYTES_MAX));
    assert_eq!(records.iter().map(|record| record.lines().count()).sum::<usize>(), 400);
}

proptest! {
    #[test]
    fn joining_keeps_every_line_in_order(lines in proptest::collection::vec("[ -~]{0,12}", 0..40), preset in 0usize..4) {
        let presets = [Multiline::Java, Multiline::Python, Multiline::Go, Multiline::Indent];
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let records = joined(&presets[preset], &lines);
        // White space at the end of a record is not kept.
        let flat = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        prop_assert_eq!(flat(&records.join("\n")), flat(&lines.join("\n")));
    }

    #[test]
    fn redacting_any_text_ends_without_panic_and_is_stable(text in "\\PC{0,80}") {
        static ALL: LazyLock<Redactor> = LazyLock::new(|| {
            let all = [RedactPreset::Default, RedactPreset::Email, RedactPreset::Cards];
            Redactor::new(&all, &[]).expect("some")
        });
        let redactor = &*ALL;
        let once = redactor.redact(Cow::Borrowed(&text)).into_owned();
        prop_assert_eq!(redactor.redact(Cow::Borrowed(&once)).into_owned(), once);
    }
}

#[track_caller]
fn hides(presets: &[RedactPreset], text: &str, expected: &str) {
    let redactor = Redactor::new(presets, &[]).expect("something to hide");
    let hidden = redactor.redact(Cow::Borrowed(text));
    assert_eq!(hidden, expected);
    assert_eq!(matches!(hidden, Cow::Borrowed(_)), text == expected, "copied only when changed");
}

#[test]
fn tokens_and_passwords_are_hidden_wherever_they_stand() {
    let both = [RedactPreset::Default];
    hides(
        &both,
        "Authorization: Bearer abc.def-123 next",
        "Authorization: Bearer [redacted:authorization] next",
    );
    hides(&both, "key AKIAIOSFODNN7EXAMPLE used", "key [redacted:aws_key] used");
    hides(&both, "t eyJhbGciOi.eyJzdWIiOi.sig end", "t [redacted:jwt] end");
    hides(&both, "login password=hunter2&x=1", "login password=[redacted:password]&x=1");
    hides(&both, r#"{"password":"a \" b","n":1}"#, r#"{"password":"[redacted:password]","n":1}"#);
    hides(&both, r#"{"pwd": 1234,"n":1}"#, r#"{"pwd": "[redacted:password]","n":1}"#);
    hides(&both, "postgres://shop:s3cret@db/shop", "postgres://shop:[redacted:password]@db/shop");
    hides(&both, "API_KEY='k-1' ok", "API_KEY='[redacted:password]' ok");
    hides(
        &both,
        "k -----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY----- z",
        "k [redacted:private_key] z",
    );
    hides(
        &both,
        "tokens=12 the secret garden http://a/b?c=d:e",
        "tokens=12 the secret garden http://a/b?c=d:e",
    );
}

#[test]
fn mail_addresses_and_cards_are_hidden_and_order_numbers_are_not() {
    hides(&[RedactPreset::Email], "to ann.b+c@shop.example, x@y", "to [redacted:email], x@y");
    let cards = [RedactPreset::Cards];
    hides(&cards, "card 4111 1111 1111 1111.", "card [redacted:card].");
    hides(&cards, r#"{"card":5500005555555559}"#, r#"{"card":"[redacted:card]"}"#);
    hides(
        &cards,
        "order 4111111111111112 at 1795000000123456789",
        "order 4111111111111112 at 1795000000123456789",
    );
    hides(&cards, "id a4111111111111111 and 4111111111111111b", "id a4111111111111111 and 4111111111111111b");
}

#[test]
fn patterns_of_ones_own_hide_their_group_or_all() {
    let patterns = [Pattern::new("customer=(\\w+)").expect("valid"), Pattern::new("ID\\d+").expect("valid")];
    let redactor = Redactor::new(&[], &patterns).expect("some");
    assert_eq!(
        redactor.redact(Cow::Borrowed("customer=ann ID12")),
        "customer=[redacted:custom] [redacted:custom]"
    );
    assert!(Pattern::new("a{1000}{1000}").is_err(), "too large");
}

fn parsed(line: &str) -> ParsedLine {
    let mut parsed = ParsedLine::default();
    parse_line(Dialect::Auto, line, &mut parsed);
    parsed
}

#[track_caller]
fn condition(text: &str, line: &str, expected: bool) {
    let condition = Condition::parse(text).expect("a condition");
    let parsed = parsed(line);
    let subject = Subject { line, parsed: Some(&parsed), service: "billing" };
    assert_eq!(condition.holds(&subject), expected, "{text}");
}

#[test]
fn conditions_compare_levels_numbers_and_texts() {
    let line = "level=warn msg=\"slow answer\" url.path=/pay ms=120.5 status=503";
    for (text, expected) in [
        ("level >= warn", true),
        ("level > warn", false),
        ("level = warning", true),
        ("level != warn", false),
        ("status >= 400 and ms < 200", true),
        ("ms > 200 or url.path = /pay", true),
        ("ms > 200 or not url.path = \"/pay\"", false),
        ("body ~ '^slow'", true),
        ("line !~ 'slow'", false),
        ("service = billing", true),
        ("missing = x", false),
        ("missing != x", true),
        ("missing > 1", false),
    ] {
        condition(text, line, expected);
    }
    condition(
        "status = 404",
        r#"10.0.0.1 - - [21/Nov/2026:10:42:00 +0000] "GET /x HTTP/1.1" 404 12 "-" "c""#,
        true,
    );
}

#[test]
fn a_wrong_condition_says_what_would_be_right() {
    for (text, part) in [
        ("", "write FIELD OPERATOR VALUE"),
        ("level", "write FIELD OPERATOR VALUE"),
        ("level is warn", "`is` is no operator"),
        ("level >= loud", "is no level"),
        ("ms > fast", "is no number"),
        ("a = b c = d", "write `and` or `or`"),
        ("a = \"b", "is not closed"),
        ("a ~ (", "is no pattern"),
        ("a = =", "is no value"),
    ] {
        let problem = Condition::parse(text).expect_err("a mistake");
        assert!(problem.contains(part), "{problem}");
    }
}

/// What becomes of lines, one after the other, a millisecond apart.
fn run(settings: &ProcessSettings, lines: &[&str]) -> Vec<Verdict> {
    let (chain, mut state, mut shared) = (Chain::new(settings), State::default(), Bucket::default());
    let verdicts = lines.iter().zip(1u32..).map(|(line, number)| {
        let text = chain.on_line(Cow::Borrowed(line))?;
        let mut record = parsed(&text);
        let now = Duration::from_millis(1) * number;
        chain.on_record(&text, &mut record, "billing", &mut state, &mut shared, now)
    });
    verdicts.collect()
}

fn conditions(texts: &[&str]) -> Vec<Condition> {
    texts.iter().map(|text| Condition::parse(text).expect("a condition")).collect()
}

#[test]
fn drop_and_keep_name_their_reason() {
    let settings = ProcessSettings {
        drop: conditions(&["line ~ healthz", "level < info"]),
        keep: conditions(&["level >= debug"]),
        ..ProcessSettings::default()
    };
    let filtered = Err(DropReason::Filtered);
    let lines = ["INFO GET /healthz", "DEBUG x", "INFO x", "no level at all"];
    assert_eq!(run(&settings, &lines), [filtered, filtered, Ok(()), filtered]);
}

#[test]
fn sampling_keeps_its_share_exactly_and_whole_traces() {
    let sample = Sample { keep: 0.25, unless: Some(Condition::parse("level >= error").expect("valid")) };
    let settings = ProcessSettings { sample: Some(sample), ..ProcessSettings::default() };
    let kept = |verdicts: Vec<Verdict>| verdicts.iter().filter(|verdict| verdict.is_ok()).count();
    assert_eq!(kept(run(&settings, &["INFO x"; 100])), 25);
    assert_eq!(kept(run(&settings, &["ERROR x"; 100])), 100);
    let low = "INFO a trace_id=0af7651916cd43dd8400000000000001";
    let high = "INFO a trace_id=0af7651916cd43dd84ffffffffffffff";
    assert_eq!(kept(run(&settings, &[low; 50])), 50);
    assert_eq!(kept(run(&settings, &[high; 50])), 0);
}

#[test]
fn a_rate_limit_lets_the_burst_through_and_then_its_rate() {
    let limit = RateLimit { lines: 10, burst: Some(3), per: LimitPer::Stream };
    let mut bucket = Bucket::default();
    let mut taken = |at: Duration| (0..10).filter(|_| bucket.takes(&limit, at)).count();
    assert_eq!(taken(Duration::ZERO), 3);
    assert_eq!(taken(SECOND / 10), 1);
    assert_eq!(taken(SECOND * 100), 3);
}

#[test]
fn repetitions_are_counted_and_told_when_something_else_comes_or_the_window_ends() {
    let settings = ProcessSettings { repeat_window: Some(SECOND), ..ProcessSettings::default() };
    let (chain, mut state, mut shared) = (Chain::new(&settings), State::default(), Bucket::default());
    let mut feed = |line: &str, at: Duration, state: &mut State| {
        let mut record = parsed(line);
        chain.on_record(line, &mut record, "", state, &mut shared, at)
    };
    assert_eq!(feed("2026-11-21 10:00:00 WARN disk full", Duration::ZERO, &mut state), Ok(()));
    for at in 1..=41 {
        let again = feed("2026-11-21 10:00:01 WARN disk full", Duration::from_millis(at), &mut state);
        assert_eq!(again, Err(DropReason::Repeated));
    }
    assert_eq!(state.take_summary(), None);
    assert_eq!(feed("INFO other", Duration::from_millis(50), &mut state), Ok(()));
    let summary = state.take_summary().expect("a summary");
    assert_eq!(summary.body, "last line repeated 41 times: disk full");
    assert_eq!((summary.severity_number, summary.attribute(REPEATED)), (13, Some("41")));
    assert_eq!(feed("INFO other", Duration::from_millis(60), &mut state), Err(DropReason::Repeated));
    state.settle(SECOND, Some(SECOND / 2));
    assert_eq!(state.take_summary(), None);
    state.settle(SECOND, Some(SECOND * 2));
    assert_eq!(state.take_summary().expect("a summary").body, "last line repeated once: other");
}

#[test]
fn attributes_are_renamed_then_set() {
    let settings = ProcessSettings {
        rename: [("uid".to_owned(), "user.id".to_owned())].into(),
        set: [("team".to_owned(), "pay".to_owned()), ("user.kind".to_owned(), "shop".to_owned())].into(),
        ..ProcessSettings::default()
    };
    let mut record = parsed("level=info msg=x uid=7 team=other");
    let chain = Chain::new(&settings);
    let verdict =
        chain.on_record("", &mut record, "", &mut State::default(), &mut Bucket::default(), Duration::ZERO);
    assert_eq!(verdict, Ok(()));
    let found = |key: &str| record.attribute(key).map(str::to_owned);
    assert_eq!((found("uid"), found("user.id")), (None, Some("7".to_owned())));
    assert_eq!((found("team"), found("user.kind")), (Some("pay".to_owned()), Some("shop".to_owned())));
}

#[track_caller]
fn sniffed(body: &str, level: i32, has_trace: bool) {
    let mut record = ParsedLine { body: body.to_owned(), ..ParsedLine::default() };
    sniff::sniff(&mut record);
    assert_eq!((record.severity_number, record.trace_id.is_some()), (level, has_trace), "{body}");
}

#[test]
fn levels_and_trace_ids_are_seen_where_only_they_can_be_meant() {
    sniffed("E1121 10:41:58.104000 1 main.go:1] lost", 17, false);
    sniffed("something [warn] happened", 13, false);
    sniffed("x level=error y", 17, false);
    sniffed(r#"x "level": "debug" y"#, 5, false);
    sniffed("the ERROR was here", 17, false);
    sniffed("an error was here, no information", 0, false);
    sniffed("GET /INFO/x", 0, false);
    sniffed("traceparent traceId=0af7651916cd43dd8448eb211c80319c", 0, true);
}
