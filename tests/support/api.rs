//! The API in this process, on its own database; the helpers are named by the API's verbs.

use std::any::Any;
use std::collections::HashMap;
use std::fmt::Display;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use assistant::AssistantConfig;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, HeaderValue, Method, Request};
use local::access::Access;
use rig::sessions::filled_sessions;
use serde_json::{Value, json};
use shared::buckets::Buckets;
use shared::caller::{Permissions, REQUEST_TIMEOUT};
use shared::database::{Connection, Database, DatabaseConfig};
use shared::http::reporter::Reporter;
use shared::store::Store;
use shared::store::search::{self, FillError, Filled};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tower::ServiceExt;
use uuid::Uuid;

use crate::contract;
use crate::emulator::Emulator;
use crate::local_run::{Complaints, LocalRun};
use crate::postgres;
use crate::proxy::Proxy;
use crate::stream::{Source, Stream};

/// The instances of each function in the emulator; a turn that waits for its model occupies one.
const INSTANCES: usize = 4;

/// The requests that reach the database.
pub const ENDPOINTS: [&str; 14] = [
    "history",
    "status",
    "service status",
    "load",
    "reset",
    "chat",
    "stream",
    "stop",
    "export",
    "list sessions",
    "find session",
    "change session",
    "search",
    "erase session",
];

/// What callers may do in tests, unless the settings say otherwise.
const PERMISSIONS: [(&str, &str); 2] = [
    (Permissions::ANONYMOUS_SEES_ALL, "true"),
    (Permissions::CALLERS_MAY_ERASE, "true"),
];

/// The API with the local server's routes, in one or several environments on one database.
pub struct TestApi {
    /// Each has its own connection, like each environment of a function, or several if the settings say
    /// so.
    environments: Arc<Vec<Environment>>,
    next: Arc<AtomicUsize>,
    /// The token that its requests carry, if any.
    token: Option<String>,
    /// The name of its database.
    pub database: String,
}

/// One way to reach the API. `TESTS_API` selects it: unset for the one in this process, `local` for the
/// local server, `emulator` for the functions in cargo-lambda's emulator.
enum Environment {
    /// The local server's routes in this process.
    Here(Router),
    /// A server over HTTP.
    There {
        address: String,
        client: reqwest::Client,
        /// It runs until this is dropped.
        _server: Box<dyn Any + Send + Sync>,
    },
}

/// Fills the index of a database for searching, with this configuration.
///
/// # Errors
/// [`FillError`].
pub async fn fill(database: &str, language: &str) -> Result<Filled, FillError> {
    let url = postgres::server().url(database);
    let database = Database::new(DatabaseConfig::parse(&url).unwrap());
    let store = Store::new(Arc::new(database));
    search::fill(&store, language, Instant::now() + REQUEST_TIMEOUT).await
}

/// The lines that a function on Lambda logged for its requests.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    /// The lines since the last call.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// The only line since the last call.
    #[track_caller]
    pub fn only(&self) -> Value {
        let lines = self.take();
        let [line] = &lines[..] else {
            panic!("one line for a request: {lines:?}")
        };
        assert_eq!(line.find('\n'), Some(line.len() - 1), "{line}");
        serde_json::from_str(line).unwrap()
    }
}

/// The answer to a request.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, parsed.
    pub body: Value,
}

impl TestApi {
    /// The API on a new database, with the built-in model.
    pub async fn start() -> Self {
        Self::with_settings(&[]).await
    }

    /// The API on a new database, with settings as from the environment.
    pub async fn with_settings(settings: &[(&str, &str)]) -> Self {
        let database = postgres::migrated_database().await;
        let url = postgres::app_url(&database);
        Self::on(database, &url, settings).await
    }

    /// The API on a new database in this many environments, which take the requests in turn.
    pub async fn in_environments(count: usize) -> Self {
        let database = postgres::migrated_database().await;
        let url = postgres::app_url(&database);
        Self::on_in_environments(database, &url, &[], count).await
    }

    /// The API on a database, which it reaches through `url`.
    pub async fn on(database: String, url: &str, settings: &[(&str, &str)]) -> Self {
        Self::on_in_environments(database, url, settings, 1).await
    }

    /// The API on a database, which it reaches through `url`, in this many environments.
    pub async fn on_in_environments(
        database: String,
        url: &str,
        settings: &[(&str, &str)],
        count: usize,
    ) -> Self {
        let mut environments = Vec::new();
        for _ in 0..count {
            environments.push(Environment::start(url, settings).await);
        }
        Self::of(environments, database)
    }

    fn of(environments: Vec<Environment>, database: String) -> Self {
        Self {
            environments: Arc::new(environments),
            next: Arc::default(),
            token: None,
            database,
        }
    }

    /// The same API, called with this token: with the settings of an `Issuer`, one of its tokens makes
    /// its subject the owner. Not in the emulator, which has no authorizer.
    pub fn with_token(&self, token: impl Into<String>) -> Self {
        Self {
            environments: Arc::clone(&self.environments),
            next: Arc::clone(&self.next),
            token: Some(token.into()),
            database: self.database.clone(),
        }
    }

    /// The API on a database as on Lambda, and the lines that it logs there. If possible, it is connected
    /// before the first request.
    pub async fn on_lambda(
        database: String,
        url: &str,
        settings: &[(&str, &str)],
    ) -> (Self, Lines) {
        let lines = Lines::default();
        let written = lines.clone();
        let write = move |line: &str| written.0.lock().unwrap().push(line.to_owned());
        let reporter = Reporter::to_cloudwatch(Some("daissy-test".into()), write);
        let connected = Arc::new(Database::new(DatabaseConfig::parse(url).unwrap()));
        reporter.before_requests(connected.preconnect()).await;
        let (chat_config, access) = (chat_config(settings).await, access(settings));
        let store = Store::new(connected);
        let buckets = Buckets::read(variable(settings)).unwrap();
        let router = local::router::router(store, chat_config, buckets, reporter, access);
        (Self::of(vec![Environment::Here(router)], database), lines)
    }

    /// The API on a new database, served by a process of its own with settings as its variables, and what that
    /// process complains about.
    pub async fn in_a_process(settings: &[(&str, &str)]) -> (Self, Complaints) {
        let database = postgres::migrated_database().await;
        let url = postgres::app_url(&database);
        let mut variables = PERMISSIONS.to_vec();
        variables.extend(settings);
        // Maintaining the database takes other rights than its user has, which it would complain about.
        variables.extend([
            ("DATABASE_URL", url.as_str()),
            ("MAINTAIN_EVERY_MINUTES", "0"),
        ]);
        let folder = tempfile::tempdir().unwrap();
        let local = LocalRun::start(folder.path(), &variables).await;
        let complaints = local.complaints();
        let environment = Environment::there(local.address.clone(), (local, folder));
        (Self::of(vec![environment], database), complaints)
    }

    /// The API on a new database, connected through a proxy.
    pub async fn behind_proxy(settings: &[(&str, &str)]) -> (Self, Proxy) {
        let database = postgres::migrated_database().await;
        let proxy = Proxy::start(postgres::app_port()).await;
        let url = proxy.through(&postgres::app_url(&database));
        let api = Self::on(database, &url, settings).await;
        api.service_status().await;
        (api, proxy)
    }

    /// `POST /chat`, in its own task.
    pub fn chat_meanwhile(self: &Arc<Self>, body: Value) -> JoinHandle<Answer> {
        let api = Arc::clone(self);
        tokio::spawn(async move { api.chat(body).await })
    }

    /// Sends a request, with the token if there is one and the request has none.
    pub async fn send(&self, request: Request<Body>) -> Answer {
        let (environment, request) = self.addressed(request);
        environment.send(request).await
    }

    /// The next environment, and a request with the token.
    fn addressed(&self, mut request: Request<Body>) -> (&Environment, Request<Body>) {
        if let Some(token) = &self.token {
            let token = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
            request.headers_mut().entry(AUTHORIZATION).or_insert(token);
        }
        let next = self.next.fetch_add(1, Ordering::SeqCst) % self.environments.len();
        (&self.environments[next], request)
    }

    /// Sends a request without a body.
    pub async fn request(&self, method: Method, path: &str) -> Answer {
        self.send(
            Request::builder()
                .method(method)
                .uri(path)
                .body(Body::empty())
                .unwrap(),
        )
        .await
    }

    /// `POST /chat` with a raw body.
    pub async fn chat_raw(&self, body: impl Into<Body>) -> Answer {
        let request = Request::post("/chat")
            .header("content-type", "application/json")
            .body(body.into())
            .unwrap();
        self.send(request).await
    }

    /// `POST /chat`.
    pub async fn chat(&self, body: Value) -> Answer {
        self.chat_raw(body.to_string()).await
    }

    /// A session in which the user said these things and the assistant answered.
    pub async fn session(&self, queries: &[&str]) -> Uuid {
        let session_id = Uuid::now_v7();
        for query in queries {
            let answer = self
                .chat(json!({ "query": query, "session_id": session_id }))
                .await;
            assert_eq!(answer.status, 200, "{}", answer.body);
        }
        session_id
    }

    /// A session with this many messages, created in the database without its other counters; the n-th
    /// one says `n`, padded with dots to this length.
    pub async fn long_session(&self, messages: usize, length: usize) -> Uuid {
        let session_id = Uuid::now_v7();
        let id = format!("select '{session_id}'::uuid as session_id");
        self.sql(&filled_sessions(&id, messages, length)).await;
        session_id
    }

    /// `GET /chat/history/{session_id}`, with the query string `page`.
    pub async fn history(&self, session_id: impl Display, page: &str) -> Answer {
        self.request(Method::GET, &format!("/chat/history/{session_id}{page}"))
            .await
    }

    /// `GET /chat/status?session_id=`.
    pub async fn status(&self, session_id: impl Display) -> Answer {
        self.request(
            Method::GET,
            &format!("/chat/status?session_id={session_id}"),
        )
        .await
    }

    /// `GET /chat/status`.
    pub async fn service_status(&self) -> Answer {
        self.request(Method::GET, "/chat/status").await
    }

    /// `POST /chat/load-session?session_id=`.
    pub async fn load(&self, session_id: impl Display) -> Answer {
        self.request(
            Method::POST,
            &format!("/chat/load-session?session_id={session_id}"),
        )
        .await
    }

    /// `POST /chat/load-session?session_id=&at=`.
    pub async fn fork(&self, session_id: impl Display, at: impl Display) -> Answer {
        let path = format!("/chat/load-session?session_id={session_id}&at={at}");
        self.request(Method::POST, &path).await
    }

    /// `POST /chat/reset?session_id=`.
    pub async fn reset(&self, session_id: impl Display) -> Answer {
        self.request(
            Method::POST,
            &format!("/chat/reset?session_id={session_id}"),
        )
        .await
    }

    /// `GET /chat/sessions`, with the query string `page`.
    pub async fn sessions(&self, page: &str) -> Answer {
        self.request(Method::GET, &format!("/chat/sessions{page}"))
            .await
    }

    /// `GET /chat/sessions/{session_id}`.
    pub async fn find(&self, session_id: impl Display) -> Answer {
        self.request(Method::GET, &format!("/chat/sessions/{session_id}"))
            .await
    }

    /// `PATCH /chat/sessions/{session_id}`.
    pub async fn change(&self, session_id: impl Display, body: Value) -> Answer {
        let path = format!("/chat/sessions/{session_id}");
        self.send_json(Method::PATCH, &path, body).await
    }

    /// `DELETE /chat/sessions/{session_id}`.
    pub async fn erase(&self, session_id: impl Display) -> Answer {
        self.request(Method::DELETE, &format!("/chat/sessions/{session_id}"))
            .await
    }

    /// `PUT /chat/sessions/{session_id}/messages/{message_id}/feedback`.
    pub async fn feedback(
        &self,
        session_id: impl Display,
        message_id: impl Display,
        body: Value,
    ) -> Answer {
        let path = format!("/chat/sessions/{session_id}/messages/{message_id}/feedback");
        self.send_json(Method::PUT, &path, body).await
    }

    /// `GET /chat/export`, with a query string.
    pub async fn export(&self, query: &str) -> Answer {
        self.request(Method::GET, &format!("/chat/export{query}"))
            .await
    }

    /// `GET /chat/search` for a query, with further parameters such as `&limit=1`.
    pub async fn search(&self, query: &str, more: &str) -> Answer {
        let query: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        self.request(Method::GET, &format!("/chat/search?q={query}{more}"))
            .await
    }

    /// Fills the index for searching, as `maintain` does.
    pub async fn fill(&self) -> Filled {
        let filled = fill(&self.database, "simple").await.unwrap();
        assert!(filled.is_complete);
        filled
    }

    /// Sends a request with a JSON body.
    pub async fn send_json(&self, method: Method, path: &str, body: Value) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        self.send(request).await
    }

    /// `POST /chat/stream`. The answer has begun; it is a stream, or a problem.
    pub async fn stream(&self, body: Value) -> Stream {
        let request = Request::post("/chat/stream")
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        self.begin(request).await
    }

    /// A turn by `POST /chat/stream`, read to its end: its last event as the answer that `POST /chat` would be.
    pub async fn streamed_turn(&self, body: Value) -> Answer {
        let stream = self.stream(body).await;
        if stream.status != 200 {
            return self.refused(stream).await;
        }
        let mut headers = stream.headers.clone();
        let end = stream.all().await.pop().unwrap();
        let status = match end.name.as_str() {
            "error" => u16::try_from(end.data["status"].as_u64().unwrap()).unwrap(),
            name => {
                assert_eq!(name, "done");
                200
            }
        };
        if status != 200 {
            let problem = HeaderValue::from_static("application/problem+json");
            headers.insert(CONTENT_TYPE, problem);
        }
        Answer {
            status,
            headers,
            body: end.data,
        }
    }

    /// `GET /chat/stream/{session_id}`, with a query string, after an event with this id.
    pub async fn resume(
        &self,
        session_id: impl Display,
        query: &str,
        last_event_id: Option<&str>,
    ) -> Stream {
        let mut request = Request::get(format!("/chat/stream/{session_id}{query}"));
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        self.begin(request.body(Body::empty()).unwrap()).await
    }

    /// `POST /chat/stop?session_id=`, with further parameters such as `&message_id=`.
    pub async fn stop(&self, session_id: impl Display, more: &str) -> Answer {
        let path = format!("/chat/stop?session_id={session_id}{more}");
        self.request(Method::POST, &path).await
    }

    /// Reads a stream that must be a problem.
    pub async fn refused(&self, stream: Stream) -> Answer {
        let (status, headers) = (stream.status, stream.headers.clone());
        let bytes = stream.bytes().await;
        Answer::new(&Method::POST, "/chat/stream", status, headers, &bytes)
    }

    /// Sends a request whose answer is read while it arrives.
    async fn begin(&self, request: Request<Body>) -> Stream {
        let (environment, request) = self.addressed(request);
        environment.begin(request).await
    }

    /// Sends one of [`ENDPOINTS`], by its name.
    pub async fn ask(&self, endpoint: &str, session_id: Uuid) -> Answer {
        match endpoint {
            "history" => self.history(session_id, "").await,
            "status" => self.status(session_id).await,
            "service status" => self.service_status().await,
            "load" => self.load(session_id).await,
            "reset" => self.reset(session_id).await,
            "stream" => {
                let body = json!({ "query": "Hi", "session_id": session_id });
                self.send_json(Method::POST, "/chat/stream", body).await
            }
            "stop" => self.stop(session_id, "").await,
            "export" => self.export("").await,
            "list sessions" => self.sessions("").await,
            "find session" => self.find(session_id).await,
            "change session" => self.change(session_id, json!({ "pinned": true })).await,
            "search" => self.search("Hi", "").await,
            "erase session" => self.erase(session_id).await,
            "chat" => {
                self.chat(json!({ "query": "Hi", "session_id": session_id }))
                    .await
            }
            other => panic!("there is no endpoint {other}"),
        }
    }

    /// Sends all of [`ENDPOINTS`], one after the other.
    pub async fn every_endpoint(&self, session_id: Uuid) -> Vec<(&'static str, Answer)> {
        let mut answers = Vec::new();
        for endpoint in ENDPOINTS {
            answers.push((endpoint, self.ask(endpoint, session_id).await));
        }
        answers
    }

    /// Runs statements in the database as its owner.
    pub async fn sql(&self, statements: &str) {
        postgres::run(&self.database, statements).await;
    }

    /// Makes storing a message take this many seconds longer.
    pub async fn slow_messages(&self, seconds: f64) {
        self.sql(&format!(
            "create function slow() returns trigger language plpgsql as
             $$ begin perform pg_sleep({seconds}); return new; end $$;
             create trigger slow before insert on chat_messages for each row execute function slow()"
        ))
        .await;
    }

    /// The result of a query that returns one number.
    pub async fn number(&self, query: &str) -> i64 {
        let row = self
            .connection()
            .await
            .client()
            .query_typed_one(query, &[])
            .await
            .unwrap();
        row.get(0)
    }

    /// A connection to the database as its owner.
    pub async fn connection(&self) -> Connection {
        postgres::connect(&postgres::server().url(&self.database)).await
    }

    /// Asserts that no session in the database violates an invariant.
    pub async fn verify(&self) {
        let url = postgres::server().url(&self.database);
        let violations = local::verify::violations(&DatabaseConfig::parse(&url).unwrap()).await;
        assert_eq!(violations.unwrap(), []);
    }

    /// Ends all connections to the database, as a failover does.
    pub async fn cut_connections(&self) {
        postgres::cut_connections(&self.database).await;
    }
}

impl Environment {
    async fn start(url: &str, settings: &[(&str, &str)]) -> Self {
        let variables = variables(url, settings);
        match std::env::var("TESTS_API").as_deref() {
            Err(_) | Ok("") => {
                let (chat_config, access) = (chat_config(settings).await, access(&variables));
                let config = DatabaseConfig::read(DatabaseConfig::URL, variable(&variables));
                let database = Database::new(config.unwrap());
                let store = Store::new(Arc::new(database));
                let reporter = Reporter::to_log();
                let buckets = Buckets::read(variable(settings)).unwrap();
                let router = local::router::router(store, chat_config, buckets, reporter, access);
                Self::Here(router)
            }
            Ok("local") => Self::in_a_process(url, settings).await,
            Ok("emulator") => {
                let emulator = Emulator::start(&variables, INSTANCES);
                let address = format!("http://127.0.0.1:{}", emulator.port);
                Self::there(address, emulator)
            }
            Ok(other) => panic!("TESTS_API={other}: must be local or emulator"),
        }
    }

    async fn in_a_process(url: &str, settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let local = LocalRun::start(folder.path(), &variables(url, settings)).await;
        Self::there(local.address.clone(), (local, folder))
    }

    fn there(address: String, server: impl Any + Send + Sync) -> Self {
        Self::There {
            address,
            client: reqwest::Client::new(),
            _server: Box::new(server),
        }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let stream = self.begin(request).await;
        let (status, headers) = (stream.status, stream.headers.clone());
        let bytes = stream.bytes().await;
        Answer::new(&method, &path, status, headers, &bytes)
    }

    async fn begin(&self, mut request: Request<Body>) -> Stream {
        match self {
            Self::Here(router) => {
                // What a client and a socket add.
                let host = HeaderValue::from_static("localhost");
                request.headers_mut().entry(HOST).or_insert(host);
                let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
                request.extensions_mut().insert(ConnectInfo(peer));
                let response = router.clone().oneshot(request).await.unwrap();
                let (parts, body) = response.into_parts();
                Stream::new(parts.status.as_u16(), parts.headers, Source::Here(body))
            }
            Self::There {
                address, client, ..
            } => {
                let (parts, body) = request.into_parts();
                let body = to_bytes(body, usize::MAX).await.unwrap();
                let request = client
                    .request(parts.method, format!("{address}{}", parts.uri))
                    .headers(parts.headers)
                    .body(body);
                let response = request.send().await.unwrap();
                let (status, headers) = (response.status().as_u16(), response.headers().clone());
                Stream::new(status, headers, Source::There(response))
            }
        }
    }
}

/// The settings of an environment, with its database.
fn variables<'a>(url: &'a str, settings: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut variables = PERMISSIONS.to_vec();
    variables.extend(settings);
    variables.push(("DATABASE_URL", url));
    variables
}

async fn chat_config(settings: &[(&str, &str)]) -> AssistantConfig {
    AssistantConfig::read(variable(settings)).await.unwrap()
}

fn access(settings: &[(&str, &str)]) -> Access {
    Access::read(variable(settings)).unwrap()
}

fn variable(settings: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
    let settings: HashMap<_, _> = settings
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect();
    move |name| settings.get(name).cloned()
}

impl Answer {
    /// An answer to a request, which the contract must allow.
    #[track_caller]
    fn new(method: &Method, path: &str, status: u16, headers: HeaderMap, bytes: &[u8]) -> Self {
        let body = contract::check(method.as_str(), path, status, &headers, bytes);
        Self {
            status,
            headers,
            body,
        }
    }

    /// Sends a request over HTTP.
    ///
    /// # Errors
    /// When no answer arrives.
    pub async fn over_http(request: reqwest::RequestBuilder) -> reqwest::Result<Self> {
        let (client, request) = request.build_split();
        let request = request?;
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let answer = client.execute(request).await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let bytes = answer.bytes().await?;
        Ok(Self::new(&method, &path, status, headers, &bytes))
    }

    /// Asserts the whole problem document except its `detail`, which is returned.
    #[track_caller]
    pub fn assert_problem(&self, status: u16, code: &str) -> String {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let detail = self.body["detail"].as_str().expect("a detail").to_owned();
        let request_id = self.headers["x-request-id"].to_str().unwrap();
        let mut expected = json!({
            "type": "about:blank",
            "title": self.body["title"],
            "status": status,
            "detail": detail,
            "code": code,
            "request_id": request_id,
        });
        for member in ["session_id", "message_id"] {
            if let Some(id) = self.body.get(member) {
                assert!(
                    status >= 500 || ["session_busy", "model_context_exceeded"].contains(&code),
                    "only a problem of a turn to retry names its ids: {}",
                    self.body
                );
                expected[member] = id.clone();
            }
        }
        assert_eq!(self.body, expected);
        assert!(
            self.body["title"]
                .as_str()
                .is_some_and(|title| !title.is_empty())
        );
        for secret in [
            "postgresql://",
            "select ",
            "insert ",
            "panicked",
            "SQLSTATE",
        ] {
            assert!(
                !detail.contains(secret),
                "the detail reveals too much: {detail}"
            );
        }
        detail
    }

    /// A UUID in the body.
    #[track_caller]
    pub fn id(&self, member: &str) -> Uuid {
        let text = self.body[member]
            .as_str()
            .unwrap_or_else(|| panic!("{}", self.body));
        text.parse().unwrap()
    }

    /// The messages of a history, as `(role, content)`.
    pub fn said(&self) -> Vec<(String, String)> {
        let text = |message: &Value, member: &str| message[member].as_str().unwrap().to_owned();
        self.body["history"]
            .as_array()
            .unwrap()
            .iter()
            .map(|message| (text(message, "role"), text(message, "content")))
            .collect()
    }
}
