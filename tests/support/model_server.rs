//! A real HTTP server that speaks the protocols of providers, mainly OpenAI's, with answers that the
//! test chooses. They are streamed if the request asks for that.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::model_stream::{self, Part};

/// The server's reaction to a request.
#[derive(Clone)]
pub enum Reply {
    /// Answers with a text, and reports 12 input tokens and 30 output tokens.
    Text(String),
    /// Calls a function with these arguments.
    Call(&'static str, Value),
    /// Answers with this raw message of the assistant.
    Message(Value),
    /// Redirects the caller.
    Redirect(String),
    /// Answers with a status and a body.
    Raw(u16, &'static str, String),
    /// Refuses with a status, and says how long not to ask again, in the words of `retry-after`.
    Refused(u16, &'static str),
    /// Answers with a text if the request has at most so many tokens, and says how many it has; refuses it
    /// otherwise.
    Within(i64, String),
    /// Streams an answer of this content type.
    Stream(&'static str, Vec<Part>),
    /// Answers with a text after this delay.
    Late(Duration, String),
    /// Answers with a text after a call of [`ModelServer::release`].
    Held(String),
    /// Answers with `answer to ` and the last question, or with status 401 while [`ModelServer::fail`] is
    /// set.
    Echo,
}

/// The server; it ends with the test's runtime.
pub struct ModelServer {
    /// Where it listens, in the form for `MODEL_BASE_URL`.
    pub base_url: String,
    shared: Arc<Shared>,
}

struct Shared {
    replies: Mutex<VecDeque<Reply>>,
    requests: Mutex<Vec<(Option<String>, Value)>>,
    held: Arc<Semaphore>,
    asked: Semaphore,
    streamed: Arc<Semaphore>,
    failing: AtomicBool,
}

impl ModelServer {
    /// Starts a server that sends these replies in turn, the last one forever.
    pub async fn start(replies: impl Into<VecDeque<Reply>>) -> Self {
        let shared = Arc::new(Shared {
            replies: Mutex::new(replies.into()),
            requests: Mutex::default(),
            held: Arc::new(Semaphore::new(0)),
            asked: Semaphore::new(0),
            streamed: Arc::new(Semaphore::new(0)),
            failing: AtomicBool::new(false),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { base_url, shared }
    }

    /// The settings that use it as the model.
    pub fn settings(&self) -> [(&str, &str); 2] {
        [("MODEL", "test-model"), ("MODEL_BASE_URL", &self.base_url)]
    }

    /// The bodies of the requests so far.
    pub fn requests(&self) -> Vec<Value> {
        self.shared
            .requests
            .lock()
            .unwrap()
            .iter()
            .map(|(_, body)| body.clone())
            .collect()
    }

    /// The `authorization` header of the first request.
    pub fn authorization(&self) -> Option<String> {
        self.shared.requests.lock().unwrap()[0].0.clone()
    }

    /// Waits until one more request has come in.
    pub async fn asked(&self) {
        self.shared.asked.acquire().await.unwrap().forget();
    }

    /// Waits until one more streamed answer is no longer read: because it ended, or because the reader
    /// left.
    pub async fn streamed(&self) {
        self.shared.streamed.acquire().await.unwrap().forget();
    }

    /// Makes the replies of [`Reply::Echo`] fail, or succeed again.
    pub fn fail(&self, failing: bool) {
        self.shared.failing.store(failing, Ordering::SeqCst);
    }

    /// Releases one held answer.
    pub fn release(&self) {
        self.shared.held.add_permits(1);
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let authorization = request.headers().get("authorization");
    let authorization = authorization.map(|value| value.to_str().unwrap().to_owned());
    let body = axum::body::to_bytes(request.into_body(), usize::MAX)
        .await
        .unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let question = body["messages"].as_array().unwrap().last().unwrap()["content"].clone();
    let wish = Wish {
        path,
        is_streamed: body["stream"] == true,
        with_usage: body["stream_options"]["include_usage"] == true,
    };
    shared.requests.lock().unwrap().push((authorization, body));
    shared.asked.add_permits(1);

    let reply = {
        let mut replies = shared.replies.lock().unwrap();
        if replies.len() > 1 {
            replies.pop_front().unwrap()
        } else {
            replies[0].clone()
        }
    };
    let stream = |content_type: &'static str, parts| {
        let (held, over) = (Arc::clone(&shared.held), Arc::clone(&shared.streamed));
        let body = model_stream::body(parts, held, over);
        ([("content-type", content_type)], body).into_response()
    };
    let (message, finish_reason) = match reply {
        Reply::Text(text) => (said(&text), "stop"),
        Reply::Stream(content_type, parts) => return stream(content_type, parts),
        Reply::Echo if shared.failing.load(Ordering::SeqCst) => {
            return StatusCode::UNAUTHORIZED.into_response();
        }
        Reply::Echo => {
            // The question may be joined with earlier ones that were never answered.
            let question = question.as_str().and_then(|text| text.split("\n\n").last());
            (
                said(&format!("answer to {}", question.unwrap_or_default())),
                "stop",
            )
        }
        Reply::Late(wait, text) => {
            tokio::time::sleep(wait).await;
            (said(&text), "stop")
        }
        Reply::Held(text) => {
            shared.held.acquire().await.unwrap().forget();
            (said(&text), "stop")
        }
        Reply::Call(name, arguments) => {
            let call = json!({
                "id": "call_1",
                "type": "function",
                "function": { "name": name, "arguments": arguments.to_string() },
            });
            let message = json!({ "role": "assistant", "content": null, "tool_calls": [call] });
            (message, "tool_calls")
        }
        Reply::Message(message) => (message, "tool_calls"),
        Reply::Redirect(location) => {
            return (StatusCode::TEMPORARY_REDIRECT, [("location", location)]).into_response();
        }
        Reply::Within(limit, text) => {
            let tokens = tokens(&shared.requests.lock().unwrap().last().unwrap().1);
            if tokens > limit {
                let code = json!({ "error": { "code": "context_length_exceeded" } });
                return (StatusCode::BAD_REQUEST, axum::Json(code)).into_response();
            }
            let message = said(&text);
            return axum::Json(json!({
                "model": "test-model-2026",
                "choices": [{ "index": 0, "message": message, "finish_reason": "stop" }],
                "usage": { "prompt_tokens": tokens, "completion_tokens": 30 },
            }))
            .into_response();
        }
        Reply::Refused(status, retry_after) => {
            let status = StatusCode::from_u16(status).unwrap();
            return (status, [("retry-after", retry_after)]).into_response();
        }
        Reply::Raw(status, content_type, body) => {
            let status = StatusCode::from_u16(status).unwrap();
            return (status, [("content-type", content_type)], body).into_response();
        }
    };
    match wish.answer(&message, finish_reason) {
        Some(Form::Whole(body)) => {
            ([("content-type", "application/json")], body.to_string()).into_response()
        }
        Some(Form::Streamed(content_type, parts)) => stream(content_type, parts),
        None => (StatusCode::NOT_FOUND, wish.path).into_response(),
    }
}

/// The tokens of a request as a strict tokenizer counts them: one for three characters of ASCII or two of other
/// alphabets, one for each of other scripts, and some for each message.
fn tokens(request: &Value) -> i64 {
    let messages = request["messages"].as_array().unwrap().iter();
    let texts = messages.filter_map(|message| message["content"].as_str());
    let tools = request["tools"].to_string();
    let tokens: f64 = texts
        .chain([tools.as_str()])
        .flat_map(str::chars)
        .map(|character| match character.len_utf8() {
            1 => 1.0 / 3.0,
            2 => 0.5,
            _ => 1.0,
        })
        .sum();
    let messages = request["messages"].as_array().unwrap().len();
    #[allow(clippy::cast_possible_truncation)]
    let tokens = tokens.ceil() as i64;
    tokens + 4 * i64::try_from(messages).unwrap()
}

fn said(text: &str) -> Value {
    json!({ "role": "assistant", "content": text })
}

/// How a request wants its answer.
struct Wish {
    path: String,
    is_streamed: bool,
    with_usage: bool,
}

/// An answer in the protocol of a provider.
enum Form {
    Whole(Value),
    Streamed(&'static str, Vec<Part>),
}

impl Wish {
    /// The answer in the protocol of the provider that uses this path. All but OpenAI's have only text.
    fn answer(&self, message: &Value, finish_reason: &str) -> Option<Form> {
        let text = message["content"].as_str().unwrap_or_default();
        Some(match (self.path.as_str(), self.is_streamed) {
            ("/v1/chat/completions", false) => Form::Whole(json!({
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "created": 0,
                "model": "test-model-2026",
                "choices": [{ "index": 0, "message": message, "finish_reason": finish_reason }],
                "usage": { "prompt_tokens": 12, "completion_tokens": 30, "total_tokens": 42 },
            })),
            ("/v1/chat/completions", true) => Form::Streamed(
                "text/event-stream",
                model_stream::completion(message, finish_reason, self.with_usage),
            ),
            ("/v1/messages", false) => Form::Whole(json!({
                "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-2026",
                "content": [{ "type": "text", "text": text }], "stop_reason": "end_turn",
                "usage": { "input_tokens": 12, "output_tokens": 30 },
            })),
            ("/v1/messages", true) => {
                Form::Streamed("text/event-stream", model_stream::anthropic(text))
            }
            ("/v1/api/chat", false) => Form::Whole(json!({
                "model": "llama-2026", "message": { "role": "assistant", "content": text },
                "done": true, "done_reason": "stop", "prompt_eval_count": 12, "eval_count": 30,
            })),
            ("/v1/api/chat", true) => {
                Form::Streamed("application/x-ndjson", model_stream::ollama(text))
            }
            ("/v1/model/anthropic.claude/converse", _) => Form::Whole(json!({
                "output": { "message": { "role": "assistant", "content": [{ "text": text }] } },
                "stopReason": "end_turn",
                "usage": { "inputTokens": 12, "outputTokens": 30, "totalTokens": 42 },
            })),
            ("/v1/model/anthropic.claude/converse-stream", _) => Form::Streamed(
                "application/vnd.amazon.eventstream",
                model_stream::bedrock(text),
            ),
            _ => return None,
        })
    }
}
