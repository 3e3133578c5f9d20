//! The HTTP boundary: the only code that sets status and headers, and that logs a request, once. A request whose
//! answer is a stream is logged when the stream has ended.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;
use lambda_http::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, LINK, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use lambda_http::http::{Method, Response, StatusCode};
use lambda_http::{BoxFuture, http};
use serde::Serialize;

use crate::http::events::{Event, Events, channel};
use crate::http::reporter::{Outcome, Reporter};
use crate::http::request::{Request, request_id};
use crate::http::response::Body;
use crate::http::route::Route;
use crate::observed::{self, Observed};
use crate::problem::Problem;

/// The header every answer carries; its value is also in the log.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The header of an answer that was stored by an earlier call and is returned unchanged.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// One function of the API: its routes and what it does.
pub trait Endpoint: Send + Sync + 'static {
    /// The name of the function, as it appears in metrics.
    const NAME: &'static str;

    /// The routes it serves; [`Request::route`] says which one was called.
    const ROUTES: &'static [Route];

    /// Answers one request.
    ///
    /// # Errors
    /// The [`Problem`] reported to the caller.
    fn handle(&self, request: Request) -> impl Future<Output = Result<Reply, Problem>> + Send;
}

/// A header that keeps proxies such as nginx from collecting a stream before they pass it on.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// A successful answer.
pub struct Reply {
    content: Content,
    replayed: bool,
    /// Where the next page is, relative to this one.
    next: Option<String>,
}

enum Content {
    /// There is nothing to say.
    Nothing,
    /// Text of this type.
    Text(&'static str, String),
    /// Events, sent by what runs once the answer has begun.
    Events(Produce),
}

/// Sends events until all are sent. A problem becomes the last event.
type Produce = Box<dyn FnOnce(Events) -> BoxFuture<'static, Result<(), Problem>> + Send>;

impl Reply {
    /// An answer with `body` as JSON.
    ///
    /// # Errors
    /// [`Problem::Internal`] when it cannot be written as JSON.
    pub fn json(body: &impl Serialize) -> Result<Self, Problem> {
        let body =
            serde_json::to_string(body).map_err(|error| Problem::Internal(Box::new(error)))?;
        Ok(Self::text("application/json", body))
    }

    /// An answer with this text.
    #[must_use]
    pub fn text(content_type: &'static str, body: String) -> Self {
        Self::new(Content::Text(content_type, body))
    }

    /// An answer without a body.
    #[must_use]
    pub fn nothing() -> Self {
        Self::new(Content::Nothing)
    }

    /// An answer of events, which `produce` sends in a task of its own: it goes on when the caller hangs up.
    /// The stream ends with it; if it fails, with an event `error`.
    #[must_use]
    pub fn events<F>(produce: impl FnOnce(Events) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<(), Problem>> + Send + 'static,
    {
        Self::new(Content::Events(Box::new(|events| {
            Box::pin(produce(events))
        })))
    }

    fn new(content: Content) -> Self {
        Self {
            content,
            replayed: false,
            next: None,
        }
    }

    /// The same answer with a link to the next page, if there is one: a query string.
    #[must_use]
    pub fn with_next(self, query: Option<String>) -> Self {
        Self {
            next: query,
            ..self
        }
    }

    /// The same answer, marked as stored by an earlier call.
    #[must_use]
    pub fn replayed(self) -> Self {
        Self {
            replayed: true,
            ..self
        }
    }
}

/// Answers a request to `endpoint`. It always returns an answer, and `reporter` always writes a
/// line.
pub async fn respond<E: Endpoint>(
    endpoint: &E,
    reporter: &Arc<Reporter>,
    request: lambda_http::Request,
) -> http::Response<Body> {
    let found = Route::find(E::ROUTES, request.method(), request.uri().path());
    let path = found
        .as_ref()
        .map_or_else(|_| first_path::<E>(), |(route, _)| route.path);
    let method = request.method().clone();
    let line = LineStart::new::<E>(reporter, path, method, request_id(&request));
    let handled = observed::of(handle(endpoint, found, request)).await;
    answered(line, handled)
}

/// Answers an event that could not be read as a request.
#[must_use]
pub fn refuse<E: Endpoint>(
    problem: Problem,
    reporter: &Arc<Reporter>,
    request_id: String,
) -> http::Response<Body> {
    let line = LineStart::new::<E>(reporter, first_path::<E>(), Method::default(), request_id);
    answered(line, (Err(problem), Observed::default()))
}

/// The route that is logged for a request that matches none of the function's.
fn first_path<E: Endpoint>() -> &'static str {
    E::ROUTES.first().map_or("", |route| route.path)
}

/// What is known of a request's log line from the start.
struct LineStart {
    reporter: Arc<Reporter>,
    function: &'static str,
    route: &'static str,
    method: Method,
    request_id: String,
    started: Instant,
}

impl LineStart {
    fn new<E: Endpoint>(
        reporter: &Arc<Reporter>,
        route: &'static str,
        method: Method,
        request_id: String,
    ) -> Self {
        Self {
            reporter: Arc::clone(reporter),
            function: E::NAME,
            route,
            method,
            request_id,
            started: Instant::now(),
        }
    }

    fn end(&self, problem: Option<&Problem>, observed: Observed) {
        self.reporter.report(Outcome {
            function: self.function,
            route: self.route,
            method: &self.method,
            request_id: &self.request_id,
            duration: self.started.elapsed(),
            problem,
            observed,
        });
    }
}

/// The answer to a request that was handled. Writes its log line, or leaves that to the stream of events.
fn answered(
    line: LineStart,
    (result, observed): (Result<Reply, Problem>, Observed),
) -> http::Response<Body> {
    let reply = match result {
        Ok(reply) => reply,
        Err(problem) => {
            line.end(Some(&problem), observed);
            return refusal(&problem, &line.request_id);
        }
    };
    let Reply {
        content,
        replayed,
        next,
    } = reply;
    let request_id = &line.request_id;
    let mut response = match content {
        Content::Nothing => {
            let response = answer(StatusCode::NO_CONTENT, None, String::new(), request_id);
            line.end(None, observed);
            response
        }
        Content::Text(content_type, text) => {
            let response = answer(StatusCode::OK, Some(content_type), text, request_id);
            line.end(None, observed);
            response
        }
        Content::Events(produce) => {
            let mut response = answer(
                StatusCode::OK,
                Some("text/event-stream"),
                String::new(),
                request_id,
            );
            let headers = response.headers_mut();
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
            let (events, stream) = channel();
            *response.body_mut() = Body::Events(stream);
            tokio::spawn(send(line, observed, events, produce));
            response
        }
    };
    let link = next.map(|query| format!("<?{query}>; rel=\"next\""));
    if let Some(Ok(link)) = link.map(HeaderValue::try_from) {
        response.headers_mut().insert(LINK, link);
    }
    if replayed {
        response
            .headers_mut()
            .insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

/// Sends events to their end, and writes the log line before the stream ends: a Lambda environment may be frozen
/// right after.
async fn send(line: LineStart, before: Observed, events: Events, produce: Produce) {
    let produced = caught(produce(events.clone()));
    let (produced, observed) = observed::of(produced).await;
    let problem = produced.err();
    if let Some(problem) = &problem {
        events.send(&Event::of_problem(problem, &line.request_id));
    }
    line.end(problem.as_ref(), before.and(observed));
}

async fn handle<E: Endpoint>(
    endpoint: &E,
    found: Result<(&'static Route, Vec<String>), Problem>,
    request: lambda_http::Request,
) -> Result<Reply, Problem> {
    let handled = async {
        let (route, path_parameters) = found?;
        let request = Request::read(route, path_parameters, request)?;
        endpoint.handle(request).await
    };
    caught(handled).await
}

/// The outcome of work, which is a problem if it panics.
async fn caught<T>(work: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
    AssertUnwindSafe(work)
        .catch_unwind()
        .await
        .unwrap_or_else(|panic| Err(Problem::Internal(panic_message(&*panic).into())))
}

/// The answer to a request that failed, such as one for which no endpoint was found.
#[must_use]
pub fn refusal(problem: &Problem, request_id: &str) -> http::Response<Body> {
    let body = problem.document(request_id).to_string();
    let mut response = answer(
        problem.status(),
        Some("application/problem+json"),
        body,
        request_id,
    );
    let headers = response.headers_mut();
    if let Some(wait) = problem.retry_after() {
        headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs()));
    }
    if problem.status() == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    let allowed = problem.allowed_methods();
    if let Some(Ok(methods)) = allowed.map(HeaderValue::try_from) {
        headers.insert(ALLOW, methods);
    }
    response
}

fn answer(
    status: StatusCode,
    content_type: Option<&'static str>,
    body: String,
    request_id: &str,
) -> http::Response<Body> {
    let mut response = Response::new(Body::Text(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if let Some(content_type) = content_type {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    if let Ok(request_id) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, request_id);
    }
    response
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    // A panic's message can have anything formatted into it, so only literals are kept.
    panic.downcast_ref::<&'static str>().map_or_else(
        || "the handler panicked".to_owned(),
        |text| format!("the handler panicked: {text}"),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::{Value, json};

    use super::*;

    struct Sends;

    impl Endpoint for Sends {
        const NAME: &'static str = "sends";
        const ROUTES: &'static [Route] = &[Route::get("/panics"), Route::get("/fails")];

        async fn handle(&self, request: Request) -> Result<Reply, Problem> {
            let panics = request.route().path == "/panics";
            let user = "a user".to_owned();
            Ok(Reply::events(move |events| async move {
                events.send(&Event::new("delta", &json!({ "text": "so far" })));
                assert!(!panics, "{user} said something");
                Err(Problem::SessionBusy)
            }))
        }
    }

    #[tokio::test]
    async fn what_goes_wrong_in_a_stream_is_its_last_event_and_in_its_line() {
        let lines = Arc::new(Mutex::new(Vec::<Value>::new()));
        let written = Arc::clone(&lines);
        let reporter = Arc::new(Reporter::to_cloudwatch(None, move |line| {
            written
                .lock()
                .unwrap()
                .push(serde_json::from_str(line).unwrap());
        }));
        for (path, status, code) in [
            ("/panics", 500, "internal_error"),
            ("/fails", 409, "session_busy"),
        ] {
            let request = http::Request::get(path).body(lambda_http::Body::Empty);
            let response = respond(&Sends, &reporter, request.unwrap()).await;
            assert_eq!(response.status(), 200);
            let request_id = response.headers()[REQUEST_ID].to_str().unwrap().to_owned();
            let text = response.into_body().collected().await;

            let (before, error) = text.split_once("event: error\ndata: ").unwrap();
            assert_eq!(before, "event: delta\ndata: {\"text\":\"so far\"}\n\n");
            let error: Value = serde_json::from_str(error.trim()).unwrap();
            assert_eq!(error["code"], code);
            assert_eq!(error["request_id"], json!(request_id));
            let line = lines.lock().unwrap().pop().unwrap();
            assert_eq!(
                (&line["status"], &line["code"]),
                (&json!(status), &json!(code))
            );
            assert_eq!(line["request_id"], json!(request_id));
            assert!(!line.to_string().contains("a user said"), "{line}");
        }
        assert!(lines.lock().unwrap().is_empty(), "one line for each");
    }
}
