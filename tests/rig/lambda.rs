//! A Lambda environment: the real binary of a function, and the runtime API that it asks for invocations
//! (AWS documentation, "Lambda runtime API", "Extensions API").

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::{self, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;
use uuid::Uuid;

use crate::memory::peak_memory_mb;

/// Timeout for each step, on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// A running function; it is killed when dropped.
pub struct Environment {
    child: Child,
    api: Arc<Api>,
    /// Its standard output.
    log: NamedTempFile,
}

#[derive(Default)]
struct Api {
    waiting: Mutex<Waiting>,
    invoked: Notify,
    snapshot_taken: Notify,
    restored: Notify,
}

#[derive(Default)]
struct Waiting {
    events: Vec<(String, Value)>,
    answers: HashMap<String, oneshot::Sender<Value>>,
    /// Pending requests for an event, now and at most.
    asking: usize,
    most_asking: usize,
}

impl Environment {
    /// Starts the binary of a function, named `name`, with these variables and no others.
    pub async fn start(program: &Path, name: &str, settings: &[(&str, &str)]) -> Self {
        let api = Arc::new(Api::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = router(Arc::clone(&api));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let log = NamedTempFile::new().unwrap();
        let child = command(program, name, address)
            .envs(settings.iter().copied())
            .stdout(log.reopen().unwrap())
            .spawn()
            .unwrap();
        Self { child, api, log }
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap()
    }

    /// Invokes the function; returns its answer.
    pub async fn invoke(&self, event: Value) -> Value {
        let id = Uuid::new_v4().to_string();
        let (sender, answer) = oneshot::channel();
        {
            let mut waiting = self.api.waiting.lock().unwrap();
            waiting.events.push((id.clone(), event));
            waiting.answers.insert(id, sender);
        }
        self.api.invoked.notify_one();
        timeout(LIMIT, answer).await.expect("an answer").unwrap()
    }

    /// Waits until the function asks for its first invocation: the end of its cold start.
    pub async fn started(&self) {
        timeout(LIMIT, async {
            while self.most_asking() == 0 {
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
        })
        .await
        .expect("it starts");
    }

    /// The most invocations that the function ever asked for concurrently.
    pub fn most_asking(&self) -> usize {
        self.api.waiting.lock().unwrap().most_asking
    }

    /// Waits until the function is ready for its snapshot.
    pub async fn snapshot_taken(&self) {
        let taken = self.api.snapshot_taken.notified();
        timeout(LIMIT, taken).await.expect("a snapshot");
    }

    /// Restores the function from its snapshot.
    pub fn restore(&self) {
        self.api.restored.notify_one();
    }

    /// The most memory that the process has used so far, in MB; Linux only.
    pub fn peak_memory_mb(&self) -> f64 {
        peak_memory_mb(self.child.id().unwrap())
    }

    /// Stops the process as freezing does.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it continue.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Ends the environment as Lambda does; returns whether the exit code was 0.
    pub async fn end(mut self) -> bool {
        self.signal(Signal::TERM);
        let ended = timeout(LIMIT, self.child.wait()).await;
        ended.expect("it ends").unwrap().success()
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }
}

/// An event as an HTTP API sends it, for a path with or without a query string.
pub fn http_event(method: &str, uri: &str, body: Option<&Value>) -> Value {
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    json!({
        "version": "2.0",
        "routeKey": format!("{method} {path}"),
        "rawPath": path,
        "rawQueryString": query,
        "headers": { "content-type": "application/json" },
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "api",
            "domainName": "api.example.com",
            "domainPrefix": "api",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
                "userAgent": "tests"
            },
            "requestId": "id",
            "routeKey": format!("{method} {path}"),
            "stage": "$default",
            "time": "01/Jan/2026:00:00:00 +0000",
            "timeEpoch": 1_767_225_600_000_u64
        },
        "body": body.map(Value::to_string),
        "isBase64Encoded": false
    })
}

fn command(program: &Path, name: &str, api: SocketAddr) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", api.to_string())
        .env("AWS_LAMBDA_FUNCTION_NAME", name)
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
        .env("AWS_LAMBDA_LOG_GROUP_NAME", "group")
        .env("AWS_LAMBDA_LOG_STREAM_NAME", "stream")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    command
}

fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route(
            "/2018-06-01/runtime/invocation/{id}/response",
            post(answered),
        )
        .route("/2018-06-01/runtime/invocation/{id}/error", post(answered))
        .route("/2018-06-01/runtime/restore/next", get(restore))
        .route("/2020-01-01/extension/register", post(register))
        .route("/2020-01-01/extension/event/next", get(nothing))
        .with_state(api)
}

async fn next(State(api): State<Arc<Api>>) -> Response {
    {
        let mut waiting = api.waiting.lock().unwrap();
        waiting.asking += 1;
        waiting.most_asking = waiting.most_asking.max(waiting.asking);
    }
    let (id, event) = loop {
        if let Some(next) = api.waiting.lock().unwrap().events.pop() {
            break next;
        }
        api.invoked.notified().await;
    };
    api.waiting.lock().unwrap().asking -= 1;
    // Another request may be waiting for another event.
    api.invoked.notify_one();
    let deadline = SystemTime::now() + LIMIT;
    let deadline = deadline.duration_since(UNIX_EPOCH).unwrap().as_millis();
    let headers = [
        ("lambda-runtime-aws-request-id", id),
        ("lambda-runtime-deadline-ms", deadline.to_string()),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:eu-central-1:123456789012:function:status".into(),
        ),
    ];
    (headers, Json(event)).into_response()
}

async fn answered(
    State(api): State<Arc<Api>>,
    extract::Path(id): extract::Path<String>,
    body: String,
) -> Response {
    let answer = serde_json::from_str(&body).unwrap_or(Value::String(body));
    if let Some(waiting) = api.waiting.lock().unwrap().answers.remove(&id) {
        let _ = waiting.send(answer);
    }
    (
        axum::http::StatusCode::ACCEPTED,
        Json(json!({ "status": "OK" })),
    )
        .into_response()
}

async fn restore(State(api): State<Arc<Api>>) -> Json<Value> {
    api.snapshot_taken.notify_one();
    api.restored.notified().await;
    Json(json!({}))
}

async fn register() -> Response {
    let body = json!({ "functionName": "status", "functionVersion": "1", "handler": "bootstrap" });
    (
        [("lambda-extension-identifier", "an-extension")],
        Json(body),
    )
        .into_response()
}

async fn nothing() -> Response {
    std::future::pending().await
}
