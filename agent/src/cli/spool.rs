//! `silmari-agent spool ls|verify|dump`: looking into the spool without an agent, and without changing it.

use std::io::Write;

use agent::queue::{self, Looked};
use agent::{Config, exit_code};
use anyhow::Context as _;

use super::SpoolArgs;

pub(super) fn run(args: &SpoolArgs, out: &mut impl Write) -> anyhow::Result<u8> {
    let config = Config::load(&args.config.config)?;
    let folder = config.agent.data_dir.join("spool");
    let segments =
        queue::look(&folder).with_context(|| format!("cannot look into `{}`", folder.display()))?;
    let mut damaged = 0;
    for segment in &segments {
        damaged += segment.damaged_bytes;
        match args.action {
            super::SpoolAction::Ls => list(segment, out)?,
            super::SpoolAction::Verify if segment.damaged_bytes > 0 => writeln!(
                out,
                "{}: {} bytes carry no checksum",
                segment.path.display(),
                segment.damaged_bytes
            )?,
            super::SpoolAction::Verify => {}
            super::SpoolAction::Dump => dump(segment, out)?,
        }
    }
    let waiting: usize = segments.iter().map(|segment| segment.waiting).sum();
    let requests: usize = segments.iter().map(|segment| segment.requests.len()).sum();
    if args.action != super::SpoolAction::Dump {
        writeln!(
            out,
            "{} segments, {requests} requests, {waiting} of them wait, {damaged} damaged bytes",
            segments.len()
        )?;
    }
    Ok(if damaged == 0 { exit_code::OK } else { exit_code::DAMAGED })
}

fn list(segment: &Looked, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(
        out,
        "{}  {} bytes, {} requests, {} wait",
        segment.path.display(),
        segment.bytes,
        segment.requests.len(),
        segment.waiting
    )?;
    for request in &segment.requests {
        writeln!(
            out,
            "  {:>8}  {:<8} {:>7} items {:>9} bytes  {}",
            request.number, request.signal, request.items, request.raw_bytes, request.time
        )?;
    }
    Ok(())
}

/// One JSON object a request: its number and its bytes, unpacked, in base64.
fn dump(segment: &Looked, out: &mut impl Write) -> anyhow::Result<()> {
    use base64::Engine as _;
    for request in &segment.requests {
        let raw = zstd::decode_all(request.payload.as_ref())?;
        let line = serde_json::json!({
            "number": request.number,
            "signal": request.signal.name(),
            "content_type": request.encoding.content_type(),
            "time": request.time,
            "items": request.items,
            "body": base64::engine::general_purpose::STANDARD.encode(raw),
        });
        writeln!(out, "{line}")?;
    }
    Ok(())
}
