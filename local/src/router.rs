//! All endpoints behind one port.

use std::sync::Arc;
use std::time::Duration;

use assistant::{Assistant, AssistantConfig};
use axum::Router;
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::Response;
use lambda_http::http::header::HeaderValue;
use shared::buckets::Buckets;
use shared::caller::REQUEST_TIMEOUT;
use shared::http::endpoint::REQUEST_ID;
use shared::http::reporter::Reporter;
use shared::http::request::{RequestLimit, new_request_id};
use shared::problem::Problem;
use shared::store::Store;
use shared::store::links::Links;

use crate::access::{Access, guard};
use crate::endpoints::{self, Parts};
use crate::openapi;
use crate::service::refuse;
use crate::tokens::authorize;

/// Time that a request may take beyond the model's timeout.
const TURN_MARGIN: Duration = Duration::from_secs(9);

/// All endpoints at their routes, restricted by `access`; `buckets` hold recordings, `reporter` logs the requests.
pub fn router(
    store: Store,
    assistant_config: AssistantConfig,
    buckets: Buckets,
    reporter: Reporter,
    access: Access,
) -> Router {
    let reporter = Arc::new(reporter);
    let limit = RequestLimit(REQUEST_TIMEOUT.max(assistant_config.model_timeout + TURN_MARGIN));
    let cors = access.cors();
    let assistant = Arc::new(Assistant::new(store.clone(), assistant_config));
    let links = Links::new(store.clone(), buckets);
    let parts = Parts {
        store,
        assistant,
        links,
    };
    endpoints::table()
        .iter()
        .map(|endpoint| endpoint.serve(&parts, &reporter, limit))
        .fold(Router::new(), Router::merge)
        .route_layer(from_fn_with_state(access.tokens().clone(), authorize))
        // What follows needs no token.
        .route(openapi::PATH, openapi::route())
        .fallback(not_found)
        .layer(from_fn_with_state(access, guard))
        .layer(cors)
        .layer(map_response(with_request_id))
}

/// Adds an id to answers that come from no endpoint, such as those to preflight requests.
async fn with_request_id(mut response: Response) -> Response {
    if !response.headers().contains_key(REQUEST_ID)
        && let Ok(id) = HeaderValue::from_str(&new_request_id())
    {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

async fn not_found() -> Response {
    refuse(&Problem::RouteNotFound)
}
