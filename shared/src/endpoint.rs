//! The HTTP border: one place sets status and headers, and logs what happened, once.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use futures_util::FutureExt;
use lambda_http::http::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use lambda_http::http::{Response, StatusCode};
use lambda_http::{Body, http};
use serde::Serialize;

use crate::causes::causes;
use crate::problem::Problem;
use crate::request::{Request, request_id};
use crate::route::Route;

/// The header every answer carries; its value is in the log, too.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The header of an answer that was stored before and comes back unchanged.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// One function of the API: a route and what it does.
pub trait Endpoint: Send + Sync + 'static {
    /// The route it answers to.
    const ROUTE: Route;

    /// Answers one request.
    ///
    /// # Errors
    /// The [`Problem`] the caller is told of.
    fn handle(&self, request: Request) -> impl Future<Output = Result<Reply, Problem>> + Send;
}

/// A successful answer.
#[derive(Debug)]
pub struct Reply {
    body: String,
    replayed: bool,
}

impl Reply {
    /// An answer with `body` as JSON.
    ///
    /// # Errors
    /// [`Problem::Internal`] when it cannot be written as JSON.
    pub fn json(body: &impl Serialize) -> Result<Self, Problem> {
        let body =
            serde_json::to_string(body).map_err(|error| Problem::Internal(Box::new(error)))?;
        Ok(Self {
            body,
            replayed: false,
        })
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

/// Answers a request to `endpoint`; whatever happens, there is an answer.
pub async fn respond<E: Endpoint>(
    endpoint: &E,
    request: lambda_http::Request,
) -> http::Response<Body> {
    let started = Instant::now();
    let request_id = request_id(&request);
    let result = match Request::read(&E::ROUTE, request) {
        Ok(request) => AssertUnwindSafe(endpoint.handle(request))
            .catch_unwind()
            .await
            .unwrap_or_else(|panic| Err(Problem::Internal(panic_message(&*panic).into()))),
        Err(problem) => Err(problem),
    };
    log(&E::ROUTE, &request_id, started, result.as_ref().err());
    match result {
        Ok(reply) => success(reply, &request_id),
        Err(problem) => refusal(&problem, &request_id),
    }
}

fn success(reply: Reply, request_id: &str) -> http::Response<Body> {
    let mut response = answer(StatusCode::OK, "application/json", reply.body, request_id);
    if reply.replayed {
        response
            .headers_mut()
            .insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

/// The answer to a request that failed, such as one no endpoint is found for.
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
    if let Some(method) = problem.allowed_method() {
        headers.insert(ALLOW, HeaderValue::from_static(method));
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

/// One line for each request. A fault of ours or of what we depend on is an error with its causes;
/// a caller's mistake is worth its code and no more.
fn log(route: &Route, request_id: &str, started: Instant, problem: Option<&Problem>) {
    let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (method, path) = (route.method, route.path);
    match problem {
        None => tracing::info!(
            request_id,
            method,
            path,
            status = 200,
            duration_ms,
            "answered"
        ),
        Some(problem) => {
            let (status, code) = (problem.status().as_u16(), problem.code());
            if status < 500 {
                tracing::info!(
                    request_id,
                    method,
                    path,
                    status,
                    code,
                    duration_ms,
                    "refused"
                );
            } else {
                let causes = causes(problem.root());
                tracing::error!(
                    request_id,
                    method,
                    path,
                    status,
                    code,
                    duration_ms,
                    causes,
                    "failed"
                );
            }
        }
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    // A panic's text can hold whatever was formatted into it, so only fixed texts are kept.
    panic.downcast_ref::<&'static str>().map_or_else(
        || "the handler panicked".to_owned(),
        |text| format!("the handler panicked: {text}"),
    )
}
