//! The index never loses a row that contains the text.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use proptest::prelude::*;
use tantivy::tokenizer::{TokenStream as _, Tokenizer as _};

use super::*;

fn tokens(text: &str) -> Vec<String> {
    let mut tokenizer = tokens::TextTokenizer::default();
    let mut stream = tokenizer.token_stream(text);
    let mut found = Vec::new();
    while stream.advance() {
        found.push(stream.token().text.clone());
    }
    found
}

#[test]
fn tokens_are_runs_of_letters_and_digits_in_lower_case() {
    assert_eq!(
        tokens("acquirer Timeout: order_id=ORD-4711"),
        ["acquirer", "timeout", "order", "id", "ord", "4711"]
    );
    assert_eq!(tokens("  "), Vec::<String>::new());
    assert_eq!(tokens("Stra\u{df}e \u{212A}elvin \u{17F}tep"), ["stra", "e", "kelvin", "step"]);
    let long = format!("a {} b", "x".repeat(70));
    assert_eq!(tokens(&long), ["a", &"x".repeat(64), "b", ""], "the mark comes last");
}

fn pieces(text: &str) -> Vec<(String, bool, bool)> {
    let hint = TextHint::default().and(text);
    hint.pieces.into_iter().map(|piece| (piece.token, piece.is_start, piece.is_end)).collect()
}

#[test]
fn a_text_tells_of_its_tokens_what_it_knows_of_their_ends() {
    let piece = |token: &str, is_start, is_end| (token.to_owned(), is_start, is_end);
    assert_eq!(pieces("Timeout"), [piece("timeout", false, false)]);
    assert_eq!(pieces("timeout: ord"), [piece("timeout", false, true), piece("ord", true, false)]);
    assert_eq!(pieces("a b c"), [piece("b", true, true)], "the ends may be parts of anything");
    assert_eq!(pieces("=ORD-4711 "), [piece("ord", true, true), piece("4711", true, true)]);
    assert!(pieces("..., ab").is_empty());
}

fn batch(texts: &[String]) -> RecordBatch {
    let column: ArrayRef = Arc::new(StringArray::from_iter_values(texts));
    RecordBatch::try_from_iter([("body", column)]).expect("one column")
}

fn index_of(texts: &[String]) -> (tempfile::TempDir, TextIndex) {
    let dir = tempfile::tempdir().expect("a folder");
    let mut writer = TextIndexWriter::new(dir.path(), "body", 1);
    writer.push(&batch(texts)).expect("indexed");
    writer.finish().expect("written");
    let index = TextIndex::open(dir.path(), texts.len()).expect("opens");
    (dir, index)
}

/// An index of these texts, put together from indexes of them in so many parts; every third of them is made of its rows.
fn index_of_parts(
    texts: &[String],
    parts: usize,
    rows_per_document: usize,
) -> (tempfile::TempDir, TextIndex) {
    let dir = tempfile::tempdir().expect("a folder");
    let mut writer = TextIndexWriter::new(&dir.path().join("all"), "body", rows_per_document);
    for (number, texts) in texts.chunks(texts.len().div_ceil(parts)).enumerate() {
        if number % 3 == 2 {
            writer.push(&batch(texts)).expect("indexed");
            continue;
        }
        let part = dir.path().join(number.to_string());
        let mut of_part = TextIndexWriter::new(&part, "body", rows_per_document);
        of_part.push(&batch(texts)).expect("indexed");
        of_part.finish().expect("written");
        let index = TextIndex::open(&part, texts.len()).expect("opens");
        let whole = index.as_part().expect("sound").expect("one segment");
        assert!(writer.append(whole).expect("appended"), "it has the same fields");
        // What reads it has it still.
        std::fs::remove_dir_all(&part).expect("removed");
    }
    writer.finish().expect("written");
    let left: Vec<_> = std::fs::read_dir(dir.path()).expect("a folder").flatten().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    let index = TextIndex::open(&dir.path().join("all"), texts.len()).expect("opens");
    (dir, index)
}

/// The rows that the index does not rule out.
fn possible(index: &TextIndex, text: &str) -> Option<Vec<usize>> {
    let found = index.rows(&TextHint::default().and(text)).expect("readable")?;
    assert!(found.sure.to_vec().iter().all(|row| !found.maybe.contains(*row)), "each row once");
    let mut rows = [found.sure.to_vec(), found.maybe.to_vec()].concat();
    rows.sort_unstable();
    Some(rows)
}

#[test]
fn rows_of_a_shape_that_has_the_text_are_known_without_reading_them() {
    let texts: Vec<String> = (0..6_000)
        .map(|row| match row % 3 {
            0 => format!("stock Reserved for order {row}, item {}", row % 7),
            1 => format!("stock {row} reserved"),
            _ => format!("rolling stock reserved{row}"),
        })
        .collect();
    for (_dir, index) in [index_of(&texts), index_of_parts(&texts, 7, 1)] {
        let counts = |hint: TextHint| {
            let found = index.rows(&hint).expect("readable").expect("something is ruled out");
            (found.sure.count(), found.maybe.count())
        };
        let and = |text: &str| TextHint::default().and(text);
        // What is part of a word with a digit stands in no shape: these rows are read.
        assert_eq!(counts(and("STOCK reserved")), (2_000, 4_000));
        assert_eq!(counts(and("stock reserved for order").and("item")), (2_000, 0));
        assert_eq!(counts(and("stock reserved for order").and("item 3")), (0, 2_000));
        assert_eq!(counts(TextHint::default().and_pattern(&["stock", "for order", "item"])), (2_000, 0));
        assert_eq!(counts(TextHint::default().and_pattern(&["item", "stock reserved"])), (0, 2_000));
        assert_eq!(counts(and(" stock ")), (2_000, 4_000));
    }
}

#[test]
fn the_shapes_of_one_part_are_not_those_of_another() {
    // In each part these are the first shape: what they are called is the same.
    let of_part = |part: usize| (0..300).map(move |row| format!("{} {row}", ["red", "green", "blue"][part]));
    let texts: Vec<String> = (0..3).flat_map(of_part).collect();
    let (_dir, index) = index_of_parts(&texts, 3, 1);
    assert_eq!(possible(&index, "green "), Some((300..600).collect()));
    let sure = index.rows(&TextHint::default().and("red ")).expect("readable").expect("ruled out").sure;
    assert_eq!(sure.to_vec(), (0..300).collect::<Vec<_>>());
}

#[test]
fn rows_of_large_parts_are_known_by_the_shapes_that_were_stored() {
    let texts: Vec<String> = (0..40_000).map(line).collect();
    let (_dir, index) = index_of_parts(&texts, 2, 1);
    let found = index.rows(&TextHint::default().and("order_id=ORD-")).expect("readable").expect("ruled out");
    assert_eq!((found.sure.count(), found.maybe.count()), (40_000, 0));
    for wanted in ["acquirer ", "basket x", " order_id=", "miss yhit"] {
        let matches = |row: &usize| texts[*row].contains(wanted);
        let expected: Vec<usize> = (0..texts.len()).filter(matches).collect();
        let found = index.rows(&TextHint::default().and(wanted)).expect("readable").expect("ruled out");
        assert_eq!(found.sure.to_vec(), expected, "{wanted}");
    }
}

#[test]
fn documents_of_many_rows_are_those_of_their_part() {
    let texts: Vec<String> = (0..1_000).map(|row| format!("name{} of", row / 10)).collect();
    let (_dir, index) = index_of_parts(&texts, 4, ROWS_PER_DOCUMENT);
    // Parts of 250 rows: 0..128 and 128..250 of each.
    assert_eq!(possible(&index, "name30 "), Some((250..378).collect()));
    assert_eq!(possible(&index, "name99 "), Some((878..1_000).collect()));
}

#[test]
fn a_part_that_went_bad_after_it_was_looked_at_costs_the_index_and_leaves_nothing() {
    let texts: Vec<String> = (0..300).map(|row| format!("step {row}")).collect();
    let (dir, index) = index_of(&texts);
    let all = tempfile::tempdir().expect("a folder");
    let mut writer = TextIndexWriter::new(&all.path().join("text"), "body", 1);
    writer.push(&batch(&texts)).expect("indexed");
    assert!(writer.append(index.as_part().expect("sound").expect("one segment")).expect("appended"));
    let files = std::fs::read_dir(dir.path()).expect("a folder").flatten().map(|file| file.path());
    for path in files.filter(|path| path.extension() == Some("store".as_ref())) {
        let bytes = std::fs::metadata(&path).expect("there").len() as usize;
        // In place: what was mapped shows it.
        let mut file = std::fs::File::options().write(true).open(&path).expect("there");
        std::io::Write::write_all(&mut file, &vec![0xff; bytes]).expect("written");
    }
    writer.finish().expect("the rows are there without it");
    assert_eq!(std::fs::read_dir(all.path()).expect("a folder").count(), 0);
}

#[test]
fn an_index_of_other_fields_is_no_part() {
    let texts: Vec<String> = (0..300).map(|row| format!("step {row}")).collect();
    let (dir, index) = index_of(&texts);
    let mut writer = TextIndexWriter::new(&dir.path().join("names"), "body", ROWS_PER_DOCUMENT);
    assert!(!writer.append(index.as_part().expect("sound").expect("one segment")).expect("refused"));
}

#[test]
fn a_rare_word_rules_out_the_other_rows() {
    let texts: Vec<String> = (0..1_000).map(|row| format!("step {row} of Order-{row} done")).collect();
    let (_dir, index) = index_of(&texts);
    let rows = |text: &str| possible(&index, text);
    assert_eq!(rows("order-777 "), Some(vec![777]));
    assert_eq!(rows(" 77 of"), Some(vec![77]));
    assert_eq!(rows("nowhere"), Some(vec![]));
    assert_eq!(rows("a"), None, "it says too little");
}

#[test]
fn few_rows_are_read_rather_than_narrowed_by_a_walk_over_all_words() {
    let texts: Vec<String> = (0..1_000).map(|row| format!("item {row} of ORD-{}", row + 5_000)).collect();
    let (_dir, index) = index_of(&texts);
    let rows = |text: &str| possible(&index, text);
    // `item-5711` is in no row, but one has a word that begins with 5711, and that is few enough.
    assert_eq!(rows("tem-5711"), Some(vec![711]));
    assert_eq!(rows("ORD-9999"), Some(vec![]));
}

/// Lines of a program: few templates, with numbers in between.
fn line(row: usize) -> String {
    const WORDS: [&str; 12] = [
        "acquirer", "timeout", "retry", "basket", "checkout", "payment", "shipped", "queue", "cache",
        "order", "miss", "hit",
    ];
    let template = row * 7 % 40;
    let mut text = String::new();
    for at in 0..20 {
        text.push_str(WORDS[(template * 31 + at * at * 7 + at) % 12]);
        text.push_str([" ", " x", " y"][(template + at) % 3]);
    }
    format!("{text} order_id=ORD-{:08} took {} us", row / 3, row * 7_919 % 90_000)
}

#[test]
fn lines_of_few_templates_are_indexed_in_a_quarter_of_what_a_document_of_all_words_takes() {
    let texts: Vec<String> = (0..40_000).map(line).collect();
    let (dir, index) = index_of(&texts);
    let bytes = crate::folder::bytes_below(dir.path()).expect("readable");
    assert!(bytes < 40_000 * 12, "{} bytes a line", bytes as f64 / 40_000.0);
    for wanted in ["ORD-00004711", "took 77 us", "acquirer", "cquire", "00471", "timeout xretry", " us", "zz"]
    {
        let found = possible(&index, wanted);
        let matches = |row: &usize| texts[*row].to_ascii_lowercase().contains(&wanted.to_ascii_lowercase());
        let expected: Vec<usize> = (0..texts.len()).filter(matches).collect();
        if let Some(found) = found {
            assert!(expected.iter().all(|row| found.binary_search(row).is_ok()), "{wanted}");
            assert!(
                found.len() <= 2 * expected.len() + 40 || expected.len() > 10_000,
                "{wanted}: {}",
                found.len()
            );
        }
    }
}

/// Texts of few letters, so that they contain each other.
fn text() -> impl Strategy<Value = String> {
    prop::string::string_regex("[aAkKsS12 ._\u{212A}\u{17F}\u{df}]{0,14}").expect("a pattern")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_row_that_contains_the_text_is_ruled_out(
        mut texts in prop::collection::vec(text(), 1..30),
        wanted in text(),
        long in 60..70_usize,
        parts in 1..5_usize,
    ) {
        texts.push(format!("{}{wanted}", "a".repeat(long)));
        let (_dir, index) = index_of_parts(&texts, parts, 1);
        let fold = |text: &str| -> String {
            text.chars().map(|char| match char {
                '\u{212A}' => 'k',
                '\u{17F}' => 's',
                _ => char.to_ascii_lowercase(),
            }).collect()
        };
        let found = possible(&index, &wanted);
        let sure = index.rows(&TextHint::default().and(&wanted)).expect("readable");
        for row in sure.iter().flat_map(|rows| rows.sure.to_vec()) {
            prop_assert!(fold(&texts[row]).contains(&fold(&wanted)), "{:?} {wanted:?}", texts[row]);
        }
        for (row, text) in texts.iter().enumerate() {
            if fold(text).contains(&fold(&wanted)) {
                prop_assert!(found.as_ref().is_none_or(|rows| rows.contains(&row)), "{text:?} {wanted:?}");
            }
        }
    }
}
