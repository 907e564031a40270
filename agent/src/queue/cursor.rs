//! How far a lane was acknowledged.
//!
//! ```text
//! cursor  two slots at 0 and 512, written in turn; the newest whole one counts
//!         "SILSCURS" | generation u64 | number u64 | items u64 | bytes u64 | crc32c u32     little endian
//! ```
//!
//! Invariant: the file has its full length from the beginning, so that moving the cursor needs no room on a
//! full disk.

use std::io;
use std::path::Path;

use disk::{DiskFile, Fs, read_range};

use super::Place;

/// Its file in the folder of a lane.
pub(super) const NAME: &str = "cursor";
const MAGIC: &[u8; 8] = b"SILSCURS";
const SLOT_BYTES: u64 = 512;
const FIELDS_BYTES: usize = 44;

#[derive(Debug)]
pub(super) struct Cursor {
    file: Box<dyn DiskFile>,
    generation: u64,
}

impl Cursor {
    /// Opens or makes the cursor of a lane, whose folder is there; what it says.
    pub(super) fn open(fs: &dyn Fs, folder: &Path) -> io::Result<(Self, Place)> {
        let path = folder.join(NAME);
        let file = match fs.open_write(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs.create(&path)?,
            opened => opened?,
        };
        let len = file.len()?;
        if len < 2 * SLOT_BYTES {
            file.write_all_at(&vec![0; (2 * SLOT_BYTES - len) as usize], len)?;
            file.sync_data()?;
            fs.sync_dir(folder)?;
        }
        let (generation, place) = newest(&*file)?;
        Ok((Self { file, generation }, place))
    }

    /// Writes where the lane stands; durable after [`Cursor::sync`].
    pub(super) fn write(&mut self, place: Place) -> io::Result<()> {
        self.generation += 1;
        let mut slot = Vec::with_capacity(FIELDS_BYTES);
        slot.extend_from_slice(MAGIC);
        slot.extend_from_slice(&self.generation.to_le_bytes());
        place.put(&mut slot);
        slot.extend_from_slice(&crc32c::crc32c(&slot).to_le_bytes());
        self.file.write_all_at(&slot, (self.generation % 2) * SLOT_BYTES)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Where the lane in `folder` stands, without changing anything.
pub(super) fn look(fs: &dyn Fs, folder: &Path) -> io::Result<Place> {
    match fs.open(&folder.join("cursor")) {
        Ok(file) => Ok(newest(&*file)?.1),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Place::default()),
        Err(error) => Err(error),
    }
}

/// Generation and content of the newest whole slot; zeros when there is none.
fn newest(file: &dyn DiskFile) -> io::Result<(u64, Place)> {
    let mut newest = (0, Place::default());
    for slot in 0..2 {
        let bytes = read_range(file, slot * SLOT_BYTES, FIELDS_BYTES)?;
        if bytes.len() < FIELDS_BYTES || &bytes[..8] != MAGIC {
            continue;
        }
        let checksum = u32::from_le_bytes(bytes[FIELDS_BYTES - 4..].try_into().unwrap_or_default());
        let generation = u64::from_le_bytes(bytes[8..16].try_into().unwrap_or_default());
        if checksum == crc32c::crc32c(&bytes[..FIELDS_BYTES - 4]) && generation > newest.0 {
            newest = (generation, Place::read(&bytes[16..40]));
        }
    }
    Ok(newest)
}
