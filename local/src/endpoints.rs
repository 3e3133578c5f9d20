//! The table of endpoints: every function with a route, once. The local server serves it, and the tests
//! hold the template, the emulator and the documents against it.

use std::sync::Arc;

use assistant::Assistant;
use axum::Router;
use chat::Chat;
use history::History;
use load_session::LoadSession;
use reset::Reset;
use shared::database::Database;
use shared::http::endpoint::Endpoint;
use shared::http::reporter::Reporter;
use shared::http::request::RequestLimit;
use shared::http::route::Route;
use status::Status;

use crate::service::route;

/// What endpoints are made of.
#[derive(Debug)]
pub struct Parts {
    /// The database.
    pub database: Arc<Database>,
    /// Who answers.
    pub assistant: Arc<Assistant>,
}

/// An endpoint: a function by its package, and the routes that it answers to.
pub struct Entry {
    /// The package, which is what the template and cargo-lambda call the function.
    pub name: &'static str,
    /// Its routes.
    pub routes: &'static [Route],
    serve: Serve,
}

/// Makes the routes of an endpoint, whose lines the reporter writes.
type Serve = Box<dyn Fn(&Parts, &Arc<Reporter>, RequestLimit) -> Router>;

/// All endpoints.
#[must_use]
pub fn table() -> Vec<Entry> {
    vec![
        entry(|parts| Chat::new(Arc::clone(&parts.assistant))),
        entry(|parts| History::new(Arc::clone(&parts.database))),
        entry(|parts| LoadSession::new(Arc::clone(&parts.database))),
        entry(|parts| Reset::new(Arc::clone(&parts.database))),
        entry(|parts| Status::new(Arc::clone(&parts.database))),
    ]
}

impl Entry {
    /// The routes of the endpoint, served.
    pub(crate) fn serve(
        &self,
        parts: &Parts,
        reporter: &Arc<Reporter>,
        limit: RequestLimit,
    ) -> Router {
        (self.serve)(parts, reporter, limit)
    }
}

fn entry<E: Endpoint>(build: impl Fn(&Parts) -> E + 'static) -> Entry {
    Entry {
        name: E::NAME,
        routes: E::ROUTES,
        serve: Box::new(move |parts, reporter, limit| route(build(parts), reporter, limit)),
    }
}
