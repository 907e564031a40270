//! `silmari-agent test`

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};

use agent::exit_code;
use anyhow::Context as _;
use model::dialect::{ParsedLine, parse_line};
use serde_json::{Map, Value, json};

use super::{TestArgs, shown};

/// Bytes of a line that are read.
const LINE_BYTES_MAX: u64 = 256 * 1024;

pub(super) fn run(args: &TestArgs, out: &mut impl Write) -> anyhow::Result<u8> {
    let mut input: Box<dyn BufRead> = if args.file.as_os_str() == "-" {
        Box::new(BufReader::new(io::stdin()))
    } else {
        let file =
            File::open(&args.file).with_context(|| format!("cannot open `{}`", args.file.display()))?;
        Box::new(BufReader::new(file))
    };
    let mut parsed = ParsedLine::default();
    let mut line = Vec::new();
    for number in 1..=args.lines {
        line.clear();
        if io::Read::take(&mut *input, LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&line);
        parse_line(args.dialect, text.trim_end_matches(['\n', '\r']), &mut parsed);
        if args.json {
            writeln!(out, "{}", as_json(&parsed))?;
        } else {
            write_text(number, &parsed, out)?;
        }
    }
    Ok(exit_code::OK)
}

fn as_json(parsed: &ParsedLine) -> Value {
    let attributes: Map<String, Value> =
        parsed.attributes.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))).collect();
    json!({
        "time": parsed.time,
        "severity_number": parsed.severity_number,
        "severity_text": parsed.severity_text,
        "service": parsed.service,
        "trace_id": parsed.trace_id,
        "span_id": parsed.span_id,
        "body": parsed.body,
        "attributes": attributes,
    })
}

fn write_text(number: usize, parsed: &ParsedLine, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{number}: {}", shown(&parsed.body))?;
    let level = format!("{} ({})", parsed.severity_text, parsed.severity_number);
    for (name, value) in [
        ("time", parsed.time.map(|time| time.to_string())),
        ("level", (!parsed.severity_text.is_empty()).then_some(level)),
        ("service", parsed.service.clone()),
        ("trace", parsed.trace_id.map(|id| id.to_string())),
        ("span", parsed.span_id.map(|id| id.to_string())),
    ] {
        if let Some(value) = value {
            writeln!(out, "     {name:<8} {}", shown(&value))?;
        }
    }
    for (key, value) in &parsed.attributes {
        writeln!(out, "     {} = {}", shown(key), shown(value))?;
    }
    Ok(())
}
