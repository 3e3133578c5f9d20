//! Providers of models, each in its own protocol over real HTTP: they take only requests that the real ones
//! would take, and answer with what a script says.

mod anthropic;
mod bedrock;
mod gemini;
mod ollama;
mod openai;
mod openai_responses;
mod rules;
mod script;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::sync::Semaphore;

pub use self::rules::{Asked, Offered};
pub use self::script::{Answer, Call, Reason, Thoughts, Tokens, Turn};
use crate::model_stream::{self, Part};

/// The key that the providers ask for.
pub const KEY: &str = "test-key";

/// The id of the credentials that Bedrock asks for.
pub const ACCESS_KEY_ID: &str = "AKIDEXAMPLE";

/// A provider's protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// OpenAI's chat completions, which most other servers speak.
    OpenAi,
    /// OpenAI's responses.
    OpenAiResponses,
    /// Anthropic's messages.
    Anthropic,
    /// Bedrock's Converse.
    Bedrock,
    /// Gemini's `generateContent`.
    Gemini,
    /// Ollama's chat.
    Ollama,
}

/// Why a request is not taken: the status, and what is wrong.
pub type Refused = (u16, String);

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

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Received {
    /// Path and query.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Value,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::OpenAi,
        Self::OpenAiResponses,
        Self::Anthropic,
        Self::Bedrock,
        Self::Gemini,
        Self::Ollama,
    ];

    /// The value of `MODEL` that chooses it.
    pub fn model(self) -> &'static str {
        match self {
            Self::OpenAi => "openai::gpt-4o-mini",
            Self::OpenAiResponses => "openai_resp::gpt-5-mini",
            Self::Anthropic => "anthropic::claude-sonnet-4-5",
            Self::Bedrock => "bedrock::anthropic.claude-sonnet-4-5-20250929-v1:0",
            Self::Gemini => "gemini::gemini-2.5-flash",
            Self::Ollama => "ollama::llama3.2",
        }
    }

    /// The variable with its key, and the key; Ollama asks for none.
    fn key(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::OpenAi | Self::OpenAiResponses => Some(("OPENAI_API_KEY", KEY)),
            Self::Anthropic => Some(("ANTHROPIC_API_KEY", KEY)),
            Self::Gemini => Some(("GEMINI_API_KEY", KEY)),
            Self::Bedrock | Self::Ollama => None,
        }
    }

    /// What comes after the host in its base URL.
    fn base_path(self) -> &'static str {
        match self {
            Self::OpenAi | Self::OpenAiResponses | Self::Anthropic => "/v1",
            Self::Gemini => "/v1beta",
            Self::Bedrock | Self::Ollama => "",
        }
    }

    /// The name of the model in stored answers: the one that the provider returns, if it does.
    pub fn name_in_answers(self) -> String {
        let name = self.model().split_once("::").unwrap().1;
        match self {
            Self::OpenAi | Self::OpenAiResponses | Self::Anthropic | Self::Gemini => {
                format!("{name}-2026")
            }
            Self::Bedrock => name.to_owned(),
            Self::Ollama => self.model().to_owned(),
        }
    }

    fn read(self, request: &Received) -> Result<Asked, Refused> {
        match self {
            Self::OpenAi => openai::read(request),
            Self::OpenAiResponses => openai_responses::read(request),
            Self::Anthropic => anthropic::read(request),
            Self::Bedrock => bedrock::read(request),
            Self::Gemini => gemini::read(request),
            Self::Ollama => ollama::read(request),
        }
    }

    fn whole(self, answer: &Answer) -> Value {
        match self {
            Self::OpenAi => openai::whole(answer),
            Self::OpenAiResponses => openai_responses::whole(answer),
            Self::Anthropic => anthropic::whole(answer),
            Self::Bedrock => bedrock::whole(answer),
            Self::Gemini => gemini::whole(answer),
            Self::Ollama => ollama::whole(answer),
        }
    }

    fn streamed(self, answer: &Answer, asked: &Asked) -> (&'static str, Vec<Part>) {
        let events = "text/event-stream";
        match self {
            Self::OpenAi => (events, openai::streamed(answer, asked.with_usage)),
            Self::OpenAiResponses => (events, openai_responses::streamed(answer)),
            Self::Anthropic => (events, anthropic::streamed(answer)),
            Self::Bedrock => (
                "application/vnd.amazon.eventstream",
                bedrock::streamed(answer),
            ),
            Self::Gemini => (events, gemini::streamed(answer)),
            Self::Ollama => ("application/x-ndjson", ollama::streamed(answer)),
        }
    }

    /// An error in the provider's form.
    fn error(self, status: u16, message: &str) -> Value {
        match self {
            Self::OpenAi | Self::OpenAiResponses => openai::error(message),
            Self::Anthropic => anthropic::error(status, message),
            Self::Bedrock => bedrock::error(message),
            Self::Gemini => gemini::error(status, message),
            Self::Ollama => ollama::error(message),
        }
    }
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
        let answer = turn.answer(self.protocol, &asked, answers.len());
        answers.push(answer.clone());
        Ok((asked, answer))
    }
}
