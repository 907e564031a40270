//! A damaged catalog never stops the start: it is set aside, and a new one is made of the segment folders.
//!
//! ```text
//! catalog.sqlite ─► quarantine/catalog-<time>.sqlite         what still can be read of deletes, positions and
//!        ▲                                                   the identity is carried over
//!        └── segments/<table>/<first>-<last>-L<level>-<n>/   name: sequences and level; Parquet: rows and time
//! ```
//!
//! Does not own: when the catalog counts as damaged (`guard`). What a rebuilt catalog may get wrong: the
//! inputs of a merge that a crash left beside its output are read beside it; rows that retention kept as
//! errors count as whole segments.

use std::io;
use std::path::Path;

use model::{Clock, Signal, TimeRange};

use super::{Catalog, FILE};
use crate::deletes::Tombstone;
use crate::error::{Context as _, Error, ErrorKind};
use crate::folder::Folder;
use crate::positions::{Entry, Key};
use crate::segment::reader::Segment;
use crate::segment::{SegmentMeta, home};

/// What could be read of a damaged catalog.
#[derive(Default)]
pub(super) struct Salvaged {
    deletes: Vec<Tombstone>,
    positions: Vec<(Key, Entry)>,
    identity: Option<String>,
    wal_sequence: u64,
}

impl Catalog {
    /// What can still be read. Each part for itself: one may be damaged and the others not.
    pub(super) async fn salvage(&self) -> Salvaged {
        let identity =
            sqlx::query_scalar("SELECT id FROM store_identity").fetch_optional(&self.database.pool).await;
        Salvaged {
            deletes: self.deletes().await.unwrap_or_default(),
            positions: self.positions().await.unwrap_or_default(),
            identity: identity.ok().flatten(),
            wal_sequence: self.wal_sequence().await.unwrap_or(0),
        }
    }

    /// Sets the catalog aside and makes a new one.
    pub(super) async fn rebuild(
        folder: &Folder,
        problem: &Error,
        salvaged: Salvaged,
        clock: &dyn Clock,
    ) -> Result<Self, Error> {
        let data_dir = &*folder.path;
        let kept = set_aside(data_dir, clock)
            .context(ErrorKind::Retry, || "setting the damaged catalog aside".to_owned())?;
        let segments = found(folder).context(ErrorKind::Retry, || "looking for segments".to_owned())?;
        tracing::error!(
            "{problem}: it is kept in `{kept}`; a new one is made of the {} segments that were found",
            segments.len()
        );
        let catalog = Self::open_file(data_dir).await?;
        if let Some(identity) = &salvaged.identity {
            catalog.identity(identity).await?;
        }
        for tombstone in &salvaged.deletes {
            catalog.add_delete(tombstone).await?;
        }
        // Every seal takes all there is up to its sequence. Of the two sources the lower one is wrong if they
        // differ: the higher one in a name stands for rows that are there.
        let last = segments.iter().map(|segment| segment.sequences.1).max().unwrap_or(0);
        if salvaged.wal_sequence > last {
            tracing::warn!(
                "the log is replayed from {last}, the damaged catalog said {}",
                salvaged.wal_sequence
            );
        }
        let moved: Vec<_> = salvaged.positions.into_iter().map(|(key, entry)| (key, Some(entry))).collect();
        catalog.commit(&segments, &moved, last).await?;
        Ok(catalog)
    }
}

/// Moves the files of the catalog to `quarantine/`; where they are.
fn set_aside(data_dir: &Path, clock: &dyn Clock) -> io::Result<String> {
    let dir = data_dir.join("quarantine");
    std::fs::create_dir_all(&dir)?;
    let kept = dir.join(format!("catalog-{}.sqlite", clock.now().0));
    for suffix in ["", "-journal", "-wal", "-shm"] {
        let of = |path: &Path| {
            path.with_file_name(format!("{}{suffix}", path.file_name().unwrap_or_default().to_string_lossy()))
        };
        match std::fs::rename(of(&data_dir.join(FILE)), of(&kept)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    std::fs::File::open(data_dir)?.sync_all()?;
    Ok(kept.display().to_string())
}

/// The segments that were published.
fn found(folder: &Folder) -> io::Result<Vec<SegmentMeta>> {
    let mut segments = Vec::new();
    for signal in Signal::ALL {
        for listed in home::list(folder, signal)? {
            let Some(mut meta) = listed.meta() else { continue };
            meta.bytes = home::bytes_of_rows(folder, &meta);
            // One that cannot be opened is named all the same: answers say that its rows are missing.
            match Segment::open_in(folder, meta.clone()) {
                Ok(segment) => segments.push(segment.described()),
                Err(_) => segments.push(SegmentMeta { time: TimeRange::ALL, ..meta }),
            }
        }
    }
    Ok(segments)
}
