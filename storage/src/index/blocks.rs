//! The bytes of the identity index: postings and groups in blocks, and the directory that says where each block is.
//!
//! ```text
//! "SILMIDS1" │ block │ block │ … │ directory │ CRC-32C of the directory 4 │ its bytes 4 │ "SILMIDS1"
//!
//! directory          groups 8, their blocks 4, kinds 4
//!                    of each kind, by name: bytes of the name 2, name, values 8, postings 8, blocks 4
//!                    of each block, first those of the groups, then those of each kind: first 8, where it ends 8, CRC-32C of it 4;
//!                    `first` is the key of its first posting, or the first row of its first group
//! block of groups    of 128 groups, of the last block fewer: gamma(rows - 1)
//! block of postings  a, b and c, a byte each; of 128 postings, of the last of a kind fewer, sorted by key and group:
//!                      another key: 0, rice(key - the key before, a), fixed(group, b)
//!                      the same:    1, rice(group - the group before, c)
//! ```
//!
//! The first posting of a block has the key that the directory says, a step of 0. Where every row is a group of its own there are no
//! blocks of groups. Numbers of fixed size are little-endian; [`super::bits`] draws the others. A *key* is the upper 52 bits of
//! a term's hash.
//!
//! Owns: these bytes. Does not own: which postings there are (`writer`), what is asked of them ([`super::IdIndex`]).
//!
//! Invariants: a block is held against its checksum whenever it is read; no bytes make this panic.

use std::ops::Range;

use crc32c::crc32c;

use super::bits::{BitReader, BitWriter};

/// What the file begins and ends with.
const MAGIC: &[u8; 8] = b"SILMIDS1";
/// Postings or groups of a block: what a look-up reads, and one entry of the directory.
const BLOCK_ITEMS: usize = 128;
/// Groups that a file may say it has: no segment has as many rows.
const GROUPS_MAX: usize = 1 << 26;
/// Checksum and bytes of the directory, and the magic.
const END_BYTES: usize = 16;
/// Bytes of the directory before the kinds.
const START_BYTES: usize = 16;
/// Bytes of a kind in the directory but for its name.
const KIND_BYTES: usize = 22;
/// Bytes of a block's entry in the directory.
const ENTRY_BYTES: usize = 20;

/// A group of rows that carries a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Posting {
    pub(super) key: u64,
    pub(super) group: u32,
}

/// What the directory says of an id kind.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) name: String,
    /// Keys that differ.
    pub(super) values: u64,
    pub(super) postings: u64,
    blocks: Range<usize>,
}

#[derive(Debug)]
struct Block {
    first: u64,
    end: u64,
    crc: u32,
}

/// Where everything is.
#[derive(Debug)]
pub(super) struct Directory {
    groups: u64,
    /// Blocks of groups, which stand before all others; 0 where groups are rows.
    group_blocks: usize,
    /// Sorted by name.
    kinds: Vec<Kind>,
    blocks: Vec<Block>,
}

/// What is wrong with a file.
pub(super) type Problem = String;

/// Collects the bytes of a file: the groups, then kind by kind.
pub(super) struct FileBuilder {
    bytes: Vec<u8>,
    start: Vec<u8>,
    kinds: Vec<u8>,
    entries: Vec<u8>,
    kind_count: u32,
}

impl FileBuilder {
    /// Begins with the groups, of each how many rows it has, which is not 0.
    pub(super) fn new(groups: &[u32]) -> Self {
        let mut file = Self {
            bytes: MAGIC.to_vec(),
            start: (groups.len() as u64).to_le_bytes().to_vec(),
            kinds: Vec::new(),
            entries: Vec::new(),
            kind_count: 0,
        };
        let is_table = groups.iter().any(|rows| *rows != 1);
        let blocks = if is_table { groups.len().div_ceil(BLOCK_ITEMS) } else { 0 };
        file.start.extend_from_slice(&(blocks as u32).to_le_bytes());
        let mut row = 0;
        for block in groups.chunks(BLOCK_ITEMS).take(blocks) {
            let mut bits = BitWriter::default();
            block.iter().for_each(|rows| bits.gamma(u64::from(*rows - 1)));
            file.add_block(row, &bits.finish());
            row += block.iter().map(|rows| u64::from(*rows)).sum::<u64>();
        }
        file
    }

    /// Adds a kind, which stands after all earlier ones; its postings are sorted, and none is there twice.
    pub(super) fn add(&mut self, name: &str, postings: &[Posting]) {
        let name = &name.as_bytes()[..name.len().min(usize::from(u16::MAX))];
        let values = postings.chunk_by(|a, b| a.key == b.key).count() as u64;
        let blocks = postings.len().div_ceil(BLOCK_ITEMS) as u32;
        self.kinds.extend_from_slice(&(name.len() as u16).to_le_bytes());
        self.kinds.extend_from_slice(name);
        self.kinds.extend_from_slice(&values.to_le_bytes());
        self.kinds.extend_from_slice(&(postings.len() as u64).to_le_bytes());
        self.kinds.extend_from_slice(&blocks.to_le_bytes());
        self.kind_count += 1;
        for block in postings.chunks(BLOCK_ITEMS) {
            self.add_block(block[0].key, &block_of(block));
        }
    }

    fn add_block(&mut self, first: u64, block: &[u8]) {
        self.bytes.extend_from_slice(block);
        self.entries.extend_from_slice(&first.to_le_bytes());
        self.entries.extend_from_slice(&(self.bytes.len() as u64).to_le_bytes());
        self.entries.extend_from_slice(&crc32c(block).to_le_bytes());
    }

    /// The whole file.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&self.start);
        self.bytes.extend_from_slice(&self.kind_count.to_le_bytes());
        self.bytes.extend_from_slice(&self.kinds);
        self.bytes.extend_from_slice(&self.entries);
        let crc = crc32c(&self.bytes[start..]);
        let bytes = (self.bytes.len() - start) as u32;
        self.bytes.extend_from_slice(&crc.to_le_bytes());
        self.bytes.extend_from_slice(&bytes.to_le_bytes());
        self.bytes.extend_from_slice(MAGIC);
        self.bytes
    }
}

fn block_of(postings: &[Posting]) -> Vec<u8> {
    let pairs = || postings.iter().zip(postings.iter().skip(1));
    let (another, same): (Vec<_>, Vec<_>) = pairs().partition(|(before, posting)| before.key != posting.key);
    let key_bits = rice_bits(another.iter().map(|(before, posting)| posting.key - before.key));
    let same_bits = rice_bits(same.iter().map(|(before, posting)| u64::from(posting.group - before.group)));
    let largest = postings.iter().map(|posting| posting.group).max().unwrap_or(0);
    let group_bits = u32::BITS - largest.leading_zeros();
    let mut bits = BitWriter::default();
    [key_bits, group_bits, same_bits].iter().for_each(|number| bits.fixed(u64::from(*number), 8));
    let mut before = None;
    for posting in postings {
        match before.replace(*posting) {
            Some(Posting { key, group }) if key == posting.key => {
                bits.fixed(1, 1);
                bits.rice(u64::from(posting.group - group), same_bits);
            }
            before => {
                bits.fixed(0, 1);
                bits.rice(before.map_or(0, |before| posting.key - before.key), key_bits);
                bits.fixed(u64::from(posting.group), group_bits);
            }
        }
    }
    bits.finish()
}

/// The lower bits with which numbers that are spread as steps between random ones take the least room.
fn rice_bits(numbers: impl ExactSizeIterator<Item = u64>) -> u32 {
    let count = numbers.len().max(1) as u128;
    let sum: u128 = numbers.map(u128::from).sum();
    // ln 2 of their mean.
    ((sum * 7 / 10 / count) as u64).checked_ilog2().unwrap_or(0)
}

impl Directory {
    /// The directory of a file.
    pub(super) fn of(file: &[u8]) -> Result<Self, Problem> {
        let is_framed =
            file.len() >= MAGIC.len() + END_BYTES && file.starts_with(MAGIC) && file.ends_with(MAGIC);
        let (rest, end) = file.split_at(file.len().saturating_sub(END_BYTES));
        let (crc, bytes) = (number::<4>(end, 0), number::<4>(end, 4));
        let start = bytes.and_then(|bytes| rest.len().checked_sub(usize::try_from(bytes).ok()?));
        let start = start.filter(|start| *start >= MAGIC.len());
        let (true, Some(crc), Some(start)) = (is_framed, crc, start) else {
            return Err("it does not begin and end as an identity index does".to_owned());
        };
        let directory = &rest[start..];
        if u64::from(crc32c(directory)) != crc {
            return Err("the checksum of its directory does not hold".to_owned());
        }
        Self::parse(directory, start)
            .ok_or_else(|| "its directory is not what this program writes".to_owned())
    }

    fn parse(directory: &[u8], blocks_end: usize) -> Option<Self> {
        let groups = number::<8>(directory, 0)?;
        let group_blocks = usize::try_from(number::<4>(directory, 8)?).ok()?;
        let mut at = START_BYTES;
        let (mut kinds, mut blocks) = (Vec::new(), group_blocks);
        for _ in 0..number::<4>(directory, 12)? {
            let name = usize::try_from(number::<2>(directory, at)?).ok()?;
            let name = std::str::from_utf8(directory.get(at + 2..at + 2 + name)?).ok()?.to_owned();
            let numbers = at + 2 + name.len();
            let (values, postings) = (number::<8>(directory, numbers)?, number::<8>(directory, numbers + 8)?);
            let first = blocks;
            blocks = blocks.checked_add(usize::try_from(number::<4>(directory, numbers + 16)?).ok()?)?;
            at += KIND_BYTES + name.len();
            kinds.push(Kind { name, values, postings, blocks: first..blocks });
        }
        let entries = directory.get(at..)?;
        let entry = |entry: &[u8]| {
            let (first, end) = (number::<8>(entry, 0)?, number::<8>(entry, 8)?);
            Some(Block { first, end, crc: u32::try_from(number::<4>(entry, 16)?).ok()? })
        };
        let found = entries.chunks(ENTRY_BYTES).map(entry).collect::<Option<Vec<Block>>>()?;
        let is_table =
            group_blocks == 0 || usize::try_from(groups).ok()?.div_ceil(BLOCK_ITEMS) == group_blocks;
        let is_sound = is_table
            && found.len() == blocks
            && found.is_sorted_by(|a, b| a.end <= b.end)
            && found.iter().all(|block| (MAGIC.len() as u64..=blocks_end as u64).contains(&block.end))
            && kinds.is_sorted_by(|a, b| a.name < b.name);
        is_sound.then_some(Self { groups, group_blocks, kinds, blocks: found })
    }

    pub(super) fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    pub(super) fn kind(&self, name: &str) -> Option<&Kind> {
        let at = self.kinds.binary_search_by(|kind| kind.name.as_str().cmp(name)).ok()?;
        Some(&self.kinds[at])
    }

    /// Bytes of a kind's blocks.
    pub(super) fn bytes(&self, kind: &Kind) -> u64 {
        let end = kind.blocks.clone().next_back().map_or(0, |last| self.blocks[last].end);
        end.saturating_sub(self.start(kind.blocks.start))
    }

    fn start(&self, block: usize) -> u64 {
        block.checked_sub(1).map_or(MAGIC.len() as u64, |before| self.blocks[before].end)
    }

    /// The groups that have a key, in their order.
    pub(super) fn find(
        &self,
        file: &[u8],
        kind: &Kind,
        key: u64,
        found: &mut Vec<u32>,
    ) -> Result<(), Problem> {
        for block in self.holding(kind, key) {
            let postings = self.postings(file, block)?.skip_while(|posting| posting.key < key);
            found.extend(postings.take_while(|posting| posting.key == key).map(|posting| posting.group));
        }
        Ok(())
    }

    /// How many groups have a key. Of blocks that are full of it only the directory is read.
    pub(super) fn count(&self, file: &[u8], kind: &Kind, key: u64) -> Result<usize, Problem> {
        let mut count = 0;
        for block in self.holding(kind, key) {
            let next = kind.blocks.contains(&(block + 1)).then(|| self.blocks[block + 1].first);
            count += match self.blocks[block].first == key && next == Some(key) {
                true => BLOCK_ITEMS,
                false => self.postings(file, block)?.filter(|posting| posting.key == key).count(),
            };
        }
        Ok(count)
    }

    /// The blocks of a kind in which a key can be.
    fn holding(&self, kind: &Kind, key: u64) -> Range<usize> {
        let blocks = &self.blocks[kind.blocks.clone()];
        let from = blocks.partition_point(|block| block.first < key).saturating_sub(1);
        let to = from + blocks[from..].partition_point(|block| block.first <= key);
        kind.blocks.start + from..kind.blocks.start + to
    }

    /// Calls `each` with every posting of a kind, all of groups that there are.
    pub(super) fn walk(
        &self,
        file: &[u8],
        kind: &Kind,
        each: &mut dyn FnMut(Posting),
    ) -> Result<(), Problem> {
        let mut count = 0;
        for block in kind.blocks.clone() {
            for posting in self.postings(file, block)? {
                if u64::from(posting.group) >= self.groups {
                    return Err(format!("it has no group {}", posting.group));
                }
                count += 1;
                each(posting);
            }
        }
        match count == kind.postings {
            true => Ok(()),
            false => Err(format!("it has {count} of {} postings of `{}`", kind.postings, kind.name)),
        }
    }

    /// The first posting of a kind.
    pub(super) fn first(&self, file: &[u8], kind: &Kind) -> Result<Option<Posting>, Problem> {
        let Some(block) = kind.blocks.clone().next() else { return Ok(None) };
        Ok(self.postings(file, block)?.next())
    }

    /// The rows of groups, which are sorted.
    pub(super) fn rows(&self, file: &[u8], groups: &[u32]) -> Result<Vec<Range<usize>>, Problem> {
        let mut rows = Vec::with_capacity(groups.len());
        let outside = |group: u32| format!("it has no group {group}");
        if self.group_blocks == 0 {
            for group in groups.iter().copied() {
                if u64::from(group) >= self.groups {
                    return Err(outside(group));
                }
                rows.push(group as usize..group as usize + 1);
            }
            return Ok(rows);
        }
        let in_one_block = |a: &u32, b: &u32| *a as usize / BLOCK_ITEMS == *b as usize / BLOCK_ITEMS;
        for groups in groups.chunk_by(in_one_block) {
            let block = groups[0] as usize / BLOCK_ITEMS;
            if block >= self.group_blocks {
                return Err(outside(groups[0]));
            }
            let mut bits = BitReader::new(self.block(file, block)?);
            let (mut row, mut next) = (self.blocks[block].first, (block * BLOCK_ITEMS) as u32);
            for group in groups.iter().copied() {
                let mut size = 0;
                while next <= group {
                    row = row.checked_add(size).ok_or_else(|| outside(group))?;
                    size = bits.gamma().and_then(|size| size.checked_add(1)).ok_or_else(|| outside(group))?;
                    next += 1;
                }
                let end = row.checked_add(size).ok_or_else(|| outside(group))?;
                let range = usize::try_from(row).ok().zip(usize::try_from(end).ok());
                rows.push(range.map(|(start, end)| start..end).ok_or_else(|| outside(group))?);
                row = end;
            }
        }
        Ok(rows)
    }

    /// How many rows each group has.
    pub(super) fn group_sizes(&self, file: &[u8]) -> Result<Vec<u32>, Problem> {
        let count = usize::try_from(self.groups).ok().filter(|groups| *groups <= GROUPS_MAX);
        let count = count.ok_or_else(|| format!("it has {} groups", self.groups))?;
        if self.group_blocks == 0 {
            return Ok(vec![1; count]);
        }
        let (mut sizes, mut rows) = (Vec::with_capacity(count), 0_u64);
        for block in 0..self.group_blocks {
            if self.blocks[block].first != rows {
                return Err(format!(
                    "its block {block} begins at row {}, not {rows}",
                    self.blocks[block].first
                ));
            }
            let mut bits = BitReader::new(self.block(file, block)?);
            for _ in 0..(count - sizes.len()).min(BLOCK_ITEMS) {
                let size = bits.gamma().and_then(|size| u32::try_from(size).ok()?.checked_add(1));
                let size =
                    size.ok_or_else(|| format!("its block {block} is not what this program writes"))?;
                rows += u64::from(size);
                sizes.push(size);
            }
        }
        Ok(sizes)
    }

    fn postings<'f>(&self, file: &'f [u8], block: usize) -> Result<Postings<'f>, Problem> {
        let mut bits = BitReader::new(self.block(file, block)?);
        let mut parameter =
            || bits.fixed(8).filter(|bits| *bits < u64::from(u64::BITS)).map(|bits| bits as u32);
        let (key, group, same) = (parameter(), parameter(), parameter());
        let parameters = key.zip(group).zip(same).map(|((key, group), same)| (key, group, same));
        let (key_bits, group_bits, same_bits) =
            parameters.ok_or_else(|| format!("its block {block} is not what this program writes"))?;
        let before = Posting { key: self.blocks[block].first, group: 0 };
        Ok(Postings { bits, left: BLOCK_ITEMS, key_bits, group_bits, same_bits, before })
    }

    fn block<'f>(&self, file: &'f [u8], block: usize) -> Result<&'f [u8], Problem> {
        let Block { end, crc, .. } = self.blocks[block];
        let range = usize::try_from(self.start(block)).ok().zip(usize::try_from(end).ok());
        let bytes = range.and_then(|(start, end)| file.get(start..end)).unwrap_or_default();
        match crc32c(bytes) == crc {
            true => Ok(bytes),
            false => Err(format!("the checksum of its block {block} does not hold")),
        }
    }
}

/// The postings of a block.
struct Postings<'f> {
    bits: BitReader<'f>,
    left: usize,
    key_bits: u32,
    group_bits: u32,
    same_bits: u32,
    before: Posting,
}

impl Iterator for Postings<'_> {
    type Item = Posting;

    #[inline]
    fn next(&mut self) -> Option<Posting> {
        self.left = self.left.checked_sub(1)?;
        let Posting { key, group } = self.before;
        self.before = match self.bits.fixed(1)? {
            0 => {
                let key = key.checked_add(self.bits.rice(self.key_bits)?)?;
                Posting { key, group: u32::try_from(self.bits.fixed(self.group_bits)?).ok()? }
            }
            _ => {
                let step = u32::try_from(self.bits.rice(self.same_bits)?).ok()?;
                Posting { key, group: group.checked_add(step)? }
            }
        };
        Some(self.before)
    }
}

/// The number of `N` bytes at `at`.
fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let found = bytes.get(at..at.checked_add(N)?)?;
    let mut padded = [0; 8];
    padded[..N].copy_from_slice(found);
    Some(u64::from_le_bytes(padded))
}

/// A file whose only block of groups, if it has one, and of postings are these bytes, under right checksums. For fuzzers.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn around(block: &[u8], has_groups: bool) -> Vec<u8> {
    let groups: &[u32] = if has_groups { &[2; BLOCK_ITEMS] } else { &[1; BLOCK_ITEMS] };
    let mut file = FileBuilder::new(groups);
    file.bytes.truncate(MAGIC.len());
    file.entries.clear();
    if has_groups {
        file.add_block(0, block);
    }
    let (kind, posting) = ("a", Posting { key: 1, group: 1 });
    let mut of_kind = FileBuilder::new(&[]);
    of_kind.add(kind, &[posting]);
    (file.kinds, file.kind_count) = (of_kind.kinds, 1);
    file.add_block(posting.key, block);
    file.finish()
}

#[cfg(test)]
mod tests;
