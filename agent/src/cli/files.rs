//! `silmari-agent files`: every matching file, how far it is read, or why it is not.

use std::io::Write;

use agent::status::FileStatus;
use agent::{Config, exit_code};

use super::{StatusArgs, shown, status};

pub(super) fn run(args: &StatusArgs, out: &mut impl Write) -> anyhow::Result<u8> {
    let files = match status::ask(args) {
        Ok(status) => status.files,
        // No agent answers: say what would be read.
        Err(error) if args.admin.is_none() => {
            let config = Config::load(&args.config.config)?;
            writeln!(out, "no agent answers ({error:#}); what the configuration matches now:")?;
            for (name, matching) in agent::input::matching_files(&config) {
                for (path, reason) in matching {
                    let reason =
                        reason.map_or_else(|| "would be read".to_owned(), |why| format!("not read: {why}"));
                    writeln!(out, "files.{name}  {}  {reason}", shown(&path.to_string_lossy()))?;
                }
            }
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

pub(super) fn write_files(files: &[FileStatus], out: &mut impl Write) -> std::io::Result<()> {
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
