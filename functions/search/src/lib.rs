//! `GET /chat/search`: messages of the caller, found by their words.

mod highlighter;
mod query;
mod snippet;
pub mod words;

use serde::Serialize;
use shared::http::cursor;
use shared::http::endpoint::{Endpoint, Reply};
use shared::http::request::Request;
use shared::http::route::Route;
use shared::observed;
use shared::problem::Problem;
use shared::store::Store;
use shared::store::search::{self, Filter, Hit, Position};
use shared::time::Timestamp;
use uuid::Uuid;

use crate::query::Query;
use crate::snippet::Snippet;

const SEARCH: Route = Route::get("/chat/search");

/// In characters.
const MAX_QUERY: usize = 200;

/// The greatest `limit` a caller may ask for.
const MAX_LIMIT: i32 = 50;

const DEFAULT_LIMIT: i32 = 20;

/// The function.
#[derive(Debug)]
pub struct Search {
    store: Store,
}

#[derive(Serialize)]
struct SearchReply<'a> {
    success: bool,
    results: Vec<Found<'a>>,
    has_more: bool,
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct Found<'a> {
    session_id: Uuid,
    title: Option<&'a str>,
    message_id: Uuid,
    role: &'a str,
    timestamp: Timestamp,
    #[serde(flatten)]
    snippet: Snippet,
}

impl Search {
    /// The function on a store.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

impl Endpoint for Search {
    const NAME: &str = env!("CARGO_PKG_NAME");
    const ROUTES: &'static [Route] = &[SEARCH];

    /// # Errors
    /// [`Problem::InvalidRequest`], [`Problem::InvalidCursor`], [`Problem::Forbidden`],
    /// [`Problem::SessionNotFound`].
    async fn handle(&self, request: Request) -> Result<Reply, Problem> {
        let session_id = request.query_id("session_id")?;
        // Whoever knows a session's id may search it, as it may be read.
        let caller = match session_id {
            Some(session_id) => {
                observed::session(session_id);
                request.caller()
            }
            None => request.caller_of_many()?,
        };
        let query = query(&request)?;
        let filter = Filter {
            session_id,
            role: role(&request)?,
            from: request.query_time("from")?,
            to: request.query_time("to")?,
            after: after(&request)?,
        };
        let limit = request.query_number("limit", 1..=MAX_LIMIT)?;
        let limit = limit.unwrap_or(DEFAULT_LIMIT);
        let (text, beginning) = (query.text(), query.beginning());

        let (hits, has_more) =
            search::search(&self.store, caller, text, beginning, filter, limit).await?;
        let last = hits.last().filter(|_| has_more);
        Reply::json(&SearchReply {
            success: true,
            has_more,
            next_cursor: last.map(|Hit { position, .. }| {
                cursor::encode_message(position.time_us, position.session_id, position.seq)
            }),
            results: hits.iter().map(|hit| found(hit, &query)).collect(),
        })
    }
}

fn found<'a>(hit: &'a Hit, query: &Query) -> Found<'a> {
    Found {
        session_id: hit.position.session_id,
        title: hit.title.as_deref(),
        message_id: hit.message_id,
        role: &hit.role,
        timestamp: hit.timestamp,
        snippet: Snippet::of(&hit.content, &query.highlighter(hit.words.as_deref())),
    }
}

fn query(request: &Request) -> Result<Query, Problem> {
    let invalid = |sentence: &str| Problem::InvalidRequest(sentence.into());
    let text = request
        .query_value("q")?
        .ok_or_else(|| invalid("`q` is required: the words to search for"))?;
    if text.contains('\0') {
        return Err(invalid("`q` must not contain U+0000"));
    }
    if text.trim().is_empty() || text.chars().count() > MAX_QUERY {
        return Err(Problem::InvalidRequest(format!(
            "`q` must have 1 to {MAX_QUERY} characters"
        )));
    }
    Query::parse(text).ok_or_else(|| {
        invalid("`q` must contain a word to search for, not only what to leave out or punctuation")
    })
}

fn role(request: &Request) -> Result<Option<&str>, Problem> {
    match request.query_value("role")? {
        Some("user" | "assistant") | None => request.query_value("role"),
        Some(_) => Err(Problem::InvalidRequest(
            "`role` must be `user` or `assistant`".into(),
        )),
    }
}

fn after(request: &Request) -> Result<Option<Position>, Problem> {
    let Some(text) = request.query_value("after")? else {
        return Ok(None);
    };
    cursor::decode_message(text)
        .map(|(time_us, session_id, seq)| Position {
            time_us,
            session_id,
            seq,
        })
        .filter(|position| position.is_possible())
        .map(Some)
        .ok_or(Problem::InvalidCursor("after"))
}
