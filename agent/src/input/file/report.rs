//! What `status` and `files` say about every matching file.

use super::FileTail;
use crate::status::FileStatus;

impl FileTail {
    /// Every matching file, and why the ones that are not read are not.
    pub(crate) fn status(&self) -> impl Iterator<Item = FileStatus> + '_ {
        let open = self.files.values().map(|file| {
            let waits = file.copy_of.map(|_| "may be a copy of a file that is read".to_owned());
            let waits = if file.is_placed {
                waits
            } else {
                Some("the collector has not said yet what it has".to_owned())
            };
            let state = match (&waits, file.gone_since) {
                _ if file.refusal.is_some() => "not_read",
                (Some(_), _) => "waiting",
                (None, Some(_)) => "rotated",
                (None, None) => "reading",
            };
            FileStatus {
                input: self.inputs[file.input].name.clone(),
                path: file.path.display().to_string(),
                inode: file.key.inode,
                generation: file.generation,
                size: file.size,
                offset: file.read.offset,
                acked: file.acked.offset,
                // What is refused is not behind.
                lag_bytes: match file.refusal {
                    None => file.size.saturating_sub(file.acked.offset),
                    Some(_) => 0,
                },
                state: state.into(),
                reason: file.refusal.clone().or(waits).or_else(|| file.problem.clone()),
            }
        });
        open.chain(self.packed_status()).chain(self.left_out.iter().cloned())
    }
}
