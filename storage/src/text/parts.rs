//! What a text index is made of: that of rows that were indexed together, or several such, one behind the other.
//!
//! ```text
//! documents   rows of a │ shapes of a │ rows of b │ shapes of b        each part numbers its shapes from 0
//!
//! parts.json  [[358000,358123],[402000,402077]]                        rows and documents of each; without the file there is one part
//! ```
//!
//! Owns: this file, where a document belongs. Does not own: its checksum (`files`).

use std::io;
use std::ops::Range;
use std::path::Path;

use tantivy::DocId;

pub(super) const FILE: &str = "parts.json";

/// Rows and documents of one part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) rows: u32,
    pub(super) documents: u32,
}

/// Writes what an index in `dir` is made of.
pub(super) fn write(dir: &Path, parts: &[Part]) -> io::Result<()> {
    let pairs: Vec<[u32; 2]> = parts.iter().map(|part| [part.rows, part.documents]).collect();
    std::fs::write(dir.join(FILE), serde_json::to_vec(&pairs)?)
}

/// What an index with so many rows and documents is made of.
pub(super) fn read(dir: &Path, all: Part) -> io::Result<Vec<Part>> {
    let pairs: Vec<[u32; 2]> = match std::fs::read(dir.join(FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![all]),
        bytes => serde_json::from_slice(&bytes?)?,
    };
    let parts: Vec<Part> = pairs.into_iter().map(|[rows, documents]| Part { rows, documents }).collect();
    let sum = |of: fn(&Part) -> u32| parts.iter().map(|part| u64::from(of(part))).sum::<u64>();
    let found = (sum(|part| part.rows), sum(|part| part.documents));
    if found != (u64::from(all.rows), u64::from(all.documents)) {
        let Part { rows, documents } = all;
        return Err(io::Error::other(format!(
            "`{FILE}` has {} rows in {} documents, there are {rows} in {documents}",
            found.0, found.1
        )));
    }
    Ok(parts)
}

/// Where the documents of one part are, and what they stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Its documents: those of rows, then those of shapes.
    pub(super) documents: Range<DocId>,
    /// The first of a shape.
    pub(super) shapes: DocId,
    /// The first of its documents of rows, counted without those of shapes.
    pub(super) first_of_rows: u32,
    /// Its rows.
    pub(super) rows: Range<u32>,
}

/// The places of all parts, in order. `None` when one has fewer documents than its rows need.
pub(super) fn places(parts: &[Part], rows_per_document: usize) -> Option<Vec<Place>> {
    let (mut document, mut row, mut of_rows) = (0, 0, 0);
    let place = |part: &Part| {
        let row_documents = (part.rows as usize).div_ceil(rows_per_document) as u32;
        if part.documents < row_documents {
            return None;
        }
        let place = Place {
            documents: document..document + part.documents,
            shapes: document + row_documents,
            first_of_rows: of_rows,
            rows: row..row + part.rows,
        };
        (document, row, of_rows) = (place.documents.end, place.rows.end, of_rows + row_documents);
        Some(place)
    };
    parts.iter().map(place).collect()
}

impl Place {
    /// Its documents of rows.
    pub(super) const fn of_rows(&self) -> Range<DocId> {
        self.documents.start..self.shapes
    }
}

/// What a document stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Document<'p> {
    /// Rows: its number among the documents of rows.
    Rows(u32),
    /// A shape of this part.
    Shape(&'p Place),
}

/// Says of rising documents what they stand for.
pub(super) struct Walk<'p> {
    places: std::slice::Iter<'p, Place>,
    at: Option<&'p Place>,
}

impl<'p> Walk<'p> {
    pub(super) fn new(places: &'p [Place]) -> Self {
        let mut places = places.iter();
        let at = places.next();
        Self { places, at }
    }

    /// `None` of a document that is none of the index.
    pub(super) fn document(&mut self, document: DocId) -> Option<Document<'p>> {
        while let Some(place) = self.at {
            if document < place.shapes {
                return Some(Document::Rows(document - place.documents.start + place.first_of_rows));
            }
            if document < place.documents.end {
                return Some(Document::Shape(place));
            }
            self.at = self.places.next();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part((rows, documents): (u32, u32)) -> Part {
        Part { rows, documents }
    }

    #[test]
    fn documents_of_every_part_are_told_apart() {
        let parts = [(3, 5), (1, 1), (2, 3)].map(part);
        let places = places(&parts, 1).expect("enough documents");
        let mut walk = Walk::new(&places);
        let found: Vec<_> = (0..10).map(|document| walk.document(document)).collect();
        let (rows, shape) =
            (|row| Some(Document::Rows(row)), |part: usize| Some(Document::Shape(&places[part])));
        let expected =
            [rows(0), rows(1), rows(2), shape(0), shape(0), rows(3), rows(4), rows(5), shape(2), None];
        assert_eq!(found, expected);
        assert_eq!(places.iter().map(|place| place.rows.clone()).collect::<Vec<_>>(), [0..3, 3..4, 4..6]);
    }

    #[test]
    fn a_part_whose_rows_do_not_fill_its_last_document_begins_the_next_with_one_of_its_own() {
        let places = places(&[(130, 2), (128, 1)].map(part), 128).expect("enough documents");
        assert_eq!(
            (places[1].documents.clone(), places[1].first_of_rows, places[1].rows.start),
            (2..3, 2, 130)
        );
        assert!(super::places(&[part((130, 1))], 128).is_none());
    }

    #[test]
    fn a_list_that_does_not_fit_the_index_is_an_error() {
        let dir = tempfile::tempdir().expect("a folder");
        assert_eq!(read(dir.path(), part((7, 9))).expect("no list"), [part((7, 9))]);
        let parts = [(3, 5), (4, 4)].map(part);
        write(dir.path(), &parts).expect("written");
        assert_eq!(read(dir.path(), part((7, 9))).expect("fits"), parts);
        assert!(read(dir.path(), part((8, 9))).is_err() && read(dir.path(), part((7, 8))).is_err());
        for bytes in ["", "[", "[[7]]", "[[-1,2]]", "[[4294967295,1],[4294967295,1]]"] {
            std::fs::write(dir.path().join(FILE), bytes).expect("written");
            assert!(read(dir.path(), part((7, 9))).is_err(), "{bytes}");
        }
    }
}
