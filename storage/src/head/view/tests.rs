//! What a view finds is what a walk over all rows finds, whatever is indexed.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use model::{IdRules, Signal};
use prost::Message as _;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::HeadView;
use crate::decode::decode;
use crate::head::{HeadBatch, TermIndex};
use crate::rows::{LogRows, Wanted};
use crate::testing::{NOW, log, logs_request};

/// Batches of 1 to 6 records of few traces and orders, numbered one after another.
fn batches(rng: &mut StdRng, count: usize) -> Vec<Arc<HeadBatch>> {
    let mut rows_before = 0;
    (0..count)
        .map(|batch| {
            let records = (0..rng.random_range(1..=6)).map(|at| {
                let order = ["", "ORD-1", "ORD-2", "ORD-3"][rng.random_range(0..4)];
                log(&format!("{batch}/{at}"), rng.random_range(0..4), order, 0)
            });
            let request = logs_request(records.collect()).encode_to_vec();
            let decoded = decode(Signal::Logs, &request, &IdRules::default(), NOW, 100).expect("decodes");
            let batch = HeadBatch::new(decoded, rows_before);
            rows_before = batch.numbers().end;
            batch
        })
        .collect()
}

/// Indexes of runs of neighbours, with gaps between them.
fn indexes(rng: &mut StdRng, batches: &[Arc<HeadBatch>]) -> Vec<Arc<TermIndex>> {
    let (mut indexes, mut rest) = (Vec::new(), batches);
    while !rest.is_empty() {
        let (run, others) = rest.split_at(rng.random_range(1..=rest.len()));
        let own: Vec<_> = run.iter().map(|batch| batch.own_index()).collect();
        match rng.random_range(0..3) {
            0 => {}
            1 => indexes.extend(own),
            _ => indexes.push(Arc::new(TermIndex::merged(&own).expect("few rows"))),
        }
        rest = others;
    }
    indexes
}

fn bodies(batch: &HeadBatch, rows: impl Iterator<Item = usize>) -> Vec<String> {
    let view = LogRows::new(&batch.rows);
    rows.map(|row| view.body(row).to_owned()).collect()
}

fn carrying(view: &HeadView, term: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    view.each_carrier(&Wanted::new([term]), &mut |batch, _, row| {
        found.extend(bodies(batch, std::iter::once(row)));
        ControlFlow::Continue(())
    });
    found
}

fn walked(batches: &[Arc<HeadBatch>], term: &str) -> BTreeSet<String> {
    let carriers = batches.iter().flat_map(|batch| {
        let carries = crate::rows::carrying(&batch.rows, term);
        bodies(batch, carries.enumerate().filter(|(_, carries)| *carries).map(|(row, _)| row))
    });
    carriers.collect()
}

fn terms() -> Vec<String> {
    let orders = (1..5).map(|order| format!("order_id=ORD-{order}"));
    orders.chain((1..5).map(|trace| format!("trace_id={}", format!("{trace:02x}").repeat(16)))).collect()
}

#[test]
fn a_view_finds_what_a_walk_finds_whatever_is_indexed_and_deleted() {
    for seed in 0..60 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut batches = batches(&mut rng, 20);
        let indexes = indexes(&mut rng, &batches);
        for _ in 0..rng.random_range(0..4) {
            let at = rng.random_range(0..batches.len());
            if let Some(left) = batches[at].without("order_id=ORD-1").expect("filters") {
                batches[at] = left;
            }
        }
        let view = HeadView::new(Signal::Logs, batches.clone(), indexes);
        for term in terms() {
            assert_eq!(carrying(&view, &term), walked(&batches, &term), "seed {seed}, {term}");
        }
    }
}

#[test]
fn a_row_brings_the_rows_of_its_trace_within_its_batch() {
    let mut rng = StdRng::seed_from_u64(7);
    let batches = batches(&mut rng, 30);
    let view = HeadView::new(Signal::Logs, batches.clone(), indexes(&mut rng, &batches));
    for (rows_before, carriers) in view.carriers(&Wanted::new(["order_id=ORD-2"])) {
        let batch = batches.iter().find(|batch| batch.rows_before == rows_before).expect("a batch of it");
        let logs = LogRows::new(&batch.rows);
        let is_wanted = |row: &usize| {
            carriers.iter().any(|carrier| {
                let carrier = *carrier as usize;
                *row == carrier
                    || (logs.trace_id(carrier).is_some() && logs.trace_id(carrier) == logs.trace_id(*row))
            })
        };
        let expected: Vec<u32> = (0..logs.len()).filter(is_wanted).map(|row| row as u32).collect();
        assert_eq!(view.groups_of(batch, &carriers, usize::MAX).rows, expected);
        let last = view.groups_of(batch, &carriers, 1);
        assert_eq!(last.groups, 1);
        assert!(last.rows.iter().any(|row| Some(row) == carriers.last()), "the last group is kept");
    }
}

#[test]
fn a_search_ends_when_it_is_told_to() {
    let batches = batches(&mut StdRng::seed_from_u64(3), 20);
    let view = HeadView::new(Signal::Logs, batches, Vec::new());
    let mut seen = 0;
    view.each_carrier(&Wanted::new(["order_id=ORD-1"]), &mut |_, _, _| {
        seen += 1;
        ControlFlow::Break(())
    });
    assert_eq!(seen, 1);
}
