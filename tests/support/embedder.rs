//! A real HTTP server that says what texts mean, in the protocols of providers: texts with words of the same
//! topic have numbers that are alike.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Words, each group of one topic.
const TOPICS: [&[&str]; 3] = [
    &["sleep", "asleep", "slumber", "insomnia", "schlafen"],
    &["exam", "courage", "nerves", "prüfung"],
    &["walk", "walking", "forest", "stroll", "wald"],
];

/// The server's reaction to a request, in place of an answer.
#[derive(Debug, Clone)]
pub enum Trouble {
    /// This status and body, and that long to wait before asking again.
    Status(u16, &'static str, Option<u64>),
    /// The vectors in another order, with their places.
    Shuffled,
    /// One vector too few.
    OneMissing,
    /// An answer after this time.
    Late(Duration),
}

/// A request that the server got.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The path.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Value,
}

/// The server; it ends with the test's runtime.
pub struct Embedder {
    /// Where it listens, in the form for `EMBEDDING_BASE_URL`.
    pub base_url: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    troubles: Mutex<VecDeque<Trouble>>,
    asked: Mutex<Vec<Asked>>,
}

impl Embedder {
    /// Starts a server that meets the first requests with these troubles.
    pub async fn start(troubles: impl Into<VecDeque<Trouble>>) -> Self {
        let shared = Arc::new(Shared {
            troubles: Mutex::new(troubles.into()),
            ..Shared::default()
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { base_url, shared }
    }

    /// The settings that use it.
    pub fn settings(&self) -> [(&str, &str); 2] {
        [
            ("EMBEDDING_MODEL", "test-embedding"),
            ("EMBEDDING_BASE_URL", &self.base_url),
        ]
    }

    /// Meets the next requests with these troubles.
    pub fn trouble(&self, troubles: impl IntoIterator<Item = Trouble>) {
        self.shared.troubles.lock().unwrap().extend(troubles);
    }

    /// The requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// The texts of all requests so far.
    pub fn texts(&self) -> Vec<String> {
        self.asked().iter().flat_map(|it| texts(&it.body)).collect()
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let path = parts.uri.path().to_owned();
    let texts = texts(&body);
    shared.asked.lock().unwrap().push(Asked {
        path: path.clone(),
        headers: parts.headers,
        body,
    });
    let mut vectors: Vec<(usize, [f32; 4])> =
        texts.iter().map(|it| meaning(it)).enumerate().collect();
    let trouble = shared.troubles.lock().unwrap().pop_front();
    match trouble {
        None => {}
        Some(Trouble::Shuffled) => vectors.reverse(),
        Some(Trouble::OneMissing) => {
            vectors.pop();
        }
        Some(Trouble::Late(wait)) => tokio::time::sleep(wait).await,
        Some(Trouble::Status(status, body, retry_after)) => {
            let status = StatusCode::from_u16(status).unwrap();
            let mut headers = HeaderMap::new();
            headers.insert("content-type", "application/json".parse().unwrap());
            if let Some(seconds) = retry_after {
                headers.insert("retry-after", seconds.into());
            }
            return (status, headers, body).into_response();
        }
    }
    match in_the_protocol_of(&path, &vectors) {
        Some(body) => ([("content-type", "application/json")], body.to_string()).into_response(),
        None => (StatusCode::NOT_FOUND, path).into_response(),
    }
}

/// The texts of a request, in whichever protocol.
fn texts(body: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    match body {
        Value::Object(members) if members.contains_key("input") => {
            body["input"].as_array().unwrap().iter().map(text).collect()
        }
        Value::Object(members) if members.contains_key("texts") => {
            body["texts"].as_array().unwrap().iter().map(text).collect()
        }
        _ => {
            let requests = body["requests"].as_array().unwrap().iter();
            let parts = requests.map(|request| text(&request["content"]["parts"][0]["text"]));
            parts.collect()
        }
    }
}

fn in_the_protocol_of(path: &str, vectors: &[(usize, [f32; 4])]) -> Option<Value> {
    let bare: Vec<_> = vectors.iter().map(|(_, vector)| vector).collect();
    match path {
        "/v1/embeddings" => {
            let data: Vec<Value> = vectors
                .iter()
                .map(|(index, vector)| json!({ "object": "embedding", "index": index, "embedding": vector }))
                .collect();
            Some(json!({
                "object": "list", "data": data, "model": "test-embedding-2026",
                "usage": { "prompt_tokens": 5, "total_tokens": 5 },
            }))
        }
        "/v1/api/embed" => {
            Some(json!({ "model": "nomic", "embeddings": bare, "prompt_eval_count": 5 }))
        }
        "/v1/models/gemini-embedding:batchEmbedContents" => {
            let values = bare.iter().map(|vector| json!({ "values": vector }));
            Some(json!({ "embeddings": values.collect::<Vec<_>>() }))
        }
        "/v2/embed" => Some(json!({
            "id": "1", "embeddings": { "float": bare }, "response_type": "embeddings_by_type",
            "meta": { "billed_units": { "input_tokens": 5 } },
        })),
        _ => None,
    }
}

/// How much of each topic is in a text; the last number is always there, so that no text means nothing. They are
/// not of length 1, as those of some providers.
fn meaning(text: &str) -> [f32; 4] {
    let text = text.to_lowercase();
    let words: Vec<&str> = text.split(|it: char| !it.is_alphanumeric()).collect();
    let mut numbers = [0.0, 0.0, 0.0, 0.5];
    for (number, topic) in numbers.iter_mut().zip(TOPICS) {
        if words.iter().any(|word| topic.contains(word)) {
            *number = 3.0;
        }
    }
    numbers
}
