//! Which arrivals make a followed journey be computed again.

use std::time::Duration;

use storage::{HeadBatch, Store};

use super::super::tests::{World, check_invariants, log, span, store as stores};
use super::*;

/// The batches that `world` becomes, as a subscriber gets them.
async fn arriving(store: &Store, world: &World) -> Vec<Arc<HeadBatch>> {
    let mut batches = store.subscribe();
    stores::fill(store, world).await;
    let mut all = Vec::new();
    while let Ok(batch) = batches.try_recv() {
        all.push(batch);
    }
    assert_eq!(all.len(), world.spans.len() + world.logs.len(), "one batch a record");
    all
}

#[tokio::test]
async fn only_what_names_a_trace_an_id_or_a_link_of_the_journey_concerns_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = stores::open(dir.path()).await;
    let own = World::of(vec![span(1, 1, 0, "shop", "buy", 0, 5).id("order_id=X").id("user_id=u")], vec![]);
    stores::fill(&store, &own).await;
    let journey = stores::stored(&store, "X").await;
    let interest = Interest::of(&journey, store.ids());

    let theirs = World::of(
        vec![
            span(7, 70, 0, "shop", "other", 0, 5).id("order_id=Y"),
            span(8, 80, 0, "shop", "other of the user", 0, 5).id("user_id=u"),
        ],
        vec![log(0, 0, "n", "nothing", 1), log(7, 70, "n", "of the other", 1)],
    );
    for batch in arriving(&store, &theirs).await {
        assert!(!interest.concerns(&batch), "{batch:?}");
    }
    let ours = World::of(
        vec![
            span(1, 2, 1, "shop", "child", 1, 2),
            span(2, 3, 0, "bill", "same order", 1, 2).id("order_id=X"),
            span(3, 4, 0, "mail", "linked", 1, 2).link(1, 1),
        ],
        vec![log(1, 1, "shop", "in the trace", 1), log(0, 0, "nginx", "by id", 1).id("order_id=X")],
    );
    for batch in arriving(&store, &ours).await {
        assert!(interest.concerns(&batch), "{batch:?}");
    }
    store.close().await.expect("closed");
}

#[tokio::test]
async fn a_journey_is_sent_again_when_it_changed_and_not_because_time_has_passed() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = stores::open(dir.path()).await;
    let sent = span(1, 1, 0, "shop", "send", 0, 5).produces("orders").id("order_id=X");
    stores::fill(&store, &World::of(vec![sent], vec![])).await;
    let mut follower = Follower::new(&store);
    let first = stores::stored(&store, "X").await;
    assert!(follower.take(&first, Duration::ZERO));

    let mut later = first.clone();
    later.advance(first.start_time.plus(60_000_000_000_000));
    check_invariants(&later);
    let waited = |journey: &Journey| journey.rows.iter().find(|row| row.is_open).map(|row| row.duration_nano);
    assert!(waited(&later) > waited(&first), "the message has waited longer");
    assert!(!follower.take(&later, Duration::ZERO), "and that is all");

    let taken = span(2, 2, 0, "bill", "take", 30, 5).consumes("orders").link(1, 1);
    stores::fill(&store, &World::of(vec![taken], vec![])).await;
    let wait = tokio::time::timeout(Duration::from_secs(20), follower.wait());
    assert_eq!(wait.await.expect("in time"), Arrival::Concerns);
    assert!(follower.take(&stores::stored(&store, "X").await, Duration::ZERO));
    store.close().await.expect("closed");
    drop(store);
    let end = tokio::time::timeout(Duration::from_secs(20), follower.wait());
    assert_eq!(end.await.expect("in time"), Arrival::End);
}
