//! The reading side of the text index: which rows the words of a search leave.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use memchr::memmem::Finder;
use tantivy::directory::{Directory as _, MmapDirectory, OwnedBytes};
use tantivy::postings::TermInfo;
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{DocId, Index, IndexReader, InvertedIndexReader, ReloadPolicy};

use super::parts::{self, Document, Part, Place, Walk as Documents};
use super::writer::{TEXT, WORDS, WholePart};
use super::{Piece, Rows, TextHint, TextRows, files, shapes};
use crate::error::{Context as _, Error, ErrorKind};

/// Rows of one document where many rows have the same text.
pub(crate) const ROWS_PER_DOCUMENT: usize = 128;
/// Fewer rows are read sooner than shapes are asked; tests have few.
const SURE_ROWS_MIN: usize = if cfg!(test) { 1 } else { 1_000 };
/// Tokens one piece may be part of; with more it rules out too little to be worth it.
const TOKENS_MAX: usize = 20_000;

/// A text index that is open for reading.
pub(crate) struct TextIndex {
    dir: PathBuf,
    /// Once its files were looked at.
    is_sound: OnceLock<()>,
    reader: IndexReader,
    field: Field,
    /// The file with the shapes; an index of an earlier build has none.
    shapes: Option<OwnedBytes>,
    /// Rows of the segment, and of one document.
    rows: usize,
    rows_per_document: usize,
    /// What it is made of, and where the documents of each are.
    parts: Vec<Part>,
    places: Vec<Place>,
    /// As tantivy finds its files.
    segment: Option<tantivy::Segment>,
}

impl std::fmt::Debug for TextIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextIndex").finish_non_exhaustive()
    }
}

/// How much of the dictionary is walked to find the tokens that a piece can be part of, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Walk {
    Token,
    Prefix,
    All,
}

impl Walk {
    const fn of(piece: &Piece) -> Self {
        match (piece.is_start, piece.is_end) {
            (true, true) => Self::Token,
            (true, false) => Self::Prefix,
            (false, _) => Self::All,
        }
    }

    /// With so many rows left the walk costs more than it saves.
    const fn worth_rows(self) -> usize {
        match self {
            Self::Token | Self::Prefix => 0,
            Self::All => 256,
        }
    }
}

impl TextIndex {
    /// Opens the index in `dir`, of a segment with so many rows.
    pub(crate) fn open(dir: &Path, rows: usize) -> Result<Self, Error> {
        caught(&format!("opening the text index `{}`", dir.display()), || Self::open_files(dir, rows))
    }

    fn open_files(dir: &Path, rows: usize) -> Result<Self, Error> {
        let doing = || format!("opening the text index `{}`", dir.display());
        let index = Index::open_in_dir(dir).context(ErrorKind::Damaged, doing)?;
        let words = index.schema().get_field(WORDS.0).ok();
        let field = match words {
            Some(field) => field,
            None => index.schema().get_field(TEXT.0).context(ErrorKind::Damaged, doing)?,
        };
        let reader: IndexReader = index
            .reader_builder()
            .reload_policy(ReloadPolicy::Manual)
            .try_into()
            .context(ErrorKind::Damaged, doing)?;
        let documents = reader.searcher().num_docs();
        let rows_per_document =
            if words.is_some() || documents == rows as u64 { 1 } else { ROWS_PER_DOCUMENT };
        let all = Part { rows: rows as u32, documents: documents as u32 };
        let parts = parts::read(dir, all).context(ErrorKind::Damaged, doing)?;
        let Some(places) = parts::places(&parts, rows_per_document) else {
            return Err(Error::damaged(format!(
                "{}: {documents} documents are too few for {rows} rows",
                doing()
            )));
        };
        let shapes = shapes_in(dir).context(ErrorKind::Damaged, doing)?;
        let segment = index.searchable_segments().context(ErrorKind::Damaged, doing)?.pop();
        let (dir, is_sound) = (dir.to_owned(), OnceLock::new());
        Ok(Self { dir, is_sound, reader, field, shapes, rows, rows_per_document, parts, places, segment })
    }

    /// The first time it is asked. What is found damaged is not asked again.
    fn check(&self) -> Result<(), Error> {
        if self.is_sound.get().is_none() {
            self.check_again()?;
            let _ = self.is_sound.set(());
        }
        Ok(())
    }

    fn check_again(&self) -> Result<(), Error> {
        let kind = |error: &io::Error| match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof => {
                ErrorKind::Damaged
            }
            _ => ErrorKind::Retry,
        };
        let checked = files::check(&self.dir);
        checked.map_err(|error| Error::new(kind(&error), format!("{}: {error}", self.doing())))
    }

    fn doing(&self) -> String {
        format!("reading the text index `{}`", self.dir.display())
    }

    /// The index as a part of another, whose checksums will be of what is read now; `None` when it is empty.
    pub(crate) fn as_part(&self) -> Result<Option<WholePart>, Error> {
        // What was sound when it was asked first may have gone bad since.
        self.check_again()?;
        Ok(self.segment.clone().map(|segment| WholePart {
            searcher: self.reader.searcher(),
            segment,
            rows_per_document: self.rows_per_document,
            parts: self.parts.clone(),
            shapes: self.shapes.clone(),
            own: None,
        }))
    }

    /// The rows that contain all of the hint or may; `None` when the hint rules out too little.
    pub(crate) fn rows(&self, hint: &TextHint) -> Result<Option<TextRows>, Error> {
        self.check()?;
        let doing = || self.doing();
        let searcher = self.reader.searcher();
        let Some(segment) = searcher.segment_readers().first() else { return Ok(None) };
        let index = segment.inverted_index(self.field).context(ErrorKind::Damaged, doing)?;
        let mut found: Option<Found> = None;
        let mut pieces: Vec<&Piece> = hint.pieces().iter().collect();
        pieces.sort_by_key(|piece| Walk::of(piece));
        for piece in pieces {
            // Few rows are read sooner than a dictionary.
            if found.as_ref().is_some_and(|found| found.maybe.count() <= Walk::of(piece).worth_rows()) {
                break;
            }
            let Some(terms) = terms(&index, piece).context(ErrorKind::Damaged, doing)? else { continue };
            let having = self.documents(&index, &terms).context(ErrorKind::Damaged, doing)?;
            match &mut found {
                Some(found) => {
                    self.narrow(found, &index, having).context(ErrorKind::Damaged, doing)?;
                }
                None => {
                    let first = self.first(&index, having, hint);
                    found = Some(first.context(ErrorKind::Damaged, doing)?);
                }
            }
        }
        Ok(found.map(|found| match self.rows_per_document {
            1 => TextRows { sure: found.sure, maybe: found.maybe },
            _ => TextRows { sure: Rows::new(0), maybe: self.rows_of(&found.maybe) },
        }))
    }

    /// The documents that have one of the terms.
    fn documents(&self, index: &InvertedIndexReader, terms: &[TermInfo]) -> io::Result<Having<'_>> {
        let mut having = Having { rows: self.none(), shapes: BTreeMap::new() };
        for term in terms {
            let mut documents = Documents::new(&self.places);
            each_document(index, term, 0..DocId::MAX, |id| match documents.document(id) {
                Some(Document::Rows(number)) => having.rows.add(number),
                Some(Document::Shape(place)) => drop(having.shapes.insert(id, place)),
                None => {}
            })?;
        }
        Ok(having)
    }

    /// No document of rows.
    fn none(&self) -> Rows {
        let documents = self.places.last().map_or(0, |last| last.first_of_rows + last.of_rows().len() as u32);
        Rows::new(documents as usize)
    }

    /// What the documents of the first piece say of rows.
    fn first(&self, index: &InvertedIndexReader, having: Having<'_>, hint: &TextHint) -> io::Result<Found> {
        let Having { rows: mut maybe, shapes } = having;
        let of_shapes = terms_of(index, &shapes)?;
        let rows = maybe.count() + of_shapes.iter().map(|(_, term)| term.doc_freq as usize).sum::<usize>();
        let sure_shapes = match rows < SURE_ROWS_MIN {
            true => BTreeSet::new(),
            false => self.sure_shapes(&shapes, hint),
        };
        let mut sure = self.none();
        for (shape, term) in &of_shapes {
            let rows = if sure_shapes.contains(shape) { &mut sure } else { &mut maybe };
            each_row(index, term, shapes[shape], rows)?;
        }
        maybe.remove(&sure);
        Ok(Found { sure_shapes, sure, maybe })
    }

    /// Leaves only what has the next piece as well.
    fn narrow(&self, found: &mut Found, index: &InvertedIndexReader, having: Having<'_>) -> io::Result<()> {
        let Having { mut rows, mut shapes } = having;
        shapes.retain(|shape, _| !found.sure_shapes.contains(shape));
        for (shape, term) in terms_of(index, &shapes)? {
            each_row(index, &term, shapes[&shape], &mut rows)?;
        }
        found.maybe.keep(&rows);
        Ok(())
    }

    /// Those of the shapes whose lines all contain what the hint says.
    fn sure_shapes(&self, shapes: &BTreeMap<DocId, &Place>, hint: &TextHint) -> BTreeSet<DocId> {
        if shapes.is_empty() {
            return BTreeSet::new();
        }
        let all = self.places.iter().flat_map(|place| place.shapes..place.documents.end);
        let texts = self.shapes.iter().flat_map(|bytes| shapes::stored(bytes));
        let contains_all = |text: &[u8]| {
            let text = std::str::from_utf8(text);
            text.is_ok_and(|text| hint.patterns().iter().all(|pattern| shapes::has(text, pattern)))
        };
        let sure = all.zip(texts).filter(|(id, text)| shapes.contains_key(id) && contains_all(text));
        sure.map(|(id, _)| id).collect()
    }

    /// The rows of documents.
    fn rows_of(&self, documents: &Rows) -> Rows {
        let mut rows = Rows::new(self.rows);
        for place in &self.places {
            let first = place.first_of_rows as usize;
            documents.each_within(first..first + place.of_rows().len(), |document| {
                let start = place.rows.start as usize + (document - first) * self.rows_per_document;
                let end = (start + self.rows_per_document).min(place.rows.end as usize);
                (start..end).for_each(|row| rows.add(row as u32));
            });
        }
        rows
    }
}

/// The file with the shapes of the index in `dir`, if it has one.
pub(super) fn shapes_in(dir: &Path) -> tantivy::Result<Option<OwnedBytes>> {
    match dir.join(shapes::FILE).exists() {
        true => Ok(Some(MmapDirectory::open(dir)?.open_read(Path::new(shapes::FILE))?.read_bytes()?)),
        false => Ok(None),
    }
}

/// Documents of rows that have one of the words looked for, and those of shapes, with the part that each is in.
struct Having<'p> {
    rows: Rows,
    shapes: BTreeMap<DocId, &'p Place>,
}

/// What the pieces so far leave. A shape whose lines all contain the text has every piece of it, so that the first says
/// which these are, and only rows of others are narrowed by those that follow.
struct Found {
    sure_shapes: BTreeSet<DocId>,
    sure: Rows,
    maybe: Rows,
}

/// The terms of shapes that rows have.
fn terms_of(
    index: &InvertedIndexReader,
    shapes: &BTreeMap<DocId, &Place>,
) -> io::Result<Vec<(DocId, TermInfo)>> {
    let term = |(shape, place): (&DocId, &&Place)| {
        index.terms().get(shapes::term(*shape - place.shapes)).map(|term| Some((*shape, term?)))
    };
    shapes.iter().filter_map(|shape| term(shape).transpose()).collect()
}

/// Adds the rows of a part that have the term of one of its shapes. In other parts it is that of another shape.
fn each_row(index: &InvertedIndexReader, term: &TermInfo, place: &Place, rows: &mut Rows) -> io::Result<()> {
    let Range { start, .. } = place.of_rows();
    each_document(index, term, place.of_rows(), |id| rows.add(id - start + place.first_of_rows))
}

/// The terms that a piece can be part of, and the mark of rows with overlong tokens. `None` when there are too many.
fn terms(index: &InvertedIndexReader, piece: &Piece) -> io::Result<Option<Vec<TermInfo>>> {
    let dictionary = index.terms();
    let mut found: Vec<TermInfo> = dictionary.get(b"")?.into_iter().collect();
    let wanted = piece.token.as_bytes();
    if piece.is_start && piece.is_end {
        found.extend(dictionary.get(wanted)?);
        return Ok(Some(found));
    }
    let range = if piece.is_start { dictionary.range().ge(wanted) } else { dictionary.range() };
    let mut stream = range.into_stream()?;
    let finder = Finder::new(wanted);
    while stream.advance() {
        let term = stream.key();
        let is_found = match (piece.is_start, piece.is_end) {
            (true, _) if !term.starts_with(wanted) => break,
            (true, _) => true,
            (false, true) => term.ends_with(wanted),
            (false, false) => finder.find(term).is_some(),
        };
        if is_found {
            found.push(stream.value().clone());
        }
        if found.len() > TOKENS_MAX {
            return Ok(None);
        }
    }
    Ok(Some(found))
}

/// The documents of a term that are in the range, a block at a time.
fn each_document(
    index: &InvertedIndexReader,
    term: &TermInfo,
    range: Range<DocId>,
    mut each: impl FnMut(DocId),
) -> io::Result<()> {
    let mut blocks = index.read_block_postings_from_terminfo(term, IndexRecordOption::Basic)?;
    if range.start > 0 {
        blocks.seek(range.start);
    }
    while let [first, .., last] | [first @ last] = blocks.docs() {
        let (is_begun, is_last) = (*first >= range.start, *last >= range.end);
        let below = |end: DocId| blocks.docs().partition_point(|id| *id < end);
        let from = if is_begun { 0 } else { below(range.start) };
        let to = if is_last { below(range.end) } else { blocks.docs().len() };
        blocks.docs()[from..to].iter().for_each(|id| each(*id));
        if is_last {
            break;
        }
        blocks.advance();
    }
    Ok(())
}

/// What `work` gives, or that a file is damaged: tantivy takes files apart as if they could not be, and panics.
pub(crate) fn caught<T>(doing: &str, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    std::panic::catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Error::damaged(format!("{doing}: its files are damaged"))))
}
