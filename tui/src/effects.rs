//! Doing what the state wants done: asking the server in tasks, at most one a pane.
//!
//! Answers come back as messages over a bounded channel. When it is full, the tasks wait and with them
//! the server's live tail, which then says how many records it skipped; drawing never waits. A task is
//! aborted when its pane asks again or is left.

use std::collections::HashMap;

use futures_util::StreamExt as _;
use query_api::client::TailItem;
use query_api::{Client, SqlRequest};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::core::fleet::FleetAnswer;
use crate::core::{Answer, Ask, Failure, Msg, PaneId};

/// Messages that wait to be handled.
pub(crate) const CHANNEL: usize = 256;
/// Records of the live tail in one message.
const TAIL_BATCH: usize = 256;

/// Asks questions and remembers which are under way.
pub(crate) struct Effects {
    client: Client,
    messages: mpsc::Sender<Msg>,
    running: HashMap<PaneId, AbortHandle>,
}

impl Effects {
    /// Asks through `client`, answers into `messages`.
    pub(crate) fn new(client: Client, messages: mpsc::Sender<Msg>) -> Self {
        Self { client, messages, running: HashMap::new() }
    }

    /// Asks in a task of its own; what the pane asked before is aborted.
    pub(crate) fn ask(&mut self, pane: PaneId, generation: u64, ask: Ask) {
        self.abort(pane);
        let client = self.client.clone();
        let messages = self.messages.clone();
        let task = tokio::spawn(async move {
            match ask {
                Ask::Tail(query) => tail(&client, &query, generation, &messages).await,
                Ask::Follow(id, from, is_corrected) => {
                    let failure = follow(&client, (&id, from, is_corrected), generation, &messages).await;
                    drop(messages.send(Msg::FollowEnded { generation, failure }).await);
                }
                ask => {
                    let result = answer(&client, ask).await;
                    // The receiver is gone only when the program ends.
                    drop(messages.send(Msg::Answered { pane, generation, result }).await);
                }
            }
        });
        self.running.insert(pane, task.abort_handle());
    }

    /// Gives up what the pane asked.
    pub(crate) fn abort(&mut self, pane: PaneId) {
        if let Some(task) = self.running.remove(&pane) {
            task.abort();
        }
    }
}

impl Drop for Effects {
    fn drop(&mut self) {
        self.running.values().for_each(AbortHandle::abort);
    }
}

async fn answer(client: &Client, ask: Ask) -> Result<Answer, Failure> {
    Ok(match ask {
        Ask::Services(range) => Answer::Services(Box::new(client.services(range).await?)),
        Ask::Alerts => Answer::Alerts(Box::new(client.alerts().await?)),
        Ask::Fleet => {
            let (agents, inventory) = tokio::try_join!(client.agents(), client.inventory())?;
            Answer::Fleet(Box::new(FleetAnswer { agents, inventory }))
        }
        Ask::Doctor(range) => Answer::Doctor(Box::new(client.doctor(None, range).await?)),
        Ask::Row(key) => Answer::Row(Box::new(client.journey_row(&key).await?)),
        Ask::Journey(id, range, is_corrected) => {
            Answer::Journey(Box::new(client.journey_with(&id, range, is_corrected, &[]).await?))
        }
        Ask::Logs { query, range, limit } => Answer::Logs(Box::new(client.logs(&query, range, limit).await?)),
        Ask::Board(name) => Answer::Board(Box::new(client.board(&name).await?)),
        Ask::Instant(promql, time) => Answer::Metrics(client.metrics_instant(&promql, time).await?),
        Ask::Range(promql, range, step) => Answer::Metrics(client.metrics_range(&promql, range, step).await?),
        Ask::Sql(query, limit) => {
            Answer::Sql(Box::new(client.sql(&SqlRequest { query, limit: Some(limit) }).await?))
        }
        Ask::Tail(_) | Ask::Follow(..) => unreachable!("a stream has a task of its own"),
    })
}

/// Passes a followed journey on until the stream ends; why it did, unless the server closed it.
async fn follow(
    client: &Client,
    (id, from, is_corrected): (&str, model::UnixNano, bool),
    generation: u64,
    messages: &mpsc::Sender<Msg>,
) -> Option<Failure> {
    let stream = match client.follow_journey(id, from, is_corrected, &[]).await {
        Err(error) => return Some(error.into()),
        Ok(stream) => stream,
    };
    let mut journeys = Box::pin(stream);
    while let Some(journey) = journeys.next().await {
        match journey {
            Err(error) => return Some(error.into()),
            Ok(journey) => {
                let journey = Box::new(journey);
                if messages.send(Msg::Followed { generation, journey }).await.is_err() {
                    return None;
                }
            }
        }
    }
    None
}

async fn tail(client: &Client, query: &str, generation: u64, messages: &mpsc::Sender<Msg>) {
    let failure = match client.tail(query).await {
        Err(error) => Some(error.into()),
        Ok(stream) => {
            let mut batches = Box::pin(stream.ready_chunks(TAIL_BATCH));
            let mut failure = None;
            while let Some(batch) = batches.next().await {
                let mut items: Vec<TailItem> = Vec::with_capacity(batch.len());
                for item in batch {
                    match item {
                        Ok(item) => items.push(item),
                        Err(error) => failure = Some(Failure::from(error)),
                    }
                }
                if !items.is_empty() && messages.send(Msg::Tailed { generation, items }).await.is_err() {
                    return;
                }
                if failure.is_some() {
                    break;
                }
            }
            failure
        }
    };
    drop(messages.send(Msg::TailEnded { generation, failure }).await);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_that_is_not_there_becomes_an_answer_with_the_generation_that_asked() {
        let (sender, mut messages) = mpsc::channel(CHANNEL);
        // Port 1 is reserved and nobody listens there.
        let mut effects = Effects::new(Client::new("http://127.0.0.1:1"), sender);
        effects.ask(PaneId::Alerts, 7, Ask::Alerts);
        let Some(Msg::Answered { pane: PaneId::Alerts, generation: 7, result: Err(failure) }) =
            messages.recv().await
        else {
            panic!("an answer to the question was expected")
        };
        assert!(failure.message.contains("silmari serve"), "{}", failure.message);
        effects.ask(PaneId::Tail, 8, Ask::Tail(String::new()));
        assert!(matches!(messages.recv().await, Some(Msg::TailEnded { generation: 8, failure: Some(_) })));
    }

    #[tokio::test]
    async fn asking_again_aborts_the_question_before() {
        // A server that accepts and never answers.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (sender, mut messages) = mpsc::channel(CHANNEL);
        let mut effects = Effects::new(Client::new(&format!("http://{address}")), sender);
        effects.ask(PaneId::Services, 1, Ask::Alerts);
        let (first, _) = listener.accept().await.expect("the question arrives");
        effects.ask(PaneId::Services, 2, Ask::Alerts);
        let (second, _) = listener.accept().await.expect("the second question arrives");
        drop((first, second));
        let Some(Msg::Answered { generation, .. }) = messages.recv().await else { panic!("no answer") };
        assert_eq!(generation, 2, "nobody hears from the first question");
    }
}
