//! `GET /openapi.yaml`: the contract for machines.

use axum::http::Method;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any};
use shared::problem::Problem;

use crate::service::refuse;

/// Where the document is.
pub const PATH: &str = "/openapi.yaml";

const DOCUMENT: &str = include_str!("../../docs/openapi.yaml");

/// Serves the document.
pub(crate) fn route() -> MethodRouter {
    any(async |method: Method| -> Response {
        if method == Method::GET || method == Method::HEAD {
            // RFC 9512.
            return ([(CONTENT_TYPE, "application/yaml")], DOCUMENT).into_response();
        }
        refuse(&Problem::MethodNotAllowed(vec!["GET"]))
    })
}
