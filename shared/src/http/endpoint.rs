//! The HTTP boundary: the only code that sets status and headers, and that logs a request, once.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use futures_util::FutureExt;
use lambda_http::http::header::{
    ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, LINK, RETRY_AFTER, WWW_AUTHENTICATE,
};
use lambda_http::http::{Method, Response, StatusCode};
use lambda_http::{Body, http};
use serde::Serialize;

use crate::http::reporter::{Outcome, Reporter};
use crate::http::request::{Request, request_id};
use crate::http::route::Route;
use crate::observed;
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

/// A successful answer.
#[derive(Debug)]
pub struct Reply {
    content_type: &'static str,
    body: String,
    replayed: bool,
    /// Where the next page is, relative to this one.
    next: Option<String>,
}

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
        Self {
            content_type,
            body,
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
    reporter: &Reporter,
    request: lambda_http::Request,
) -> http::Response<Body> {
    let request_id = request_id(&request);
    let method = request.method().clone();
    let found = Route::find(E::ROUTES, &method, request.uri().path());
    let path = found
        .as_ref()
        .map_or_else(|_| first_path::<E>(), |(route, _)| route.path);
    let handled = handle(endpoint, found, request);
    report::<E>(reporter, path, &method, &request_id, handled).await
}

/// Answers an event that could not be read as a request.
pub async fn refuse<E: Endpoint>(
    problem: Problem,
    reporter: &Reporter,
    request_id: &str,
) -> http::Response<Body> {
    let unread = async { Err(problem) };
    report::<E>(
        reporter,
        first_path::<E>(),
        &Method::default(),
        request_id,
        unread,
    )
    .await
}

/// The route that is logged for a request that matches none of the function's.
fn first_path<E: Endpoint>() -> &'static str {
    E::ROUTES.first().map_or("", |route| route.path)
}

async fn report<E: Endpoint>(
    reporter: &Reporter,
    path: &'static str,
    method: &Method,
    request_id: &str,
    handled: impl Future<Output = Result<Reply, Problem>>,
) -> http::Response<Body> {
    let started = Instant::now();
    let (result, observed) = observed::of(handled).await;
    reporter.report(Outcome {
        function: E::NAME,
        route: path,
        method,
        request_id,
        duration: started.elapsed(),
        problem: result.as_ref().err(),
        observed,
    });
    match result {
        Ok(reply) => success(reply, request_id),
        Err(problem) => refusal(&problem, request_id),
    }
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
    AssertUnwindSafe(handled)
        .catch_unwind()
        .await
        .unwrap_or_else(|panic| Err(Problem::Internal(panic_message(&*panic).into())))
}

fn success(reply: Reply, request_id: &str) -> http::Response<Body> {
    let mut response = answer(StatusCode::OK, reply.content_type, reply.body, request_id);
    let link = reply.next.map(|query| format!("<?{query}>; rel=\"next\""));
    if let Some(Ok(link)) = link.map(HeaderValue::try_from) {
        response.headers_mut().insert(LINK, link);
    }
    if reply.replayed {
        response
            .headers_mut()
            .insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

/// The answer to a request that failed, such as one for which no endpoint was found.
#[must_use]
pub fn refusal(problem: &Problem, request_id: &str) -> http::Response<Body> {
    let body = problem.document(request_id).to_string();
    let mut response = answer(
        problem.status(),
        "application/problem+json",
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
    content_type: &'static str,
    body: String,
    request_id: &str,
) -> http::Response<Body> {
    let mut response = Response::new(Body::Text(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
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
