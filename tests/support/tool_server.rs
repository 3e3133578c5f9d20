//! A real HTTP server with functions of an installation, and the file that declares them.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

/// The server; it ends with the test's runtime. What it does follows from the last part of the path.
pub struct ToolServer {
    /// Where it listens.
    pub url: String,
    requests: Requests,
}

/// The header `x-key` and the arguments of each call.
type Requests = Arc<Mutex<Vec<(Option<String>, Value)>>>;

impl ToolServer {
    /// Starts it.
    pub async fn start() -> Self {
        let requests = Arc::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/{what}", axum::routing::any(answer))
            .with_state(Arc::clone(&requests));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, requests }
    }

    /// The calls so far: the header `x-key`, and the arguments.
    pub fn requests(&self) -> Vec<(Option<String>, Value)> {
        self.requests.lock().unwrap().clone()
    }

    /// A file that declares a function by this name at this path, with more members.
    pub fn declare(&self, name: &str, path: &str, more: &Value) -> NamedTempFile {
        let mut function = json!({
            "name": name,
            "description": "Says when a shop is open",
            "parameters": {
                "type": "object",
                "properties": { "day": { "type": "string" } },
                "required": ["day"],
            },
            "url": format!("{}/{path}", self.url),
        });
        for (name, value) in more.as_object().unwrap() {
            function[name] = value.clone();
        }
        let mut file = NamedTempFile::new().unwrap();
        write!(file, "{}", json!([function])).unwrap();
        file
    }
}

async fn answer(
    Path(what): Path<String>,
    State(requests): State<Requests>,
    request: Request,
) -> Response {
    let key = request.headers().get("x-key");
    let key = key.map(|value| value.to_str().unwrap().to_owned());
    let body = axum::body::to_bytes(request.into_body(), usize::MAX)
        .await
        .unwrap();
    let arguments = serde_json::from_slice(&body).unwrap_or_default();
    requests.lock().unwrap().push((key, arguments));
    match what.as_str() {
        "json" => axum::Json(json!({ "open": "9 to 5" })).into_response(),
        "text" => "Open all day".into_response(),
        "large" => "x".repeat(100_000).into_response(),
        "refused" => (StatusCode::BAD_REQUEST, "`day` is missing").into_response(),
        "failing" => (StatusCode::INTERNAL_SERVER_ERROR, "canary").into_response(),
        "late" => {
            tokio::time::sleep(Duration::from_secs(30)).await;
            "late".into_response()
        }
        "redirect" => (StatusCode::TEMPORARY_REDIRECT, [("location", "/json")]).into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}
