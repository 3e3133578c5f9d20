//! Providers of models, each in its own protocol over real HTTP: they take only requests that the real ones
//! would take, and answer with what a script says.

mod anthropic;
mod bedrock;
mod conversation;
mod gemini;
mod ollama;
mod openai;
mod openai_responses;
mod protocol;
mod request;
mod rules;
mod script;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::sync::Semaphore;

pub use self::conversation::Asked;
pub use self::protocol::Protocol;
pub use self::request::Received;
pub use self::script::{Reason, Tokens, Turn};

use self::request::{ACCESS_KEY_ID, Refused};
use self::script::Answer;
use crate::model_stream;

/// A provider; it ends with the test's runtime.
pub struct ProviderServer {
    protocol: Protocol,
    base_url: String,
    shared: Arc<Shared>,
}

struct Shared {
    protocol: Protocol,
    turns: Mutex<VecDeque<Turn>>,
    requests: Mutex<Vec<Received>>,
    answers: Mutex<Vec<Answer>>,
    refused: Mutex<Vec<String>>,
}

impl ProviderServer {
    /// Starts a provider that answers its requests with these turns.
    pub async fn start(protocol: Protocol, turns: impl Into<VecDeque<Turn>>) -> Self {
        let shared = Arc::new(Shared {
            protocol,
            turns: Mutex::new(turns.into()),
            requests: Mutex::default(),
            answers: Mutex::default(),
            refused: Mutex::default(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            protocol,
            base_url: format!("http://{address}{}", protocol.base_path()),
            shared,
        }
    }

    /// The settings that use it as the model.
    pub fn settings(&self) -> Vec<(&str, &str)> {
        let mut settings = vec![
            ("MODEL", self.protocol.model()),
            ("MODEL_BASE_URL", &self.base_url),
        ];
        settings.extend(self.protocol.key());
        if self.protocol == Protocol::Bedrock {
            settings.extend([
                ("AWS_REGION", "eu-central-1"),
                ("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID),
                ("AWS_SECRET_ACCESS_KEY", "secret"),
            ]);
        }
        settings
    }

    /// The address of a path that it was asked at.
    pub fn url(&self, path: &str) -> String {
        let host = self.base_url.trim_end_matches(self.protocol.base_path());
        format!("{host}{path}")
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Received> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// What was wrong with those that it did not take.
    pub fn refused(&self) -> Vec<String> {
        self.shared.refused.lock().unwrap().clone()
    }

    /// The same request as the provider understands it.
    pub fn understood(&self, request: &Received) -> Asked {
        self.protocol.read(request).unwrap()
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (Parts { uri, headers, .. }, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let request = Received {
        path: uri.path_and_query().unwrap().to_string(),
        headers,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    };
    let protocol = shared.protocol;
    let taken = shared.take(&request);
    shared.requests.lock().unwrap().push(request);
    match taken {
        Ok((asked, answer)) if asked.is_streamed => {
            let (content_type, parts) = protocol.streamed(&answer, &asked);
            let semaphore = || Arc::new(Semaphore::new(0));
            let body = model_stream::body(parts, semaphore(), semaphore());
            ([("content-type", content_type)], body).into_response()
        }
        Ok((_, answer)) => json(StatusCode::OK, &protocol.whole(&answer)),
        Err((status, message)) => {
            let error = protocol.error(status, &message);
            shared.refused.lock().unwrap().push(message);
            json(StatusCode::from_u16(status).unwrap(), &error)
        }
    }
}

fn json(status: StatusCode, body: &Value) -> Response {
    let headers = [("content-type", "application/json")];
    (status, headers, body.to_string()).into_response()
}

impl Shared {
    /// The next turn of the script, as an answer to a request that is in order.
    fn take(&self, request: &Received) -> Result<(Asked, Answer), Refused> {
        let asked = self.protocol.read(request)?;
        let mut answers = self.answers.lock().unwrap();
        rules::check(&asked, &answers).map_err(|wrong| (400, wrong))?;
        let turn = self.turns.lock().unwrap().pop_front();
        let turn = turn.ok_or((500, "the script has ended".to_owned()))?;
        let answer = turn.answer(&asked, answers.len(), self.protocol.has_call_ids());
        answers.push(answer.clone());
        Ok((asked, answer))
    }
}
