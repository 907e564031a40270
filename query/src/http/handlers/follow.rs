//! A journey that is followed: sent again, one a line, whenever records arrive that change it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use futures_util::StreamExt as _;
use model::{TimeRange, UnixNano};
use tokio::sync::OwnedSemaphorePermit;

use super::journeys::{JOURNEY_RANGE_DEFAULT, find_journey, journey_limits};
use super::{Answer, place_for_stream, stream_response};
use crate::http::error::ApiError;
use crate::http::params::Params;
use crate::http::{App, routes};
use crate::journey::follow::{Arrival, Follower};
use crate::journey::{Limits, Request};

/// How far past now a followed journey may lie: clocks of senders run ahead.
const FOLLOW_AHEAD: Duration = Duration::from_secs(60);

pub(in crate::http) async fn journey_follow(State(app): State<App>, params: Params) -> Answer {
    let params = params.only(routes::JOURNEY_FOLLOW)?;
    let now = app.engine.clock.now();
    let from = params.time("from", now)?.unwrap_or_else(|| now.minus(JOURNEY_RANGE_DEFAULT));
    let id = params.required("id")?.to_owned();
    let is_corrected = params.flag("correct_clocks")?;
    let limits = journey_limits(&params, &app.engine.limits.journey)?;
    let place = place_for_stream(&app)?;
    let mut following = Following {
        follower: Follower::new(&app.engine.store),
        app: app.clone(),
        id,
        from,
        is_corrected,
        limits,
        first: None,
        place,
    };
    // The first one before the answer begins, so that an unknown id is a 404.
    following.first = following.compute().await?;
    let stop = app.shutdown.clone().cancelled_owned();
    let lines = futures_util::stream::unfold(following, |mut following| async move {
        let line = following.next().await?;
        Some((Ok::<_, Infallible>(line), following))
    });
    Ok(stream_response(Body::from_stream(lines.take_until(stop))))
}

/// One follower of a journey.
struct Following {
    follower: Follower,
    app: App,
    id: String,
    from: UnixNano,
    is_corrected: bool,
    limits: Limits,
    first: Option<Vec<u8>>,
    /// Free again when the stream is dropped.
    #[expect(dead_code, reason = "held, not read")]
    place: OwnedSemaphorePermit,
}

impl Following {
    /// The next line; `None` at the end.
    async fn next(&mut self) -> Option<Vec<u8>> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            match self.follower.wait().await {
                Arrival::End => return None,
                Arrival::Nothing => return Some(b"\n".to_vec()),
                Arrival::Concerns => {}
            }
            match self.compute().await {
                Ok(Some(line)) => return Some(line),
                Ok(None) => {}
                // Whoever follows asks again and is told why.
                Err(_) => return None,
            }
        }
    }

    /// The journey as it is now as a line; `None` when that is what was sent last.
    async fn compute(&mut self) -> Result<Option<Vec<u8>>, ApiError> {
        let engine = Arc::clone(&self.app.engine);
        let (id, from, is_corrected) = (self.id.clone(), self.from, self.is_corrected);
        let limits = self.limits.clone();
        let start = engine.clock.monotonic();
        let clock = Arc::clone(&engine.clock);
        let found = self.app.gate.run(move |cancel| {
            let range = TimeRange { from, to: engine.clock.now().plus(nanos(FOLLOW_AHEAD)) };
            let request = Request { id: &id, range, is_corrected };
            find_journey(&engine, &request, &limits, cancel, start)
        });
        let found = found.await??;
        let took = clock.monotonic().saturating_sub(start);
        if !self.follower.take(&found, took) {
            return Ok(None);
        }
        let line = tokio::task::spawn_blocking(move || query_api::client::tail_line(&found)).await;
        line.map_err(ApiError::internal)?.map(Some).map_err(ApiError::internal)
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
