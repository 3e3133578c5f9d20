//! An endpoint as a service of the local server: converts its requests and its answers.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use http_body_util::BodyExt;
use shared::caller::REQUEST_TIMEOUT;
use shared::http::endpoint::{Endpoint, refusal, respond};
use shared::http::reporter::Reporter;
use shared::http::request::{MAX_BODY_BYTES, RequestLimit, new_request_id};
use shared::http::response;
use shared::problem::Problem;
use tokio::time::timeout;

/// One endpoint at the paths of its routes.
pub(crate) fn route<E: Endpoint>(
    endpoint: E,
    reporter: &Arc<Reporter>,
    limit: RequestLimit,
) -> Router {
    let paths: BTreeSet<_> = E::ROUTES.iter().map(|route| route.path).collect();
    paths
        .into_iter()
        .fold(Router::new(), |router, path| {
            router.route(path, any(answer::<E>))
        })
        .with_state((Arc::new(endpoint), Arc::clone(reporter), limit))
}

async fn answer<E: Endpoint>(
    State((endpoint, reporter, limit)): State<(Arc<E>, Arc<Reporter>, RequestLimit)>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let body = match timeout(REQUEST_TIMEOUT, read(body)).await {
        Ok(Ok(body)) => body,
        _ => {
            return refuse(&Problem::InvalidRequest("The body was cut off".into()));
        }
    };
    let mut request = lambda_http::Request::from_parts(parts, lambda_http::Body::Binary(body));
    request.extensions_mut().insert(limit);
    // In its own task: a turn continues when its caller hangs up, as it does on Lambda.
    let answered = tokio::spawn(async move { respond(&*endpoint, &reporter, request).await }).await;
    match answered {
        Ok(response) => into_axum(response),
        Err(error) => refuse(&Problem::Internal(Box::new(error))),
    }
}

/// Reads a body to its end, because a client that is still sending does not read the answer. Keeps no more
/// of it than shows that it is too long.
async fn read(mut body: Body) -> Result<Vec<u8>, axum::Error> {
    let mut kept = Vec::new();
    while let Some(frame) = body.frame().await {
        let data = frame?.into_data().unwrap_or_default();
        let room = (MAX_BODY_BYTES + 1).saturating_sub(kept.len());
        kept.extend_from_slice(&data[..data.len().min(room)]);
    }
    Ok(kept)
}

/// Reads a body that no one needs to its end.
pub(crate) async fn drained(body: Body) {
    let _ = timeout(REQUEST_TIMEOUT, read(body)).await;
}

/// The answer to a request that reaches no endpoint.
pub(crate) fn refuse(problem: &Problem) -> Response {
    into_axum(refusal(problem, &new_request_id()))
}

fn into_axum(response: lambda_http::Response<response::Body>) -> Response {
    response.map(|body| match body {
        response::Body::Text(text) => Body::from(text),
        events @ response::Body::Events(_) => Body::from_stream(events.into_chunks()),
    })
}
