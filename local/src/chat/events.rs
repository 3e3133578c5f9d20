//! The events of a turn, read from the answer of the server.

use std::pin::Pin;

use futures_util::StreamExt;
use reqwest::{Body, Response};
use serde::Deserialize;
use serde_json::Value;
use sse_stream::{Sse, SseStream};
use uuid::Uuid;

use super::failure::{Document, Failure};

/// What happens in a turn.
#[derive(Debug)]
pub(super) enum Event {
    /// The question is stored.
    Started(Started),
    /// The text that comes next.
    Delta(Text),
    /// The answer so far is this, and not what was read.
    Restart(Text),
    /// The whole answer, which is stored.
    Done(Answer),
    /// There is no answer.
    Error(Failure),
    /// What this client does not use, or does not know yet.
    Other,
}

/// Which turn it is.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Started {
    /// Its session.
    pub(super) session_id: Uuid,
    /// Its question.
    pub(super) message_id: Uuid,
}

/// A part of an answer.
#[derive(Debug)]
pub(super) struct Text {
    /// The text.
    pub(super) text: String,
    /// From where the stream is taken up again.
    pub(super) id: Option<String>,
}

/// A whole answer.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    /// The text.
    pub(super) response: String,
    /// The recordings that it recommends.
    #[serde(default)]
    pub(super) audio_files: Vec<Value>,
    /// Why it ended.
    pub(super) finish_reason: Option<String>,
}

/// The events of a turn as they arrive.
pub(super) struct Events(Pin<Box<SseStream<Body>>>);

impl Events {
    /// The events in the body of an answer.
    pub(super) fn of(response: Response) -> Self {
        Self(Box::pin(SseStream::new(Body::from(response))))
    }

    /// The next one; `None` when the stream has ended or broken, which is the same to a reader who has not seen
    /// the turn end. An event that cannot be read counts as broken, because text could be lost with it.
    pub(super) async fn next(&mut self) -> Option<Event> {
        let block = self.0.next().await?.ok()?;
        read(block).ok()
    }
}

fn read(block: Sse) -> Result<Event, serde_json::Error> {
    #[derive(Deserialize)]
    struct Data {
        text: String,
    }
    let data = block.data.as_deref().unwrap_or_default();
    let text = |id| {
        let Data { text } = serde_json::from_str(data)?;
        Ok::<_, serde_json::Error>(Text { text, id })
    };
    Ok(match block.event.as_deref() {
        Some("started") => Event::Started(serde_json::from_str(data)?),
        Some("delta") => Event::Delta(text(block.id)?),
        Some("restart") => Event::Restart(text(block.id)?),
        Some("done") => Event::Done(serde_json::from_str(data)?),
        Some("error") => Event::Error(serde_json::from_str::<Document>(data)?.into()),
        _ => Event::Other,
    })
}
