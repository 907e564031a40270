//! `silmari-agent spool ls|verify|show|dump`: looking into the spool without an agent, and without changing it;
//! `spool drop`: giving up what waits, when no agent runs.

use std::io::Write;

use agent::queue::{self, Lane, Looked, Spooled};
use agent::{Config, exit_code};
use anyhow::Context as _;
use model::UnixNano;

use super::{SpoolAction, SpoolArgs};

pub(super) fn run(args: &SpoolArgs, out: &mut impl Write) -> anyhow::Result<u8> {
    let config = Config::load(&args.config.config)?;
    if args.action == SpoolAction::Drop {
        return drop_waiting(args, &config, out);
    }
    let folder = config.agent.data_dir.join("spool");
    let mut last = None;
    let wanted = |lane: Lane| args.lane.as_deref().is_none_or(|name| name == lane.name());
    let looked = queue::look(&folder, |segment, request, waits| {
        if wanted(segment.lane) {
            match args.action {
                SpoolAction::Ls => {
                    if last.as_ref() != Some(&segment.path) {
                        writeln!(out, "{}", segment.path.display())?;
                        last = Some(segment.path.clone());
                    }
                    list(request, waits, out)?;
                }
                SpoolAction::Dump => dump(segment.lane, request, waits, out)?,
                SpoolAction::Show if waits => show(request, out)?,
                SpoolAction::Show => {}
                SpoolAction::Verify | SpoolAction::Drop => {}
            }
        }
        anyhow::Ok(())
    });
    let looked = looked.with_context(|| format!("cannot look into `{}`", folder.display()))?;
    let segments: Vec<&Looked> = looked.iter().filter(|segment| wanted(segment.lane)).collect();
    for segment in segments.iter().filter(|segment| segment.damaged_bytes > 0) {
        if args.action == SpoolAction::Verify {
            writeln!(out, "{}: {} bytes carry no checksum", segment.path.display(), segment.damaged_bytes)?;
        }
    }
    let waiting: usize = segments.iter().map(|segment| segment.waiting).sum();
    let requests: usize = segments.iter().map(|segment| segment.requests).sum();
    let bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let damaged: u64 = segments.iter().map(|segment| segment.damaged_bytes).sum();
    if !matches!(args.action, SpoolAction::Dump | SpoolAction::Show) {
        writeln!(
            out,
            "{} segments, {bytes} bytes, {requests} requests, {waiting} of them wait, {damaged} damaged bytes",
            segments.len()
        )?;
    }
    Ok(if damaged == 0 { exit_code::OK } else { exit_code::DAMAGED })
}

fn list(request: &Spooled, waits: bool, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(
        out,
        "  {:>8}  {:<8} {:>7} items {:>9} bytes  {}  {}",
        request.number(),
        request.signal,
        request.items,
        request.raw_bytes,
        request.time,
        if waits { "waits" } else { "acknowledged" }
    )
}

/// Its records, a line each.
fn show(request: &Spooled, out: &mut impl Write) -> anyhow::Result<()> {
    for mut record in queue::records(request)? {
        // A record without a time of its own has that of its request.
        let own = record["time"].as_str().and_then(|time| time.parse::<UnixNano>().ok());
        let time = own.filter(|time| time.0 != 0).unwrap_or(request.time).to_string();
        let date = time.split('T').next().unwrap_or_default().to_owned();
        record["time"] = time.into();
        writeln!(out, "{date} {}", super::tail::text_of(&record))?;
    }
    Ok(())
}

/// One JSON object a request: its number and its bytes, unpacked, in base64.
fn dump(lane: Lane, request: &Spooled, waits: bool, out: &mut impl Write) -> anyhow::Result<()> {
    use base64::Engine as _;
    let raw = zstd::decode_all(request.payload.as_ref())?;
    let line = serde_json::json!({
        "lane": lane.name(),
        "number": request.number(),
        "stream": request.stream.to_string(),
        "waits": waits,
        "signal": request.signal.name(),
        "content_type": request.encoding.content_type(),
        "time": request.time,
        "items": request.items,
        "body": base64::engine::general_purpose::STANDARD.encode(raw),
    });
    writeln!(out, "{line}")?;
    Ok(())
}

/// Gives up what waits in one lane, or in all.
fn drop_waiting(args: &SpoolArgs, config: &Config, out: &mut impl Write) -> anyhow::Result<u8> {
    if !args.yes {
        anyhow::bail!("this gives up what waits for the collector: say --yes to do it");
    }
    let dropped = agent::drop_spool(config, args.lane.as_deref())?;
    for (lane, amount) in dropped {
        writeln!(out, "{}: {} requests, {} items given up", lane.name(), amount.requests, amount.items)?;
    }
    Ok(exit_code::OK)
}
