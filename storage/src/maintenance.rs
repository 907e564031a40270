//! What the store does in the background: retention and compaction, one thing at a time.
//!
//! Owns: when it runs, on which thread, and how a segment takes the place of others. Does not own: which
//! segments (`retention`, `compaction`).

use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::compaction::rewrite::{self, Rewrite};
use crate::error::{Context as _, Error, ErrorKind};
use crate::plant::Plant;
use crate::segment::SegmentMeta;
use crate::segment::reader::Segment;
use crate::segment::writer;
use crate::store::{Shared, Store};
use crate::{compaction, deletes, retention};

/// How often it looks when no seal and no delete wakes it: windows end and rows get old by themselves.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);
/// Priority of the thread that rewrites: 0 is the others', 19 the lowest.
const NICE: i32 = 10;

/// Runs until the store is gone or closes.
pub(crate) async fn run(store: Weak<Store>) {
    loop {
        let Some(shared) = store.upgrade().map(|store| Arc::clone(store.shared())) else { return };
        drop(tokio::time::timeout(LOOK_INTERVAL, shared.maintenance_wanted.notified()).await);
        if shared.is_closing() {
            return;
        }
        drop(shared);
        let Some(store) = store.upgrade() else { return };
        if let Err(error) = once(&store, true).await
            && !store.shared().must_yield()
        {
            tracing::warn!("compaction will be tried again: {error}");
        }
    }
}

/// Applies retention, merges what is to be merged, and notes which deletes are done. Segments that may be joined by more
/// are left for later when it `awaits_more`.
pub(crate) async fn once(store: &Arc<Store>, awaits_more: bool) -> Result<(), Error> {
    let shared = store.shared();
    let _one_at_a_time = shared.maintenance_lock.lock().await;
    // What cannot be read holds up nothing else.
    let retained = unless_damaged(retention::run(store).await)?;
    let merged = unless_damaged(compaction::run(store, awaits_more).await.map(drop))?;
    deletes::note_gone(shared).await?;
    retained.and(merged)
}

/// An error that is no reason to leave other segments as they are.
pub(crate) fn unless_damaged(done: Result<(), Error>) -> Result<Result<(), Error>, Error> {
    match done {
        Err(error) if error.kind() != ErrorKind::Damaged => Err(error),
        done => Ok(done),
    }
}

/// Writes a segment and puts it in the place of its inputs.
pub(crate) async fn rewrite(store: &Arc<Store>, rewrite: Rewrite) -> Result<(), Error> {
    let inputs = rewrite.inputs.clone();
    let output = write(store, rewrite).await?;
    replace(store.shared(), &inputs, output).await
}

/// Step 2 of [`crate::compaction`].
pub(crate) async fn write(store: &Arc<Store>, rewrite: Rewrite) -> Result<Option<Arc<Segment>>, Error> {
    // The thread holds the store: its folder stays locked as long as something is written into it.
    let store = Arc::clone(store);
    at_low_priority(move || {
        let shared = store.shared();
        rewrite::write(&shared.folder, rewrite, &|| shared.must_yield())
    })
    .await?
}

/// Steps 3 to 5 of [`crate::compaction`].
pub(crate) async fn replace(
    shared: &Shared,
    inputs: &[Arc<Segment>],
    output: Option<Arc<Segment>>,
) -> Result<(), Error> {
    let metas = |segments: &[Arc<Segment>]| -> Vec<SegmentMeta> {
        segments.iter().map(|segment| segment.meta().clone()).collect()
    };
    if shared.folder.planted.has(Plant::InputsRemovedBeforeCommit) {
        for input in inputs {
            let _ = shared.folder.remove_if_there(&shared.folder.path.join(input.meta().path()));
        }
    }
    if let Err(error) = shared.catalog.replace(&metas(inputs), &metas(output.as_slice())).await {
        // The answer may have been lost after the commit was done. If that cannot be told, nothing is
        // removed: the next start finds out.
        match shared.catalog.names(inputs[0].meta()).await {
            Ok(false) => {}
            Ok(true) => {
                if let Some(output) = output {
                    writer::discard(&shared.folder, output.meta());
                }
                return Err(error);
            }
            Err(_) => return Err(error),
        }
    }
    swap(shared, inputs, output);
    for input in inputs {
        input.remove_when_unused(&shared.folder);
    }
    Ok(())
}

/// Step 4 of [`crate::compaction`].
fn swap(shared: &Shared, inputs: &[Arc<Segment>], output: Option<Arc<Segment>>) {
    let mut state = shared.state();
    let is_input = |segment: &Arc<Segment>| {
        inputs
            .iter()
            .any(|input| input.signal() == segment.signal() && input.meta().name == segment.meta().name)
    };
    state.segments.retain(|segment| !is_input(segment));
    for input in inputs {
        let place = (input.signal(), input.meta().name.clone());
        state.unaffected.remove(&place);
        state.left_alone.remove(&place);
    }
    state.segments.extend(output);
    state.count_segments();
}

/// Runs `work` on a thread of its own that gets the processor when nobody else wants it.
async fn at_low_priority<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    let (done, result) = tokio::sync::oneshot::channel();
    let body = move || {
        // Without the permission it runs as fast as the others: that is no failure.
        let _ = rustix::process::setpriority_process(None, NICE);
        // Nobody waits any more when the store's runtime has ended.
        drop(done.send(work()));
    };
    std::thread::Builder::new()
        .name("silmari-compact".to_owned())
        .spawn(body)
        .context(ErrorKind::Retry, || "starting a thread".to_owned())?;
    result.await.context(ErrorKind::Internal, || "rewriting segments".to_owned())
}
