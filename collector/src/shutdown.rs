//! Ending in order: stop accepting, answer what is in flight, then end.
//!
//! Two signals go down (`stop`, then `kill`), task trackers come up. Every task of the collector is
//! tracked; after [`Shutdown::run`] no listener, connection or consumer is left.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The signals and the tasks that follow them.
#[derive(Clone, Debug)]
pub(crate) struct Shutdown {
    /// Accept nothing new; finish what has begun.
    pub(crate) stop: CancellationToken,
    /// End at once.
    pub(crate) kill: CancellationToken,
    /// Listeners, connections, consumers.
    pub(crate) tasks: TaskTracker,
}

/// How a shutdown went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Everything in flight was answered.
    InTime,
    /// The deadline passed; so many connections or requests were cut. What was acknowledged is durable all the same.
    Cut(usize),
}

impl Shutdown {
    pub(crate) fn new() -> Self {
        Self { stop: CancellationToken::new(), kill: CancellationToken::new(), tasks: TaskTracker::new() }
    }

    pub(crate) async fn run(&self, deadline: Duration) -> Drained {
        self.stop.cancel();
        self.tasks.close();
        let drained = match tokio::time::timeout(deadline, self.tasks.wait()).await {
            Ok(()) => Drained::InTime,
            Err(_) => Drained::Cut(self.tasks.len()),
        };
        self.kill.cancel();
        self.tasks.wait().await;
        drained
    }
}
