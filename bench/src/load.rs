//! Callers of the local server over HTTP: each has a connection of its own, which it keeps, and sends
//! the next request when it has the answer to the last, as the clients of pgbench do.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rig::local_run::{LocalRun, command};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::build::program;
use crate::database::{BenchDatabase, TODAY};

/// What a user says in every turn.
pub const QUERY: &str = "I sleep badly. What would help me?";

/// When a load ends.
#[derive(Clone, Copy)]
pub enum Until {
    /// After this time, in whole seconds.
    Time(Duration),
    /// When each caller has had this many answers.
    Times(usize),
}

/// A request.
#[derive(Clone)]
pub struct Call {
    /// The method.
    pub method: &'static str,
    /// The path, with the query string.
    pub uri: String,
    /// The body, as JSON.
    pub body: Option<Value>,
}

impl Call {
    /// Any request.
    pub fn new(method: &'static str, uri: String, body: Option<Value>) -> Self {
        Self { method, uri, body }
    }

    /// A turn.
    pub fn chat(session_id: &str) -> Self {
        let body = json!({ "query": QUERY, "session_id": session_id });
        Self::new("POST", "/chat".into(), Some(body))
    }

    /// The last ten messages.
    pub fn history(session_id: &str) -> Self {
        let uri = format!("/chat/history/{session_id}?limit=10&order=desc");
        Self::new("GET", uri, None)
    }

    /// Resumes a session.
    pub fn load_session(session_id: &str) -> Self {
        let uri = format!("/chat/load-session?session_id={session_id}");
        Self::new("POST", uri, None)
    }

    /// Closes a session and opens another.
    pub fn reset(session_id: &str) -> Self {
        let uri = format!("/chat/reset?session_id={session_id}");
        Self::new("POST", uri, None)
    }

    /// The statistics of a session.
    pub fn status(session_id: &str) -> Self {
        let uri = format!("/chat/status?session_id={session_id}");
        Self::new("GET", uri, None)
    }

    /// The request that a function answers.
    pub fn to_function(name: &str, session_id: &str) -> Self {
        match name {
            "chat" => Self::chat(session_id),
            "history" => Self::history(session_id),
            "load-session" => Self::load_session(session_id),
            "reset" => Self::reset(session_id),
            "status" => Self::status(session_id),
            other => panic!("there is no function {other}"),
        }
    }
}

/// A running local server; it stops when it is dropped.
pub struct Server {
    address: String,
    run: LocalRun,
    _folder: TempDir,
}

impl Server {
    /// Starts one on the database of today, with the rights of the functions.
    pub async fn start(database: &BenchDatabase) -> Self {
        Self::with(database, &[]).await
    }

    /// Starts one with further settings.
    pub async fn with(database: &BenchDatabase, more: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = database.url(TODAY);
        let migrate = database.superuser_url(TODAY);
        let mut settings = vec![
            ("DATABASE_URL", url.as_str()),
            ("MIGRATE_DATABASE_URL", migrate.as_str()),
        ];
        settings.extend(more);
        let run = LocalRun::start(command(&program("local"), &[], folder.path(), &settings)).await;
        let address = run.address.trim_start_matches("http://").to_owned();
        Self {
            address,
            run,
            _folder: folder,
        }
    }

    /// A new caller.
    pub async fn caller(&self) -> Caller {
        Caller::to(&self.address).await
    }

    /// The most memory that it has used so far, in MB.
    pub fn peak_memory_mb(&self) -> f64 {
        self.run.peak_memory_mb()
    }

    /// Lets callers send requests, one caller for each of `calls`; returns how many were answered, and per
    /// second.
    pub async fn load(&self, calls: &[Call], until: Until) -> (f64, f64) {
        let callers = join_all(calls.iter().map(|_| self.caller())).await;
        let started = Instant::now();
        let counts = callers
            .into_iter()
            .zip(calls)
            .map(async |(mut caller, call)| {
                let mut count = 0;
                while match until {
                    Until::Time(time) => started.elapsed() < time,
                    Until::Times(times) => count < times,
                } {
                    caller.send(call).await;
                    count += 1;
                }
                count as f64
            });
        let count: f64 = join_all(counts).await.into_iter().sum();
        (count, count / started.elapsed().as_secs_f64())
    }
}

/// A caller with a connection.
pub struct Caller {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

impl Caller {
    /// A caller of a server: its host and port.
    pub async fn to(host: &str) -> Self {
        let stream = TcpStream::connect(host).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self {
            sender,
            host: host.to_owned(),
        }
    }

    /// Sends a request and reads its answer, which must be good.
    pub async fn send(&mut self, call: &Call) -> Bytes {
        let body = self.begin(call).await;
        body.collect().await.unwrap().to_bytes()
    }

    /// Sends a request, whose answer must be good; returns its body, to be read.
    pub async fn begin(&mut self, call: &Call) -> Incoming {
        let body = call.body.as_ref().map(Value::to_string).unwrap_or_default();
        let request = Request::builder()
            .method(call.method)
            .uri(&call.uri)
            .header("host", &self.host)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        let answer = self.sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{}", call.uri);
        answer.into_body()
    }
}
