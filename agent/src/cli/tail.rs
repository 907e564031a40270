//! `silmari-agent tail`: records of a running agent as they pass, after its processors.

use std::io::{BufRead as _, BufReader, IsTerminal as _, Write};

use agent::exit_code;
use anyhow::{Context as _, bail};
use serde_json::Value;

use super::status::AdminPlace;
use super::{TailArgs, shown};

pub(super) fn run(args: &TailArgs, out: &mut impl Write) -> anyhow::Result<u8> {
    let place = AdminPlace::of(&args.status)?;
    let mut query: Vec<String> = args.source.iter().map(|name| format!("source={}", percent(name))).collect();
    query.extend(args.level.map(|level| format!("level={}", level.name())));
    // Its lines come when they come.
    let opened = place.get(&format!("/tail?{}", query.join("&")), None);
    let opened = opened.with_context(|| format!("no answer from an agent at {place}"))?;
    let mut answer = BufReader::new(opened);
    let mut head = String::new();
    answer.read_line(&mut head)?;
    if head.split(' ').nth(1).is_none_or(|code| code != "200") {
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut std::io::Read::take(answer, 64 << 10), &mut rest)?;
        let body = rest.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        bail!("the agent answers {}: {}", shown(head.trim()), shown(body.trim()));
    }
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        if answer.read_line(&mut line)? == 0 {
            bail!("the answer broke off");
        }
    }
    show(answer, args, std::io::stdout().is_terminal(), out)
}

fn show(
    answer: impl std::io::BufRead,
    args: &TailArgs,
    is_terminal: bool,
    out: &mut impl Write,
) -> anyhow::Result<u8> {
    let mut left = args.lines.unwrap_or(u64::MAX);
    for line in answer.lines() {
        let line = line?;
        let record: Value = serde_json::from_str(&line).context("the agent sent no JSON")?;
        if let Some(dropped) = record["dropped"].as_u64() {
            writeln!(std::io::stderr(), "… {dropped} records passed unseen: this reader was too slow")?;
            continue;
        }
        match (args.status.json, is_terminal) {
            (true, false) => writeln!(out, "{line}")?,
            (true, true) => writeln!(out, "{}", shown(&line))?,
            (false, _) => writeln!(out, "{}", text_of(&record))?,
        }
        out.flush()?;
        left -= 1;
        if left == 0 {
            return Ok(exit_code::OK);
        }
    }
    writeln!(std::io::stderr(), "the agent ended")?;
    Ok(exit_code::OK)
}

/// One line for people: time, level, service, body, attributes.
pub(super) fn text_of(record: &Value) -> String {
    let field = |name: &str| record[name].as_str().unwrap_or_default();
    let time = field("time").split_once('T').map_or("", |(_, time)| time.get(..12).unwrap_or(time));
    let level = if field("signal") == "logs" { field("level") } else { field("signal") };
    let mut text = format!("{time:<12} {level:<7} {} {}", field("service"), field("body"));
    for (key, value) in record["attributes"].as_object().into_iter().flatten() {
        text.push_str(&format!(" {key}={}", value.as_str().unwrap_or_default()));
    }
    shown(&text)
}

fn percent(text: &str) -> String {
    let keeps = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes().fold(String::new(), |mut out, byte| {
        if keeps(byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_record_says_is_shown_and_not_executed() {
        let record = serde_json::json!({
            "signal": "logs", "time": "2026-11-26T10:42:00.123456789Z", "level": "WARN", "service": "billing",
            "body": "red \u{1b}[31m", "attributes": { "k\u{7}": "v\u{9b}" },
        });
        assert_eq!(text_of(&record), "10:42:00.123 WARN    billing red \\u{1b}[31m k\\u{7}=v\\u{9b}");
        assert_eq!(percent("a b/ü"), "a%20b%2F%C3%BC");
    }
}
