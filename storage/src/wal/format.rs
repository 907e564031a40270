//! The bytes of the log: file header and record header, to and from memory. `docs/formats/wal.md` is
//! the contract.
//!
//! ```text
//! file    magic 8 │ version 2 │ length 2 │ flags 1 │ 0 3 │ epoch 8 │ first seq 8 │ durable seq 8 │ created 8 │ 0 12 │ crc 4
//! record  sync 4 │ payload len 4 │ seq 8 │ signal 1 │ compr. 1 │ flags 2 │ received 8 │ ext len 4 │ crc 4 │ body crc 4
//!         extension │ payload │ zeros to the next multiple of 8
//! ```
//!
//! Invariant: decoding takes any bytes and never panics.

use crc32c::{crc32c, crc32c_append};
use model::UnixNano;

use super::Record;

pub(super) const FILE_HEADER_BYTES: usize = 64;
pub(super) const RECORD_HEADER_BYTES: usize = 40;
/// Records begin at multiples of this.
pub(super) const ALIGNMENT: u64 = 8;
/// The longest file header of any version, so that a newer one can be recognised.
pub(super) const FILE_HEADER_BYTES_MAX: usize = 4096;
pub(super) const SYNC_WORD: [u8; 4] = *b"SIL\x9A";
/// No sequence and no file's number is above this, so that counting on cannot overflow.
pub(super) const SEQUENCE_MAX: u64 = 1 << 62;
/// The record is the first of a group commit.
pub(super) const FLAG_GROUP_START: u16 = 1;
/// The file was written before, as another one: behind its records there may be bytes of that.
const FLAG_REUSED: u8 = 1;

const MAGIC: [u8; 8] = *b"SILMWAL1";
const MAGIC_OF_ALL_VERSIONS: usize = 7;
pub(crate) const VERSION: u16 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileHeader {
    /// The file's number; every CRC of a record begins with it.
    pub(super) epoch: u64,
    pub(super) first_sequence: u64,
    /// The highest sequence that was durable when the file was begun.
    pub(super) durable_sequence: u64,
    pub(super) created: UnixNano,
    /// Whether the file was another one before: what stands behind its records may be that one's.
    pub(super) is_reused: bool,
}

/// What the first bytes of a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileStart {
    Header(FileHeader),
    /// A sound header of a version this program does not know.
    OtherVersion(u16),
    /// Nothing but zeros: the file was created, and its header never reached the disk.
    Blank,
    /// The header of the file it was before: it was taken to be written again, and its header never reached the disk.
    Earlier,
    /// No sound header of any version.
    Unknown,
}

impl FileStart {
    /// Of a file with this number: a header with another is that of an earlier life of the file.
    pub(super) fn of(number: u64, bytes: &[u8]) -> Self {
        match FileHeader::decode(bytes) {
            Self::Header(header) if header.epoch != number => Self::Earlier,
            start => start,
        }
    }

    /// Whether the file holds no record, because its first one never became durable.
    pub(super) const fn is_unwritten(&self) -> bool {
        matches!(self, Self::Blank | Self::Earlier)
    }

    /// Whether bytes behind the records may be records of an earlier life.
    pub(super) const fn may_have_remains(&self) -> bool {
        match self {
            Self::Header(header) => header.is_reused,
            Self::Earlier => true,
            Self::OtherVersion(_) | Self::Blank | Self::Unknown => false,
        }
    }
}

impl FileHeader {
    pub(super) fn encode(&self) -> [u8; FILE_HEADER_BYTES] {
        let mut bytes = [0; FILE_HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
        bytes[10..12].copy_from_slice(&(FILE_HEADER_BYTES as u16).to_le_bytes());
        bytes[12] = if self.is_reused { FLAG_REUSED } else { 0 };
        bytes[16..24].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first_sequence.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.durable_sequence.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.created.0.to_le_bytes());
        let crc = crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `bytes`: the first [`FILE_HEADER_BYTES_MAX`] bytes of the file, or all of it.
    pub(super) fn decode(bytes: &[u8]) -> FileStart {
        if bytes.iter().take(FILE_HEADER_BYTES).all(|byte| *byte == 0) {
            return FileStart::Blank;
        }
        if bytes.len() < FILE_HEADER_BYTES || bytes[..MAGIC_OF_ALL_VERSIONS] != MAGIC[..MAGIC_OF_ALL_VERSIONS]
        {
            return FileStart::Unknown;
        }
        let version = u16_at(bytes, 8);
        let length = usize::from(u16_at(bytes, 10));
        if length < 16 || length > bytes.len() || crc32c(&bytes[..length - 4]) != u32_at(bytes, length - 4) {
            return FileStart::Unknown;
        }
        if bytes[..8] != MAGIC || version != VERSION || length != FILE_HEADER_BYTES {
            return FileStart::OtherVersion(version);
        }
        let header = Self {
            epoch: u64_at(bytes, 16),
            first_sequence: u64_at(bytes, 24),
            durable_sequence: u64_at(bytes, 32),
            created: UnixNano(u64_at(bytes, 40) as i64),
            is_reused: bytes[12] & FLAG_REUSED != 0,
        };
        let is_sound = header.first_sequence <= SEQUENCE_MAX && header.durable_sequence <= SEQUENCE_MAX;
        if is_sound { FileStart::Header(header) } else { FileStart::Unknown }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHeader {
    pub(super) payload_bytes: u32,
    pub(super) sequence: u64,
    pub(super) signal: u8,
    pub(super) compression: u8,
    pub(super) flags: u16,
    pub(super) received_at: UnixNano,
    pub(super) extension_bytes: u32,
    header_crc: u32,
    body_crc: u32,
}

impl RecordHeader {
    /// `None` unless sync word, header CRC and sequence hold.
    pub(super) fn decode(epoch: u64, bytes: &[u8]) -> Option<Self> {
        if bytes.len() < RECORD_HEADER_BYTES || bytes[..4] != SYNC_WORD {
            return None;
        }
        let header_crc = u32_at(bytes, 32);
        if header_crc_of(epoch, &bytes[..32]) != header_crc || u64_at(bytes, 8) > SEQUENCE_MAX {
            return None;
        }
        Some(Self {
            payload_bytes: u32_at(bytes, 4),
            sequence: u64_at(bytes, 8),
            signal: bytes[16],
            compression: bytes[17],
            flags: u16_at(bytes, 18),
            received_at: UnixNano(u64_at(bytes, 20) as i64),
            extension_bytes: u32_at(bytes, 28),
            header_crc,
            body_crc: u32_at(bytes, 36),
        })
    }

    pub(super) fn body_bytes(&self) -> u64 {
        u64::from(self.extension_bytes) + u64::from(self.payload_bytes)
    }

    /// All bytes of the record, padding included.
    pub(super) fn record_bytes(&self) -> u64 {
        (RECORD_HEADER_BYTES as u64 + self.body_bytes()).next_multiple_of(ALIGNMENT)
    }

    pub(super) fn is_group_start(&self) -> bool {
        self.flags & FLAG_GROUP_START != 0
    }

    /// Whether `body`, extension and payload, is what was written.
    pub(super) fn matches(&self, body: &[u8]) -> bool {
        crc32c_append(self.header_crc, body) == self.body_crc
    }
}

fn header_crc_of(epoch: u64, header: &[u8]) -> u32 {
    crc32c_append(crc32c(&epoch.to_le_bytes()), header)
}

/// All bytes a record takes in a file.
pub(super) fn encoded_bytes(record: &Record) -> usize {
    (RECORD_HEADER_BYTES + record.extension.len() + record.payload.len()).next_multiple_of(ALIGNMENT as usize)
}

/// Appends a record to `out`. Lengths were checked to fit 32 bits when the record was queued.
pub(super) fn encode_record(record: &Record, sequence: u64, flags: u16, epoch: u64, out: &mut Vec<u8>) {
    let mut header = [0; RECORD_HEADER_BYTES];
    header[..4].copy_from_slice(&SYNC_WORD);
    header[4..8].copy_from_slice(&(record.payload.len() as u32).to_le_bytes());
    header[8..16].copy_from_slice(&sequence.to_le_bytes());
    header[16] = record.signal;
    header[17] = record.compression;
    header[18..20].copy_from_slice(&flags.to_le_bytes());
    header[20..28].copy_from_slice(&record.received_at.0.to_le_bytes());
    header[28..32].copy_from_slice(&(record.extension.len() as u32).to_le_bytes());
    let header_crc = header_crc_of(epoch, &header[..32]);
    let body_crc = crc32c_append(crc32c_append(header_crc, &record.extension), &record.payload);
    header[32..36].copy_from_slice(&header_crc.to_le_bytes());
    header[36..].copy_from_slice(&body_crc.to_le_bytes());
    let end = out.len() + encoded_bytes(record);
    out.extend_from_slice(&header);
    out.extend_from_slice(&record.extension);
    out.extend_from_slice(&record.payload);
    out.resize(end, 0);
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(four)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(eight)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn record() -> Record {
        Record {
            signal: 2,
            compression: 1,
            received_at: UnixNano(-5),
            extension: Bytes::from_static(b"kafka"),
            payload: Bytes::from_static(b"request"),
        }
    }

    #[test]
    fn a_record_reads_back_and_only_in_its_own_file() {
        let mut bytes = Vec::new();
        encode_record(&record(), 7, FLAG_GROUP_START, 3, &mut bytes);
        assert_eq!(bytes.len(), 56);
        let header = RecordHeader::decode(3, &bytes).expect("as written");
        assert_eq!((header.sequence, header.signal, header.received_at), (7, 2, UnixNano(-5)));
        assert_eq!(header.record_bytes(), 56);
        assert!(header.is_group_start());
        assert!(header.matches(b"kafkarequest"));
        assert!(!header.matches(b"kafkaRequest"));
        assert_eq!(RecordHeader::decode(4, &bytes), None);
    }

    #[test]
    fn the_first_record_of_a_file_is_the_bytes_the_format_page_draws() {
        let header = FileHeader {
            epoch: 1,
            first_sequence: 1,
            durable_sequence: 0,
            created: UnixNano(9),
            is_reused: false,
        };
        let mut bytes = header.encode().to_vec();
        encode_record(&record(), 1, FLAG_GROUP_START, 1, &mut bytes);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = concat!(
            "53494c4d57414c31",
            "0100",
            "4000",
            "00000000",
            "0100000000000000",
            "0100000000000000",
            "0000000000000000",
            "0900000000000000",
            "000000000000000000000000",
            "40e40377",
            "53494c9a",
            "07000000",
            "0100000000000000",
            "02",
            "01",
            "0100",
            "fbffffffffffffff",
            "05000000",
            "50c8aea2",
            "7112048b",
            "6b61666b61",
            "72657175657374",
            "00000000",
        );
        assert_eq!(hex, expected);
    }

    #[test]
    fn a_flipped_bit_anywhere_in_a_header_is_noticed() {
        let header = FileHeader {
            epoch: 9,
            first_sequence: 4,
            durable_sequence: 3,
            created: UnixNano(1),
            is_reused: true,
        };
        assert_eq!(FileHeader::decode(&header.encode()), FileStart::Header(header));
        for bit in 0..FILE_HEADER_BYTES * 8 {
            let mut bytes = header.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FileHeader::decode(&bytes), FileStart::Unknown, "bit {bit}");
        }
        let mut bytes = Vec::new();
        encode_record(&record(), 7, 0, 3, &mut bytes);
        for bit in 0..36 * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(RecordHeader::decode(3, &bytes), None, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_newer_version_is_recognised_by_its_own_checksum() {
        let mut bytes = vec![0; 96];
        bytes[..8].copy_from_slice(b"SILMWAL1");
        bytes[8..10].copy_from_slice(&2u16.to_le_bytes());
        bytes[10..12].copy_from_slice(&96u16.to_le_bytes());
        assert_eq!(FileHeader::decode(&bytes), FileStart::Unknown);
        let crc = crc32c(&bytes[..92]);
        bytes[92..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(FileHeader::decode(&bytes), FileStart::OtherVersion(2));
    }
}
