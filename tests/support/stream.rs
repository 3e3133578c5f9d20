//! A stream of server-sent events as a test reads it: event by event, while it arrives.

use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::time::{Instant, timeout};

use crate::contract;

/// How long a test waits for the next event.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer to a request for a stream.
pub struct Stream {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    body: Source,
    /// What has arrived and is no whole event yet.
    arrived: Vec<u8>,
}

/// Where the bytes come from.
pub enum Source {
    /// The router in this process.
    Here(Body),
    /// A server over HTTP.
    There(reqwest::Response),
}

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its name.
    pub name: String,
    /// The id after which the stream can be taken up again.
    pub id: Option<String>,
    /// Its data.
    pub data: Value,
    /// When it arrived.
    pub at: Instant,
}

/// What a reader has of an answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Read {
    /// The text so far.
    pub text: String,
    /// The id of the last event that had one.
    pub last_id: Option<String>,
    /// The last event, if it was `done` or `error`.
    pub end: Option<(String, Value)>,
}

impl Stream {
    /// An answer that has begun.
    pub fn new(status: u16, headers: HeaderMap, body: Source) -> Self {
        Self {
            status,
            headers,
            body,
            arrived: Vec::new(),
        }
    }

    /// The next event; `None` when the stream has ended or was broken off.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.arrived.windows(2).position(|two| two == b"\n\n") {
                let event: Vec<u8> = self.arrived.drain(..end + 2).collect();
                match parse(&event) {
                    Some(event) => return Some(event),
                    None => continue,
                }
            }
            let chunk = timeout(PATIENCE, self.chunk()).await.expect("an event");
            self.arrived.extend(chunk?);
        }
    }

    async fn chunk(&mut self) -> Option<Vec<u8>> {
        match &mut self.body {
            Source::Here(body) => {
                let frame = body.frame().await?.ok()?;
                Some(frame.into_data().ok()?.to_vec())
            }
            Source::There(response) => Some(response.chunk().await.ok()??.to_vec()),
        }
    }

    /// All events to the end.
    pub async fn all(mut self) -> Vec<Event> {
        let mut all = Vec::new();
        while let Some(event) = self.next().await {
            all.push(event);
        }
        all
    }

    /// The body of an answer that is no stream.
    pub async fn bytes(mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(chunk) = self.chunk().await {
            all.extend(chunk);
        }
        all
    }
}

impl Read {
    /// Takes an event in, as a reader does.
    pub fn take(&mut self, event: &Event) {
        let text = event.data["text"].as_str();
        match event.name.as_str() {
            "delta" => self.text.push_str(text.unwrap()),
            "restart" => self.text = text.unwrap().to_owned(),
            "done" | "error" => self.end = Some((event.name.clone(), event.data.clone())),
            _ => {}
        }
        if let Some(id) = &event.id {
            self.last_id = Some(id.clone());
        }
    }

    /// Reads a stream to its end.
    pub async fn follow(&mut self, mut stream: Stream) {
        while let Some(event) = stream.next().await {
            self.take(&event);
        }
    }

    /// The answer, which the stream must have ended with; its text must be what was read.
    #[track_caller]
    pub fn done(&self) -> &Value {
        let Some((name, data)) = &self.end else {
            panic!("the stream has not ended: {self:?}")
        };
        assert_eq!(name, "done", "{data}");
        assert_eq!(data["response"], self.text.as_str());
        data
    }
}

/// Reads an event, which the contract must allow; `None` if it is a comment.
#[track_caller]
fn parse(text: &[u8]) -> Option<Event> {
    let event = contract::event(std::str::from_utf8(text).unwrap())?;
    contract::check_event(&event);
    Some(Event {
        name: event["event"].as_str().unwrap().to_owned(),
        id: event["id"].as_str().map(str::to_owned),
        data: serde_json::from_str(event["data"].as_str().unwrap()).unwrap(),
        at: Instant::now(),
    })
}
