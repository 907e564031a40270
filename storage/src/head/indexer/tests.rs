//! Indexes follow the head: merged as it grows, gone with what is sealed.

use model::Signal;

use super::{FAN_IN, index_all};
use crate::Store;
use crate::testing::{append_logs, found, log, open};

async fn append(store: &Store, batches: usize) {
    for batch in 0..batches {
        append_logs(store, vec![log(&format!("record {batch}"), 1, "ORD-1", 0)]).await;
    }
}

fn tiers(store: &Store) -> Vec<u32> {
    let state = store.shared().state();
    state.indexes[Signal::Logs.index()].iter().map(|index| index.tier()).collect()
}

#[tokio::test]
async fn neighbours_of_one_tier_are_merged_and_seals_take_their_indexes_along() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    append(&store, FAN_IN * 2 + 1).await;
    // Beside the task of the store, which does the same.
    index_all(store.shared());
    let all = tiers(&store);
    assert!(all.len() < FAN_IN * 2, "{all:?}");
    let covered = store.shared().state().indexes[Signal::Logs.index()].last().expect("one").rows().end;
    assert_eq!(covered, (FAN_IN * 2 + 1) as u64);
    store.seal().await.expect("seals");
    assert_eq!(tiers(&store), [] as [u32; 0]);
}

#[tokio::test]
async fn what_is_replayed_is_found_at_once_and_indexed_without_anything_new() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    append(&store, FAN_IN).await;
    drop(store);
    let store = open(dir.path()).await;
    assert_eq!(found(&store.snapshot(), Signal::Logs, "order_id=ORD-1").len(), FAN_IN);
    let indexed = async {
        while tiers(&store).is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), indexed).await.expect("indexed");
    assert_eq!(found(&store.snapshot(), Signal::Logs, "order_id=ORD-1").len(), FAN_IN);
}
