//! What works at the same time in an agent, and how it ends together.
//!
//! Invariant: no part ends unnoticed. One that ends before the shutdown starts it, and is the error of
//! the run: an agent that ships only half of its data must not look well.

use std::time::Duration;

use tokio::task::{JoinError, JoinSet};

use crate::export::Stop;
use crate::{Error, ErrorKind};

/// How long a shutdown may take.
const DRAIN: Duration = Duration::from_secs(5);

/// What works at the same time; each part ends with its name, or with why it failed.
pub(super) type Parts = JoinSet<Result<&'static str, Error>>;

/// Waits for shutdown or the early end of a part, then drains.
pub(super) async fn supervise(mut parts: Parts, stop: &Stop) -> Result<(), Error> {
    let early = tokio::select! {
        biased;
        () = stop.shutdown.cancelled() => Ok(()),
        Some(ended) = parts.join_next() => Err(ended_early(ended)),
    };
    if let Err(error) = &early {
        tracing::error!(%error, "the agent ends");
        stop.shutdown.cancel();
    }
    tracing::info!("draining");
    let mut drained = Ok(());
    if tokio::time::timeout(DRAIN, drain(&mut parts, &mut drained)).await.is_err() {
        tracing::warn!("not everything was acknowledged in {DRAIN:?}; it is sent by the next run");
        stop.deadline.cancel();
        drain(&mut parts, &mut drained).await;
    }
    // A part that failed takes its neighbours along, and they may be noticed first: its error says more.
    drained.and(early)
}

/// Waits for the end of every part and keeps the first failure.
async fn drain(parts: &mut Parts, first: &mut Result<(), Error>) {
    while let Some(ended) = parts.join_next().await {
        if let Err(error) = ended.unwrap_or_else(|error| Err(panicked(&error))) {
            tracing::error!(%error, "a part failed");
            if first.is_ok() {
                *first = Err(error);
            }
        }
    }
}

fn ended_early(ended: Result<Result<&'static str, Error>, JoinError>) -> Error {
    match ended {
        Ok(Ok(name)) => Error::new(ErrorKind::Runtime, format!("{name} ended before the shutdown")),
        Ok(Err(error)) => error,
        Err(error) => panicked(&error),
    }
}

fn panicked(error: &JoinError) -> Error {
    Error::new(ErrorKind::Runtime, format!("a part of the agent failed: {error}"))
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;

    fn stop() -> Stop {
        Stop { shutdown: CancellationToken::new(), deadline: CancellationToken::new() }
    }

    /// A part that works until shutdown, as all should.
    fn spawn_patient(parts: &mut Parts, stop: &Stop) {
        let shutdown = stop.shutdown.clone();
        parts.spawn(async move {
            shutdown.cancelled().await;
            Ok("the patient part")
        });
    }

    #[tokio::test]
    async fn a_part_that_ends_early_ends_the_others_and_is_named() {
        let (mut parts, stop) = (Parts::new(), stop());
        spawn_patient(&mut parts, &stop);
        parts.spawn(async { Ok("the hasty part") });
        let error = supervise(parts, &stop).await.expect_err("too early");
        assert_eq!(error.to_string(), "the hasty part ended before the shutdown");
        assert_eq!(error.kind(), ErrorKind::Runtime);
        assert!(stop.shutdown.is_cancelled());
    }

    #[tokio::test]
    async fn a_failure_says_more_than_the_early_end_it_caused() {
        let (mut parts, stop) = (Parts::new(), stop());
        spawn_patient(&mut parts, &stop);
        parts.spawn(async { Ok("the neighbour") });
        let shutdown = stop.shutdown.clone();
        parts.spawn(async move {
            shutdown.cancelled().await;
            Err(Error::new(ErrorKind::Runtime, "the cause"))
        });
        assert_eq!(supervise(parts, &stop).await.expect_err("failed").to_string(), "the cause");
    }

    #[tokio::test]
    async fn parts_that_end_after_the_shutdown_are_no_error() {
        let (mut parts, stop) = (Parts::new(), stop());
        spawn_patient(&mut parts, &stop);
        stop.shutdown.cancel();
        supervise(parts, &stop).await.expect("ended as asked");
    }
}
