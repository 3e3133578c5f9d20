//! Answers that arrive in parts: streams of server-sent events.
//!
//! Format: WHATWG HTML, "Server-sent events".

use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::unfold;
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

use crate::problem::Problem;

/// After this time without an event a comment is sent, because proxies close silent connections.
const PING_INTERVAL: Duration = Duration::from_secs(15);

/// A comment, which readers ignore.
const PING: &str = ": still here\n\n";

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    name: &'static str,
    id: Option<String>,
    /// JSON, which has no line breaks.
    data: String,
}

impl Event {
    /// An event with this data.
    #[must_use]
    pub fn new(name: &'static str, data: &Value) -> Self {
        Self {
            name,
            id: None,
            data: data.to_string(),
        }
    }

    /// The event of a failure: its problem document.
    #[must_use]
    pub fn of_problem(problem: &Problem, request_id: &str) -> Self {
        Self::new("error", &problem.document(request_id))
    }

    /// The same event with the id after which a reader takes the stream up again; it has no line break.
    #[must_use]
    pub fn with_id(self, id: String) -> Self {
        Self {
            id: Some(id),
            ..self
        }
    }

    fn written(&self) -> String {
        let Self { name, id, data } = self;
        let id = id.as_ref().map(|id| format!("id: {id}\n"));
        let id = id.unwrap_or_default();
        format!("event: {name}\n{id}data: {data}\n\n")
    }
}

/// Where events are sent. Whoever reads them may have left, which is not reported: a turn goes on without
/// readers.
#[derive(Debug, Clone)]
pub struct Events(UnboundedSender<String>);

impl Events {
    /// Sends an event at once.
    pub fn send(&self, event: &Event) {
        let _ = self.0.send(event.written());
    }

    /// Whether somebody still reads. On Lambda this is always so: nothing tells that a caller has left.
    #[must_use]
    pub fn has_reader(&self) -> bool {
        !self.0.is_closed()
    }
}

/// The events as they are sent to the caller.
#[derive(Debug)]
pub struct EventStream(UnboundedReceiver<String>);

/// A stream and where its events are sent; it ends when all of the latter are dropped.
#[must_use]
pub fn channel() -> (Events, EventStream) {
    let (sender, receiver) = unbounded_channel();
    (Events(sender), EventStream(receiver))
}

impl EventStream {
    /// All events, when the last one has been sent.
    pub async fn collected(mut self) -> String {
        let mut all = String::new();
        while let Some(event) = self.0.recv().await {
            all.push_str(&event);
        }
        all
    }

    /// The events as text, with comments where there is a silence.
    pub fn into_text(self) -> impl Stream<Item = String> + Send + 'static {
        self.into_text_with(PING_INTERVAL)
    }

    fn into_text_with(self, ping_interval: Duration) -> impl Stream<Item = String> + Send {
        unfold(self.0, move |mut receiver| async move {
            match timeout(ping_interval, receiver.recv()).await {
                Ok(events) => Some((events?, receiver)),
                Err(_) => Some((PING.to_owned(), receiver)),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn events_are_written_one_by_one_and_silence_is_filled() {
        let (events, stream) = channel();
        let mut body = Box::pin(stream.into_text_with(Duration::from_millis(10)));
        let event = Event::new("delta", &json!({ "text": "a\nb" }));
        events.send(&event.clone().with_id("7".into()));
        events.send(&event);
        let mut next = async || body.next().await;
        let with_id = "event: delta\nid: 7\ndata: {\"text\":\"a\\nb\"}\n\n";
        assert_eq!(next().await.unwrap(), with_id);
        assert_eq!(
            next().await.unwrap(),
            "event: delta\ndata: {\"text\":\"a\\nb\"}\n\n"
        );
        assert_eq!(next().await.unwrap(), PING);
        drop(events);
        assert_eq!(next().await, None);
    }
}
