//! The demo without a terminal: the service table, one whole journey and the firing alert, as text.

use std::time::Duration;

use model::{SystemClock, TimeRange};
use query_api::{AlertState, AlertsAnswer, Client, ClientError, Journey, ProgressState};
use tokio::time::Instant;

use crate::exit::Failure;
use crate::output;

const LOOK_INTERVAL: Duration = Duration::from_millis(500);
const RANGE: Duration = Duration::from_secs(300);
/// The error that a slow acquirer leaves in billing's log.
const SLOW_PAYMENT: &str = "service:billing level>=error";

/// Prints the three when all are there.
pub(super) async fn tell(client: &Client, wait: Duration) -> Result<(), Failure> {
    let deadline = Instant::now() + wait;
    let journey = until(deadline, "a whole journey", || whole_journey(client)).await?;
    let alerts = until(deadline, "a firing alert", || firing(client)).await?;
    let services = client.services(last(RANGE)).await?;
    let (width, ascii) = (output::width(), output::is_ascii());
    output::text(&format!(
        "{}\n{}\n{}\n",
        tui::text::services(&services, width, ascii),
        tui::text::journey(&journey, width, ascii),
        tui::text::alerts(&alerts, width),
    ))
}

fn last(duration: Duration) -> TimeRange {
    TimeRange::last(duration, SystemClock::shared().now())
}

/// Asks again until there is an answer.
async fn until<T, F>(deadline: Instant, what: &str, ask: impl Fn() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<Option<T>, ClientError>>,
{
    loop {
        match ask().await {
            Ok(Some(answer)) => return Ok(answer),
            // Too busy just now, or not there yet.
            Ok(None) | Err(ClientError::Refused(_)) => {}
            Err(error) => return Err(error.into()),
        }
        if Instant::now() > deadline {
            return Err(Failure::runtime(format!(
                "the demo waited too long for {what}: try a longer --wait"
            )));
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// The journey of a purchase whose payment was slow and that went through all the same.
async fn whole_journey(client: &Client) -> Result<Option<Journey>, ClientError> {
    let logs = client.logs(SLOW_PAYMENT, last(RANGE), 100).await?;
    let orders = logs.records.iter().flat_map(|record| &record.ids).filter(|id| id.kind == "order_id");
    let mut seen: Vec<&str> = orders.map(|id| id.value.as_str()).collect();
    seen.dedup();
    for order in seen {
        let journey = match client.journey(order, last(RANGE)).await {
            Ok(journey) => journey,
            // Its spans are on their way.
            Err(ClientError::Refused(_)) => continue,
            Err(error) => return Err(error),
        };
        let is_done = journey.progress.as_ref().is_some_and(|progress| progress.state == ProgressState::Done);
        let reached = |name: &str| journey.services.iter().any(|service| service == name);
        if is_done && reached("notify") && journey.counts.messages >= 3 {
            return Ok(Some(journey));
        }
    }
    Ok(None)
}

async fn firing(client: &Client) -> Result<Option<AlertsAnswer>, ClientError> {
    let alerts = client.alerts().await?;
    Ok(alerts.rules.iter().any(|rule| rule.state == AlertState::Firing).then_some(alerts))
}
