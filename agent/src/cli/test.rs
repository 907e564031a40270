//! `silmari-agent test`

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Write};

use agent::preview::{Preview, Shown};
use agent::{Config, exit_code};
use anyhow::Context as _;
use model::dialect::ParsedLine;
use serde_json::{Map, Value, json};

use super::{TestArgs, shown};

/// Bytes that `--bench` runs over.
const BENCH_BYTES_MAX: u64 = 64 << 20;
/// Bytes of a line that are read.
const LINE_BYTES_MAX: u64 = 256 * 1024;

pub(super) fn run(args: &TestArgs, out: &mut impl Write) -> anyhow::Result<u8> {
    let mut input: Box<dyn BufRead> = if args.file.as_os_str() == "-" {
        Box::new(BufReader::new(io::stdin()))
    } else {
        let file =
            File::open(&args.file).with_context(|| format!("cannot open `{}`", args.file.display()))?;
        unpacked(BufReader::new(file))?
    };
    let mut preview = preview(args)?;
    let mut line = Vec::new();
    if args.bench {
        return bench(&mut input, &mut preview, out);
    }
    for number in 1..=args.lines {
        line.clear();
        if io::Read::take(&mut *input, LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let clock = model::SystemClock::shared();
        for shown in preview.line(&line, clock.monotonic()) {
            write_shown(number, &shown, args.json, out)?;
        }
    }
    for shown in preview.end(model::SystemClock::shared().monotonic()) {
        write_shown(args.lines, &shown, args.json, out)?;
    }
    Ok(exit_code::OK)
}

/// The bytes of a log file, also of one that is compressed with gzip.
fn unpacked(mut file: BufReader<File>) -> io::Result<Box<dyn BufRead>> {
    let is_gzip = file.fill_buf()?.starts_with(b"\x1f\x8b");
    Ok(if is_gzip {
        Box::new(BufReader::new(flate2::bufread::MultiGzDecoder::new(file)))
    } else {
        Box::new(file)
    })
}

/// The stages a line goes through: those of a table, or its dialect alone.
fn preview(args: &TestArgs) -> anyhow::Result<Preview> {
    let Some(name) = &args.source else { return Ok(Preview::of_dialect(args.dialect)) };
    let config = Config::load(&args.config)?;
    let table = config.files.get(name).with_context(|| {
        let names: Vec<&str> = config.files.keys().map(String::as_str).collect();
        format!("no table [files.{name}] in `{}`; there are: {}", args.config.display(), names.join(", "))
    })?;
    Ok(Preview::of_files(table))
}

fn write_shown(number: usize, shown: &Shown, is_json: bool, out: &mut impl Write) -> io::Result<()> {
    match shown {
        Shown::Record(parsed) if is_json => writeln!(out, "{}", as_json(parsed)),
        Shown::Record(parsed) => write_text(number, parsed, out),
        Shown::Dropped(reason) if is_json => writeln!(out, "{}", json!({ "dropped": reason.name() })),
        Shown::Dropped(reason) => writeln!(out, "{number}: dropped: {}", reason.name()),
    }
}

/// Runs the whole input through each stage and says what a line costs there.
fn bench(input: &mut dyn BufRead, preview: &mut Preview, out: &mut impl Write) -> anyhow::Result<u8> {
    let mut bytes = Vec::new();
    input.take(BENCH_BYTES_MAX).read_to_end(&mut bytes)?;
    let costs = preview.bench(&bytes, &*model::SystemClock::shared());
    writeln!(out, "{} lines, {} bytes", costs.lines, bytes.len())?;
    for (stage, nanos) in &costs.stages {
        writeln!(out, "  {stage:<12} {nanos:>9.0} ns/line")?;
    }
    Ok(exit_code::OK)
}

fn as_json(parsed: &ParsedLine) -> Value {
    let attributes: Map<String, Value> =
        parsed.attributes.iter().map(|(key, value)| (key.to_owned(), Value::from(value))).collect();
    json!({
        "time": parsed.time,
        "severity_number": parsed.severity_number,
        "severity_text": parsed.severity_text,
        "service": parsed.named_service(),
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
        ("service", parsed.named_service().map(str::to_owned)),
        ("trace", parsed.trace_id.map(|id| id.to_string())),
        ("span", parsed.span_id.map(|id| id.to_string())),
    ] {
        if let Some(value) = value {
            writeln!(out, "     {name:<8} {}", shown(&value))?;
        }
    }
    for (key, value) in parsed.attributes.iter() {
        writeln!(out, "     {} = {}", shown(key), shown(value))?;
    }
    Ok(())
}
