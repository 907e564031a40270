//! The cache holds what it may, and rows read through it are the file's.

use std::ops::{ControlFlow, Range};
use std::path::Path;

use arrow::array::AsArray as _;
use bytes::Bytes;
use model::{Signal, TimeRange};
use parquet::basic::Encoding;
use proptest::prelude::*;

use super::*;
use crate::segment::reader::Segment;
use crate::testing::*;

fn page(bytes: usize) -> Page {
    let buf = Bytes::from(vec![7; bytes]);
    Page::DictionaryPage { buf, num_values: 1, encoding: Encoding::PLAIN, is_sorted: false }
}

#[test]
fn what_was_not_used_for_longest_goes_first_and_no_more_is_held_than_allowed() {
    let cache = PageCache::new(10 * (1_000 + PAGE_OVERHEAD));
    let file = cache.of_file();
    let held = |at: i64| cache.get(&(file.file, at)).is_some();
    for at in 0..10 {
        cache.put((file.file, at), &page(1_000));
    }
    assert!(held(0), "now it was used last");
    cache.put((file.file, 10), &page(1_000));
    assert!(held(0) && !held(1) && held(10));
    cache.put((file.file, 10), &page(900));
    assert_eq!(cache.pages().bytes, 10 * (1_000 + PAGE_OVERHEAD) - 100, "counted once");
    cache.put((file.file, 11), &page(10_000));
    assert!(!held(11), "too large a part of all");
}

#[test]
fn pages_go_with_their_file_and_stay_for_others() {
    let cache = PageCache::new(1 << 20);
    let (gone, stays) = (cache.of_file(), cache.of_file());
    for file in [&gone, &stays] {
        cache.put((file.file, 4), &page(100));
    }
    let place = (gone.file, 4);
    drop(gone);
    assert!(cache.get(&place).is_none() && cache.get(&(stays.file, 4)).is_some());
    drop(stays);
    assert_eq!(cache.pages().bytes, 0);
}

#[test]
fn a_cache_of_no_bytes_keeps_nothing() {
    let cache = PageCache::new(0);
    let file = cache.of_file();
    cache.put((file.file, 4), &page(1));
    assert!(cache.get(&(file.file, 4)).is_none());
}

/// Rows of several pages.
const ROWS: usize = 20_000;

async fn written(dir: &Path) -> Arc<Segment> {
    let store = open(dir).await;
    for lot in 0..ROWS / 2_000 {
        let body = |at: usize| format!("line {} of {lot}", at * 7919 % 1_009);
        let logs = |at: usize| log(&body(at), (at % 250) as u8, &format!("ORD-{}", at % 37), at as i64);
        append_logs(&store, (0..2_000).map(logs).collect()).await;
    }
    store.seal().await.expect("sealed");
    let segments = store.shared().state().segments.clone();
    assert_eq!((segments.len(), segments[0].signal()), (1, Signal::Logs));
    Arc::clone(&segments[0])
}

fn only(range: Range<usize>) -> Vec<Range<usize>> {
    std::iter::once(range).collect()
}

fn ranges_of(cuts: &[prop::sample::Index]) -> Vec<Range<usize>> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(ROWS)).collect();
    cuts.sort_unstable();
    cuts.dedup();
    cuts.chunks_exact(2).map(|pair| pair[0]..pair[1].min(pair[0] + 300)).collect()
}

#[tokio::test]
async fn rows_read_through_the_cache_are_those_of_the_file_whatever_it_holds() {
    let dir = tempfile::tempdir().expect("a folder");
    let meta = written(dir.path()).await.meta().clone();
    let plain = Segment::open(dir.path(), meta.clone()).expect("opens");
    let caches = [0, 40_000, 64 << 20].map(PageCache::new);
    let cached = caches
        .each_ref()
        .map(|cache| Segment::open_with(dir.path().into(), meta.clone(), cache).expect("opens"));
    let cuts = prop::collection::vec(any::<prop::sample::Index>(), 2..12);
    let columns =
        prop::sample::select(vec![&[][..], &["body"], &["trace_id", "ids"], &["attributes", "time"]]);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(40));
    runner
        .run(&(cuts, columns), |(cuts, columns)| {
            let ranges = ranges_of(&cuts);
            prop_assume!(!ranges.is_empty());
            // Decompressed by Parquet's own reader.
            let mut all = Vec::new();
            let mut visit = |batch| {
                all.push(batch);
                Ok(ControlFlow::Continue(()))
            };
            plain.scan(&TimeRange::ALL, columns, &mut visit).expect("readable").is_break();
            let all = arrow::compute::concat_batches(&all[0].schema(), &all).expect("of one schema");
            for segment in &cached {
                let mut read = segment.read(ranges.clone(), columns).expect("readable").into_iter();
                let mut batch = read.next();
                let mut at = 0;
                for row in ranges.iter().cloned().flatten() {
                    while batch.as_ref().is_some_and(|batch| at == batch.num_rows()) {
                        (batch, at) = (read.next(), 0);
                    }
                    let Some(batch) = &batch else {
                        return Err(TestCaseError::fail(format!("no row {row}")));
                    };
                    prop_assert_eq!(batch.slice(at, 1), all.slice(row, 1));
                    at += 1;
                }
                prop_assert!(batch.is_none_or(|batch| at == batch.num_rows()) && read.next().is_none());
            }
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
    assert!(caches[1].pages().bytes <= 40_000 && caches[2].pages().bytes > 40_000);
}

#[tokio::test]
async fn what_was_read_once_needs_the_file_no_more() {
    let dir = tempfile::tempdir().expect("a folder");
    let meta = written(dir.path()).await.meta().clone();
    let cache = PageCache::new(64 << 20);
    let segment = Segment::open_with(dir.path().into(), meta, &cache).expect("opens");
    let first = segment.read(only(5..9), &["body"]).expect("readable");
    std::fs::remove_file(segment.data_path()).expect("removable");
    assert_eq!(segment.read(only(5..9), &["body"]).expect("in the cache"), first);
    assert!(segment.read(only(ROWS - 3..ROWS), &["body"]).is_err(), "another page");
}

#[tokio::test]
async fn a_group_that_straddles_row_groups_is_read_whole_and_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    let (in_group, all) = (crate::segment::form::ROWS_PER_GROUP, crate::segment::form::ROWS_PER_GROUP + 500);
    let rows: Vec<usize> = (0..all).collect();
    for lot in rows.chunks(2_000) {
        // Two traces in one minute: the second begins before the end of the row group.
        let logs = lot
            .iter()
            .map(|at| log(&format!("line {at}"), if *at < in_group - 10 { 1 } else { 2 }, "", *at as i64));
        append_logs(&store, logs.collect()).await;
    }
    store.seal().await.expect("sealed");
    let segment = Arc::clone(&store.shared().state().segments[0]);
    let groups = [0..in_group - 10, in_group - 10..all - 3, all - 3..all - 1, all - 1..all];
    assert_eq!(segment.chunks(&groups), [&groups[..2], &groups[2..]]);
    assert!(segment.chunks(&[]).is_empty());
    let snapshot = store.snapshot();
    let mut finder = crate::Finder::new(&snapshot, TimeRange::ALL);
    let term = format!("trace_id={}", "02".repeat(16));
    let mut found = Vec::new();
    finder.find(Signal::Logs, &[term], &mut |place, _, _| found.push(place)).expect("readable");
    assert_eq!(found.len(), 510);
    let bodies: Vec<String> = finder
        .read(Signal::Logs, &found, &["body"])
        .expect("readable")
        .iter()
        .flat_map(|part| {
            let bodies = part.batch.column_by_name("body").expect("asked for").as_string::<i32>();
            part.rows.iter().map(|row| bodies.value(*row as usize).to_owned())
        })
        .collect();
    let wanted: Vec<String> = (in_group - 10..all).map(|at| format!("line {at}")).collect();
    assert_eq!(bodies, wanted);
}

#[tokio::test]
async fn the_disk_is_asked_for_the_pages_of_the_rows_and_their_dictionary_and_for_nothing_that_is_known() {
    let dir = tempfile::tempdir().expect("a folder");
    let segment = written(dir.path()).await;
    let metadata = segment.parquet().metadata();
    let columns = metadata.file_metadata().schema_descr().columns();
    let column = columns.iter().position(|column| column.name() == "body").expect("logs have bodies");
    let chunk = Chunk { metadata: Arc::clone(metadata), group: 0, column };
    let pages = chunk.locations().expect("there is an offset index");
    let bytes = |at: usize| {
        let start = pages[at].offset as u64;
        start..start + pages[at].compressed_page_size as u64
    };
    let (start, last) = (chunk.column().byte_range().0, pages.len() - 1);
    assert!(last > 2 && start < bytes(0).start, "several pages behind a dictionary");
    let dictionary = start..bytes(0).start;
    let first_of = |at: usize| pages[at].first_row_index;
    let row = |at: i64| at..at + 1;
    let (edge, beginning) = (first_of(2) - 1..first_of(2) + 1, start..bytes(0).end);
    let asked = |rows: &[Range<i64>]| chunk.bytes_of(rows, &|_| false);
    assert_eq!(asked(&[row(first_of(2))]), [dictionary.clone(), bytes(2)]);
    assert_eq!(asked(&[edge]), [dictionary.clone(), bytes(1).start..bytes(2).end]);
    assert_eq!(asked(&[row(0), row(3)]), [beginning]);
    assert_eq!(asked(&[row(chunk.rows() - 1)]), [dictionary, bytes(last)]);
    let known = |offset: i64| offset == start as i64 || offset == pages[2].offset;
    assert_eq!(chunk.bytes_of(&[row(first_of(2))], &known), Vec::<Range<u64>>::new());
}
