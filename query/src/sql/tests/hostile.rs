//! The hostile corpus: each statement is refused or answered as it says, within the limits.

use tokio::time::Instant;

use super::*;

/// A statement of the corpus, its templates written out, and whether it has to be refused (`no`), answered
/// (`ok`) or may be either (`any`).
fn corpus() -> Vec<(&'static str, String)> {
    let text = include_str!("hostile.txt");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parse = |line: &'static str| {
        let (tag, statement) = line.split_once(' ').unwrap_or((line, ""));
        assert!(["no", "ok", "any"].contains(&tag), "{line}");
        (tag, written_out(statement))
    };
    lines.map(parse).collect()
}

/// `{3×ab}` as `ababab`, `\u{200b}` as that character.
fn written_out(template: &str) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some(at) = rest.find(['{', '\\']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.find('}').unwrap_or(0);
        if let Some((times, text)) = rest.get(1..end).and_then(|inside| inside.split_once('×')) {
            out.push_str(&text.repeat(times.parse().expect("a number")));
            rest = &rest[end + 1..];
        } else if let Some(code) = rest.get(..end).and_then(|inside| inside.strip_prefix("\\u{")) {
            let code = u32::from_str_radix(code, 16).expect("hex");
            out.push(char::from_u32(code).expect("a character"));
            rest = &rest[end + 1..];
        } else {
            out.push_str(&rest[..1]);
            rest = &rest[1..];
        }
    }
    out + rest
}

#[test]
fn the_corpus_is_large_and_its_templates_are_written_out() {
    assert!(corpus().len() >= 150, "{}", corpus().len());
    assert_eq!(written_out("a{3×b,}c\\u{41}{x}"), "ab,b,b,cA{x}");
}

#[tokio::test]
async fn every_hostile_statement_is_refused_or_answered_within_the_limits() {
    let store = filled().await;
    let limits =
        SqlLimits { timeout: Duration::from_secs(2), memory_bytes_max: 64 << 20, ..SqlLimits::default() };
    let mut wrong = Vec::new();
    for (tag, statement) in corpus() {
        let start = Instant::now();
        let request = SqlRequest { query: statement.clone(), limit: None };
        let answer = Runner::Thread.run(store.store.snapshot(), request, limits.clone(), ()).await;
        let shown: String = statement.chars().take(120).collect();
        let said = answer
            .as_ref()
            .map(|_| ())
            .map_err(|error| error.to_string().chars().take(200).collect::<String>());
        if matches!(answer, Err(SqlError::Internal(_)))
            || (tag == "no" && answer.is_ok())
            || (tag == "ok" && answer.is_err())
        {
            wrong.push(format!("{tag} {shown}\n      {said:?}"));
        }
        if start.elapsed() > Duration::from_secs(10) {
            wrong.push(format!("{tag} {shown}\n      took {:?}", start.elapsed()));
        }
    }
    assert!(wrong.is_empty(), "{} statements:\n  {}", wrong.len(), wrong.join("\n  "));
}
