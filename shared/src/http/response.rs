//! The body of an answer.

use std::convert::Infallible;
use std::pin::Pin;

use futures_util::{Stream, StreamExt, stream};

use crate::http::events::EventStream;

/// The body of an answer.
#[derive(Debug)]
pub enum Body {
    /// Text, complete.
    Text(String),
    /// Events, as they come.
    Events(EventStream),
}

/// The parts of a body. They never fail: what goes wrong while a body is sent is part of it.
pub type Chunks = Pin<Box<dyn Stream<Item = Result<String, Infallible>> + Send>>;

impl Body {
    /// The whole body, when its last part has been sent.
    pub async fn collected(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Events(events) => events.collected().await,
        }
    }

    /// The body in parts, as they come.
    #[must_use]
    pub fn into_chunks(self) -> Chunks {
        match self {
            Self::Text(text) => Box::pin(stream::once(async { Ok(text) })),
            Self::Events(events) => Box::pin(events.into_text().map(Ok)),
        }
    }
}
