//! `silmari-agent files`: every matching file, how far it is read, or why it is not.

use std::io::{self, Write};

use agent::status::FileStatus;
use agent::{Config, exit_code};

use super::{StatusArgs, shown, status};

pub(super) fn run(args: &StatusArgs, out: &mut impl Write) -> anyhow::Result<u8> {
    let files = match status::ask(args) {
        Ok(status) => status.files,
        // No agent answers: say what would be read.
        Err(error) if args.admin.is_none() => {
            let config = Config::load(&args.config.config)?;
            writeln!(io::stderr(), "no agent answers ({error:#}); what the configuration matches now:")?;
            write_matching(&config, args.json, out)?;
            return Ok(exit_code::RUNTIME);
        }
        Err(error) => return Err(error),
    };
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &files)?;
        writeln!(out)?;
        return Ok(exit_code::OK);
    }
    write_files(&files, out)?;
    Ok(exit_code::OK)
}

/// What tables match, without positions.
fn write_matching(config: &Config, is_json: bool, out: &mut impl Write) -> io::Result<()> {
    let tables = agent::input::matching_files(config);
    let all = tables.iter().flat_map(|(name, matching)| matching.iter().map(move |file| (name, file)));
    if is_json {
        let files: Vec<_> = all
            .map(|(name, (path, reason))| serde_json::json!({"input": name, "path": path, "reason": reason}))
            .collect();
        serde_json::to_writer_pretty(&mut *out, &files)?;
        return writeln!(out);
    }
    for (name, (path, reason)) in all {
        let reason =
            reason.as_ref().map_or_else(|| "would be read".to_owned(), |why| format!("not read: {why}"));
        writeln!(out, "files.{name}  {}  {reason}", shown(&path.to_string_lossy()))?;
    }
    Ok(())
}

pub(super) fn write_files(files: &[FileStatus], out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{:<10} {:<9} {:>12} {:>12} {:>10}  FILE", "TABLE", "STATE", "READ", "ACKED", "LAG")?;
    for file in files {
        let reason =
            file.reason.as_deref().map(|reason| format!("  ({})", shown(reason))).unwrap_or_default();
        writeln!(
            out,
            "{:<10} {:<9} {:>12} {:>12} {:>10}  {}{reason}",
            shown(&file.input),
            file.state,
            file.offset,
            file.acked,
            file.lag_bytes,
            shown(&file.path)
        )?;
    }
    Ok(())
}
