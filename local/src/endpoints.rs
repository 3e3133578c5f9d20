//! The table of endpoints: every function with a route, once. The local server serves it, and the tests
//! compare the template, the emulator and the documents with it.

use std::sync::Arc;

use assistant::Assistant;
use axum::Router;
use chat::Chat;
use export::Export;
use history::History;
use load_session::LoadSession;
use reset::Reset;
use search::Search;
use sessions::Sessions;
use shared::http::endpoint::Endpoint;
use shared::http::reporter::Reporter;
use shared::http::request::RequestLimit;
use shared::http::route::Route;
use shared::store::Store;
use shared::store::links::Links;
use status::Status;
use stream::Stream;

use crate::service::route;

/// The parts that endpoints are built from.
#[derive(Debug)]
pub struct Parts {
    /// The store.
    pub store: Store,
    /// The assistant.
    pub assistant: Arc<Assistant>,
    /// The links to recordings.
    pub links: Links,
}

/// An endpoint: a function, named by its package, and its routes.
pub struct Entry {
    /// The package name, which the template and cargo-lambda use for the function.
    pub name: &'static str,
    /// Its routes.
    pub routes: &'static [Route],
    serve: Serve,
}

/// Builds the routes of an endpoint; the reporter logs its requests.
type Serve = Box<dyn Fn(&Parts, &Arc<Reporter>, RequestLimit) -> Router>;

/// All endpoints.
#[must_use]
pub fn table() -> Vec<Entry> {
    vec![
        entry(|parts| Chat::new(Arc::clone(&parts.assistant), parts.links.clone())),
        entry(|parts| Export::new(parts.store.clone())),
        entry(|parts| History::new(parts.store.clone(), parts.links.clone())),
        entry(|parts| LoadSession::new(parts.store.clone(), parts.links.clone())),
        entry(|parts| Reset::new(parts.store.clone())),
        entry(|parts| Search::new(parts.store.clone())),
        entry(|parts| Sessions::new(parts.store.clone())),
        entry(|parts| Status::new(parts.store.clone())),
        entry(|parts| {
            let (store, assistant) = (parts.store.clone(), Arc::clone(&parts.assistant));
            Stream::new(store, assistant, parts.links.clone())
        }),
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
